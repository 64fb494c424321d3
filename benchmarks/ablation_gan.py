"""From the article's GAN to the modern one: one change at a time, and what each brings.

    python benchmarks/ablation_gan.py

Every variant sees equally many images in the same order, in a training of its own on one thread;
that takes about twenty minutes in all. What is done is written at once and not done again. The
figures go to `benchmarks/results/`, a row of each variant's first samples to `book/images/`.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import report
import torch
from PIL import Image
from torch import Tensor, nn, optim
from torch.optim.swa_utils import AveragedModel

from chibi_lab import pretrained
from chibi_lab.data import BatchLoader, ImageSet, load_avatars, split_seeds
from chibi_lab.evaluation import (
    Judge,
    coverage,
    frechet_distance,
    load_judge,
    read_back,
)
from chibi_lab.evaluation.sets import leave_out_interval
from chibi_lab.losses import (
    discriminator_loss,
    gradient_penalty,
    non_saturating_generator_loss,
    relativistic_discriminator_loss,
    relativistic_generator_loss,
)
from chibi_lab.models import (
    Discriminator,
    Generator,
    ModernDiscriminator,
    ModernGenerator,
)
from chibi_lab.studio import grid
from chibi_lab.training import Engine, GANConfig, ModernGANConfig, draw, latents
from chibi_lab.training.gan import ema_average
from chibi_lab.training.loop import seeded

DRAWN = 2_000
COLUMNS = 8
SHEET = Path(__file__).parents[1] / "book" / "images" / "gan-ablation.png"
ARTICLE, MODERN = GANConfig(), ModernGANConfig()


@dataclass(frozen=True)
class Variant:
    """A GAN between the two; without arguments the article's."""

    relativistic: bool = False
    penalties: bool = False
    networks: bool = False  # without BatchNorm, He's first weights, two layers more
    learning_rate: float = ARTICLE.learning_rate
    betas: tuple[float, float] = ARTICLE.betas
    attributes: bool = False  # only with the modern networks


def ladder() -> dict[str, Variant]:
    """One change after the other, and then all of them but one."""
    steps = {"the article's GAN": Variant()}
    for name, change in {
        "+ relativistic loss": {"relativistic": True},
        "+ R1 and R2": {"penalties": True},
        "+ modern networks": {"networks": True},
        "+ larger steps": {
            "learning_rate": MODERN.learning_rate,
            "betas": MODERN.betas,
        },
        "+ attributes": {"attributes": True},
    }.items():
        steps[name] = replace([*steps.values()][-1], **change)
    whole = steps["+ attributes"]
    return steps | {
        "all but the relativistic loss": replace(whole, relativistic=False),
        "all but R1 and R2": replace(whole, penalties=False),
    }


def train(variant: Variant, images: ImageSet, count: int) -> tuple[nn.Module, float]:
    """The averaged generator after so many images, and images a second."""
    engine = Engine("cpu", "auto", MODERN.batch)
    loader = BatchLoader(images, MODERN.batch, MODERN.seed)
    counts = tuple(map(len, loader.schema.values)) if variant.attributes else ()

    def generator_of(variant: Variant) -> nn.Module:
        if variant.networks:
            return ModernGenerator(
                MODERN.shape, MODERN.channels, MODERN.latent_dim, counts
            )
        return Generator(MODERN.size, MODERN.channels, MODERN.latent_dim)

    def discriminator_of(variant: Variant) -> nn.Module:
        if variant.networks:
            return ModernDiscriminator(MODERN.shape, MODERN.channels, counts)
        return Discriminator(MODERN.size, MODERN.channels)

    seed, device = MODERN.seed, engine.device
    generator = seeded(seed, lambda: generator_of(variant), device)
    discriminator = seeded(seed + 1, lambda: discriminator_of(variant), device)
    optimizer_g, optimizer_d = (
        optim.Adam(
            network.parameters(), variant.learning_rate, variant.betas, fused=True
        )
        for network in (generator, discriminator)
    )
    ema = AveragedModel(generator, multi_avg_fn=ema_average(MODERN), use_buffers=True)
    noise = torch.Generator().manual_seed(seed)

    def judge(images: Tensor, wishes: tuple[Tensor, ...]) -> Tensor:
        with engine.mixed_precision():
            return discriminator(images, *wishes).float()

    started = time.process_time()  # on one thread, and other programs do not count
    for step in range(count // MODERN.batch):
        real = next(loader).contiguous(memory_format=torch.channels_last)
        wishes = (loader.attributes,) if counts else ()
        with engine.mixed_precision():
            z = engine.normal(noise, MODERN.batch, MODERN.latent_dim)
            fake = generator(z, *wishes).float()

        due = variant.penalties and step % MODERN.penalty_every == 0
        real, still = real.requires_grad_(due), fake.detach().requires_grad_(due)
        real_logits, fake_logits = judge(real, wishes), judge(still, wishes)
        if variant.relativistic:
            loss_d = relativistic_discriminator_loss(real_logits, fake_logits)
        else:
            loss_d = discriminator_loss(real_logits, fake_logits)
        if due:
            r1 = gradient_penalty(real_logits, real)
            r2 = gradient_penalty(fake_logits, still)
            loss_d = loss_d + MODERN.penalty_every * MODERN.penalty / 2 * (r1 + r2)
        optimizer_d.zero_grad()
        loss_d.backward()
        optimizer_d.step()

        discriminator.requires_grad_(False)
        answer = judge(fake, wishes)
        if variant.relativistic:
            loss_g = relativistic_generator_loss(real_logits.detach(), answer)
        else:
            loss_g = non_saturating_generator_loss(answer)
        optimizer_g.zero_grad()
        loss_g.backward()
        optimizer_g.step()
        discriminator.requires_grad_(True)
        if counts:
            generator.wishes.follow(generator.wishes.count(wishes[0]))
        ema.update_parameters(generator)
    return ema.module.eval(), count / (time.process_time() - started)


def measure(network: nn.Module, judge: Judge, real: ImageSet, asked: bool) -> dict:
    """The figures of 2,000 pictures with all left open and, if it can be asked, of 2,000 more."""
    z = latents(DRAWN, MODERN.latent_dim, MODERN.seed)
    truth, hair = judge.features(real), judge.schema.index("hair")

    def distance(rows: Tensor) -> dict[str, float | None]:
        return {"frechet": frechet_distance(truth, rows)}

    drawn = draw(network, z)
    features = judge.features(drawn)
    figures: dict[str, Any] = {
        **distance(features),
        "interval": leave_out_interval(distance, features)["frechet"],
        "hair_styles": coverage(judge.read(drawn)[:, hair], real.attributes[:, hair]),
    }
    if asked:
        drawn = draw(network, z, torch.from_numpy(real.attributes))
        shares = read_back(real.attributes, judge.read(drawn))
        figures["asked"] = {
            **distance(judge.features(drawn)),
            "read_back": float(shares.mean()),
            "of_each": dict(zip(judge.schema.names, map(float, shares), strict=True)),
        }
    return figures


def add_row(network: nn.Module) -> None:
    """Put the first samples of seed 0 below those of the variants before."""
    row = grid(draw(network, latents(COLUMNS, MODERN.latent_dim, MODERN.seed)))
    sheet = Image.new("RGB", row.size, "white")
    if SHEET.exists():
        above = Image.open(SHEET).convert("RGB")
        sheet = Image.new("RGB", (row.width, above.height + row.height), "white")
        sheet.paste(above, (0, 0))
    sheet.paste(row, (0, sheet.height - row.height))
    sheet.save(SHEET, optimize=True)


def main() -> None:
    """Train, measure and write, one variant after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=32_000, help="seen by each")
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    judge = load_judge(pretrained.path("judge") / "judge.safetensors")
    real, others = (
        load_avatars(seeds=split_seeds("test", 2 * DRAWN)).select(rows)
        for rows in (slice(DRAWN), slice(DRAWN, 2 * DRAWN))
    )
    best = frechet_distance(judge.features(real), judge.features(others))
    rows: list[dict[str, Any]] = []
    for path in options.out.glob("ablation_gan-*.json"):
        kept = json.loads(path.read_text(encoding="utf-8"))
        rows = kept["rows"] if kept["images"] == options.images else []
    if not rows:
        SHEET.unlink(missing_ok=True)
    done = {row["name"] for row in rows}
    for name, variant in ladder().items():
        if name in done:
            continue
        network, speed = train(variant, load_avatars(), options.images)
        figures = measure(network, judge, real, variant.attributes)
        row = {"name": name, "images_per_second": round(speed, 1), **figures}
        rows.append({**row, "variant": asdict(variant)})
        add_row(network)
        result = {"images": options.images, "real": best, "rows": rows}
        report.write("ablation_gan", options.out, result)
        print(f"{name}: {figures}", flush=True)


if __name__ == "__main__":
    main()
