"""Distances between sets: against other ways to compute them, and on pictures made worse."""

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

from chibi_lab import pretrained
from chibi_lab.data import load_avatars, split_seeds, to_float
from chibi_lab.errors import ChibiError
from chibi_lab.evaluation import (
    Judge,
    frechet_distance,
    histogram_distance,
    kernel_distance,
    load_judge,
    neighbourhoods,
)

COUNT = 450


@pytest.fixture(scope="module")
def judge() -> Judge:
    return load_judge(pretrained.path("judge") / "judge.safetensors")


@pytest.fixture(scope="module")
def avatars() -> tuple[torch.Tensor, np.ndarray]:
    images = load_avatars(seeds=split_seeds("test", 2 * COUNT), progress=False)
    return to_float(images.images), images.attributes


def two_sets(features: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    dice = torch.Generator().manual_seed(0)
    mix = torch.randn(features, features, generator=dice)
    real = torch.randn(90, features, generator=dice) @ mix
    return real, torch.randn(80, features, generator=dice) + 0.5


def test_frechet_distance_is_the_formula() -> None:
    real, drawn = (side.double().numpy() for side in two_sets())
    cov_r, cov_d = np.cov(real.T), np.cov(drawn.T)
    values, vectors = np.linalg.eigh(cov_r)
    root = vectors * np.sqrt(values) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov_d @ root)).sum()
    expected = ((real.mean(0) - drawn.mean(0)) ** 2).sum()
    expected += np.trace(cov_r) + np.trace(cov_d) - 2 * cross
    assert frechet_distance(*two_sets()) == pytest.approx(expected, rel=1e-6)


def test_kernel_distance_is_the_unbiased_estimate() -> None:
    real, drawn = two_sets()
    real = real[:80]  # then each of the draws holds all
    size, dim = real.shape

    def mean_of_pairs(a: torch.Tensor, b: torch.Tensor, same: bool) -> float:
        kernel = (a @ b.T / dim + 1) ** 3
        if not same:
            return kernel.mean().item()
        return ((kernel.sum() - kernel.trace()) / (size * (size - 1))).item()

    expected = mean_of_pairs(real, real, True) + mean_of_pairs(drawn, drawn, True)
    expected -= 2 * mean_of_pairs(real, drawn, False)
    assert kernel_distance(real, drawn) == pytest.approx(expected, rel=1e-4)


def test_neighbourhoods_are_counted_one_by_one() -> None:
    real, drawn = two_sets(3)

    def radius(points: torch.Tensor, i: int) -> float:
        return sorted((points - points[i]).norm(dim=1).tolist())[5]

    inside = [
        [(r - d).norm().item() <= radius(real, i) for d in drawn]
        for i, r in enumerate(real)
    ]
    within = [
        [(r - d).norm().item() <= radius(drawn, k) for k, d in enumerate(drawn)]
        for r in real
    ]
    found = neighbourhoods(real, drawn)
    assert found["precision"] == pytest.approx(np.any(inside, axis=0).mean())
    assert found["coverage"] == pytest.approx(np.any(inside, axis=1).mean())
    assert found["recall"] == pytest.approx(np.any(within, axis=1).mean())
    assert found["density"] == pytest.approx(np.sum(inside, axis=0).mean() / 5)


def test_histogram_distance() -> None:
    same, other = np.array([0, 0, 1, 2]), np.array([3, 3])
    assert histogram_distance(same, same[::-1]) == 0
    assert histogram_distance(same, other) == 1
    assert histogram_distance(same, np.array([0, 1])) == pytest.approx(0.25)


def test_too_few_pictures_are_refused() -> None:
    few = torch.randn(5, 6)
    with pytest.raises(ChibiError, match="5 pictures are too few: at least 7"):
        frechet_distance(few, few)
    with pytest.raises(ChibiError, match="at least 6"):
        neighbourhoods(few, few)


def test_every_figure_moves_the_right_way(
    judge: Judge, avatars: tuple[torch.Tensor, np.ndarray]
) -> None:
    images, attributes = avatars
    real, others = judge.features(images[:COUNT]), images[COUNT:]
    dice = torch.Generator().manual_seed(0)
    noise = torch.randn(others.shape, generator=dice)
    some_hair = others[attributes[COUNT:, 0] < 38]
    less_hair = others[attributes[COUNT:, 0] < 30]
    ways = {
        "blur": [others, gaussian_blur(others, 7, 0.6), gaussian_blur(others, 7, 1.2)],
        "noise": [others, others + 0.15 * noise, others + 0.3 * noise],
        "hair styles": [others, some_hair, less_hair],
        "faces": [
            others,
            others[:90].repeat(5, 1, 1, 1),
            others[:30].repeat(15, 1, 1, 1),
        ],
    }
    for way, sets in ways.items():
        features = [judge.features(images) for images in sets]
        distances = [frechet_distance(real, one) for one in features]
        assert distances[0] < distances[1] < distances[2], way
        kernels = [kernel_distance(real, one) for one in features]
        assert kernels[0] < kernels[1] < kernels[2], way
        around = [neighbourhoods(real, one) for one in features]
        # None of these sees everything; each way costs this one.
        name = {"blur": "recall", "noise": "precision"}.get(way, "coverage")
        assert around[0][name] > around[2][name], way
    first = judge.features(others)
    assert abs(kernel_distance(real, first)) < 0.01
    assert neighbourhoods(real, first)["coverage"] > 0.9
