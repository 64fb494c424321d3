"""Weights that were trained with this package: two runs, cut down to what draws, and the judge.

Each is a folder with a model card, ``README.md``.
"""

from pathlib import Path

from chibi_lab.errors import ChibiError

RUNS = ("gan", "vae")
NAMES = (*RUNS, "judge")


def path(name: str) -> Path:
    """A folder that comes with the package.

    Args:
        name: "gan" or "vae", runs to be opened with ``Run.open``, or "judge". All were trained on
            64 pixels, style *Adventurer* in the pastel palette.

    Returns:
        The folder. It is part of the installed package: read it, never write there.

    Raises:
        ChibiError: If there are no weights of that name.
    """
    if name not in NAMES:
        raise ChibiError(
            f"there are no weights named {name!r}: choose {' or '.join(NAMES)}"
        )
    return Path(__file__).parent / name
