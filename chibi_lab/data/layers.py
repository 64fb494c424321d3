"""Many avatars quickly: each part of a style is rasterised once, avatars are put together of them.

An avatar is a stack of parts, painted one over the other on a plain background. What painting a
part does to a pixel is linear in the old pixel and in the part's variable colours. For each of red,
green and blue,

    new = t * old + p + sum over the variable colours c of m[c] * c

with t how much shines through, p what the part's fixed colours add, and m[c] how much of a variable
colour is seen. Two drawings of the part give all of them. Then every hair and skin colour is a few
multiplications away. The result is hardly ever more than 2 of 255 away from drawing the avatar
itself, since the drawings are rounded to whole levels.

Where a style cannot be taken apart like this (one part masks another, gradients, a rotated canvas,
parts that are moved a little in every avatar), nothing is guessed: that avatar is drawn itself.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from chibi_lab.data.avatars import (
    attribute_schema,
    attributes_of,
    oversampling,
    rasterise,
    render_avatar,
    seed_options,
)
from chibi_lab.data.styles import definition, dicebear, drawing, palette_colors

if TYPE_CHECKING:
    from dicebear import Style
    from dicebear.style.component import Component

_LARGEST = 256  # pixels a side; the parts of a style then take some hundred megabytes
_CHECK, _GREY = 128, "#808080"  # tells whether a part is linear
_TOLERANCE = 2.5  # levels of 255

_BACKGROUND = re.compile(
    r'(<g clip-path="[^"]*">)<rect width="[^"]*" height="[^"]*" fill="(#[0-9a-f]{6})"/>'
)
_NAMES = re.compile(r'<([\w-]+)|\s([\w-]+)="')
# Elements and attributes of shapes that are painted one over the other: always linear.
_PLAIN = frozenset(
    "g path rect circle ellipse line polygon polyline id d x y width height rx ry cx cy r points "
    "x1 y1 x2 y2 transform fill fill-rule clip-rule fill-opacity opacity stroke stroke-width "
    "stroke-opacity stroke-linecap stroke-linejoin stroke-miterlimit".split()
)
_PART = re.compile(r'<g id="([^"]+)-[0-9a-f]{8}">')
_USE = re.compile(r'<use(?: transform="([^"]*)")? href="#([^"]+)-[0-9a-f]{8}"/>')


def render_avatars(
    style: str, seeds: range, size: int, palette: str, compose: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Draw many avatars: the one place where data sets get their pixels from.

    Args:
        style: One of `style_names()`.
        seeds: One avatar each.
        size: Height and width in pixels.
        palette: One of `PALETTES`.
        compose: Rasterise each part of the style once, where the style allows it. Pays from some
            hundred avatars on.

    Returns:
        uint8, shape (N, size, size, 3), those of `render_avatar`, or hardly ever more than 2 levels
        away if composed; and int64, shape (N, A), the attributes as numbers of
        `attribute_schema(style, palette)`.

    Raises:
        ChibiError: If an argument is out of range or unknown.
    """
    schema = attribute_schema(style, palette)
    images = np.empty((len(seeds), size, size, 3), dtype=np.uint8)
    rows = np.empty((len(seeds), len(schema)), dtype=np.int64)
    for i, seed in enumerate(seeds):
        if compose:
            images[i], attributes = _composer(style, palette, size).compose(seed)
        else:
            images[i], attributes = render_avatar(style, seed, size, palette)
        rows[i] = schema.encode(attributes)
    return images, rows


class _InseparableError(Exception):
    """This avatar is not a stack of parts."""


@dataclass(frozen=True)
class _Document:
    """A drawing of DiceBear, taken apart.

    Attributes:
        before: SVG from the beginning to the background: what belongs around every part.
        background: Its colour, "#rrggbb".
        parts: SVG of each part, by name and variant.
        body: The parts in the order in which they are painted.
    """

    before: str
    background: str
    parts: dict[str, str]
    body: str


@dataclass(frozen=True)
class _Piece:
    """A stretch of a part that is painted at once.

    Attributes:
        key: The same for the same drawing in every avatar, whatever its colours.
        markup: Its SVG, within groups that place it.
    """

    key: tuple[str, ...]
    markup: str


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
        except _InseparableError:
            image = rasterise(drawn["svg"], self.size, oversampling(self.size))
        return image, attributes

    def _paint(self, svg: str, options: dict, seed: int) -> np.ndarray:
        if not self._separable:
            raise _InseparableError
        document = _read(svg)
        pieces = list(_flatten(document.body, document.parts, ()))
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
                raise _InseparableError
            part = canvas[layer.box]
            part *= layer.shine
            part += layer.paint
            for group, seen in layer.colours.items():
                part += seen * _levels(options[f"{group}Color"][0])
        factor = self.side // self.size
        rows = sum(canvas[:, i::factor] for i in range(factor))
        blocks = sum(rows[:, :, i::factor] for i in range(factor)) / factor**2
        return (blocks + 0.5).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)

    def _marked(self, seed: int, count: int) -> list[_Piece]:
        """The pieces of the same avatar in the colours that mark the groups."""
        options = seed_options(self.style, seed) | self._marking
        document = _read(str(dicebear().Avatar(drawing(self.style), options)))
        pieces = list(_flatten(document.body, document.parts, ()))
        if len(pieces) != count:
            raise _InseparableError
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


def _read(svg: str) -> _Document:
    """Take a drawing apart.

    Raises:
        _InseparableError: If it is not a background and a list of parts.
    """
    start, end = svg.find("<defs>"), svg.find("</defs>")
    background = _BACKGROUND.match(svg, end + len("</defs>"))
    clip = svg.rfind("<clipPath", start, end)
    if min(start, clip) < 0 or background is None or "url(" in svg[start:end]:
        raise _InseparableError
    names_and_texts = _PART.split(svg[start + len("<defs>") : clip])[1:]
    head = svg[: svg.index(">") + 1]
    return _Document(
        before=f"{head}<defs>{svg[clip:end]}</defs>{background[1]}",
        background=background[2],
        parts={
            name: text.removesuffix("</g>")
            for name, text in zip(
                names_and_texts[::2], names_and_texts[1::2], strict=True
            )
        },
        body=svg[background.end() :].removesuffix("</g></svg>"),
    )


def _flatten(
    markup: str, parts: dict[str, str], place: tuple[str, ...]
) -> Iterator[_Piece]:
    """Cut a part at the other parts that stand inside of it, such as the earrings in the hair.

    Args:
        markup: Its SVG.
        parts: SVG by name.
        place: Names and transforms of the parts around it, outermost first.
    """
    fields = _USE.split(markup)
    inside = fields[2::3]
    # Whichever variant stands inside, what lies around it is the same.
    slots = tuple(name.partition("-")[0] for name in inside)
    for number, text in enumerate(fields[::3]):
        if text:
            if "<use" in text or not _is_whole(text):
                raise _InseparableError
            moves = "".join(f'<g transform="{move}">' for move in place[1::2] if move)
            yield _Piece(
                (*place, str(number), *slots), moves + text + "</g>" * moves.count("<g")
            )
        if number < len(inside):
            move, name = fields[3 * number + 1] or "", inside[number]
            if name not in parts:
                raise _InseparableError
            yield from _flatten(parts[name], parts, (*place, name, move))


@lru_cache(maxsize=4096)
def _is_whole(markup: str) -> bool:
    """Whether some SVG closes all that it opens."""
    try:
        ET.fromstring(f"<g>{markup}</g>")
    except ET.ParseError:
        return False
    return True


@lru_cache(maxsize=1024)
def _levels(colour: str) -> np.ndarray:
    """A colour "#rrggbb" as three levels, float32 (3, 1, 1)."""
    levels = np.frombuffer(bytes.fromhex(colour[1:7]), np.uint8)
    return levels.astype(np.float32)[:, None, None]
