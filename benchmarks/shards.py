"""Memory that a training on shards takes, as the data grows.

    python benchmarks/shards.py

Each count of avatars is drawn into archives; then a process of its own trains on them and reports
its peak memory. The figures go to `benchmarks/results/`.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
import tyro

from chibi_lab.data import split_seeds, write_shards
from chibi_lab.training import VAEConfig, train_vae


@dataclass(frozen=True)
class ShardBenchmark:
    """Peak memory of a training on shards, by number of images."""

    counts: tuple[int, ...] = (20_000, 200_000)
    """How many avatars."""
    size: int = 32
    """Side of the images in pixels."""
    images: int = 40_000
    """Images seen by the training."""
    out: Path = report.RESULTS
    """Folder for the figures."""


def train(folder: Path, settings: ShardBenchmark, answers: Any) -> None:
    """Train on the shards and say what that took."""
    config = VAEConfig(
        data=str(folder), size=settings.size, channels=8, images=settings.images
    )
    run = train_vae(config, folder.parent / f"run-{folder.name}", progress=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024
    answers.put((peak, run.stats()[-1]["images_per_second"]))


def main() -> None:
    """Measure, print and write."""
    settings = tyro.cli(ShardBenchmark)
    context = multiprocessing.get_context("spawn")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for count in settings.counts:
            folder = Path(name) / str(count)
            started = time.perf_counter()
            seeds = split_seeds("train", count)
            shards = write_shards("adventurer", seeds, settings.size, "pastel", folder)
            seconds = time.perf_counter() - started
            size = sum(path.stat().st_size for path in folder.iterdir())
            answers = context.Queue()
            child = context.Process(target=train, args=(folder, settings, answers))
            child.start()
            child.join()
            if child.exitcode:
                raise SystemExit(f"the training ended with {child.exitcode}")
            peak, speed = answers.get()
            rows.append(
                {
                    "images": len(shards),
                    "megabytes": round(size / 1e6),
                    "seconds_to_write": round(seconds, 1),
                    "peak_memory_mib": round(peak / 2**20),
                    "images_per_second": speed,
                }
            )
            print(", ".join(f"{key} {value}" for key, value in rows[-1].items()))
    report.write("shards", settings.out, {"size": settings.size, "rows": rows})


if __name__ == "__main__":
    main()
