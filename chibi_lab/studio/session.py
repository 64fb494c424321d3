"""What a person does in the studio, with no widget in it: wish, start, shape, repair, go back."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from chibi_lab import pretrained
from chibi_lab.errors import ChibiError
from chibi_lab.studio.checks import MAX_CANDIDATES
from chibi_lab.studio.containers import split
from chibi_lab.studio.origin import Origin
from chibi_lab.studio.painter import Approach, Painter, Recipe, missed
from chibi_lab.studio.provenance import extract
from chibi_lab.studio.sliders import mix

if TYPE_CHECKING:
    from chibi_lab.evaluation import Judge

WITHIN = 0.9  # of what an attribute changes, this share in the hole makes it free
REPAIR_STEPS = 60
PAINTERS = {"GAN": "modern-gan", "VAE": "modern-vae"}
VISIBLE = 0.25  # of the range of 2: a pixel that differs by more is drawn differently
# Share of what an attribute changes that a frame for it leaves out on each of its four sides: in
# all less than what WITHIN allows.
OUTSIDE = (1 - WITHIN) / 5


@dataclass(frozen=True)
class Candidate:
    """One picture of a sheet.

    Attributes:
        painter: Name of the painter.
        recipe: What it was drawn from.
        image: (3, H, W) in [-1, 1].
        missed: Names of the attributes that were asked for and are read otherwise.
        wish: The value of each attribute that was asked for.
        seed: Seed of the sheet; None if it came from a picture.
        number: Place on the sheet, from 1; None if it came from a picture.
        steps: What was done since, such as "hair_color=pink" or "repair".
    """

    painter: str
    recipe: Recipe
    image: Tensor
    missed: tuple[str, ...] = ()
    wish: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    number: int | None = None
    steps: tuple[str, ...] = ()


def open_session(names: Iterable[str] = tuple(PAINTERS)) -> "Session":
    """A session with painters that ship, by default "GAN" and "VAE", and the judge.

    Raises:
        ChibiError: If their weights are not those that shipped.
    """
    # Here, since its package takes seconds that no other command should wait for.
    from chibi_lab.evaluation import load_judge

    judge = load_judge(pretrained.path("judge") / "judge.safetensors")
    painters = {name: Painter(pretrained.open_run(PAINTERS[name])) for name in names}
    return Session(painters, judge)


class Session:
    """A person at work: sheets of candidates, and one of them on the table.

    Attributes:
        painters: Those who draw, by the name that a person sees.
        judge: Says what a picture shows.

    Args:
        painters: At least one, all with the attributes that the judge reads.
        judge: Says what a picture shows.

    Raises:
        ChibiError: If there is no painter.
    """

    def __init__(self, painters: Mapping[str, Painter], judge: "Judge") -> None:
        if not painters:
            raise ChibiError("the studio needs at least one painter")
        self.painters, self.judge = dict(painters), judge
        self._done: list[Candidate] = []
        self._undone: list[Candidate] = []
        self._moved: tuple[str, Candidate] | None = None

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
        sheets = {}
        for painter_name, painter in self.painters.items():
            recipes, _ = painter.compose(wish, seed, count)
            images = painter.draw(recipes)
            wrong = missed(painter.schema.ask(wish), self.judge.read(images))
            sheets[painter_name] = [
                Candidate(
                    painter_name,
                    recipe,
                    image,
                    tuple(painter.schema.names[a] for a in columns),
                    dict(wish),
                    seed,
                    number,
                )
                for number, (recipe, image, columns) in enumerate(
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

    @property
    def table(self) -> Candidate | None:
        """The picture on the table; None if nothing was chosen yet."""
        return self._done[-1] if self._done else None

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

    def move(
        self, what: str, change: Callable[[Recipe], Recipe], step: str
    ) -> Candidate:
        """Shape the picture on the table; moving the same thing again is still the same step.

        Args:
            what: The thing that is moved, such as a slider.
            change: Makes the new recipe from the one before the thing was first moved.
            step: What was done, in a few words.

        Returns:
            The new picture.

        Raises:
            ChibiError: If nothing is on the table, or as `change`.
        """
        if self._moved and self._moved[0] == what and self._moved[1] is self.current:
            self.undo()
        moved = self.shape(change(self.current.recipe), step)
        self._moved = (what, moved)
        return moved

    def blend(self, other: Candidate, much: float) -> Candidate:
        """Move the picture on the table towards another one.

        Args:
            other: Of the same painter.
            much: How far, from 0 to 1.

        Returns:
            The new picture.

        Raises:
            ChibiError: If the other one is of another painter.
        """
        now = self.current
        if other.painter != now.painter:
            raise ChibiError(
                f"{now.painter} cannot mix its picture with one of {other.painter}"
            )
        return self.shape(mix(now.recipe, other.recipe, much), f"mixed {much:g}")

    def repair(self, hole: Tensor, count: int, seed: int = 0) -> list[Candidate]:
        """Proposals for a part of the picture on the table; none is put there.

        Args:
            hole: (H, W), True where the picture is to be filled.
            count: Proposals.
            seed: Seed of what differs between them.

        Returns:
            The proposals; outside the hole they are the picture, to the bit.

        Raises:
            ChibiError: As :func:`repair`, or if nothing is on the table.
        """
        now = self.current
        painter = self.painters[now.painter]
        found = repair(painter, now.image, now.recipe, hole, count, seed)
        return [
            replace(now, recipe=recipe, image=image, steps=(*now.steps, "repair"))
            for recipe, image in zip(*found, strict=True)
        ]

    def approach(self, name: str, image: Tensor, steps: int) -> Iterator[Approach]:
        """Search for the recipe that draws a person's own picture best.

        Args:
            name: The painter who is to draw it.
            image: (3, H, W) in [-1, 1], of the size that it draws.
            steps: Steps at most.

        Returns:
            What :meth:`Painter.approach` yields.

        Raises:
            ChibiError: As :meth:`Painter.approach`.
        """
        painter = self.painters[name]
        return painter.approach(image, painter.recognise(image, self.judge), steps)

    def origin(self, candidate: Candidate) -> Origin:
        """What made a candidate, for the file that it is kept in.

        Raises:
            ChibiError: If the weights of its painter cannot be read.
        """
        return Origin.of_run(
            self.painters[candidate.painter].run,
            candidate.painter,
            candidate.recipe.z,
            candidate.seed,
            candidate.number,
            candidate.recipe.shares,
            candidate.wish,
            candidate.steps,
        )

    def reopen(self, origin: Origin) -> Candidate:
        """What a file says that it was drawn from, drawn again.

        Args:
            origin: Anyone may have written it.

        Returns:
            The candidate; it is not put on the table.

        Raises:
            ChibiError: If no painter has its weights, its numbers fit no recipe of theirs, what
                was asked for is no attribute of theirs, or it was repaired: the recipe of a
                repaired picture draws the repaired part, and not the rest.
        """
        names = [n for n, p in self.painters.items() if p.weights == origin.weights]
        if not names:
            raise ChibiError(
                f"the picture was drawn by {origin.model!r} with weights that are not here: open "
                "it as a picture, and the nearest that the models here can draw is searched for"
            )
        if origin.steps[-1:] == ("repair",):
            raise ChibiError(
                "the picture was repaired, so no recipe draws all of it: the nearest that the "
                "models can draw is searched for"
            )
        painter = self.painters[names[0]]
        painter.schema.ask(origin.attributes)
        recipe = painter.recipe(origin.latent, origin.shares)
        return Candidate(
            names[0],
            recipe,
            painter.draw([recipe])[0],
            wish=origin.attributes,
            seed=origin.seed,
            number=origin.candidate,
            steps=origin.steps,
        )

    def reopen_file(self, data: bytes) -> Candidate | None:
        """What a picture file says that it was drawn from, drawn again.

        Args:
            data: Any file.

        Returns:
            The candidate, not put on the table; None if the file does not say.

        Raises:
            ChibiError: If what it says cannot be used.
        """
        try:
            split(data)
        except ChibiError:
            return None  # no picture that could hold an origin
        origin = extract(data)
        return None if origin is None else self.reopen(origin)

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
    image: Tensor,
    start: Recipe,
    hole: Tensor,
    count: int,
    seed: int = 0,
) -> tuple[list[Recipe], Tensor]:
    """Fill a hole in a picture in several ways.

    The recipe of the rest is searched for with the known pixels alone. Attributes that show in the
    hole and hardly elsewhere are free: each proposal but the first takes other values for them.

    Source: Yeh et al. (2017), with an attribute where they have only the latent.

    Args:
        painter: Fills it.
        image: (3, H, W) in [-1, 1].
        start: The recipe that the picture was drawn from, or a guess at it.
        hole: (H, W), True where the picture is to be filled.
        count: Proposals, at least 1.
        seed: Seed of the free attributes.

    Returns:
        Recipes, and proposals (count, 3, H, W); outside the hole they are the picture, to the bit.

    Raises:
        ChibiError: If the hole has another size than the picture, is empty or takes all of it, or
            count is less than 1.
    """
    if hole.shape != image.shape[1:]:
        raise ChibiError(
            f"the hole has {tuple(hole.shape)} pixels, the picture {tuple(image.shape[1:])}"
        )
    if not hole.any():
        raise ChibiError("the hole is empty: paint over the part that is to be filled")
    if hole.all():
        raise ChibiError("the hole takes all of the picture: leave a part to go by")
    if count < 1:
        raise ChibiError(f"count is {count}: it must be at least 1")
    *_, found = painter.approach(image, start, REPAIR_STEPS, ~hole)
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
    return recipes, torch.where(hole, painter.draw(recipes), image)


def place_of(painter: Painter, recipe: Recipe, name: str) -> tuple[int, int, int, int]:
    """Where an attribute shows in a picture: a frame large enough for :func:`repair` to change it.

    Args:
        painter: Draws it.
        recipe: Of the picture.
        name: The attribute.

    Returns:
        The rectangle top, bottom, left and right in pixels, bottom and right no longer in it.

    Raises:
        ChibiError: If there is no such attribute.
    """
    changes = _changes(painter, recipe, name)
    return (*_bounds(changes.sum(1)), *_bounds(changes.sum(0)))


def _bounds(sums: Tensor) -> tuple[int, int]:
    """From where to where nearly all of some changes are."""
    before = sums.cumsum(0) / sums.sum().clamp_min(1e-9)
    ends = torch.tensor([OUTSIDE, 1 - OUTSIDE])
    first, last = torch.searchsorted(before, ends).tolist()
    return first, min(last, len(sums) - 1) + 1


def _changes(painter: Painter, recipe: Recipe, name: str) -> Tensor:
    """How much each pixel depends on an attribute, (H, W)."""
    values = painter.schema.values[painter.schema.index(name)]
    others = [painter.with_value(recipe, name, value) for value in values]
    changes = painter.draw(others) - painter.draw([recipe])[0]
    # A network moves all pixels a little.
    return torch.where(changes.abs() > VISIBLE, changes, 0).square().sum((0, 1))


def _free(painter: Painter, recipe: Recipe, hole: Tensor) -> list[str]:
    """The attributes that change hardly anything outside of the hole."""
    free = []
    for name in painter.schema.names:
        changes = _changes(painter, recipe, name)
        if changes[hole].sum() > WITHIN * changes.sum():
            free.append(name)
    return free
