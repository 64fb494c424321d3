"""Train the network that enlarges.

python benchmarks/train_enlarger.py --out chibi_lab/pretrained/enlarger/enlarger.safetensors
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from chibi_lab import pretrained
from chibi_lab.data import load_avatars, split_seeds, to_float, to_uint8
from chibi_lab.training import draw, latents, load_drawer, reconstruct
from chibi_lab.training.enlarger import save_enlarger, train_enlarger


@dataclass(frozen=True)
class EnlargerTraining:
    """Train on avatars of 64 pixels, drawn by rules and by networks, and of 256 pixels."""

    out: Path
    """File to write."""
    count: int = 3_000
    """Avatars to train on."""
    steps: int = 6_000
    """Length of the training, in batches of 16 patches."""
    seed: int = 0
    """Seed of all choices."""


def versions(seeds: range) -> dict[str, np.ndarray]:
    """The same avatars of 64 pixels, by the artist's rules and by the networks that ship."""
    real = load_avatars(seeds=seeds)
    run = pretrained.open_run("modern-gan")
    generator = load_drawer(run)
    asked = torch.from_numpy(real.attributes)
    z = latents(len(real), run.config.latent_dim, seed=1)
    redrawn, _, _ = reconstruct(
        pretrained.open_run("modern-vae"), to_float(real.images)
    )
    return {
        "real": np.asarray(real.images),
        "modern GAN": to_uint8(draw(generator, z, asked)),
        "modern VAE": to_uint8(redrawn),
    }


def main() -> None:
    """Train and write."""
    settings = tyro.cli(EnlargerTraining)
    seeds = split_seeds("train", settings.count)
    small = versions(seeds)
    started = time.perf_counter()
    network = train_enlarger(
        [*small.values(), small["real"]],
        load_avatars(size=256, seeds=seeds),
        settings.steps,
        seed=settings.seed,
    )
    print(f"{(time.perf_counter() - started) / 60:.1f} minutes")
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    save_enlarger(network, settings.out)


if __name__ == "__main__":
    main()
