"""Generator and discriminator of a modern GAN: no normalisation, and attributes on request."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chibi_lab.models.conditions import Wishes, one_hot
from chibi_lab.models.strided import (
    SLOPE,
    he_init,
    inner_size,
    inner_widths,
    strided_down,
    strided_up,
)

MAPPED = 256  # width of the linear layers


class ModernGenerator(nn.Module):
    """Turns latents, and attributes that are asked for, into images.

    Two linear layers mix the latent with the wishes. From there it is as in DCGAN, transposed
    convolutions with stride 2, but without BatchNorm: what one image looks like no longer
    depends on the others in its batch.

    Source: Huang et al. (2024), section 3, keep no normalisation; the strided convolutions are
    DCGAN's (Radford et al. 2016), which cost least on a processor.

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
        self.inner, self.wide = inner_size(size), inner_widths(channels)[0]
        self.wishes = Wishes(counts, latent_dim)
        self.mix = nn.Sequential(
            nn.Linear(latent_dim + sum(counts), MAPPED),
            nn.LeakyReLU(SLOPE),
            nn.Linear(MAPPED, MAPPED),
            nn.LeakyReLU(SLOPE),
            nn.Linear(MAPPED, self.wide * self.inner[0] * self.inner[1]),
        )
        self.up = strided_up(channels)
        self.apply(he_init)

    def forward(self, z: Tensor, attributes: Tensor | None = None) -> Tensor:
        """Draw one image for each latent.

        Args:
            z: Latents from a standard normal distribution, (N, latent_dim).
            attributes: What each image shall show, int64 (N, A); -1 leaves an attribute open,
                None leaves all of them open. What is open is decided by the latent. Or shares, as
                :meth:`Wishes.forward` takes them.

        Returns:
            Images, (N, 3, H, W) in [-1, 1].
        """
        mixed = self.mix(torch.cat([z, self.wishes(z, attributes)], dim=1))
        return self.up(mixed.unflatten(1, (self.wide, *self.inner)))


class ModernDiscriminator(nn.Module):
    r"""Says how real an image looks, and how well it shows what was asked for.

    .. math:: l(x, c) = w^T \varphi(x) + \frac{1}{\sqrt{A}} \sum_a v_{a, c_a}^T \varphi(x)

    Source: the sum is the projection of Miyato and Koyama (2018), equation 5, one for each
    attribute.

    Args:
        size: Height and width of the images in pixels, multiples of 16.
        channels: Width at half the full resolution.
        counts: For each attribute the number of its values; empty without attributes.

    Raises:
        ChibiError: If one of them is out of range.
    """

    def __init__(
        self,
        size: tuple[int, int] = (64, 64),
        channels: int = 32,
        counts: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.counts = counts
        height, width = inner_size(size)
        self.down = strided_down(channels)
        self.embed = nn.Linear(inner_widths(channels)[0] * height * width, MAPPED)
        self.judge = nn.Linear(MAPPED, 1)
        self.apply(he_init)
        self.project = None
        if counts:
            self.project = nn.Linear(sum(counts), MAPPED, bias=False)
            nn.init.normal_(self.project.weight, 0.0, MAPPED**-0.5)

    def forward(self, images: Tensor, attributes: Tensor | None = None) -> Tensor:
        """Judge each image.

        Args:
            images: (N, 3, H, W) in [-1, 1].
            attributes: What each shall show, int64 (N, A); None without attributes.

        Returns:
            One logit an image, (N,). Only differences between logits mean something.
        """
        features = F.leaky_relu(self.embed(self.down(images).flatten(1)), SLOPE)
        logits = self.judge(features).flatten()
        if self.project is None:
            return logits
        match = (self.project(one_hot(attributes, self.counts)) * features).sum(1)
        return logits + match * len(self.counts) ** -0.5
