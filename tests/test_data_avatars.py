import io
import re

import numpy as np
import pytest
import resvg_py
from PIL import Image

from chibi_lab.data import (
    PALETTES,
    attribute_schema,
    avatar_svg,
    render_avatar,
    style_info,
    style_names,
)
from chibi_lab.errors import ChibiError


def rgb(color: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(color.removeprefix("#")))


def raster(svg: str, size: int) -> np.ndarray:
    png = resvg_py.svg_to_bytes(
        svg_string=svg, width=size, height=size, skip_system_fonts=True
    )
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.float64)


# --- every style


@pytest.mark.parametrize("style", style_names())
def test_every_style_draws_pictures_whose_labels_fit_its_schema(style: str) -> None:
    for palette in PALETTES:
        schema = attribute_schema(style, palette)
        assert len(schema) >= 1
        assert all(len(values) >= 2 for values in schema.values)
        assert all("none" not in values[1:] for values in schema.values), (
            "none comes first"
        )
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in schema.names)
        for seed in range(12):
            _, attributes = avatar_svg(style, seed, palette)
            assert schema.decode(schema.encode(attributes)) == attributes

    pictures = [render_avatar(style, seed, 16)[0] for seed in (0, 1, 2)]
    for picture in pictures:
        assert picture.shape == (16, 16, 3)
        assert picture.dtype == np.uint8
        assert picture.std() > 1, "an empty picture"
    assert len({picture.tobytes() for picture in pictures}) == 3, (
        "the seed changes nothing"
    )


@pytest.mark.parametrize("style", style_names())
def test_every_style_names_its_author_and_licence(style: str) -> None:
    info = style_info(style)
    assert info.name == style
    assert all(
        [info.title, info.author, info.licence, info.author_url, info.licence_url]
    )
    assert info.author in info.credit
    assert info.licence in info.credit
    assert info.source_url in info.credit
    assert "\n" not in info.credit


def test_adventurer_is_credited_to_its_artist() -> None:
    info = style_info("adventurer")
    assert (info.author, info.licence) == ("Lisa Wischofsky", "CC BY 4.0")
    assert info.licence_url == "https://creativecommons.org/licenses/by/4.0/"
    assert "“Adventurer”" in info.credit


def test_a_style_in_the_public_domain_says_so() -> None:
    assert style_info("lorelei").licence == "CC0 1.0"


# --- seeds and sizes


def test_the_same_seed_gives_the_same_bytes_and_labels() -> None:
    first, second = (
        render_avatar("adventurer", 7, 64),
        render_avatar("adventurer", 7, 64),
    )
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1] == second[1]
    assert first[1] != render_avatar("adventurer", 8, 64)[1]


@pytest.mark.parametrize("size", [8, 33, 64, 96])
def test_any_square_size_is_the_same_avatar(size: int) -> None:
    picture, attributes = render_avatar("adventurer", 3, size)
    assert picture.shape == (size, size, 3)
    assert attributes == render_avatar("adventurer", 3, 32)[1]


@pytest.mark.parametrize("size", [32, 64])
def test_rendering_is_closer_to_the_drawing_than_the_renderers_own_smoothing(
    size: int,
) -> None:
    svg, _ = avatar_svg("adventurer", 5)
    perfect = raster(svg, size * 16).reshape(size, 16, size, 16, 3).mean(axis=(1, 3))
    ours = render_avatar("adventurer", 5, size)[0].astype(np.float64)
    direct = raster(svg, size)
    assert ((ours - perfect) ** 2).mean() < 0.5 * ((direct - perfect) ** 2).mean()


@pytest.mark.parametrize("size", [0, 7, 1025, 64.0, "64"])
def test_a_size_that_cannot_be_drawn_is_refused(size: int) -> None:
    with pytest.raises(ChibiError, match="8 to 1024"):
        render_avatar("adventurer", 0, size)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ChibiError, match="seed"):
        render_avatar("adventurer", -1)


# --- labels


def test_the_labels_say_what_is_drawn() -> None:
    hair_colors = dict(PALETTES["pastel"].colors["hair"])
    backgrounds = dict(PALETTES["pastel"].colors["background"])
    glasses = set()
    for seed in range(40):
        svg, attributes = avatar_svg("adventurer", seed)
        # DiceBear names the drawing of every part in the SVG itself.
        for part in ("hair", "eyes", "eyebrows", "mouth"):
            assert f'id="{part}-{attributes[part]}-' in svg
        assert ('id="glasses-' in svg) == (attributes["glasses"] != "none")
        if attributes["hair_color"] != "none":
            assert hair_colors[attributes["hair_color"]] in svg
        assert backgrounds[attributes["background_color"]] in svg
        glasses.add(attributes["glasses"])
    assert "none" in glasses and len(glasses) > 1


def test_the_background_is_the_colour_that_its_label_names() -> None:
    backgrounds = dict(PALETTES["pastel"].colors["background"])
    for seed in range(10):
        picture, attributes = render_avatar("adventurer", seed, 64)
        assert tuple(picture[0, 0]) == rgb(backgrounds[attributes["background_color"]])


def test_the_schema_of_the_books_style() -> None:
    schema = attribute_schema("adventurer")
    assert schema.names[:3] == ("hair", "hair_color", "skin_color")
    assert schema.names[-1] == "background_color"
    assert set(schema.names) == {
        *("hair", "hair_color", "skin_color", "eyes", "eyebrows", "mouth"),
        *("glasses", "earrings", "details", "background_color"),
    }
    assert schema.count("hair") == 45
    for optional in ("glasses", "earrings", "details", "hair_color"):
        assert schema.values[schema.index(optional)][0] == "none"
    for always in ("hair", "skin_color", "eyes", "background_color"):
        assert "none" not in schema.values[schema.index(always)]


def test_every_value_of_the_books_schema_is_drawn_sooner_or_later() -> None:
    schema = attribute_schema("adventurer")
    seen = [set() for _ in schema.names]
    for seed in range(600):
        for values, value in zip(
            seen, avatar_svg("adventurer", seed)[1].values(), strict=True
        ):
            values.add(value)
    assert [len(values) for values in seen] == [len(values) for values in schema.values]


def test_what_never_varies_is_no_attribute() -> None:
    # adventurer has one head, one colour of eyes and of ink; blobs takes white or black,
    # whichever stands out from the background, and with these backgrounds that is white.
    assert not {"head", "eyes_color", "ink_color"} & set(
        attribute_schema("adventurer").names
    )
    assert "blob_color" not in attribute_schema("blobs", "original").names
    assert "animation" not in attribute_schema("blobs").names


# --- palettes


def test_the_palette_changes_colours_and_nothing_else() -> None:
    pastel, original = (
        avatar_svg("adventurer", 4)[1],
        avatar_svg("adventurer", 4, "original")[1],
    )
    same = set(pastel) & set(original) - {"hair_color", "skin_color"}
    assert {name: pastel[name] for name in same} == {
        name: original[name] for name in same
    }
    assert original["hair_color"].startswith("#")
    assert "background_color" not in original, "white does not vary"


def test_there_is_always_a_background() -> None:
    assert tuple(render_avatar("adventurer", 0, 32, "original")[0][0, 0]) == (
        255,
        255,
        255,
    )


def test_a_style_keeps_a_background_of_its_own() -> None:
    night = render_avatar("constellation", 0, 32)[0]
    assert night.mean() < 80, "white stars need a dark sky"
    assert "rose" not in attribute_schema("constellation").values[-1]


def test_palette_colours_are_distinct() -> None:
    for colors in PALETTES["pastel"].colors.values():
        labels, shades = zip(*colors, strict=True)
        assert len(set(labels)) == len(set(shades)) == len(colors)
        values = np.array([rgb(shade) for shade in shades], dtype=np.float64)
        distances = np.linalg.norm(values[:, None] - values[None], axis=-1)
        assert distances[distances > 0].min() > 15


# --- mistakes


def test_a_mistyped_style_is_answered_with_the_right_one() -> None:
    with pytest.raises(ChibiError, match=r"'adventurr'.*adventurer"):
        render_avatar("adventurr", 0)
    with pytest.raises(ChibiError):
        style_info("../adventurer")


def test_an_unknown_palette_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ChibiError, match="pastel, original"):
        attribute_schema("adventurer", "neon")
