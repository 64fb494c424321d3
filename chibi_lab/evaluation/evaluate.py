"""One run measured by the judge: the table of ``chibi-lab evaluate``."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from chibi_lab import pretrained
from chibi_lab.data import ImageSet, open_images
from chibi_lab.errors import ChibiError
from chibi_lab.evaluation.attributes import coverage, effective_count
from chibi_lab.evaluation.features import as_images, psnr
from chibi_lab.evaluation.judge import FEATURES, Judge, load_judge
from chibi_lab.evaluation.sets import (
    frechet_distance,
    histogram_distance,
    kernel_distance,
    neighbourhoods,
)
from chibi_lab.training import Run, draw, load_vae, sample

FORMAT = 1  # raise it when a key changes its meaning
SETS = 5  # of drawn images; a figure is the mean over them
RECONSTRUCTED = 500


def evaluate(run: Run, count: int = 2_000, seed: int = 0) -> dict[str, Any]:
    """Measure what a run draws against real images that it has not seen.

    Five sets of images are drawn, from the first latents of the seed on.

    Args:
        run: A run of either kind.
        count: Images in a set, and real ones to compare with.
        seed: Seed of the latents.

    Returns:
        Under ``figures`` one entry a figure: its ``value``, the mean over the five sets, and the
        ``low``est and ``high``est of them. The figures are ``frechet`` and ``kernel`` distance,
        ``precision``, ``recall``, ``density`` and ``coverage`` in the judge's features, and for
        a VAE the ``psnr`` of 500 reconstructions, in decibels. Under ``real`` the same figures of
        one further set of real images: no model can be expected to do better. Under
        ``attributes``, if the judge can read them, for each one how many ``values`` real images
        show, how many are ``covered``, the ``effective`` count, and the ``distance`` of the
        histograms, all of the first set.

    Raises:
        ChibiError: If the run has no checkpoint, or there are too few real images.
    """
    config = run.config
    judge = load_judge(pretrained.path("judge") / "judge.safetensors")
    images = open_images(
        config.data, config.size, "test", 2 * count, config.seed, config.palette
    )
    half = len(images) // 2
    if min(half, count) <= FEATURES:
        raise ChibiError(
            f"{config.data} has {len(images)} test images and {count} are to be drawn: at least "
            f"{2 * FEATURES + 2} and {FEATURES + 1} are needed, more than the judge has features"
        )
    real, others = images.select(slice(half)), images.select(slice(half, 2 * half))
    drawn = sample(run, SETS * count, seed).split(count)
    features = judge.features(real)
    rows = [_figures(features, judge.features(one)) for one in drawn]
    result = {
        "format": FORMAT,
        "run": str(run.path),
        "kind": config.kind,
        "images_seen": run.images_seen,
        "count": count,
        "held_out": half,
        "seed": seed,
        "figures": {name: _spread([row[name] for row in rows]) for name in rows[0]},
        "real": _figures(features, judge.features(others)),
        "attributes": None,
    }
    if real.schema == judge.schema:
        result["attributes"] = _attributes(judge, real, drawn[0])
    if config.kind == "vae":
        encoder, decoder = load_vae(run)
        originals = as_images(others.images[:RECONSTRUCTED])
        with torch.no_grad():
            mu = encoder(originals)[0]
        decibels = psnr(draw(decoder, mu), originals)
        fifths = [part.mean().item() for part in decibels.chunk(SETS)]
        result["figures"]["psnr"] = _spread(fifths)
    return result


def table(result: dict[str, Any]) -> str:
    """The result of :func:`evaluate` as lines to read."""
    lines = [
        f"{result['run']}: a {result['kind']} after {result['images_seen']:,} images seen, "
        f"{SETS} sets of {result['count']:,} from seed {result['seed']} "
        f"against {result['held_out']:,} real images",
        f"{'':>17} {'mean':>9} {'lowest and highest set':>24} {'real images':>12}",
    ]
    for name, figure in result["figures"].items():
        best = result["real"].get(name)
        spread = f"{figure['low']:.3f} to {figure['high']:.3f}"
        last = "" if best is None else f"{best:.3f}"
        lines.append(f"{name:>17} {figure['value']:>9.3f} {spread:>24} {last:>12}")
    if result["attributes"]:
        names = ("values", "covered", "effective", "distance")
        lines.append(f"{'':>17} " + " ".join(f"{name:>9}" for name in names))
    for name, row in (result["attributes"] or {}).items():
        lines.append(
            f"{name:>17} {row['values']:>9} {row['covered']:>9} {row['effective']:>9.1f} "
            f"{row['distance']:>9.3f}"
        )
    return "\n".join(lines)


def _figures(real: Tensor, drawn: Tensor) -> dict[str, float]:
    return {
        "frechet": frechet_distance(real, drawn),
        "kernel": kernel_distance(real, drawn),
        **neighbourhoods(real, drawn),
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"value": float(np.mean(values)), "low": min(values), "high": max(values)}


def _attributes(judge: Judge, real: ImageSet, drawn: Tensor) -> dict[str, Any]:
    truth, read = judge.read(real), judge.read(drawn)
    return {
        name: {
            "values": len(np.unique(truth[:, column])),
            "covered": coverage(read[:, column], truth[:, column]),
            "effective": effective_count(read[:, column]),
            "distance": histogram_distance(truth[:, column], read[:, column]),
        }
        for column, name in enumerate(judge.schema.names)
    }
