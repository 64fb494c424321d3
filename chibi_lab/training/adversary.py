"""The discriminator's side of a modern adversarial training, for the GAN and for the sharp VAE."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn, optim

from chibi_lab.losses import (
    gradient_penalty,
    relativistic_discriminator_loss,
    relativistic_generator_loss,
)
from chibi_lab.models import ModernDiscriminator
from chibi_lab.training.augment import Augmentation
from chibi_lab.training.config import ModernConfig
from chibi_lab.training.engine import Engine


class Adversary:
    """Learns to tell real images from generated ones, and says how the generator is to improve.

    Source: Huang et al. (2024), "The GAN is dead; long live the GAN!", equations 2 and 3; the
    penalties are lazy as in Karras et al. (2020), "Analyzing and improving the image quality of
    StyleGAN", section 3.1.

    Args:
        engine: Device, precision, ranks.
        config: The choices of the training.
        discriminator: On the engine's device.
        optimizer: The discriminator's.
        noise: Random generator of the augmentation.
    """

    def __init__(
        self,
        engine: Engine,
        config: ModernConfig,
        discriminator: ModernDiscriminator,
        optimizer: optim.Optimizer,
        noise: torch.Generator,
    ) -> None:
        self._engine, self._config, self._discriminator = engine, config, discriminator
        self._optimizer = optimizer
        self._parallel = engine.parallel(discriminator)
        self._change = None
        if config.augment:
            self._change = Augmentation(engine, noise, config.batch)

    def learn(
        self, real: Tensor, fake: Tensor, shown: Tensor | None, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One step: find each real image more real than the generated one beside it.

        Args:
            real: Images, (N, 3, H, W) in [-1, 1].
            fake: As many generated images.
            shown: What each pair shows, int64 (N, A), or None.
            step: Number of the step, which says whether the penalties are due.

        Returns:
            The logits of the real images, (N,), for :meth:`generator_loss`, and figures to log.
        """
        config = self._config
        due = step % config.penalty_every == 0
        real = real.detach().requires_grad_(due)
        fake = fake.detach().requires_grad_(due)
        with self._twice_differentiable() if due else nullcontext():
            real_logits = self._judge(self._parallel, real, shown)
            fake_logits = self._judge(self._parallel, fake, shown)
        loss = relativistic_discriminator_loss(real_logits, fake_logits)
        penalty = loss.new_zeros(())
        if due:
            # R1 on real images and R2 on generated ones; each stands for the steps without.
            both = gradient_penalty(real_logits, real) + gradient_penalty(
                fake_logits, fake
            )
            penalty = config.penalty_every * config.penalty / 2 * both
        self._optimizer.zero_grad()
        (loss + penalty).backward()
        self._optimizer.step()
        right = (real_logits > fake_logits).double().mean()
        return real_logits.detach(), {
            "loss_d": loss,
            "penalty": penalty,
            "right": right,
        }

    def generator_loss(
        self, real_logits: Tensor, fake: Tensor, shown: Tensor | None
    ) -> Tensor:
        """The loss of whoever drew: have the discriminator find it the other way round.

        Args:
            real_logits: What :meth:`learn` gave for the same pairs, from before its step.
            fake: Generated images, with the graph that leads to their weights.
            shown: What each pair shows.

        Returns:
            Scalar in nats. The discriminator's weights take no gradient from it.
        """
        self._discriminator.requires_grad_(False)
        answer = self._judge(self._discriminator, fake, shown)
        self._discriminator.requires_grad_(True)
        return relativistic_generator_loss(real_logits, answer)

    def _twice_differentiable(self) -> AbstractContextManager:
        """Compiled networks have no second derivative: those that need one run as written."""
        if not self._config.compile:
            return nullcontext()
        return torch.compiler.set_stance("force_eager")

    def _judge(
        self, network: nn.Module, images: Tensor, shown: Tensor | None
    ) -> Tensor:
        changed = images if self._change is None else self._change(images)
        with self._engine.mixed_precision():
            return network(changed, shown).float()
