"""Animations: recipes that follow one another and come back to where they began."""

import math
from collections.abc import Sequence

from chibi_lab.errors import ChibiError
from chibi_lab.studio.painter import Painter, Recipe
from chibi_lab.studio.sliders import mix

CLOSED = "variant20"  # of the eyes of Adventurer: both lids are down
MOST_FRAMES = 240  # at 512 pixels they take a gigabyte
LIDS = (0.5, 1.0, 1.0, 0.5)  # how far they are closed in the frames of a blink


def blink(painter: Painter, recipe: Recipe, frames: int) -> list[Recipe]:
    """The eyes are open, close once, and are open again.

    Args:
        painter: Whose recipe it is.
        recipe: The face.
        frames: How many in all, at least 6.

    Returns:
        The recipes, the first of them the face itself.

    Raises:
        ChibiError: If there are fewer frames or more than 240, or the painter knows no closed
            eyes.
    """
    if not len(LIDS) + 2 <= frames <= MOST_FRAMES:
        raise ChibiError(
            f"frames is {frames}: a blink takes {len(LIDS) + 2} to {MOST_FRAMES}"
        )
    closing = [painter.with_value(recipe, "eyes", CLOSED, much) for much in LIDS]
    before = (frames - len(LIDS)) // 2
    after = frames - len(LIDS) - before
    return [recipe] * before + closing + [recipe] * after


def turn(stops: Sequence[Recipe], frames: int) -> list[Recipe]:
    r"""A closed walk from face to face, slow at each of them.

    On the way from one stop to the next the share of the next is
    :math:`(1 - \cos \pi t) / 2`.

    Args:
        stops: Two or more recipes of one painter.
        frames: How many in all, at least one for each stop.

    Returns:
        The recipes, the first of them the first stop; after the last comes the first again.

    Raises:
        ChibiError: If there are fewer stops or frames, or more than 240 frames.
    """
    if len(stops) < 2:
        raise ChibiError("a turn takes two faces or more")
    if not len(stops) <= frames <= MOST_FRAMES:
        raise ChibiError(
            f"frames is {frames}: {len(stops)} faces take {len(stops)} to {MOST_FRAMES}"
        )
    walk = []
    for frame in range(frames):
        place, t = divmod(frame * len(stops) / frames, 1)
        here, there = stops[int(place)], stops[(int(place) + 1) % len(stops)]
        walk.append(mix(here, there, (1 - math.cos(math.pi * t)) / 2))
    return walk
