import numpy as np
import pytest
import torch

from chibi_lab.errors import ChibiError
from chibi_lab.models import ModernVAE
from chibi_lab.models.modern_vae import LatentDensity

COUNTS = (3, 2)
SHAPES = [(32, 32), (64, 64), (64, 48), (128, 96)]


def noise(count: int, latent_dim: int = 7) -> torch.Tensor:
    return torch.randn(count, latent_dim, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def vae() -> ModernVAE:
    torch.manual_seed(0)
    return ModernVAE((32, 32), channels=4, latent_dim=7, counts=COUNTS)


@pytest.mark.parametrize("counts", [(), COUNTS])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_and_ranges_at_each_size(
    shape: tuple[int, int], counts: tuple[int, ...]
) -> None:
    vae = ModernVAE(shape, 2, 7, counts)
    images = vae(noise(3))
    assert images.shape == (3, 3, *shape)
    assert images.abs().max() <= 1
    mu, logvar, read = vae.encode(images)
    assert mu.shape == logvar.shape == (3, 7)
    assert read.shape == (3, len(counts))
    assert read.dtype == torch.int64
    assert all(((0 <= c) & (c < n)).all() for c, n in zip(read.T, counts, strict=True))
    assert vae.encoder(images)[2].shape == (3, sum(counts))


def test_the_encoder_reads_the_value_of_its_largest_logit(vae: ModernVAE) -> None:
    images = vae(noise(40))
    hair, glasses = vae.encoder(images)[2].split(COUNTS, dim=1)
    read = vae.encode(images)[2]
    assert torch.equal(read, torch.stack([hair.argmax(1), glasses.argmax(1)], dim=1))


def test_the_logarithm_of_the_variance_is_held_in_bounds(vae: ModernVAE) -> None:
    with torch.no_grad():
        vae.encoder.posterior.weight.mul_(1e4)
    logvar = vae.encode(vae(noise(8)))[1]
    assert (logvar.min().item(), logvar.max().item()) == (-30, 2)


@pytest.mark.parametrize("training", [True, False])
def test_an_image_does_not_depend_on_its_neighbours(
    training: bool, vae: ModernVAE
) -> None:
    vae.train(training)
    z = noise(9)
    images = vae(z)
    torch.testing.assert_close(images[4:5], vae(z[4:5]), atol=1e-5, rtol=0)
    mu = vae.encode(images)[0]
    torch.testing.assert_close(mu[4:5], vae.encode(images[4:5])[0], atol=1e-4, rtol=0)


def test_the_noise_chooses_what_is_open_and_the_density_places_the_latent(
    vae: ModernVAE,
) -> None:
    z = noise(6)
    mean = torch.full((7,), 3.0)
    vae.density.follow(mean, mean.outer(mean) + 2 * torch.eye(7), weight=0.5)
    shown = vae.decoder.wishes.choose(z)
    assert torch.equal(vae(z), vae.decoder(vae.density(z), shown))
    asked = shown.clone()
    asked[:, 1] = 1 - asked[:, 1]
    assert (vae(z) - vae(z, asked)).abs().amax((1, 2, 3)).min() > 1e-3
    part = torch.stack([torch.full((6,), -1), asked[:, 1]], dim=1)
    assert torch.equal(vae(z, part), vae(z, asked))


def latents() -> np.ndarray:
    """Latents whose dimensions hang together, off the middle."""
    random = np.random.default_rng(0)
    return random.normal(size=(400, 5)) @ random.normal(size=(5, 5)) + [3, 0, 0, -1, 2]


def moments(z: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    outer = z[:, :, None] * z[:, None, :]
    return torch.tensor(z.mean(0)).float(), torch.tensor(outer.mean(0)).float()


def test_all_the_way_to_a_batch_is_its_mean_and_covariance() -> None:
    z, density = latents(), LatentDensity(5)
    density.follow(*moments(z), weight=1.0)
    np.testing.assert_allclose(density.mean, z.mean(0), atol=1e-5)
    np.testing.assert_allclose(density.covariance, np.cov(z.T, bias=True), atol=1e-3)


def test_half_of_the_way_is_the_mixture_of_both() -> None:
    z, density = latents(), LatentDensity(5)
    first, second = z[:200], z[200:] + 4
    density.follow(*moments(first), weight=1.0)
    density.follow(*moments(second), weight=0.5)
    both = np.concatenate([first, second])
    np.testing.assert_allclose(density.mean, both.mean(0), atol=1e-5)
    np.testing.assert_allclose(density.covariance, np.cov(both.T, bias=True), atol=1e-2)


def test_draws_have_that_mean_and_covariance() -> None:
    z, density = latents(), LatentDensity(5)
    density.follow(*moments(z), weight=1.0)
    drawn = density(noise(100_000, 5)).numpy()
    covariance = np.cov(z.T, bias=True)
    np.testing.assert_allclose(drawn.mean(0), z.mean(0), atol=0.05)
    np.testing.assert_allclose(
        np.cov(drawn.T), covariance, atol=0.02 * np.abs(covariance).max()
    )


def test_a_new_density_is_standard_normal() -> None:
    z = noise(20, 5)
    torch.testing.assert_close(LatentDensity(5)(z), z, atol=0.01, rtol=0)


def test_a_density_that_is_flat_in_a_direction_still_draws() -> None:
    density = LatentDensity(3)
    line = np.outer(np.linspace(-1, 1, 50), [1.0, 2.0, 0.0])
    density.follow(*moments(line), weight=1.0)
    drawn = density(noise(1000, 3))
    assert drawn.isfinite().all()
    assert (drawn[:, 1] - 2 * drawn[:, 0]).abs().max() < 0.5


def test_weights_in_half_precision_draw_nearly_the_same() -> None:
    density, rounded = LatentDensity(5), LatentDensity(5)
    density.follow(*moments(latents()), weight=1.0)
    rounded.load_state_dict({k: v.half() for k, v in density.state_dict().items()})
    z = noise(100, 5)
    torch.testing.assert_close(density(z), rounded(z), atol=0.02, rtol=0)


def test_what_is_no_covariance_gives_no_numbers_but_no_crash() -> None:
    density = LatentDensity(2)
    density.follow(torch.zeros(2), -torch.eye(2), weight=1.0)
    assert density(noise(3, 2)).isnan().any()


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(ChibiError, match=r"64 x 40 pixels .* multiples of 16"):
        ModernVAE((64, 40))
    with pytest.raises(ChibiError, match="channels is 0: it must be at least 1"):
        ModernVAE(channels=0)
    with pytest.raises(ChibiError, match="latent_dim is 1: it must be at least 2"):
        ModernVAE(latent_dim=1, counts=COUNTS)
