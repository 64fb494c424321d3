"""The modern GAN learns a second style: how long it takes, and what of a latent it keeps.

    python benchmarks/two_styles.py

The shipped generator goes on with avatars of Big Ears, in the book's colours. Beside it the same
network starts from random weights. The colour of the ground is the one thing that can be read off
both styles without a judge: it is counted how often the corner of the same latent's picture has
the same name before and after. Writes the figures and a picture for the book.
"""

import argparse
import copy
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import report
import torch
from torch import Tensor

from chibi_lab import pretrained
from chibi_lab.data import load_avatars, split_seeds
from chibi_lab.data.styles import palette_colors
from chibi_lab.models import ModernGenerator
from chibi_lab.studio import film_strip
from chibi_lab.studio.pictures import save_picture
from chibi_lab.training import draw, latents, load_generator, restyle

STYLE = "big-ears"
PICTURES = 10_000
LATENTS = 500
COLUMNS = 10
BOOK = Path(__file__).resolve().parents[1] / "book" / "images" / "two-styles.png"


def ground(images: Tensor) -> Tensor:
    """The place in the palette of the colour that is nearest to each picture's upper corners."""
    hexes = [
        colour for _, colour in palette_colors("adventurer", "pastel")["background"]
    ]
    known = torch.tensor([list(bytes.fromhex(code[1:7])) for code in hexes])
    corners = torch.stack([images[:, :, :3, :3], images[:, :, :3, -3:]])
    seen = (corners.mean((0, 3, 4)) + 1) * 127.5
    return torch.cdist(seen, known.float()).argmin(1)


def main() -> None:
    """Train, measure, and write both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    parser.add_argument("--picture", type=Path, default=BOOK)
    options = parser.parse_args()

    run = pretrained.open_run("modern-gan")
    teacher = load_generator(run)
    pictures = load_avatars(STYLE, seeds=split_seeds("train", PICTURES))
    config = replace(run.config, images=options.images, seed=0)
    z = latents(LATENTS, config.latent_dim, seed=0)
    before = draw(teacher, z)
    rows, figures = [before[:COLUMNS]], {}
    torch.manual_seed(0)
    counts = tuple(map(len, run.schema().values))
    novice = ModernGenerator(
        config.shape, config.channels, config.latent_dim, counts
    ).requires_grad_(False)
    for name, start in (("from the first style", teacher), ("from nothing", novice)):
        began = time.perf_counter()
        pupil = restyle(start, pictures, config)
        minutes = (time.perf_counter() - began) / 60
        after = draw(pupil, z)
        rows.append(after[:COLUMNS])
        if start is teacher:  # its linear layers, the pupil's convolutions
            mixed = copy.deepcopy(pupil)
            mixed.mix.load_state_dict(teacher.mix.state_dict())
            rows.append(draw(mixed, z[:COLUMNS]))
        kept = (ground(before) == ground(after)).float().mean()
        figures[name] = {"minutes": minutes, "same ground": float(kept)}
    result: dict[str, Any] = {
        "style": STYLE,
        "images seen": options.images,
        "latents": LATENTS,
        "same ground by chance": float(
            torch.bincount(ground(before)).div(LATENTS).square().sum()
        ),
        "rows": figures,
    }
    save_picture(film_strip(rows), options.picture)
    print(result)
    report.write("two_styles", options.out, result)


if __name__ == "__main__":
    main()
