"""Avatar data sets on disk: drawn once, then read as memory-mapped arrays.

One folder holds one data set: `images.npy` (uint8), `attributes.npy` (int64) and `manifest.json`,
which says what it is, whose work it shows, and the SHA-256 of both arrays. The folder appears
under its name only when it is complete. Whenever it is opened, both hashes are computed again:
that costs about 2 seconds a gigabyte (0.2 seconds for 10,000 avatars at 64 px), to draw a gigabyte
costs minutes, and nothing cheaper notices every damage.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import uuid
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numpy as np
from tqdm.auto import tqdm

from chibi_lab import __version__
from chibi_lab.data.avatars import attribute_schema, check_size
from chibi_lab.data.images import ImageSet
from chibi_lab.data.schema import AttributeSchema
from chibi_lab.data.styles import palette_colors, style_info
from chibi_lab.data.workers import draw_blocks, refuse_inside_worker
from chibi_lab.errors import ChibiError

FORMAT = 3
"""Number of the file format and of the way avatars are drawn; raise it when either changes."""

_SPLITS = {"train": 0, "validation": 1_000_000_000, "test": 2_000_000_000}
_SPLIT_LENGTH = 1_000_000_000
_ARRAYS = ("images.npy", "attributes.npy")


def split_seeds(split: str, count: int) -> range:
    """The first `count` seeds of a split. No seed is in two splits.

    Args:
        split: "train" (from seed 0), "validation" (from 1,000,000,000) or "test" (from
            2,000,000,000).
        count: How many, 1 to 1,000,000,000.

    Raises:
        ChibiError: If there is no such split, or it has not that many seeds.
    """
    if split not in _SPLITS:
        raise ChibiError(f"no split {split!r}; the splits are: {', '.join(_SPLITS)}")
    if not 1 <= count <= _SPLIT_LENGTH:
        raise ChibiError(f"a split has 1 to {_SPLIT_LENGTH:,} seeds, not {count:,}")
    return range(_SPLITS[split], _SPLITS[split] + count)


def cache_folder() -> Path:
    """Where data sets are kept: `$CHIBI_LAB_CACHE`, or the cache folder of the platform."""
    if own := os.environ.get("CHIBI_LAB_CACHE"):
        return Path(own).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "chibi_lab"
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "chibi_lab"
    return (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chibi_lab"
    )


def load_avatars(
    style: str = "adventurer",
    size: int = 64,
    seeds: range = range(10_000),
    palette: str = "pastel",
    *,
    cache: Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> ImageSet:
    """The avatars of a range of seeds, from the cache, or drawn now and kept there.

    Several processes may ask for the same data set at once: one draws it, the others wait. A data
    set that is incomplete or damaged is drawn again, with one warning. Drawing can be stopped at
    any time; what is unfinished is removed.

    Args:
        style: A style of DiceBear, see `style_names`.
        size: Height and width in pixels, 8 to 1024.
        seeds: One avatar each; see `split_seeds`.
        palette: "pastel" or "original".
        cache: Folder to keep data sets in; by default `cache_folder()`.
        workers: Processes that draw; by default one for each core, or none beside this one where
            there is little to draw.
        progress: Show a progress bar while drawing.

    Returns:
        Memory-mapped images with attributes, in the order of the seeds.

    Raises:
        ChibiError: If an argument is unknown or out of range, or the cache cannot be written.
    """
    check_size(size)
    if len(seeds) == 0 or min(seeds[0], seeds[-1]) < 0:
        raise ChibiError(
            f"seeds must be a range of at least one integer from 0, not {seeds}"
        )
    if workers is not None and workers < 1:
        raise ChibiError(f"at least 1 worker is needed, not {workers}")
    refuse_inside_worker()
    recipe = _recipe(style, size, seeds, palette)
    cache = cache_folder() if cache is None else Path(cache)
    folder = cache / _folder_name(recipe)
    if (found := _open(folder, recipe)) is not None:
        return found
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f".{folder.name}.lock") as alone:
            # Perhaps another process drew it while this one waited.
            if (found := _open(folder, recipe)) is not None:
                return found
            if folder.exists():
                warnings.warn(
                    f"damaged data set, drawing it again: {folder}", stacklevel=2
                )
            if alone:
                _remove_leftovers(folder)
            _draw_folder(folder, recipe, seeds, workers, progress)
    except OSError as error:
        raise ChibiError(
            f"cannot keep avatars in {cache} ({error}); set CHIBI_LAB_CACHE to another folder"
        ) from error
    if (drawn := _open(folder, recipe)) is None:
        raise ChibiError(
            f"{folder} does not read as it was written: is the disk full or failing?"
        )
    return drawn


def describe(style: str, palette: str) -> dict[str, Any]:
    """Whose pictures avatars are, and what their attributes mean, as JSON.

    Raises:
        ChibiError: If style or palette is unknown.
    """
    info = style_info(style)
    changed = palette_colors(style, palette)
    recoloured = f" Colours changed ({palette} palette)." if changed else ""
    return {
        "title": info.title,
        "author": info.author,
        "author_url": info.author_url,
        "licence": info.licence,
        "licence_url": info.licence_url,
        "source_url": info.source_url,
        "credit": info.credit + recoloured,
        "schema": attribute_schema(style, palette).to_json(),
        "created_by": f"chibi_lab {__version__}",
    }


def _recipe(style: str, size: int, seeds: range, palette: str) -> dict[str, Any]:
    """Everything that decides the bytes of a data set, as JSON."""
    return {
        "source": "dicebear",
        "format": FORMAT,
        "style": style_info(style).name,
        "size": size,
        "palette": {
            "name": palette,
            "colors": {
                group: [list(pair) for pair in colors]
                for group, colors in palette_colors(style, palette).items()
            },
        },
        "seeds": {"start": seeds.start, "stop": seeds.stop, "step": seeds.step},
        "versions": {
            name: version(name)
            for name in ("dicebear-core", "dicebear-styles", "resvg-py")
        },
    }


def _folder_name(recipe: dict[str, Any]) -> str:
    """A name that a person can read, and that no other recipe has."""
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[
        :12
    ]
    start = recipe["seeds"]["start"]
    return f"{recipe['style']}-{recipe['palette']['name']}-{recipe['size']}px-from{start}-{digest}"


def _open(folder: Path, recipe: dict[str, Any]) -> ImageSet | None:
    """The data set in `folder`, or None unless every byte of it is as it was written."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if any(manifest[key] != value for key, value in recipe.items()):
            return None
        if any(_sha256(folder / name) != manifest["sha256"][name] for name in _ARRAYS):
            return None
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        attributes = np.load(folder / "attributes.npy", allow_pickle=False)
        if images.shape[:2] != (manifest["count"], recipe["size"]):
            return None
        return ImageSet(
            images, attributes, AttributeSchema.from_json(manifest["schema"]), manifest
        )
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError):
        # Not there, cut off, not JSON, not an array, or not what belongs together.
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Keep other processes out; yields False where the system has no such locks.

    The lock goes with the process that holds it, however it ends. Without locks two processes may
    draw the same data set; both are right, and the renaming at the end lets one of them win.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield False
        return
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except BlockingIOError:
            print(
                "another process is drawing these avatars: waiting for it",
                file=sys.stderr,
            )
            fcntl.flock(file, fcntl.LOCK_EX)
            alone = True
        except OSError:  # a file system without locks
            alone = False
        yield alone


def _remove_leftovers(folder: Path) -> None:
    """Remove what processes left that were killed while they drew this data set."""
    for leftover in folder.parent.glob(f".{folder.name}.*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)


def _draw_folder(
    folder: Path,
    recipe: dict[str, Any],
    seeds: range,
    workers: int | None,
    progress: bool,
) -> None:
    """Draw a data set beside `folder`, then put it in its place in one step."""
    temporary = folder.parent / f".{folder.name}.{uuid.uuid4().hex}.tmp"
    aside = folder.parent / f".{folder.name}.{uuid.uuid4().hex}.tmp"
    temporary.mkdir()
    try:
        _write_arrays(temporary, recipe, seeds, workers, progress)
        with (temporary / "manifest.json").open("w", encoding="utf-8") as file:
            json.dump(
                _manifest(temporary, recipe, seeds), file, indent=2, ensure_ascii=False
            )
            _flush(file)
        # Without locks another process may have been first: what it drew is as good, and stays.
        if _open(folder, recipe) is None:
            with contextlib.suppress(FileNotFoundError):
                os.replace(folder, aside)
            try:
                os.rename(temporary, folder)
            except OSError:
                if not folder.exists():
                    raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def _manifest(folder: Path, recipe: dict[str, Any], seeds: range) -> dict[str, Any]:
    return {
        **recipe,
        "count": len(seeds),
        **describe(recipe["style"], recipe["palette"]["name"]),
        "sha256": {name: _sha256(folder / name) for name in _ARRAYS},
    }


def _write_arrays(
    folder: Path,
    recipe: dict[str, Any],
    seeds: range,
    workers: int | None,
    progress: bool,
) -> None:
    """Draw the avatars and write both arrays, block by block as they come."""
    size = recipe["size"]
    header = {
        "descr": "|u1",
        "fortran_order": False,
        "shape": (len(seeds), size, size, 3),
    }
    rows = []
    drawing = draw_blocks(
        recipe["style"], seeds, size, recipe["palette"]["name"], workers
    )
    bar = tqdm(
        total=len(seeds),
        desc=f"{recipe['style']} {size} px",
        unit=" avatars",
        # Left out where it is wanted, so that TQDM_DISABLE can still switch it off.
        **({} if progress else {"disable": True}),
    )
    # Plain writes, not a memory map: on a full disk a map kills the process.
    with bar, (folder / "images.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        with contextlib.closing(drawing) as blocks:
            for images, attributes in blocks:
                file.write(images.tobytes())
                rows.append(attributes)
                bar.update(len(images))
        _flush(file)
    with (folder / "attributes.npy").open("wb") as file:
        np.save(file, np.concatenate(rows), allow_pickle=False)
        _flush(file)


def _flush(file: IO[Any]) -> None:
    """On the disk, not only on its way: the renaming must not come first."""
    file.flush()
    os.fsync(file.fileno())
