"""Avatars put together of parts look like avatars drawn as a whole."""

import numpy as np
import pytest

from chibi_lab.data import (
    attribute_schema,
    avatar_svg,
    layers,
    render_avatar,
)
from chibi_lab.data.avatars import oversampling, rasterise
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
    composed = [render_avatar(style, seed, size, palette)[0] for seed in seeds]
    svgs = [avatar_svg(style, seed, palette)[0] for seed in seeds]
    drawn = [rasterise(svg, size, oversampling(size)) for svg in svgs]
    return np.stack(composed).astype(int), np.stack(drawn).astype(int)


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


# One that is always composed, one in part, one never.
@pytest.mark.parametrize("style", ["adventurer", "toon-head", "landscape"])
def test_a_seed_has_the_same_bytes_however_it_is_drawn(style: str) -> None:
    layers._composer.cache_clear()
    many, _ = render_avatars(style, range(12), 32, "pastel")
    for seed in (11, 4):
        layers._composer.cache_clear()
        assert np.array_equal(render_avatar(style, seed, 32)[0], many[seed])
    backwards, _ = render_avatars(style, range(11, -1, -1), 32, "pastel")
    assert np.array_equal(many, backwards[::-1])


def test_the_attributes_are_those_of_the_avatar_drawn_as_a_whole() -> None:
    for seed in range(40):
        attributes = render_avatar("adventurer", seed, 32)[1]
        assert attributes == avatar_svg("adventurer", seed)[1]


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
