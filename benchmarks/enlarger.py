"""The network that enlarges against a Lanczos filter, on test avatars.

    python benchmarks/enlarger.py

Avatars of 64 pixels, drawn by the artist's rules, by the modern GAN, and redrawn by the modern VAE,
are brought to 256 and 512 pixels and compared with the artist's own at that size.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import report
import torch
from PIL import Image
from train_enlarger import versions

from chibi_lab.data import load_avatars, split_seeds, to_float, to_uint8
from chibi_lab.evaluation import psnr
from chibi_lab.studio.enlarging import enlarge


def lanczos(images: torch.Tensor, size: int) -> torch.Tensor:
    """Pictures at another size, with the filter that is usual."""
    pictures = [
        Image.fromarray(pixels).resize((size, size), Image.Resampling.LANCZOS)
        for pixels in to_uint8(images)
    ]
    return torch.cat([to_float(np.asarray(picture)[None]) for picture in pictures])


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    options = parser.parse_args()
    seeds = split_seeds("test", options.count)
    small = {name: to_float(images) for name, images in versions(seeds).items()}
    rows: dict[str, Any] = {}
    for size in (256, 512):
        truth = to_float(load_avatars(size=size, seeds=seeds).images)
        for name, images in small.items():
            started = time.perf_counter()
            ours = psnr(enlarge(images, size), truth)
            seconds = (time.perf_counter() - started) / len(images)
            theirs = psnr(lanczos(images, size), truth)
            gain = ours - theirs
            rows[f"{name}, {size}"] = {
                "network": ours.mean().item(),
                "lanczos": theirs.mean().item(),
                "gain": gain.mean().item(),
                "gain_low": gain.quantile(0.025).item(),
                "gain_high": gain.quantile(0.975).item(),
                "seconds": seconds,
            }
            print(f"{name:>10}, {size}: {rows[f'{name}, {size}']}")
    report.write("enlarger", options.out, {"avatars": options.count, "rows": rows})


if __name__ == "__main__":
    main()
