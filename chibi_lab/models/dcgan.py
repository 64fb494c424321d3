"""Generator and discriminator: the DCGAN of Radford et al. (2016)."""

from torch import Tensor, nn

from chibi_lab.models.blocks import (
    LATENT_SIZE,
    check_latent_dim,
    dcgan_init,
    downsampler,
    upsampler,
    widths,
)


class Generator(nn.Module):
    """Turns latents into images, by transposed convolutions from 4 pixels up.

    Source: Radford et al. (2016), section 3 and figure 1.

    Args:
        size: Side of the images in pixels: 32, 64 or 128.
        channels: Width at half the full resolution; wider networks draw better and cost more.
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
        wide = widths(size, channels)[-1]
        self.project = nn.Sequential(
            # 1 x 1 to 4 x 4
            nn.ConvTranspose2d(latent_dim, wide, LATENT_SIZE, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
        )
        self.upsample = upsampler(size, channels)
        self.apply(dcgan_init)

    def forward(self, z: Tensor) -> Tensor:
        """Draw one image for each latent.

        Args:
            z: Latents from a standard normal distribution, (N, latent_dim).

        Returns:
            Images, (N, 3, size, size) in [-1, 1].
        """
        return self.upsample(self.project(z[:, :, None, None]))


class Discriminator(nn.Module):
    """Says how real an image looks, by strided convolutions from full size down to 4 pixels.

    It gives logits; ``sigmoid`` of a logit is the probability D(x) that the image is real.

    Source: Radford et al. (2016), section 3.

    Args:
        size: Side of the images in pixels: 32, 64 or 128.
        channels: Width at half the full resolution.

    Raises:
        ChibiError: If one of the two is out of range.
    """

    def __init__(self, size: int = 64, channels: int = 32) -> None:
        super().__init__()
        self.size = size
        self.downsample = downsampler(size, channels, normalise_first=False)
        # 4 x 4 to 1 x 1
        self.judge = nn.Conv2d(widths(size, channels)[-1], 1, LATENT_SIZE)
        self.apply(dcgan_init)

    def forward(self, images: Tensor) -> Tensor:
        """Judge each image.

        Args:
            images: (N, 3, size, size) in [-1, 1].

        Returns:
            One logit an image, (N,): above 0 is "real", below 0 "generated".
        """
        return self.judge(self.downsample(images)).flatten()
