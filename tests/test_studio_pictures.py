from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chibi_lab.data import to_float
from chibi_lab.errors import ChibiError
from chibi_lab.studio import film_strip, grid, in_few_colors
from chibi_lab.studio.pictures import save_picture


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)


def test_grid_keeps_every_pixel_in_order(pixels: np.ndarray) -> None:
    sheet = np.asarray(grid(pixels, columns=3, scale=2, gap=1))
    assert sheet.shape == (2 * 9 + 1, 3 * 9 + 1, 3)
    for place, image in enumerate(pixels):
        row, column = divmod(place, 3)
        part = sheet[row * 9 + 1 : row * 9 + 9, column * 9 + 1 : column * 9 + 9]
        assert np.array_equal(part[::2, ::2], image)
        assert np.array_equal(part[1::2, 1::2], image)
    assert (sheet[0] == 255).all()
    assert (sheet[10:, 19:] == 255).all()  # the sixth place stays empty


def test_grid_of_tensors_is_the_grid_of_their_pixels(pixels: np.ndarray) -> None:
    assert grid(to_float(pixels)).tobytes() == grid(pixels).tobytes()


def test_a_grid_of_portraits_keeps_every_pixel(pixels: np.ndarray) -> None:
    sheet = np.asarray(grid(to_float(pixels[:, :, :3]), columns=2, gap=1))
    assert sheet.shape == (3 * 5 + 1, 2 * 4 + 1, 3)
    for place, image in enumerate(pixels):
        row, column = divmod(place, 2)
        part = sheet[row * 5 + 1 : row * 5 + 5, column * 4 + 1 : column * 4 + 4]
        assert np.array_equal(part, image[:, :3])


def test_a_short_grid_is_no_wider_than_its_images(pixels: np.ndarray) -> None:
    assert grid(pixels, columns=8, gap=0).size == (5 * 4, 4)


def test_film_strip_has_one_row_for_each(pixels: np.ndarray) -> None:
    strip = film_strip([pixels, pixels[::-1]], gap=0)
    assert strip.size == (20, 8)
    assert np.array_equal(np.asarray(strip)[4:, :4], pixels[-1])
    with pytest.raises(ChibiError, match="rows of a film strip must have one shape"):
        film_strip([pixels, pixels[:2]])


def test_nothing_to_show_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ChibiError, match="there is no image to show"):
        grid(pixels[:0])
    with pytest.raises(ChibiError, match="columns is 0"):
        grid(pixels, columns=0)


def test_a_picture_is_written_whole_and_replaced_only_if_asked(tmp_path: Path) -> None:
    file = tmp_path / "me.png"
    save_picture(Image.new("RGB", (3, 2)), file, overwrite=False)
    with pytest.raises(ChibiError, match=r"me\.png exists: choose another name"):
        save_picture(Image.new("RGB", (9, 9)), file, overwrite=False)
    assert Image.open(file).size == (3, 2)
    save_picture(Image.new("RGB", (9, 9)), file)
    assert Image.open(file).size == (9, 9)
    with pytest.raises(ChibiError, match=r"cannot write .*me\.png: No such file"):
        save_picture(Image.new("RGB", (9, 9)), tmp_path / "missing" / "me.png")
    assert list(tmp_path.iterdir()) == [file]


def test_few_colors_are_near_and_the_same_each_time() -> None:
    ramp = np.linspace(0, 255, 200 * 200 * 3).reshape(200, 200, 3).astype(np.uint8)
    picture = Image.fromarray(ramp)
    small = in_few_colors(picture)
    assert small.mode == "P"
    off = np.asarray(small.convert("RGB")).astype(float) - ramp
    assert np.abs(off).mean() < 2
    assert small.tobytes() == in_few_colors(picture).tobytes()
