"""How fast several ranks are together, beside one that has all the threads.

    python benchmarks/ranks.py

Both train the same networks with the same global batch on the same images. One rank computes with
as many threads as there are cores, of several ranks each with its part of them. They take turns, so
that both meet the same other work on the machine. The figures go to `benchmarks/results/`.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import report
import tyro

from chibi_lab.data import load_avatars


@dataclass(frozen=True)
class RanksBenchmark:
    """Images a second of several ranks, beside one."""

    kinds: tuple[str, ...] = ("gan", "vae")
    """Which trainings, gan and vae."""
    ranks: int = 2
    """How many ranks."""
    size: int = 64
    """Side of the images in pixels."""
    batch: int = 128
    """Images in one step, of all ranks together."""
    channels: int = 64
    """Width of the networks."""
    steps: int = 12
    """Steps in one round; the first two do not count."""
    rounds: int = 5
    """Rounds of either."""
    out: Path = report.RESULTS
    """Folder for the figures."""


def speed_of(kind: str, ranks: int, settings: RanksBenchmark, folder: Path) -> float:
    """Images a second of a training with so many ranks."""
    each = max(1, (os.cpu_count() or 1) // ranks)
    launcher = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={ranks}",
    ]
    command = [
        sys.executable, *(launcher if ranks > 1 else []), "-m", "chibi_lab", "train", kind,
        f"--out={folder}", f"--size={settings.size}", f"--batch={settings.batch}",
        f"--channels={settings.channels}", f"--images={settings.steps * settings.batch}",
        f"--log-every={2 * settings.batch}", f"--sample-every={10**9}",
        f"--checkpoint-every={10**9}",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": str(each), "TQDM_DISABLE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    rows = (folder / "stats.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    return median(json.loads(row)["images_per_second"] for row in rows)


def measure(kind: str, settings: RanksBenchmark, folder: Path) -> dict[str, Any]:
    """One rank and several in turn."""
    speeds: dict[int, list[float]] = {1: [], settings.ranks: []}
    for number in range(settings.rounds):
        for ranks, found in speeds.items():
            run = folder / f"{kind}-{ranks}-{number}"
            found.append(speed_of(kind, ranks, settings, run))
    ratios = [b / a for a, b in zip(*speeds.values(), strict=True)]
    return {
        "images_per_second": {str(n): round(median(v), 1) for n, v in speeds.items()},
        "rounds": {str(n): v for n, v in speeds.items()},
        "ratio": round(median(ratios), 2),
    }


def main() -> None:
    """Measure, print and write."""
    settings = tyro.cli(RanksBenchmark)
    result: dict[str, Any] = {
        "settings": {k: v for k, v in asdict(settings).items() if k != "out"}
    }
    load_avatars(size=settings.size)  # so that no round has to draw them
    with tempfile.TemporaryDirectory() as name:
        for kind in settings.kinds:
            found = result[kind] = measure(kind, settings, Path(name))
            one, several = found["images_per_second"].values()
            print(
                f"{kind}: {several:.0f} images a second with {settings.ranks} ranks, {one:.0f} "
                f"with one: {found['ratio']:.2f} times as many"
            )
    report.write("ranks", settings.out, result)


if __name__ == "__main__":
    main()
