"""The article's VAE loop: encode, draw a latent, decode, one step of Adam on both terms."""

from pathlib import Path

import torch
from torch import optim

from chibi_lab.data import ImageSet
from chibi_lab.losses import kl_divergence, squared_error
from chibi_lab.models import Decoder, Encoder, reparametrise
from chibi_lab.training.config import VAEConfig
from chibi_lab.training.engine import Engine
from chibi_lab.training.loop import Loop, seeded
from chibi_lab.training.opening import begin, compile_networks
from chibi_lab.training.run import Run


def train_vae(
    config: VAEConfig,
    out: Path | str,
    *,
    images: ImageSet | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Run:
    """Train a convolutional VAE as the article does, and keep all of it in a run.

    Source: Kingma and Welling (2014), algorithm 1 with one latent an image.

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
        encoder = seeded(
            config.seed,
            lambda: Encoder(config.size, config.channels, config.latent_dim),
            engine.device,
        )
        decoder = seeded(
            config.seed + 1,
            lambda: Decoder(config.size, config.channels, config.latent_dim),
            engine.device,
        )
        optimizer = optim.Adam(
            [*encoder.parameters(), *decoder.parameters()],
            lr=config.learning_rate,
            betas=config.betas,
            fused=True,
        )

        if config.compile:
            compile_networks(encoder, decoder)
        parallel_encoder = engine.parallel(encoder)
        parallel_decoder = engine.parallel(decoder)

        noise = torch.Generator().manual_seed(config.seed)
        parts = {
            "encoder": encoder,
            "decoder": decoder,
            "optimizer": optimizer,
            "noise": noise,
        }
        with Loop(
            engine,
            run,
            loader,
            parts,
            decoder,
            resume=resume,
            progress=progress,
            judged_by="loss",
        ) as loop:
            for images_in in loop:
                with engine.mixed_precision():
                    mu, logvar = parallel_encoder(images_in)
                mu, logvar = mu.float(), logvar.float()
                epsilon = engine.normal(noise, config.batch, config.latent_dim)
                z = reparametrise(mu, logvar, epsilon)
                with engine.mixed_precision():
                    reconstruction = parallel_decoder(z)

                error = squared_error(reconstruction.float(), images_in)
                kl = kl_divergence(mu, logvar)
                loss = error + config.kl_weight * kl
                optimizer.zero_grad()
                # The loss is a sum over the batch, as in the article; ranks take mean gradients.
                (engine.ranks * loss).backward()
                optimizer.step()

                each = 1 / len(images_in)  # logged for one image
                loop.log(loss=loss * each, reconstruction=error * each, kl=kl * each)
    return run
