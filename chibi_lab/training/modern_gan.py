"""The modern GAN's loop: the article's two turns, with a loss that compares and two penalties."""

from functools import partial
from pathlib import Path

import torch
from torch import optim
from torch.optim.swa_utils import AveragedModel

from chibi_lab.data import ImageSet
from chibi_lab.models import ModernDiscriminator, ModernGenerator
from chibi_lab.training.adversary import Adversary
from chibi_lab.training.config import ModernGANConfig
from chibi_lab.training.drawing import value_counts
from chibi_lab.training.engine import Engine
from chibi_lab.training.gan import ema_average
from chibi_lab.training.loop import Loop, seeded
from chibi_lab.training.opening import begin, compile_networks
from chibi_lab.training.run import Run


def train_modern_gan(
    config: ModernGANConfig,
    out: Path | str,
    *,
    images: ImageSet | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Run:
    """Train a GAN as one would today, and keep all of it in a run.

    Source: Huang et al. (2024), "The GAN is dead; long live the GAN!". ``Adversary`` holds
    the discriminator's turn.

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
    with begin(engine, config, out, images, resume) as (run, loader):
        counts = value_counts(run)

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
        adam = partial(
            optim.Adam, lr=config.learning_rate, betas=config.betas, fused=True
        )
        optimizer_g = adam(generator.parameters())
        optimizer_d = adam(discriminator.parameters())
        noise = torch.Generator().manual_seed(config.seed)
        adversary = Adversary(engine, config, discriminator, optimizer_d, noise)
        ema = AveragedModel(generator, multi_avg_fn=ema_average(config))
        if config.compile:
            compile_networks(generator, discriminator)
        parallel_generator = engine.parallel(generator)
        parts = {
            "generator": generator,
            "discriminator": discriminator,
            "ema": ema,
            "optimizer_g": optimizer_g,
            "optimizer_d": optimizer_d,
            "noise": noise,
        }
        with Loop(
            engine, run, loader, parts, ema.module, resume=resume, progress=progress
        ) as loop:
            for real in loop:
                # What a real image shows is asked of the generator too: like is compared with like.
                shown = loader.attributes if counts else None
                z = engine.normal(noise, config.batch, config.latent_dim)
                with engine.mixed_precision():
                    fake = parallel_generator(z, shown).float()

                real_logits, figures = adversary.learn(real, fake, shown, loop.step)
                loss_g = adversary.generator_loss(real_logits, fake, shown)
                optimizer_g.zero_grad()
                loss_g.backward()
                optimizer_g.step()
                if shown is not None:
                    wishes = generator.wishes
                    wishes.follow(engine.sum(wishes.count(shown)))
                ema.update_parameters(generator)
                loop.log(loss_g=loss_g, **figures)
    return run
