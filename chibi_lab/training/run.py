"""A run: the folder that holds all there is to know of one training."""

import json
import os
import shutil
import weakref
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chibi_lab.errors import ChibiError
from chibi_lab.models import Decoder, Encoder, Generator
from chibi_lab.training.checkpoint import (
    halved,
    read_checkpoint,
    widened,
    with_prefix,
    write_checkpoint,
)
from chibi_lab.training.config import GANConfig, VAEConfig, config_from_json

CHUNK = 64  # images drawn at once; always a full chunk, so that a count never changes a sample
# What it takes to draw: the averaged generator, or both halves of the VAE.
INFERENCE = {"gan": ("ema.",), "vae": ("encoder.", "decoder.")}


class Run:
    """One training on disk.

    The folder holds ``config.json``, ``data.json`` (where the images come from, and which pictures
    were left out), ``stats.jsonl`` (a row for each stretch of images seen),
    ``checkpoints/`` (safetensors, named by images seen) and ``samples/`` (PNG grids of the same
    latents, named alike). A training that came to its end adds ``timelapse.webp``, the grids as a
    film. A file appears whole or not at all.

    Attributes:
        path: The folder.
        config: The choices of the training.
    """

    def __init__(self, path: Path | str, config: GANConfig | VAEConfig) -> None:
        self.path = Path(path)
        self.config = config
        self._unlock: weakref.finalize | None = None

    @classmethod
    def open(cls, path: Path | str) -> "Run":
        """Open a run that exists.

        Args:
            path: Its folder.

        Returns:
            The run.

        Raises:
            ChibiError: If there is no run, or its config cannot be read.
        """
        file = Path(path) / "config.json"
        if not file.is_file():
            raise ChibiError(f"{path} is not a run: it holds no config.json")
        return cls(path, read_config(file))

    @classmethod
    def plan(
        cls, path: Path | str, config: GANConfig | VAEConfig, resume: bool
    ) -> "Run":
        """Check that a training may use a folder. Nothing is written yet.

        Args:
            path: The folder: new, empty, or with ``resume`` a run.
            config: The choices of the training.
            resume: Whether a run that exists is continued. It must have the same config, but
                may be given more images.

        Returns:
            The run.

        Raises:
            ChibiError: If the folder is in the way, or holds a run of another config.
        """
        run = cls(path, config)
        if (run.path / "config.json").exists():
            if not resume:
                raise ChibiError(
                    f"{path} holds a run already: resume it, or choose another folder"
                )
            run._check_same_config(cls.open(path).config)
        elif run.path.exists() and not (run.path.is_dir() and run._is_empty()):
            raise ChibiError(
                f"{path} exists and is not a run: choose a new or an empty folder"
            )
        return run

    def create(self, manifest: dict[str, Any]) -> None:
        """Make the folder and write down the config and where the images come from.

        Args:
            manifest: What is known of the images, kept as ``data.json``.

        Raises:
            ChibiError: If the folder cannot be written, or another training writes to it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._hold()
            # The config first: with it the folder is a run, that can be resumed.
            config = json.dumps(self.config.to_json(), indent=2) + "\n"
            write_text(self.path / "config.json", config)
            write_text(self.path / "data.json", json.dumps(manifest, indent=2) + "\n")
            for folder in ("checkpoints", "samples"):
                (self.path / folder).mkdir(exist_ok=True)
                # What a killed training left: ours, and what safetensors calls it meanwhile.
                for pattern in ("*.part", ".tmp*"):
                    for unfinished in (self.path / folder).glob(pattern):
                        unfinished.unlink()
        except OSError as error:
            raise ChibiError(
                f"cannot write the run {self.path}: {error.strerror}"
            ) from error

    def release(self) -> None:
        """Let other trainings write to the folder again."""
        if self._unlock is not None:
            self._unlock()
            self._unlock = None

    def _hold(self) -> None:
        """Keep other trainings out, until :meth:`release` or the end of the process."""
        try:
            import fcntl
        except ImportError:  # Windows
            return
        folder = os.open(self.path, os.O_RDONLY)
        unlock = weakref.finalize(self, os.close, folder)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            unlock()
            raise ChibiError(
                f"another training is writing to {self.path}: wait for it, or choose another folder"
            ) from None
        except OSError:  # a file system without locks
            pass
        self._unlock = unlock

    def _is_empty(self) -> bool:
        """Whether the folder holds nothing but what a killed training began."""
        return all(path.suffix == ".part" for path in self.path.iterdir())

    def _check_same_config(self, before: GANConfig | VAEConfig) -> None:
        now = self.config
        if before.kind != now.kind:
            raise ChibiError(
                f"{self.path} is a run of a {before.kind}, not of a {now.kind}"
            )
        free = {
            "images", "minutes", "device", "tensorboard",
            "log_every", "sample_every", "checkpoint_every",
        }  # fmt: skip
        changed = [
            f"{field.name} was {getattr(before, field.name)}, now {getattr(now, field.name)}"
            for field in fields(before)
            if field.name not in free
            and getattr(before, field.name) != getattr(now, field.name)
        ]
        if changed:
            raise ChibiError(
                f"{self.path} was trained otherwise ({'; '.join(changed)})"
            )

    def stats(self) -> list[dict[str, float]]:
        """The rows of ``stats.jsonl``, oldest first; empty before the first row."""
        file = self.path / "stats.jsonl"
        if not file.exists():
            return []
        # What follows the last line's end was cut off while it was written.
        lines = file.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def checkpoints(self) -> list[Path]:
        """Checkpoints, oldest first."""
        return sorted((self.path / "checkpoints").glob("*.safetensors"))

    def samples(self) -> list[Path]:
        """Sample grids, oldest first. The file name is the images seen."""
        return sorted((self.path / "samples").glob("*.png"))

    def latest(self) -> Path:
        """The newest checkpoint.

        Raises:
            ChibiError: If there is none yet.
        """
        checkpoints = self.checkpoints()
        if not checkpoints:
            raise ChibiError(f"{self.path} has no checkpoint yet")
        return checkpoints[-1]

    @property
    def images_seen(self) -> int:
        """Images seen up to the newest checkpoint; 0 before the first."""
        checkpoints = self.checkpoints()
        return int(checkpoints[-1].stem) if checkpoints else 0


def read_config(file: Path) -> GANConfig | VAEConfig:
    """Read the ``config.json`` of a run.

    Args:
        file: Its path.

    Returns:
        The config, checked.

    Raises:
        ChibiError: If it cannot be read, or is no config.
    """
    try:
        return config_from_json(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ChibiError(f"{file} cannot be read: {error.strerror}") from error
    except (
        json.JSONDecodeError,
        UnicodeDecodeError,
        TypeError,
        AttributeError,
    ) as error:
        raise ChibiError(f"{file} cannot be read as a config: {error}") from error


def load_generator(run: Run) -> Generator:
    """The generator of a GAN's run, with its averaged weights, in evaluation mode.

    Args:
        run: A run of a GAN.

    Returns:
        The generator on the CPU, in float32.

    Raises:
        ChibiError: If the run is of another kind or has no checkpoint.
    """
    config = _require_kind(run, "gan")
    generator = Generator(config.size, config.channels, config.latent_dim)
    _fill(generator, run.latest(), "ema.module.")
    return generator


def load_vae(run: Run) -> tuple[Encoder, Decoder]:
    """Encoder and decoder of a VAE's run, in evaluation mode.

    Args:
        run: A run of a VAE.

    Returns:
        The two networks on the CPU, in float32.

    Raises:
        ChibiError: If the run is of another kind or has no checkpoint.
    """
    config = _require_kind(run, "vae")
    encoder = Encoder(config.size, config.channels, config.latent_dim)
    decoder = Decoder(config.size, config.channels, config.latent_dim)
    _fill(encoder, run.latest(), "encoder.")
    _fill(decoder, run.latest(), "decoder.")
    return encoder, decoder


def has_encoder(run: Run) -> bool:
    """Whether a run's model can encode images, so that :func:`load_vae` reads it.

    Args:
        run: A run of any kind.
    """
    return any("encoder." in prefix for prefix in INFERENCE[run.config.kind])


def load_drawer(run: Run) -> Generator | Decoder:
    """The network of a run that turns latents into images: generator or decoder.

    Args:
        run: A run of either kind.

    Returns:
        The network on the CPU, in float32, in evaluation mode.

    Raises:
        ChibiError: If the run has no checkpoint.
    """
    return load_generator(run) if run.config.kind == "gan" else load_vae(run)[1]


def latents(count: int, latent_dim: int, seed: int) -> Tensor:
    """The first latents of a seed: latent k is the same whatever the count.

    Args:
        count: How many.
        latent_dim: Dimensions of each.
        seed: Seed of the generator that draws them.

    Returns:
        Standard normal latents, (count, latent_dim).

    Raises:
        ChibiError: If count is less than 1 or the seed is negative.
    """
    if count < 1:
        raise ChibiError(f"count is {count}: it must be at least 1")
    if seed < 0:
        raise ChibiError(f"seed is {seed}: it must be 0 or more")
    generator = torch.Generator().manual_seed(seed)
    # One at a time: a single large draw ends differently than a small one.
    return torch.stack(
        [torch.randn(latent_dim, generator=generator) for _ in range(count)]
    )


@torch.no_grad()
def draw(network: Generator | Decoder, z: Tensor) -> Tensor:
    """Images of latents, computed in chunks of fixed size.

    Args:
        network: What draws; put into evaluation mode while it does.
        z: Latents, (N, latent_dim).

    Returns:
        Images, (N, 3, size, size) in [-1, 1], float32 on the CPU.
    """
    training = network.training
    network.eval()
    device = next(network.parameters()).device
    images = []
    for chunk in z.split(CHUNK):
        padded = torch.cat([chunk, chunk.new_zeros(CHUNK - len(chunk), chunk.shape[1])])
        images.append(
            network(padded.to(device))[: len(chunk)].float().cpu().contiguous()
        )
    network.train(training)
    return torch.cat(images)


def sample(run: Run, count: int, seed: int = 0) -> Tensor:
    """The first images that a run draws from a seed.

    Args:
        run: A run of either kind.
        count: How many images.
        seed: Seed of the latents.

    Returns:
        Images, (count, 3, size, size) in [-1, 1].

    Raises:
        ChibiError: If the run has no checkpoint, or count or seed is out of range.
    """
    return draw(load_drawer(run), latents(count, run.config.latent_dim, seed))


def export_run(run: Run, out: Path | str) -> Run:
    """Copy what it takes to draw and to read a run, and leave out what only training needs.

    The networks are stored in float16, which moves a pixel by less than 1 of 255. Of the sample
    grids the first and the last are kept, and between them one for each doubling of images seen.

    Args:
        run: The run to copy.
        out: The folder to make.

    Returns:
        The small run. It can be sampled and compared, not resumed.

    Raises:
        ChibiError: If the folder exists, or the run has no checkpoint.
    """
    out = Path(out)
    if out.exists():
        raise ChibiError(f"{out} exists: choose a folder that does not")
    tensors, progress = read_checkpoint(run.latest(), INFERENCE[run.config.kind])
    beside = out.with_name(out.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    (beside / "checkpoints").mkdir(parents=True)
    for name in ("config.json", "data.json", "stats.jsonl"):
        shutil.copyfile(run.path / name, beside / name)
    (beside / "samples").mkdir()
    for grid in _doublings(run.samples()):
        shutil.copyfile(grid, beside / "samples" / grid.name)
    write_checkpoint(
        beside / "checkpoints" / run.latest().name, halved(tensors), progress
    )
    beside.replace(out)
    return Run.open(out)


def write_text(path: Path, text: str) -> None:
    """Write a file beside its place, then rename it into place.

    Args:
        path: The file to make or to replace.
        text: Its content.
    """
    beside = path.with_name(path.name + ".part")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _doublings(grids: list[Path]) -> list[Path]:
    kept: list[Path] = []
    for grid in grids:
        if not kept or grid is grids[-1] or int(grid.stem) >= 2 * int(kept[-1].stem):
            kept.append(grid)
    return kept


def _require_kind(run: Run, kind: str) -> Any:
    if run.config.kind != kind:
        raise ChibiError(
            f"{run.path} is a run of a {run.config.kind}: a {kind} is needed here"
        )
    return run.config


def _fill(network: nn.Module, checkpoint: Path, prefix: str) -> None:
    tensors = with_prefix(read_checkpoint(checkpoint, (prefix,))[0], prefix)
    try:
        network.load_state_dict(widened(tensors))
    except RuntimeError as error:
        last = str(error).strip().splitlines()[-1].strip()
        raise ChibiError(
            f"{checkpoint} does not fit the run's config: {last}"
        ) from error
    network.eval()
