"""The one door to images: the name of a style, or a folder of one's own pictures."""

from __future__ import annotations

import difflib
from pathlib import Path

from chibi_lab.data.cache import load_avatars, split_seeds
from chibi_lab.data.folder import read_folder, split_folder
from chibi_lab.data.images import ImageSet
from chibi_lab.data.styles import style_names
from chibi_lab.errors import ChibiError


def open_images(
    data: str | Path,
    size: int = 64,
    split: str = "train",
    count: int = 10_000,
    seed: int = 0,
    palette: str = "pastel",
    progress: bool = True,
) -> ImageSet:
    """Open one split of a data set. No seed and no picture is in two splits.

    Args:
        data: A style of DiceBear, such as "adventurer", or a folder. A style comes first; a
            folder of the same name is "./adventurer".
        size: Height and width in pixels.
        split: "train", "validation" or "test".
        count: How many avatars. Of a folder every picture is used: 90% to train, 5% and 5% to
            validate and to test.
        seed: How a folder is split; avatars have their own seeds.
        palette: Colours of avatars: "pastel" or "original".
        progress: Show a progress bar where it takes long.

    Returns:
        The images; the `manifest` says where they come from and, under "skipped", which files of
        a folder were left out, and why.

    Raises:
        ChibiError: If there is no such style or folder, no such split, or too few usable pictures.
    """
    seeds = split_seeds(split, count)
    if str(data) in style_names():
        return load_avatars(str(data), size, seeds, palette, progress=progress)
    if not Path(data).expanduser().exists():
        close = difflib.get_close_matches(str(data), style_names(), n=3)
        hint = (
            f"did you mean {' or '.join(close)}?"
            if close
            else "a style is, say, adventurer"
        )
        raise ChibiError(f"there is no style and no folder {str(data)!r}; {hint}")
    images, _ = read_folder(data, size, progress=progress)
    return split_folder(images, seed=seed)[split]
