"""How near the cut-out comes to the alpha of the drawing.

    python benchmarks/cutting.py

Test avatars are drawn on black and on white: what differs is the background, so the truth is
alpha = 1 - (white - black) / 255. Real avatars are cut out as drawn on their own background, at 64
and 128 pixels; and at 256 pixels what the network enlarged from 64.
"""

import argparse
import re
from pathlib import Path

import numpy as np
import report

from chibi_lab.data import avatar_svg, load_avatars, split_seeds, to_float, to_uint8
from chibi_lab.data.avatars import oversampling, rasterise
from chibi_lab.errors import ChibiError
from chibi_lab.studio.cutting import cut_out
from chibi_lab.studio.enlarging import enlarge

STYLE = "adventurer"
# The first rectangle that is drawn.
GROUND = re.compile(
    r'(?<=</defs><g clip-path=")([^"]*"><rect [^>]*fill=)"#[0-9a-f]{6}"'
)


def true_alpha(seed: int, size: int) -> np.ndarray:
    """What of an avatar's pixels is not background, float64 (size, size) in [0, 1]."""
    svg, _ = avatar_svg(STYLE, seed)
    on_black, found = GROUND.subn(r'\1"#000000"', svg)
    on_white = GROUND.sub(r'\1"#ffffff"', svg)
    if found != 1:
        raise ChibiError(f"avatar {seed} has no background that can be changed")
    factor = oversampling(size)
    black = rasterise(on_black, size, factor).astype(float)
    white = rasterise(on_white, size, factor).astype(float)
    return np.clip(1 - (white - black).mean(2) / 255, 0, 1)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="test avatars")
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    options = parser.parse_args()
    seeds = split_seeds("test", options.count)
    small = to_float(load_avatars(STYLE, 64, seeds).images)
    kinds = {
        "real, 64 px": small,
        "real, 128 px": to_float(load_avatars(STYLE, 128, seeds).images),
        "enlarged, 256 px": enlarge(small, 256),
    }
    rows = {}
    for kind, images in kinds.items():
        errors, edges = [], []
        for seed, image in zip(seeds, images, strict=True):
            truth = true_alpha(seed, images.shape[2])
            # As a file holds it: whole levels.
            pixels = to_float(to_uint8(image[None]))
            alpha = cut_out(pixels)[0, 3].numpy()
            away = np.abs(alpha - truth)
            errors.append(away.mean())
            edges.append(away[(truth > 0.02) & (truth < 0.98)].mean())
        rows[kind] = {
            "mean": float(np.mean(errors)),
            "worst": float(np.max(errors)),
            "worst seed": seeds[int(np.argmax(errors))],
            "at the edge": float(np.mean(edges)),
        }
        print(kind, rows[kind])
    report.write("cutting", options.out, {"count": options.count, "rows": rows})


if __name__ == "__main__":
    main()
