"""Choosing an avatar: candidates are drawn, one is chosen, and it is saved."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from chibi_lab import __version__
from chibi_lab.errors import ChibiError
from chibi_lab.studio.origin import credit_of
from chibi_lab.studio.pictures import save_avatar
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

    def metadata(self) -> dict[str, str]:
        """What is written into the file: that a program drew the avatar, which, and from what.

        The keys are those that the PNG specification names, where it has one.

        Raises:
            ChibiError: If nothing is chosen yet.
        """
        self.choose(getattr(self, "index", 0))
        run = self.runs[self.model]
        kind = run.config.title
        notes = {
            "Title": "Chibi avatar",
            "Description": f"AI-generated image, drawn by a {kind}",
            "Software": f"chibi-lab {__version__}",
            "Model": f"{self.model}: {kind}, {run.images_seen:,} images seen",
            "Seed": str(self.seed),
            "Candidate": str(self.index + 1),
        }
        credit = credit_of(run)
        if credit:
            notes["Source"] = f"Learned from: {credit}"
        return notes

    def save(self, path: Path | str, size: int = 512, overwrite: bool = False) -> Path:
        """Save the chosen avatar as PNG, with :meth:`metadata` in the file.

        Args:
            path: The file to make; its folder must exist.
            size: Height of the picture in pixels.
            overwrite: Whether a file that exists may be replaced.

        Returns:
            The file.

        Raises:
            ChibiError: If nothing is chosen yet, or the file cannot be written as asked.
        """
        notes = self.metadata()
        return save_avatar(self.images[self.index], path, size, notes, overwrite)
