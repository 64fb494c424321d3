"""From the article's VAE to the modern one: one change at a time, and what each brings.

    OMP_NUM_THREADS=1 nice python benchmarks/ablation_vae.py

Every variant sees the same images in the same order, and keeps the changes of those before it. They
are trained one after the other on one thread; what is done is not done again. The figures go to
`benchmarks/results/`. A sheet goes to the other pictures of the book: a row a variant, with what it
redraws of the first validation avatars, and its first samples of seed 0 from the density.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import report
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn, optim

from chibi_lab import pretrained
from chibi_lab.data import (
    BatchLoader,
    ImageSet,
    load_avatars,
    split_seeds,
    to_float,
    to_uint8,
)
from chibi_lab.evaluation import (
    active_units,
    frechet_distance,
    load_judge,
    psnr,
    read_back,
    sharpness,
)
from chibi_lab.losses import gaussian_nll, kl_divergence
from chibi_lab.models import Decoder, Encoder, ModernVAE, reparametrise
from chibi_lab.models.modern_vae import LatentDensity
from chibi_lab.studio import film_strip, in_few_colors
from chibi_lab.training import (
    ModernVAEConfig,
    Run,
    VAEConfig,
    draw,
    latents,
    load_vae,
    train_modern_vae,
    train_vae,
)
from chibi_lab.training.checkpoint import read_checkpoint, with_prefix
from chibi_lab.training.engine import Engine
from chibi_lab.training.loop import seeded

LENGTH = 48_000  # images seen
COUNT = 40_000  # training avatars
DRAWN = 2_000
FITTED = 10_000  # training avatars whose latents the article's density is fitted to
SHEET = Path(__file__).parents[1] / "book" / "images" / "vae-ablation.png"


class ArticleVAE(nn.Module):
    """The article's two networks, and a density that is fitted afterwards.

    Args:
        encoder: In evaluation mode.
        decoder: In evaluation mode.
    """

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.density = LatentDensity(encoder.latent_dim)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Fit the density to one draw from the posterior of each image."""
        coded = [self.encoder(x) for x in images.split(250)]
        mu, logvar = (torch.cat(part) for part in zip(*coded, strict=True))
        noise = torch.Generator().manual_seed(0)
        z = reparametrise(mu, logvar, torch.randn(mu.shape, generator=noise))
        self.density.follow(z.mean(0), z.T @ z / len(z), 1.0)

    def forward(self, noise: Tensor) -> Tensor:
        """Images from latents of the density."""
        return self.decoder(self.density(noise))

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor, None]:
        """Mean and log-variance of the posteriors; no attributes."""
        return *self.encoder(images), None


def train_with_variance(images: ImageSet, length: int) -> tuple[Encoder, Decoder]:
    """The article's networks and optimiser, with the variance that fits instead of 1/2."""
    config = VAEConfig()
    engine = Engine("cpu", config.precision, config.batch)
    # Seeded as by `train_vae`.
    encoder = seeded(config.seed, Encoder, engine.device)
    decoder = seeded(config.seed + 1, Decoder, engine.device)
    learned = [*encoder.parameters(), *decoder.parameters()]
    optimizer = optim.Adam(learned, config.learning_rate, config.betas, fused=True)
    noise = torch.Generator().manual_seed(config.seed)
    loader = BatchLoader(images, config.batch, config.seed)
    for _ in range(length // config.batch):
        x = next(loader).contiguous(memory_format=torch.channels_last)
        with engine.mixed_precision():
            mu, logvar = encoder(x)
        mu, logvar = mu.float(), logvar.float()
        epsilon = engine.normal(noise, config.batch, config.latent_dim)
        z = reparametrise(mu, logvar, epsilon)
        with engine.mixed_precision():
            drawn = decoder(z)
        drawn = drawn.float()
        variance = F.mse_loss(drawn, x).detach()
        loss = gaussian_nll(drawn, x, variance) + kl_divergence(mu, logvar)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return encoder.eval(), decoder.eval()


def modern(run: Run, weights: str) -> ModernVAE:
    """A modern VAE as it was trained last ("vae.") or averaged ("ema.module.")."""
    config, schema = run.config, run.schema()
    counts = () if schema is None else tuple(map(len, schema.values))
    vae = ModernVAE(config.shape, config.channels, config.latent_dim, counts)
    tensors, _ = read_checkpoint(run.latest(), (weights,))
    vae.load_state_dict(with_prefix(tensors, weights))
    return vae.eval()


class Measure:
    """The figures of a variant.

    Args:
        validation: Real images to redraw.
        test: Real images to compare samples with, and whose attributes are asked for.
    """

    def __init__(self, validation: ImageSet, test: ImageSet) -> None:
        self.validation, self.test = validation, test
        self.judge = load_judge(pretrained.path("judge") / "judge.safetensors")
        self.features = self.judge.features(test)

    def frechet(self, drawn: Tensor) -> float:
        """Distance of drawn images to the test images."""
        return frechet_distance(self.features, self.judge.features(drawn))

    def figures(self, vae: ArticleVAE | ModernVAE) -> tuple[dict[str, Any], np.ndarray]:
        """All figures of a variant, and its pictures, uint8 (3, 10, 64, 64, 3)."""
        real = to_float(self.validation.images)
        with torch.no_grad():
            mu, logvar, read = vae.encode(real)
        redrawn = draw(vae.decoder, mu, read)
        z = latents(DRAWN, mu.shape[1], 0)
        fitted, prior = vae.density, LatentDensity(mu.shape[1])
        sets: dict[str, Tensor] = {}
        for name, density in (("prior", prior), ("density", fitted)):
            vae.density = density
            sets[name] = draw(vae, z)
            if read is not None and read.shape[1]:
                asked = torch.from_numpy(self.test.attributes)
                sets[f"{name}, asked"] = draw(vae, z, asked)
        vae.density = fitted
        rows = {
            "psnr": psnr(redrawn, real).mean().item(),
            "sharpness": sharpness(redrawn).mean().item(),
            "kl": kl_divergence(mu, logvar).item() / len(mu),
            "active_units": active_units(mu),
            "frechet": {name: self.frechet(drawn) for name, drawn in sets.items()},
            "sharpness_of_samples": {
                name: sharpness(drawn).mean().item() for name, drawn in sets.items()
            },
        }
        if "density, asked" in sets:
            asked, drawn = self.test.attributes, sets["density, asked"]
            rows["read_back"] = float(read_back(asked, self.judge.read(drawn)).mean())
            right = read.numpy() == self.validation.attributes
            rows["encoder_reads"] = float(right.mean())
        shown = [redrawn[:10], sets["prior"][:10], sets["density"][:10]]
        return rows, np.stack([to_uint8(images) for images in shown])


def variants(
    images: ImageSet, length: int, runs: Path
) -> Iterator[tuple[str, str, Callable[[], ArticleVAE | ModernVAE]]]:
    """Name, what was changed, and how to get each variant, in the order of the chapter."""

    def article() -> ArticleVAE:
        out = runs / "article"
        config = VAEConfig(images=length, count=COUNT)
        run = train_vae(config, out, images=images, resume=out.exists())
        return ArticleVAE(*load_vae(run))

    def changed(name: str, weights: str = "ema.module.", **choices: Any) -> ModernVAE:
        out = runs / name
        config = replace(ModernVAEConfig(images=length, count=COUNT), **choices)
        run = train_modern_vae(config, out, images=images, resume=out.exists())
        return modern(run, weights)

    small_steps = {"conditional": False, "learning_rate": VAEConfig().learning_rate}
    yield "article", "the article's", article
    yield (
        "variance",
        "variance that fits",
        lambda: ArticleVAE(*train_with_variance(images, length)),
    )
    yield (
        "layers",
        "no BatchNorm, He's start",
        lambda: changed("layers", "vae.", **small_steps),
    )
    # The run before once more, of which the other weights are taken: no time of its own.
    yield "average", "averaged weights", lambda: changed("layers", **small_steps)
    yield "step", "twice the step size", lambda: changed("step", conditional=False)
    yield "attributes", "attributes beside the latent", lambda: changed("attributes")
    yield "adversary", "an adversary", lambda: changed("adversary", adversary=4e-4)


def draw_sheet(
    real: np.ndarray, names: list[str], pictures: list[np.ndarray]
) -> Image.Image:
    """A row for each variant: its name, four redrawn avatars, six samples from the density.

    Args:
        real: The avatars that were redrawn, uint8 (N, 64, 64, 3).
        names: Of the variants.
        pictures: Of each variant, as :meth:`Measure.figures` gives them.

    Returns:
        The picture; the real avatars are its first row.
    """
    empty = np.full_like(real[:6], 255)
    redrawn = film_strip([real[:4], *(each[0, :4] for each in pictures)])
    samples = film_strip([empty, *(each[2, :6] for each in pictures)])
    margin, head, gap = 190, 24, 14  # pixels: for names, for titles, between both parts
    at = (margin, head), (margin + redrawn.width + gap, head)
    size = at[1][0] + samples.width, head + samples.height
    sheet = Image.new("RGB", size, "white")
    write, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    titles = "redrawn", "samples"
    for part, title, corner in zip((redrawn, samples), titles, at, strict=True):
        sheet.paste(part, corner)
        middle = corner[0] + part.width / 2
        write.text((middle, head / 2), title, "black", font, anchor="mm")
    for row, name in enumerate(["validation avatars", *names]):
        middle = head + (row + 0.5) * (samples.height / (len(names) + 1))
        write.text((margin - 8, middle), name, "black", font, anchor="rm")
    return sheet


def main() -> None:
    """Train, measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=LENGTH, help="that each sees")
    parser.add_argument("--variants", nargs="+", help="train these only, and no sheet")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation_vae"))
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    parser.add_argument("--sheet", type=Path, default=SHEET)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.runs.mkdir(parents=True, exist_ok=True)
    train = load_avatars(seeds=split_seeds("train", COUNT))
    validation = load_avatars(seeds=split_seeds("validation", 500))
    measure = Measure(validation, load_avatars(seeds=split_seeds("test", DRAWN)))
    other = load_avatars(seeds=split_seeds("test", 2 * DRAWN)[DRAWN:])

    rows, pictures = [], []
    for name, change, build in variants(train, options.images, options.runs):
        if options.variants and name not in options.variants:
            continue
        done = options.runs / f"{name}.json"
        beside = done.with_suffix(".npy")
        if not done.exists():
            started = time.process_time()
            vae = build()
            # Of the processor, not of the clock: other programs may run beside it.
            seconds = time.process_time() - started
            if isinstance(vae, ArticleVAE):
                vae.fit(to_float(train.images[:FITTED]))
            figures, drawn = measure.figures(vae)
            np.save(beside, drawn)
            row = {"name": name, "change": change, "seconds": round(seconds), **figures}
            done.write_text(json.dumps(row), encoding="utf-8")
            print(json.dumps(row), flush=True)
        rows.append(json.loads(done.read_text(encoding="utf-8")))
        pictures.append(np.load(beside))
    real = {
        "frechet": measure.frechet(to_float(other.images)),
        "sharpness": sharpness(validation).mean().item(),
    }
    if not options.variants:
        names = [row["change"] for row in rows]
        sheet = draw_sheet(validation.images, names, pictures)
        in_few_colors(sheet).save(options.sheet, optimize=True)
    result = {"images": options.images, "drawn": DRAWN, "real": real, "rows": rows}
    length = "" if options.images == LENGTH else f"_{options.images}"
    report.write(f"ablation_vae{length}", options.out, result)


if __name__ == "__main__":
    main()
