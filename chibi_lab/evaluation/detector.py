"""A detector: a small network that tells generated pictures from real ones.

It learns what one generator leaves behind, and is the discriminator of a GAN in all but its use.
What it knows of another generator, or of a picture that was saved as JPEG, has to be measured.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim
from tqdm.auto import trange

from chibi_lab.data import BatchLoader, ImageSet, to_uint8
from chibi_lab.errors import ChibiError
from chibi_lab.evaluation.features import Pictures, as_images, chunks
from chibi_lab.models.blocks import LATENT_SIZE, downsampler, widths
from chibi_lab.training import Engine
from chibi_lab.training.loop import seeded

SIZE = 64  # of the pictures; resizing would leave marks of its own
GAIN = 8  # how much what is smooth would outweigh the rest
CHUNK = 256  # pictures that are looked at together


class Detector(nn.Module):
    """Convolutions down to 4 pixels, those of the VAE's encoder, and one number a picture.

    The mean of 3 x 3 pixels is taken out of the picture first, and the rest enlarged. What a
    picture shows says little of where it comes from, and is soon learned by heart; traces of how
    it was made lie in the fine differences.

    Source: residuals as the input are those of Fridrich and Kodovský (2012).

    Args:
        channels: Width at half the full resolution.
    """

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.downsample = downsampler(SIZE, channels, normalise_first=True)
        self.head = nn.Linear(widths(SIZE, channels)[-1] * LATENT_SIZE**2, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, above 0 where a picture looks generated.

        Args:
            images: (N, 3, 64, 64) in [-1, 1].

        Returns:
            (N,).
        """
        padded = F.pad(images, [1] * 4, mode="replicate")
        rest = (GAIN * (images - F.avg_pool2d(padded, 3, 1))).clamp(-1, 1)
        return self.head(self.downsample(rest).flatten(1)).squeeze(1)

    @torch.no_grad()
    def probability(self, pictures: Pictures) -> Tensor:
        """How probably pictures are generated, if half of all were.

        Args:
            pictures: Images of either form, 64 pixels a side. They are rounded to 8 bits first, as
                in a file: a network's finer levels would give it away.

        Returns:
            From 0 to 1, (N,).

        Raises:
            ChibiError: If the pictures have another size, or there are none.
        """
        return torch.cat(
            [
                self(as_images(_levels(images))).sigmoid()
                for images in chunks(pictures, CHUNK)
            ]
        )

    def measure(self, real: Pictures, generated: Pictures) -> dict[str, float]:
        """How well it tells pictures apart that it was not trained on.

        Args:
            real: Real pictures, 64 pixels a side.
            generated: Generated ones, as many, or accuracy counts one side more.

        Returns:
            ``accuracy``, the share of pictures that are on the right side of 1/2; ``auc``, how
            often a generated picture is called more probably generated than a real one, by
            torchmetrics: 1/2 is chance, whatever the threshold; ``real`` and ``generated``, the
            share of each side's pictures that are called generated.

        Raises:
            ChibiError: As in :meth:`probability`.
        """
        from torchmetrics.functional.classification import binary_auroc

        sides = self.probability(real), self.probability(generated)
        truth = torch.cat([torch.full((len(side),), i) for i, side in enumerate(sides)])
        guessed = torch.cat(sides)
        return {
            "accuracy": ((guessed > 0.5) == (truth == 1)).float().mean().item(),
            "auc": binary_auroc(guessed, truth).item(),
            "real": (sides[0] > 0.5).float().mean().item(),
            "generated": (sides[1] > 0.5).float().mean().item(),
        }


def train_detector(
    real: Pictures,
    generated: Pictures,
    images: int,
    *,
    channels: int = 16,
    batch: int = 128,
    learning_rate: float = 2e-3,
    seed: int = 0,
    progress: bool = True,
) -> Detector:
    """Train a detector on real and generated pictures.

    Half of each batch is of either side. The learning rate falls to 0 along a cosine.

    Args:
        real: Real pictures, 64 pixels a side.
        generated: Generated ones. Both sides are rounded to 8 bits first.
        images: Length of the training in images seen, both sides together.
        channels: Width of the network.
        batch: Images in a step, an even number.
        learning_rate: The first step size of AdamW.
        seed: Seed of the weights and the order.
        progress: Whether to show a progress bar.

    Returns:
        The detector, in evaluation mode on the CPU.

    Raises:
        ChibiError: If pictures have another size, or a side does not fill half a batch.
    """
    if batch < 4 or batch % 2:
        raise ChibiError(f"batch is {batch}: it must be an even number from 4")
    engine = Engine("auto", "auto", batch)
    sides = [
        BatchLoader(ImageSet(_levels(side)), batch // 2, seed + number, engine.device)
        for number, side in enumerate((real, generated))
    ]
    detector = seeded(seed, lambda: Detector(channels), engine.device)
    optimizer = optim.AdamW(detector.parameters(), learning_rate, weight_decay=0.02)
    steps = max(1, images // batch)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    truth = torch.arange(2, device=engine.device).repeat_interleave(batch // 2).float()
    for _ in trange(steps, desc="training detector", unit="step", disable=not progress):
        both = torch.cat([next(side) for side in sides])
        with engine.mixed_precision():
            logits = detector(both.contiguous(memory_format=torch.channels_last))
        loss = F.binary_cross_entropy_with_logits(logits.float(), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return detector.cpu().eval()


def _levels(pictures: Pictures) -> np.ndarray:
    """Pictures of either form as uint8 (N, 64, 64, 3)."""
    levels = np.concatenate([to_uint8(images) for images in chunks(pictures, 1024)])
    if levels.shape[1:3] != (SIZE, SIZE):
        height, width = levels.shape[1:3]
        raise ChibiError(
            f"a detector looks at pictures of {SIZE} x {SIZE} pixels, not {width} x {height}"
        )
    return levels
