"""The real images that runs are measured against, in one feature space or several."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from tqdm.auto import tqdm

from chibi_lab import pretrained
from chibi_lab.data import ImageSet, open_images
from chibi_lab.data.folder import changes
from chibi_lab.data.open import last_place
from chibi_lab.errors import ChibiError
from chibi_lab.evaluation.distances import LEAST_HELD_OUT
from chibi_lab.evaluation.features import Pictures, check_square
from chibi_lab.evaluation.judge import Judge, load_judge
from chibi_lab.evaluation.sets import (
    frechet_distance,
    kernel_distance,
    leave_out_interval,
    neighbourhoods,
)
from chibi_lab.evaluation.spaces import neutral_space
from chibi_lab.training import Run

SEARCHED = 100_000  # training images among which copies are looked for, at most
MOST = 10_000  # images in a set: the distances of all pairs take memory and time
LEAST = 100  # images on either side for shares of neighbourhoods: of a handful they say nothing
OF_ALL = ("frechet", "kernel")  # figures that every space has
OF_JUDGE = (*OF_ALL, "precision", "recall", "density", "coverage")

Figures = dict[str, float | None]


@dataclass(frozen=True)
class Measured:
    """A feature space, and the real images in it.

    Attributes:
        name: What the features are.
        features: Gives the features of pictures.
        real: Those of the real images to compare with, (M, D).
        best: The figures of one further set of real images.
        interval: Where each of these would be for other images: ``low`` and ``high``.
        names: Which figures this space has.
    """

    name: str
    features: Callable[[Pictures], Tensor]
    real: Tensor
    best: Figures
    interval: dict[str, dict[str, float] | None]
    names: tuple[str, ...]

    def figures(self, drawn: Tensor) -> Figures:
        """The figures of some drawn features, (N, D)."""
        return set_figures(self.real, drawn, self.names)


@dataclass(frozen=True)
class Reference:
    """What all runs that learned from the same images are measured against.

    Attributes:
        judge: Reads attributes.
        real: Images of the test split, that no run has seen.
        others: As many others of them.
        spaces: Feature spaces under the keys of the result: "judge", "neutral".
    """

    judge: Judge
    real: ImageSet
    others: ImageSet
    spaces: dict[str, Measured]

    @property
    def readable(self) -> bool:
        """Whether the judge can read these images' attributes."""
        return self.real.schema == self.judge.schema

    def notes(self, count: int) -> list[str]:
        """What cannot be measured, or not well, with ``count`` drawn images, and why."""
        notes = []
        fewer = min(len(self.real), count)
        for key, space in self.spaces.items():
            least = space.real.shape[1] + 1
            if fewer < least:
                of = "" if key == "judge" else f" in {space.name}"
                notes.append(
                    f"the Fréchet distance{of} needs {least:,} images on either side: there are "
                    f"{len(self.real):,} real ones, and {count:,} were drawn"
                )
        if fewer < LEAST:
            notes.append(
                f"precision, recall, density and coverage need {LEAST} images on either side"
            )
        if len(self.others) < LEAST_HELD_OUT:
            notes.append(
                f"whether samples are copies is said beside {LEAST_HELD_OUT} held-out images: "
                f"there are {len(self.others):,}"
            )
        if not self.readable:
            notes.append(
                "these are not the avatars that the judge learned: it cannot read their "
                "attributes, and its features may miss what matters in them"
            )
        return notes


def open_reference(
    run: Run, count: int, neutral: bool = False, data: str | None = None
) -> Reference:
    """Open the real images to measure a run with, and their features.

    Args:
        run: Any run that learned from these images.
        count: How many real images to compare with, at most.
        data: As in :func:`evaluate`.
        neutral: As in :func:`evaluate`.

    Raises:
        ChibiError: As :func:`evaluate`.
    """
    if not 2 <= count <= MOST:
        raise ChibiError(f"count is {count}: it must be 2 to {MOST:,}")
    check_square(*run.config.shape)
    # First, since what is missing should be said before anything takes time.
    space = neutral_space() if neutral else None
    judge = load_judge(pretrained.path("judge") / "judge.safetensors")
    images = _open_again(run, "test", 2 * count, data)
    half = min(count, len(images) // 2)
    if half < 1:
        raise ChibiError(
            f"{data or run.config.data} has {len(images)} test image: at least 2 are needed"
        )
    real, others = images.select(slice(half)), images.select(slice(half, 2 * half))
    spaces = {
        "judge": _measured(
            "judge",
            judge.features,
            (judge.features(real), judge.features(others)),
            OF_JUDGE,
        )
    }
    if space is not None:
        features = space.kept_features(real), space.kept_features(others)
        spaces["neutral"] = _measured(space.name, space.features, features, OF_ALL)
    return Reference(judge, real, others, spaces)


def training_images(run: Run, data: str | None = None) -> ImageSet:
    """The images that a run learned from, at most 100,000 of them.

    Args:
        run: Any run.
        data: As in :func:`evaluate`.
    """
    images = _open_again(run, "train", run.config.count, data)
    if changed := changes(run.data(), images.manifest):
        tqdm.write(changed, file=sys.stderr)
    return images.select(slice(SEARCHED))


def _open_again(run: Run, split: str, count: int, data: str | None) -> ImageSet:
    """Images of a run, wherever they are now."""
    config = run.config
    where = last_place(config.data, run.data()) if data is None else data
    # Trainings split a folder as open_images does by default, whatever their seed.
    return open_images(where, config.size, split, count, palette=config.palette)


def set_figures(real: Tensor, drawn: Tensor, names: tuple[str, ...]) -> Figures:
    """Figures of two sets of features; None where a set has too few images.

    Args:
        real: Features of real images, (M, D).
        drawn: Features of drawn ones, (N, D).
        names: Which figures.
    """
    fewer, found = min(len(real), len(drawn)), dict.fromkeys(names)
    if fewer > real.shape[1]:
        found["frechet"] = frechet_distance(real, drawn)
    if fewer >= 2:
        found["kernel"] = kernel_distance(real, drawn)
    if "coverage" in names and fewer >= LEAST:
        found |= neighbourhoods(real, drawn)
    return found


def _measured(
    name: str,
    features: Callable[[Pictures], Tensor],
    known: tuple[Tensor, Tensor],
    names: tuple[str, ...],
) -> Measured:
    """A space with the features of two sets of real images."""
    real, others = known
    best = set_figures(real, others, names)
    interval = leave_out_interval(lambda part: set_figures(real, part, names), others)
    return Measured(name, features, real, best, interval, names)
