"""How attributes that are asked for enter a network, and what becomes of those left open."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chibi_lab.errors import ChibiError

OPEN = -1
# Ten one-hot attributes of this length weigh about as much as a latent of 100 dimensions.
LOUDNESS = 4.0


class Wishes(nn.Module):
    r"""Turns attributes into numbers for a network, and decides what was left open.

    In training every attribute is known. Later any part of them may be asked for. Each one that
    was left open takes a value as often as the training images did, each by itself:

    .. math:: p(x \mid c_{asked}) = \sum_{c_{open}} \prod_a p(c_a) \, p(x \mid c)

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
        # How often each value was seen. From one, so that there is a choice at the start too.
        self.register_buffer("seen", torch.ones(sum(counts), dtype=torch.int64))

    def forward(self, z: Tensor, attributes: Tensor | None = None) -> Tensor:
        """Attributes as numbers.

        Args:
            z: Latents, (N, latent_dim). They decide what is left open.
            attributes: int64 (N, A); -1 leaves an attribute open, None leaves all open.

        Returns:
            (N, sum of counts): 4 in the column of each value that the image shall show, else 0.
        """
        return LOUDNESS * one_hot(self.choose(z, attributes), self.counts)

    def choose(self, z: Tensor, attributes: Tensor | None = None) -> Tensor:
        """The value of each attribute once those left open are decided.

        Args:
            z: Latents, (N, latent_dim).
            attributes: As for :meth:`forward`.

        Returns:
            int64 (N, A), nothing left open.
        """
        chances = torch.special.ndtr(z[:, : len(self.counts)].float())
        values = torch.empty(chances.shape, dtype=torch.int64, device=z.device)
        for column, seen in enumerate(self.seen.split(self.counts)):
            edges = (seen.cumsum(0) / seen.sum())[:-1]
            values[:, column] = torch.bucketize(chances[:, column].contiguous(), edges)
        if attributes is None:
            return values
        return torch.where(attributes == OPEN, values, attributes)

    def count(self, attributes: Tensor) -> Tensor:
        """How often each value occurs in a batch.

        Args:
            attributes: int64 (N, A), nothing left open.

        Returns:
            int64, (sum of counts,), for :meth:`follow`.
        """
        return one_hot(attributes, self.counts).sum(0).long()

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
