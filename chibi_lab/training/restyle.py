"""A generator that can draw one style learns another: it starts from what it knows."""

import copy
from functools import partial

import torch
from torch import optim
from torch.optim.swa_utils import AveragedModel
from tqdm.auto import trange

from chibi_lab.data import BatchLoader, ImageSet
from chibi_lab.errors import ChibiError
from chibi_lab.models import ModernDiscriminator, ModernGenerator
from chibi_lab.training.adversary import Adversary
from chibi_lab.training.config import ModernGANConfig
from chibi_lab.training.engine import Engine
from chibi_lab.training.gan import ema_average
from chibi_lab.training.loop import seeded


def restyle(
    generator: ModernGenerator,
    images: ImageSet,
    config: ModernGANConfig,
    progress: bool = True,
) -> ModernGenerator:
    """Teach a copy of a generator to draw other pictures.

    The discriminator is new, and sees no attributes. Nothing asks that a latent go on to mean what
    it meant; it does as far as the old answer is a good start for the new one.

    Source: Pinkney and Adler (2020), "Resolution dependent GAN interpolation for controllable
    image synthesis between domains", section 2.

    Args:
        generator: The teacher, which stays as it is.
        images: Pictures of the other style, of the size that it draws.
        config: Length, step size, penalties and seed; the networks' shape must be the teacher's.
        progress: Whether to show a progress bar.

    Returns:
        The pupil's averaged weights, in evaluation mode, on the processor.

    Raises:
        ChibiError: If the pictures, or the config, are of another size than what it draws.
    """
    drawn = tuple(16 * side for side in generator.inner)
    if not drawn == config.shape == images.images.shape[1:3]:
        sizes = [drawn, config.shape, images.images.shape[1:3]]
        here, said, shown = (f"{height} x {width}" for height, width in sizes)
        raise ChibiError(
            f"the generator draws {here} pixels, the config says {said}, "
            f"and the images have {shown}: all must be the same"
        )
    engine = Engine(config.device, config.precision, config.batch)
    loader = BatchLoader(images, config.batch, config.seed, engine.device)
    pupil = copy.deepcopy(generator).to(engine.device).requires_grad_(True).train()
    discriminator = seeded(
        config.seed,
        lambda: ModernDiscriminator(config.shape, config.channels),
        engine.device,
    )
    adam = partial(optim.Adam, lr=config.learning_rate, betas=config.betas, fused=True)
    optimizer = adam(pupil.parameters())
    noise = torch.Generator().manual_seed(config.seed)
    adversary = Adversary(
        engine, config, discriminator, adam(discriminator.parameters()), noise
    )
    ema = AveragedModel(pupil, multi_avg_fn=ema_average(config))
    steps = config.images // config.batch
    for step in trange(steps, unit="batch") if progress else range(steps):
        real = next(loader)
        z = engine.normal(noise, config.batch, config.latent_dim)
        with engine.mixed_precision():
            fake = pupil(z).float()
        real_logits, _ = adversary.learn(real, fake, None, step)
        loss = adversary.generator_loss(real_logits, fake, None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update_parameters(pupil)
    return ema.module.cpu().requires_grad_(False).eval()
