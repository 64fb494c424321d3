r"""An invisible mark in a picture that says one thing: a model of this project drew it.

A pattern that looks like faint noise is added to the brightness. It is a sum of waves of equal
strength whose phases are drawn from a key, and it is as wide and as high as the picture, so it is
enlarged and reduced together with it. The waves are those of a middle band: coarse enough to
outlast JPEG and half the size, fine enough not to be seen as a shape.

To find it, nobody needs the picture as it was. The picture is brought to 128 pixels a side, and
what is smooth is taken out of it. In what remains, r, a drawing's lines are a hundred times as
strong as the mark; r / (1 + (r / c)²) makes them weaker than it, so that the flat areas decide.
The waves of the result, X, and of the pattern, P, are compared:

.. math:: s = \sum_k \operatorname{Re}(X_k \bar P_k) \Big/ \sqrt{\tfrac12 \sum_k |X_k|^2},
    \qquad |P_k| = 1.

Since the phases of P are independent and uniform, s has mean 0 and variance 1 over all keys in any
picture that is not marked, and is nearly normal as a sum of thousands of terms. That gives the
threshold. One Fourier transform gives s at all shifts of the pattern; with some sizes of it, that
finds the mark in what was cut out of a picture, too, at a higher threshold.

The key stands in this file. Whoever reads it can mark any picture, or take the mark out.

Source: spread-spectrum watermarks are those of Cox et al. (1997); r / (1 + (r / c)²) is, up to a
factor, the function of the locally optimum detector for noise with Cauchy's distribution (Miller
and Thomas, 1972).
"""

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from PIL import Image

from chibi_lab.errors import ChibiError

FALSE_POSITIVES = (
    1e-5  # share of unmarked pictures, by theory, in which a mark is found
)
SMALLEST = 256  # side in pixels of what can be marked
LEAST = 64  # side in pixels of what can be searched
KEY = 0xC41B1  # of the phases
BAND = 12, 36  # cycles in a picture's side
# Standard deviation of the pattern in levels, 0 to 255: at 256 pixels, and the least. The larger a
# picture, the less JPEG takes of waves that are as wide.
STRENGTH, LEAST_STRENGTH = 0.7, 0.5
CANVAS = 128  # pixels a side, on which the pattern is looked for
SMOOTH = 5  # pixels a side, whose mean is what is smooth
SOFT = 1.0  # c, in levels
KEPT = tuple(percent / 100 for percent in range(100, 78, -2))  # of a side, when cut
GREY = 128  # what transparent parts are laid on
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in JPEG


@dataclass(frozen=True)
class Detection:
    """How well a picture agrees with the mark.

    Attributes:
        score: In standard deviations of a picture that is not marked.
        threshold: What the score must exceed: more if the mark was searched at all shifts.
        present: Whether it does.
    """

    score: float
    threshold: float
    present: bool


def mark(pixels: np.ndarray) -> np.ndarray:
    """Put the mark into a picture.

    Args:
        pixels: uint8 (H, W, 3), or (H, W, 4) with alpha, at least 256 pixels a side.

    Returns:
        The same shape and type. Alpha, and what is wholly transparent, stay as they are.

    Raises:
        ChibiError: If it is no such picture.
    """
    _check(pixels, SMALLEST)
    height, width = pixels.shape[:2]
    size = (SMALLEST / min(height, width)) ** 0.5
    strength = max(LEAST_STRENGTH, STRENGTH * size)
    added = np.float32(strength) * _pattern(height, width)[..., None]
    colours = np.rint(pixels[..., :3] + added).clip(0, 255).astype(np.uint8)
    if pixels.shape[2] == 3:
        return colours
    seen = pixels[..., 3:] > 0
    colours = np.where(seen, colours, pixels[..., :3])
    return np.concatenate([colours, pixels[..., 3:]], axis=2)


def detect(pixels: np.ndarray) -> Detection:
    """Look for the mark in a picture.

    It is looked for where :func:`mark` puts it, and then in all places, as if up to a fifth of
    width and height had been cut off. Each of the two has half of the false positives.

    Args:
        pixels: uint8 (H, W, 3), or (H, W, 4) with alpha, at least 64 pixels a side.

    Returns:
        What was found.

    Raises:
        ChibiError: If it is no such picture.
    """
    _check(pixels, LEAST)
    grey = _brightness(pixels)
    score, threshold = float(_scores(grey, 1.0)[0, 0]), _threshold(1)
    if score <= threshold:
        best = max(float(_scores(grey, kept).max()) for kept in KEPT)
        anywhere = _threshold(len(KEPT) * CANVAS**2)
        # Of the two that are not enough, the place where the mark belongs says more.
        if best > anywhere:
            score, threshold = best, anywhere
    return Detection(score, threshold, score > threshold)


def _check(pixels: np.ndarray, least: int) -> None:
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or pixels.dtype != np.uint8:
        raise ChibiError(
            "expected a uint8 picture of shape (H, W, 3) or (H, W, 4), "
            f"not {pixels.dtype} of shape {pixels.shape}"
        )
    height, width = pixels.shape[:2]
    if min(height, width) < least:
        raise ChibiError(
            f"a picture of {width} x {height} pixels is too small: "
            f"for a watermark either side needs {least}"
        )


@lru_cache(maxsize=4)
def _pattern(height: int, width: int) -> np.ndarray:
    """The pattern at one size, (height, width), with mean 0 and standard deviation 1."""
    high = BAND[1]
    down, across = np.arange(-high, high + 1), np.arange(high + 1)
    length = np.hypot(down[:, None], across)
    # Half of the plane: a wave and its opposite are one.
    band = (length >= BAND[0]) & (length <= high) & (across > 0)
    turns = np.random.Generator(np.random.PCG64(KEY)).random(band.shape)
    waves = np.exp(2j * np.pi * turns) * band
    # Places are the middles of pixels, as shares of the side, which resizing leaves alone.
    y, x = ((np.arange(side) + 0.5) / side for side in (height, width))
    rows = np.exp(2j * np.pi * y[:, None] * down)
    columns = np.exp(2j * np.pi * across[:, None] * x)
    summed = (rows @ waves @ columns).real / np.sqrt(band.sum() / 2)
    return summed.astype(np.float32)


@lru_cache(maxsize=1)
def _waves() -> tuple[np.ndarray, np.ndarray]:
    """The pattern's Fourier transform on the canvas with |P| = 1, and which waves are of it."""
    waves = np.fft.rfft2(_pattern(CANVAS, CANVAS))
    strength = np.abs(waves)
    band = strength > strength.max() / 2
    return np.where(band, waves / np.maximum(strength, 1), 0), band


def _brightness(pixels: np.ndarray) -> Image.Image:
    grey = pixels[..., :3] @ LUMA
    if pixels.shape[2] == 4:
        grey = GREY + (grey - GREY) * (pixels[..., 3] / np.float32(255))
    return Image.fromarray(grey)


def _scores(grey: Image.Image, kept: float) -> np.ndarray:
    """How well a picture agrees with the pattern at every shift.

    Args:
        grey: Its brightness.
        kept: How much of the marked picture's width and height it is taken to have.

    Returns:
        (128, 128). The first is the agreement without a shift.
    """
    side = round(kept * CANVAS)
    small = np.asarray(grey.resize((side, side), Image.Resampling.LANCZOS))
    padded = np.pad(small, SMOOTH // 2, mode="reflect")
    around = np.lib.stride_tricks.sliding_window_view(padded, (SMOOTH, SMOOTH))
    rest = small - around.mean((2, 3))
    canvas = np.zeros((CANVAS, CANVAS), np.float32)
    canvas[:side, :side] = rest / (1 + (rest / SOFT) ** 2)
    waves, band = _waves()
    found = np.fft.rfft2(canvas)
    deviation = np.sqrt((np.abs(found[band]) ** 2).sum() / 2)
    # The inverse transform divides by the number of pixels, and counts each wave twice.
    agreement = np.fft.irfft2(found * waves.conj(), (CANVAS, CANVAS)) * CANVAS**2 / 2
    return agreement / max(deviation, 1e-3)


def _threshold(places: int) -> float:
    """What the best score of some places exceeds in so few pictures that are not marked."""
    return -NormalDist().inv_cdf(FALSE_POSITIVES / 2 / places)
