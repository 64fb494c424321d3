"""The detector: what it knows of the model it was trained on, and what of others.

    python benchmarks/detector.py

Each detector is trained on the pictures of one model, or of two, and measured on new ones of all,
as they are, saved as JPEG or WebP, halved and restored, and with faint noise. One more is trained
on pictures that were saved as JPEG and halved. Some minutes on one core.
"""

import argparse
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import report
import torch
from PIL import Image

from chibi_lab import pretrained
from chibi_lab.data import load_avatars, split_seeds, to_uint8
from chibi_lab.evaluation import train_detector
from chibi_lab.training import sample

MODELS = ("gan", "modern-gan", "modern-vae", "vae")  # those that draw 64 pixels
TRAINED_ON: dict[str, tuple[str, ...]] = {
    "gan": ("gan",),
    "modern-gan": ("modern-gan",),
    "both GANs": ("gan", "modern-gan"),
    "both VAEs": ("vae", "modern-vae"),
}


def saved(pictures: np.ndarray, kind: str, quality: int) -> np.ndarray:
    """Saved in a file, and opened."""
    opened = []
    for pixels in pictures:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind, quality=quality)
        opened.append(np.asarray(Image.open(file).convert("RGB")))
    return np.stack(opened)


def jpeg(pictures: np.ndarray) -> np.ndarray:
    """Saved as JPEG of quality 75, and opened."""
    return saved(pictures, "JPEG", 75)


def halved(pictures: np.ndarray) -> np.ndarray:
    """Half the size, and back."""
    _, height, width, _ = pictures.shape
    return np.stack(
        [
            np.asarray(
                Image.fromarray(pixels)
                .resize((width // 2, height // 2))
                .resize((width, height))
            )
            for pixels in pictures
        ]
    )


def noisy(pictures: np.ndarray) -> np.ndarray:
    """With noise of two levels, which a drawing has none of."""
    noise = np.random.default_rng(0).normal(0, 2, pictures.shape)
    return np.rint(pictures + noise).clip(0, 255).astype(np.uint8)


WORN = {
    "untouched": lambda pictures: pictures,
    "JPEG 75": jpeg,
    "halved and restored": halved,
}
# The last two are never trained on.
CHANGES = WORN | {
    "WebP 80": lambda pictures: saved(pictures, "WEBP", 80),
    "noise of 2 levels": noisy,
}


def main() -> None:
    """Train, measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=4_000, help="of either side")
    parser.add_argument("--images", type=int, default=19_200, help="seen by each")
    parser.add_argument("--tested", type=int, default=500, help="of either side")
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    # Seeds that no model was trained on, so that none can have learned them by heart.
    real = load_avatars(seeds=split_seeds("validation", options.count)).images
    tests = {"real": load_avatars(seeds=split_seeds("test", options.tested)).images}
    drawn = {}
    for name in MODELS:
        run = pretrained.open_run(name)
        # The first latents of a seed are trained on, the rest tested with.
        both = to_uint8(sample(run, options.count + options.tested, seed=3))
        drawn[name], tests[name] = np.split(both, [options.count])
    changed = {
        how: {name: change(pictures) for name, pictures in tests.items()}
        for how, change in CHANGES.items()
    }

    def measured(detector: Any) -> dict[str, Any]:
        return {
            name: {
                how: detector.measure(sets["real"], sets[name])
                for how, sets in changed.items()
            }
            for name in MODELS
        }

    rows: dict[str, Any] = {}
    for name, models in TRAINED_ON.items():
        share = options.count // len(models)
        generated = np.concatenate([drawn[model][:share] for model in models])
        started = time.perf_counter()
        detector = train_detector(real, generated, options.images)
        seconds = time.perf_counter() - started
        rows[name] = {"seconds": seconds, "tested on": measured(detector)}
    # Shown what files go through, it learns what outlasts that.
    worn = [
        np.concatenate([change(side) for change in WORN.values()])
        for side in (real, drawn["modern-gan"])
    ]
    detector = train_detector(*worn, options.images)
    rows["modern-gan, worn too"] = {"tested on": measured(detector)}
    figures = {
        "real": options.count,
        "generated": options.count,
        "images_seen": options.images,
        "tested": {"real": options.tested, "generated": options.tested},
        "trained on": rows,
    }
    report.write("detector", options.out, figures)


if __name__ == "__main__":
    main()
