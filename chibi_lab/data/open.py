"""The one door to images: the name of a style, or a folder of one's own pictures."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chibi_lab.data.cache import load_avatars, split_seeds
from chibi_lab.data.folder import read_folder, split_folder
from chibi_lab.data.images import ImageSet, check_shape
from chibi_lab.data.styles import style_names
from chibi_lab.errors import ChibiError
from chibi_lab.files import explained, place


def open_images(
    data: str | Path,
    size: int = 64,
    split: str = "train",
    count: int = 10_000,
    seed: int = 0,
    palette: str = "pastel",
    progress: bool = True,
    width: int | None = None,
) -> ImageSet:
    """Open one split of a data set. No seed and no picture is in two splits.

    Args:
        data: A style of DiceBear, such as "adventurer", or a folder of pictures. A style comes
            first; a folder of the same name is "./adventurer".
        size: Height in pixels.
        split: "train", "validation" or "test".
        count: How many avatars. Of a folder every picture is used: 90% to train, 5% and 5% to
            validate and to test.
        seed: How a folder is split; avatars have their own seeds.
        palette: Colours of avatars: "pastel" or "original".
        progress: Show a progress bar where it takes long.
        width: Width in pixels: 3/4 of the height, or by default as much. Avatars lose their sides,
            for they are drawn square with the head in the middle; of a picture the largest
            centred part of this shape is taken.

    Returns:
        The images; the `manifest` says where they come from and, under "skipped", which files of
        a folder were left out, and why.

    Raises:
        ChibiError: If there is no such style or folder, no such split, too few usable pictures, or
            no such width.
    """
    seeds = split_seeds(split, count)
    width = size if width is None else width
    check_shape(size, width)
    if str(data) in style_names():
        avatars = load_avatars(str(data), size, seeds, palette, progress=progress)
        return avatars if width == size else avatars.crop(width)
    folder = place(data)
    with explained(f"cannot read {data!r}"):
        there = folder.exists()
    if not there:
        close = difflib.get_close_matches(str(data), style_names(), n=3)
        hint = (
            f"did you mean {' or '.join(close)}?"
            if close
            else "a style is, say, adventurer"
        )
        raise ChibiError(f"there is no style and no folder {str(data)!r}; {hint}")
    images, _ = read_folder(folder, size, progress=progress, width=width)
    return split_folder(images, seed=seed)[split]


def last_place(data: str, known: Mapping[str, Any]) -> str:
    """Where a run's data are: a style stays one, and a folder is found from anywhere.

    Args:
        data: What a person says now.
        known: The run's manifest: what was said before is its `data`, which then was `folder`.
    """
    folder = known.get("folder")
    same = isinstance(folder, str) and Path(data) == Path(known.get("data", ""))
    return folder if same and os.path.isdir(folder) else data
