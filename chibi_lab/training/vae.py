"""The article's VAE loop: encode, draw a latent, decode, one step of Adam on both terms."""

from pathlib import Path

import torch
from torch import optim

from chibi_lab.data import ImageSet, ShardSet, open_loader, open_training
from chibi_lab.losses import kl_divergence, squared_error
from chibi_lab.models import Decoder, Encoder, reparametrise
from chibi_lab.training.config import VAEConfig
from chibi_lab.training.loop import (
    SAMPLE_COUNT,
    SAMPLE_SEED,
    Loop,
    compile_networks,
    mixed_precision,
    seeded,
)
from chibi_lab.training.run import Run, draw, latents


def train_vae(
    config: VAEConfig,
    out: Path | str,
    *,
    images: ImageSet | ShardSet | None = None,
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
    run = Run.plan(out, config, resume)
    if images is None:
        images = open_training(config.data, config.size, config.count, config.palette)
    loader = open_loader(images, config.batch, config.seed)
    run.create(images.manifest)

    encoder = seeded(
        config.seed, lambda: Encoder(config.size, config.channels, config.latent_dim)
    )
    decoder = seeded(
        config.seed + 1,
        lambda: Decoder(config.size, config.channels, config.latent_dim),
    )
    optimizer = optim.Adam(
        [*encoder.parameters(), *decoder.parameters()],
        lr=config.learning_rate,
        betas=config.betas,
        fused=True,
    )

    if config.compile:
        compile_networks(encoder, decoder)

    noise = torch.Generator().manual_seed(config.seed)
    grid = latents(SAMPLE_COUNT, config.latent_dim, SAMPLE_SEED)
    parts = {
        "encoder": encoder,
        "decoder": decoder,
        "optimizer": optimizer,
        "noise": noise,
    }
    with Loop(
        run,
        loader,
        parts,
        lambda: draw(decoder, grid),
        resume=resume,
        progress=progress,
        judged_by="loss",
    ) as loop:
        for images_in in loop:
            with mixed_precision(config.precision):
                mu, logvar = encoder(images_in)
            mu, logvar = mu.float(), logvar.float()
            z = reparametrise(mu, logvar, noise)
            with mixed_precision(config.precision):
                reconstruction = decoder(z)

            error = squared_error(reconstruction.float(), images_in)
            kl = kl_divergence(mu, logvar)
            loss = error + config.kl_weight * kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

            # Sums over the batch in the loss, as in the article; logged for one image.
            each = 1 / config.batch
            loop.log(loss=loss * each, reconstruction=error * each, kl=kl * each)
    return run
