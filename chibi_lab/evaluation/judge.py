"""The judge: a network of this project's own that reads all attributes off an avatar.

Its features are also the space in which sets of pictures are compared: it was trained to tell
apart what tells avatars apart, which networks trained on photographs were not.
"""

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim
from tqdm.auto import tqdm

from chibi_lab.data import AttributeSchema, BatchLoader, ImageSet
from chibi_lab.errors import ChibiError
from chibi_lab.evaluation.features import Pictures, check_square, chunks
from chibi_lab.models.blocks import LATENT_SIZE, downsampler, widths
from chibi_lab.training import Engine
from chibi_lab.training.checkpoint import (
    halved,
    read_checkpoint,
    widened,
    write_checkpoint,
)

SIZE = 64  # every picture is brought to it first
FEATURES = 256
CHUNK = 256  # pictures that are read at once


class Judge(nn.Module):
    """Reads attributes: convolutions down to 4 pixels, 256 features, one linear layer an attribute.

    The convolutions are those of the VAE's encoder.

    Args:
        schema: What there is to read.
        channels: Width at half the full resolution.
    """

    def __init__(self, schema: AttributeSchema, channels: int = 32) -> None:
        super().__init__()
        self.schema, self.channels = schema, channels
        self.downsample = downsampler(SIZE, channels, normalise_first=True)
        self.embed = nn.Linear(widths(SIZE, channels)[-1] * LATENT_SIZE**2, FEATURES)
        self.heads = nn.ModuleList(
            nn.Linear(FEATURES, len(values)) for values in schema.values
        )

    def forward(self, images: Tensor) -> Tensor:
        """Features of images.

        Args:
            images: (N, 3, H, W) in [-1, 1], square; any size, best from 32 to 128 pixels.

        Returns:
            Features, (N, 256), none below 0.

        Raises:
            ChibiError: If the images are not square.
        """
        check_square(*images.shape[-2:])
        if images.shape[-1] != SIZE:
            images = F.interpolate(
                images, (SIZE, SIZE), mode="bilinear", antialias=True
            )
        return self.embed(self.downsample(images).flatten(1)).relu()

    def logits(self, features: Tensor) -> list[Tensor]:
        """One tensor an attribute, (N, number of its values)."""
        return [head(features) for head in self.heads]

    @torch.no_grad()
    def features(self, pictures: Pictures) -> Tensor:
        """Where pictures stand in the space in which sets are compared.

        Each row is scaled to a mean square of 1. What the judge is unsure of has small features,
        and would otherwise stand in the middle of all others, inside everybody's neighbourhood.

        Args:
            pictures: Images of either form, square.

        Returns:
            (N, 256), float32.
        """
        rows = torch.cat([self(images) for images in chunks(pictures, CHUNK)])
        return rows / rows.square().mean(1, keepdim=True).sqrt().clamp(min=1e-6)

    @torch.no_grad()
    def read(self, pictures: Pictures) -> np.ndarray:
        """The most probable value of every attribute.

        Args:
            pictures: Images of either form, square.

        Returns:
            Attributes, int64 (N, A), in the columns of ``schema``.
        """
        rows = [
            torch.stack([each.argmax(1) for each in self.logits(self(images))], dim=1)
            for images in chunks(pictures, CHUNK)
        ]
        return torch.cat(rows).numpy()

    def accuracy(self, test: ImageSet) -> dict[str, float]:
        """For each attribute the share of pictures whose value is read right.

        Args:
            test: Pictures with the same attributes, from seeds that were not trained on.

        Raises:
            ChibiError: If the pictures have other attributes, or none.
        """
        if test.attributes is None or test.schema != self.schema:
            raise ChibiError("the test images must have the attributes of the judge")
        right = (self.read(test) == test.attributes).mean(0)
        return dict(zip(self.schema.names, map(float, right), strict=True))


def train_judge(
    labelled: ImageSet,
    images: int,
    *,
    channels: int = 32,
    batch: int = 128,
    learning_rate: float = 2e-3,
    seed: int = 0,
    progress: bool = True,
) -> Judge:
    """Train a judge on pictures whose attributes are known.

    Half of each batch is worn first: blurred, noisy, halved in size, or shifted. What models draw
    is not as clean as what artists draw, and must be read all the same. The learning rate rises
    for a twentieth of the training and then falls to 0 along a cosine.

    Source: AdamW and the cosine are those of Loshchilov and Hutter (2019).

    Args:
        labelled: Pictures with attributes.
        images: Length of the training in images seen.
        channels: Width of the network.
        batch: Images in a step.
        learning_rate: The largest step size of AdamW.
        seed: Seed of the weights, the order and the wear.
        progress: Whether to show a progress bar.

    Returns:
        The judge, in evaluation mode.

    Raises:
        ChibiError: If the pictures have no attributes, do not fill a batch, or are not square.
    """
    if labelled.attributes is None or labelled.schema is None:
        raise ChibiError(
            "these images have no attributes to learn from: render avatars"
        )
    engine = Engine("auto", "auto", batch)
    loader = BatchLoader(labelled, batch, seed, engine.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = Judge(labelled.schema, channels)
    judge.to(engine.device, memory_format=torch.channels_last)
    steps = max(1, images // batch)
    optimizer = optim.AdamW(judge.parameters(), lr=learning_rate, weight_decay=0.02)
    schedule = optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _rise_and_fall(step / steps)
    )
    dice = torch.Generator(engine.device).manual_seed(seed)
    bar = tqdm(
        total=steps * batch, unit="img", unit_scale=True, desc="training judge",
        **({} if progress else {"disable": True}),
    )  # fmt: skip
    with bar:
        for step in range(steps):
            pictures = wear(next(loader), dice)
            with engine.mixed_precision():
                logits = judge.logits(
                    judge(pictures.contiguous(memory_format=torch.channels_last))
                )
            loss = sum(
                F.cross_entropy(each.float(), column)
                for each, column in zip(logits, loader.attributes.T, strict=True)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            bar.update(batch)
            if step % 100 == 0:
                bar.set_postfix(loss=f"{loss.item():.3g}", refresh=False)
    return judge.cpu().eval()


def wear(images: Tensor, dice: torch.Generator) -> Tensor:
    """Wear half of the images in one of four ways, an eighth of the batch each.

    Args:
        images: (N, 3, H, W) in [-1, 1], square.
        dice: Decides how much.

    Returns:
        The images in the same order, the first half as they were.

    Raises:
        ChibiError: If the images are not square.
    """
    # Here, since it takes seconds that whoever has a judge read should not wait for.
    from torchvision.transforms.functional import gaussian_blur

    check_square(*images.shape[-2:])

    def draw(low: float, high: float) -> float:
        return (
            low
            + (high - low) * torch.rand((), generator=dice, device=dice.device).item()
        )

    size = images.shape[-1]
    clean, blurred, noisy, halved, shifted = images.tensor_split(
        [len(images) * eighths // 8 for eighths in (4, 5, 6, 7)]
    )
    blurred = gaussian_blur(blurred, [7, 7], [draw(0.3, 2)] * 2)
    noise = torch.randn(noisy.shape, generator=dice, device=dice.device)
    noisy = noisy + draw(0, 0.2) * noise
    halved = F.interpolate(F.avg_pool2d(halved, 2), (size, size), mode="bilinear")
    across, down = round(draw(-3, 3)), round(draw(-3, 3))
    shifted = F.pad(shifted, [3] * 4, mode="replicate")
    shifted = shifted[..., 3 + down : 3 + down + size, 3 + across : 3 + across + size]
    return torch.cat([clean, blurred, noisy, halved, shifted])


def save_judge(judge: Judge, path: Path) -> None:
    """Write a judge in float16.

    Raises:
        ChibiError: If the file cannot be written.
    """
    known = {"channels": judge.channels, "schema": judge.schema.to_json()}
    write_checkpoint(path, halved(judge.state_dict()), known)


def load_judge(path: Path) -> Judge:
    """Read what :func:`save_judge` wrote.

    Raises:
        ChibiError: If the file is no judge.
    """
    try:
        tensors, known = read_checkpoint(path)
        judge = Judge(AttributeSchema.from_json(known["schema"]), known["channels"])
        judge.load_state_dict(widened(tensors))
    except (ChibiError, KeyError, TypeError, RuntimeError) as error:
        raise ChibiError(f"{path} is not a judge: {error}") from error
    return judge.eval()


def _rise_and_fall(progress: float) -> float:
    return min(progress / 0.05, (1 + math.cos(math.pi * progress)) / 2)
