"""What a person does in the studio, with no widget in it: wish, start, shape, repair, go back."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from chibi_lab.errors import ChibiError
from chibi_lab.evaluation import Judge
from chibi_lab.studio.painter import Painter, Recipe, missed

MAX_CANDIDATES = 64
WITHIN = (
    0.9  # share of what an attribute changes that lies in the hole, for it to be free
)


@dataclass(frozen=True)
class Candidate:
    """One picture of a sheet.

    Attributes:
        painter: Name of the painter.
        recipe: What it was drawn from.
        image: (3, H, W) in [-1, 1].
        missed: Names of the attributes that were asked for and are read otherwise.
        steps: What was done, such as "hair_color=pink", "seed 1, candidate 3".
    """

    painter: str
    recipe: Recipe
    image: Tensor
    missed: tuple[str, ...]
    steps: tuple[str, ...]


class Session:
    """A person at work: sheets of candidates, and one of them on the table.

    Attributes:
        painters: Those who draw, by the name that a person sees.

    Args:
        painters: At least one, all with the attributes that the judge reads.
        judge: Says what a picture shows.

    Raises:
        ChibiError: If there is no painter.
    """

    def __init__(self, painters: Mapping[str, Painter], judge: Judge) -> None:
        if not painters:
            raise ChibiError("the studio needs at least one painter")
        self.painters, self._judge = dict(painters), judge
        self._done: list[Candidate] = []
        self._undone: list[Candidate] = []

    def sheet(
        self, wish: Mapping[str, str], seed: int, count: int
    ) -> dict[str, list[Candidate]]:
        """Candidates for a wish from every painter.

        Args:
            wish: The value of each attribute that is asked for.
            seed: Seed of the latents. Same wish and seed, same sheet.
            count: How many from each painter, 1 to 64.

        Returns:
            For each painter its candidates, in the order of the latents.

        Raises:
            ChibiError: If there is no such attribute or value, or seed or count is out of range.
        """
        if not 1 <= count <= MAX_CANDIDATES:
            raise ChibiError(f"count is {count}: it must be 1 to {MAX_CANDIDATES}")
        words = tuple(f"{name}={value}" for name, value in wish.items())
        sheets = {}
        for painter_name, painter in self.painters.items():
            recipes, _ = painter.compose(wish, seed, count)
            images = painter.draw(recipes)
            wrong = missed(painter.schema.ask(wish), self._judge.read(images))
            sheets[painter_name] = [
                Candidate(
                    painter_name,
                    recipe,
                    image,
                    tuple(painter.schema.names[a] for a in columns),
                    (*words, f"seed {seed}, candidate {place}"),
                )
                for place, (recipe, image, columns) in enumerate(
                    zip(recipes, images, wrong, strict=True), start=1
                )
            ]
        return sheets

    @property
    def current(self) -> Candidate:
        """The picture on the table.

        Raises:
            ChibiError: If nothing was chosen yet.
        """
        if not self._done:
            raise ChibiError("nothing is on the table yet: choose a candidate first")
        return self._done[-1]

    def put(self, candidate: Candidate) -> None:
        """Put a candidate on the table; what was there can be had back with :meth:`undo`."""
        self._done.append(candidate)
        self._undone.clear()

    def shape(self, recipe: Recipe, step: str) -> Candidate:
        """Put on the table what the current painter draws from a changed recipe.

        Args:
            recipe: The recipe.
            step: What was done to it, in a few words.

        Returns:
            The new picture.
        """
        image = self.painters[self.current.painter].draw([recipe])[0]
        changed = replace(
            self.current,
            recipe=recipe,
            image=image,
            steps=(*self.current.steps, step),
        )
        self.put(changed)
        return changed

    def undo(self) -> Candidate:
        """Take back the last step.

        Raises:
            ChibiError: If there is nothing to take back.
        """
        if len(self._done) < 2:
            raise ChibiError("there is nothing to undo")
        self._undone.append(self._done.pop())
        return self.current

    def redo(self) -> Candidate:
        """Do again what was taken back last.

        Raises:
            ChibiError: If nothing was taken back.
        """
        if not self._undone:
            raise ChibiError("there is nothing to redo")
        self._done.append(self._undone.pop())
        return self.current


def repair(
    painter: Painter,
    judge: Judge,
    image: Tensor,
    hole: Tensor,
    count: int,
    steps: int = 60,
    seed: int = 0,
) -> Tensor:
    """Fill a hole in a picture in several ways.

    The recipe of the rest is searched for with the known pixels alone. Attributes that show in the
    hole and hardly elsewhere are free: each proposal but the first takes other values for them.

    Source: Yeh et al. (2017), with an attribute where they have only the latent.

    Args:
        painter: Fills it.
        judge: Reads the attributes for the first guess.
        image: (3, H, W) in [-1, 1].
        hole: (H, W), True where the picture is to be filled.
        count: Proposals, at least 1.
        steps: Steps of the search.
        seed: Seed of the free attributes.

    Returns:
        Proposals, (count, 3, H, W); outside the hole they are the picture, to the bit.

    Raises:
        ChibiError: If the hole is empty or takes all of the picture, count is less than 1, or
            :meth:`Painter.approach` refuses its arguments.
    """
    if not hole.any():
        raise ChibiError("the hole is empty: paint over the part that is to be filled")
    if hole.all():
        raise ChibiError("the hole takes all of the picture: leave a part to go by")
    if count < 1:
        raise ChibiError(f"count is {count}: it must be at least 1")
    *_, found = painter.approach(image, painter.recognise(image, judge), steps, ~hole)
    recipes = [found.recipe]
    free = _free(painter, found.recipe, hole)
    random = np.random.default_rng(seed)
    for _ in range(count - 1):
        recipe = found.recipe
        for name in free:
            values = painter.schema.values[painter.schema.index(name)]
            recipe = painter.with_value(
                recipe, name, values[random.integers(len(values))]
            )
        recipes.append(recipe)
    return torch.where(hole, painter.draw(recipes), image)


def _free(painter: Painter, recipe: Recipe, hole: Tensor) -> list[str]:
    """The attributes that change hardly anything outside of the hole."""
    free = []
    now = painter.draw([recipe])[0]
    for name, values in zip(painter.schema.names, painter.schema.values, strict=True):
        others = [painter.with_value(recipe, name, value) for value in values]
        changes = (painter.draw(others) - now).square().sum((0, 1))
        if changes[hole].sum() > WITHIN * changes.sum():
            free.append(name)
    return free
