"""Distances between pictures: the nearest training image, and whether samples are copies."""

from dataclasses import dataclass

import torch
from torch import Tensor

from chibi_lab.errors import ChibiError
from chibi_lab.evaluation.features import Pictures, shrink

SIZE = 32  # pixels: enough to tell two avatars apart, a quarter of the work of 64
COPY_SIZE = 16  # pixels: less blur and noise are left, which would hide a copy
CHUNK = 256  # pictures whose distances to the whole reference are held at once
NEIGHBOURS = 50  # as in Carlini et al. (2023)
# Held-out pictures: with 50 of 2,000, real pictures that copy nothing score up to 0.06, with 10 of
# 400 up to 0.44.
LEAST_HELD_OUT = 100


def nearest(pictures: Pictures, reference: Pictures) -> tuple[Tensor, Tensor]:
    """For each picture the nearest one of a reference set.

    The distance is the root mean square difference of the pixels, both averaged down to 32 pixels.

    Args:
        pictures: N images of either form.
        reference: M images of either form and the same size.

    Returns:
        Distances, (N,), in units of the image range, from 0 to 2; and indices into the
        reference, (N,), int64.

    Raises:
        ChibiError: If the sizes differ, there are no images, or they are not square.
    """
    distances, indices = neighbours(pictures, reference, 1)
    return distances[:, 0], indices[:, 0]


def neighbours(
    pictures: Pictures, reference: Pictures, count: int, size: int = SIZE
) -> tuple[Tensor, Tensor]:
    """For each picture the ``count`` nearest ones of a reference set, nearest first.

    Args:
        pictures: N images of either form.
        reference: M images of either form and the same size.
        count: How many neighbours; no more than M are given.
        size: Pixels that both are averaged down to.

    Returns:
        Distances as in :func:`nearest`, and indices, each (N, count).

    Raises:
        ChibiError: If the sizes differ, there are no images, or they are not square.
    """
    queries, base = shrink(pictures, size), shrink(reference, size)
    if queries.shape[1:] != base.shape[1:]:
        raise ChibiError(
            f"images of {queries.shape[-1]} pixels cannot be compared with {base.shape[-1]} pixels"
        )
    base = base.flatten(1)
    centre = base.mean(0)
    base = base - centre
    return nearest_rows(queries.flatten(1) - centre, base, count)


def nearest_rows(queries: Tensor, base: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """For each row the ``count`` nearest rows of a table.

    ``|q - b|^2 = |q|^2 - 2 q·b + |b|^2`` turns all distances into one matrix product, which is
    fast but loses digits where q and b are close. It therefore only finds the candidates; their
    distances are computed again from the differences.

    Args:
        queries: (N, D). Best centred, so that few digits are lost.
        base: (M, D).
        count: How many neighbours; no more than M are given.

    Returns:
        Root mean square differences, nearest first, and indices, each (N, count).
    """
    count = min(count, len(base))
    candidates = min(count + 3, len(base))
    squares = base.square().sum(1)
    distances, indices = [], []
    for chunk in queries.split(CHUNK):
        found = torch.addmm(squares, chunk, base.T, alpha=-2).topk(
            candidates, largest=False
        )[1]
        found = found.sort(dim=1)[0]  # of two equal ones, the first
        exact = torch.stack(
            [(chunk - base[column]).square().mean(1) for column in found.T], dim=1
        ).sqrt()
        exact, order = exact.sort(dim=1, stable=True)
        distances.append(exact[:, :count])
        indices.append(found.gather(1, order[:, :count]))
    return torch.cat(distances), torch.cat(indices)


@dataclass(frozen=True)
class Memorisation:
    """How near samples lie to the training images, beside real images that were held out.

    Attributes:
        distance: Distance of each sample to its nearest training image, (N,).
        index: Which training image that is, (N,).
        isolation: That distance over the mean distance to the 50 nearest training images, (N,).
            A copy lies much nearer to one image than to all others; a blurred picture lies near
            to many.
        held_out_distance: Distances of the held-out images, (M,).
        held_out_isolation: Their isolation, (M,).
    """

    distance: Tensor
    index: Tensor
    isolation: Tensor
    held_out_distance: Tensor
    held_out_isolation: Tensor

    @property
    def ratio(self) -> float:
        """Median distance of the samples over that of the held-out images.

        About 1: samples are as far from the training images as real new ones. Near 0: copies.
        A model that blurs comes out below 1 too, so look at :attr:`copied` beside it.
        """
        held_out = self.held_out_distance.median().clamp_min(
            torch.finfo(torch.float32).tiny
        )
        return float(self.distance.median() / held_out)

    @property
    def copied(self) -> float | None:
        """Share of the samples that are more like copies than 99 of 100 held-out images are.

        A sample counts if its isolation is below the held-out images' first percentile. Pictures
        that copy nothing score about 0.01. None where fewer than 100 images were held out.
        """
        if len(self.held_out_isolation) < LEAST_HELD_OUT:
            return None
        limit = self.held_out_isolation.quantile(0.01)
        return float((self.isolation < limit).float().mean())


def memorisation(
    samples: Pictures, train: Pictures, held_out: Pictures
) -> Memorisation:
    """Ask whether samples are copies of training images.

    Distances alone say little, because one data set is denser than another. So every figure stands
    beside that of real images which the model never saw.

    Source: the measure of isolation is that of Carlini et al. (2023), with their 50 neighbours.

    Args:
        samples: What the model drew.
        train: The images it was trained with.
        held_out: Real images that it never saw.

    Returns:
        Distances and isolation, of the samples and of the held-out images.

    Raises:
        ChibiError: If the sizes differ, there are no images, or they are not square.
    """
    distance, index = neighbours(samples, train, NEIGHBOURS, COPY_SIZE)
    held_out_distance, _ = neighbours(held_out, train, NEIGHBOURS, COPY_SIZE)
    return Memorisation(
        distance[:, 0],
        index[:, 0],
        _isolation(distance),
        held_out_distance[:, 0],
        _isolation(held_out_distance),
    )


def _isolation(distances: Tensor) -> Tensor:
    """Nearest distance over the mean of all, (N, count) to (N,); 0 where all are 0."""
    return distances[:, 0] / distances.mean(1).clamp_min(
        torch.finfo(torch.float32).tiny
    )
