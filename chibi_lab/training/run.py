"""A run: the folder that holds all there is to know of one training."""

import json
import os
import shutil
import uuid
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from chibi_lab.data import AttributeSchema, style_names
from chibi_lab.errors import ChibiError
from chibi_lab.training.config import TrainingConfig, config_from_json


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

    def __init__(self, path: Path | str, config: TrainingConfig) -> None:
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
    def plan(cls, path: Path | str, config: TrainingConfig, resume: bool) -> "Run":
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

    def _check_same_config(self, before: TrainingConfig) -> None:
        now = self.config
        if before.kind != now.kind:
            raise ChibiError(
                f"{self.path} is a run of a {before.kind}, not of a {now.kind}"
            )
        free = {
            "images", "minutes", "device", "tensorboard",
            "log_every", "sample_every", "checkpoint_every",
        }  # fmt: skip
        # Folders may be moved: what they hold is compared when they are opened.
        folders = not {before.data, now.data} & {*style_names()}
        changed = [
            f"{field.name} was {getattr(before, field.name)}, now {getattr(now, field.name)}"
            for field in fields(before)
            if field.name not in free
            and not (field.name == "data" and folders)
            and getattr(before, field.name) != getattr(now, field.name)
        ]
        if changed:
            raise ChibiError(
                f"{self.path} was trained otherwise ({'; '.join(changed)})"
            )

    def data(self) -> dict[str, Any]:
        """Where the images come from, as ``data.json`` says; empty without that file."""
        file = self.path / "data.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def schema(self) -> AttributeSchema | None:
        """The attributes that the model can be asked for; None if it draws without wishes."""
        if not getattr(self.config, "conditional", False):
            return None
        known = self.data().get("schema")
        return None if known is None else AttributeSchema.from_json(known)

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


def read_config(file: Path) -> TrainingConfig:
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


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Fill a folder beside its place, then rename it into place; after an error it is gone.

    Args:
        out: The folder to make, or an empty one to replace.

    Yields:
        The folder to fill.
    """
    beside = out.with_name(f".{uuid.uuid4().hex}.part")
    try:
        beside.mkdir(parents=True)
        yield beside
        beside.replace(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
