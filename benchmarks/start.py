"""How long after the command a training takes its first step, the avatars being in the cache.

    python benchmarks/start.py

The first row of `stats.jsonl` tells that the first step is done. Before it stand the import of
PyTorch, the check of the cached images, and the first sample grid. Python keeps compiled modules
from the second start on; where PYTHONDONTWRITEBYTECODE forbids that, every start takes longer.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import report
import tyro

from chibi_lab.data import load_avatars
from chibi_lab.training import GANConfig


@dataclass(frozen=True)
class StartBenchmark:
    """Seconds from the command to the end of the first step."""

    kinds: tuple[str, ...] = ("gan", "vae")
    """Which trainings, gan and vae."""
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


def main() -> None:
    """Measure, print and write."""
    settings = tyro.cli(StartBenchmark)
    load_avatars()
    rounds: dict[str, list[float]] = {kind: [] for kind in settings.kinds}
    with tempfile.TemporaryDirectory() as name:
        for number in range(settings.rounds + 1):
            for kind, found in rounds.items():
                seconds = seconds_to_first_step(kind, Path(name) / f"{kind}-{number}")
                if number:
                    found.append(round(seconds, 2))
    medians = {kind: round(median(found), 2) for kind, found in rounds.items()}
    for kind, seconds in medians.items():
        print(f"{kind}: first step {seconds:.1f} s after the command")
    report.write("start", settings.out, {"seconds": medians, "rounds": rounds})


if __name__ == "__main__":
    main()
