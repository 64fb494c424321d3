"""Which files of a folder may be pictures, and why the others need not be opened."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from chibi_lab.errors import ChibiError
from chibi_lab.files import printable

MOST = 1_000_000  # files; a whole disk is no folder of pictures


@dataclass(frozen=True)
class Skipped:
    """One path that was left out, relative to the folder; `reason` is "kind" or "kind: detail"."""

    path: Path
    reason: str


def find_files(root: Path) -> tuple[list[Path], list[Skipped]]:
    """Every file that may be a picture, sorted by relative path, and what cannot be one."""
    files: list[Path] = []
    skipped: list[Skipped] = []
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            skipped.append(Skipped(folder.relative_to(root), _unreadable(error)))
            continue
        if reason := _made_here({entry.name for entry in entries}):
            skipped.append(Skipped(folder.relative_to(root), reason))
            continue
        for entry in entries:
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                folders.append(path)
            elif reason := _no_candidate(entry):
                skipped.append(Skipped(path.relative_to(root), reason))
            else:
                files.append(path.relative_to(root))
        if len(files) > MOST:
            raise ChibiError(
                f"{printable(root)} has more than {MOST:,} files: give a folder of pictures only"
            )
    return sorted(files, key=Path.as_posix), skipped


def _made_here(names: set[str]) -> str:
    """Why a folder with these entries is left out: to learn from them would be to copy oneself."""
    if "config.json" in names and names & {"checkpoints", "samples", "stats.jsonl"}:
        return "a run: nothing is learned from its samples"
    if "comparison.json" in names:
        return "a report on runs"
    return ""


def _no_candidate(entry: os.DirEntry[str]) -> str:
    """Why an entry of a folder need not be opened at all; "" if it may be a picture."""
    if entry.name.startswith("."):
        return "hidden"
    try:
        found = entry.stat()  # of what a link leads to
    except OSError as error:
        return ("broken link: " if entry.is_symlink() else "") + _unreadable(error)
    if stat.S_ISDIR(found.st_mode):
        return "link to a folder: not followed"
    if not stat.S_ISREG(found.st_mode):  # opening a pipe could wait for ever
        return "not a file: a pipe, a socket or a device"
    return "" if found.st_size else "empty file"


def _unreadable(error: OSError) -> str:
    return f"unreadable: {error.strerror or error}"
