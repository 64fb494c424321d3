"""The styles avatars can be drawn in, their authors and licences, and the palettes."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

from chibi_lab.errors import ChibiError

if TYPE_CHECKING:
    from dicebear import Style


@dataclass(frozen=True)
class Palette:
    """Colours to draw with.

    Attributes:
        name: How the palette is asked for.
        colors: For a colour group of DiceBear ("hair", "skin", "background") the colours to choose
            from, each a pair (label, "#rrggbb"). A group that is not named here keeps the
            artist's colours; a group that a style does not have is ignored. "background" is for
            styles that have none of their own.
    """

    name: str
    colors: Mapping[str, tuple[tuple[str, str], ...]]


PALETTES: Mapping[str, Palette] = MappingProxyType(
    {
        "pastel": Palette(
            "pastel",
            {
                "hair": (
                    ("pink", "#f8a1c4"),
                    ("coral", "#f58a72"),
                    ("butter", "#f5da78"),
                    ("mint", "#8ad8b6"),
                    ("sky", "#8cc4f2"),
                    ("lilac", "#b79eea"),
                    ("cocoa", "#5f433a"),
                    ("indigo", "#545a96"),
                ),
                "skin": (
                    ("porcelain", "#ffe3d3"),
                    ("peach", "#f8c9a4"),
                    ("honey", "#e3a877"),
                    ("caramel", "#bf8457"),
                    ("chestnut", "#91603f"),
                ),
                "background": (
                    ("rose", "#ffdfe9"),
                    ("cream", "#fff1cc"),
                    ("mint", "#d8f3e4"),
                    ("sky", "#d9edfd"),
                    ("lavender", "#e5ddfa"),
                ),
            },
        ),
        "original": Palette("original", {}),
    }
)
"""The palettes by name: "pastel", the book's own, and "original", the artist's colours."""


@dataclass(frozen=True)
class StyleInfo:
    """A style, who drew it, and under which licence it may be shown.

    Attributes:
        name: How the style is asked for, for example "adventurer".
        title: The name of the original work.
        author: Who drew it.
        author_url: The author's page.
        licence: Name of the licence, for example "CC BY 4.0".
        licence_url: Its text.
        source_url: Where the original work is.
        credit: One line to stand wherever pictures of this style are shown.
    """

    name: str
    title: str
    author: str
    author_url: str
    licence: str
    licence_url: str
    source_url: str
    credit: str


def style_names() -> tuple[str, ...]:
    """Names of all styles that can be drawn, in alphabetical order."""
    folder = files("dicebear_styles")
    return tuple(
        sorted(
            file.name[:-5] for file in folder.iterdir() if file.name.endswith(".json")
        )
    )


@lru_cache
def style_info(style: str) -> StyleInfo:
    """Who drew a style, and under which licence.

    Raises:
        ChibiError: If there is no such style; the message names similar ones.
    """
    meta = definition(style)["meta"]
    title, author = meta["source"]["name"], meta["creator"]["name"]
    licence = meta["license"]["name"].rstrip(".")
    # DiceBear's form, and its word "remix" where it changed the original drawings. Its own
    # sentence is not always one: for some styles it is the whole licence.
    remix = "Remix of " if meta["license"]["text"].startswith("Remix") else ""
    credit = (
        f"{remix}“{title}” ({meta['source']['url']}) by {author}, "
        f"licensed under {licence} ({meta['license']['url']}). Rendered with DiceBear."
    )
    return StyleInfo(
        name=style,
        title=title,
        author=author,
        author_url=meta["creator"]["url"],
        licence=licence,
        licence_url=meta["license"]["url"],
        source_url=meta["source"]["url"],
        credit=credit,
    )


def palette_colors(style: str, palette: str) -> dict[str, tuple[tuple[str, str], ...]]:
    """What a palette changes in a style: colours by colour group, each a pair (label, "#rrggbb").

    Every style gets a background: its own where it has one, since its figure is made for it, then
    the palette's, then white.

    Raises:
        ChibiError: If style or palette is unknown.
    """
    if palette not in PALETTES:
        raise ChibiError(
            f"no palette {palette!r}; the palettes are: {', '.join(PALETTES)}"
        )
    own = definition(style).get("colors", {})
    changed = {
        group: colors
        for group, colors in PALETTES[palette].colors.items()
        if group in own and group != "background"
    }
    if "background" not in own:
        white = (("white", "#ffffff"),)
        changed["background"] = PALETTES[palette].colors.get("background", white)
    return changed


@lru_cache
def definition(style: str) -> dict[str, Any]:
    """The style as DiceBear stores it; to be read, never changed.

    Raises:
        ChibiError: If there is no such style; the message names similar ones.
    """
    if style not in style_names():
        close = difflib.get_close_matches(style, style_names(), n=3)
        known = (
            f"did you mean {' or '.join(close)}?" if close else ", ".join(style_names())
        )
        raise ChibiError(f"no style {style!r}; {known}")
    return json.loads(
        (files("dicebear_styles") / f"{style}.json").read_text(encoding="utf-8")
    )


@lru_cache
def drawing(style: str) -> Style:
    """The style ready to draw; checking it takes DiceBear up to half a second, so once."""
    return dicebear().Style(definition(style))


def dicebear() -> ModuleType:
    """The library that draws. Its import takes a second, which cached avatars do without."""
    import dicebear

    return dicebear
