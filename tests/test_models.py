import pytest
import torch

from chibi_lab.errors import ChibiError
from chibi_lab.models import Decoder, Discriminator, Encoder, Generator, reparametrise


@pytest.mark.parametrize("size", [32, 64, 128])
def test_shapes_and_ranges_at_each_size(size: int) -> None:
    z = torch.randn(2, 7)
    images = Generator(size, channels=4, latent_dim=7)(z)
    assert images.shape == (2, 3, size, size)
    assert images.abs().max() <= 1
    assert Discriminator(size, channels=4)(images).shape == (2,)
    mu, logvar = Encoder(size, channels=4, latent_dim=7)(images)
    assert mu.shape == logvar.shape == (2, 7)
    decoded = Decoder(size, channels=4, latent_dim=7)(mu)
    assert decoded.shape == (2, 3, size, size)
    assert decoded.abs().max() <= 1


def test_discriminator_gives_logits_not_probabilities() -> None:
    torch.manual_seed(0)
    judge = Discriminator(32, channels=4)
    with torch.no_grad():
        for weight in judge.judge.parameters():
            weight.mul_(100)
    logits = judge(torch.rand(16, 3, 32, 32) * 2 - 1)
    assert logits.min() < 0 or logits.max() > 1


def test_dcgan_is_as_published() -> None:
    generator, discriminator = Generator(64, 64, 100), Discriminator(64, 64)
    # Radford et al. (2016), figure 1: 4 x 4 pixels first, then 8, 16, 32 and 64.
    kernels = [tuple(p.shape) for p in generator.parameters() if p.dim() == 4]
    assert kernels == [
        (100, 512, 4, 4), (512, 256, 4, 4), (256, 128, 4, 4), (128, 64, 4, 4), (64, 3, 4, 4),
    ]  # fmt: skip
    weights = generator.project[0].weight
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    kinds = [type(layer).__name__ for layer in discriminator.downsample[:3]]
    # No BatchNorm after the first convolution.
    assert kinds == [
        "Conv2d",
        "LeakyReLU",
        "Conv2d",
    ]


@pytest.mark.parametrize("size", [0, 16, 48, 65, 256])
def test_other_sizes_are_refused_with_the_right_ones(size: int) -> None:
    for build in (Generator, Discriminator, Encoder, Decoder):
        with pytest.raises(
            ChibiError, match=f"size {size} is not supported: choose 32, 64 or 128"
        ):
            build(size)


def test_networks_without_width_or_latent_are_refused() -> None:
    with pytest.raises(ChibiError, match="channels is 0: it must be at least 1"):
        Generator(channels=0)
    with pytest.raises(ChibiError, match="latent_dim is 0: it must be at least 1"):
        Encoder(latent_dim=0)


def test_reparametrise_draws_from_the_posterior_and_passes_gradients() -> None:
    mu = torch.full((50_000, 1), 1.5, requires_grad=True)
    logvar = torch.full((50_000, 1), -1.0, requires_grad=True)
    epsilon = torch.randn(mu.shape, generator=torch.Generator().manual_seed(0))
    z = reparametrise(mu, logvar, epsilon)
    assert z.mean().item() == pytest.approx(1.5, abs=0.01)
    assert z.var().item() == pytest.approx(torch.tensor(-1.0).exp().item(), rel=0.03)
    z.sum().backward()
    torch.testing.assert_close(mu.grad, torch.ones_like(mu))
    torch.testing.assert_close(logvar.grad, 0.5 * (z - mu).detach())


def test_reparametrise_without_noise_draws_its_own() -> None:
    mu, logvar = torch.zeros(3, 2), torch.zeros(3, 2)
    assert not torch.equal(reparametrise(mu, logvar), reparametrise(mu, logvar))
    assert torch.equal(reparametrise(mu, logvar, torch.zeros(3, 2)), mu)
