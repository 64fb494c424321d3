"""Pictures as the bytes of a file: one as it is, several as an animation that repeats."""

import io

import numpy as np
from PIL import Image

from chibi_lab.errors import ChibiError
from chibi_lab.studio.checks import FORMATS

CLEAR = 255  # of a GIF's palette: the entry that is transparent
HALF = 128  # alpha from which on a GIF's pixel is there


def encode(frames: np.ndarray, format_: str, frame_ms: int) -> bytes:
    """Encode pictures; the same ones give the same bytes.

    PNG and WebP lose nothing but, WebP, the colours of what is wholly clear. Several frames in a
    PNG are an APNG. A GIF has 255 colours, the same ones for all frames, and a pixel of it is there
    or is not. Frames that follow one another and are the same may be written as one, seen longer.

    Args:
        frames: uint8 (F, H, W, 3), or (F, H, W, 4) with alpha, which colours are not multiplied by.
        format_: "PNG", "WebP" or "GIF".
        frame_ms: How long each frame is seen, in milliseconds; a GIF rounds it to tens.

    Returns:
        The file.

    Raises:
        ChibiError: If there is no frame, or no such format.
    """
    if len(frames) == 0:
        raise ChibiError("there is no picture to encode")
    if format_ not in FORMATS.values():
        raise ChibiError(f"no format {format_!r}: choose {', '.join(FORMATS.values())}")
    if format_ == "GIF":
        pictures = _with_palette(frames)
        options = {"disposal": 2, "optimize": False}
        if frames.shape[3] == 4:
            options["transparency"] = CLEAR
    else:
        pictures = [Image.fromarray(frame) for frame in frames]
        options = {}
        if format_ == "WebP":
            # Of many frames, a quarter more bytes for a tenth of the time.
            effort = {"method": 2} if len(frames) == 1 else {"method": 0, "quality": 0}
            options = {"lossless": True} | effort
    if len(frames) > 1:
        options |= {
            "save_all": True,
            "append_images": pictures[1:],
            "duration": frame_ms,
            "loop": 0,
        }
    file = io.BytesIO()
    pictures[0].save(file, format=format_, **options)
    return file.getvalue()


def _with_palette(frames: np.ndarray) -> list[Image.Image]:
    """The frames in the 255 colours that suit all of them; where nothing is, in the last one."""
    palette = _palette(frames[..., :3])
    pictures = []
    for frame in frames:
        colours = np.ascontiguousarray(frame[..., :3])
        picture = Image.fromarray(colours).quantize(
            palette=palette, dither=Image.Dither.NONE
        )
        if frame.shape[2] == 4:
            indices = np.where(frame[..., 3] < HALF, CLEAR, np.asarray(picture))
            clear = Image.fromarray(indices.astype(np.uint8), "P")
            clear.putpalette(picture.getpalette() or [])
            picture = clear
        pictures.append(picture)
    return pictures


def _palette(frames: np.ndarray) -> Image.Image:
    """A picture with the palette for some frames, uint8 (F, H, W, 3)."""
    # A few pixels of a few frames are enough to choose by.
    step = max(1, frames.shape[1] // 128)
    some = frames[:: max(1, len(frames) // 6), ::step, ::step].reshape(-1, 3)
    # By their number alone, the background's noise would take the place of a small green leaf. So
    # each colour, of those that are 4 levels apart, counts by the root of its number.
    _, first, number = np.unique(
        some >> 2, axis=0, return_index=True, return_counts=True
    )
    counted = some[first].repeat(np.ceil(np.sqrt(number)).astype(int), axis=0)
    return Image.fromarray(counted[None]).quantize(CLEAR, dither=Image.Dither.NONE)
