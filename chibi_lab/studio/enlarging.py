"""Pictures larger than a network draws them, with lines that stay lines."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from chibi_lab import pretrained
from chibi_lab.errors import ChibiError
from chibi_lab.models.enlarger import Enlarger
from chibi_lab.studio.checks import check_size
from chibi_lab.training.enlarger import load_enlarger


def enlarge(images: Tensor, size: int, moving: bool = False) -> Tensor:
    """Bring pictures to a height with the network that ships, their shape kept.

    The network makes them four times as large, as often as needed; an area filter then brings them
    down to the size that was asked for. The second time costs sixteen times the first and gains
    about 1 dB, so frames that move, and are many, get it once, and a cubic filter does the rest.

    Args:
        images: (N, 3, H, W) in [-1, 1].
        size: Height wanted, 64 to 1024.
        moving: Whether they are the frames of an animation.

    Returns:
        (N, 3, size, W'), in [-1, 1].

    Raises:
        ChibiError: If there is no picture, or the size is out of range.
    """
    check_size(size)
    if len(images) == 0:
        raise ChibiError("there is no picture to enlarge")
    height, width = images.shape[2:]
    across = max(1, round(size * width / height))
    with torch.no_grad():
        # One by one: at 1024 pixels the layers of one picture take 100 MB.
        return torch.cat(
            [_to_size(image[None], size, across, moving) for image in images]
        )


def _to_size(image: Tensor, height: int, width: int, moving: bool) -> Tensor:
    while image.shape[2] < height:
        image = _network()(image)
        if moving:
            break
    if image.shape[2] == height:
        return image
    # Each pixel is the mean of what it covers, so that lines neither ring nor break.
    mode = "bilinear" if image.shape[2] > height else "bicubic"
    return F.interpolate(image, size=(height, width), mode=mode, antialias=True).clamp(
        -1, 1
    )


@cache
def _network() -> Enlarger:
    return load_enlarger(pretrained.path("enlarger") / "enlarger.safetensors")
