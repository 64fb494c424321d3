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
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from chibi_lab import __version__
from chibi_lab.data.avatars import attribute_schema, check_size
from chibi_lab.data.images import ImageSet
from chibi_lab.data.schema import AttributeSchema
from chibi_lab.data.styles import palette_colors, style_info
from chibi_lab.data.workers import draw_blocks, refuse_inside_worker
from chibi_lab.errors import ChibiError
from chibi_lab.files import explained, hold, place, whole_folder, write, writing

FORMAT = 3
"""Number of the file format and of the way avatars are drawn; raise it when either changes."""

_SPLITS = {"train": 0, "validation": 1_000_000_000, "test": 2_000_000_000}
_SPLIT_LENGTH = 1_000_000_000
_ARRAYS = ("images.npy", "attributes.npy")
_ELSEWHERE = "set CHIBI_LAB_CACHE to another folder"


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
    """Where data sets are kept: `$CHIBI_LAB_CACHE`, or the cache folder of the platform.

    Raises:
        ChibiError: If nobody knows a home folder, as in some containers.
    """
    if own := os.environ.get("CHIBI_LAB_CACHE"):
        return place(own)
    usual = {"darwin": "~/Library/Caches", "win32": os.environ.get("LOCALAPPDATA")}
    caches = usual.get(sys.platform) or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return place(caches) / "chibi_lab"
    except ChibiError as error:
        raise ChibiError(f"{error}; {_ELSEWHERE}") from error


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
    cache = cache_folder() if cache is None else place(cache)
    folder = cache / _folder_name(recipe)
    if (found := _open(folder, recipe)) is not None:
        return found
    try:
        with explained(f"cannot keep avatars in {cache}"):
            cache.mkdir(parents=True, exist_ok=True)
            with _alone(cache / f".{folder.name}.lock"):
                # Perhaps another process drew it while this one waited.
                if (found := _open(folder, recipe)) is not None:
                    return found
                if folder.exists():
                    warnings.warn(
                        f"damaged data set, drawing it again: {folder}", stacklevel=2
                    )
                    shutil.rmtree(folder)
                with whole_folder(folder) as beside:
                    _write_arrays(beside, recipe, seeds, workers, progress)
    except ChibiError as error:
        # Without locks another process may have been first: what it drew is as good.
        if (found := _open(folder, recipe)) is not None:
            return found
        if not isinstance(error.__cause__, OSError):
            raise
        raise ChibiError(f"{error}; {_ELSEWHERE}") from error
    if (drawn := _open(folder, recipe)) is None:
        raise ChibiError(
            f"{folder} does not read as it was written: is the disk full or failing?"
        )
    return drawn


def _describe(style: str, palette: str) -> dict[str, Any]:
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
        seeds = range(*(recipe["seeds"][key] for key in ("start", "stop", "step")))
        if images.shape[:2] != (len(seeds), recipe["size"]):
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
def _alone(lock: Path) -> Iterator[None]:
    """Keep other processes out. The lock goes with the process that holds it, however it ends."""
    lock.touch()
    try:
        release = hold(lock)
    except BlockingIOError:
        print(
            "another process is drawing these avatars: waiting for it", file=sys.stderr
        )
        release = hold(lock, wait=True)
    try:
        yield
    finally:
        release()


def _write_arrays(
    folder: Path,
    recipe: dict[str, Any],
    seeds: range,
    workers: int | None,
    progress: bool,
) -> None:
    """Draw the avatars and write both arrays, block by block as they come, and the manifest."""
    style, size, palette = recipe["style"], recipe["size"], recipe["palette"]["name"]
    shape = (len(seeds), size, size, 3)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    rows = []
    bar = tqdm(
        total=len(seeds),
        desc=f"{style} {size} px",
        unit=" avatars",
        # Left out where it is wanted, so that TQDM_DISABLE can still switch it off.
        **({} if progress else {"disable": True}),
    )
    drawing = contextlib.closing(draw_blocks(style, seeds, size, palette, workers))
    # Plain writes, not a memory map: on a full disk a map kills the process.
    with bar, drawing as blocks, writing(folder / "images.npy") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for images, attributes in blocks:
            file.write(images.tobytes())
            rows.append(attributes)
            bar.update(len(images))
    with writing(folder / "attributes.npy") as file:
        np.save(file, np.concatenate(rows), allow_pickle=False)
    manifest = {
        **recipe,
        "count": len(seeds),
        **_describe(style, palette),
        "sha256": {name: _sha256(folder / name) for name in _ARRAYS},
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    write(folder / "manifest.json", text)
