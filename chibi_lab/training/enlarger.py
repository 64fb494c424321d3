"""Training of the network that enlarges, on pairs that cost nothing: avatars drawn at two sizes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, optim
from tqdm.auto import trange

from chibi_lab.data import ImageSet, to_float
from chibi_lab.errors import ChibiError
from chibi_lab.models.enlarger import FACTOR, Enlarger
from chibi_lab.training.checkpoint import (
    halved,
    read_checkpoint,
    widened,
    write_checkpoint,
)
from chibi_lab.training.engine import Engine
from chibi_lab.training.loop import seeded

PATCH = 32  # side of what is seen in training, in pixels of the small picture
NOISE = 0.04  # largest deviation of the noise that a third of the small pictures gets
BATCH = 16


def train_enlarger(
    small: Sequence[np.ndarray],
    large: ImageSet,
    steps: int,
    *,
    channels: int = 48,
    depth: int = 6,
    learning_rate: float = 2e-3,
    seed: int = 0,
) -> Enlarger:
    """Train a network to draw large what was drawn small.

    The loss is the mean squared error; what is to be drawn follows from the small picture, so its
    average is sharp. The step size falls to 0 along a cosine. Patches are mirrored at random.

    Args:
        small: One or more versions of the pictures, uint8 (N, H, W, 3): drawn by the artist's
            rules, or by a network that was asked for the same. A step takes one of them for each
            picture at random.
        large: The same pictures four times as large.
        steps: Length of the training, in batches of 16 patches.
        channels: Width of the network.
        depth: Its layers between the first and the last.
        learning_rate: The first step size of Adam.
        seed: Seed of the weights and of all choices.

    Returns:
        The network, in evaluation mode.

    Raises:
        ChibiError: If the pictures are not four times as large, or smaller than a patch.
    """
    height, width = small[0].shape[1:3]
    for version in small:
        if large.images.shape != (
            len(version),
            FACTOR * height,
            FACTOR * width,
            3,
        ) or version.shape != (len(large), height, width, 3):
            raise ChibiError(
                f"pictures of {large.images.shape} are not {FACTOR} times those of {version.shape}"
            )
    if min(height, width) < PATCH:
        raise ChibiError(
            f"pictures of {height} x {width} pixels are smaller than a patch of {PATCH}"
        )
    engine = Engine("auto", "auto", BATCH)
    network = seeded(seed, lambda: Enlarger(channels, depth), engine.device)
    optimizer = optim.Adam(network.parameters(), learning_rate, fused=True)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    random = np.random.default_rng(seed)
    for _ in trange(steps, desc="training enlarger", unit="step"):
        inputs, goals = _patches(small, large.images, random)
        inputs = inputs.to(engine.device, memory_format=torch.channels_last)
        with engine.mixed_precision():
            drawn = network(inputs).float()
        loss = F.mse_loss(drawn, goals.to(engine.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.cpu().eval()


def _patches(
    small: Sequence[np.ndarray], large: np.ndarray, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A batch of small patches, some noisy, and the same places of the large pictures."""
    inputs, goals = [], []
    for _ in range(BATCH):
        version = small[random.integers(len(small))]
        which = random.integers(len(large))
        top, left = (random.integers(side - PATCH + 1) for side in version.shape[1:3])
        patch = version[which, top : top + PATCH, left : left + PATCH]
        goal = large[
            which,
            FACTOR * top : FACTOR * (top + PATCH),
            FACTOR * left : FACTOR * (left + PATCH),
        ]
        if random.integers(2):
            patch, goal = patch[:, ::-1], goal[:, ::-1]
        inputs.append(patch)
        goals.append(goal)
    images = to_float(np.stack(inputs))
    much = (
        NOISE
        * random.random((BATCH, 1, 1, 1))
        * (random.random((BATCH, 1, 1, 1)) < 1 / 3)
    )
    noise = random.standard_normal(images.shape, dtype=np.float32)
    noisy = images + torch.from_numpy((much * noise).astype(np.float32))
    return noisy.clamp(-1, 1), to_float(np.stack(goals))


def save_enlarger(network: Enlarger, path: Path) -> None:
    """Write the network in float16.

    Raises:
        ChibiError: If the file cannot be written.
    """
    known = {"channels": network.channels, "depth": network.depth}
    write_checkpoint(path, halved(network.state_dict()), known)


def load_enlarger(path: Path) -> Enlarger:
    """Read what :func:`save_enlarger` wrote.

    Raises:
        ChibiError: If the file is no such network.
    """
    try:
        tensors, known = read_checkpoint(path)
        network = Enlarger(known["channels"], known["depth"])
        network.load_state_dict(widened(tensors))
    except (ChibiError, KeyError, TypeError, RuntimeError) as error:
        raise ChibiError(f"{path} does not enlarge: {error}") from error
    return network.eval()
