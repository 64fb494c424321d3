"""Files read and written so that a kill, a full disk or a stranger's folder does no harm.

The one place that does it: whole or not at all, never through a link, never from a pipe.
"""

import glob
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from chibi_lab.errors import ChibiError

PART = ".part"  # how the name of what is not finished ends
# Windows has neither: it has no such pipes, and asks for no such links.
_NO_WAITING = getattr(os, "O_NONBLOCK", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn an ``OSError`` into one line that begins with what was tried."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise ChibiError(f"{what}: {reason}") from error


def printable(text: object) -> str:
    """What a stranger wrote, fit to be shown: no line breaks, no codes for the terminal."""
    line = str(text)
    return line if line.isprintable() else ascii(line)[1:-1]


def place(text: str | Path) -> Path:
    """The path that a person wrote, ``~`` expanded."""
    if not str(text) or "\0" in str(text):
        raise ChibiError(f"{str(text)!r} is no name of a file or a folder")
    try:  # what is written down must be read again
        str(text).encode()
    except UnicodeEncodeError as error:
        raise ChibiError(f"{str(text)!r} is not UTF-8: rename it") from error
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ChibiError(f"{text}: no such home folder is known") from error


def open_file(path: Path | str, *, links: bool = True) -> IO[bytes]:
    """Open a regular file to read; a pipe, a device, a folder is refused, and not waited for.

    Args:
        path: The file.
        links: Whether it may be a link to the file.
    """
    with explained(f"cannot read {path}"):
        flags = os.O_RDONLY | _BINARY | _NO_WAITING | (0 if links else _NO_LINK)
        descriptor = os.open(path, flags)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ChibiError(f"cannot read {path}: it is not a regular file")
        return open(descriptor, "rb")


def read(path: Path | str, limit: int, *, links: bool = True) -> bytes:
    """The content of a regular file of at most ``limit`` bytes."""
    with open_file(path, links=links) as file, explained(f"cannot read {path}"):
        size = os.fstat(file.fileno()).st_size
        # None comes from what is called regular and has nothing to say yet, such as /proc/kmsg.
        data = (file.read(limit + 1) or b"") if size <= limit else b""
    if max(size, len(data)) > limit:
        raise ChibiError(f"{path} is larger than {limit / 1e6:g} MB")
    return data


@contextmanager
def writing(
    path: Path, *, replace: bool = True, mode: int = 0o666
) -> Iterator[IO[bytes]]:
    """Write a file beside its place under a name that nobody else has, then rename it.

    Args:
        path: The file to make.
        replace: Whether it may be there already. If not, one that another program makes in the
            meantime stays, too.
        mode: Who may do what with it, before the user's mask.
    """
    beside = path.with_name(f".{uuid.uuid4().hex}{PART}")
    with explained(f"cannot write {path}"):
        # EXCL: whatever lies there, a link above all, is not written to.
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY | _NO_LINK
        descriptor = os.open(beside, flags, mode)
        try:
            with open(descriptor, "w+b") as file:
                yield file
                file.flush()
                os.fsync(descriptor)
            if replace:
                beside.replace(path)
            else:
                _rename_to_new(beside, path)
        finally:
            with suppress(OSError):  # what hinders here has hindered before
                beside.unlink(missing_ok=True)


def write(
    path: Path, content: bytes | str, *, replace: bool = True, mode: int = 0o666
) -> None:
    """Write a whole file, text as UTF-8, as :func:`writing` does."""
    with writing(path, replace=replace, mode=mode) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def _rename_to_new(beside: Path, path: Path) -> None:
    taken = ChibiError(f"{path} exists: choose another name, or ask to overwrite it")
    try:
        os.link(beside, path)
    except FileExistsError:
        raise taken from None
    except OSError:
        # No second name for a file here: a moment is left to another program.
        if os.path.lexists(path):
            raise taken from None
        beside.rename(path)


def check_new_folder(out: Path) -> None:
    """Whether a folder can be made or is empty, asked before work is spent on it."""
    with explained(f"cannot write {out}"):
        try:
            os.lstat(out)
        except FileNotFoundError:
            above = next(p for p in out.absolute().parents if os.path.lexists(p))
        else:
            above = out
            if not out.is_dir() or any(each.suffix != PART for each in out.iterdir()):
                raise ChibiError(
                    f"{out} is in the way: choose a new or an empty folder"
                )
        if not above.is_dir():
            raise ChibiError(f"cannot write {out}: {above} is not a folder")
        if not os.access(above, os.W_OK | os.X_OK):
            raise ChibiError(f"cannot write {out}: {above} is not yours to write to")


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Fill a folder beside its place, then rename it into place; after an error it is gone.

    An empty folder that is there stays, since it may be a link or a mount point; it is filled at
    the end, file by file. What is in the way is refused before anything is done.

    Args:
        out: The folder to make, or an empty one.

    Yields:
        The folder to fill.
    """
    check_new_folder(out)
    inside = out.is_dir()
    # Of 255 bytes that a name may have, some are for what makes it unique.
    name = f".{out.name.encode()[:150].decode(errors='ignore')}."
    beside = (out if inside else out.parent) / f"{name}{uuid.uuid4().hex}{PART}"
    with explained(f"cannot write {out}"):
        beside.mkdir(parents=True)
        release = hold(beside)
        try:
            _remove_left_behind(beside.parent, name)
            yield beside
            if inside:
                for each in sorted(beside.iterdir()):
                    each.rename(out / each.name)
            else:
                beside.rename(out)
        finally:
            release()
            shutil.rmtree(beside, ignore_errors=True)


def _remove_left_behind(folder: Path, name: str) -> None:
    """Remove what was killed while it filled a folder: what is at work holds its lock."""
    for each in folder.glob(f"{glob.escape(name)}*{PART}"):
        with suppress(OSError):
            release, alone = _lock(each, wait=False)
            if alone:
                shutil.rmtree(each, ignore_errors=True)
            release()


def hold(path: Path, *, wait: bool = False) -> Callable[[], None]:
    """Take the lock of a file or a folder until the process ends, or what comes back is called.

    Where the system has no locks, nobody is kept out.

    Raises:
        BlockingIOError: If another process, or another part of this one, holds it, and ``wait``
            is false.
    """
    return _lock(path, wait)[0]


def _lock(path: Path, wait: bool) -> tuple[Callable[[], None], bool]:
    """As :func:`hold`, and whether there is such a lock here."""
    try:
        import fcntl
    except ImportError:  # Windows
        return lambda: None, False
    descriptor = os.open(path, os.O_RDONLY | _NO_WAITING)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:  # a file system without locks
        return lambda: os.close(descriptor), False
    return lambda: os.close(descriptor), True
