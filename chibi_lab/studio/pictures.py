"""Images as pictures that a person looks at: sheets and strips."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from chibi_lab.data import to_uint8
from chibi_lab.errors import ChibiError
from chibi_lab.files import write


def grid(
    images: Tensor | np.ndarray, columns: int = 8, scale: int = 1, gap: int = 2
) -> Image.Image:
    """Lay images out in rows, in their order, on white.

    Args:
        images: float (N, 3, H, W) in [-1, 1], or uint8 (N, H, W, 3).
        columns: Images in a row.
        scale: Whole number of screen pixels for a pixel of an image, so that nothing is smoothed.
        gap: White pixels around each image.

    Returns:
        The picture, RGB.

    Raises:
        ChibiError: If there is no image, or columns or scale is less than 1.
    """
    pixels = images if isinstance(images, np.ndarray) else to_uint8(images)
    if len(pixels) == 0:
        raise ChibiError("there is no image to show")
    if columns < 1 or scale < 1 or gap < 0:
        raise ChibiError(
            f"columns is {columns}, scale {scale}, gap {gap}: they must be at least 1, 1 and 0"
        )
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    count, height, width, _ = pixels.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = np.full(
        (rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8
    )
    for place, image in enumerate(pixels):
        row, column = divmod(place, columns)
        top, left = row * (height + gap) + gap, column * (width + gap) + gap
        sheet[top : top + height, left : left + width] = image
    return Image.fromarray(sheet)


def film_strip(
    rows: Sequence[Tensor | np.ndarray], scale: int = 1, gap: int = 2
) -> Image.Image:
    """Lay rows of images below one another: one row a moment, a model, or a direction.

    Args:
        rows: For each row its images, as in :func:`grid`; all images of one size, all rows as long.
        scale: Screen pixels for a pixel of an image.
        gap: White pixels around each image.

    Returns:
        The picture, RGB.

    Raises:
        ChibiError: If there is no row, or the rows differ in length or size.
    """
    arrays = [row if isinstance(row, np.ndarray) else to_uint8(row) for row in rows]
    if not arrays or len({array.shape for array in arrays}) != 1:
        shapes = ", ".join(str(array.shape) for array in arrays) or "none"
        raise ChibiError(f"rows of a film strip must have one shape, not {shapes}")
    return grid(np.concatenate(arrays), columns=len(arrays[0]), scale=scale, gap=gap)


def in_few_colors(picture: Image.Image) -> Image.Image:
    """The picture in 256 colours: a third of the room in a page.

    They are chosen from 10,000 of its pixels, which takes a hundredth of the time that all of
    them take, and errs by as little.
    """
    pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    some = np.random.default_rng(0).choice(pixels, (100, 100))
    palette = Image.fromarray(some).quantize(256, kmeans=3)
    return picture.convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE)


def save_picture(picture: Image.Image, path: Path, overwrite: bool = True) -> None:
    """Write a picture as PNG, whole or not at all."""
    file = io.BytesIO()
    picture.save(file, format="png")
    write(path, file.getvalue(), replace=overwrite)
