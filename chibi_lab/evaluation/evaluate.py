"""One run measured by the judge: the figures of ``chibi-lab evaluate``."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from chibi_lab.data import ImageSet
from chibi_lab.evaluation.attributes import coverage, effective_count, read_back
from chibi_lab.evaluation.distances import COPY_SIZE, memorisation
from chibi_lab.evaluation.features import as_images, psnr, shrink, ssim
from chibi_lab.evaluation.reference import (
    Figures,
    Reference,
    open_reference,
    training_images,
)
from chibi_lab.evaluation.sets import histogram_distance
from chibi_lab.losses import kl_divergence
from chibi_lab.training import (
    Run,
    draw,
    has_encoder,
    latents,
    load_drawer,
    reconstruct,
)

FORMAT = 1  # raise it when a key changes its meaning
SETS = 5  # of drawn images; a figure is the mean over them
RECONSTRUCTED = 500
ACTIVE = 0.01  # variance of a dimension's mean, as in Burda et al. (2016)


def evaluate(
    run: Run,
    count: int = 2_000,
    seed: int = 0,
    neutral: bool = False,
    data: str | None = None,
) -> dict[str, Any]:
    """Measure what a run draws against real images that it has not seen.

    Five sets of images are drawn, from the first latents of the seed on.

    Args:
        run: A run of any kind.
        count: Images in a set, and real ones to compare with.
        seed: Seed of the latents.
        neutral: Measure distances in a network's features that knows nothing of avatars, too.
        data: Where the pictures are now that the run learned from, if they were moved.

    Returns:
        Under ``figures`` one entry a figure: its ``value``, the mean over the five sets, and the
        ``low``est and ``high``est of them. The figures are ``frechet`` and ``kernel`` distance,
        ``precision``, ``recall``, ``density`` and ``coverage`` in the judge's features;
        ``memorisation``, the median distance to the nearest training image over that of held-out
        images, and the share ``copied`` (:class:`Memorisation`). For a model with an encoder they
        are followed by ``psnr`` (decibels) and ``ssim`` of up to 500 reconstructions, the ``kl``
        divergence in nats an image and the ``active_units``, in fifths of these images; for a
        conditional model by ``read_back``: asked for all that the real images show, how often it is
        read off what was drawn, the mean over the attributes.

        Under ``real`` the figures of one further set of real images: no model can be expected to
        do better. ``real_interval`` says how far these depend on the images.

        Under ``attributes``, if the judge can read them, for each one how many ``values`` real
        images show, how many are ``covered``, the ``effective`` count, and the ``distance`` of the
        histograms, all of the first set; the ``low``est and ``high``est of all sets; and the same
        of the further set of ``real`` images. For a conditional model also the share ``read_back``,
        and what is ``readable``, the share read right off the real images.

        Under ``neutral``, if asked for, ``frechet`` and ``kernel`` distance in these ``features``,
        likewise. ``count``, ``sets``, ``held_out``, ``searched`` and
        ``reconstructed`` are the numbers of images. A figure that these are too few for is None,
        and ``notes`` says why.

    Raises:
        ChibiError: If the run has no checkpoint or draws images that are not square, there are not
            two real images, count is not 2 to 10,000, or an extra is missing.
    """
    run.latest()  # says so at once if there is none
    reference = open_reference(run, count, neutral, data)
    return measure(run, reference, training_images(run, data), count, seed)


def measure(
    run: Run, reference: Reference, train: ImageSet, count: int, seed: int
) -> dict[str, Any]:
    """Measure a run against real images that were opened before.

    Args:
        run: A run that learned from these images.
        reference: The real images.
        train: The images that it learned from.
        count: Images in a set.
        seed: Seed of the latents.

    Returns:
        As :func:`evaluate`.

    Raises:
        ChibiError: If the run has no checkpoint.
    """
    network = load_drawer(run)
    rows: dict[str, list[Figures]] = {key: [] for key in reference.spaces}
    small, readings, backs = [], [], []
    wishes = _wishes(run, reference)
    sets = latents(SETS * count, run.config.latent_dim, seed).split(count)
    for z in tqdm(sets, desc=f"measuring {run.path.name}", unit="set", leave=False):
        # One set at a time: all of them at 128 pixels would take gigabytes.
        drawn = draw(network, z)
        for key, space in reference.spaces.items():
            rows[key].append(space.figures(space.features(drawn)))
        small.append(shrink(drawn, COPY_SIZE))
        if reference.readable:
            readings.append(reference.judge.read(drawn))
        if wishes is not None:
            asked = wishes[: len(z)]
            obeyed = draw(network, z[: len(asked)], torch.from_numpy(asked))
            backs.append(read_back(asked, reference.judge.read(obeyed)))
    for row, own in zip(
        rows["judge"], _copying(small, train, reference.others), strict=True
    ):
        row |= own
    rebuilt = min(len(reference.others), RECONSTRUCTED) if has_encoder(run) else 0
    judged = reference.spaces["judge"]
    result = {
        "format": FORMAT,
        "run": str(run.path),
        "kind": run.config.kind,
        "images_seen": run.images_seen,
        "count": count,
        "sets": SETS,
        "held_out": len(reference.real),
        "searched": len(train),
        "reconstructed": rebuilt,
        "seed": seed,
        "figures": _spreads(rows["judge"]),
        "real": judged.best,
        "real_interval": judged.interval,
        "attributes": None,
        "neutral": None,
        "notes": reference.notes(count),
    }
    if reference.readable:
        result["attributes"] = _attributes(reference, readings)
    if wishes is not None:
        means = [{"read_back": float(shares.mean())} for shares in backs]
        result["figures"] |= _spreads(means)
        best = read_back(wishes, reference.judge.read(reference.real))
        result["real"] = judged.best | {"read_back": float(best.mean())}
        for column, name in enumerate(reference.judge.schema.names):
            result["attributes"][name] |= {
                "read_back": float(np.mean([shares[column] for shares in backs])),
                "readable": float(best[column]),
            }
    if rebuilt:
        result["figures"] |= _spreads(_coding(run, reference.others, rebuilt))
    for key, space in reference.spaces.items():
        if key != "judge":
            result[key] = {
                "features": space.name,
                "figures": _spreads(rows[key]),
                "real": space.best,
                "real_interval": space.interval,
            }
    return plain(result)


def plain(value: Any) -> Any:
    """A result as all JSON can hold it: no NaN, no name of a file that is no text."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _wishes(run: Run, reference: Reference) -> np.ndarray | None:
    """What the real images show, to be asked for; None where the model takes no such wishes."""
    if not reference.readable or run.schema() != reference.judge.schema:
        return None
    return reference.real.attributes


def _copying(small: list[Tensor], train: ImageSet, others: ImageSet) -> list[Figures]:
    """How near each set comes to the training images."""
    held_out = shrink(others, COPY_SIZE)
    copies = memorisation(torch.cat(small), shrink(train, COPY_SIZE), held_out)
    count = len(small[0])
    parts = (
        replace(copies, distance=distance, index=index, isolation=isolation)
        for distance, index, isolation in zip(
            copies.distance.split(count),
            copies.index.split(count),
            copies.isolation.split(count),
            strict=True,
        )
    )
    return [{"memorisation": part.ratio, "copied": part.copied} for part in parts]


def _coding(run: Run, others: ImageSet, count: int) -> list[Figures]:
    """What encoding and decoding keeps, in fifths of the images."""
    originals = as_images(others.images[:count])
    rebuilt, mu, logvar = reconstruct(run, originals)
    # Fifths, but of no fewer than 20 images: the variance of a few says nothing.
    parts = max(1, min(SETS, count // 20))
    return [
        {
            "psnr": psnr(drawn, real).mean().item(),
            "ssim": ssim(drawn, real).mean().item(),
            "kl": kl_divergence(means, spreads).item() / len(means),
            "active_units": active_units(means),
        }
        for drawn, real, means, spreads in zip(
            *(part.chunk(parts) for part in (rebuilt, originals, mu, logvar)),
            strict=True,
        )
    ]


def active_units(mu: Tensor) -> int:
    r"""How many dimensions of the latent carry something of the image.

    .. math:: \#\big\{j : \operatorname{Var}_x(\mu_j(x)) > 0.01\big\}

    Source: Burda et al. (2016), section 5.2.

    Args:
        mu: Means of the posteriors of different images, (N, latent_dim).

    Returns:
        From 0 to latent_dim.
    """
    return int((mu.var(0, correction=0) > ACTIVE).sum())


def _spreads(rows: list[Figures]) -> dict[str, dict[str, float] | None]:
    """Mean, lowest and highest of each figure; None where one is missing."""
    return {
        name: None if None in (values := [row[name] for row in rows]) else _spread(values)
        for name in rows[0]
    }  # fmt: skip


def _spread(values: list[float]) -> dict[str, float]:
    return {"value": float(np.mean(values)), "low": min(values), "high": max(values)}


def _attributes(reference: Reference, readings: list[np.ndarray]) -> dict[str, Any]:
    truth = reference.judge.read(reference.real)
    further = reference.judge.read(reference.others)
    found = {}
    for column, name in enumerate(reference.judge.schema.names):
        real, *rows = (
            {
                "covered": coverage(read[:, column], truth[:, column]),
                "effective": effective_count(read[:, column]),
                "distance": histogram_distance(truth[:, column], read[:, column]),
            }
            for read in (further, *readings)
        )
        found[name] = {
            "values": len(np.unique(truth[:, column])),
            **rows[0],
            "low": {key: min(row[key] for row in rows) for key in real},
            "high": {key: max(row[key] for row in rows) for key in real},
            "real": real,
        }
    return found
