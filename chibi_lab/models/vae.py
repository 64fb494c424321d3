"""Encoder and decoder: a convolutional variational autoencoder (Kingma and Welling 2014)."""

import torch
from torch import Tensor, nn

from chibi_lab.models.blocks import (
    LATENT_SIZE,
    check_latent_dim,
    downsampler,
    upsampler,
    widths,
)


class Encoder(nn.Module):
    """Turns an image into a normal distribution over latents, the posterior q(z|x).

    Source: Kingma and Welling (2014), section 3 and appendix C.2.

    Args:
        size: Side of the images in pixels: 32, 64 or 128.
        channels: Width at half the full resolution.
        latent_dim: Dimensions of the latent.

    Raises:
        ChibiError: If one of the three is out of range.
    """

    def __init__(
        self, size: int = 64, channels: int = 32, latent_dim: int = 100
    ) -> None:
        super().__init__()
        check_latent_dim(latent_dim)
        self.size, self.latent_dim = size, latent_dim
        self.downsample = downsampler(size, channels, normalise_first=True)
        # One linear layer gives means and log-variances side by side.
        self.posterior = nn.Linear(
            widths(size, channels)[-1] * LATENT_SIZE**2, 2 * latent_dim
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images.

        Args:
            images: (N, 3, size, size) in [-1, 1].

        Returns:
            Mean and logarithm of the variance of q(z|x), each (N, latent_dim); the logarithm
            is held in [-30, 20].
        """
        mu, logvar = self.posterior(self.downsample(images).flatten(1)).chunk(2, dim=1)
        # One wild batch must not end the training: exp(20) is large, but exp(100) is infinite.
        return mu, logvar.clamp(-30, 20)


class Decoder(nn.Module):
    """Turns latents into images: the mean of p(x|z).

    Source: Kingma and Welling (2014), section 3 and appendix C.2.

    Args:
        size: Side of the images in pixels: 32, 64 or 128.
        channels: Width at half the full resolution.
        latent_dim: Dimensions of the latent.

    Raises:
        ChibiError: If one of the three is out of range.
    """

    def __init__(
        self, size: int = 64, channels: int = 32, latent_dim: int = 100
    ) -> None:
        super().__init__()
        check_latent_dim(latent_dim)
        self.size, self.latent_dim = size, latent_dim
        self.wide = widths(size, channels)[-1]
        self.project = nn.Sequential(
            nn.Linear(latent_dim, self.wide * LATENT_SIZE**2), nn.ReLU(inplace=True)
        )
        self.upsample = upsampler(size, channels)

    def forward(self, z: Tensor) -> Tensor:
        """Decode latents.

        Args:
            z: Latents, (N, latent_dim).

        Returns:
            Images, (N, 3, size, size) in [-1, 1].
        """
        return self.upsample(
            self.project(z).unflatten(1, (self.wide, LATENT_SIZE, LATENT_SIZE))
        )


def reparametrise(mu: Tensor, logvar: Tensor, epsilon: Tensor | None = None) -> Tensor:
    r"""Draw a latent from the posterior so that gradients reach the encoder.

    .. math:: z = \mu + \sigma \varepsilon, \quad \varepsilon \sim \mathcal{N}(0, 1)

    Source: Kingma and Welling (2014), section 2.4.

    Args:
        mu: Means, (N, latent_dim).
        logvar: Logarithms of the variances, the same shape.
        epsilon: Standard normal noise, the same shape; without it, drawn here.

    Returns:
        Latents, (N, latent_dim).
    """
    if epsilon is None:
        epsilon = torch.randn_like(mu)
    return mu + (0.5 * logvar).exp() * epsilon
