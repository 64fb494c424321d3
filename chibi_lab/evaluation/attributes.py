"""Which hair, which colour: reading a drawn avatar, and counting what a model can draw."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from chibi_lab.data import AttributeSchema, ImageSet
from chibi_lab.errors import ChibiError
from chibi_lab.evaluation.features import Pictures, shrink

SIZE = 32
BLUR = 1.2  # pixels at SIZE; a VAE's pictures are about as soft
SHRINKAGE = 0.1
CERTAIN = 0.8  # Lowe (2004), section 7.1
CHUNK = 256  # pictures whose distances to all labelled ones are held at once


class AttributeReader:
    r"""Reads the attributes of an avatar from labelled ones that look like it.

    A picture is averaged down to 32 pixels. Plain distances between such pictures would mostly
    compare colours and hair. So for each attribute the pixels are first projected onto the
    directions in which its values differ most, measured against how much pictures of one value
    differ among themselves (Fisher's linear discriminants): the columns of P that maximise

    .. math:: \operatorname{tr}\big((P^T W P)^{-1} P^T B P\big)

    with W the covariance within the values and B that between them. There, the value of the
    nearest labelled picture is read. The reading is *certain* if the nearest picture with any other
    value is much farther away: if the first distance is below 0.8 of the second (Lowe's ratio
    test). The hair of nearly every real avatar is read with certainty, that of pure noise never;
    attributes with few values are less strict.

    Every labelled picture is also used blurred when W and B are computed, so that the directions
    hold for soft pictures too, and a tenth of the mean variance is added to W's diagonal, so that
    they do not rest on pixels which hardly ever change.

    Source: Fisher (1936); Hastie et al. (2009), sections 4.3 and 13.3; Lowe (2004), section 7.1.

    Args:
        labelled: Pictures with attributes. 10,000 take some seconds and read well; a value that
            only a few pictures have is read badly.

    Attributes:
        schema: Names the columns of a reading.

    Raises:
        ChibiError: If the pictures have no attributes.
    """

    def __init__(self, labelled: ImageSet) -> None:
        if labelled.attributes is None or labelled.schema is None:
            raise ChibiError(
                "these images have no attributes to learn from: render avatars"
            )
        self.schema: AttributeSchema = labelled.schema
        sharp = shrink(labelled, SIZE)
        soft = gaussian_blur(sharp, [7, 7], [BLUR, BLUR]).flatten(1)
        sharp = sharp.flatten(1)
        self._centre = (sharp.mean(0) + soft.mean(0)) / 2
        sharp -= self._centre
        soft -= self._centre
        # W + B is the same for all attributes: the only costly product is computed once.
        total = (sharp.T @ sharp + soft.T @ soft) / (2 * len(sharp))
        self._labels = torch.from_numpy(labelled.attributes).T.contiguous()
        self._directions = [
            _discriminants(sharp, soft, labels, total) for labels in self._labels
        ]
        self._projected = [sharp @ directions for directions in self._directions]

    def read(self, pictures: Pictures, certain: bool = False) -> np.ndarray:
        """Read the attributes of pictures.

        Args:
            pictures: Images of either form, square.
            certain: Give -1 where the reading is not certain. Without it every picture gets a
                value, an avatar or not.

        Returns:
            Attributes, int64 (N, A), in the columns of :attr:`schema`.

        Raises:
            ChibiError: If there are no pictures, or they are smaller than the labelled ones.
        """
        pixels = shrink(pictures, SIZE).flatten(1)
        if pixels.shape[1] != len(self._centre):
            raise ChibiError(
                f"images must be as large as the labelled ones, or {SIZE} pixels"
            )
        pixels = pixels - self._centre
        columns = [
            nearest_label(
                pixels @ directions, projected, labels, CERTAIN if certain else None
            )
            for labels, directions, projected in zip(
                self._labels, self._directions, self._projected, strict=True
            )
        ]
        return torch.stack(columns, dim=1).numpy()

    def accuracy(self, test: ImageSet) -> dict[str, float]:
        """Measure how far the reading can be trusted.

        Args:
            test: Pictures with the same attributes, drawn from other seeds.

        Returns:
            For each attribute the share of pictures whose value is read right, certain or not.

        Raises:
            ChibiError: If the test pictures have other attributes, or none.
        """
        if test.attributes is None or test.schema != self.schema:
            raise ChibiError(
                "the test images must have the attributes of the labelled ones"
            )
        right = (self.read(test) == test.attributes).mean(0)
        return {
            name: float(share)
            for name, share in zip(self.schema.names, right, strict=True)
        }


def coverage(values: np.ndarray, reference: np.ndarray, minimum: float = 0.1) -> int:
    """Count how many values of an attribute a model can draw.

    A value counts if its share among the samples is at least a tenth of its share among real
    images. One sample alone is not enough, since a reading may be wrong.

    Args:
        values: The attribute's values read from samples, integers (N,); -1 counts for no value.
        reference: The attribute's values among real images, integers (M,).
        minimum: The least share, as a part of the share among real images.

    Returns:
        Number of values, at most the number of different values in the reference.

    Raises:
        ChibiError: If one of the two is empty.
    """
    if not len(values) or not len(reference):
        raise ChibiError("coverage needs at least one value on either side")
    size = int(max(values.max(), reference.max())) + 1
    shares = np.bincount(values[values >= 0], minlength=size) / len(values)
    real = np.bincount(reference, minlength=size) / len(reference)
    return int(((shares >= minimum * real) & (real > 0)).sum())


def effective_count(values: np.ndarray) -> float:
    r"""How many values, all equally frequent, would be as diverse as these.

    .. math:: \exp\Big(-\sum_v p_v \log p_v\Big)

    It is 1 where every picture is alike, and falls before :func:`coverage` does, since a rare
    value counts little. Among 45 hair styles of which one takes half of the pictures, it is 13.

    Source: Jost (2006), the exponential of Shannon's entropy.

    Args:
        values: Values of an attribute, integers (N,); -1, no value, is left out.

    Returns:
        A number from 1 to the number of different values; 0 if all are -1.

    Raises:
        ChibiError: If there are no values.
    """
    if not len(values):
        raise ChibiError("the effective count needs at least one value")
    if not (values >= 0).any():
        return 0.0
    shares = np.bincount(values[values >= 0]) / (values >= 0).sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def read_back(asked: np.ndarray, read: np.ndarray) -> np.ndarray:
    """How often a conditional model drew what it was asked for.

    Args:
        asked: The attributes asked for, int64 (N, A); -1 where one was left open.
        read: Those read off the drawn pictures, in the same columns.

    Returns:
        For each attribute the share of pictures that show what was asked, leaving out those where
        it was open: float64 (A,). NaN where it was always open.

    Raises:
        ChibiError: If the two do not have the same shape.
    """
    if asked.shape != read.shape or asked.ndim != 2:
        raise ChibiError(
            f"asked attributes of shape {asked.shape} and read ones of {read.shape} do not agree"
        )
    wanted = asked >= 0
    right = (wanted & (asked == read)).sum(0)
    return np.where(wanted.any(0), right / np.maximum(wanted.sum(0), 1), np.nan)


def nearest_label(
    queries: Tensor, base: Tensor, labels: Tensor, limit: float | None
) -> Tensor:
    """The label of the nearest row, or -1 where one with another label is about as near.

    Args:
        queries: (N, D).
        base: (M, D).
        labels: Of each row of the base, (M,).
        limit: Largest ratio of the nearest distance to that of the nearest row with another label;
            None for any.

    Returns:
        Labels, int64 (N,).
    """
    found = []
    for chunk in queries.split(CHUNK):
        distances = torch.cdist(chunk, base, compute_mode="use_mm_for_euclid_dist")
        first, index = distances.min(1)
        label = labels[index]
        if limit is not None:
            second = distances.masked_fill(labels == label[:, None], torch.inf).amin(1)
            label = torch.where(first < limit * second, label, -1)
        found.append(label)
    return torch.cat(found)


def _discriminants(
    sharp: Tensor, soft: Tensor, labels: Tensor, total: Tensor
) -> Tensor:
    """Fisher's discriminants of one attribute.

    Args:
        sharp: Centred pixels, (N, D).
        soft: The same pictures blurred, (N, D).
        labels: The attribute's value of each, (N,).
        total: Covariance of both together, (D, D).

    Returns:
        Directions as columns, (D, number of values - 1), scaled so that the variance within the
        values is 1 along each.
    """
    present, column = labels.unique(return_inverse=True)
    members = F.one_hot(column).to(sharp.dtype)
    counts = members.sum(0)
    means = members.T @ (sharp + soft) / (2 * counts[:, None])
    # B = between @ between.T
    between = (means * (counts / len(sharp)).sqrt()[:, None]).T
    within = total - between @ between.T
    within.diagonal().add_(SHRINKAGE * within.diagonal().mean() + 1e-9)
    # With W = L L^T, the discriminants are L^-T times the left singular vectors of L^-1 between.
    lower = torch.linalg.cholesky(within)
    whitened = torch.linalg.solve_triangular(lower, between, upper=False)
    left = torch.linalg.svd(whitened, full_matrices=False)[0][:, : len(present) - 1]
    return torch.linalg.solve_triangular(lower.T, left, upper=True)
