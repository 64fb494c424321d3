"""An avatar in a file: enlarged, cut out on request, with its origin and a signature."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
from torch import Tensor

from chibi_lab.data import to_float, to_uint8
from chibi_lab.errors import ChibiError
from chibi_lab.studio.credentials import sign
from chibi_lab.studio.cutting import cut_out
from chibi_lab.studio.encoding import FORMATS, encode
from chibi_lab.studio.enlarging import enlarge
from chibi_lab.studio.keys import SigningKey
from chibi_lab.studio.origin import Origin
from chibi_lab.studio.pictures import write_beside
from chibi_lab.studio.provenance import embed
from chibi_lab.studio.watermark import SMALLEST, mark

FRAME_MS = 80


def keep(
    images: Tensor,
    path: Path | str,
    origin: Origin,
    size: int = 512,
    transparent: bool = False,
    overwrite: bool = False,
    key: SigningKey | None = None,
) -> Path:
    """Write an avatar, or an animation of it, into a file that says where it comes from.

    From 256 pixels on each frame has a watermark (:func:`~chibi_lab.studio.mark`). The
    file holds its origin (:func:`~chibi_lab.studio.embed`) and is signed
    (:func:`~chibi_lab.studio.sign`). It is written beside its place and renamed.

    Args:
        images: (F, 3, H, W) in [-1, 1]: one, or the frames of an animation, 80 ms each.
        path: The file; its folder must exist. Its name ends in .png, .webp or .gif.
        origin: What made it.
        size: Height in pixels, 64 to 1024; the width follows.
        transparent: Cut it out of its flat background.
        overwrite: Whether a file that exists may be replaced.
        key: Signs; without it the key that is made on first use.

    Returns:
        The file.

    Raises:
        ChibiError: If the name or the size is not right, the picture cannot be cut out, or the
            file exists or cannot be written.
    """
    path = Path(path)
    format_ = check_name(path, overwrite)
    key = SigningKey.of_user() if key is None else key
    data = encode(_pixels(images, size, transparent), format_, FRAME_MS)
    data = sign(embed(data, origin), key)
    write_beside(path, data, overwrite)
    return path


def place_in(folder: Path | str, name: str) -> Path:
    """The file that a name stands for, which must lie in a folder.

    Args:
        folder: The folder.
        name: What a person typed; spaces around it do not count.

    Returns:
        Its path.

    Raises:
        ChibiError: If there is no name, or it leads out of the folder.
    """
    name = name.strip()
    if not name or "\0" in name:
        raise ChibiError("the file needs a name, such as my-avatar.png")
    path = Path(folder, name)
    if not path.resolve().is_relative_to(Path(folder).resolve()):
        raise ChibiError(f"{name} leads out of the folder {Path(folder).resolve()}")
    return path


def check_name(path: Path, overwrite: bool, suffixes: Collection[str] = FORMATS) -> str:
    """Whether a file can be kept under a name, asked before work is spent on it.

    Args:
        path: The file.
        overwrite: Whether one that exists may be replaced.
        suffixes: What its name may end in.

    Returns:
        Its format: "PNG", "WebP" or "GIF".

    Raises:
        ChibiError: If it cannot.
    """
    suffix = path.suffix.lower()
    if suffix in (".jpg", ".jpeg"):
        raise ChibiError(
            f"{path} would be a JPEG, which smears lines and cannot hold an origin: choose "
            f"{' or '.join(suffixes)}"
        )
    if suffix not in suffixes:
        raise ChibiError(f"{path} must end in {' or '.join(suffixes)}")
    if "\0" in str(path):
        raise ChibiError(f"{str(path)!r} holds a character that no file name can hold")
    try:
        if path.is_dir():
            raise ChibiError(f"{path} is a folder: name a file in it")
        if not path.parent.is_dir():
            raise ChibiError(
                f"there is no folder {path.parent}: make it, or choose another"
            )
        if path.exists() and not overwrite:
            raise ChibiError(
                f"{path} exists: choose another name, or ask to overwrite it"
            )
    except OSError as error:
        raise ChibiError(f"cannot write {path}: {error.strerror}") from error
    return FORMATS[suffix]


def _pixels(images: Tensor, size: int, transparent: bool) -> np.ndarray:
    """uint8 (F, size, W, 3), or with alpha (F, size, W, 4)."""
    # Of an animation that holds still between two moves each picture is drawn large once.
    different, place = images.unique(dim=0, return_inverse=True)
    frames = to_uint8(enlarge(different, size, moving=len(different) > 1))
    if transparent:
        cut = cut_out(to_float(frames))
        alpha = (255 * cut[:, 3:]).round().byte().permute(0, 2, 3, 1).numpy()
        frames = np.concatenate([to_uint8(cut[:, :3]), alpha], axis=3)
    if min(frames.shape[1:3]) >= SMALLEST:
        frames = np.stack([mark(frame) for frame in frames])
    # As an array: a tensor of one number would be taken for that number.
    return frames[place.numpy()]
