"""The watermark is not seen, is found after what befalls pictures, and only where it is."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from chibi_lab.data import render_avatar
from chibi_lab.errors import ChibiError
from chibi_lab.evaluation import psnr
from chibi_lab.studio.watermark import SMALLEST, detect, mark

SEED = 2_000_000_000  # of the test split


@pytest.fixture(scope="module", params=[256, 512])
def avatars(request: pytest.FixtureRequest) -> list[np.ndarray]:
    return [
        render_avatar("adventurer", SEED + i, size=request.param)[0] for i in range(3)
    ]


def saved(pixels: np.ndarray, kind: str, **options: object) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return np.asarray(Image.open(file).convert("RGB"))


def resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((width, height)))


def changed(pixels: np.ndarray, how: str) -> np.ndarray:
    height, width = pixels.shape[:2]
    if how == "JPEG":
        return saved(pixels, "JPEG", quality=75)
    if how == "halved":
        return resized(pixels, height // 2, width // 2)
    if how == "halved and restored":
        return resized(changed(pixels, "halved"), height, width)
    if how == "halved and restored, JPEG":
        return changed(changed(pixels, "halved and restored"), "JPEG")
    if how == "cropped":
        return pixels[height // 15 : -height // 30, width // 12 : -width // 60]
    assert how == "untouched"
    return pixels


@pytest.mark.parametrize(
    "how",
    [
        "untouched",
        "JPEG",
        "halved",
        "halved and restored",
        "halved and restored, JPEG",
        "cropped",
    ],
)
def test_the_mark_outlasts(avatars: list[np.ndarray], how: str) -> None:
    for pixels in avatars:
        assert not detect(changed(pixels, how)).present
        found = detect(changed(mark(pixels), how))
        assert found.present and found.score > found.threshold + 2


def test_the_mark_is_fainter_than_45_decibels(avatars: list[np.ndarray]) -> None:
    marked = np.stack([mark(pixels) for pixels in avatars])
    assert psnr(marked, np.stack(avatars)).min() > 48
    furthest = np.abs(marked.astype(int) - np.stack(avatars)).max()
    assert 1 <= furthest <= 4


def test_a_crop_has_to_agree_better_than_the_whole(avatars: list[np.ndarray]) -> None:
    marked = mark(avatars[0])
    whole, part = detect(marked), detect(changed(marked, "cropped"))
    assert whole.threshold < part.threshold


def test_a_part_of_a_transparent_picture_is_enough(avatars: list[np.ndarray]) -> None:
    side = len(avatars[0])
    alpha = np.zeros((side, side, 1), np.uint8)
    alpha[side // 5 : -side // 5, side // 5 : -side // 5] = 255
    alpha[side // 2] //= 2
    pixels = np.concatenate([avatars[0], alpha], axis=2)
    marked = mark(pixels)
    assert (marked[..., 3:] == alpha).all()
    unseen = alpha[..., 0] == 0
    assert (marked[unseen] == pixels[unseen]).all()
    assert not (marked[~unseen] == pixels[~unseen]).all()
    assert detect(marked).present and not detect(pixels).present
    for level in (0, 255):
        ground = Image.new("RGBA", (side, side), (level, level, level, 255))
        laid = Image.alpha_composite(ground, Image.fromarray(marked))
        assert detect(np.asarray(laid.convert("RGB"))).present


def test_a_picture_is_marked_in_any_shape_and_left_as_it_was() -> None:
    pixels = np.full((300, 256, 3), 200, np.uint8)
    marked = mark(pixels)
    assert (pixels == 200).all()
    assert marked.shape == pixels.shape and marked.dtype == np.uint8
    assert detect(marked).present
    assert (mark(pixels) == marked).all()


def test_white_and_black_do_not_overflow() -> None:
    for level in (0, 255):
        marked = mark(np.full((256, 256, 3), level, np.uint8))
        assert np.abs(marked.astype(int) - level).max() < 5


def test_the_mark_of_files_in_the_world_stays_readable() -> None:
    # Whoever changes the pattern can no longer find the marks of those who saved before.
    marked = mark(np.full((256, 256, 3), 128, np.uint8))
    digest = hashlib.sha256(marked.tobytes()).hexdigest()
    assert digest == "d72f99b945bc6c95b5071fa1e6a5de18ba0d7137c17ad1c8376d20e74917acb9"


@pytest.mark.parametrize("level", [0, 77, 255])
def test_a_picture_of_one_colour_agrees_with_nothing(level: int) -> None:
    found = detect(np.full((100, 120, 3), level, np.uint8))
    assert not found.present and abs(found.score) < 1


def test_scores_of_unmarked_pictures_are_normal() -> None:
    # The threshold rests on it.
    random = np.random.default_rng(0)
    kinds = []
    for _ in range(100):
        small = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        blocks = np.kron(small, np.ones((16, 16, 1), np.uint8))
        noise = random.normal(128, 20, (256, 256, 3)).clip(0, 255).astype(np.uint8)
        kinds += [blocks, noise, saved(blocks, "JPEG", quality=75)]
    found = [detect(pixels) for pixels in kinds]
    scores = np.array([each.score for each in found])
    assert not any(each.present for each in found)
    assert abs(scores.mean()) < 0.25 and 0.8 < scores.std() < 1.2


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.zeros((255, 400, 3), np.uint8), f"400 x 255 pixels .* needs {SMALLEST}"),
        (np.zeros((256, 256), np.uint8), "not uint8 of shape"),
        (np.zeros((256, 256, 3), np.float32), "not float32 of shape"),
        (np.zeros((2, 256, 256, 3), np.uint8), "shape"),
    ],
)
def test_what_cannot_be_marked_is_refused(pixels: np.ndarray, said: str) -> None:
    with pytest.raises(ChibiError, match=said):
        mark(pixels)


def test_what_is_too_small_to_be_searched_is_refused() -> None:
    with pytest.raises(ChibiError, match=r"90 x 63 pixels is too small.*needs 64"):
        detect(np.zeros((63, 90, 3), np.uint8))
