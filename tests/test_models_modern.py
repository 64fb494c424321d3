import numpy as np
import pytest
import torch

from chibi_lab.errors import ChibiError
from chibi_lab.models import (
    OPEN,
    ModernDiscriminator,
    ModernGenerator,
    ModernVAE,
    Wishes,
)
from chibi_lab.models.modern_vae import LatentDensity

COUNTS = (3, 2)
WISHES = torch.tensor([[0, 1], [2, 0], [1, 1]])


@pytest.mark.parametrize("size", [(64, 64), (64, 48), (128, 96), (32, 32), (48, 80)])
@pytest.mark.parametrize("counts", [(), COUNTS])
def test_shapes_and_ranges(size: tuple[int, int], counts: tuple[int, ...]) -> None:
    wishes = WISHES if counts else None
    generator = ModernGenerator(size, 4, 10, counts)
    vae = ModernVAE(size, 4, 10, counts)
    for network in (generator, vae):
        images = network(torch.randn(3, 10), wishes)
        assert images.shape == (3, 3, *size)
        assert images.abs().max() <= 1
    assert ModernDiscriminator(size, 4, counts)(images, wishes).shape == (3,)
    mu, logvar, read = vae.encode(images)
    assert mu.shape == logvar.shape == (3, 10)
    assert read.shape == (3, len(counts))
    assert vae.decoder(mu, read).shape == images.shape


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ChibiError, match=r"60 x 64 .* must be multiples of 16"):
        ModernGenerator((60, 64))
    with pytest.raises(ChibiError, match="channels is 0"):
        ModernDiscriminator((64, 64), 0)
    with pytest.raises(ChibiError, match="latent_dim is 1: it must be at least 2"):
        ModernVAE((64, 64), 4, 1, COUNTS)


def test_an_image_does_not_depend_on_its_neighbours() -> None:
    z, images = torch.randn(3, 10), torch.rand(3, 3, 32, 32)
    generator = ModernGenerator((32, 32), 4, 10, COUNTS)
    torch.testing.assert_close(generator(z, WISHES)[:1], generator(z[:1], WISHES[:1]))
    judge = ModernDiscriminator((32, 32), 4, COUNTS)
    torch.testing.assert_close(judge(images, WISHES)[:1], judge(images[:1], WISHES[:1]))


def test_networks_heed_what_is_asked() -> None:
    other = WISHES.flip(0)
    generator = ModernGenerator((32, 32), 4, 10, COUNTS)
    z = torch.randn(3, 10)
    assert not torch.allclose(generator(z, WISHES)[0], generator(z, other)[0])
    judge = ModernDiscriminator((32, 32), 4, COUNTS)
    images = torch.rand(3, 3, 32, 32)
    assert judge(images, WISHES)[0] != judge(images, other)[0]


def test_what_is_asked_stays_and_what_is_open_is_as_frequent_as_it_was() -> None:
    wishes = Wishes(COUNTS, 5)
    seen = torch.tensor([[0, 0]] * 60 + [[1, 0]] * 30 + [[2, 1]] * 10)
    for _ in range(20):
        wishes(torch.randn(100, 5), seen)
    wishes.eval()
    z = torch.randn(20_000, 5, generator=torch.Generator().manual_seed(0))
    chosen = wishes.choose(z)
    shares = [(chosen[:, 0] == value).float().mean() for value in range(3)]
    np.testing.assert_allclose(shares, [0.6, 0.3, 0.1], atol=0.02)
    np.testing.assert_allclose(chosen[:, 1].float().mean(), 0.1, atol=0.02)
    asked = torch.full_like(chosen, OPEN)
    asked[:, 1] = 1
    mixed = wishes.choose(z, asked)
    assert (mixed[:, 1] == 1).all()
    assert torch.equal(mixed[:, 0], chosen[:, 0])
    before = wishes.seen.clone()
    wishes(z, chosen)
    assert torch.equal(wishes.seen, before)  # counted in training only


def test_the_density_has_mean_and_covariance_of_the_latents() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(5_000, 4)) @ rng.normal(size=(4, 4)) + [1, 2, 3, 4]
    rows = torch.tensor(z, dtype=torch.float32)
    density = LatentDensity(4)
    density.follow(rows.mean(0), rows.T @ rows / len(rows), 1.0)
    expected = np.cov(z.T, bias=True)
    np.testing.assert_allclose(density.covariance, expected, atol=1e-3)
    drawn = density(torch.randn(50_000, 4, generator=torch.Generator().manual_seed(0)))
    np.testing.assert_allclose(drawn.mean(0), z.mean(0), atol=0.05)
    np.testing.assert_allclose(np.cov(drawn.numpy().T), expected, rtol=0.05, atol=0.1)
