"""Fine-tuning: a generator that knows one style learns another."""

import copy

import numpy as np
import pytest
import torch

from chibi_lab.data import ImageSet, to_float
from chibi_lab.errors import ChibiError
from chibi_lab.models import ModernGenerator
from chibi_lab.training import ModernGANConfig, restyle

SHORT = ModernGANConfig(
    size=32,
    channels=8,
    latent_dim=5,
    batch=8,
    images=3_200,
    ema_images=400,
    precision="float32",
)


@pytest.fixture(scope="module")
def teacher() -> ModernGenerator:
    torch.manual_seed(0)
    return ModernGenerator((32, 32), 8, 5).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def reddish() -> ImageSet:
    """Pictures of one colour each, all of them nearly the same."""
    random = np.random.default_rng(0)
    colours = np.array([200, 80, 60]) + random.integers(-20, 20, (64, 1, 1, 3))
    return ImageSet(np.broadcast_to(colours, (64, 32, 32, 3)).astype(np.uint8))


def test_the_pupil_draws_what_it_was_shown_and_the_teacher_stays(
    teacher: ModernGenerator, reddish: ImageSet
) -> None:
    before = copy.deepcopy(teacher.state_dict())
    pupil = restyle(teacher, reddish, SHORT, progress=False)
    after = teacher.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    z = torch.randn(64, 5)
    mean = to_float(reddish.images).mean((0, 2, 3))

    def off(network: ModernGenerator) -> float:
        return float((network(z).mean((0, 2, 3)) - mean).abs().max())

    assert off(pupil) < off(teacher) / 2
    assert not pupil.training
    assert not any(weight.requires_grad for weight in pupil.parameters())


def test_same_seed_same_pupil(teacher: ModernGenerator, labelled: ImageSet) -> None:
    config = ModernGANConfig(**{**vars(SHORT), "images": 40})
    one, same = (restyle(teacher, labelled, config, progress=False) for _ in range(2))
    other = ModernGANConfig(**{**vars(config), "seed": 1})
    another = restyle(teacher, labelled, other, progress=False)
    z = torch.randn(4, 5)
    assert torch.equal(one(z), same(z))
    assert not torch.equal(one(z), another(z))


def test_sizes_must_agree(teacher: ModernGenerator, narrow: ImageSet) -> None:
    with pytest.raises(
        ChibiError,
        match=r"draws 32 x 32 pixels, the config says 32 x 32, and the images have 64 x 48",
    ):
        restyle(teacher, narrow, SHORT)
