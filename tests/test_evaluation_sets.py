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
    coverage,
    effective_count,
    frechet_distance,
    histogram_distance,
    kernel_distance,
    load_judge,
    memorisation,
    neighbourhoods,
    psnr,
    ssim,
)
from chibi_lab.evaluation.reference import OF_JUDGE, set_figures
from chibi_lab.evaluation.sets import leave_out_interval

COUNT, TRAIN = 450, 1_000


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


Worse = dict[str, list[torch.Tensor]]


@pytest.fixture(scope="module")
def worse(avatars: tuple[torch.Tensor, np.ndarray]) -> Worse:
    """Further real pictures, and the same made worse twice, in five ways."""
    images, attributes = avatars
    others, hair = images[COUNT:], attributes[COUNT:, 0]
    noise = torch.randn(others.shape, generator=torch.Generator().manual_seed(0))
    train = load_avatars(seeds=range(TRAIN), progress=False)
    copies = to_float(train.images[:300])
    return {
        "blur": [others, gaussian_blur(others, 7, 0.6), gaussian_blur(others, 7, 1.2)],
        "noise": [others, others + 0.15 * noise, others + 0.3 * noise],
        "hair styles": [others, others[hair < 38], others[hair < 30]],
        "faces": [
            others,
            others[:90].repeat(5, 1, 1, 1),
            others[:30].repeat(15, 1, 1, 1),
        ],
        "copies": [others, torch.cat([copies[:150], others[150:]]),
                   torch.cat([copies, others[300:]])],
    }  # fmt: skip


# No figure sees everything. What falls is marked with a minus.
SEEN = {
    "blur": {"frechet", "kernel", "-recall"},
    "noise": {"frechet", "kernel", "-precision", "-density", "-coverage"},
    "hair styles": {"frechet", "kernel", "-density", "-coverage"},
    "faces": {"frechet", "kernel", "-recall", "-density", "-coverage"},
}


@pytest.mark.parametrize("way", SEEN)
def test_figures_of_features_move_the_right_way(
    way: str, judge: Judge, avatars: tuple[torch.Tensor, np.ndarray], worse: Worse
) -> None:
    real = judge.features(avatars[0][:COUNT])
    rows = [set_figures(real, judge.features(s), OF_JUDGE) for s in worse[way]]
    for name in SEEN[way]:
        sign = -1 if name.startswith("-") else 1
        first, second, third = (sign * row[name.removeprefix("-")] for row in rows)
        assert first < second < third, (way, name, rows)


@pytest.mark.parametrize("way", ["hair styles", "faces"])
def test_figures_of_readings_move_the_right_way(
    way: str, judge: Judge, avatars: tuple[torch.Tensor, np.ndarray], worse: Worse
) -> None:
    real = judge.read(avatars[0][:COUNT])[:, 0]
    read = [judge.read(images)[:, 0] for images in worse[way]]
    first, second, third = (histogram_distance(real, one) for one in read)
    assert first < second < third
    first, second, third = (coverage(one, real) for one in read)
    assert first > second > third
    first, second, third = (effective_count(one) for one in read)
    assert first > second > third


@pytest.mark.parametrize("way", ["blur", "noise"])
def test_figures_of_reconstructions_move_the_right_way(way: str, worse: Worse) -> None:
    for measure in (psnr, ssim):
        first, second, third = (
            measure(images, worse[way][0]).mean() for images in worse[way]
        )
        assert first > second > third, measure


def test_copies_are_seen_by_their_own_figures_alone(
    judge: Judge, avatars: tuple[torch.Tensor, np.ndarray], worse: Worse
) -> None:
    real = avatars[0][:COUNT]
    train = load_avatars(seeds=range(TRAIN), progress=False)
    found = [memorisation(images, train, real) for images in worse["copies"]]
    assert found[0].copied < found[1].copied < found[2].copied
    assert found[0].ratio > found[1].ratio > found[2].ratio
    # Copies are real pictures: for every other figure they are as good as new ones.
    features = judge.features(real)
    distances = [
        kernel_distance(features, judge.features(images)) for images in worse["copies"]
    ]
    assert max(map(abs, distances)) < 0.01


def test_real_against_real_is_near_zero(
    judge: Judge, avatars: tuple[torch.Tensor, np.ndarray]
) -> None:
    real, others = (judge.features(half) for half in avatars[0].split(COUNT))

    def figures(rows: torch.Tensor) -> dict[str, float | None]:
        return set_figures(real, rows, OF_JUDGE)

    found, interval = figures(others), leave_out_interval(figures, others)
    assert abs(found["kernel"]) < 0.01
    assert interval["kernel"]["low"] < 0 < interval["kernel"]["high"]
    assert found["coverage"] > 0.9
    assert interval["coverage"]["low"] < found["coverage"]
    # The same number of images is as far from itself as two halves of anything real.
    assert found["frechet"] < 10


def test_leaving_out_gives_the_error_of_a_mean() -> None:
    rows = torch.randn(5_000, 1, generator=torch.Generator().manual_seed(0))
    widths = []
    for part in rows.split(100):
        interval = leave_out_interval(lambda r: {"mean": r.mean().item()}, part)["mean"]
        widths.append(interval["high"] - interval["low"])
    assert np.mean(widths) == pytest.approx(4 / 10, rel=0.15)  # 4 times 1 / sqrt(100)
    assert leave_out_interval(lambda r: {"mean": 1.0}, rows[:1]) == {"mean": None}
    few = leave_out_interval(
        lambda r: {"many": None if len(r) < 100 else 1.0}, rows[:100]
    )
    assert few == {"many": None}


def test_too_few_pictures_leave_figures_out() -> None:
    real, drawn = two_sets()
    few = set_figures(real, drawn[:5], OF_JUDGE)
    assert few["kernel"] is not None
    assert all(few[name] is None for name in OF_JUDGE if name != "kernel")
    enough = real.repeat(2, 1), drawn.repeat(2, 1)
    assert None not in set_figures(*enough, OF_JUDGE).values()
