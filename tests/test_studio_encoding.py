import io

import numpy as np
import pytest
from PIL import Image

from chibi_lab.errors import ChibiError
from chibi_lab.studio.encoding import encode

FORMATS = ("PNG", "WebP", "GIF")


def noise(count: int, channels: int) -> np.ndarray:
    shape = (count, 12, 9, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def flat(count: int, channels: int) -> np.ndarray:
    """Frames of few colours: a red square that goes over a blue ground, which is clear."""
    frames = np.zeros((count, 16, 16, channels), np.uint8)
    frames[..., 2] = 200
    for number, frame in enumerate(frames):
        frame[4:9, number : number + 5, :3] = (220, 60, 60)
        if channels == 4:
            frame[4:9, number : number + 5, 3] = 255
    return frames


def decoded(data: bytes, mode: str) -> tuple[np.ndarray, list[int]]:
    """All frames, and how long each is seen."""
    picture = Image.open(io.BytesIO(data))
    frames, durations = [], []
    for number in range(getattr(picture, "n_frames", 1)):
        picture.seek(number)
        frames.append(np.asarray(picture.convert(mode)))
        durations.append(round(picture.info.get("duration", 0)))
    return np.stack(frames), durations


@pytest.mark.parametrize("format_", ["PNG", "WebP"])
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("channels", [3, 4])
def test_png_and_webp_lose_nothing(format_: str, count: int, channels: int) -> None:
    frames = noise(count, channels)
    if channels == 4:
        # Of what is wholly clear, a WebP keeps no colour.
        frames[..., 3] = np.maximum(frames[..., 3], 1)
        frames[..., 0, :] = (9, 9, 9, 0) if format_ == "PNG" else 0
    found, _ = decoded(encode(frames, format_, 80), "RGB" if channels == 3 else "RGBA")
    assert np.array_equal(found, frames)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("count", [1, 4])
def test_few_colours_come_back_from_a_gif(count: int, channels: int) -> None:
    frames = flat(count, channels)
    found, _ = decoded(encode(frames, "GIF", 80), "RGBA")
    there = frames[..., 3] == 255 if channels == 4 else np.ones(frames.shape[:3], bool)
    assert np.array_equal(found[..., 3] == 255, there)
    assert np.array_equal(found[there][:, :3], frames[there][:, :3])


@pytest.mark.parametrize("count", [1, 3])
def test_a_gif_is_there_or_not_from_half_on(count: int) -> None:
    frames = noise(count, 4)
    frames[..., :2, 3] = (127, 128)
    found, _ = decoded(encode(frames, "GIF", 80), "RGBA")
    assert np.array_equal(found[..., 3], np.where(frames[..., 3] < 128, 0, 255))


def test_a_gif_of_many_colours_comes_near_to_each() -> None:
    y, x = np.mgrid[:64, :64]
    ramp = np.stack([4 * x, 4 * y, 0 * x + 128], axis=-1).astype(np.uint8)
    found, _ = decoded(encode(ramp[None], "GIF", 80), "RGB")
    away = np.abs(found[0].astype(int) - ramp)
    assert 0 < away.max() <= 32
    assert len(np.unique(found[0].reshape(-1, 3), axis=0)) <= 255


def test_a_gif_has_one_palette_for_all_frames() -> None:
    still = flat(5, 3)[:, :, -2:]
    frames = np.concatenate([noise(5, 3).repeat(2, 1)[:, :16], still], axis=2)
    found, _ = decoded(encode(frames, "GIF", 80), "RGB")
    assert (found[:, :, -2:] == found[0, :, -2:]).all()


def test_a_small_part_of_another_colour_keeps_it_in_a_gif() -> None:
    rng = np.random.default_rng(0)
    frames = rng.normal((220, 235, 250), 2, (3, 256, 256, 3)).clip(0, 255)
    frames[:, 40:48, 40:48] = (120, 190, 60)
    frames[:, 80:88, 40:48] = (180, 140, 60)
    found, _ = decoded(encode(frames.astype(np.uint8), "GIF", 80), "RGB")
    for top, colour in ((40, (120, 190, 60)), (80, (180, 140, 60))):
        leaf = found[:, top : top + 8, 40:48].astype(int)
        assert np.abs(leaf - np.array(colour)).max() <= 4


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("channels", [3, 4])
def test_an_animation_repeats_for_ever_at_its_pace(format_: str, channels: int) -> None:
    data = encode(flat(5, channels), format_, 80)
    assert decoded(data, "RGBA")[1] == [80] * 5
    assert Image.open(io.BytesIO(data)).info["loop"] == 0


@pytest.mark.parametrize("format_", FORMATS)
def test_frames_that_hold_still_are_seen_as_long(format_: str) -> None:
    frames = flat(4, 4)[[0, 0, 0, 1, 2, 2, 3, 0, 0]]
    found, durations = decoded(encode(frames, format_, 80), "RGBA")
    # A decoder may see one long frame in place of several.
    shown = found.repeat(np.array(durations) // 80, axis=0)
    assert sum(durations) == 9 * 80
    assert np.array_equal(shown[..., 3], frames[..., 3])


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("count", [1, 3])
def test_the_same_frames_are_the_same_bytes(format_: str, count: int) -> None:
    frames = noise(count, 4)
    assert encode(frames, format_, 80) == encode(frames.copy(), format_, 80)
    other = frames.copy()
    other[0, :6] = 255 - other[0, :6]
    assert encode(frames, format_, 80) != encode(other, format_, 80)


def test_what_cannot_be_encoded_is_named() -> None:
    with pytest.raises(ChibiError, match="there is no picture to encode"):
        encode(noise(0, 3), "PNG", 80)
    with pytest.raises(ChibiError, match="no format 'JPEG': choose PNG, WebP, GIF"):
        encode(noise(1, 3), "JPEG", 80)
