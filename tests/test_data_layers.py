"""Avatars put together of parts look like avatars drawn as a whole."""

from pathlib import Path

import numpy as np
import pytest

from chibi_lab.data import (
    attribute_schema,
    avatar_svg,
    layers,
    load_avatars,
    render_avatar,
    workers,
)
from chibi_lab.data.layers import render_avatars


def seeds_that_show_everything(style: str, palette: str) -> list[int]:
    """Seeds among whose avatars every value of every attribute is drawn."""
    schema = attribute_schema(style, palette)
    missing = {
        (name, value)
        for name, values in zip(schema.names, schema.values, strict=True)
        for value in values
    }
    found = []
    for seed in range(20_000):
        shown = set(avatar_svg(style, seed, palette)[1].items())
        if shown & missing:
            missing -= shown
            found.append(seed)
        if not missing:
            return found
    raise AssertionError(f"never drawn: {missing}")


def composed_and_drawn(
    style: str, seeds: list[int], size: int, palette: str
) -> tuple[np.ndarray, np.ndarray]:
    pairs = [
        [render_avatars(style, range(s, s + 1), size, palette, c)[0][0] for s in seeds]
        for c in (True, False)
    ]
    return np.stack(pairs[0]).astype(int), np.stack(pairs[1]).astype(int)


@pytest.mark.parametrize("palette", ["pastel", "original"])
def test_every_part_of_the_books_style_looks_as_if_drawn(palette: str) -> None:
    seeds = seeds_that_show_everything("adventurer", palette)
    composed, drawn = composed_and_drawn("adventurer", seeds, 64, palette)
    assert np.abs(composed - drawn).max() <= 2
    assert np.abs(composed - drawn).mean() < 0.1
    # And none was drawn as a whole, which would be no test.
    assert np.any(composed != drawn, axis=(1, 2, 3)).mean() > 0.9


@pytest.mark.parametrize("size", [32, 128])
def test_other_sizes_too(size: int) -> None:
    composed, drawn = composed_and_drawn("adventurer", list(range(12)), size, "pastel")
    assert np.abs(composed - drawn).max() <= 2


def test_the_order_of_the_seeds_changes_nothing() -> None:
    layers._composer.cache_clear()
    forwards, _ = render_avatars("adventurer", range(12), 64, "pastel", True)
    layers._composer.cache_clear()
    backwards, _ = render_avatars("adventurer", range(11, -1, -1), 64, "pastel", True)
    assert np.array_equal(forwards, backwards[::-1])


def test_the_attributes_are_those_of_the_avatar_drawn_as_a_whole() -> None:
    composed = render_avatars("adventurer", range(40), 32, "pastel", True)[1]
    drawn = render_avatars("adventurer", range(40), 32, "pastel", False)[1]
    assert np.array_equal(composed, drawn)


# Composed with masks, with styles of their own, on letters, with transforms that vary, in part.
@pytest.mark.parametrize(
    "style", ["avataaars", "lorelei", "toon-head", "fun-emoji", "micah", "initials"]
)
def test_other_styles_are_composed_or_drawn_but_never_guessed(style: str) -> None:
    composed, drawn = composed_and_drawn(style, list(range(20)), 64, "pastel")
    assert np.abs(composed - drawn).max() <= 4


def test_a_style_whose_parts_move_a_little_is_drawn_as_a_whole() -> None:
    composed, drawn = composed_and_drawn("landscape", [0, 1, 2], 64, "pastel")
    assert np.array_equal(composed, drawn)


def test_a_part_that_is_not_painted_over_the_rest_is_noticed() -> None:
    composer = layers._Composer("adventurer", "pastel", 64)
    before = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><g>'
    square = '<rect x="2" y="2" width="4" height="4" fill="#336699"'
    assert composer._layer(f"{square}/>", before) is not None
    burnt = f'{square} style="mix-blend-mode:color-burn"/>'
    assert composer._layer(burnt, before) is None


def test_only_large_sets_are_composed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "COMPOSED_FROM", 8)
    small = load_avatars(
        "adventurer", 32, range(7), cache=tmp_path, workers=1, progress=False
    )
    drawn = np.stack([render_avatar("adventurer", seed, 32)[0] for seed in range(7)])
    assert np.array_equal(small.images, drawn)
    large = load_avatars(
        "adventurer", 32, range(8), cache=tmp_path, workers=1, progress=False
    )
    composed, _ = render_avatars("adventurer", range(8), 32, "pastel", True)
    assert np.array_equal(large.images, composed)
