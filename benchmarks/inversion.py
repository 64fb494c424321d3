"""How near the models come to pictures that they know, and to others; and how long it takes.

    python benchmarks/inversion.py

For each of some test avatars, avatars of other styles, and their own avatars mirrored: the search
of 100 steps from the first guess, by both models that ship.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import report
import torch

from chibi_lab import pretrained
from chibi_lab.data import load_avatars, split_seeds, to_float
from chibi_lab.evaluation import load_judge
from chibi_lab.studio.painter import Painter

STEPS = 100
STYLES = ("adventurer", "lorelei", "big-smile", "pixel-art", "avataaars")


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="pictures of each kind")
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    options = parser.parse_args()
    judge = load_judge(pretrained.path("judge") / "judge.safetensors")
    painters = {
        name: Painter(pretrained.open_run(name))
        for name in ("modern-gan", "modern-vae")
    }
    seeds = split_seeds("test", options.count)
    kinds = {
        style: to_float(
            load_avatars(
                style,
                64,
                seeds,
                "pastel" if style == "adventurer" else "original",
            ).images
        )
        for style in STYLES
    }
    kinds["adventurer, its own colours"] = to_float(
        load_avatars("adventurer", 64, seeds, "original").images
    )
    kinds["adventurer, mirrored"] = kinds["adventurer"].flip(3)
    kinds["noise"] = torch.rand_like(kinds["adventurer"]) * 2 - 1
    rows: dict[str, Any] = {}
    for kind, images in kinds.items():
        nearest = np.full(len(images), np.inf)
        for name, painter in painters.items():
            started = time.perf_counter()
            guesses, errors = [], []
            for image in images:
                start = painter.recognise(image, judge)
                *_, found = painter.approach(image, start, STEPS)
                guess = (painter.draw([start])[0] - image).square().mean().item()
                guesses.append(guess)
                errors.append(found.error)
            seconds = (time.perf_counter() - started) / len(images)
            nearest = np.minimum(nearest, errors)
            rows[f"{kind}, {name}"] = {
                "guess": guesses,
                "found": errors,
                "seconds": seconds,
            }
            print(
                f"{kind:>28}, {name}: mean squared error {np.median(guesses):.4f} of the guess, "
                f"{np.median(errors):.4f} found, {min(errors):.4f} to {max(errors):.4f}, "
                f"{seconds:.1f} s"
            )
        rows[f"{kind}, the nearer"] = nearest.tolist()
    report.write("inversion", options.out, {"steps": STEPS, "rows": rows})


if __name__ == "__main__":
    main()
