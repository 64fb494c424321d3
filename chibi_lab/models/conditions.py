"""How attributes, or the part of them that is asked for, enter a network."""

import torch
import torch.nn.functional as F
from torch import Tensor

OPEN = -1


def one_hot(
    attributes: Tensor | None,
    counts: tuple[int, ...],
    rows: int,
    device: torch.device,
) -> Tensor:
    """Attributes as ones and zeros, a column for each value of each attribute.

    Args:
        attributes: int64 (N, A), or None where all are left open. -1 leaves one open: its
            columns are 0.
        counts: For each attribute the number of its values.
        rows: N.
        device: Where they are wanted.

    Returns:
        float32, (N, sum of counts).
    """
    if attributes is None or not counts:
        return torch.zeros(rows, sum(counts), device=device)
    # Value k becomes column k + 1, so that what is open falls into column 0, which is cut off.
    columns = [
        F.one_hot(column + 1, count + 1)[:, 1:]
        for column, count in zip(attributes.T, counts, strict=True)
    ]
    return torch.cat(columns, dim=1).float()


def leave_open(attributes: Tensor, dice: Tensor) -> Tensor:
    """Leave some attributes open, in half of the rows: from none to all with equal chances.

    A network that learns from such rows can be asked for any part of the attributes. The other
    half keeps all of them, since a wish is learned only where it is uttered.

    Args:
        attributes: int64 (N, A).
        dice: Uniform numbers in [0, 1), (N, A + 1): the first decides how many of a row stay.

    Returns:
        int64 (N, A), with -1 where it was left open.
    """
    kept = dice[:, 1:] < 2 * dice[:, :1]
    return torch.where(kept, attributes, OPEN)
