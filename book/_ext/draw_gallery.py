"""Draw the picture on the first page and in the README: ``make gallery``.

Eight real avatars, then the first eight samples of seed 0 of the modern GAN and the modern VAE.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from chibi_lab import pretrained
from chibi_lab.data import load_avatars, split_seeds, to_uint8
from chibi_lab.studio import film_strip
from chibi_lab.training import sample

GALLERY = Path(__file__).resolve().parents[1] / "images" / "gallery.png"


def draw_gallery() -> Image.Image:
    """Three rows of eight: real, modern GAN, modern VAE; 64 pixels, shown at 96.

    Returns:
        The picture, RGB.
    """
    real = load_avatars(seeds=split_seeds("test", 8)).images
    samples = [
        to_uint8(sample(pretrained.open_run(name), 8, seed=0))
        for name in ("modern-gan", "modern-vae")
    ]
    strip = film_strip([np.asarray(real), *samples])
    return strip.resize(
        (strip.width * 3 // 2, strip.height * 3 // 2), Image.Resampling.LANCZOS
    )


if __name__ == "__main__":
    draw_gallery().save(GALLERY, optimize=True)
    print(f"drawn: {GALLERY}")
