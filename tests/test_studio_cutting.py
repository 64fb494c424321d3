import re

import numpy as np
import pytest
import torch

from chibi_lab.data import to_float
from chibi_lab.errors import ChibiError
from chibi_lab.studio.cutting import cut_out

ROSE, MINT, SKIN = (255, 223, 233), (170, 220, 200), (240, 200, 170)
LINE = (30, 20, 40)


def disc(
    size: int, ground: tuple[int, ...], width: float = 0.03
) -> tuple[np.ndarray, np.ndarray]:
    """A disc with an outline, drawn 8 times as large and averaged: levels and alpha."""
    y, x = (np.mgrid[: 8 * size, : 8 * size] + 0.5) / (8 * size) - 0.5
    away = np.hypot(y, x)
    inside = away < 0.35
    picture = np.full((8 * size, 8 * size, 3), ground, np.float32)
    picture[inside] = LINE
    picture[away < 0.35 - width] = SKIN
    return averaged(picture), averaged(inside[..., None].astype(np.float32))[..., 0]


def averaged(picture: np.ndarray) -> np.ndarray:
    height, width, depth = picture.shape
    return picture.reshape(height // 8, 8, width // 8, 8, depth).mean((1, 3))


def cut(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels and alpha of what stays of one picture of levels."""
    (found,) = cut_out(to_float(picture.round().astype(np.uint8)[None])).numpy()
    return (found[:3].transpose(1, 2, 0) + 1) * 127.5, found[3]


@pytest.mark.parametrize("size", [64, 128, 256])
@pytest.mark.parametrize("ground", [ROSE, MINT, (255, 255, 255)])
def test_a_disc_gets_its_alpha_and_its_colours_back(
    size: int, ground: tuple[int, ...]
) -> None:
    picture, truth = disc(size, ground)
    colours, alpha = cut(picture)
    assert np.abs(alpha - truth).max() < 0.12
    assert np.abs(alpha - truth).mean() < 0.002
    edge = (truth > 0.3) & (truth < 0.9)
    assert edge.sum() > 50
    # No fringe of the background's: the edge is as dark as the outline.
    assert np.abs(colours[edge] - LINE).mean() < 20
    # What is as near to the background as noise is taken for it.
    back = alpha[..., None] * colours + (1 - alpha[..., None]) * np.array(ground)
    assert np.abs(back - picture).max() < 20


def test_what_stays_has_the_form_of_a_picture_with_alpha() -> None:
    pictures = np.stack([disc(64, ground)[0] for ground in (ROSE, MINT)])
    images = to_float(pictures.round().astype(np.uint8))[..., 8:56]
    found = cut_out(images)
    assert found.shape == (2, 4, 64, 48) and found.dtype == torch.float32
    assert found[:, :3].min() >= -1 and found[:, :3].max() <= 1
    assert found[:, 3].min() == 0 and found[:, 3].max() == 1
    nothing = found[:, 3] == 0
    assert (found[:, :3].transpose(0, 1)[:, nothing] == -1).all()
    for image, single in zip(images, found, strict=True):
        assert torch.equal(cut_out(image[None])[0], single)


def test_the_backgrounds_colour_inside_of_an_outline_stays() -> None:
    picture, _ = disc(64, (255, 255, 255))
    picture[26:34, 26:38] = LINE
    picture[27:33, 27:37] = 255 - 20  # like an eye, nearly of the background's colour
    _, alpha = cut(picture)
    assert alpha[27:33, 27:37].min() == 1


def test_a_large_hole_is_background_and_a_small_one_is_not() -> None:
    picture, _ = disc(64, ROSE)
    picture[28:34, 20:26] = ROSE
    picture[30:32, 40:42] = ROSE
    _, alpha = cut(picture)
    assert alpha[29:33, 21:25].max() == 0
    assert alpha[30:32, 40:42].min() == 1


def test_noise_of_a_network_in_the_background_is_gone() -> None:
    picture, truth = disc(64, ROSE)
    noisy = np.clip(
        picture + np.random.default_rng(0).normal(0, 4, picture.shape), 0, 255
    )
    _, alpha = cut(noisy)
    assert alpha[truth == 0].mean() < 0.002
    assert np.abs(alpha - truth).mean() < 0.01


def test_a_picture_without_flat_background_is_named() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    message = (
        "picture 1 has no flat background to cut along: [0-9]+% of its border are of"
    )
    with pytest.raises(ChibiError, match=message):
        cut(noise)
    images = to_float(np.stack([disc(64, ROSE)[0].round(), noise]).astype(np.uint8))
    with pytest.raises(ChibiError, match="picture 2 has no flat background"):
        cut_out(images)


def test_a_background_alone_is_named() -> None:
    flat = np.full((64, 64, 3), ROSE)
    message = re.escape("picture 1 is background all over: nothing stays")
    with pytest.raises(ChibiError, match=message):
        cut(flat)
    flat[20, 20] -= 20  # a speck of noise
    with pytest.raises(ChibiError, match=message):
        cut(flat)


def test_what_is_too_small_or_missing_is_named() -> None:
    with pytest.raises(
        ChibiError, match="a picture of 64 x 7 pixels cannot be cut out: at least 8 x 8"
    ):
        cut_out(torch.zeros(1, 3, 7, 64))
    with pytest.raises(ChibiError, match="there is no picture to cut out"):
        cut_out(torch.zeros(0, 3, 64, 64))
