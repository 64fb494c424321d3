"""What the four networks share: how wide each resolution is, and how weights begin."""

from itertools import pairwise

from torch import nn

from chibi_lab.errors import ChibiError

SIZES = (32, 64, 128)
LATENT_SIZE = 4  # every network meets its latent at 4 x 4 pixels
MAX_WIDENING = 8


def widths(size: int, channels: int) -> list[int]:
    """Channels at each resolution from ``size / 2`` down to 4 pixels.

    The width doubles each time the resolution halves, up to 8 times ``channels``, so that every
    layer costs about the same and the weights stay small at 128 pixels.

    Args:
        size: Side of the images in pixels: 32, 64 or 128.
        channels: Width at the highest inner resolution, at least 1.

    Returns:
        One width for each of the resolutions size/2, size/4, ..., 4.

    Raises:
        ChibiError: If the size is not one of the three, or channels is less than 1.
    """
    if size not in SIZES:
        raise ChibiError(f"size {size} is not supported: choose 32, 64 or 128 pixels")
    if channels < 1:
        raise ChibiError(f"channels is {channels}: it must be at least 1")
    levels = (size // LATENT_SIZE).bit_length() - 1
    return [channels * min(2**level, MAX_WIDENING) for level in range(levels)]


def dcgan_init(module: nn.Module) -> None:
    """Start weights as DCGAN does: normal with deviation 0.02, BatchNorm scales around 1.

    Source: Radford et al. (2016), section 4; the BatchNorm scales follow the authors' code.

    Args:
        module: One module; pass this function to ``nn.Module.apply``.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def check_latent_dim(latent_dim: int) -> None:
    """Refuse a latent space without dimensions.

    Raises:
        ChibiError: If ``latent_dim`` is less than 1.
    """
    if latent_dim < 1:
        raise ChibiError(f"latent_dim is {latent_dim}: it must be at least 1")


def upsampler(size: int, channels: int) -> nn.Sequential:
    """Stack of strided transposed convolutions from 4 pixels to ``size``: (N, w, 4, 4) to images.

    Each step doubles the resolution. Images come out of a tanh, in [-1, 1].

    Args:
        size: Side of the images: 32, 64 or 128.
        channels: Width at half the full resolution.

    Returns:
        The layers, last a convolution to three colours and a tanh.
    """
    steps = widths(size, channels)[::-1]
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(steps):
        layers += [
            nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(
        *layers, nn.ConvTranspose2d(steps[-1], 3, 4, stride=2, padding=1), nn.Tanh()
    )


def downsampler(size: int, channels: int, normalise_first: bool) -> nn.Sequential:
    """Stack of strided convolutions from images to 4 pixels: (N, 3, size, size) to (N, w, 4, 4).

    Args:
        size: Side of the images: 32, 64 or 128.
        channels: Width at half the full resolution.
        normalise_first: Whether BatchNorm follows the first convolution too. DCGAN's
            discriminator leaves it out there (Radford et al. 2016, section 3).

    Returns:
        The layers, each a convolution that halves the resolution, BatchNorm and LeakyReLU(0.2).
    """
    steps = [3, *widths(size, channels)]
    layers: list[nn.Module] = []
    for i, (narrow, wide) in enumerate(pairwise(steps)):
        normalised = i > 0 or normalise_first
        layers.append(
            nn.Conv2d(narrow, wide, 4, stride=2, padding=1, bias=not normalised)
        )
        if normalised:
            layers.append(nn.BatchNorm2d(wide))
        layers.append(nn.LeakyReLU(0.2, inplace=True))
    return nn.Sequential(*layers)
