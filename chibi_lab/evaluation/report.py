"""Runs measured side by side, and the report of it as one page."""

import itertools
import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid
from tqdm.auto import tqdm

from chibi_lab import __version__
from chibi_lab.data import ImageSet, to_float, to_uint8
from chibi_lab.errors import ChibiError
from chibi_lab.evaluation.distances import memorisation
from chibi_lab.evaluation.evaluate import measure, plain
from chibi_lab.evaluation.page import GENERATOR, page
from chibi_lab.evaluation.reference import (
    Measured,
    Reference,
    open_reference,
    set_figures,
    training_images,
)
from chibi_lab.evaluation.sets import leave_out_interval
from chibi_lab.files import check_new_folder, explained, open_file, printable, write
from chibi_lab.training import (
    Run,
    draw,
    has_encoder,
    latents,
    load_drawer,
    reconstruct,
    sample,
)

JSON, PAGE = "comparison.json", "index.html"
FORMAT = 2  # of comparison.json; raise it when a key changes its meaning
SHOWN = 64  # images in a grid, 8 x 8
PAIRS = 8  # samples shown beside their nearest training image
TIMED = 256  # images whose drawing is timed
POINTS = 50  # of a run's sample grids, at most so many are measured
GAP = 2  # pixels between the pictures of a grid


def compare(
    runs: Sequence[Run],
    out: Path | str,
    count: int = 1000,
    seed: int = 0,
    neutral: bool = False,
    data: str | None = None,
) -> dict[str, Any]:
    """Measure runs side by side, beside real images that none of them has seen.

    The folder gets ``index.html``, one page that needs no other file and no network, and
    ``comparison.json``, the figures under keys that stay: each of the ``models`` has what
    :func:`evaluate` gives, and besides its ``name``, the ``minutes`` of its training, the
    ``parameters`` of the network that draws, the ``images_per_second`` that it drew here, and its
    ``history``.

    The history is measured on the sample grids that the training left, of the same latents each:
    for each one ``images_seen``, ``minutes``, and the ``kernel`` distance of its ``pictures`` (32)
    in the judge's features, with the interval from ``low`` to ``high``. The Fréchet distance would
    need hundreds of images; the kernel distance of few is uncertain, but not biased.

    Args:
        runs: Runs of any kind that learned from the same images at the same size.
        out: Folder of the report: a new or empty one, or that of an earlier report.
        count: Images in each of the five sets that a run draws, and real ones to compare with.
        seed: Seed of the latents.
        neutral: Measure distances in a network's features that knows nothing of avatars, too.
        data: As in :func:`evaluate`.

    Returns:
        What ``comparison.json`` holds.

    Raises:
        ChibiError: If there is no run, they learned from different images, one has no checkpoint,
            the folder is in the way, or as :func:`evaluate`.
    """
    out = Path(out)
    _check(runs, out)
    names = _names(runs)
    reference = open_reference(runs[0], count, neutral, data=data)
    pictures = {"real": _grid(to_float(reference.real.images[:SHOWN]))}
    models = []
    with tqdm(total=len(runs), desc="comparing", unit="run", leave=False) as bar:
        for name, run in zip(names, runs, strict=True):
            train = training_images(run, data)
            models.append(
                {
                    "name": name,
                    **measure(run, reference, train, count, seed),
                    **_cost(run),
                    "history": history(run, reference.spaces["judge"]),
                }
            )
            drawn = _pictures(run, train, reference, seed)
            pictures |= {f"{part}-{name}": picture for part, picture in drawn.items()}
            bar.update()
    config = runs[0].config
    result = plain({
        "format": FORMAT,
        "chibi_lab": __version__,
        "count": count,
        "seed": seed,
        "data": {
            "name": config.data,
            "palette": config.palette,
            "size": config.size,
            "held_out": len(reference.real),
            "credit": reference.real.credit,
        },
        "models": models,
    })  # fmt: skip
    _write(out, result, pictures)
    return result


def history(run: Run, judged: Measured) -> list[dict[str, float | None]]:
    """How near the samples of a training came to real images, as it went on.

    Args:
        run: A run with sample grids; at most 50 of them are measured.
        judged: The judge's features of real images.

    Returns:
        The entries that :func:`compare` describes, oldest first. The minutes are None where the
        run kept no times.
    """
    grids = run.samples()
    chosen = sorted({round(i) for i in np.linspace(0, len(grids) - 1, POINTS)})
    rows = [(0.0, 0.0), *((row["images_seen"], row["seconds"]) for row in run.stats())]
    seen, seconds = zip(*rows, strict=True)

    def kernel(features: Tensor) -> dict[str, float | None]:
        return set_figures(judged.real, features, ("kernel",))

    entries = []
    for grid in (grids[i] for i in chosen if grids):
        drawn = judged.features(_cut(run, grid))
        interval = leave_out_interval(kernel, drawn)["kernel"]
        if interval is None or not np.isfinite(interval["high"]):
            continue
        images = int(grid.stem)
        minutes = float(np.interp(images, seen, seconds)) / 60
        entries.append(
            {
                "images_seen": images,
                "minutes": minutes if len(rows) > 1 else None,
                "pictures": len(drawn),
                **kernel(drawn),
                **interval,
            }
        )
    return entries


def _cut(run: Run, grid: Path) -> np.ndarray:
    """The pictures of a sample grid, uint8 (N, size, size, 3)."""
    size, sheet = run.config.size, np.asarray(run.open_sample(grid))
    tile = size + GAP
    rows, columns = ((side - GAP) // tile for side in sheet.shape[:2])
    if sheet.shape[:2] != (rows * tile + GAP, columns * tile + GAP):
        raise ChibiError(f"{grid} is no grid of pictures of {size} pixels")
    cells = sheet[GAP:, GAP:].reshape(rows, tile, columns, tile, 3).swapaxes(1, 2)
    return cells[:, :, :size, :size].reshape(-1, size, size, 3)


def _check(runs: Sequence[Run], out: Path) -> None:
    if not runs:
        raise ChibiError("there is no run to compare")
    for run in runs:
        run.latest()
        if _learned(run) != _learned(runs[0]):
            raise ChibiError(
                f"{runs[0].path} learned from {_words(runs[0])}, {run.path} from {_words(run)}: "
                f"only runs on the same images can be compared"
            )
    with explained(f"cannot write {out}"):
        for name in (JSON, PAGE) if out.is_dir() else ():
            if os.path.lexists(out / name) and not _is_ours(out / name):
                raise ChibiError(
                    f"{out / name} is no report of ours: choose a new folder"
                )
    if not os.path.lexists(out / JSON):
        check_new_folder(out)
    elif not os.access(out, os.W_OK | os.X_OK):
        raise ChibiError(f"cannot write {out}: it is not yours to write to")


def _is_ours(file: Path) -> bool:
    with open_file(file) as opened, explained(f"cannot read {file}"):
        begin = opened.read(1000)
    if file.name == PAGE:
        return f'name="generator" content="{GENERATOR}"'.encode() in begin
    return re.match(rb'\{\s*"format": \d+,\s*"chibi_lab": "', begin) is not None


def _learned(run: Run) -> tuple[str, str, tuple[int, int]]:
    """What tells the images of one run from those of another, wherever they lie."""
    known, config = run.data(), run.config
    return known.get("fingerprint", config.data), config.palette, config.shape


def _words(run: Run) -> str:
    height, width = run.config.shape
    size = f"{height}" if height == width else f"{height} x {width}"
    place = run.data().get("folder", run.config.data)
    return printable(f"{place} ({run.config.palette}, {size} px)")


def _names(runs: Sequence[Run]) -> list[str]:
    """A different name for each run: its folder's, numbered if another has it."""
    own = [
        re.sub(r"[^\w.-]+", "-", run.path.resolve().name) or run.config.kind
        for run in runs
    ]
    names: list[str] = []
    for name in own:
        numbered = (f"{name}-{number}" for number in itertools.count(2))
        free = (other for other in numbered if other not in (*own, *names))
        names.append(next(free) if name in names else name)
    return names


def _cost(run: Run) -> dict[str, float | None]:
    """What a run took, and what its network takes."""
    network, stats = load_drawer(run), run.stats()
    z = latents(TIMED, run.config.latent_dim, 0)
    start = time.perf_counter()
    draw(network, z)
    return {
        "minutes": stats[-1]["seconds"] / 60 if stats else None,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "images_per_second": TIMED / (time.perf_counter() - start),
    }


@torch.no_grad()
def _pictures(
    run: Run, train: ImageSet, reference: Reference, seed: int
) -> dict[str, Image.Image]:
    """The first samples of the seed, those most like copies, and reconstructions."""
    samples = sample(run, SHOWN, seed)
    copies = memorisation(samples, train, reference.others)
    worst = copies.isolation.argsort(stable=True)[:PAIRS]
    nearest = [train.images[i] for i in copies.index[worst].tolist()]
    pairs = torch.cat([samples[worst], to_float(np.stack(nearest))])
    pictures = {"samples": _grid(samples), "nearest": _grid(pairs, len(worst))}
    if has_encoder(run):
        originals = to_float(reference.others.images[:PAIRS])
        both = torch.cat([originals, reconstruct(run, originals)[0]])
        pictures["reconstructions"] = _grid(both, len(originals))
    return pictures


def _grid(images: Tensor, columns: int = 8) -> Image.Image:
    sheet = make_grid(images, nrow=columns, padding=GAP, pad_value=1.0)
    return Image.fromarray(to_uint8(sheet[None])[0])


def _write(out: Path, result: dict[str, Any], pictures: dict[str, Image.Image]) -> None:
    """Write both files; the page last, which a reader opens."""
    with explained(f"cannot write the report {out}"):
        out.mkdir(parents=True, exist_ok=True)
    write(out / JSON, json.dumps(result, indent=2, allow_nan=False) + "\n")
    write(out / PAGE, page(result, pictures))
