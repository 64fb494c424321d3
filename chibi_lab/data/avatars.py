"""Avatars drawn by artists: a style, a palette and a seed give a picture and its attributes.

DiceBear turns a seed into an SVG and says which parts and colours it chose; those are the
attributes. resvg turns the SVG into pixels. Both are deterministic, so a data set needs no
download: it is a style, a palette, a size and a range of seeds.
"""

from __future__ import annotations

import importlib.util
import io
import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from PIL import Image

from chibi_lab.data.schema import AttributeSchema
from chibi_lab.data.styles import definition, dicebear, drawing, palette_colors
from chibi_lab.errors import ChibiError

NONE = "none"
"""The value of an attribute that an avatar does not have."""

_LEADING = ("hair", "hair_color", "skin_color", "eyes", "eyebrows", "mouth")
_SIZES = range(8, 1025)
_FONT = "DejaVu Sans"


def avatar_svg(
    style: str, seed: int, palette: str = "pastel"
) -> tuple[str, dict[str, str]]:
    """Draw one avatar as vector graphics.

    Args:
        style: One of `style_names()`.
        seed: Any integer from 0; the same seed gives the same avatar.
        palette: One of `PALETTES`.

    Returns:
        The SVG, its background filled, and the value of every attribute of
        `attribute_schema(style, palette)`.

    Raises:
        ChibiError: If style or palette is unknown, or the seed is negative.
    """
    options = seed_options(style, seed)
    for group, colors in palette_colors(style, palette).items():
        options[f"{group}Color"] = [color for _, color in colors]
    drawn = dicebear().Avatar(drawing(style), options).to_json()
    return drawn["svg"], attributes_of(drawn["options"], style, palette)


def seed_options(style: str, seed: int) -> dict[str, Any]:
    """What DiceBear has to be told in any colours.

    Raises:
        ChibiError: If the seed is negative.
    """
    if seed < 0:
        raise ChibiError(f"a seed is at least 0, not {seed}")
    return {"seed": _seed_text(style, seed), "fontFamily": _FONT}


def oversampling(size: int) -> int:
    """How many times larger an avatar is drawn before it is averaged down (a box filter).

    That comes closer to a perfect picture than resvg's own anti-aliasing: 43 instead of 34 dB at
    64 px with twice the size. Below 64 px one pixel covers more of the drawing, and rendering is
    cheap: four times there.
    """
    return 2 if size >= 64 else 4


def check_size(size: int) -> None:
    """Accept the sizes that can be rendered.

    Raises:
        ChibiError: If `size` is not a whole number of pixels from 8 to 1024.
    """
    if not isinstance(size, int | np.integer) or size not in _SIZES:
        raise ChibiError(f"size must be {_SIZES[0]} to {_SIZES[-1]} pixels, not {size}")


@lru_cache
def attribute_schema(style: str, palette: str = "pastel") -> AttributeSchema:
    """Which attributes the avatars of a style have, and which values those can take.

    A column is a part ("hair": which drawing of hair) or a colour ("hair_color"). "none" is a
    value, the first, wherever the part or colour can be absent. What never varies is no column;
    nor is what varies continuously (positions, angles, scales), which some styles have.

    Raises:
        ChibiError: If style or palette is unknown.
    """
    always, ever = _drawn(definition(style)["canvas"]["elements"], definition(style))
    always, ever = always | {"backgroundColor"}, ever | {"backgroundColor"}
    columns: dict[str, tuple[str, ...]] = {}
    for name, component in drawing(style).components().items():
        weights = {
            key: variant.weight() for key, variant in component.variants().items()
        }
        # DiceBear never draws a variant of weight 0, unless all have it.
        columns[f"{name}Variant"] = tuple(
            key
            for key, weight in weights.items()
            if weight or not any(weights.values())
        )
    for name in dict.fromkeys([*drawing(style).colors(), "background"]):
        labels = _color_labels(style, palette).get(name, {})
        colors = dict.fromkeys(_possible_colors(name, style, palette))
        columns[f"{name}Color"] = tuple(labels.get(color, color) for color in colors)
    named = {}
    for option, values in columns.items():
        # A part's only colour is no choice: it is there whenever the part is.
        if option not in ever or (option.endswith("Color") and len(values) == 1):
            continue
        if option not in always or NONE in values:
            values = (NONE, *(value for value in values if value != NONE))
        if len(values) > 1:
            named[_column(option)] = values
    ordered = sorted(named, key=_rank)
    return AttributeSchema(tuple(ordered), tuple(named[name] for name in ordered))


def attributes_of(
    options: Mapping[str, Any], style: str, palette: str
) -> dict[str, str]:
    """Put what DiceBear resolved into the words of the schema."""
    labels = _color_labels(style, palette)
    found = {}
    for option, value in options.items():
        if option.endswith("Variant"):
            found[_column(option)] = value
        elif option.endswith("Color") and value:
            # A list of gradient stops; fills are solid here, so it has one entry.
            group = labels.get(option.removesuffix("Color"), {})
            found[_column(option)] = group.get(value[0], value[0])
    return {
        name: found.get(name, NONE) for name in attribute_schema(style, palette).names
    }


@lru_cache
def _color_labels(style: str, palette: str) -> dict[str, dict[str, str]]:
    """Label by colour for each group that the palette changes."""
    changed = palette_colors(style, palette)
    return {
        group: {color: label for label, color in pairs}
        for group, pairs in changed.items()
    }


def _possible_colors(name: str, style: str, palette: str) -> list[str]:
    """The colours that DiceBear may choose for a group."""
    group = drawing(style).colors().get(name)
    changed = palette_colors(style, palette).get(name)
    if changed is not None:
        candidates = [color for _, color in changed]
    else:
        candidates = (
            [dicebear().Color.to_hex(c) for c in group.values()] if group else []
        )
    if group is None or group.contrast_to() is None or group.not_equal_to():
        return candidates
    # Not drawn by lot: the one that stands out most from another group's colour.
    against = _possible_colors(group.contrast_to(), style, palette)
    by_contrast = dicebear().Color.sort_by_contrast
    best = {by_contrast(candidates, other)[0] for other in against}
    return [color for color in candidates if color in best] or candidates


def _column(option: str) -> str:
    """DiceBear's option name as a column name: "hairVariant" is hair, "hairColor" hair_color."""
    return re.sub(r"(?=[A-Z])", "_", option.removesuffix("Variant")).lower()


def _rank(name: str) -> int:
    """What one looks at first comes first, the background last."""
    if name == "background_color":
        return len(_LEADING) + 1
    return _LEADING.index(name) if name in _LEADING else len(_LEADING)


def _drawn(node: Any, style: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """Which options every drawing of a piece of a style uses, and which at least one does.

    A style is a tree of SVG elements, some of which stand for a part ("component", in one of
    several variants, itself such a tree) or for a colour.
    """
    if isinstance(node, list):
        pieces = [_drawn(piece, style) for piece in node]
        return _union(always for always, _ in pieces), _union(
            ever for _, ever in pieces
        )
    if not isinstance(node, dict):
        return set(), set()
    if node.get("type") == "color":
        color = style["colors"].get(node["name"], {})
        # To choose a colour, DiceBear first chooses those that it must differ from.
        others = [
            *color.get("notEqualTo", []),
            *filter(None, [color.get("contrastTo")]),
        ]
        always, ever = _drawn(
            [{"type": "color", "name": other} for other in others], style
        )
        return always | {f"{node['name']}Color"}, ever | {f"{node['name']}Color"}
    if node.get("type") == "component":
        return _drawn_component(node["name"], style)
    return _drawn(list(node.values()), style)


def _drawn_component(name: str, style: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    component = style["components"][name]
    component = style["components"][component.get("extends", name)]
    variants = [v for v in component["variants"].values() if v.get("weight", 1)]
    pieces = [_drawn(variant["elements"], style) for variant in variants]
    ever = _union(ever for _, ever in pieces) | {f"{name}Variant"}
    if component.get("probability", 100) < 100:
        return set(), ever
    return set.intersection(*(always for always, _ in pieces)) | {
        f"{name}Variant"
    }, ever


def _union(sets: Iterable[set[str]]) -> set[str]:
    return set().union(*sets)


def _seed_text(style: str, seed: int) -> str:
    """The seed as DiceBear takes it: text."""
    if not _has_letters(style):
        return str(seed)
    # Styles of initials show the first letters of the seed, so here it needs some: base 26.
    letters = ""
    while not letters or seed:
        seed, letter = divmod(seed, 26)
        letters += chr(ord("A") + letter)
    return letters


@lru_cache
def _has_letters(style: str) -> bool:
    return '"type": "variable"' in json.dumps(definition(style)["components"])


def rasterise(svg: str, size: int, factor: int) -> np.ndarray:
    """SVG to pixels, drawn larger and averaged down: uint8 (size, size, 3)."""
    # The fonts of the machine would make the same seed look different elsewhere; a style made of
    # letters gets one font that always comes with matplotlib.
    fonts = [_font_file()] if "<text" in svg else None
    png = resvg_py.svg_to_bytes(
        svg_string=svg,
        width=size * factor,
        height=size * factor,
        background="#ffffff",
        skip_system_fonts=True,
        font_files=fonts,
    )
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB").reduce(factor))


@lru_cache
def _font_file() -> str:
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ChibiError(
            "this style is made of letters and needs matplotlib's font: install it"
        )
    return str(
        Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    )
