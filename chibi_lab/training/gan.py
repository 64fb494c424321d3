"""The article's GAN loop: discriminator and generator take turns, one step each a batch."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, optim
from torch.optim.swa_utils import AveragedModel

from chibi_lab.data import ImageSet
from chibi_lab.losses import (
    discriminator_loss,
    minimax_generator_loss,
    non_saturating_generator_loss,
)
from chibi_lab.models import Discriminator, Generator
from chibi_lab.training.config import GANConfig, ModernConfig
from chibi_lab.training.engine import Engine
from chibi_lab.training.loop import Loop, seeded
from chibi_lab.training.opening import begin, compile_networks
from chibi_lab.training.run import Run


def train_gan(
    config: GANConfig,
    out: Path | str,
    *,
    images: ImageSet | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Run:
    """Train a DCGAN as the article does, and keep all of it in a run.

    Source: Goodfellow et al. (2014), algorithm 1, with one discriminator step a batch; networks
    and optimiser of Radford et al. (2016); noise on the discriminator's images, where the config
    asks for it, as in Arjovsky and Bottou (2017), section 3.

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
        generator = seeded(
            config.seed,
            lambda: Generator(config.size, config.channels, config.latent_dim),
            engine.device,
        )
        discriminator = seeded(
            config.seed + 1,
            lambda: Discriminator(config.size, config.channels),
            engine.device,
        )
        adam = partial(
            optim.Adam, lr=config.learning_rate, betas=config.betas, fused=True
        )
        optimizer_g = adam(generator.parameters())
        optimizer_d = adam(discriminator.parameters())
        ema = AveragedModel(
            generator, multi_avg_fn=ema_average(config), use_buffers=True
        )
        if config.compile:
            compile_networks(generator, discriminator)
        parallel_generator = engine.parallel(generator)
        parallel_discriminator = engine.parallel(discriminator)
        generator_loss = {
            "minimax": minimax_generator_loss,
            "non-saturating": non_saturating_generator_loss,
        }[config.loss]

        noise = torch.Generator().manual_seed(config.seed)

        def shown(images: Tensor) -> Tensor:
            """Images as the discriminator sees them."""
            if config.instance_noise == 0:
                return images
            whole = (config.batch, *images.shape[1:])
            return images + config.instance_noise * engine.normal(noise, *whole)

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
                z = engine.normal(noise, config.batch, config.latent_dim)
                with engine.mixed_precision():
                    fake = parallel_generator(z)

                # Discriminator: answer 1 for real images and 0 for generated ones.
                with engine.mixed_precision():
                    real_logits = parallel_discriminator(shown(real)).float()
                    fake_logits = parallel_discriminator(shown(fake.detach())).float()
                loss_d = discriminator_loss(real_logits, fake_logits)
                optimizer_d.zero_grad()
                loss_d.backward()
                optimizer_d.step()

                # Generator: make the discriminator answer 1 for what it draws.
                discriminator.requires_grad_(False)
                with engine.mixed_precision():
                    answer = discriminator(shown(fake)).float()
                loss_g = generator_loss(answer)
                optimizer_g.zero_grad()
                loss_g.backward()
                optimizer_g.step()
                discriminator.requires_grad_(True)
                ema.update_parameters(generator)

                d_real, d_fake = (
                    real_logits.sigmoid().mean(),
                    fake_logits.sigmoid().mean(),
                )
                loop.log(loss_d=loss_d, loss_g=loss_g, d_real=d_real, d_fake=d_fake)
    return run


def ema_average(
    config: GANConfig | ModernConfig,
) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """How averaged weights follow the trained ones: an exponential moving average.

    Args:
        config: Gives the half-life and the batch.

    Returns:
        The function that ``AveragedModel`` takes as ``multi_avg_fn``.
    """

    @torch.no_grad()
    def average(
        averaged: list[Tensor], current: list[Tensor], steps: Tensor | int
    ) -> None:
        # AveragedModel counts on the processor: no GPU is waited for.
        weight = ema_weight(config, int(steps))
        for kept, new in zip(averaged, current, strict=True):
            if kept.is_floating_point():
                kept.lerp_(new, weight)
            else:  # BatchNorm counts its batches; a count has no average
                kept.copy_(new)

    return average


def ema_weight(config: GANConfig | ModernConfig, steps: int) -> float:
    """How far an exponential moving average goes towards what is new.

    Its half-life is ``config.ema_images``, but at first only a twentieth of the images seen, so
    that the random first weights are soon forgotten.

    Source: Karras et al. (2020), "Training generative adversarial networks with limited data",
    whose training code ramps the half-life up in the same way.

    Args:
        config: Gives the half-life and the batch.
        steps: How many were made, from 1.

    Returns:
        From 0, not at all, to 1, all the way.
    """
    half_life = min(config.ema_images, steps * config.batch / 20)
    return 1 - 0.5 ** (config.batch / half_life)
