"""The layers of the modern networks: strided convolutions with no normalisation between them."""

from itertools import pairwise

from torch import nn

from chibi_lab.errors import ChibiError

STEPS = 4  # each halves or doubles the resolution
SLOPE = 0.2  # of LeakyReLU below zero


def inner_size(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width in the middle of the networks, a sixteenth of the image's.

    Raises:
        ChibiError: If height or width is not a multiple of 16.
    """
    factor = 2**STEPS
    if any(side < factor or side % factor for side in size):
        raise ChibiError(
            f"images of {size[0]} x {size[1]} pixels (height x width) are not supported: "
            f"both must be multiples of {factor}"
        )
    return size[0] // factor, size[1] // factor


def inner_widths(channels: int) -> list[int]:
    """Channels at each resolution, from the innermost to half the full one.

    Raises:
        ChibiError: If channels is less than 1.
    """
    if channels < 1:
        raise ChibiError(f"channels is {channels}: it must be at least 1")
    return [channels * 2**step for step in reversed(range(STEPS))]


def strided_up(channels: int) -> nn.Sequential:
    """From (N, 8 channels, H/16, W/16) to images (N, 3, H, W), by transposed convolutions.

    Args:
        channels: Width at half the full resolution.

    Returns:
        The layers, last a tanh.
    """
    layers: list[nn.Module] = []
    for wide, narrow in pairwise([*inner_widths(channels), 3]):
        layers += [
            nn.LeakyReLU(SLOPE),
            nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1),
        ]
    return nn.Sequential(*layers, nn.Tanh())


def strided_down(channels: int) -> nn.Sequential:
    """From images (N, 3, H, W) to (N, 8 channels, H/16, W/16), by strided convolutions.

    Args:
        channels: Width at half the full resolution.

    Returns:
        The layers.
    """
    layers: list[nn.Module] = []
    for narrow, wide in pairwise([3, *reversed(inner_widths(channels))]):
        layers += [
            nn.Conv2d(narrow, wide, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
        ]
    return nn.Sequential(*layers)


def he_init(module: nn.Module) -> None:
    """Start weights so that signals keep their size from layer to layer, biases at 0.

    Source: He et al. (2015), equation 15.

    Args:
        module: One module; pass this function to ``nn.Module.apply``.
    """
    if not isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        return
    inputs: float = module.weight[0].numel()
    if isinstance(module, nn.ConvTranspose2d):
        # Its weight is (in, out, 4, 4), and with stride 2 each input meets an output 4 times.
        inputs = module.in_channels * 4
    nn.init.normal_(module.weight, 0.0, (2 / (1 + SLOPE**2) / inputs) ** 0.5)
    nn.init.zeros_(module.bias)
