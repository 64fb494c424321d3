"""The modern GAN's loop: the article's two turns, with a loss that compares and two penalties."""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor, optim
from torch.optim.swa_utils import AveragedModel

from chibi_lab.data import ImageSet, ShardSet
from chibi_lab.losses import (
    gradient_penalty,
    relativistic_discriminator_loss,
    relativistic_generator_loss,
)
from chibi_lab.models import ModernDiscriminator, ModernGenerator
from chibi_lab.training.augment import Augmentation
from chibi_lab.training.config import ModernGANConfig
from chibi_lab.training.drawing import draw, latents
from chibi_lab.training.engine import Engine
from chibi_lab.training.gan import ema_average
from chibi_lab.training.loop import (
    SAMPLE_COUNT,
    SAMPLE_SEED,
    Loop,
    begin,
    compile_networks,
    seeded,
)
from chibi_lab.training.run import Run


def train_modern_gan(
    config: ModernGANConfig,
    out: Path | str,
    *,
    images: ImageSet | ShardSet | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Run:
    """Train a GAN as one would today, and keep all of it in a run.

    Source: Huang et al. (2024), "The GAN is dead; long live the GAN!", equations 2 and 3; the
    penalties are lazy as in Karras et al. (2020), "Analyzing and improving the image quality of
    StyleGAN", section 3.1.

    Args:
        config: Every choice.
        out: The run's folder, to be made.
        images: Training images; without them ``config.data`` is opened.
        resume: Whether to go on with a run that is there.
        progress: Whether to show a progress bar.

    Returns:
        The run. It is shorter than asked for if it was stopped with Ctrl-C.

    Raises:
        ChibiError: If the data, the folder or the checkpoint is unfit.
        TrainingDivergedError: If a loss or a weight stops being finite.
    """
    engine = Engine(config.device, config.precision, config.batch)
    run, loader = begin(engine, config, out, images, resume)
    schema = loader.schema if config.conditional else None
    counts = () if schema is None else tuple(map(len, schema.values))

    generator = seeded(
        config.seed,
        lambda: ModernGenerator(
            config.shape, config.channels, config.latent_dim, counts
        ),
        engine.device,
    )
    discriminator = seeded(
        config.seed + 1,
        lambda: ModernDiscriminator(config.shape, config.channels, counts),
        engine.device,
    )
    adam = partial(optim.Adam, lr=config.learning_rate, betas=config.betas, fused=True)
    optimizer_g = adam(generator.parameters())
    optimizer_d = adam(discriminator.parameters())
    ema = AveragedModel(generator, multi_avg_fn=ema_average(config))
    if config.compile:
        compile_networks(generator, discriminator)
    parallel_generator = engine.parallel(generator)
    parallel_discriminator = engine.parallel(discriminator)

    noise = torch.Generator().manual_seed(config.seed)
    changed = Augmentation(engine, noise, config.batch) if config.augment else None

    def judge(
        network: ModernDiscriminator, images: Tensor, shown: Tensor | None
    ) -> Tensor:
        """Logits of images, which are changed first if the config says so."""
        with engine.mixed_precision():
            return network(
                images if changed is None else changed(images), shown
            ).float()

    grid = latents(SAMPLE_COUNT, config.latent_dim, SAMPLE_SEED)
    parts = {
        "generator": generator,
        "discriminator": discriminator,
        "ema": ema,
        "optimizer_g": optimizer_g,
        "optimizer_d": optimizer_d,
        "noise": noise,
    }
    with Loop(
        engine,
        run,
        loader,
        parts,
        lambda: draw(ema.module, grid),
        resume=resume,
        progress=progress,
    ) as loop:
        for real in loop:
            # What a real image shows is asked of the generator too: like is compared with like.
            shown = loader.attributes if counts else None
            z = engine.normal(noise, config.batch, config.latent_dim)
            with engine.mixed_precision():
                fake = parallel_generator(z, shown).float()

            # Discriminator: find each real image more real than the generated one beside it.
            lazy = loop.step % config.penalty_every == 0
            real.requires_grad_(lazy)
            seen = fake.detach().requires_grad_(lazy)
            real_logits = judge(parallel_discriminator, real, shown)
            fake_logits = judge(parallel_discriminator, seen, shown)
            loss_d = relativistic_discriminator_loss(real_logits, fake_logits)
            penalty = loss_d.new_zeros(())
            if lazy:
                # R1 on real images and R2 on generated ones; each stands for the steps without.
                r1, r2 = (
                    gradient_penalty(real_logits, real),
                    gradient_penalty(fake_logits, seen),
                )
                penalty = config.penalty_every * config.penalty / 2 * (r1 + r2)
            optimizer_d.zero_grad()
            (loss_d + penalty).backward()
            optimizer_d.step()

            # Generator: have the discriminator find it the other way round.
            discriminator.requires_grad_(False)
            answer = judge(discriminator, fake, shown)
            loss_g = relativistic_generator_loss(real_logits.detach(), answer)
            optimizer_g.zero_grad()
            loss_g.backward()
            optimizer_g.step()
            discriminator.requires_grad_(True)
            ema.update_parameters(generator)

            right = (real_logits > fake_logits).double().mean()
            loop.log(loss_d=loss_d, loss_g=loss_g, penalty=penalty, right=right)
    engine.wait()  # until all is written
    return run
