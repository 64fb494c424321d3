"""The watermark: how often it is found, how often where it is not, and what it does to a picture.

    python benchmarks/watermark.py

Some minutes on one core. With `--rivagan` instead RivaGAN's network as it comes with
`invisible-watermark`, on fewer pictures, since it is slow. Install it and `onnxruntime` beside this
package for that: nothing else here needs them.
"""

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import report
import torch
from PIL import Image

from chibi_lab import pretrained
from chibi_lab.data import load_avatars, split_seeds, to_float, to_uint8
from chibi_lab.evaluation import psnr, ssim
from chibi_lab.studio.cutting import cut_out
from chibi_lab.studio.watermark import FALSE_POSITIVES, detect, mark
from chibi_lab.training import sample

UNMARKED, MARKED, CUT = 2_000, 500, 100
RIVAGAN_UNMARKED, RIVAGAN_MARKED = 200, 20
SIZES = (256, 512)
# 32 bits: so many have to be right that chance does it in fewer than 1 of 1,000 pictures.
BITS = np.random.default_rng(0).integers(0, 2, 32)
RIGHT = 26
Change = Callable[[np.ndarray], np.ndarray]


def saved(kind: str, **options: Any) -> Change:
    """Save and open again."""

    def change(pixels: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind, **options)
        return np.asarray(Image.open(file).convert("RGB"))

    return change


def halved(pixels: np.ndarray) -> np.ndarray:
    """Half the size, and back."""
    height, width = pixels.shape[:2]
    small = Image.fromarray(pixels).resize((width // 2, height // 2))
    return np.asarray(small.resize((width, height)))


def cropped(pixels: np.ndarray) -> np.ndarray:
    """A tenth of width and height cut off, most of it at the top and at the left."""
    height, width = pixels.shape[:2]
    top, left = height // 15, width // 12
    return pixels[top : top + round(0.9 * height), left : left + round(0.9 * width)]


jpeg = saved("JPEG", quality=75)
CHANGES: dict[str, Change] = {
    "untouched": lambda pixels: pixels,
    "JPEG 75": jpeg,
    "halved and restored": halved,
    "halved and restored, JPEG 75": lambda pixels: jpeg(halved(pixels)),
    "JPEG 75, halved and restored": lambda pixels: halved(jpeg(pixels)),
    "a tenth cropped": cropped,
    "a tenth cropped, JPEG 75": lambda pixels: jpeg(cropped(pixels)),
    "JPEG 50": saved("JPEG", quality=50),
    "WebP 80": saved("WEBP", quality=80),
    "GIF": saved("GIF"),
}


def found(pictures: list[np.ndarray]) -> dict[str, float]:
    """In how many of some pictures the mark is found, and the scores."""
    detections = [detect(pixels) for pixels in pictures]
    scores = [each.score for each in detections]
    return {
        "found": sum(each.present for each in detections) / len(detections),
        "lowest_score": min(scores),
        "median_score": median(scores),
    }


def cost(marked: list[np.ndarray], originals: np.ndarray) -> dict[str, float]:
    """How near marked pictures are to their originals."""
    pairs = [(a[None], b[None]) for a, b in zip(marked, originals, strict=True)]
    return {
        "psnr": np.mean([psnr(*pair).item() for pair in pairs]),
        "ssim": np.mean([ssim(*pair).item() for pair in pairs[:100]]),
    }


def milliseconds(
    work: Callable[[np.ndarray], object], pictures: list[np.ndarray]
) -> float:
    """The median time for one picture."""
    times = []
    for pixels in pictures:
        started = time.perf_counter()
        work(pixels)
        times.append(1000 * (time.perf_counter() - started))
    return median(times)


def measure_marked(originals: np.ndarray) -> dict[str, Any]:
    """All figures of marked pictures of one size."""
    marked = [mark(pixels) for pixels in originals]
    return {
        "pictures": len(marked),
        **cost(marked, originals),
        "milliseconds": {
            "mark": milliseconds(mark, list(originals[:100])),
            "detect": milliseconds(detect, marked[:100]),
            "detect_where_not": milliseconds(detect, list(originals[:100])),
        },
        "changes": {
            name: found([change(pixels) for pixels in marked])
            for name, change in CHANGES.items()
        },
    }


def measure_unmarked(pictures: np.ndarray) -> dict[str, Any]:
    """How often the mark is found in pictures that have none."""
    figures = {}
    for name in ("untouched", "JPEG 75", "halved and restored"):
        detections = [detect(CHANGES[name](pixels)) for pixels in pictures]
        scores = np.array([each.score for each in detections])
        figures[name] = {
            "found": sum(each.present for each in detections),
            "mean": scores.mean(),
            "deviation": scores.std(),
            "highest": scores.max(),
        }
    return {"pictures": len(pictures), "in theory": FALSE_POSITIVES, **figures}


def measure_cut(originals: np.ndarray) -> dict[str, Any]:
    """Pictures without a background, marked, and laid on other colours."""
    cut = cut_out(to_float(np.array(originals)))
    alpha = (cut[:, 3:].permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
    colours = to_uint8(cut[:, :3])
    marked = [mark(pixels) for pixels in np.concatenate([colours, alpha], axis=3)]

    def laid_on(level: int) -> list[np.ndarray]:
        grounds = [
            Image.new("RGBA", pixels.shape[1::-1], (level, level, level, 255))
            for pixels in marked
        ]
        return [
            np.asarray(
                Image.alpha_composite(ground, Image.fromarray(pixels)).convert("RGB")
            )
            for ground, pixels in zip(grounds, marked, strict=True)
        ]

    white = laid_on(255)
    return {
        "pictures": len(marked),
        "opaque": np.mean([(pixels[..., 3] > 0).mean() for pixels in marked]),
        "with alpha": found(marked),
        "on white": found(white),
        "on black": found(laid_on(0)),
        "on white, JPEG 75": found([jpeg(pixels) for pixels in white]),
        "on white, halved and restored": found([halved(pixels) for pixels in white]),
    }


def measure_rivagan(
    unmarked: np.ndarray, sizes: dict[int, np.ndarray]
) -> dict[str, Any]:
    """The same for RivaGAN's network, with 32 bits of which enough must be right."""
    from imwatermark import WatermarkDecoder, WatermarkEncoder

    encoder, decoder = WatermarkEncoder(), WatermarkDecoder("bits", 32)
    encoder.set_watermark("bits", BITS.tolist())
    encoder.loadModel()

    def put(pixels: np.ndarray) -> np.ndarray:
        drawn = encoder.encode(np.ascontiguousarray(pixels[..., ::-1]), "rivaGan")
        return np.ascontiguousarray(drawn[..., ::-1])

    def right(pixels: np.ndarray) -> int:
        # It refuses less than 256 x 256 pixels.
        short = [(0, max(0, 256 - side)) for side in pixels.shape[:2]]
        pixels = np.pad(pixels, [*short, (0, 0)], mode="edge")
        read = decoder.decode(np.ascontiguousarray(pixels[..., ::-1]), "rivaGan")
        return int((np.asarray(read) == BITS).sum())

    counts = np.array([right(pixels) for pixels in unmarked])
    figures: dict[str, Any] = {
        "bits_needed": RIGHT,
        "unmarked": {
            "pictures": len(unmarked),
            "found": int((counts >= RIGHT).sum()),
            "highest": int(counts.max()),
        },
    }
    for size, originals in sizes.items():
        marked = [put(pixels) for pixels in originals]
        rows = {}
        for name, change in CHANGES.items():
            counts = np.array([right(change(pixels)) for pixels in marked])
            rows[name] = {
                "found": (counts >= RIGHT).mean(),
                "bits_right": counts.mean() / 32,
            }
        figures[str(size)] = {
            "pictures": len(marked),
            **cost(marked, originals),
            "milliseconds": {
                "mark": milliseconds(put, list(originals[:10])),
                "detect": milliseconds(right, marked[:10]),
            },
            "changes": rows,
        }
    return figures


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rivagan", action="store_true")
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    real = {256: load_avatars(size=256, seeds=split_seeds("test", UNMARKED)).images}
    real[512] = load_avatars(size=512, seeds=split_seeds("test", MARKED)).images
    if options.rivagan:
        few = {size: real[size][:RIVAGAN_MARKED] for size in SIZES}
        results = measure_rivagan(real[256][:RIVAGAN_UNMARKED], few)
        report.write("watermark_rivagan", options.out, results)
        return
    drawn = to_uint8(sample(pretrained.open_run("modern-gan"), MARKED, seed=5))
    enlarged = np.stack(
        [np.asarray(Image.fromarray(pixels).resize((256, 256))) for pixels in drawn]
    )
    # No false positive in n pictures still allows for a rate of 3 / n, with 95 % confidence;
    # that the rate is lower rests on the scores' distribution, too.
    results = {
        "unmarked": measure_unmarked(real[256]),
        "unmarked, drawn by the modern GAN": measure_unmarked(enlarged),
        "marked": {str(size): measure_marked(real[size][:MARKED]) for size in SIZES},
        "marked, drawn by the modern GAN": {"256": measure_marked(enlarged)},
        "marked, without background": {"256": measure_cut(real[256][:CUT])},
    }
    report.write("watermark", options.out, results)


if __name__ == "__main__":
    main()
