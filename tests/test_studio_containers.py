import io
import re
import zlib

import pytest
from PIL import Image

from chibi_lab.errors import ChibiError
from chibi_lab.studio import containers
from chibi_lab.studio.containers import join, png_chunk, split, webp_chunk

FORMATS = (
    "PNG", "APNG", "WebP", "lossless WebP", "animated WebP", "GIF", "animated GIF",
)  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_comes_apart_and_together_again(
    files: dict[str, bytes], name: str
) -> None:
    kind, pieces = split(files[name])
    assert kind in name
    assert len(pieces) >= 3 - (kind == "WebP")
    assert join(pieces) == files[name]


@pytest.mark.parametrize("name", FORMATS)
def test_bytes_after_the_end_are_kept(files: dict[str, bytes], name: str) -> None:
    data = files[name] + b"more"
    pieces = split(data)[1]
    assert pieces[-1].raw == b"more"
    assert join(pieces) == data


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_cut_off_anywhere_is_refused(files: dict[str, bytes], name: str) -> None:
    data = files[name]
    for length in range(len(data)):
        with pytest.raises(ChibiError) as raised:
            split(data[:length])
        assert re.search(
            "cut off|damaged|is empty|this is no PNG", str(raised.value)
        ), length


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_cut_off_between_two_of_its_parts_is_refused(
    files: dict[str, bytes], name: str
) -> None:
    pieces = split(files[name])[1]
    for count in range(1, len(pieces)):
        with pytest.raises(ChibiError, match=r"cut off|damaged"):
            split(join(pieces[:count]))


@pytest.mark.parametrize(
    "data",
    [b"hello, I am text", b"<svg/>", b"RIFF\4\0\0\0WAVE", b"\x89PNG", b"BM" * 99],
)
def test_what_is_no_picture_is_called_so_whatever_its_name(data: bytes) -> None:
    with pytest.raises(ChibiError, match="this is no PNG, WebP, GIF or JPEG picture"):
        split(data)


def test_a_wrong_checksum_names_the_chunk(files: dict[str, bytes]) -> None:
    data = bytearray(files["PNG"])
    data[-20] ^= 1  # in the pixels
    with pytest.raises(ChibiError, match="the checksum of its chunk IDAT at byte 33"):
        split(bytes(data))


@pytest.mark.parametrize("name", ["PNG", "WebP"])
def test_a_giant_length_is_not_believed(files: dict[str, bytes], name: str) -> None:
    data = bytearray(files[name])
    place = 33 if name == "PNG" else 16
    data[place : place + 4] = (
        b"\x7f\xff\xff\xf0" if name == "PNG" else b"\xf0\xff\xff\x7f"
    )
    with pytest.raises(ChibiError, match="cut off or damaged after"):
        split(bytes(data))


def test_a_webp_that_says_it_is_longer_than_it_is_was_cut_off(
    files: dict[str, bytes],
) -> None:
    data = files["WebP"][:4] + b"\xf0\xff\xff\xff" + files["WebP"][8:]
    with pytest.raises(ChibiError, match="cut off: it says 4,294,967,288 bytes"):
        split(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x89PNG\r\n\x1a\n" + png_chunk("IEND", b"").raw, "start with its header"),
        (b"\x89PNG\r\n\x1a\n" + bytes(12), "no chunk starts at byte 8"),
        (b"RIFF\4\0\0\0WEBP", "does not start with a picture"),
        (b"RIFF\x0c\0\0\0WEBPVP8X\0\0\0\0", "extended header has a wrong length"),
        (b"RIFF\x0c\0\0\0WEBP\xff\0\0\0\0\0\0\0", "no chunk starts at byte 12"),
        (b"GIF89a\1\0\1\0\0\0\0" + b"?", "cut off or damaged after 13"),
        (b"GIF89a\1\0\1\0\0\0\0" + b"!\xfe\xff", "cut off after 16"),
    ],
)
def test_a_damaged_build_is_named(data: bytes, said: str) -> None:
    with pytest.raises(ChibiError, match=said):
        split(data)


def test_a_file_of_too_many_parts_is_refused(files: dict[str, bytes]) -> None:
    pieces = split(files["PNG"])[1]
    many = [png_chunk("teSt", b"")] * containers.MAX_PIECES
    with pytest.raises(ChibiError, match="more than 20,000 parts"):
        split(join([*pieces[:2], *many, *pieces[2:]]))


@pytest.mark.parametrize(
    "marker", [b"\x21\xfe", b"\x21\xff\x0bNETSCAPE2.0", b"\x21\xf9"]
)
@pytest.mark.parametrize("comments", [1, 500])
def test_a_gif_in_tiny_blocks_is_refused(
    files: dict[str, bytes], marker: bytes, comments: int
) -> None:
    data = files["GIF"]
    tiny = marker + b"\1a" * (20_000 // comments) + b"\0"
    with pytest.raises(ChibiError, match="in more and smaller blocks than any"):
        split(data[:-1] + tiny * comments + data[-1:])
    whole = marker + (b"\xff" + b"a" * 255) * 20_000 + b"\0"
    assert split(data[:-1] + whole + data[-1:])[0] == "GIF"


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"\xff\xfe\0\2" * 10_000, "more than 10,000 parts"),
        (b"\xff" * 10_000, "more than 10,000 parts"),
        (b"\xff\xfe\0\0\0", "cut off or damaged after 4 bytes"),
        (b"\xff\xfe\xff\xff", "cut off or damaged after 65,539 bytes"),
    ],
)
def test_a_jpeg_of_too_many_parts_or_none_is_refused(start: bytes, said: str) -> None:
    opened = io.BytesIO()
    Image.new("RGB", (8, 8)).save(opened, "JPEG")
    data = opened.getvalue()
    assert split(data)[0] == "JPEG"
    assert split(data[:2] + b"\xff\xfe\0\2\xff" + data[2:])[0] == "JPEG"
    with pytest.raises(ChibiError, match=said):
        split(data[:2] + start + data[2:])


def test_a_file_that_is_too_large_is_refused(
    files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "MAX_BYTES", len(files["PNG"]) - 1)
    with pytest.raises(ChibiError, match=r"bytes: .* are the most"):
        split(files["PNG"])


def test_chunks_are_written_as_the_standards_say() -> None:
    assert png_chunk("IEND", b"").raw.hex() == "0000000049454e44ae426082"
    assert zlib.crc32(b"IEND") == 0xAE426082
    assert webp_chunk("XMP ", b"abc").raw == b"XMP \3\0\0\0abc\0"
    assert containers.gif_comment(b"a" * 256).raw == (
        b"!\xfe\xff" + b"a" * 255 + b"\1a\0"
    )


def test_xmp_in_a_gif_is_passed_by_readers_that_do_not_know_it(
    files: dict[str, bytes],
) -> None:
    pieces = split(files["GIF"])[1]
    packet = "<ä>".encode() * 300
    kind, again = split(join([pieces[0], containers.gif_xmp(packet), *pieces[1:]]))
    assert kind == "GIF"
    assert [piece.body for piece in again if piece.kind == "XMP"] == [packet]
    assert again[2:] == pieces[1:]
