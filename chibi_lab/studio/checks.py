"""Whether an avatar can be kept as it was asked for, said before work is spent on it.

Nothing here waits for PyTorch.
"""

from collections.abc import Collection
from pathlib import Path

from chibi_lab.errors import ChibiError

FORMATS = {".png": "PNG", ".webp": "WebP", ".gif": "GIF"}
LEAST, MOST = 64, 1024  # height of a kept picture in pixels
MAX_CANDIDATES = 64


def check_size(size: int) -> None:
    """Whether pictures can have a height.

    Raises:
        ChibiError: If they cannot.
    """
    if not LEAST <= size <= MOST:
        raise ChibiError(f"size is {size}: it must be {LEAST} to {MOST} pixels")


def place_in(folder: Path | str, name: str) -> Path:
    """The file that a name stands for, which must lie in a folder.

    Args:
        folder: The folder.
        name: What a person typed; spaces around it do not count.

    Returns:
        Its path.

    Raises:
        ChibiError: If there is no name, or it leads out of the folder.
    """
    name = name.strip()
    if not name or "\0" in name:
        raise ChibiError("the file needs a name, such as my-avatar.png")
    path = Path(folder, name)
    if not path.resolve().is_relative_to(Path(folder).resolve()):
        raise ChibiError(f"{name} leads out of the folder {Path(folder).resolve()}")
    return path


def check_name(path: Path, overwrite: bool, suffixes: Collection[str] = FORMATS) -> str:
    """Whether a file can be kept under a name, asked before work is spent on it.

    Args:
        path: The file.
        overwrite: Whether one that exists may be replaced.
        suffixes: What its name may end in.

    Returns:
        Its format: "PNG", "WebP" or "GIF".

    Raises:
        ChibiError: If it cannot.
    """
    suffix = path.suffix.lower()
    if suffix in (".jpg", ".jpeg"):
        raise ChibiError(
            f"{path} would be a JPEG, which smears lines and cannot hold an origin: choose "
            f"{' or '.join(suffixes)}"
        )
    if suffix not in suffixes:
        raise ChibiError(f"{path} must end in {' or '.join(suffixes)}")
    if "\0" in str(path):
        raise ChibiError(f"{str(path)!r} holds a character that no file name can hold")
    try:
        if path.is_dir():
            raise ChibiError(f"{path} is a folder: name a file in it")
        if not path.parent.is_dir():
            raise ChibiError(
                f"there is no folder {path.parent}: make it, or choose another"
            )
        if path.exists() and not overwrite:
            raise ChibiError(
                f"{path} exists: choose another name, or ask to overwrite it"
            )
    except OSError as error:
        raise ChibiError(f"cannot write {path}: {error.strerror}") from error
    return FORMATS[suffix]
