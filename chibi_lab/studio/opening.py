"""A person's own picture, as the models see pictures."""

from pathlib import Path

from torch import Tensor

from chibi_lab.data import to_float
from chibi_lab.data.decode import UnusablePictureError, read_picture
from chibi_lab.errors import ChibiError

WHITE = (255, 255, 255)


def open_picture(path: Path | str, shape: tuple[int, int]) -> Tensor:
    """Read a picture of any kind and bring it to the size that a model draws.

    The largest centred part of the right shape is taken, transparent parts become white, of an
    animation the first frame counts.

    Args:
        path: A PNG, JPEG, WebP, GIF or BMP file.
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
