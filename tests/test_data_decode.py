"""One picture file of any kind comes out as the right pixels, or with the reason why not."""

import io
import os
import struct
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from chibi_lab.data import decode
from chibi_lab.data.decode import MAX_PIXELS, UnusablePictureError, read_picture

WHITE = (255, 255, 255)
RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)


def quarters(width: int = 64, height: int = 64) -> np.ndarray:
    """Red, green, blue and grey: a picture that no rotation or mirroring leaves as it is."""
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :] = (
        RED,
        GREEN,
    )
    pixels[height // 2 :, : width // 2], pixels[height // 2 :, width // 2 :] = (
        BLUE,
        GREY,
    )
    return pixels


def chunk(name: bytes, data: bytes) -> bytes:
    return (
        struct.pack(">I", len(data))
        + name
        + data
        + struct.pack(">I", zlib.crc32(name + data))
    )


def png(
    width: int, height: int, depth: int, colour: int, row: bytes, extra: bytes = b""
) -> bytes:
    """A PNG whose rows are all `row`, written by hand: Pillow cannot write every kind."""
    header = chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    )
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + row) * height) if row else b"")
    return b"\x89PNG\r\n\x1a\n" + header + extra + pixels + chunk(b"IEND", b"")


def png16(levels: list[int], channels: int, colour: int, extra: bytes = b"") -> bytes:
    """A square 16-bit PNG with one column for each `channels` levels."""
    width = len(levels) // channels
    return png(
        width, width, 16, colour, struct.pack(f">{len(levels)}H", *levels), extra
    )


def read(
    data: bytes, tmp_path: Path, size: int, background: tuple = WHITE
) -> np.ndarray:
    path = tmp_path / "picture"
    path.write_bytes(data)
    return read_picture(path, size, background)


def save(image: Image.Image, name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def reason(data: bytes, tmp_path: Path, size: int = 64) -> str:
    with pytest.raises(UnusablePictureError) as caught:
        read(data, tmp_path, size)
    return str(caught.value)


# Every format


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("GIF", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}, 4),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 16),
        ("JPEG", {"quality": 95, "subsampling": 0}, 4),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}, 4),
    ],
)
def test_every_format_keeps_its_colours(
    name: str, options: dict, tolerance: int, tmp_path: Path
) -> None:
    image = read(save(Image.fromarray(quarters()), name, **options), tmp_path, 64)
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8
    centres = image[16::32, 16::32].astype(int)
    assert np.abs(centres - quarters()[16::32, 16::32]).max() <= tolerance
    if tolerance == 0:
        assert np.array_equal(image, quarters())


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_counts(name: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if name == "WEBP" else {}
    data = save(frames[0], name, save_all=True, append_images=frames[1:], **options)
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 3
    assert (read(data, tmp_path, 32) == RED).all()


def test_a_phones_jpeg_of_several_pictures_gives_the_first(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (32, 32), colour) for colour in (GREY, WHITE))
    data = save(first, "MPO", save_all=True, append_images=[second])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert (read(data, tmp_path, 32) == GREY).all()


# Every mode


@pytest.mark.parametrize("name", ["PNG", "BMP", "GIF"])
def test_black_and_white_and_grey(name: str, tmp_path: Path) -> None:
    levels = np.full((32, 32), 40, dtype=np.uint8)
    levels[:, 16:] = 200
    grey = read(save(Image.fromarray(levels), name), tmp_path, 32)
    assert np.array_equal(grey, np.repeat(levels[:, :, None], 3, axis=2))
    two = read(save(Image.fromarray(levels > 100), name), tmp_path, 32)
    assert np.array_equal(two, np.repeat(255 * (levels > 100)[:, :, None], 3, axis=2))


def test_a_palette(tmp_path: Path) -> None:
    image = Image.fromarray(quarters()).quantize(4)
    assert image.mode == "P"
    assert np.array_equal(read(save(image, "PNG"), tmp_path, 64), quarters())


def test_a_palette_with_degrees_of_transparency(tmp_path: Path) -> None:
    palette = chunk(b"PLTE", bytes([*RED, *GREEN, *BLUE, *GREY])) + chunk(
        b"tRNS", bytes([255, 128, 0])
    )
    data = png(4, 4, 2, 3, bytes([0b00011011]), palette)
    black = read(data, tmp_path, 4, (0, 0, 0))
    assert black[0].tolist() == [[255, 0, 0], [0, 128, 0], [0, 0, 0], [128, 128, 128]]
    white = read(data, tmp_path, 4)
    assert white[0].tolist() == [
        [255, 0, 0],
        [127, 255, 127],
        [255, 255, 255],
        [128, 128, 128],
    ]


def test_a_transparent_colour_of_a_gif(tmp_path: Path) -> None:
    image = Image.fromarray(quarters()).quantize(4)
    transparent = image.getpixel((0, 0))
    pixels = read(save(image, "GIF", transparency=transparent), tmp_path, 64, (1, 2, 3))
    assert (pixels[:32, :32] == (1, 2, 3)).all()
    assert np.array_equal(pixels[32:], quarters()[32:])


def test_grey_with_alpha(tmp_path: Path) -> None:
    image = Image.merge("LA", [Image.new("L", (8, 8), 100), Image.new("L", (8, 8), 51)])
    pixels = read(save(image, "PNG"), tmp_path, 8, (0, 255, 0))
    # A fifth of 100, four fifths of the background.
    assert (pixels == (20, 224, 20)).all()


@pytest.mark.parametrize("name", ["PNG", "WEBP"])
def test_alpha_lies_on_the_chosen_background(name: str, tmp_path: Path) -> None:
    rgba = np.dstack([quarters(), np.full((64, 64), 255, dtype=np.uint8)])
    rgba[:, 48:, 3] = 0
    options = {"lossless": True, "exact": True} if name == "WEBP" else {}
    pixels = read(
        save(Image.fromarray(rgba), name, **options), tmp_path, 64, (10, 20, 30)
    )
    assert (pixels[:, 48:] == (10, 20, 30)).all()
    assert np.array_equal(pixels[:, :48], quarters()[:, :48])


def test_a_bmp_with_alpha(tmp_path: Path) -> None:
    """Pillow reads such files and writes none: BITMAPV4HEADER, with a mask for each channel."""
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHI5I", 108, 2, 2, 1, 32, 3, 16, 0, 0, 0, 0) + masks
    pixels = bytes([0, 0, 255, 255, 0, 0, 255, 0]) * 2  # blue, green, red, alpha
    head = b"BM" + struct.pack("<IHHI", 14 + 108 + 16, 0, 0, 14 + 108)
    image = read(head + header.ljust(108, b"\0") + pixels, tmp_path, 2, (10, 20, 30))
    assert image[0].tolist() == [[255, 0, 0], [10, 20, 30]]


def test_a_bmp_whose_alpha_is_nowhere_is_opaque(tmp_path: Path) -> None:
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHI5I", 124, 2, 2, 1, 32, 3, 16, 0, 0, 0, 0) + masks
    pixels = bytes([0, 0, 255, 0, 0, 255, 0, 0]) * 2  # blue, green, red, alpha
    head = b"BM" + struct.pack("<IHHI", 14 + 124 + 16, 0, 0, 14 + 124)
    image = read(head + header.ljust(124, b"\0") + pixels, tmp_path, 2)
    assert image[0].tolist() == [list(RED), list(GREEN)]


def test_what_is_transparent_does_not_bleed_into_the_rest(tmp_path: Path) -> None:
    rgba = np.zeros((90, 90, 4), dtype=np.uint8)
    rgba[:] = (*GREEN, 0)
    rgba[20:70, 20:70] = (*RED, 255)
    pixels = read(save(Image.fromarray(rgba), "PNG"), tmp_path, 32, (0, 0, 0))
    assert pixels[:, :, 0].max() == 255
    assert pixels[:, :, 1].max() == 0


def test_cmyk(tmp_path: Path) -> None:
    inks = {
        (0, 0, 0, 0): WHITE,
        (0, 255, 255, 0): RED,
        (255, 255, 0, 0): BLUE,
        (0, 0, 0, 127): 128,
    }
    for ink, colour in inks.items():
        data = save(Image.new("CMYK", (16, 16), ink), "JPEG", quality=95)
        assert np.abs(read(data, tmp_path, 16).astype(int) - colour).max() <= 3


# 16 bits


def test_16_bit_grey_keeps_its_brightness(tmp_path: Path) -> None:
    image = read(png16([0, 0x4000, 0x8080, 0xFFFF], 1, 0), tmp_path, 4)
    assert image[0].tolist() == [[0] * 3, [64] * 3, [128] * 3, [255] * 3]


def test_16_bit_grey_written_by_pillow(tmp_path: Path) -> None:
    levels = np.full((8, 8), 30000, dtype=np.uint16)
    assert (read(save(Image.fromarray(levels), "PNG"), tmp_path, 8) == 117).all()


def test_16_bit_grey_of_a_scanner(tmp_path: Path) -> None:
    levels = np.full((8, 8), 30000, dtype=np.uint16)
    assert (read(save(Image.fromarray(levels), "TIFF"), tmp_path, 8) == 117).all()


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_what_has_no_range_is_no_picture(kind: type, tmp_path: Path) -> None:
    image = Image.fromarray(np.full((64, 64), 30000, dtype=kind))
    assert reason(save(image, "TIFF"), tmp_path).startswith("unusual: 32 bits")


def test_16_bit_colour_and_alpha(tmp_path: Path) -> None:
    rgb = read(png16([0xFFFF, 0x8080, 0, 0, 0x4040, 0xC0C0], 3, 2), tmp_path, 2)
    assert rgb[0].tolist() == [[255, 128, 0], [0, 64, 192]]
    grey = read(png16([0x8080, 0xFFFF, 0x8080, 0], 2, 4), tmp_path, 2, RED)
    assert grey[0].tolist() == [[128, 128, 128], [255, 0, 0]]
    rgba = read(png16([0x8080, 0x4040, 0, 0xFFFF, 0, 0, 0, 0], 4, 6), tmp_path, 2, RED)
    assert rgba[0].tolist() == [[128, 64, 0], [255, 0, 0]]


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_level_of_a_grey_png_at_every_depth(
    depth: int, tmp_path: Path
) -> None:
    top = 2**depth - 1
    # 8 columns, black and white.
    row = "".join(f"{level:0{depth}b}" for level in (0, top) * 4)
    data = int(row, 2).to_bytes(depth, "big")
    image = read(
        png(8, 8, depth, 0, data, chunk(b"tRNS", struct.pack(">H", top))),
        tmp_path,
        8,
        RED,
    )
    assert image[0, :2].tolist() == [[0, 0, 0], [255, 0, 0]]


def test_the_transparent_colour_of_a_16_bit_png(tmp_path: Path) -> None:
    key = (0x8012, 0x4034, 0x2056)
    extra = chunk(b"tRNS", struct.pack(">3H", *key))
    image = read(png16([*key, 0x1234, 0x3456, 0x5678], 3, 2, extra), tmp_path, 2, RED)
    assert image[0].tolist() == [[255, 0, 0], [0x12, 0x34, 0x56]]


# Upright, square, small

# What is stored, if the picture is to be seen as `u`: EXIF 2.32 names, for each value, the sides
# at which the first row and the first column are seen (6: the first row is at the right, ...).
STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda u: u,
    2: lambda u: u[:, ::-1],
    3: lambda u: u[::-1, ::-1],
    4: lambda u: u[::-1],
    5: lambda u: u.swapaxes(0, 1),
    6: lambda u: u.swapaxes(0, 1)[::-1],
    7: lambda u: u.swapaxes(0, 1)[::-1, ::-1],
    8: lambda u: u.swapaxes(0, 1)[:, ::-1],
}


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_rotation_is_obeyed(orientation: int, name: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(
        np.ascontiguousarray(STORED[orientation](quarters(96, 64)))
    )
    options = {
        "PNG": {},
        "JPEG": {"quality": 95, "subsampling": 0},
        "WEBP": {"lossless": True},
        "TIFF": {},
        "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    }
    image = read(save(stored, name, exif=exif, **options[name]), tmp_path, 64)
    expected = quarters(96, 64)[:, 16:80].astype(int)
    assert np.abs(image[16::32, 16::32] - expected[16::32, 16::32]).max() <= 4


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"]
)
def test_broken_exif_costs_no_picture(exif: bytes, tmp_path: Path) -> None:
    assert (
        read(save(Image.new("L", (16, 16), 70), "JPEG", exif=exif), tmp_path, 16) == 70
    ).all()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("length", [96, 97])
def test_the_centred_square_is_cut_out(
    length: int, turned: bool, tmp_path: Path
) -> None:
    pixels = np.zeros((64, length, 3), dtype=np.uint8)
    pixels[:, :, 0] = np.arange(length)
    expected = pixels[:, 16:80]
    if turned:
        pixels, expected = (
            np.ascontiguousarray(p.swapaxes(0, 1)) for p in (pixels, expected)
        )
    assert np.array_equal(
        read(save(Image.fromarray(pixels), "PNG"), tmp_path, 64), expected
    )


def test_scaling_down_averages(tmp_path: Path) -> None:
    """The finest pattern becomes the even grey between its two (stored) values."""
    board = (np.indices((500, 500)).sum(0) % 2 * 255).astype(np.uint8)
    image = read(save(Image.fromarray(board), "PNG"), tmp_path, 32)
    assert np.abs(image.astype(int) - 127.5).max() <= 3


def test_scaling_down_does_not_ring(tmp_path: Path) -> None:
    """Beside an edge nothing is brighter or darker than the two areas that meet there."""
    levels = np.full((301, 301), 80, dtype=np.uint8)
    levels[:, 130:] = 160
    image = read(save(Image.fromarray(levels), "PNG"), tmp_path, 32)
    assert (image.min(), image.max()) == (80, 160)
    assert len(np.unique(image)) <= 4  # one or two columns between


def test_scaling_down_takes_even_steps(tmp_path: Path) -> None:
    """An even ramp stays one where the sizes do not divide: 25 columns to 16."""
    ramp = np.repeat(10 * np.arange(25, dtype=np.uint8)[None], 25, axis=0)
    image = read(save(Image.fromarray(ramp), "PNG"), tmp_path, 16)
    steps = np.diff(image[8, 2:-2, 0].astype(int))
    assert set(steps.tolist()) == {15, 16}  # 10 * 25 / 16 is 15.6


def test_a_portrait_is_the_largest_centred_part_of_its_shape(tmp_path: Path) -> None:
    """Stripes of 8 pixels say what was cut off: left and right, or above and below."""
    stripes = np.repeat(np.arange(0, 240, 20, dtype=np.uint8), 8)
    for width, height, kept in ((96, 64, range(3, 9)), (48, 96, range(2, 10))):
        across = width > height
        grey = np.broadcast_to(
            stripes[None, :] if across else stripes[:, None], (height, width)
        )
        path = tmp_path / "picture.png"
        Image.fromarray(np.ascontiguousarray(grey)).save(path)
        image = read_picture(path, 64, WHITE, 48)
        assert image.shape == (64, 48, 3)
        line = image[0, :, 0] if across else image[:, 0, 0]
        assert line.tolist() == [20 * stripe for stripe in kept for _ in range(8)]
        half = read_picture(path, 32, WHITE, 24)
        assert half.shape == (32, 24, 3)
        line = half[0, :, 0] if across else half[:, 0, 0]
        assert line[1::4].tolist() == [20 * stripe for stripe in kept]


def test_a_portrait_is_turned_upright_first(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.fromarray(quarters(64, 48))
    (tmp_path / "picture").write_bytes(save(lying, "PNG", exif=exif))
    image = read_picture(tmp_path / "picture", 64, WHITE, 48)
    upright = lying.transpose(Image.Transpose.ROTATE_270)
    assert np.array_equal(image, np.asarray(upright))


def test_a_picture_is_never_enlarged(tmp_path: Path) -> None:
    data = save(Image.new("RGB", (63, 200)), "PNG")
    assert reason(data, tmp_path) == "too small: 63 x 200 px, at least 64 x 64 needed"
    assert read(data, tmp_path, 63).shape == (63, 63, 3)


# Colour profiles


def icc_profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile, version 2.4, written by hand (ICC.1:2001-04, section 6)."""
    d50 = struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"wtpt": b"XYZ \0\0\0\0" + d50, **tags}
    offset, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        table += name + struct.pack(">II", offset + len(data), len(content))
        data += content + b"\0" * (-len(content) % 4)
    head = struct.pack(
        ">I4sI4s4s4s", offset + len(data), b"", 0x02400000, b"prtr", space, connection
    )
    head += b"\0" * 12 + b"acsp" + b"\0" * 28 + d50
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def linear_grey_profile() -> bytes:
    return icc_profile(b"GRAY", b"XYZ ", {b"kTRC": b"curv" + b"\0" * 8})


def cmyk_profile() -> bytes:
    """Strange inks: "cyan" is a red, Lab (50, 60, 45), two do nothing, and black is black."""
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    paper, red = bytes([255, 128, 128]), bytes([128, 128 + 60, 128 + 45])
    black = bytes([0, 128, 128])
    corners = (paper + black) * 4 + (red + black) * 4  # the last ink changes fastest
    table = bytes(range(256))
    look_up = (
        b"mft1\0\0\0\0"
        + bytes([4, 3, 2, 0])
        + identity
        + table * 4
        + corners
        + table * 3
    )
    return icc_profile(b"CMYK", b"Lab ", {b"A2B0": look_up})


def swapped_profile() -> bytes:
    """sRGB, but that what is stored as red is meant as green, and the other way round."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = (
        srgb.replace(b"rXYZ", b"????")
        .replace(b"gXYZ", b"rXYZ")
        .replace(b"????", b"gXYZ")
    )
    assert swapped != srgb
    return swapped


@pytest.mark.parametrize("name", ["PNG", "WEBP", "JPEG"])
def test_an_embedded_profile_is_converted_to_srgb(name: str, tmp_path: Path) -> None:
    image = Image.new("RGB", (16, 16), RED)
    options = {"lossless": True} if name == "WEBP" else {}
    data = save(image, name, icc_profile=swapped_profile(), **options)
    assert np.abs(read(data, tmp_path, 16).astype(int) - GREEN).max() <= 3


def test_a_profile_is_applied_to_colour_and_not_to_alpha_or_background(
    tmp_path: Path,
) -> None:
    rgba = np.zeros((16, 16, 4), dtype=np.uint8)
    rgba[:, :8] = (*RED, 255)
    data = save(Image.fromarray(rgba), "PNG", icc_profile=swapped_profile())
    image = read(data, tmp_path, 16, RED).astype(int)
    assert np.abs(image[:, :8] - GREEN).max() <= 1
    assert (image[:, 8:] == RED).all()


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_a_grey_profile(mode: str, tmp_path: Path) -> None:
    """Half the light is level 188 in sRGB (IEC 61966-2-1: 1.055 * 0.5 ** (1 / 2.4) - 0.055)."""
    grey = Image.new("L", (16, 16), 128)
    if mode == "I;16":
        grey = Image.fromarray(np.full((16, 16), 0x8080, dtype=np.uint16))
    elif mode == "LA":
        grey = Image.merge("LA", [grey, Image.new("L", (16, 16), 255)])
    data = save(grey, "PNG", icc_profile=linear_grey_profile())
    assert np.abs(read(data, tmp_path, 16).astype(int) - 188).max() <= 1


def test_a_cmyk_profile(tmp_path: Path) -> None:
    def pixel(ink: tuple[int, int, int, int]) -> list[int]:
        data = save(
            Image.new("CMYK", (16, 16), ink), "JPEG", icc_profile=cmyk_profile()
        )
        return read(data, tmp_path, 16)[0, 0].tolist()

    assert min(pixel((0, 255, 255, 0))) >= 250
    assert max(pixel((0, 0, 0, 255))) <= 5
    red, green, blue = pixel((255, 0, 0, 0))
    assert red > 180 > 100 > max(green, blue)


def test_srgb_stays_as_it_is(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = save(Image.fromarray(quarters()), "PNG", icc_profile=srgb)
    assert np.abs(read(data, tmp_path, 64).astype(int) - quarters()).max() <= 1


@pytest.mark.parametrize(
    "profile", [b"no profile", swapped_profile()[:200], linear_grey_profile()]
)
def test_a_broken_profile_or_one_of_other_channels_is_ignored(
    profile: bytes, tmp_path: Path
) -> None:
    data = save(Image.fromarray(quarters()), "PNG", icc_profile=profile)
    assert np.array_equal(read(data, tmp_path, 64), quarters())


# What cannot be used


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"hello", b"\x89PNG", b"GIF", os.urandom(500)]
)
def test_not_an_image(data: bytes, tmp_path: Path) -> None:
    assert reason(data, tmp_path).startswith("not an image: ")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (bytes(4) + b"ftypheic" + bytes(40), "pillow-heif"),
        (b"PK\3\4" + bytes(40), "an archive"),
        (b"\x1f\x8b" + bytes(40), "an archive"),
        (bytes(257) + b"ustar" + bytes(40), "an archive"),
    ],
)
def test_what_is_no_picture_but_holds_some_is_named(
    data: bytes, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "picture_formats", lambda: ("PNG",))
    assert says in reason(data, tmp_path)


def test_heic_is_read_where_its_library_is(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    data = save(Image.fromarray(quarters()), "HEIF", quality=100)
    assert np.abs(read(data, tmp_path, 64).astype(int) - quarters()).mean() < 4


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "picture")
    with pytest.raises(UnusablePictureError, match="not a regular file"):
        read_picture(tmp_path / "picture", 64, WHITE)


def test_huge_pictures_are_decoded_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, at_work, most = decode._fit, [], []

    def watched(*arguments: object) -> np.ndarray:
        at_work.append(1)
        most.append(len(at_work))
        time.sleep(0.01)
        at_work.pop()
        return fit(*arguments)

    path = tmp_path / "picture"
    path.write_bytes(save(Image.fromarray(quarters()), "PNG"))
    monkeypatch.setattr(decode, "_fit", watched)
    for huge, together in ((1, False), (64 * 64, True)):
        monkeypatch.setattr(decode, "HUGE", huge)
        most.clear()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: read_picture(path, 32, WHITE), range(8)))
        assert (max(most) > 1) == together


def test_other_formats_are_not_opened(tmp_path: Path) -> None:
    """Pillow knows many more, among them one that runs another program."""
    image = Image.new("RGB", (64, 64))
    for name in ("EPS", "PPM", "ICO"):
        assert reason(save(image, name), tmp_path).startswith("not an image: ")


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated(name: str, share: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    data = save(Image.fromarray(noise), name)
    assert read(data, tmp_path, 64).shape == (64, 64, 3)
    text = reason(data[: int(share * len(data))], tmp_path)
    assert text.partition(":")[0] in ("truncated", "damaged or truncated")
    assert "\n" not in text


def test_damaged(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    data = bytearray(save(Image.fromarray(noise), "PNG"))
    data[5000:5004] = b"\0\0\0\0"
    assert reason(bytes(data), tmp_path).startswith("damaged or truncated: ")


def huge(name: str) -> bytes:
    """A file that says it is huge, and holds next to no pixels."""
    if name == "PNG, that Pillow only warns of":
        return png(10_000, 10_000, 8, 0, b"")
    if name == "PNG":
        return png(100_000, 100_000, 8, 0, b"")
    data = bytearray(save(Image.new("RGB", (16, 16)), name))
    if name == "GIF":
        data[6:10] = struct.pack("<HH", 65535, 65535)
    elif name == "BMP":
        data[18:26] = struct.pack("<ii", 100_000, 100_000)
    elif name == "WEBP":
        # The frame header of VP8 (RFC 6386, section 9.1)
        start = data.index(b"\x9d\x01\x2a") + 3
        data[start : start + 4] = struct.pack("<HH", 16383, 16383)
    elif name == "JPEG":
        start = data.index(b"\xff\xc0") + 5
        data[start : start + 4] = struct.pack(">HH", 65500, 65500)
    return bytes(data)


BOMBS = ["PNG", "PNG, that Pillow only warns of", "GIF", "BMP", "WEBP", "JPEG"]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("limit", [Image.MAX_IMAGE_PIXELS, None])
def test_a_decompression_bomb_is_not_decoded(
    name: str, limit: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(self: ImageFile.ImageFile) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    monkeypatch.setattr(ImageFile.ImageFile, "load", decode)
    assert (
        reason(huge(name), tmp_path)
        == "decompression bomb: more than 89,478,485 pixels"
    )
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_large_picture_is_no_bomb(tmp_path: Path) -> None:
    side = 4000
    assert side**2 < MAX_PIXELS
    data = png(side, side, 1, 0, b"\xff" * (side // 8))
    assert (read(data, tmp_path, 64) == 255).all()


def test_more_than_the_memory_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(self: ImageFile.ImageFile) -> None:
        raise MemoryError

    data = save(Image.new("RGB", (70, 80)), "JPEG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert reason(data, tmp_path) == "too large for memory: 70 x 80 px"


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UnusablePictureError, match=r"^unreadable: No such file"):
        read_picture(tmp_path / "gone.png", 64, WHITE)
