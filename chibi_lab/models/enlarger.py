"""A small network that makes a picture four times as large, with lines that stay lines."""

import torch.nn.functional as F
from torch import Tensor, nn

from chibi_lab.errors import ChibiError
from chibi_lab.models.strided import SLOPE, he_init

FACTOR = 4


class Enlarger(nn.Module):
    """Enlarges images four times.

    All layers work at the small size, which is sixteen times as cheap. The last one gives sixteen
    pixels for each pixel, and they are put beside one another. What the layers say is added to
    the picture as bicubic interpolation enlarges it, so they have only to say what that lacks.

    Source: the pixels put beside one another are Shi et al. (2016), section 3.2; what is added to
    an interpolation, Kim et al. (2016).

    Args:
        channels: Width of the layers.
        depth: Number of layers between the first and the last.

    Raises:
        ChibiError: If one of them is less than 1.
    """

    def __init__(self, channels: int = 48, depth: int = 6) -> None:
        super().__init__()
        if channels < 1 or depth < 1:
            raise ChibiError(
                f"channels is {channels} and depth {depth}: both must be at least 1"
            )
        self.channels, self.depth = channels, depth
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 5, padding=2)]
        for _ in range(depth):
            layers += [
                nn.LeakyReLU(SLOPE),
                nn.Conv2d(channels, channels, 3, padding=1),
            ]
        self.layers = nn.Sequential(*layers, nn.LeakyReLU(SLOPE))
        self.last = nn.Conv2d(channels, 3 * FACTOR**2, 3, padding=1)
        self.apply(he_init)
        nn.init.zeros_(self.last.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Enlarge images.

        Args:
            images: (N, 3, H, W) in [-1, 1], of any size.

        Returns:
            (N, 3, 4 H, 4 W); in training a little outside of [-1, 1], else inside.
        """
        plain = F.interpolate(
            images, scale_factor=FACTOR, mode="bicubic", align_corners=False
        )
        enlarged = plain + F.pixel_shuffle(self.last(self.layers(images)), FACTOR)
        return enlarged if self.training else enlarged.clamp(-1, 1)
