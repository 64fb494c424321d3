"""A modern variational autoencoder: attributes beside the latent, and a density of its latents."""

import torch
from torch import Tensor, nn

from chibi_lab.models.conditions import Wishes
from chibi_lab.models.strided import (
    he_init,
    inner_size,
    inner_widths,
    strided_down,
    strided_up,
)


class ModernEncoder(nn.Module):
    """Turns an image into a posterior q(z|x), and reads its attributes.

    Source: Kingma et al. (2014), "Semi-supervised learning with deep generative models", model M2.

    Args:
        size: Height and width of the images in pixels, multiples of 16.
        channels: Width at half the full resolution.
        latent_dim: Dimensions of the latent.
        counts: For each attribute the number of its values; empty without attributes.

    Raises:
        ChibiError: If size or channels is out of range.
    """

    def __init__(
        self,
        size: tuple[int, int],
        channels: int,
        latent_dim: int,
        counts: tuple[int, ...],
    ) -> None:
        super().__init__()
        height, width = inner_size(size)
        self.down = strided_down(channels)
        features = inner_widths(channels)[0] * height * width
        # Without BatchNorm nothing else keeps a step that goes wrong from growing layer by layer.
        self.normalise = nn.RMSNorm(features)
        self.posterior = nn.Linear(features, 2 * latent_dim)
        self.read = nn.Linear(features, sum(counts)) if counts else None
        self.apply(he_init)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode images.

        Args:
            images: (N, 3, H, W) in [-1, 1].

        Returns:
            Mean and logarithm of the variance of q(z|x), each (N, latent_dim), the logarithm
            held in [-30, 2], since no posterior need be wider than the prior; and the logits of
            all values of all attributes, (N, sum of counts).
        """
        # In float32, also where the rest is computed in bfloat16.
        features = self.normalise(self.down(images).flatten(1).float())
        mu, logvar = self.posterior(features).chunk(2, dim=1)
        logits = features[:, :0] if self.read is None else self.read(features)
        return mu, logvar.clamp(-30, 2), logits


class ModernDecoder(nn.Module):
    """Turns latents and attributes into images: the mean of p(x|z, c).

    Args:
        size: Height and width of the images in pixels, multiples of 16.
        channels: Width at half the full resolution.
        latent_dim: Dimensions of the latent.
        counts: For each attribute the number of its values; empty without attributes.

    Raises:
        ChibiError: If one of them is out of range.
    """

    def __init__(
        self,
        size: tuple[int, int],
        channels: int,
        latent_dim: int,
        counts: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.inner, self.wide = inner_size(size), inner_widths(channels)[0]
        self.wishes = Wishes(counts, latent_dim)
        self.project = nn.Linear(
            latent_dim + sum(counts), self.wide * self.inner[0] * self.inner[1]
        )
        self.up = strided_up(channels)
        self.apply(he_init)

    def forward(self, z: Tensor, attributes: Tensor | None = None) -> Tensor:
        """Decode latents.

        Args:
            z: Latents, (N, latent_dim).
            attributes: What each image shows, int64 (N, A). What is open is decided by the latent,
                which should then be standard normal. Or shares, as :meth:`Wishes.forward` takes
                them.

        Returns:
            Images, (N, 3, H, W) in [-1, 1].
        """
        projected = self.project(torch.cat([z, self.wishes(z, attributes)], dim=1))
        return self.up(projected.unflatten(1, (self.wide, *self.inner)))


class LatentDensity(nn.Module):
    r"""Where the encoder puts its latents: a normal distribution that follows them.

    The KL term draws the latents towards a standard normal distribution, but they never quite
    arrive, and the decoder has seen nothing in the gaps. Draw from where they are instead.

    Source: ex-post density estimation, Ghosh et al. (2020), section 4, here with one normal
    distribution of full covariance.

    Args:
        latent_dim: Dimensions of the latent.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("covariance", torch.eye(latent_dim))

    def forward(self, noise: Tensor) -> Tensor:
        """Latents from standard normal noise.

        Args:
            noise: (N, latent_dim).

        Returns:
            Latents, (N, latent_dim).
        """
        # Stored weights are rounded; a little on the diagonal keeps the matrix positive definite.
        little = 1e-3 * self.covariance.diagonal().mean()
        ridge = little * torch.eye(len(self.mean), device=noise.device)
        # The check that LAPACK's failure calls for would wait for the GPU: NaN speaks up later.
        factor, failed = torch.linalg.cholesky_ex(self.covariance + ridge)
        return self.mean + noise @ torch.where(failed > 0, torch.nan, factor).T

    @torch.no_grad()
    def follow(self, mean: Tensor, second_moment: Tensor, weight: float) -> None:
        """Move towards the latents of one batch.

        Args:
            mean: Their mean, (latent_dim,).
            second_moment: The mean of their outer products, (latent_dim, latent_dim).
            weight: How far, from 0 to 1.
        """
        moment = self.covariance + self.mean.outer(self.mean)
        moment.lerp_(second_moment, weight)
        self.mean.lerp_(mean, weight)
        self.covariance.copy_(moment - self.mean.outer(self.mean))


class ModernVAE(nn.Module):
    """Encoder, decoder, and the density that latents are drawn from.

    Args:
        size: Height and width of the images in pixels, multiples of 16.
        channels: Width at half the full resolution.
        latent_dim: Dimensions of the latent.
        counts: For each attribute the number of its values; empty where none can be asked for.

    Raises:
        ChibiError: If one of them is out of range.
    """

    def __init__(
        self,
        size: tuple[int, int] = (64, 64),
        channels: int = 32,
        latent_dim: int = 100,
        counts: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.encoder = ModernEncoder(size, channels, latent_dim, counts)
        self.decoder = ModernDecoder(size, channels, latent_dim, counts)
        self.density = LatentDensity(latent_dim)

    def forward(self, noise: Tensor, attributes: Tensor | None = None) -> Tensor:
        """Draw one image for each row of noise.

        Args:
            noise: Standard normal, (N, latent_dim).
            attributes: What each image shall show, int64 (N, A); -1 leaves an attribute open,
                None leaves all of them open. What is open is decided by the noise.

        Returns:
            Images, (N, 3, H, W) in [-1, 1].
        """
        shown = self.decoder.wishes.choose(noise, attributes)
        return self.decoder(self.density(noise), shown)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What an image is to the model.

        Args:
            images: (N, 3, H, W) in [-1, 1].

        Returns:
            Mean and logarithm of the variance of q(z|x), each (N, latent_dim), and the attributes
            as the encoder reads them, int64 (N, A).
        """
        mu, logvar, logits = self.encoder(images)
        values = [
            each.argmax(1) for each in logits.split(self.decoder.wishes.counts, 1)
        ]
        read = torch.zeros(len(images), 0, dtype=torch.int64, device=images.device)
        return mu, logvar, torch.cat([read, *(v[:, None] for v in values)], dim=1)
