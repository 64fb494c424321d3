"""How long after the command a training takes its first step, and an avatar is drawn.

    python benchmarks/start.py

The avatars to train on are in the cache. The first row of `stats.jsonl` tells that the first step
is done. Before it stand the import of PyTorch, the check of the cached images, and the first sample
grid. The avatar is drawn by the GAN that ships; most of its time is the import of PyTorch. Python
keeps compiled modules from the second start on; where PYTHONDONTWRITEBYTECODE forbids that, every
start takes longer.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

import report
import tyro

from chibi_lab.data import load_avatars
from chibi_lab.training import GANConfig


@dataclass(frozen=True)
class StartBenchmark:
    """Seconds from the command to the end of the first step, or to a picture."""

    starts: tuple[Literal["gan", "vae", "avatar"], ...] = ("gan", "vae", "avatar")
    """Which starts: of a training (gan, vae), or of an avatar."""
    rounds: int = 5
    """Starts that count; one before them does not."""
    out: Path = report.RESULTS
    """Folder for the figures."""


def seconds_to_first_step(kind: str, folder: Path) -> float:
    """Start a training as a reader would, and watch for its first row."""
    batch = GANConfig().batch
    command = [sys.executable, "-m", "chibi_lab", "train", kind, f"--out={folder}"]
    command += [f"--images={batch}", f"--log-every={batch}"]
    environment = {**os.environ, "TQDM_DISABLE": "1"}
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while not (folder / "stats.jsonl").exists():
        if process.poll():
            raise SystemExit(f"the training ended with {process.returncode}")
        time.sleep(0.01)
    seconds = time.perf_counter() - started
    process.wait()
    return seconds


def seconds_to_avatar(file: Path) -> float:
    """Draw one avatar as a reader would."""
    command = [sys.executable, "-m", "chibi_lab", "sample", "--pretrained=gan"]
    started = time.perf_counter()
    subprocess.run(
        [*command, "--count=1", f"--out={file}"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def main() -> None:
    """Measure, print and write."""
    settings = tyro.cli(StartBenchmark)
    load_avatars()
    rounds: dict[str, list[float]] = {start: [] for start in settings.starts}
    with tempfile.TemporaryDirectory() as name:
        for number in range(settings.rounds + 1):
            for start, found in rounds.items():
                out = Path(name) / f"{start}-{number}"
                if start == "avatar":
                    seconds = seconds_to_avatar(out)
                else:
                    seconds = seconds_to_first_step(start, out)
                if number:
                    found.append(round(seconds, 2))
    medians = {start: round(median(found), 2) for start, found in rounds.items()}
    for start, seconds in medians.items():
        what = "drawn" if start == "avatar" else "first step"
        print(f"{start}: {what} {seconds:.1f} s after the command")
    report.write("start", settings.out, {"seconds": medians, "rounds": rounds})


if __name__ == "__main__":
    main()
