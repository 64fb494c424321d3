"""Changes that a discriminator sees on all images, so that few pictures last longer."""

import torch
import torch.nn.functional as F
from torch import Tensor

from chibi_lab.training.engine import Engine

SHIFT = 1 / 8  # of the side
HOLE = 1 / 2  # of the side


class Augmentation:
    """Changes colours, shifts, and cuts a hole, at random and differentiably.

    With some hundred pictures a discriminator soon knows them by heart. It cannot if it never sees
    one twice the same way. Generated images are changed too, or the generator would learn to draw
    the holes; and gradients pass through the changes.

    Source: DiffAugment, Zhao et al. (2020), section 3.2, with their three changes.

    Args:
        engine: Shares the random numbers of a batch between ranks.
        generator: Draws them; on the processor.
        batch: Images in a step, those of all ranks together.
    """

    def __init__(self, engine: Engine, generator: torch.Generator, batch: int) -> None:
        self._engine, self._generator, self._batch = engine, generator, batch

    def __call__(self, images: Tensor) -> Tensor:
        """Change each image in its own way.

        Args:
            images: (N, 3, H, W) in [-1, 1].

        Returns:
            The same shape; brighter ones may leave the range.
        """
        dice = self._engine.uniform(self._generator, self._batch, 7)
        brightness, saturation, contrast = dice[:, :3, None, None, None].unbind(1)
        images = images + brightness - 0.5
        grey = images.mean(1, keepdim=True)
        images = grey + (images - grey) * 2 * saturation
        middle = images.mean((1, 2, 3), keepdim=True)
        images = middle + (images - middle) * (contrast + 0.5)
        return _cut(_shift(images, dice[:, 3:5]), dice[:, 5:7])


def _shift(images: Tensor, dice: Tensor) -> Tensor:
    """Move each image by up to an eighth of its side; what comes in is black."""
    height, width = images.shape[-2:]
    sides = torch.tensor([height, width], device=images.device)
    reach = (sides * SHIFT).int()
    by = (dice * (2 * reach + 1)).long() - reach
    # A border that wide, then the part of it that each image moves to.
    padded = F.pad(images + 1, [int(reach[1])] * 2 + [int(reach[0])] * 2) - 1
    rows = torch.arange(height, device=images.device) + (reach[0] - by[:, :1])
    columns = torch.arange(width, device=images.device) + (reach[1] - by[:, 1:])
    each = torch.arange(len(images), device=images.device)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _cut(images: Tensor, dice: Tensor) -> Tensor:
    """Blank a rectangle of half the sides, anywhere, also partly outside."""
    inside = []
    for axis, side in enumerate(images.shape[-2:]):
        where = torch.arange(side, device=images.device)[None]
        start = (dice[:, axis, None] - HOLE / 2) * side
        inside.append((where >= start) & (where < start + HOLE * side))
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images.masked_fill(hole, 0.0)
