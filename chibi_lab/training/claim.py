"""The folder of a run while a training writes to it: nobody else does."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from chibi_lab.data import style_names
from chibi_lab.errors import ChibiError
from chibi_lab.files import explained, hold, write
from chibi_lab.training.checkpoint import read_header
from chibi_lab.training.config import TrainingConfig
from chibi_lab.training.run import FILES, FOLDERS, Run, is_there

UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.part")  # as `files.writing` calls it
# What may be another in a training that goes on.
FREE = {
    "images", "minutes", "device", "tensorboard",
    "log_every", "sample_every", "checkpoint_every",
}  # fmt: skip


@contextmanager
def claimed(path: Path | str, config: TrainingConfig, resume: bool) -> Iterator[Run]:
    """Take a folder for a training: make it, keep other trainings out, see what lies there.

    At the end the folder is let go; if it was new and nothing was trained, nothing is left.

    Args:
        path: The folder: new, empty, or with ``resume`` a run.
        config: The choices of the training.
        resume: Whether a run that exists is continued. It must have the same config, but
            may be given more images.
    """
    run = Run(path, config)
    with explained(f"cannot write the run {run.path}"):
        above = (run.path, *run.path.absolute().parents)
        made = [each for each in above if not os.path.lexists(each)]
        run.path.mkdir(parents=True, exist_ok=True)
        try:
            release = hold(run.path)
        except BlockingIOError:
            raise ChibiError(
                f"another training is writing to {run.path}: wait for it, or choose another folder"
            ) from None
    new = False
    try:
        new = _check(run, resume)
        yield run
    finally:
        with suppress(OSError, ChibiError):
            if new and not run.samples():  # it failed before its first step
                for name in FILES:
                    (run.path / name).unlink(missing_ok=True)
        for folder in (*(run.path / name for name in FOLDERS if new), *made):
            with suppress(OSError):
                folder.rmdir()
        release()


def write_down(run: Run, manifest: dict[str, Any]) -> None:
    """Write the config of a run, and as ``data.json`` what is known of its images."""
    # The config first: with it the folder is a run, that can be resumed.
    for name, known in (("config", run.config.to_json()), ("data", manifest)):
        write(run.path / f"{name}.json", json.dumps(known, indent=2) + "\n")
    with explained(f"cannot write the run {run.path}"):
        for folder in (run.path, *(run.path / name for name in FOLDERS)):
            folder.mkdir(exist_ok=True)
            for unfinished in folder.iterdir():  # what a killed training left
                if UNFINISHED.fullmatch(unfinished.name):
                    unfinished.unlink()


def _check(run: Run, resume: bool) -> bool:
    """Whether the folder holds no run yet; what may not be used is refused."""
    new = not is_there(run.path / "config.json")
    if new:
        with explained(f"cannot read {run.path}"):
            empty = all(UNFINISHED.fullmatch(name) for name in os.listdir(run.path))
        if not empty:
            raise ChibiError(
                f"{run.path} exists and is not a run: choose a new or an empty folder"
            )
    elif not resume:
        raise ChibiError(
            f"{run.path} holds a run already: resume it, or choose another folder"
        )
    else:
        before = Run.open(run.path)
        _check_same_config(run, before.config)
        shapes = read_header(before.latest())[0] if before.checkpoints() else None
        if shapes is not None and not any("optimizer" in name for name in shapes):
            raise ChibiError(
                f"{run.path} is a copy that draws: the run that it was exported from can be "
                f"resumed, it cannot"
            )
    for folder in (run.path, *(run.path / name for name in FOLDERS)):
        if is_there(folder) and not os.access(folder, os.W_OK | os.X_OK):
            raise ChibiError(f"cannot write {folder}: it is not yours to write to")
    return new


def _check_same_config(run: Run, before: TrainingConfig) -> None:
    now = run.config
    if before.kind != now.kind:
        raise ChibiError(f"{run.path} is a run of a {before.kind}, not of a {now.kind}")
    # Folders may be moved: what they hold is compared when they are opened.
    folders = not {before.data, now.data} & {*style_names()}
    free = FREE | ({"data"} if folders else set())
    pairs = [
        (f.name, getattr(before, f.name), getattr(now, f.name)) for f in fields(now)
    ]
    changed = [
        f"{name} was {old}, now {new}"
        for name, old, new in pairs
        if name not in free and old != new
    ]
    if changed:
        raise ChibiError(f"{run.path} was trained otherwise ({'; '.join(changed)})")
