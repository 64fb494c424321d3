"""A drawing of DiceBear taken apart into the pieces that are painted one over the other."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

_BACKGROUND = re.compile(
    r'(<g clip-path="[^"]*">)<rect width="[^"]*" height="[^"]*" fill="(#[0-9a-f]{6})"/>'
)
_PART = re.compile(r'<g id="([^"]+)-[0-9a-f]{8}">')
_USE = re.compile(r'<use(?: transform="([^"]*)")? href="#([^"]+)-[0-9a-f]{8}"/>')


class InseparableError(Exception):
    """This avatar is not a stack of parts."""


@dataclass(frozen=True)
class Piece:
    """A stretch of a part that is painted at once.

    Attributes:
        key: The same for the same drawing in every avatar, whatever its colours.
        markup: Its SVG, within groups that place it.
    """

    key: tuple[str, ...]
    markup: str


@dataclass(frozen=True)
class Document:
    """A drawing of DiceBear, taken apart.

    Attributes:
        before: SVG from the beginning to the background: what belongs around every piece.
        background: Its colour, "#rrggbb".
        pieces: In the order in which they are painted.
    """

    before: str
    background: str
    pieces: list[Piece]


def take_apart(svg: str) -> Document:
    """Take a drawing apart.

    Raises:
        InseparableError: If it is not a background and a list of parts.
    """
    start, end = svg.find("<defs>"), svg.find("</defs>")
    background = _BACKGROUND.match(svg, end + len("</defs>"))
    clip = svg.rfind("<clipPath", start, end)
    if min(start, clip) < 0 or background is None or "url(" in svg[start:end]:
        raise InseparableError
    fields = _PART.split(svg[start + len("<defs>") : clip])[1:]
    texts = (text.removesuffix("</g>") for text in fields[1::2])
    parts = dict(zip(fields[::2], texts, strict=True))
    head = svg[: svg.index(">") + 1]
    body = svg[background.end() :].removesuffix("</g></svg>")
    return Document(
        f"{head}<defs>{svg[clip:end]}</defs>{background[1]}",
        background[2],
        list(_flatten(body, parts, ())),
    )


def _flatten(
    markup: str, parts: dict[str, str], place: tuple[str, ...]
) -> Iterator[Piece]:
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
                raise InseparableError
            moves = "".join(f'<g transform="{move}">' for move in place[1::2] if move)
            yield Piece(
                (*place, str(number), *slots), moves + text + "</g>" * moves.count("<g")
            )
        if number < len(inside):
            move, name = fields[3 * number + 1] or "", inside[number]
            if name not in parts:
                raise InseparableError
            yield from _flatten(parts[name], parts, (*place, name, move))


@lru_cache(maxsize=4096)
def _is_whole(markup: str) -> bool:
    """Whether some SVG closes all that it opens."""
    try:
        ET.fromstring(f"<g>{markup}</g>")
    except ET.ParseError:
        return False
    return True
