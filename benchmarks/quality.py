"""The article's GAN and VAE against their modern forms: same data, same minutes, several seeds.

    python benchmarks/quality.py

One training after the other, each for 10 minutes on one core. On two cores start it twice, side by
side, each with half of `--models`, and once more at the end, which writes one table of all: what
is done is not done again. Figures are in the judge's features and from its readings, and the
interval is the lowest and the highest of the seeds.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import report
import torch

from chibi_lab.evaluation import evaluate
from chibi_lab.training import (
    GANConfig,
    ModernGANConfig,
    ModernVAEConfig,
    Run,
    TrainingConfig,
    VAEConfig,
    train_gan,
    train_modern_gan,
    train_modern_vae,
    train_vae,
)

COUNT = 40_000  # training avatars
ENDLESS = 10**9  # images: the minutes decide
DRAWN = 2_000
# The defaults of each kind, and variants that the goals speak of.
MODELS: dict[str, tuple[Callable[..., Run], TrainingConfig]] = {
    "gan": (train_gan, GANConfig()),
    "modern-gan": (train_modern_gan, ModernGANConfig()),
    "vae": (train_vae, VAEConfig()),
    "modern-vae": (train_modern_vae, ModernVAEConfig()),
    # With the same 100 numbers to say all, as the article's has: for the reconstructions.
    "modern-vae-without-attributes": (
        train_modern_vae,
        ModernVAEConfig(conditional=False),
    ),
    "sharp-vae": (train_modern_vae, ModernVAEConfig(adversary=4e-4)),
}


def measure(run: Run) -> dict[str, Any]:
    """All figures of one training."""
    row = run.stats()[-1]
    return {
        "images_seen": run.images_seen,
        "minutes": row["seconds"] / 60,
        **evaluate(run, DRAWN),
    }


def main() -> None:
    """Train, measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--runs", type=Path, default=Path("runs/quality"))
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    # Seeds outside: after a third of the time there is one result of each.
    for seed in range(options.seeds):
        for name in options.models:
            train, config = MODELS[name]
            out = options.runs / f"{name}-{seed}"
            if (out / "quality.json").exists():
                continue
            config = replace(
                config,
                seed=seed,
                count=COUNT,
                images=ENDLESS,
                minutes=options.minutes,
                checkpoint_every=20_000,
            )
            run = train(config, out, resume=out.exists())
            text = json.dumps(measure(run), indent=2)
            (out / "quality.json").write_text(text, encoding="utf-8")
    results = {
        name: [
            json.loads(path.read_text(encoding="utf-8"))
            for path in sorted(options.runs.glob(f"{name}-[0-9]/quality.json"))
        ]
        for name in options.models
    }
    report.write(
        "quality", options.out, {"minutes": options.minutes, "models": results}
    )


if __name__ == "__main__":
    main()
