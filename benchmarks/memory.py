"""Memory that a training takes of its own, as the data grows.

    python benchmarks/memory.py

20,000 avatars are drawn; larger counts are the same ones again and again, since a loader does not
look at what it reads. Each count is one memory-mapped file, on which a process of its own trains.
At its end it says how much memory is its own (`RssAnon`, which Linux tells): pages of the file are
not, since the system may drop them at any time. The figures go to `benchmarks/results/`.
"""

import multiprocessing
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import report
import tyro

from chibi_lab.data import ImageSet, load_avatars, split_seeds
from chibi_lab.training import VAEConfig, train_vae


@dataclass(frozen=True)
class MemoryBenchmark:
    """Memory of a training, by number of images."""

    drawn: int = 20_000
    """How many different avatars."""
    counts: tuple[int, ...] = (20_000, 200_000)
    """How many images to train on, multiples of those drawn."""
    size: int = 32
    """Side of the images in pixels."""
    images: int = 6_400
    """Images seen by the training."""
    out: Path = report.RESULTS
    """Folder for the figures."""


def train(file: Path, settings: MemoryBenchmark, answers: Any) -> None:
    """Train on the images of a file and say what that took."""
    images = ImageSet(np.load(file, mmap_mode="r"))
    config = VAEConfig(size=settings.size, channels=8, images=settings.images)
    run = train_vae(config, file.with_suffix(""), images=images, progress=False)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    kibibytes = int(re.search(r"RssAnon:\s+(\d+) kB", status)[1])
    answers.put((kibibytes, run.stats()[-1]["images_per_second"]))


def main() -> None:
    """Measure, print and write."""
    settings = tyro.cli(MemoryBenchmark)
    seeds = split_seeds("train", settings.drawn)
    avatars = load_avatars(size=settings.size, seeds=seeds).images
    context = multiprocessing.get_context("spawn")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for count in settings.counts:
            file = Path(name) / f"{count}.npy"
            shape = (count, *avatars.shape[1:])
            whole = np.lib.format.open_memmap(file, "w+", np.uint8, shape)
            for first in range(0, count, settings.drawn):
                whole[first : first + settings.drawn] = avatars
            answers = context.Queue()
            child = context.Process(target=train, args=(file, settings, answers))
            child.start()
            child.join()
            if child.exitcode:
                raise SystemExit(f"the training ended with {child.exitcode}")
            kibibytes, speed = answers.get()
            rows.append(
                {
                    "images": count,
                    "megabytes": round(whole.nbytes / 1e6),
                    "memory_mib": round(kibibytes / 1024),
                    "images_per_second": speed,
                }
            )
            print(", ".join(f"{key} {value}" for key, value in rows[-1].items()))
    report.write("memory", settings.out, {"size": settings.size, "rows": rows})


if __name__ == "__main__":
    main()
