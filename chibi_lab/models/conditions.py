"""How attributes that are asked for enter a network, and what becomes of those left open."""

from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chibi_lab.errors import ChibiError

OPEN = -1
# Ten one-hot attributes of this length weigh about as much as a latent of 100 dimensions.
LOUDNESS = 4.0


class Wishes(nn.Module):
    r"""Turns attributes into numbers for a network, and decides what was left open.

    In training every attribute is known. Later any part of them may be asked for. Those that were
    left open take their values one after the other: as often as the training images did, but none
    that was never seen together with a value that is decided already.

    .. math::
        p(c_a \mid c_{decided}) \propto p(c_a) \prod_{d} [c_a \text{ was seen with } c_d]

    The latent decides which: its coordinate a, brought to [0, 1] by the normal distribution
    function, falls into the stretch of one of the values. So a latent is still one image.

    Args:
        counts: For each attribute the number of its values; empty where nothing can be asked for.
        latent_dim: Dimensions of the latent, at least one an attribute.

    Raises:
        ChibiError: If the latent has too few dimensions.
    """

    def __init__(self, counts: tuple[int, ...], latent_dim: int) -> None:
        super().__init__()
        if latent_dim < max(1, len(counts)):
            raise ChibiError(
                f"latent_dim is {latent_dim}: it must be at least {max(1, len(counts))}"
            )
        self.counts = counts
        # How often each two values were seen in one image; on the diagonal, how often each was.
        pairs = torch.zeros(sum(counts), sum(counts), dtype=torch.int64)
        self.register_buffer("seen", pairs)

    def forward(self, z: Tensor, attributes: Tensor | None = None) -> Tensor:
        """Attributes as numbers.

        Args:
            z: Latents, (N, latent_dim). They decide what is left open.
            attributes: int64 (N, A); -1 leaves an attribute open, None leaves all open. Or shares,
                float (N, sum of counts): how much of each value an image shall show, as on the way
                from one value to another; those of an attribute sum to 1.

        Returns:
            (N, sum of counts): 4 in the column of each value that the image shall show, else 0; of
            shares 4 times each.
        """
        if attributes is not None and attributes.is_floating_point():
            return LOUDNESS * attributes
        return LOUDNESS * one_hot(self.choose(z, attributes), self.counts)

    def choose(self, z: Tensor, attributes: Tensor | None = None) -> Tensor:
        """The value of each attribute once those left open are decided.

        Args:
            z: Latents, (N, latent_dim).
            attributes: As for :meth:`forward`.

        Returns:
            int64 (N, A), nothing left open.
        """
        shape = len(z), len(self.counts)
        if attributes is None:
            attributes = torch.full(shape, OPEN, device=z.device)
        chances = torch.special.ndtr(z[:, : len(self.counts)].double())
        alone, met = self.seen.diagonal(), self.seen > 0
        places = [
            range(end - n, end)
            for n, end in zip(self.counts, accumulate(self.counts), strict=True)
        ]
        # (N, sum of counts): what goes with all that is decided. First that is what was asked for.
        fits = torch.ones(len(z), len(alone), dtype=torch.bool, device=z.device)
        for column, place in zip(attributes.T, places, strict=True):
            fits &= met[place.start + column.clamp(min=0)] | (column == OPEN)[:, None]
        values = []
        for a, place in enumerate(places):
            # A trace of each value: the choice where nothing fits, as before the training.
            weights = (alone * fits)[:, place.start : place.stop].double() + 1e-6
            edges = weights.cumsum(1) / weights.sum(1, keepdim=True)
            chosen = (edges[:, :-1] < chances[:, a, None]).sum(1)
            values.append(
                torch.where(attributes[:, a] == OPEN, chosen, attributes[:, a])
            )
            fits &= met[place.start + values[-1]]
        return torch.stack(values, dim=1) if values else attributes

    def count(self, attributes: Tensor) -> Tensor:
        """How often each two values occur together in a batch.

        Args:
            attributes: int64 (N, A), nothing left open.

        Returns:
            int64, (sum of counts, sum of counts), for :meth:`follow`.
        """
        shown = one_hot(attributes, self.counts)
        return (shown.T @ shown).long()

    def follow(self, seen: Tensor) -> None:
        """Remember what a batch of training images showed, for what will be left open.

        Args:
            seen: What :meth:`count` gave for the whole batch.
        """
        self.seen += seen


def one_hot(attributes: Tensor, counts: tuple[int, ...]) -> Tensor:
    """Attributes as ones and zeros, a column for each value of each attribute.

    Args:
        attributes: int64 (N, A), nothing left open.
        counts: For each attribute the number of its values.

    Returns:
        float32, (N, sum of counts).
    """
    columns = [
        F.one_hot(column, count)
        for column, count in zip(attributes.T, counts, strict=True)
    ]
    empty = attributes.new_zeros(len(attributes), 0)
    return torch.cat([empty, *columns], dim=1).float()
