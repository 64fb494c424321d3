"""An avatar in a file: enlarged, cut out on request, with its origin and a signature."""

from pathlib import Path

import numpy as np
from torch import Tensor

from chibi_lab.data import to_float, to_uint8
from chibi_lab.files import write
from chibi_lab.studio.checks import check_name
from chibi_lab.studio.credentials import sign
from chibi_lab.studio.cutting import cut_out
from chibi_lab.studio.encoding import encode
from chibi_lab.studio.enlarging import enlarge
from chibi_lab.studio.keys import SigningKey
from chibi_lab.studio.origin import Origin
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
    write(path, data, replace=overwrite)
    return path


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
