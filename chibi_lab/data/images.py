"""Image sets in memory or on disk, the two pixel formats, and the loader of batches."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from chibi_lab.data.schema import AttributeSchema
from chibi_lab.errors import ChibiError

ON_DEVICE = 2**31
"""Bytes of images that are moved to a GPU at once; of more, each batch is moved by itself."""


@dataclass(frozen=True)
class ImageSet:
    """RGB images of one size, square or 3:4, with what is known about them.

    Attributes:
        images: uint8, shape (N, H, W, 3), W = H or 4 W = 3 H. May be a memory-mapped file: read,
            never written.
        attributes: int64, shape (N, A), or None where nothing is known.
        schema: Names the columns and values of `attributes`; None exactly when they are.
        manifest: Where the images come from: style, palette, seeds, licence, or the folder.

    Raises:
        ChibiError: If the shapes or types do not fit together.
    """

    images: np.ndarray
    attributes: np.ndarray | None = None
    schema: AttributeSchema | None = None
    manifest: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check shapes and types once, so that nobody else has to."""
        _check_uint8(self.images)
        check_shape(self.size, self.width)
        if (self.attributes is None) != (self.schema is None):
            raise ChibiError("attributes and their schema come together or not at all")
        if self.attributes is not None and self.schema is not None:
            expected = (len(self.images), len(self.schema))
            if self.attributes.shape != expected or self.attributes.dtype != np.int64:
                raise ChibiError(
                    f"attributes must be int64 of shape {expected}, "
                    f"not {self.attributes.dtype} of shape {self.attributes.shape}"
                )

    def __len__(self) -> int:
        """Number of images N."""
        return len(self.images)

    @property
    def size(self) -> int:
        """Height in pixels."""
        return self.images.shape[1]

    @property
    def width(self) -> int:
        """Width in pixels, the height, or 3/4 of it."""
        return self.images.shape[2]

    @property
    def credit(self) -> str:
        """The line that must stand wherever these pictures are shown; "" for own pictures."""
        return self.manifest.get("credit", "")

    def crop(self, width: int) -> ImageSet:
        """The middle columns of square images, as a view: nothing is read from disk.

        Args:
            width: How many columns, 3/4 of the height; the manifest will say so.

        Raises:
            ChibiError: If `width` is something else, or more than there is.
        """
        check_shape(self.size, width)
        left = (self.width - width) // 2
        return dataclasses.replace(
            self,
            images=self.images[:, :, left : left + width],
            manifest={**self.manifest, "width": width},
        )

    def select(self, indices: Sequence[int] | np.ndarray | slice) -> ImageSet:
        """The images at `indices`, in that order, with their attributes.

        A slice gives a view (nothing is read from disk), anything else a copy in memory. The
        manifest stays that of the whole set; its `count` is the number selected.

        Raises:
            ChibiError: If an index is out of range.
        """
        where = (
            indices
            if isinstance(indices, slice)
            else np.asarray(indices, dtype=np.int64)
        )
        try:
            images = self.images[where]
        except IndexError as error:
            raise ChibiError(f"there are {len(self)} images: {error}") from None
        attributes = None if self.attributes is None else self.attributes[where]
        manifest = {**self.manifest, "count": len(images)}
        return ImageSet(images, attributes, self.schema, manifest)


def to_float(images: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Turn stored pixels into what networks read.

    Args:
        images: uint8, shape (N, H, W, 3), an array or a tensor on any device.

    Returns:
        float32, shape (N, 3, H, W), in [-1, 1], contiguous, on the same device: `x / 127.5 - 1`.

    Raises:
        ChibiError: If `images` has another shape or type.
    """
    _check_uint8(images)
    pixels = images if isinstance(images, torch.Tensor) else _share(images)
    return (
        pixels.permute(0, 3, 1, 2).to(torch.float32).contiguous().div_(127.5).sub_(1.0)
    )


def to_uint8(images: torch.Tensor) -> np.ndarray:
    """Turn what networks write into pixels to store or show; the exact inverse of `to_float`.

    Args:
        images: Floating point, shape (N, 3, H, W), meant to lie in [-1, 1]; what lies outside is
            clamped, what lies between two levels is rounded to the nearer one.

    Returns:
        uint8, shape (N, H, W, 3).

    Raises:
        ChibiError: If `images` has another shape or type, or holds a NaN.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ChibiError(
            "expected floating point images of shape (N, 3, H, W), "
            f"not {images.dtype} of shape {tuple(images.shape)}"
        )
    # float32 first: bfloat16 has too few bits to hold 256 levels.
    levels = (images.detach().to(torch.float32) + 1.0) * 127.5
    if torch.isnan(levels).any():
        raise ChibiError("images hold values that are not a number (NaN)")
    return (
        levels.round()
        .clamp(0, 255)
        .to(torch.uint8)
        .permute(0, 2, 3, 1)
        .contiguous()
        .cpu()
        .numpy()
    )


class BatchLoader(Iterator[torch.Tensor]):
    """Draws batches for ever, in an order that depends on the seed alone and can be continued.

    The images stay uint8 (a quarter of the memory of floats), and only the batch that is asked for
    becomes float. They are moved to the device unless there are more than `ON_DEVICE`. On the CPU
    nothing is copied: of a memory-mapped set only the pages that a batch touches are read.

    Every pass over the data has an order of its own. The images left over at the end of a pass,
    fewer than a batch, are not drawn in that pass.

    Attributes:
        schema: Names the columns and values of `attributes`; None where nothing is known.
        indices: int64, shape (batch / shares,): which images were given last. At first empty.
    """

    def __init__(
        self,
        images: ImageSet | np.ndarray,
        batch: int,
        seed: int,
        device: str | torch.device = "cpu",
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Put the images on the device and stand before the first batch.

        Args:
            images: An image set, or uint8 of shape (N, H, W, 3).
            batch: Images in a batch.
            seed: Decides the order of every pass; at least 0.
            device: Where the batches are wanted.
            share: Which part of every batch to give, of how many equal ones. Loaders with other
                shares give the rest of the same batches, and their states are the same.

        Raises:
            ChibiError: If there are fewer images than one batch, or `batch` or `seed` is no count.
        """
        pixels = images.images if isinstance(images, ImageSet) else images
        _check_uint8(pixels)
        if batch < 1:
            raise ChibiError(f"a batch holds at least 1 image, not {batch}")
        if seed < 0:
            raise ChibiError(f"a seed is at least 0, not {seed}")
        if len(pixels) < batch:
            raise ChibiError(
                f"{len(pixels)} images do not fill one batch of {batch}: "
                f"take a smaller batch or more images"
            )
        self.batch = batch
        self.device = torch.device(device)
        self.schema = images.schema if isinstance(images, ImageSet) else None
        self.indices = torch.empty(0, dtype=torch.int64)
        self._pixels = _share(pixels)
        if self._pixels.nbytes <= ON_DEVICE:
            self._pixels = self._pixels.to(self.device)
        self._attributes = (
            None if self.schema is None else _share(images.attributes).to(self.device)
        )
        self._seed, self._share = seed, share
        self._pass = 0
        self._position = 0
        self._order = self._shuffled()

    def __iter__(self) -> BatchLoader:
        """The loader is its own iterator, and never ends."""
        return self

    def __next__(self) -> torch.Tensor:
        """The next: float32, shape (batch / shares, 3, H, W), in [-1, 1], on the device."""
        if self._position + self.batch > len(self._order):
            self._pass += 1
            self._position = 0
            self._order = self._shuffled()
        batch = self._order[self._position : self._position + self.batch]
        part, parts = self._share
        self.indices = batch.chunk(parts)[part]
        self._position += self.batch
        rows = self._pixels[self.indices.to(self._pixels.device)]
        return to_float(rows.to(self.device))

    @property
    def attributes(self) -> torch.Tensor | None:
        """What the images given last show, int64 (batch / shares, A), on the device; or None."""
        if self._attributes is None:
            return None
        return self._attributes[self.indices.to(self.device)]

    def state_dict(self) -> dict[str, int]:
        """Where the loader stands: three integers, enough to go on from here."""
        return {"seed": self._seed, "pass": self._pass, "position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from where another loader of the same images stood.

        Raises:
            ChibiError: If the state is not one that this loader could be in.
        """
        try:
            seed, number, position = (
                int(state[key]) for key in ("seed", "pass", "position")
            )
        except (KeyError, TypeError, ValueError):
            raise ChibiError(f"not the state of a loader: {state!r}") from None
        if min(seed, number, position) < 0 or position > len(self._pixels):
            raise ChibiError(
                f"the loader has {len(self._pixels)} images, its state is of other data: {state!r}"
            )
        self._seed, self._pass, self._position = seed, number, position
        self._order = self._shuffled()
        self.indices = torch.empty(0, dtype=torch.int64)

    def _shuffled(self) -> torch.Tensor:
        """The order of this pass, computed from the seed and the number of the pass."""
        # SeedSequence mixes the two: pass 1 of seed 0 is not pass 0 of seed 1. The generator is the
        # CPU's, so that the order is the same on every device.
        mixed = np.random.SeedSequence((self._seed, self._pass)).generate_state(
            1, np.uint64
        )
        generator = torch.Generator().manual_seed(int(mixed[0] >> np.uint64(1)))
        return torch.randperm(len(self._pixels), generator=generator)


def check_shape(height: int, width: int) -> None:
    """Accept the two shapes of images.

    Raises:
        ChibiError: If it is neither square nor 3:4.
    """
    if width != height and 4 * width != 3 * height:
        raise ChibiError(
            "images are square, or 3:4 with a width of 3/4 of their height, "
            f"not {width} x {height} pixels"
        )


def _share(images: np.ndarray) -> torch.Tensor:
    """The array as a tensor, without a copy unless it runs backwards; it is only read."""
    with warnings.catch_warnings():
        # A read-only file is what we want; torch warns because writing to it would be undefined.
        warnings.filterwarnings(
            "ignore", message="The given NumPy array is not writable"
        )
        backwards = min(images.strides) < 0  # which torch does not have
        return torch.from_numpy(np.ascontiguousarray(images) if backwards else images)


def _check_uint8(images: np.ndarray | torch.Tensor) -> None:
    if (
        images.ndim != 4
        or images.shape[3] != 3
        or str(images.dtype) not in ("uint8", "torch.uint8")
    ):
        raise ChibiError(
            "expected uint8 images of shape (N, H, W, 3), "
            f"not {images.dtype} of shape {tuple(images.shape)}"
        )
