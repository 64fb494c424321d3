"""A person's own picture, as the models see pictures."""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from chibi_lab.data import to_float
from chibi_lab.data.decode import UnusablePictureError, read_picture
from chibi_lab.errors import ChibiError

WHITE = (255, 255, 255)
# Mean squared error from which on a picture is unlike what the models know. After 100 steps,
# avatars of the style end at 0.003 at most with the nearer model, the same heads in colours that no
# model saw at 0.014 at least (benchmarks/inversion.py).
FAR = 0.01


def open_picture(path: Path | str, shape: tuple[int, int]) -> Tensor:
    """Read a picture of any kind and bring it to the size that a model draws.

    The largest centred part of the right shape is taken, transparent parts become white, of an
    animation the first frame counts.

    Args:
        path: A picture file, in any format that `chibi_lab.data` reads.
        shape: Height and width wanted.

    Returns:
        float32 (3, H, W) in [-1, 1].

    Raises:
        ChibiError: If the file cannot be read, is no picture, is damaged, or smaller than that.
    """
    path = Path(path)
    # A pipe or a device could keep one waiting for ever.
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ChibiError(f"{path} cannot be used, it is no file that lies on a disk")
    height, width = shape
    try:
        pixels = read_picture(path, height, WHITE, width)
    except UnusablePictureError as error:
        raise ChibiError(f"{path} cannot be used, {error}") from None
    return to_float(pixels[None])[0]


def open_uploaded(data: bytes, shape: tuple[int, int]) -> Tensor:
    """Read a picture that came as bytes, as :func:`open_picture` reads a file.

    Args:
        data: A picture file, in any format that `chibi_lab.data` reads.
        shape: Height and width wanted.

    Returns:
        float32 (3, H, W) in [-1, 1].

    Raises:
        ChibiError: If it is no picture, is damaged, or smaller than that.
    """
    height, width = shape
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "picture"
        file.write_bytes(data)
        try:
            pixels = read_picture(file, height, WHITE, width)
        except UnusablePictureError as error:
            raise ChibiError(f"the picture cannot be used, {error}") from None
    return to_float(pixels[None])[0]


def decibels(error: float) -> float:
    """The PSNR of a mean squared error over pixels in [-1, 1], in dB; 99 for hardly any error."""
    return min(99.0, 10 * math.log10(4 / max(error, 1e-12)))


def nearness(errors: Mapping[str, float]) -> str:
    """How near the painters came to a picture, in sentences.

    Args:
        errors: The mean squared error of each painter, by its name.

    Returns:
        Sentences for a person.
    """
    near = ", ".join(f"{name} {decibels(mse):.1f} dB" for name, mse in errors.items())
    if min(errors.values()) > FAR:
        return (
            f"This picture is unlike anything the models know: the nearest that they can draw "
            f"is still far from it ({near})."
        )
    return f"The nearest that the models can draw: {near}; more is nearer."
