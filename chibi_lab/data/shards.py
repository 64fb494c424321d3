"""Data that does not fit into memory: PNG files in tar archives, read one stretch at a time.

The archives are WebDataset's: all files of one sample stand together and share a name,
``0000000042.png`` and ``0000000042.json`` (its attributes). ``shards.json`` beside them says how
many each holds, whose pictures they are, and what the attributes mean.

Source of the layout: the WebDataset documentation, "The WebDataset Format".
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from chibi_lab.data.avatars import attribute_schema, check_size
from chibi_lab.data.cache import describe
from chibi_lab.data.images import (
    ImageSet,
    check_shape,
    generator_of_pass,
    middle,
    to_float,
)
from chibi_lab.data.schema import AttributeSchema
from chibi_lab.data.workers import draw_blocks
from chibi_lab.errors import ChibiError

FORMAT = 1
INDEX = "shards.json"
SHARD = 1_000  # images in an archive: some megabytes at 64 pixels
WINDOW = (
    8  # archives among whose images the order is shuffled; all that is held in memory
)
HELD_OUT = 20  # one archive in so many is kept to validate, and one to test


@dataclass(frozen=True)
class ShardSet:
    """Images in a folder of archives, of which some are chosen.

    Attributes:
        folder: Where they are.
        files: Names of the chosen archives.
        counts: How many images each of them holds.
        manifest: What `shards.json` says: size, style, palette, credit, schema; and the `width`
            that `crop` was given.
    """

    folder: Path
    files: tuple[str, ...]
    counts: tuple[int, ...]
    manifest: dict[str, Any]

    def __len__(self) -> int:
        """Number of images."""
        return sum(self.counts)

    @property
    def size(self) -> int:
        """Height in pixels; the pictures in the archives are as wide."""
        return self.manifest["size"]

    @property
    def width(self) -> int:
        """Width in pixels of the images that are read, the height, or 3/4 of it."""
        return self.manifest.get("width", self.size)

    @property
    def schema(self) -> AttributeSchema:
        """Names the columns and values of the attributes.

        Raises:
            ChibiError: If `shards.json` does not say.
        """
        return AttributeSchema.from_json(self.manifest.get("schema"))

    def crop(self, width: int) -> ShardSet:
        """The same archives, of whose pictures only the middle columns are read.

        Args:
            width: How many columns, 3/4 of the height.

        Raises:
            ChibiError: If `width` is something else.
        """
        check_shape(self.size, width)
        return dataclasses.replace(self, manifest={**self.manifest, "width": width})

    def load(self, count: int) -> ImageSet:
        """The first images with their attributes, in memory.

        Args:
            count: How many at most.

        Raises:
            ChibiError: If an archive cannot be read.
        """
        schema = self.schema
        pixels, rows = [], []
        for file in self.files:
            for png, attributes in _samples(self.folder / file):
                if len(pixels) == count:
                    break
                pixels.append(_decode(png, self, self.folder / file))
                rows.append(_encode(attributes, schema, self.folder / file))
        return ImageSet(
            np.stack(pixels), np.array(rows, dtype=np.int64), schema, self.manifest
        )


def write_shards(
    style: str,
    seeds: range,
    size: int,
    palette: str,
    out: Path | str,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> ShardSet:
    """Draw avatars into archives. Called again after a stop, it goes on.

    Args:
        style: A style of DiceBear.
        seeds: One avatar each.
        size: Height and width in pixels.
        palette: "pastel" or "original".
        out: Folder to make, or one that an earlier call did not finish.
        workers: Processes that draw.
        progress: Show a progress bar.

    Returns:
        All the shards.

    Raises:
        ChibiError: If an argument is out of range, or the folder holds something else.
    """
    check_size(size)
    out = Path(out)
    parts = [seeds[i : i + SHARD] for i in range(0, len(seeds), SHARD)]
    manifest = {
        "format": FORMAT,
        **describe(style, palette),
        "style": style,
        "palette": palette,
        "size": size,
        "seeds": {"start": seeds.start, "stop": seeds.stop, "step": seeds.step},
        "files": {_name(i): len(part) for i, part in enumerate(parts)},
    }
    if out.exists():
        _check_unfinished(out, manifest)
    out.mkdir(parents=True, exist_ok=True)
    _write(out / f"{INDEX}.part", json.dumps(manifest, indent=2) + "\n")
    bar = tqdm(
        total=len(seeds),
        desc=f"{style} {size} px",
        unit=" avatars",
        **({} if progress else {"disable": True}),
    )
    done = next(
        (i for i in range(len(parts)) if not (out / _name(i)).exists()), len(parts)
    )
    drawn = _draw(style, seeds[done * SHARD :], size, palette, workers)
    with bar, contextlib.closing(drawn):
        bar.update(min(done * SHARD, len(seeds)))
        for number in range(done, len(parts)):
            _write_shard(out / _name(number), islice(drawn, len(parts[number])))
            bar.update(len(parts[number]))
    os.replace(out / f"{INDEX}.part", out / INDEX)
    return open_shards(out)


def open_shards(folder: Path | str, split: str | None = None) -> ShardSet:
    """The archives of a folder, or those of one split. No image is in two splits.

    Args:
        folder: What `write_shards` made.
        split: "train", "validation" or "test"; None for all.

    Raises:
        ChibiError: If the folder is unfinished or of another format, or has too few archives to
            be split.
    """
    folder = Path(folder)
    try:
        manifest = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        files = manifest["files"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ChibiError(f"{folder} holds no finished shards: {error}") from error
    if manifest.get("format") != FORMAT:
        raise ChibiError(
            f"{folder} has shard format {manifest.get('format')}, not {FORMAT}"
        )
    names = sorted(files)
    if split is not None:
        if len(names) < 3:
            raise ChibiError(
                f"{folder} has {len(names)} archives: at least 3 are needed, of which one is "
                f"kept to validate and one to test"
            )
        held = max(1, len(names) // HELD_OUT)
        names = {
            "train": names[: -2 * held],
            "validation": names[-2 * held : -held],
            "test": names[-held:],
        }[split]
    return ShardSet(folder, tuple(names), tuple(files[n] for n in names), manifest)


class ShardLoader(Iterator[torch.Tensor]):
    """Draws batches for ever from archives, in an order that depends on the seed alone.

    Every pass shuffles the archives, takes some at a time, and shuffles the images of those: memory
    holds that many archives, however many there are. The images left over at the end of each such
    stretch, fewer than a batch, are not drawn in that pass.

    Attributes:
        schema: Names the columns and values of `attributes`.
        attributes: Of the images given last: int64, shape (batch / shares, A), on the device. At
            first empty.
    """

    def __init__(
        self,
        shards: ShardSet,
        batch: int,
        seed: int,
        device: str | torch.device = "cpu",
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Stand before the first batch.

        Args:
            shards: What to draw from.
            batch: Images in a batch.
            seed: Decides the order of every pass; at least 0.
            device: Where the batches are wanted.
            share: Which part of every batch to give, of how many equal ones. Each loader reads
                all archives, but decodes its own pictures only, which takes longer.

        Raises:
            ChibiError: If a stretch of archives does not fill one batch, or `shards.json` does
                not say what the attributes mean.
        """
        if min(shards.counts) * min(WINDOW, len(shards.files)) < batch:
            raise ChibiError(
                f"{min(WINDOW, len(shards.files))} archives do not fill one batch of {batch}: "
                f"take a smaller batch or more images"
            )
        self.batch = batch
        self.device = torch.device(device)
        self.schema = shards.schema
        self.attributes = self._table([])
        self._shards, self._seed, self._share = shards, seed, share
        self._pass = self._stretch = self._position = 0
        # PNG and JSON of each sample of this stretch, in the order of the batches.
        self._samples: list[tuple[bytes, bytes]] | None = None

    def __iter__(self) -> ShardLoader:
        """The loader is its own iterator, and never ends."""
        return self

    def __next__(self) -> torch.Tensor:
        """The next: float32, shape (batch / shares, 3, H, W), in [-1, 1], on the device."""
        if self._samples is None:
            self._samples = self._read()
        while self._position + self.batch > len(self._samples):
            self._stretch, self._position = self._stretch + 1, 0
            if self._stretch * WINDOW >= len(self._shards.files):
                self._pass, self._stretch = self._pass + 1, 0
            self._samples = self._read()
        part, parts = self._share
        first = self._position + part * self.batch // parts
        wanted = self._samples[first : first + self.batch // parts]
        self._position += self.batch
        folder = self._shards.folder
        pixels = np.stack([_decode(png, self._shards, folder) for png, _ in wanted])
        self.attributes = self._table(
            [_encode(text, self.schema, folder) for _, text in wanted]
        )
        return to_float(torch.from_numpy(pixels).to(self.device))

    def state_dict(self) -> dict[str, int]:
        """Where the loader stands: four integers, enough to go on from here."""
        return {
            "seed": self._seed,
            "pass": self._pass,
            "stretch": self._stretch,
            "position": self._position,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from where another loader of the same shards stood.

        Raises:
            ChibiError: If the state is not one that this loader could be in.
        """
        try:
            seed, number, stretch, position = (
                int(state[key]) for key in ("seed", "pass", "stretch", "position")
            )
        except (KeyError, TypeError, ValueError):
            raise ChibiError(f"not the state of a loader: {state!r}") from None
        if (
            min(seed, number, stretch, position) < 0
            or stretch * WINDOW >= len(self._shards.files)
            or position > sum(sorted(self._shards.counts)[-WINDOW:])
        ):
            raise ChibiError(f"the state of a loader of other data: {state!r}")
        self._seed, self._pass = seed, number
        self._stretch, self._position = stretch, position
        self._samples = None
        self.attributes = self._table([])

    def _table(self, rows: list[tuple[int, ...]]) -> torch.Tensor:
        table = torch.tensor(rows, dtype=torch.int64, device=self.device)
        return table.reshape(len(rows), len(self.schema))

    def _read(self) -> list[tuple[bytes, bytes]]:
        """The samples of this stretch, in the order of its batches."""
        generator = generator_of_pass(self._seed, self._pass)
        order = torch.randperm(len(self._shards.files), generator=generator).tolist()
        chosen = order[self._stretch * WINDOW : (self._stretch + 1) * WINDOW]
        samples = [
            sample
            for number in chosen
            for sample in _samples(self._shards.folder / self._shards.files[number])
        ]
        generator.manual_seed(generator.initial_seed() ^ (self._stretch + 1))
        return [samples[i] for i in torch.randperm(len(samples), generator=generator)]


def _name(number: int) -> str:
    return f"shard-{number:06d}.tar"


def _draw(
    style: str, seeds: range, size: int, palette: str, workers: int | None
) -> Iterator[tuple[str, np.ndarray, dict[str, str]]]:
    """Name, pixels and attributes of one avatar after the other."""
    schema = attribute_schema(style, palette)
    numbers = iter(seeds)
    with contextlib.closing(
        draw_blocks(style, seeds, size, palette, workers)
    ) as blocks:
        for images, rows in blocks:
            for pixels, row in zip(images, rows, strict=True):
                yield f"{next(numbers):010d}", pixels, schema.decode(row)


def _write_shard(
    path: Path, samples: Iterable[tuple[str, np.ndarray, dict[str, str]]]
) -> None:
    """Write one archive beside its place, then rename it into place."""
    beside = path.with_name(path.name + ".part")
    try:
        with tarfile.open(beside, "w") as archive:
            for name, pixels, attributes in samples:
                png = io.BytesIO()
                Image.fromarray(pixels).save(png, "PNG")
                _add(archive, f"{name}.png", png.getvalue())
                _add(archive, f"{name}.json", json.dumps(attributes).encode())
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise ChibiError(f"cannot write {path}: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(
        name
    )  # without a time or an owner: the same bytes each time
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _samples(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """PNG and JSON of each sample of an archive, in its order.

    Raises:
        ChibiError: If the archive is damaged.
    """
    try:
        with tarfile.open(path) as archive:
            members = iter(archive)
            for picture, text in zip(members, members, strict=True):
                yield (
                    archive.extractfile(picture).read(),
                    archive.extractfile(text).read(),
                )
    except (OSError, tarfile.TarError, ValueError, AttributeError) as error:
        raise ChibiError(f"{path} cannot be read as a shard: {error}") from error


def _decode(png: bytes, shards: ShardSet, where: Path) -> np.ndarray:
    """The pixels of a sample: uint8 (size, width, 3)."""
    size = shards.size
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
            pixels = np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise ChibiError(f"a picture in {where} is damaged: {error}") from error
    if pixels.shape != (size, size, 3):
        raise ChibiError(f"a picture in {where} is not {size} × {size} pixels")
    return pixels[:, middle(size, shards.width)]


def _encode(text: bytes, schema: AttributeSchema, where: Path) -> tuple[int, ...]:
    """The attributes of a sample as one row of integers."""
    try:
        return schema.encode(json.loads(text))
    except (ValueError, TypeError) as error:  # no JSON, no object, or of another schema
        raise ChibiError(f"attributes in {where} are damaged: {error}") from error


def _check_unfinished(out: Path, manifest: dict[str, Any]) -> None:
    """Refuse a folder that is not the beginning of the same shards."""
    begun = out / f"{INDEX}.part"
    try:
        same = json.loads(begun.read_text(encoding="utf-8")) == manifest
    except (OSError, ValueError):
        same = out.is_dir() and not any(out.iterdir())
    if not same:
        raise ChibiError(f"{out} is in the way: choose a new or an empty folder")


def _write(path: Path, text: str) -> None:
    try:
        with path.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ChibiError(f"cannot write {path}: {error.strerror}") from error
