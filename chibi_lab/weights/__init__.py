"""Runs that were trained for long with this package's own command, cut down to what draws.

Each is a folder with a model card, ``README.md``, beside the run's files.
"""

from pathlib import Path

from chibi_lab.errors import ChibiError

NAMES = ("gan", "vae")


def path(name: str) -> Path:
    """The folder of a run that comes with the package; open it with ``Run.open``.

    Args:
        name: "gan" or "vae": 64 pixels, style *Adventurer* in the pastel palette.

    Returns:
        The folder. It is part of the installed package: read it, never write there.

    Raises:
        ChibiError: If there is no run of that name.
    """
    if name not in NAMES:
        raise ChibiError(
            f"there are no weights named {name!r}: choose {' or '.join(NAMES)}"
        )
    return Path(__file__).parent / name
