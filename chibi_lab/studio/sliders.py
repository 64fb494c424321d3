"""Sliders that mean something: an attribute runs through its values in a visible order."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from chibi_lab.errors import ChibiError
from chibi_lab.studio.painter import Painter, Recipe

RULED = 1  # a value that is seen with one value of another attribute, no more
HELD = 0.05  # share from which on a recipe holds a value
VISIBLE = 0.25  # of the range of 2: a pixel that differs by more belongs to the part


@dataclass(frozen=True)
class Slider:
    """An attribute and the values that it runs through.

    Attributes:
        label: What a person reads, such as "longer hair".
        name: The attribute.
        stops: At least two of its values, from the left end to the right.
        smooth: Whether there is something between two stops, as there is between two colours but
            not between two styles of hair.
    """

    label: str
    name: str
    stops: tuple[str, ...]
    smooth: bool = False


def sliders(painter: Painter) -> list[Slider]:
    """The sliders of a painter: those below whose attributes and values it knows.

    Skin runs from light to dark and from cool to warm by its colour as drawn, hair from short to
    long and the mouth from closed to wide by the area that they take. A value that dictates
    another attribute is left out, as the shorn head that has no colour of hair. Glasses run from
    none to rather thin ones, earrings from none to those that show most.

    Args:
        painter: Knows the attributes of the book's avatars, or some of them.

    Returns:
        The sliders, in the order in which a person sees them.
    """
    found = []
    for label, name, order in (
        ("darker skin", "skin_color", _lightness),
        ("longer hair", "hair", _area),
        ("wider mouth", "mouth", _area),
    ):
        if name in painter.schema.names:
            column = painter.schema.index(name)
            values = np.array(painter.schema.values[column])
            ranked = np.argsort(order(painter, name), kind="stable")
            free = ranked[painter.companions(name)[ranked] > RULED]
            stops = tuple(map(str, values[free]))
            found.append(Slider(label, name, stops, smooth=name == "skin_color"))
    for name, rank in (("glasses", 0.25), ("earrings", 1.0)):
        if name in painter.schema.names:
            _, *values = painter.schema.values[painter.schema.index(name)]
            ranked = np.argsort(_size(painter, name), kind="stable")
            value = values[ranked[int(rank * (len(values) - 1))]]
            found.append(Slider(name, name, ("none", value)))
    return found


def slide(painter: Painter, recipe: Recipe, slider: Slider, place: float) -> Recipe:
    """A recipe with a slider at some place, and all else as it was.

    Between two stops the attribute is a mixture of both if the slider is smooth, else the nearer.

    Args:
        painter: Whose recipe it is.
        recipe: Where to start.
        slider: One of its sliders.
        place: From 0, the left end, to 1, the right.

    Returns:
        The new recipe.

    Raises:
        ChibiError: If the place is not from 0 to 1.
    """
    _check_place(place)
    where = place * (len(slider.stops) - 1)
    stop, between = divmod(where if slider.smooth else round(where), 1)
    left = painter.with_value(recipe, slider.name, slider.stops[int(stop)])
    if not between:
        return left
    return painter.with_value(left, slider.name, slider.stops[int(stop) + 1], between)


def place_on(painter: Painter, recipe: Recipe, slider: Slider) -> float:
    """Where a slider stands for a recipe.

    Args:
        painter: Whose recipe it is.
        recipe: Any.
        slider: One of the painter's sliders.

    Returns:
        From 0 to 1, the mean of the stops that the recipe holds. If it holds none of them, 1 where
        the left end is "none", such as for glasses of another kind, and the middle elsewhere.
    """
    column = painter.schema.index(slider.name)
    values = painter.schema.values[column]
    shares = recipe.shares.split(tuple(map(len, painter.schema.values)))[column]
    held = torch.stack([shares[values.index(stop)] for stop in slider.stops])
    if held.sum() < HELD:
        return 1.0 if slider.stops[0] == "none" else 0.5
    places = torch.linspace(0, 1, len(slider.stops))
    return float((held * places).sum() / held.sum())


def fits(painter: Painter, recipe: Recipe, slider: Slider, place: float) -> bool:
    """Whether the model ever saw what a slider asks for together with the rest of a recipe.

    If not, as with earrings under hair that covers the ears, the slider moves nothing or too much.

    Args:
        painter: Whose recipe it is.
        recipe: Where to start.
        slider: One of its sliders.
        place: From 0, the left end, to 1, the right.

    Returns:
        Whether the nearest stop was seen with each of the other values.

    Raises:
        ChibiError: If the place is not from 0 to 1.
    """
    _check_place(place)
    value = slider.stops[round(place * (len(slider.stops) - 1))]
    return painter.was_seen(painter.with_value(recipe, slider.name, value))


def mix(first: Recipe, second: Recipe, much: float) -> Recipe:
    """A recipe on the way from one to another.

    Args:
        first: The recipe at 0.
        second: The recipe at 1, of the same painter.
        much: How far to go, from 0 to 1.

    Returns:
        The recipe in between: latent and shares mixed alike.
    """
    z = torch.lerp(first.z, second.z, much)
    return replace(first, z=z, shares=torch.lerp(first.shares, second.shares, much))


def _check_place(place: float) -> None:
    if not 0 <= place <= 1:
        raise ChibiError(f"place is {place}: it must be from 0 to 1")


def each_value(painter: Painter, name: str) -> Tensor:
    """One avatar with each value of an attribute.

    Args:
        painter: Draws it.
        name: The attribute.

    Returns:
        (values, 3, H, W) in [-1, 1].

    Raises:
        ChibiError: If there is no such attribute.
    """
    column = painter.schema.index(name)
    (recipe,), _ = painter.compose({}, seed=0, count=1)
    values = painter.schema.values[column]
    return painter.draw([painter.with_value(recipe, name, value) for value in values])


def _lightness(painter: Painter, name: str) -> np.ndarray:
    """How dark each value makes the picture."""
    return -each_value(painter, name).mean((1, 2, 3)).numpy()


def _area(painter: Painter, name: str) -> np.ndarray:
    """How many pixels each value takes: those that differ from what most values leave there."""
    drawn = each_value(painter, name)
    ground = drawn.median(0).values
    return ((drawn - ground).abs().amax(1) > VISIBLE).sum((1, 2)).numpy()


def _size(painter: Painter, name: str) -> np.ndarray:
    """How many pixels each value but the first, none, takes."""
    bare, *others = each_value(painter, name)
    changed = (torch.stack(others) - bare).abs().amax(1) > VISIBLE
    return changed.sum((1, 2)).numpy()
