import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from chibi_lab.data import to_float
from chibi_lab.errors import ChibiError
from chibi_lab.studio.opening import open_picture

SHAPE = (16, 12)


def colours(image: torch.Tensor) -> set[tuple[float, ...]]:
    return set(map(tuple, image.reshape(3, -1).T.round(decimals=3).tolist()))


def bomb(side: int) -> bytes:
    """A PNG of one bit a pixel, all black, that is small as a file."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    pixels = zlib.compress(bytes(side * (1 + -(-side // 8))), 9)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_a_picture_of_the_right_size_is_taken_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "me.png")
    for path in (tmp_path / "me.png", str(tmp_path / "me.png")):
        image = open_picture(path, SHAPE)
        assert image.dtype == torch.float32
        assert torch.equal(image, to_float(pixels[None])[0])


def test_the_middle_of_a_wide_picture_is_taken(tmp_path: Path) -> None:
    picture = Image.new("RGB", (100, 40), "red")
    picture.paste((0, 0, 255), (20, 0, 80, 40))
    picture.save(tmp_path / "wide.png")
    assert colours(open_picture(tmp_path / "wide.png", (16, 16))) == {(-1, -1, 1)}
    assert open_picture(tmp_path / "wide.png", SHAPE).shape == (3, *SHAPE)


def test_a_cmyk_jpeg_has_its_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (32, 32), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    image = open_picture(tmp_path / "print.jpg", SHAPE)
    torch.testing.assert_close(
        image.mean((1, 2)), torch.tensor([1.0, -1, -1]), atol=0.1, rtol=0
    )


def test_of_an_animation_the_first_frame_counts(tmp_path: Path) -> None:
    first, *others = (Image.new("RGB", (20, 20), c) for c in ("red", "lime", "blue"))
    first.save(tmp_path / "moves.gif", save_all=True, append_images=others)
    image = open_picture(tmp_path / "moves.gif", SHAPE)
    assert colours(image) == {(1, -1, -1)}


def test_transparent_parts_become_white(tmp_path: Path) -> None:
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:, :8] = (0, 0, 255, 255)
    Image.fromarray(pixels).save(tmp_path / "half.png")
    image = open_picture(tmp_path / "half.png", (16, 16))
    assert (image[:, :, 8:] == 1).all()
    assert colours(image[:, :, :8]) == {(-1, -1, 1)}


def test_a_name_that_lies_about_the_format_does_no_harm(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), "lime").save(tmp_path / "me.jpg", format="png")
    assert colours(open_picture(tmp_path / "me.jpg", (16, 16))) == {(-1, 1, -1)}


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not a picture\n" * 100)
    (tmp_path / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    for name in ("empty.png", "text.png", "drawing.svg"):
        with pytest.raises(ChibiError, match=f"{name} cannot be used, not an image: "):
            open_picture(tmp_path / name, SHAPE)


def test_a_picture_cut_off_is_named(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    for length in (30, 100, len(data) // 2):
        (tmp_path / "part.png").write_bytes(data[:length])
        with pytest.raises(ChibiError, match=r"part\.png cannot be used, ") as raised:
            open_picture(tmp_path / "part.png", SHAPE)
        assert str(raised.value).isprintable()


def test_a_small_file_of_a_vast_picture_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(30_000))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(ChibiError, match="decompression bomb: more than"):
        open_picture(path, SHAPE)
    # What refuses it is its size: a smaller one of the kind is a picture.
    path.write_bytes(bomb(300))
    assert colours(open_picture(path, SHAPE)) == {(-1, -1, -1)}


@pytest.mark.parametrize("size", [(11, 400), (400, 15), (1, 1)])
def test_a_picture_too_small_is_named(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size).save(tmp_path / "small.png")
    message = f"too small: {size[0]} x {size[1]} px, at least 12 x 16 needed"
    with pytest.raises(ChibiError, match=message):
        open_picture(tmp_path / "small.png", SHAPE)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ChibiError, match=r"no\.png cannot be used, unreadable: No such"
    ):
        open_picture(tmp_path / "no.png", SHAPE)
    with pytest.raises(ChibiError, match=r"cannot be used, .*it is not a regular file"):
        open_picture(tmp_path, SHAPE)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    both_ends = os.open(pipe, os.O_RDWR)  # or whoever reads would hang
    os.write(both_ends, b"text" * 100)
    with pytest.raises(
        ChibiError, match=r"pipe\.png cannot be used, it is no file that"
    ):
        open_picture(pipe, SHAPE)
    os.close(both_ends)
