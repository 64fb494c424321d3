"""Avatars as pixels: each part of a style is rasterised once, avatars are put together of them.

An avatar is a stack of parts, painted one over the other on a plain background. What painting a
part does to a pixel is linear in the old pixel and in the part's variable colours. For each of red,
green and blue,

    new = t * old + p + sum over the variable colours c of m[c] * c

with t how much shines through, p what the part's fixed colours add, and m[c] how much of a variable
colour is seen. Two drawings of the part give all of them. Then every hair and skin colour is a few
multiplications away. The result is hardly ever more than 2 of 255 away from drawing the avatar
itself, since the drawings are rounded to whole levels.

A single avatar is put together in the same way, so that a seed has the same bytes wherever it is
drawn. Where a style cannot be taken apart like this (one part masks another, gradients, a rotated
canvas, parts that are moved a little in every avatar), and above 128 pixels, nothing is guessed:
that avatar is drawn itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from chibi_lab.data.avatars import (
    attribute_schema,
    attributes_of,
    check_size,
    oversampling,
    rasterise,
    seed_options,
)
from chibi_lab.data.pieces import InseparableError, Piece, take_apart
from chibi_lab.data.styles import definition, dicebear, drawing, palette_colors

if TYPE_CHECKING:
    from dicebear import Style
    from dicebear.style.component import Component

_LARGEST = 256  # pixels a side; the parts of a style then take some hundred megabytes
_CHECK, _GREY = 128, "#808080"  # tells whether a part is linear
_TOLERANCE = 2.5  # levels of 255

_NAMES = re.compile(r'<([\w-]+)|\s([\w-]+)="')
# Elements and attributes of shapes that are painted one over the other: always linear.
_PLAIN = frozenset(
    "g path rect circle ellipse line polygon polyline id d x y width height rx ry cx cy r points "
    "x1 y1 x2 y2 transform fill fill-rule clip-rule fill-opacity opacity stroke stroke-width "
    "stroke-opacity stroke-linecap stroke-linejoin stroke-miterlimit".split()
)


def render_avatar(
    style: str, seed: int, size: int = 64, palette: str = "pastel"
) -> tuple[np.ndarray, dict[str, str]]:
    """Draw one avatar as pixels, the same ones as among thousands.

    Args:
        style: One of `style_names()`.
        seed: Any integer from 0.
        size: Height and width in pixels, 8 to 1024.
        palette: One of `PALETTES`.

    Returns:
        uint8, shape (size, size, 3), and the value of every attribute.

    Raises:
        ChibiError: If an argument is out of range or unknown.
    """
    check_size(size)
    return _composer(style, palette, size).compose(seed)


def render_avatars(
    style: str, seeds: range, size: int, palette: str
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the avatars of many seeds.

    Returns:
        uint8, shape (N, size, size, 3); and int64, shape (N, A), the attributes as numbers of
        `attribute_schema(style, palette)`.

    Raises:
        ChibiError: As `render_avatar`.
    """
    schema = attribute_schema(style, palette)
    images = np.empty((len(seeds), size, size, 3), dtype=np.uint8)
    rows = np.empty((len(seeds), len(schema)), dtype=np.int64)
    for i, seed in enumerate(seeds):
        images[i], attributes = render_avatar(style, seed, size, palette)
        rows[i] = schema.encode(attributes)
    return images, rows


@dataclass(frozen=True)
class _Layer:
    """What painting a piece does, cut to where it does anything.

    Attributes:
        box: Colours (all), rows and columns.
        shine: t, float32 (h, w), from 0 to 1.
        paint: p, float32 (3, h, w), in levels.
        colours: m by colour group, float32 (h, w), from 0 to 1.
    """

    box: tuple[slice, slice, slice]
    shine: np.ndarray
    paint: np.ndarray
    colours: dict[str, np.ndarray]


class _Composer:
    """Puts together the avatars of one style, palette and size."""

    def __init__(self, style: str, palette: str, size: int) -> None:
        self.style, self.palette, self.size = style, palette, size
        self.side = size * oversampling(size)  # at which the parts are rasterised
        # With the palette in the style there are few options, which DiceBear checks each time.
        colours = {
            group: [colour for _, colour in pairs]
            for group, pairs in palette_colors(style, palette).items()
        }
        self._drawing = _with_colours(style, colours)
        # Where several colours are possible, one that no drawing of the style uses marks the place.
        self._marks = {
            group: f"#fe01{number:02x}"
            for number, (group, color) in enumerate(self._drawing.colors().items())
            if len(set(color.values())) > 1
        }
        marks = {group: [mark] for group, mark in self._marks.items()}
        self._marking = {f"{group}Color": c for group, c in (colours | marks).items()}
        own = json.dumps(definition(style)).lower()
        self._separable = (
            self.side <= _LARGEST
            and not any(mark in own for mark in self._marks.values())
            and not any(map(_varies, drawing(style).components().values()))
        )
        self._layers: dict[tuple[str, ...], _Layer | None] = {}

    def compose(self, seed: int) -> tuple[np.ndarray, dict[str, str]]:
        """One avatar and its attributes.

        Args:
            seed: Any integer from 0.

        Returns:
            uint8 (size, size, 3), and the value of every attribute.
        """
        drawn = (
            dicebear().Avatar(self._drawing, seed_options(self.style, seed)).to_json()
        )
        attributes = attributes_of(drawn["options"], self.style, self.palette)
        try:
            image = self._paint(drawn["svg"], drawn["options"], seed)
        except InseparableError:
            image = rasterise(drawn["svg"], self.size, oversampling(self.size))
        return image, attributes

    def _paint(self, svg: str, options: dict, seed: int) -> np.ndarray:
        if not self._separable:
            raise InseparableError
        document = take_apart(svg)
        pieces = document.pieces
        missing = [i for i, piece in enumerate(pieces) if piece.key not in self._layers]
        if missing:
            marked = self._marked(seed, len(pieces))
            for i in missing:
                self._layers[pieces[i].key] = self._layer(
                    marked[i].markup, document.before
                )
        canvas = np.empty((3, self.side, self.side), np.float32)
        canvas[:] = _levels(document.background)
        for piece in pieces:
            layer = self._layers[piece.key]
            if layer is None:
                raise InseparableError
            part = canvas[layer.box]
            part *= layer.shine
            part += layer.paint
            for group, seen in layer.colours.items():
                part += seen * _levels(options[f"{group}Color"][0])
        factor = self.side // self.size
        rows = sum(canvas[:, i::factor] for i in range(factor))
        blocks = sum(rows[:, :, i::factor] for i in range(factor)) / factor**2
        return (blocks + 0.5).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)

    def _marked(self, seed: int, count: int) -> list[Piece]:
        """The pieces of the same avatar in the colours that mark the groups."""
        options = seed_options(self.style, seed) | self._marking
        pieces = take_apart(str(dicebear().Avatar(drawing(self.style), options))).pieces
        if len(pieces) != count:
            raise InseparableError
        return pieces

    def _layer(self, markup: str, before: str) -> _Layer | None:
        """Rasterise a piece; None if painting it is not linear."""
        groups = [group for group, mark in self._marks.items() if mark in markup]

        def draw(background: str, colours: Mapping[str, str]) -> np.ndarray:
            text = markup
            for group in groups:
                text = text.replace(self._marks[group], colours.get(group, "#000000"))
            svg = f'{before}<rect width="100%" height="100%" fill="{background}"/>{text}</g></svg>'
            return rasterise(svg, self.side, 1).astype(np.float32).transpose(2, 0, 1)

        # A pixel is covered alike in red, green and blue. So a drawing over red, with two of the
        # variable colours green and blue, tells how much of each of the three is seen.
        paint = draw("#000000", {})
        colours = {}
        for first in range(0, max(len(groups), 1), 2):
            pair = groups[first : first + 2]
            given = dict(zip(pair, ("#00ff00", "#0000ff"), strict=False))
            shine, *seen = (draw("#ff0000", given) - paint) / 255
            colours |= dict(zip(pair, seen, strict=False))
        if not {a or b for a, b in _NAMES.findall(markup)} <= _PLAIN:
            # Not only shapes painted one over the other: see whether it is linear all the same.
            expected = _CHECK * (shine + sum(colours.values())) + paint
            found = draw(_GREY, dict.fromkeys(groups, _GREY))
            if np.abs(found - expected).max() > _TOLERANCE:
                return None
        painted = (shine != 1) | (paint != 0).any(0)
        rows, columns = (np.flatnonzero(painted.any(axis)) for axis in (1, 0))
        rows, columns = (
            slice(where[0], where[-1] + 1) if len(where) else slice(0)
            for where in (rows, columns)
        )
        return _Layer(
            (slice(None), rows, columns),
            shine[rows, columns].copy(),
            paint[:, rows, columns].copy(),
            {group: seen[rows, columns].copy() for group, seen in colours.items()},
        )


@lru_cache(maxsize=8)
def _composer(style: str, palette: str, size: int) -> _Composer:
    return _Composer(style, palette, size)


def _with_colours(style: str, colours: Mapping[str, list[str]]) -> Style:
    """The style with other colours to choose from in some groups."""
    groups = definition(style).get("colors", {})
    changed = {
        group: groups.get(group, {}) | {"values": values}
        for group, values in colours.items()
    }
    return dicebear().Style(definition(style) | {"colors": groups | changed})


def _varies(part: Component) -> bool:
    """Whether a part is moved, turned or scaled from avatar to avatar: no two would be alike."""
    ranges = part.rotate(), part.scale(), part.translate().x(), part.translate().y()
    return any(span and span["min"] != span["max"] for span in ranges)


@lru_cache(maxsize=1024)
def _levels(colour: str) -> np.ndarray:
    """A colour "#rrggbb" as three levels, float32 (3, 1, 1)."""
    levels = np.frombuffer(bytes.fromhex(colour[1:7]), np.uint8)
    return levels.astype(np.float32)[:, None, None]
