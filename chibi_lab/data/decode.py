"""One picture file of any kind becomes 8-bit sRGB of one size, square or 3:4.

How, and why so:

- 16-bit grey is scaled to 8 bits; Pillow alone would clip it to white.
- The picture is turned upright, and its largest centred part of the right shape is filtered down
  with Pillow's Hamming filter. Against an exact area average of drawn avatars it was the closest at
  nearly every size tried (64 px from 100, 150, 200, 300 and 1000 px: 33, 38, 39, 40, 41 dB).
  Lanczos and bicubic ring beside the flat areas of drawings (32 to 35 dB), and a box leaves uneven
  steps where the sizes do not divide (29 to 38 dB, 48 dB from 1000 px).
- The filter averages the stored, gamma-encoded values, not light. Light would be physically right
  (a fine black and white pattern comes out darker here), but the rendered avatars, the metrics and
  published data sets all average stored values, so pictures of both kinds stay comparable.
- Only then, on few pixels, an embedded colour profile is applied and alpha laid on the background.
- No picture is ever enlarged: a network would learn the blur.
"""

from __future__ import annotations

import io
import threading
import warnings
from contextlib import nullcontext, suppress
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from chibi_lab.errors import ChibiError
from chibi_lab.files import open_file

_ARCHIVE = "an archive; its pictures are not read: unpack it"

FORMAT_NAMES = "PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF"

# Where Pillow begins to warn of a decompression bomb: 256 MiB of RGB. It is our own number, so
# that it holds whatever `PIL.Image.MAX_IMAGE_PIXELS` is set to, and that one stays untouched.
MAX_PIXELS = 1024**3 // 12

HUGE = (
    2**24
)  # pixels; what has more is decoded alone, or several threads would take gigabytes
_alone = threading.Lock()

# How files begin that Pillow does not open, at which byte, and what can be done.
_OTHERS = {
    (
        4,
        b"ftyp",
    ): "HEIC or a film; HEIC is read where pillow-heif is installed",
    (0, b"PK\3\4"): _ARCHIVE,
    (0, b"\x1f\x8b"): _ARCHIVE,
    (257, b"ustar"): _ARCHIVE,
}

# EXIF 2.32, tag 0x0112: what to do with the stored rows and columns to see the picture upright.
ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnusablePictureError(Exception):
    """A file cannot be used; the message is the reason, as "kind" or "kind: detail"."""


def read_picture(
    path: Path, size: int, background: tuple[int, ...], width: int | None = None
) -> np.ndarray:
    """Read a picture file, the first frame, in one of `picture_formats`, told by its content.

    Args:
        path: The file. It is opened for reading only.
        size: Height wanted, in pixels; the picture has at least as many.
        background: Red, green and blue (0 to 255) of what transparent parts are laid on.
        width: Width wanted, by default the height; the picture is at least as wide.

    Returns:
        uint8, shape (size, width, 3): the largest centred part of this shape, upright.

    Raises:
        UnusablePictureError: If the file cannot be read, is no picture, is truncated, too small,
            or so large that it may be a decompression bomb, which is then not decoded.
    """
    width = size if width is None else width
    try:
        file = open_file(path)
    except ChibiError as error:
        raise UnusablePictureError(
            f"unreadable: {_says(error.__cause__ or error)}"
        ) from None
    try:
        with file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is unfit is said in one sentence
            with Image.open(file, formats=picture_formats()) as image:
                # The header is all that was read so far: a bomb is never decoded.
                pixels = image.width * image.height
                if pixels > MAX_PIXELS:
                    raise Image.DecompressionBombError
                with _alone if pixels > HUGE else nullcontext():
                    return _fit(image, size, width, background)
    except UnusablePictureError:
        raise
    except Image.DecompressionBombError:
        raise UnusablePictureError(
            f"decompression bomb: more than {MAX_PIXELS:,} pixels"
        ) from None
    except MemoryError:
        raise UnusablePictureError(
            f"too large for memory: {image.width} x {image.height} px"
        ) from None
    except UnidentifiedImageError:
        raise UnusablePictureError(
            f"not an image: {_told_by_beginning(path)}"
        ) from None
    except Exception as error:
        # Pillow's decoders raise nearly every kind on a damaged file.
        kind = (
            "truncated" if "truncated" in str(error).lower() else "damaged or truncated"
        )
        raise UnusablePictureError(f"{kind}: {_says(error)}") from None


@cache
def picture_formats() -> tuple[str, ...]:
    """Names of the formats that are read, as Pillow calls them; loads what reads them."""
    Image.init()
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    names = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
    return tuple(name for name in names if name in Image.OPEN)


def _told_by_beginning(path: Path) -> str:
    with open_file(path) as file:
        head = file.read(512)
    found = (say for (at, start), say in _OTHERS.items() if head.startswith(start, at))
    return next(found, f"it does not begin like a {FORMAT_NAMES} file")


def _fit(
    image: ImageFile, size: int, width: int, background: tuple[int, ...]
) -> np.ndarray:
    """The largest centred part of the shape asked for, uint8 (size, width, 3)."""
    profile = image.info.get("icc_profile")
    picture = _decode(image)
    upright = UPRIGHT.get(_orientation(image))
    if upright is not None:
        picture = picture.transpose(upright)
    if picture.width < width or picture.height < size:
        raise UnusablePictureError(
            f"too small: {picture.width} x {picture.height} px, "
            f"at least {width} x {size} needed"
        )
    # As wide as the picture, or as high; what is cut off on either side is whole pixels, which
    # `ImageOps.fit` does not do.
    across = min(picture.width, picture.height * width / size)
    down = min(picture.height, picture.width * size / width)
    left, top = (picture.width - across) // 2, (picture.height - down) // 2
    # With alpha, Pillow weighs colours by it, so what is transparent does not bleed into the rest.
    small = picture.resize(
        (width, size),
        Image.Resampling.HAMMING,
        box=(left, top, left + across, top + down),
    )
    return np.asarray(_to_rgb(small, profile, background))


def _decode(image: ImageFile) -> Image.Image:
    """The pixels at 8 bits a channel, in one of the modes L, LA, RGB, RGBA and CMYK."""
    _scale_key_colour(image)
    image.load()
    if image.format == "TIFF" and image.mode in ("I", "F"):
        raise UnusablePictureError("unusual: 32 bits a pixel in one channel")
    picture = _to_8_bit(image) if image.mode.startswith("I") else image
    if picture.format == "BMP" and picture.mode == "RGBA":
        # Many programs leave the fourth byte of a pixel at 0 and mean nothing by it.
        if not picture.getchannel("A").getbbox():
            picture = picture.convert("RGB")
    # A colour profile is for the channels of the file, so grey stays grey and CMYK stays CMYK.
    mode = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}.get(picture.mode, "RGB")
    return picture.convert(mode + "A" if picture.has_transparency_data else mode)


def _to_rgb(
    picture: Image.Image, profile: bytes | None, background: tuple[int, ...]
) -> Image.Image:
    """8-bit sRGB from a picture in any mode of `_decode`, transparent parts on `background`."""
    alpha = picture.getchannel("A") if picture.mode in ("LA", "RGBA") else None
    if alpha is not None:
        picture = picture.convert(picture.mode[:-1])
    if profile:
        picture = _to_srgb(picture, profile)
    rgb = picture.convert("RGB")
    if alpha is None:
        return rgb
    canvas = Image.new("RGB", rgb.size, background)
    canvas.paste(rgb, mask=alpha)
    return canvas


def _to_8_bit(image: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit grey, with alpha if one level means transparent.

    Pillow's own conversion clips: everything brighter than 255 of 65535 would become white.
    """
    levels = np.asarray(image)
    scaled = np.empty(levels.shape, np.uint8)
    for row, levels_of_row in zip(
        scaled, levels, strict=True
    ):  # all at once takes 12 bytes each
        row[:] = (levels_of_row.astype(np.uint32) * 255 + 32767) // 65535
    grey = Image.fromarray(scaled)
    if "transparency" in image.info:
        opaque = np.uint8(255) * (levels != image.info["transparency"])
        grey.putalpha(Image.fromarray(opaque.astype(np.uint8)))
    return grey


def _scale_key_colour(image: ImageFile) -> None:
    """Bring the transparent colour of a PNG to the 8 bits that Pillow brings its pixels to.

    PNG gives it at the depth of the file (PNG specification, chunk tRNS), and Pillow leaves it
    so: at 1, 2, 4 and 16 bits a sample it would match other pixels, or none.
    """
    key = image.info.get("transparency")
    depth = image.tile[0][3] if image.format == "PNG" and image.tile else None
    if depth == "RGB;16B" and isinstance(key, tuple):
        image.info["transparency"] = tuple(level >> 8 for level in key)
    elif depth in ("1", "L;2", "L;4") and isinstance(key, int):
        # At 1 bit, newer versions of Pillow have done it already.
        image.info["transparency"] = min(
            255, key * {"1": 255, "L;2": 85, "L;4": 17}[depth]
        )


def _to_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """Apply an embedded ICC profile; one that is broken or of other channels is ignored."""
    own, srgb = io.BytesIO(profile), ImageCms.createProfile("sRGB")
    try:
        return ImageCms.profileToProfile(picture, own, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where it is absent or unreadable."""
    try:
        return image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:
        # Broken EXIF raises nearly anything, and the picture is still good.
        return 1


def _says(error: Exception) -> str:
    """The message of an error in one line."""
    text = (
        error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    )
    return " ".join(text.split()) or type(error).__name__
