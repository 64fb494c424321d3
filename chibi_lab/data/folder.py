"""The reader's own pictures: a folder of image files becomes an `ImageSet`.

Files are only ever opened for reading. What cannot be used is left out and named with its reason.
How one file becomes pixels is in `decode.py`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageColor
from tqdm.auto import tqdm

from chibi_lab.data.decode import (
    FORMAT_NAMES,
    UnusablePictureError,
    picture_formats,
    read_picture,
)
from chibi_lab.data.images import ImageSet, check_shape
from chibi_lab.data.listing import Skipped, find_files
from chibi_lab.errors import ChibiError
from chibi_lab.files import explained, place, printable


@dataclass(frozen=True)
class FolderReport:
    """What was found in a folder.

    Attributes:
        folder: The folder that was searched.
        used: Files that became images, relative to the folder, in the order of the images.
        skipped: All that was left out, in the order of the paths.
    """

    folder: Path
    used: tuple[Path, ...]
    skipped: tuple[Skipped, ...]

    def summary(self) -> str:
        """One line that counts, then one line for each path that was left out."""
        counts = f"pictures used: {len(self.used)}, left out: {len(self.skipped)}"
        lines = [f"{self.folder}: {counts}"]
        lines += [f"  {skip.path}: {skip.reason}" for skip in self.skipped]
        return "\n".join(map(printable, lines))


def read_folder(
    folder: str | Path,
    size: int = 64,
    background: str = "#ffffff",
    minimum: int = 32,
    progress: bool = True,
    width: int | None = None,
) -> tuple[ImageSet, FolderReport]:
    """Read every picture under a folder, searched recursively, as images of one size.

    PNG, JPEG, WebP, GIF (first frame), BMP, TIFF, AVIF, and HEIC where pillow-heif is installed,
    are told by their content, whatever their names. Hidden files and folders are left out, and so
    are runs and reports, whose pictures nobody drew. Links to folders are not followed (so no loop
    can occur); links to files are.

    Args:
        folder: Where to look. Nothing in it is changed.
        size: Height of the images in pixels. Pictures that are lower or narrower than the images
            are left out.
        background: What transparent parts are laid on: a colour as in CSS.
        minimum: The fewest pictures that are worth going on with.
        progress: Whether to show a progress bar.
        width: Width of the images: 3/4 of the height, or by default as much.

    Returns:
        The images, uint8 (N, size, width, 3), sorted by relative path, which the manifest lists
        as `files` (beside `skipped`, a list of `path` and `reason`, the absolute `folder`, and a
        `fingerprint` of names and pixels); and the report.

    Raises:
        ChibiError: If there is no such folder, if fewer than `minimum` pictures can be used, or
            if `size`, `width` or `background` make no sense. It says what was found.
    """
    root = place(folder)
    if size < 1:
        raise ChibiError(f"the size of images is at least 1 pixel, not {size}")
    width = size if width is None else width
    check_shape(size, width)
    colour = _colour(background)
    _check_folder(root)
    files, skipped = find_files(root)
    try:
        images = np.empty((len(files), size, width, 3), dtype=np.uint8)
    except (MemoryError, ValueError):
        raise ChibiError(
            f"{len(files)} pictures of {width} x {size} px do not fit into memory: "
            "take a smaller size"
        ) from None
    used: list[Path] = []
    for path, result in _read_all(root, files, size, width, colour, progress):
        if isinstance(result, str):
            skipped.append(Skipped(path, result))
        else:
            images[len(used)] = result
            used.append(path)
    # In place: gives memory back.
    images.resize((len(used), size, width, 3), refcheck=False)
    skipped.sort(key=lambda skip: skip.path.as_posix())
    report = FolderReport(root, tuple(used), tuple(skipped))
    if len(used) < max(minimum, 1):
        raise ChibiError(_too_few(report, max(minimum, 1), size, width))
    manifest = {
        "source": "folder",
        "folder": _text(root.absolute()),
        "size": size,
        "width": width,
        "background": background,
        "count": len(used),
        "credit": "",
        "files": [_text(path) for path in used],
        "skipped": [{"path": _text(s.path), "reason": s.reason} for s in skipped],
    }
    known = hashlib.sha256("\0".join(manifest["files"]).encode())
    known.update(images)
    manifest["fingerprint"] = known.hexdigest()
    return ImageSet(images, None, None, manifest), report


def _colour(text: str) -> tuple[int, ...]:
    try:
        return ImageColor.getcolor(text, "RGB")
    except ValueError:
        raise ChibiError(f"{text!r} is no colour: write it like '#ffffff'") from None


def _check_folder(root: Path) -> None:
    with explained(f"cannot read {printable(root)}"):
        if root.is_dir():
            return
        found = "is a file, not a folder" if root.exists() else "is not there"
    raise ChibiError(
        f"{printable(root)} {found}: give a folder of {FORMAT_NAMES} pictures"
    )


def _read_all(
    root: Path,
    files: list[Path],
    size: int,
    width: int,
    colour: tuple[int, ...],
    progress: bool,
) -> Iterator[tuple[Path, np.ndarray | str]]:
    """Each file with its pixels, or the reason why it has none."""

    def read(path: Path) -> np.ndarray | str:
        try:
            return read_picture(root / path, size, colour, width)
        except UnusablePictureError as error:
            return str(error)

    picture_formats()  # load the plugins now: their import is not meant for several threads
    # Pillow decodes and filters outside Python's global lock, so threads do help.
    pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))
    try:
        with warnings.catch_warnings():  # what Pillow warns of is handled or named here
            warnings.simplefilter("ignore")
            results = pool.map(read, files)
            if progress:  # and not `disable=`, which would overrule TQDM_DISABLE
                results = tqdm(results, "reading", len(files), unit=" pictures")
            yield from zip(files, results, strict=True)
    finally:
        pool.shutdown(cancel_futures=True)  # so that Ctrl-C does not wait for the rest


def split_folder(
    image_set: ImageSet, validation: float = 0.05, test: float = 0.05, seed: int = 0
) -> dict[str, ImageSet]:
    """Split own pictures so that no file, and no exact copy of one, is in two parts.

    Images with the same pixels stay together: copies, links, the same picture saved losslessly in
    another format. One that was scaled or compressed once more is another picture. The order is
    that of SHA-256 over the seed and the pixels: it depends on neither names nor places.

    Args:
        image_set: All images, as `read_folder` gives them.
        validation: Share of the images to hold out for validation; 0 for none.
        test: Share of the images to hold out for the test; 0 for none.
        seed: Another seed, another split.

    Returns:
        "train", "validation" and "test", each in the order of `image_set`. A share above 0 gives
        at least one image.
    """
    if min(validation, test) < 0 or not validation + test <= 0.5:
        raise ChibiError(
            "validation and test take at least 0 and together at most half of the pictures, "
            f"not {validation:g} and {test:g}"
        )
    copies: dict[bytes, list[int]] = {}
    for index, image in enumerate(image_set.images):
        key = hashlib.sha256(f"{seed}:".encode() + image.tobytes()).digest()
        copies.setdefault(key, []).append(index)
    room = {
        part: max(1, int(share * len(image_set)))
        for part, share in (("validation", validation), ("test", test))
        if share > 0
    }
    if len(copies) <= len(room):
        raise ChibiError(
            f"{len(image_set)} pictures, of which {len(copies)} differ, are too few: "
            f"a split into {' and '.join(['train', *room])} needs at least {len(room) + 1}"
        )
    order = sorted(copies)
    # One group of copies for each held-out part first, the smallest ones, so that none stays
    # empty. Then, in the order of the hashes, wherever there is room: mostly that is train.
    first = dict(
        zip(sorted(order, key=lambda key: len(copies[key])), room, strict=False)
    )
    parts: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for key, part in first.items():
        parts[part] += copies[key]
    for key in order:
        if key not in first:
            size = len(copies[key])
            fits = (part for part in room if len(parts[part]) + size <= room[part])
            parts[next(fits, "train")] += copies[key]
    return {
        part: _select(image_set, sorted(indices)) for part, indices in parts.items()
    }


def _select(image_set: ImageSet, indices: list[int]) -> ImageSet:
    """The images at `indices`, with a manifest that lists their files, and those of other parts."""
    part = image_set.select(indices)
    files = image_set.manifest.get("files")
    if files is None:
        return part
    own = [files[index] for index in indices]
    others = sorted({*files} - {*own})
    manifest = {**part.manifest, "files": own, "other_files": others}
    return dataclasses.replace(part, manifest=manifest)


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What is different in a folder since a manifest was written, in words; "" if nothing is.

    Args:
        before: The manifest of a part of the folder; "" comes back if it has no fingerprint.
        now: That of the same part today.

    Raises:
        ChibiError: If the folder has none of the pictures that there were.
    """
    if before.get("fingerprint") in (None, now.get("fingerprint")):
        return ""
    old, new = ({*m.get("files", ()), *m.get("other_files", ())} for m in (before, now))
    if not old & new:
        here, there = printable(now["folder"]), printable(before.get("folder"))
        raise ChibiError(f"{here} has none of the pictures of {there}")
    counted = [
        f"{len(names)} {what} (first: {printable(min(names))})"
        for what, names in (("added", new - old), ("taken away", old - new))
        if names
    ]
    return f"pictures in {printable(now['folder'])} changed: " + (
        ", ".join(counted) or "same names, other pixels"
    )


def _too_few(report: FolderReport, minimum: int, size: int, width: int) -> str:
    """The line that says what was found and what would be right."""
    folder = printable(report.folder)
    wanted = f"needed: at least {minimum} ({FORMAT_NAMES}, {width} x {size} px or more)"
    if not report.used and not report.skipped:
        return f"{folder} is empty; pictures {wanted}"
    line = f"{folder}: usable pictures: {len(report.used)}, {wanted}"
    if report.skipped:
        kinds = Counter(skip.reason.partition(":")[0] for skip in report.skipped)
        line += "; left out: " + ", ".join(
            f"{n} {kind}" for kind, n in kinds.most_common()
        )
        example = report.skipped[0]
        line += f" (first: {printable(f'{example.path}: {example.reason}')})"
    return line


def _text(path: Path) -> str:
    """A file name that can be written down as UTF-8, whatever it is."""
    return path.as_posix().encode("utf-8", "backslashreplace").decode()
