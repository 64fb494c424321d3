"""Train the judge that ships with the package, and say how well it reads.

python benchmarks/train_judge.py --out chibi_lab/pretrained/judge/judge.safetensors
"""

import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from chibi_lab.data import load_avatars, split_seeds
from chibi_lab.evaluation.judge import load_judge, save_judge, train_judge


@dataclass(frozen=True)
class JudgeTraining:
    """Train a judge on avatars of 64 pixels, and test it on others."""

    out: Path
    """File to write."""
    count: int = 100_000
    """Avatars to train on."""
    images: int = 800_000
    """Length of the training in images seen."""
    channels: int = 32
    """Width of the network."""
    seed: int = 0
    """Seed of the weights, the order and the wear."""


def main() -> None:
    """Train, test and write."""
    settings = tyro.cli(JudgeTraining)
    avatars = load_avatars(seeds=split_seeds("train", settings.count))
    started = time.perf_counter()
    judge = train_judge(
        avatars, settings.images, channels=settings.channels, seed=settings.seed
    )
    print(f"{(time.perf_counter() - started) / 60:.1f} minutes")
    save_judge(judge, settings.out)
    judge = load_judge(settings.out)
    for size in (32, 64, 128):
        test = load_avatars(size=size, seeds=split_seeds("test", 2_000))
        accuracy = judge.accuracy(test)
        print(f"{size} pixels: mean {sum(accuracy.values()) / len(accuracy):.4f}")
        print(
            "  " + ", ".join(f"{name} {share:.4f}" for name, share in accuracy.items())
        )


if __name__ == "__main__":
    main()
