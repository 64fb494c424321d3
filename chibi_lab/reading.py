"""What others may have written is held against a schema before it is believed."""

import re
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationError
from pydantic_core import from_json

from chibi_lab.errors import ChibiError
from chibi_lab.files import read

# No "32" or 32.0 for 32, no infinity.
STRICT = ConfigDict(strict=True, allow_inf_nan=False)
_WORDS = {
    "Input should be": "it must be",
    "String should have": "it must have",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "above",
    "less than": "below",
    "valid integer": "whole number",
    "valid ": "",
}


@contextmanager
def checked(name: str = "") -> Iterator[None]:
    """Turn the first complaint of pydantic into one line that names the field.

    Args:
        name: Name of what is checked, if it is a single field.
    """
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join([name, *map(str, first["loc"])]).strip(".") or "the whole"
        if first["type"] == "missing":
            raise ChibiError(f"{field} is missing") from None
        right = re.sub(r" or instance of \w+", "", first["msg"])
        for word, plain in _WORDS.items():
            right = right.replace(word, plain)
        raise ChibiError(f"{field} is {_shown(first['input'])}: {right}") from None


def read_json(path: Path, limit: int, *, links: bool = False) -> Any:
    """What a regular file holds as JSON, without NaN and infinities.

    Args:
        path: The file.
        limit: Its largest size in bytes.
        links: Whether it may be a link to the file.
    """
    try:
        return from_json(read(path, limit, links=links), allow_inf_nan=False)
    except ChibiError:
        raise
    except ValueError as error:
        raise ChibiError(f"{path} cannot be read as JSON: {error}") from error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the name of a file before what is wrong with its content."""
    try:
        yield
    except ChibiError as error:
        raise ChibiError(f"{path}: {error}") from error


def _shown(value: object) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:  # more digits than Python writes out
        return "a very large number"
