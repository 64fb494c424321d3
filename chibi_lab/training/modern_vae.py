"""The modern VAE's loop: the article's, with a variance that fits, a density, and an adversary."""

from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, optim
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel

from chibi_lab.data import ImageSet
from chibi_lab.losses import gaussian_nll, kl_divergence
from chibi_lab.models import ModernDiscriminator, ModernVAE, reparametrise
from chibi_lab.training.adversary import Adversary
from chibi_lab.training.config import ModernVAEConfig
from chibi_lab.training.drawing import value_counts
from chibi_lab.training.engine import Engine
from chibi_lab.training.gan import ema_average, ema_weight
from chibi_lab.training.loop import Loop, seeded
from chibi_lab.training.opening import begin, compile_networks
from chibi_lab.training.run import Run

# The attributes are some nats, the pixels thousands: unheard, the encoder would not learn to read.
LOUDNESS = 100.0


def train_modern_vae(
    config: ModernVAEConfig,
    out: Path | str,
    *,
    images: ImageSet | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Run:
    """Train a VAE as one would today, and keep all of it in a run.

    Source: the variance is that of Rybkin et al. (2021), section 3.2; the density that of Ghosh et
    al. (2020); the attributes enter as in Kingma et al. (2014), "Semi-supervised learning with deep
    generative models", where all are known; the adversary, if there is one, judges draws as in
    VAE-GAN, Larsen et al. (2016), algorithm 1.

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

        vae = seeded(
            config.seed,
            lambda: ModernVAE(config.shape, config.channels, config.latent_dim, counts),
            engine.device,
        )
        learned = [*vae.encoder.parameters(), *vae.decoder.parameters()]
        optimizer = optim.Adam(learned, config.learning_rate, config.betas, fused=True)
        ema = AveragedModel(vae, multi_avg_fn=ema_average(config))
        if config.compile:
            compile_networks(vae.encoder, vae.decoder)
        parallel_encoder = engine.parallel(vae.encoder)
        parallel_decoder = engine.parallel(vae.decoder)

        noise = torch.Generator().manual_seed(config.seed)
        parts = {"vae": vae, "ema": ema, "optimizer": optimizer, "noise": noise}
        if config.adversary:
            discriminator = seeded(
                config.seed + 1,
                lambda: ModernDiscriminator(config.shape, config.channels, counts),
                engine.device,
            )
            adam = partial(
                optim.Adam, lr=config.adversary, betas=(0.0, 0.99), fused=True
            )
            optimizer_d = adam(discriminator.parameters())
            sharpener = adam(vae.decoder.parameters())
            adversary = Adversary(engine, config, discriminator, optimizer_d, noise)
            parts |= {
                "discriminator": discriminator,
                "optimizer_d": optimizer_d,
                "sharpener": sharpener,
            }

        def decode(z: Tensor, shown: Tensor | None) -> Tensor:
            with engine.mixed_precision():
                return parallel_decoder(z, shown).float()

        with Loop(
            engine,
            run,
            loader,
            parts,
            ema.module,
            resume=resume,
            progress=progress,
            judged_by=None if config.adversary else "loss",
        ) as loop:
            for images_in in loop:
                shown = loader.attributes if counts else None
                with engine.mixed_precision():
                    mu, logvar, logits = parallel_encoder(images_in)
                mu, logvar = mu.float(), logvar.float()
                epsilon = engine.normal(noise, config.batch, config.latent_dim)
                z = reparametrise(mu, logvar, epsilon)
                reconstruction = decode(z, shown)

                # The variance that fits best is the mean squared error, of all ranks' images.
                variance = engine.mean(F.mse_loss(reconstruction, images_in).detach())
                each = 1 / len(images_in)
                nll = each * gaussian_nll(reconstruction, images_in, variance)
                kl = each * kl_divergence(mu, logvar)
                reading = read_loss(logits.float(), shown, counts)
                loss = nll + kl + LOUDNESS * reading
                optimizer.zero_grad()
                loss.backward()
                # One wild batch must not throw all weights off: a nat a pixel is steep enough.
                clip_grad_norm_(learned, images_in[0].numel())
                optimizer.step()
                with torch.no_grad():
                    mean, moment = engine.mean(z.mean(0)), engine.mean(each * z.T @ z)
                    weight = ema_weight(config, loop.step + 1)
                    vae.density.follow(mean, moment, weight)
                if shown is not None:
                    wishes = vae.decoder.wishes
                    wishes.follow(engine.sum(wishes.count(shown)))

                figures = {"loss": loss, "nll": nll, "kl": kl, "reading": reading}
                if config.adversary:
                    # It judges what is drawn from the density, which the likelihood never sees.
                    epsilon = engine.normal(noise, config.batch, config.latent_dim)
                    fake = decode(vae.density(epsilon), shown)
                    real_logits, judged = adversary.learn(
                        images_in, fake, shown, loop.step
                    )
                    loss_g = adversary.generator_loss(real_logits, fake, shown)
                    sharpener.zero_grad()
                    loss_g.backward()
                    sharpener.step()
                    figures |= {"loss_g": loss_g, **judged}
                ema.update_parameters(vae)
                loop.log(variance=variance, **figures)
    return run


def read_loss(logits: Tensor, shown: Tensor | None, counts: tuple[int, ...]) -> Tensor:
    r"""How surprised the encoder is by the attributes: :math:`-\log q(c|x)`.

    Source: Kingma et al. (2014), "Semi-supervised learning with deep generative models", equation
    9.

    Args:
        logits: Of all values of all attributes, (N, sum of counts).
        shown: The attributes, int64 (N, A), or None where there are none.
        counts: For each attribute the number of its values.

    Returns:
        Scalar in nats an image, at least 0.
    """
    if shown is None:
        return logits.sum()  # of no column: 0
    columns = zip(logits.split(counts, dim=1), shown.T, strict=True)
    return sum(F.cross_entropy(each, values) for each, values in columns)
