"""Choosing an avatar: candidates are drawn, one is chosen, and it is saved."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from chibi_lab.errors import ChibiError
from chibi_lab.studio.keeping import keep
from chibi_lab.studio.origin import Origin
from chibi_lab.studio.painter import Painter
from chibi_lab.training import Run, draw, latents, load_drawer

MAX_CANDIDATES = 64


class AvatarChoice:
    """The state of a choice, with no widget in it.

    Attributes:
        runs: The models to choose from, by the name that a person sees.
        model: Name of the model that drew the candidates.
        seed: Seed of their latents.
        images: The candidates, (N, 3, size, size) in [-1, 1].
        index: Which of them is chosen, from 0.

    Args:
        runs: Runs of either kind, by name, at least one.

    Raises:
        ChibiError: If there is no run.
    """

    model: str
    seed: int
    images: Tensor
    index: int

    def __init__(self, runs: Mapping[str, Run]) -> None:
        if not runs:
            raise ChibiError(
                "there is no model to choose from: at least one run is needed"
            )
        self.runs = dict(runs)
        self._networks: dict[str, nn.Module] = {}

    def candidates(self, model: str, seed: int, count: int) -> Tensor:
        """Draw the first avatars of a seed and choose the first of them.

        Args:
            model: Name of a run.
            seed: Seed of the latents, at least 0.
            count: How many avatars, 1 to 64. A larger count never changes the first ones.

        Returns:
            The candidates, (count, 3, size, size) in [-1, 1].

        Raises:
            ChibiError: If there is no such model, it has no checkpoint, or seed or count is out of
                range. The earlier candidates stay.
        """
        if model not in self.runs:
            raise ChibiError(
                f"there is no model {model!r}: choose {' or '.join(self.runs)}"
            )
        if not 1 <= count <= MAX_CANDIDATES:
            raise ChibiError(f"count is {count}: it must be 1 to {MAX_CANDIDATES}")
        if model not in self._networks:
            self._networks[model] = load_drawer(self.runs[model])
        z = latents(count, self.runs[model].config.latent_dim, seed)
        self.images = draw(self._networks[model], z)
        self.model, self.seed, self.index = model, seed, 0
        return self.images

    def choose(self, index: int) -> Tensor:
        """Choose one of the candidates.

        Args:
            index: Its place, from 0.

        Returns:
            The avatar, (3, size, size) in [-1, 1].

        Raises:
            ChibiError: If there is no such candidate.
        """
        if not hasattr(self, "images"):
            raise ChibiError("there are no candidates yet: draw some first")
        if not 0 <= index < len(self.images):
            raise ChibiError(
                f"there is no candidate {index}: they are 0 to {len(self.images) - 1}"
            )
        self.index = index
        return self.images[index]

    def origin(self) -> Origin:
        """What made the chosen avatar: what is written into its file.

        Raises:
            ChibiError: If nothing is chosen yet.
        """
        self.choose(getattr(self, "index", 0))
        run = self.runs[self.model]
        count = len(self.images)
        if run.schema() is None:
            z = latents(count, run.config.latent_dim, self.seed)[self.index]
            shares = None
        else:
            # What was left open was chosen by lot: with the latent alone it cannot be drawn again.
            recipes, _ = Painter(run).compose({}, self.seed, count)
            z, shares = recipes[self.index].z, recipes[self.index].shares
        return Origin.of_run(
            run, self.model, z, self.seed, self.index + 1, shares=shares
        )

    def save(self, path: Path | str, size: int = 512, overwrite: bool = False) -> Path:
        """Save the chosen avatar with its :meth:`origin` and a signature.

        Args:
            path: The file to make; its folder must exist. Its name ends in .png, .webp or .gif.
            size: Height of the picture in pixels, 64 to 1024.
            overwrite: Whether a file that exists may be replaced.

        Returns:
            The file.

        Raises:
            ChibiError: If nothing is chosen yet, or the file cannot be written as asked.
        """
        origin = self.origin()
        avatar = self.images[self.index][None]
        return keep(avatar, path, origin, size, overwrite=overwrite)
