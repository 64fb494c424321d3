"""Weights that were trained with this package: runs, cut down to what draws, and the judge.

Each is a folder with a model card, ``README.md``. A checksum of every file of weights stands in
``SHA256SUMS``, and is compared whenever weights are opened. After adding a folder, in this one:
``sha256sum */*.safetensors */checkpoints/*.safetensors > SHA256SUMS``.
"""

import hashlib
from pathlib import Path

from chibi_lab.errors import ChibiError
from chibi_lab.files import explained
from chibi_lab.training import Run

FOLDER = Path(__file__).parent
RUNS = tuple(sorted(config.parent.name for config in FOLDER.glob("*/config.json")))
NAMES = (*RUNS, "enlarger", "judge")


def path(name: str) -> Path:
    """A folder that comes with the package, its weights whole.

    Args:
        name: One of ``NAMES``: a run, or "judge". All were trained on style *Adventurer* in the
            pastel palette.

    Returns:
        The folder. It is part of the installed package: read it, never write there.

    Raises:
        ChibiError: If there are no weights of that name, or their checksum is not theirs.
    """
    if name not in NAMES:
        raise ChibiError(
            f"there are no weights named {name!r}: choose {' or '.join(NAMES)}"
        )
    with explained(f"cannot read {FOLDER / name}"):
        sums = (FOLDER / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
        found = {_sum(file) for file in (FOLDER / name).rglob("*.safetensors")}
    if found != {line for line in sums if f"  {name}/" in line}:
        raise ChibiError(
            f"the weights in {FOLDER / name} are not those that shipped: install chibi-lab again"
        )
    return FOLDER / name


def open_run(name: str) -> Run:
    """A run that comes with the package. It can be sampled and compared, not resumed.

    Args:
        name: One of ``RUNS``.

    Returns:
        The run.

    Raises:
        ChibiError: If there is no run of that name, or the checksum of its weights is not theirs.
    """
    if name not in RUNS:
        raise ChibiError(f"no run named {name!r} ships: choose {' or '.join(RUNS)}")
    return Run.open(path(name))


def _sum(file: Path) -> str:
    """A line as ``sha256sum`` writes it."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return f"{digest}  {file.relative_to(FOLDER).as_posix()}"
