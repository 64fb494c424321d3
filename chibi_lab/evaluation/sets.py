"""How far a set of drawn pictures is from a set of real ones, by their features and readings."""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from chibi_lab.errors import ChibiError

NEIGHBOURS = 5  # as in Naeem et al. (2020)
SUBSET = 1_000  # pictures in one estimate of the kernel distance
SUBSETS = 20
GROUPS = 5  # of which one is left out at a time


class _Given(nn.Module):
    """Features that were computed already, for metrics that would extract them from images."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.num_features = features.shape[1]

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(real: Tensor, drawn: Tensor) -> float:
    r"""Fréchet distance between two sets, as if the features of each were normal.

    .. math:: |\mu_r - \mu_d|^2 + \operatorname{tr}\big(\Sigma_r + \Sigma_d
        - 2 (\Sigma_r \Sigma_d)^{1/2}\big)

    Computed by torchmetrics. It rests on the features: figures from two networks do not compare,
    nor do figures from different numbers of pictures.

    Source: Heusel et al. (2017), equation 6.

    Args:
        real: Features of real pictures, (M, D).
        drawn: Features of drawn ones, (N, D).

    Raises:
        ChibiError: If a set has fewer pictures than there are features.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    _check(real, drawn, real.shape[1] + 1)
    metric = FrechetInceptionDistance(_Given(real))
    metric.update(real.double(), real=True)
    metric.update(drawn.double(), real=False)
    return float(metric.compute())


def kernel_distance(real: Tensor, drawn: Tensor, seed: int = 0) -> float:
    """Kernel distance between two sets, with a polynomial kernel of degree 3; may be below 0.

    Computed by torchmetrics, the mean of 20 draws of 1,000 pictures. Unlike the Fréchet distance it
    does not fall as the number of pictures grows.

    Source: Bińkowski et al. (2018), section 3.

    Args:
        real: Features of real pictures, (M, D).
        drawn: Features of drawn ones, (N, D).
        seed: Decides the draws.

    Raises:
        ChibiError: If a set has fewer than two pictures.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    _check(real, drawn, 2)
    subset = min(SUBSET, len(real), len(drawn))
    with warnings.catch_warnings():  # it keeps all features, which are few
        warnings.simplefilter("ignore", UserWarning)
        metric = KernelInceptionDistance(
            _Given(real), subsets=SUBSETS, subset_size=subset
        )
    metric.update(real, real=True)
    metric.update(drawn, real=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return float(metric.compute()[0])


def neighbourhoods(real: Tensor, drawn: Tensor) -> dict[str, float]:
    """How well two sets lie within each other's neighbourhoods.

    The neighbourhood of a picture is the ball that reaches to its fifth nearest one of its set.

    Source: precision and recall as improved by Kynkäänniemi et al. (2019), equation 2; density and
    coverage of Naeem et al. (2020), equations 3 and 4.

    Args:
        real: Features of real pictures, (M, D).
        drawn: Features of drawn ones, (N, D).

    Returns:
        ``precision``: the share of drawn pictures inside a real one's neighbourhood; ``recall``:
        the share of real pictures inside a drawn one's; ``density``: how many real neighbourhoods
        a drawn picture lies in, over 5, which for two real sets is about 1; ``coverage``: the
        share of real neighbourhoods with a drawn picture inside.

    Raises:
        ChibiError: If a set has no more than five pictures.
    """
    _check(real, drawn, NEIGHBOURS + 1)
    between = torch.cdist(real, drawn)
    inside_real = between <= _radius(real)[:, None]
    inside_drawn = between <= _radius(drawn)[None, :]
    return {
        "precision": inside_real.any(0).float().mean().item(),
        "recall": inside_drawn.any(1).float().mean().item(),
        "density": inside_real.float().sum(0).mean().item() / NEIGHBOURS,
        "coverage": inside_real.any(1).float().mean().item(),
    }


def histogram_distance(real: np.ndarray, drawn: np.ndarray) -> float:
    r"""Total variation distance between how often the values of an attribute appear.

    .. math:: \tfrac12 \sum_v |p_v - q_v|

    Args:
        real: Values read from real pictures, integers from 0, (M,).
        drawn: Values read from drawn ones, (N,).

    Returns:
        From 0, equally often, to 1, no value in common.

    Raises:
        ChibiError: If one of the two is empty.
    """
    if not len(real) or not len(drawn):
        raise ChibiError("a distance of histograms needs values on either side")
    size = int(max(real.max(), drawn.max())) + 1
    p, q = (np.bincount(side, minlength=size) / len(side) for side in (real, drawn))
    return float(np.abs(p - q).sum() / 2)


def leave_out_interval(
    figures: Callable[[Tensor], dict[str, float | None]], rows: Tensor
) -> dict[str, dict[str, float] | None]:
    r"""How far figures of a set would move, had its pictures been others.

    A fifth of the pictures is left out at a time, and the figures are computed again (the jackknife
    that deletes groups). Drawing pictures anew with repetition, as the bootstrap does, would not
    do: equal pictures count as near ones in every distance between sets.

    .. math:: \hat\theta \pm 2 s, \quad
        s^2 = \frac{G - 1}{G} \sum_g (\hat\theta_g - \bar\theta)^2

    Source: Efron and Tibshirani (1993), section 11.5; with groups, Shao and Wu (1989).

    Args:
        figures: Gives the figures of some rows by name, None where they are too few.
        rows: One row a picture, (N, D).

    Returns:
        For each figure ``low`` and ``high``; None where some parts are too small for it.
    """
    whole = figures(rows)
    groups = min(GROUPS, len(rows))
    index = torch.arange(len(rows)) % groups
    parts = [figures(rows[index != group]) for group in range(groups)]
    found: dict[str, dict[str, float] | None] = dict.fromkeys(whole)
    for name, value in whole.items():
        without = [part[name] for part in parts]
        if value is not None and groups > 1 and None not in without:
            reach = 2 * float(np.std(without)) * (groups - 1) ** 0.5
            found[name] = {"low": value - reach, "high": value + reach}
    return found


def _radius(features: Tensor) -> Tensor:
    """Distance of each row to its fifth nearest other one."""
    own = torch.cdist(features, features).fill_diagonal_(torch.inf)
    return own.kthvalue(NEIGHBOURS, dim=1)[0]


def _check(real: Tensor, drawn: Tensor, least: int) -> None:
    fewer = min(len(real), len(drawn))
    if fewer < least:
        raise ChibiError(f"{fewer} pictures are too few: at least {least} are needed")
