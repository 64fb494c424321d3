"""Runs measured side by side, and the report of it as one page."""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid
from tqdm.auto import tqdm

from chibi_lab import __version__
from chibi_lab.data import ImageSet, open_images, to_float, to_uint8
from chibi_lab.errors import ChibiError
from chibi_lab.evaluation.attributes import AttributeReader, coverage, effective_count
from chibi_lab.evaluation.distances import Memorisation, memorisation
from chibi_lab.evaluation.features import psnr, sharpness
from chibi_lab.evaluation.page import page
from chibi_lab.training import Run, draw, latents, load_drawer, load_vae
from chibi_lab.training.run import write_text

FORMAT = 1  # of comparison.json; raise it when a key changes its meaning
LABELLED = 10_000  # avatars that the attributes are read from
SHOWN = 64  # images in a grid, 8 x 8
PAIRS = 8  # samples shown beside their nearest training image


@dataclass(frozen=True)
class _Data:
    """What all runs are measured against.

    Attributes:
        held_out: Real images of the test split, which no run has seen.
        labelled: Real images with attributes; None for pictures without.
        reader: Reads attributes; None for pictures without.
    """

    held_out: ImageSet
    labelled: ImageSet | None
    reader: AttributeReader | None


def compare(
    runs: Sequence[Run], out: Path | str, count: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Measure runs side by side, beside real images that none of them has seen.

    The folder gets ``index.html``, one page that needs no other file and no network;
    ``comparison.json``, the figures under keys that stay; and the page's pictures as PNG.

    Figures of a model, and of the held-out images under ``real``:

    * ``sharpness`` and ``relative_sharpness``: mean of :func:`sharpness`, and its ratio to the
      real images'.
    * ``diversity``: for each attribute how many ``values`` there are, the share of images in which
      one is ``recognised`` with certainty (:class:`AttributeReader`), and among those how many are
      ``covered`` (:func:`coverage`) and the ``effective`` count (:func:`effective_count`); None for
      pictures without attributes.
    * ``psnr``: mean over held-out images that the model encoded and decoded, in decibels; None
      for a GAN, which cannot encode.
    * ``memorisation``: median ``distance`` to the nearest training image, its ``ratio`` to the
      held-out images', and the share ``copied`` (:class:`Memorisation`).
    * ``images_seen``, ``minutes`` of training, ``parameters`` of the network that draws, and the
      ``images_per_second`` that it drew here.

    Args:
        runs: Runs of either kind that learned from the same images at the same size.
        out: Folder of the report: a new or empty one, or that of an earlier report.
        count: Images to draw from each run, and to hold out.
        seed: Seed of the latents.

    Returns:
        What ``comparison.json`` holds.

    Raises:
        ChibiError: If there is no run, they learned from different images, one has no checkpoint,
            or the folder is in the way.
    """
    out = Path(out)
    _check(runs, out, count)
    names = _names(runs)
    with tqdm(total=len(runs) + 1, desc="comparing", unit="run", leave=False) as bar:
        data = _open_data(runs[0], count)
        real = _measure_images(to_float(data.held_out.images), data)
        pictures = {"real": _grid(to_float(data.held_out.images[:SHOWN]))}
        bar.update()
        models = []
        for name, run in zip(names, runs, strict=True):
            figures, drawn = _measure(run, data, count, seed)
            models.append({"name": name, **figures})
            pictures |= {f"{part}-{name}": picture for part, picture in drawn.items()}
            bar.update()
    for model in models:
        model["relative_sharpness"] = model["sharpness"] / max(real["sharpness"], 1e-9)
    config, reader = runs[0].config, data.reader
    result = {
        "format": FORMAT,
        "chibi_lab": __version__,
        "count": count,
        "seed": seed,
        "data": {
            "name": config.data,
            "palette": config.palette,
            "size": config.size,
            "held_out": len(data.held_out),
            "credit": data.held_out.credit,
        },
        "reading_accuracy": reader.accuracy(data.held_out) if reader else None,
        "real": {"name": "real", "relative_sharpness": 1.0, **real},
        "models": models,
    }
    _write(out, result, pictures)
    return result


def _check(runs: Sequence[Run], out: Path, count: int) -> None:
    if not runs:
        raise ChibiError("there is no run to compare")
    if count < 1:
        raise ChibiError(f"count is {count}: it must be at least 1")
    learned = [(run.config.data, run.config.palette, run.config.size) for run in runs]
    for run, what in zip(runs, learned, strict=True):
        run.latest()
        if what != learned[0]:
            raise ChibiError(
                f"{runs[0].path} learned from {_words(learned[0])}, {run.path} from "
                f"{_words(what)}: only runs on the same images can be compared"
            )
    if out.exists() and not out.is_dir():
        raise ChibiError(f"{out} is a file: choose a folder for the report")
    if out.is_dir() and any(out.iterdir()) and not (out / "comparison.json").exists():
        raise ChibiError(f"{out} holds other files: choose a new or an empty folder")


def _words(learned: tuple[str, str, int]) -> str:
    data, palette, size = learned
    return f"{data} ({palette}, {size} px)"


def _names(runs: Sequence[Run]) -> list[str]:
    """A different name for each run, safe in a file name: its folder's, numbered if need be."""
    names: list[str] = []
    for run in runs:
        name = re.sub(r"[^\w.-]+", "-", run.path.resolve().name) or run.config.kind
        same = sum(
            re.fullmatch(re.escape(name) + r"(-\d+)?", other) is not None
            for other in names
        )
        names.append(name if not same else f"{name}-{same + 1}")
    return names


def _open_data(run: Run, count: int) -> _Data:
    config = run.config
    held_out = open_images(
        config.data, config.size, "test", count, palette=config.palette
    )
    held_out = held_out.select(slice(count))
    if held_out.attributes is None:
        return _Data(held_out, None, None)
    labelled = open_images(
        config.data, config.size, "train", LABELLED, palette=config.palette
    )
    return _Data(held_out, labelled, AttributeReader(labelled))


def _measure(
    run: Run, data: _Data, count: int, seed: int
) -> tuple[dict[str, Any], dict[str, Image.Image]]:
    """Figures of one run, and the pictures that show them."""
    config = run.config
    network = load_drawer(run)
    z = latents(count, config.latent_dim, seed)
    start = time.perf_counter()
    samples = draw(network, z)
    seconds = time.perf_counter() - start
    train = open_images(
        config.data, config.size, "train", config.count, palette=config.palette
    )
    copies = memorisation(samples, train, data.held_out)
    stats = run.stats()
    figures = {
        "kind": config.kind,
        "images_seen": run.images_seen,
        "minutes": stats[-1]["seconds"] / 60 if stats else None,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "images_per_second": count / seconds,
        **_measure_images(samples, data),
        "psnr": None,
        "memorisation": {
            "distance": float(copies.distance.median()),
            "ratio": copies.ratio,
            "copied": copies.copied,
        },
    }
    pictures = {
        "samples": _grid(samples[:SHOWN]),
        "nearest": _nearest_pairs(samples, train, copies),
    }
    if config.kind == "vae":
        originals = to_float(data.held_out.images)
        rebuilt = _reconstruct(run, originals)
        figures["psnr"] = float(psnr(rebuilt, originals).mean())
        pictures["reconstructions"] = _grid(
            torch.cat([originals[:PAIRS], rebuilt[:PAIRS]]), PAIRS
        )
    return figures, pictures


def _measure_images(images: Tensor, data: _Data) -> dict[str, Any]:
    diversity = None
    if data.reader is not None and data.labelled is not None:
        read, schema = data.reader.read(images, certain=True), data.reader.schema
        diversity = {
            name: {
                "values": schema.count(name),
                "recognised": float((read[:, column] >= 0).mean()),
                "covered": coverage(
                    read[:, column], data.labelled.attributes[:, column]
                ),
                "effective": effective_count(read[:, column]),
            }
            for column, name in enumerate(schema.names)
        }
    return {"sharpness": float(sharpness(images).mean()), "diversity": diversity}


@torch.no_grad()
def _reconstruct(run: Run, originals: Tensor) -> Tensor:
    """Encode to the posterior's mean and decode, a chunk at a time."""
    encoder, decoder = load_vae(run)
    return torch.cat(
        [draw(decoder, encoder(chunk)[0]) for chunk in originals.split(64)]
    )


def _nearest_pairs(
    samples: Tensor, train: ImageSet, copies: Memorisation
) -> Image.Image:
    """The samples most like copies above, their nearest training images below."""
    worst = copies.isolation.argsort(stable=True)[:PAIRS]
    originals = to_float(
        np.stack([train.images[i] for i in copies.index[worst].tolist()])
    )
    return _grid(torch.cat([samples[worst], originals]), len(worst))


def _grid(images: Tensor, columns: int = 8) -> Image.Image:
    sheet = make_grid(images, nrow=columns, padding=2, pad_value=1.0)
    return Image.fromarray(to_uint8(sheet[None])[0])


def _write(out: Path, result: dict[str, Any], pictures: dict[str, Image.Image]) -> None:
    """Write every file beside its place and rename it; the page last, so that it is complete."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.items():
            beside = out / f"{name}.png.part"
            picture.save(beside, format="png")
            beside.replace(out / f"{name}.png")
        write_text(out / "comparison.json", json.dumps(result, indent=2) + "\n")
        write_text(out / "index.html", page(result, pictures))
    except OSError as error:
        raise ChibiError(f"cannot write the report {out}: {error.strerror}") from error
