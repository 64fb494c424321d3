"""The detector tells two sides apart if there is something to tell, and else does not."""

import numpy as np
import pytest
import torch

from chibi_lab.data import to_float
from chibi_lab.errors import ChibiError
from chibi_lab.evaluation import Detector, train_detector


def discs(count: int, seed: int, blurred: bool = False) -> np.ndarray:
    """Discs of any colour and place, with hard edges or soft ones."""
    dice = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    top, left, radius = dice.uniform([[16], [16], [6]], [[48], [48], [15]], (3, count))
    away = np.hypot(y - top[:, None, None], x - left[:, None, None])
    inside = radius[:, None, None] - away
    share = np.clip(inside / (4 if blurred else 0.5) + 0.5, 0, 1)[..., None]
    ground, colour = dice.integers(0, 256, (2, count, 1, 1, 3))
    return (ground + share * (colour - ground)).round().astype(np.uint8)


def trained(real: np.ndarray, generated: np.ndarray) -> Detector:
    return train_detector(real, generated, 4_800, channels=8, batch=32, progress=False)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return trained(discs(256, 0), discs(256, 1, blurred=True))


def test_a_clear_difference_is_learned(detector: Detector) -> None:
    figures = detector.measure(discs(200, 2), discs(200, 3, blurred=True))
    assert figures["accuracy"] > 0.95 and figures["auc"] > 0.99
    assert figures["real"] < 0.1 and figures["generated"] > 0.9


def test_two_halves_of_one_set_cannot_be_told_apart() -> None:
    detector = trained(discs(256, 0), discs(256, 1))
    figures = detector.measure(discs(500, 2), discs(500, 3))
    assert abs(figures["accuracy"] - 0.5) < 0.08
    assert abs(figures["auc"] - 0.5) < 0.08


def test_levels_finer_than_8_bits_give_nothing_away(detector: Detector) -> None:
    images = to_float(discs(20, 4))
    finer = images + 0.3 / 127.5
    assert torch.equal(detector.probability(images), detector.probability(finer))
    assert torch.equal(detector.probability(images), detector.probability(discs(20, 4)))


def test_the_same_seed_gives_the_same_detector(detector: Detector) -> None:
    again = trained(discs(256, 0), discs(256, 1, blurred=True))
    pictures = discs(20, 4)
    assert torch.equal(detector.probability(pictures), again.probability(pictures))


def test_unfit_pictures_are_refused_in_a_line(detector: Detector) -> None:
    small = np.zeros((4, 32, 48, 3), np.uint8)
    with pytest.raises(ChibiError, match="64 x 64 pixels, not 48 x 32"):
        detector.probability(small)
    with pytest.raises(ChibiError, match="64 x 64 pixels, not 48 x 32"):
        train_detector(discs(64, 0), small, 64)
    with pytest.raises(ChibiError, match="there are no images"):
        detector.measure(discs(4, 0), small[:0])
    with pytest.raises(ChibiError, match="batch is 7: it must be an even number"):
        train_detector(discs(8, 0), discs(8, 1), 64, batch=7)
    with pytest.raises(ChibiError, match="batch"):
        train_detector(discs(8, 0), discs(64, 1), 64)
