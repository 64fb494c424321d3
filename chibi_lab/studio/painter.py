"""Models that take orders: recipes, what they draw, and the recipe that comes nearest to one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from chibi_lab.data import AttributeSchema
from chibi_lab.errors import ChibiError
from chibi_lab.models import OPEN, ModernVAE
from chibi_lab.models.conditions import one_hot
from chibi_lab.studio.origin import checksum_of
from chibi_lab.training import Run, draw, latents, load_drawer

if TYPE_CHECKING:
    from chibi_lab.evaluation import Judge

FARTHEST = 100  # of a number of a latent from 0; those of a seed stay within 6
# Of the search for a recipe.
LEARNING_RATE = 0.05
PRIOR_WEIGHT = 1e-3  # of the mean square of the latent, beside that of the pixels
DOUBT = 0.02  # share that the first guess leaves to all other values, or none could be found


@dataclass(frozen=True)
class Recipe:
    """All that a painter draws one picture from.

    Attributes:
        z: What enters the network beside the attributes, float32 (latent_dim,).
        shares: How much of each value of each attribute, float32 (sum of counts,); those of an
            attribute sum to 1.
    """

    z: Tensor
    shares: Tensor


@dataclass(frozen=True)
class Approach:
    """How near the search for a recipe has come.

    Attributes:
        step: Steps done.
        recipe: The best so far.
        image: What is drawn from it, (3, H, W) in [-1, 1].
        error: Mean squared error over the pixels that count.
    """

    step: int
    recipe: Recipe
    image: Tensor
    error: float


class Painter:
    """A conditional model at work.

    Attributes:
        run: Where the model comes from.
        schema: What it can be asked for.

    Args:
        run: A run of a modern GAN or VAE that learned attributes.

    Raises:
        ChibiError: If the model takes no wishes, or the run has no checkpoint.
    """

    run: Run
    schema: AttributeSchema

    def __init__(self, run: Run) -> None:
        schema = run.schema()
        if schema is None:
            raise ChibiError(
                f"{run.path} is a model that draws what it likes: the studio needs one that takes "
                "wishes, such as those of chibi-lab train modern-gan"
            )
        self.run, self.schema = run, schema
        self._network = load_drawer(run).requires_grad_(False)
        self._vae = self._network if isinstance(self._network, ModernVAE) else None
        self._decoder = self._network if self._vae is None else self._vae.decoder
        self._counts = tuple(map(len, schema.values))

    @cached_property
    def weights(self) -> str:
        """SHA-256 of the file of the weights, in hexadecimal."""
        return checksum_of(self.run)

    def compose(
        self, wish: Mapping[str, str], seed: int, count: int
    ) -> tuple[list[Recipe], np.ndarray]:
        """Recipes for a wish: what :func:`~chibi_lab.training.sample` draws, and what it was.

        Args:
            wish: The value of each attribute that is asked for.
            seed: Seed of the latents.
            count: How many recipes. A larger count never changes the first ones.

        Returns:
            The recipes; and what each shows, int64 (count, A), nothing left open.

        Raises:
            ChibiError: If there is no such attribute or value, or seed or count is out of range.
        """
        noise = latents(count, self.run.config.latent_dim, seed)
        asked = torch.tensor(self.schema.ask(wish)).expand(count, -1)
        values = self._decoder.wishes.choose(noise, asked)
        z = noise if self._vae is None else self._vae.density(noise)
        shares = one_hot(values, self._counts)
        return [Recipe(*both) for both in zip(z, shares, strict=True)], values.numpy()

    def draw(self, recipes: Sequence[Recipe]) -> Tensor:
        """Pictures of recipes.

        Args:
            recipes: N of them.

        Returns:
            Images, (N, 3, H, W) in [-1, 1].
        """
        z = torch.stack([recipe.z for recipe in recipes])
        return draw(self._decoder, z, torch.stack([each.shares for each in recipes]))

    def with_value(
        self, recipe: Recipe, name: str, value: str, much: float = 1.0
    ) -> Recipe:
        """A recipe with one attribute moved towards a value.

        Args:
            recipe: Where to start.
            name: The attribute.
            value: The value.
            much: How far, from 0, as it is, to 1, nothing but that value.

        Returns:
            The new recipe; latent and all other attributes are as they were.

        Raises:
            ChibiError: If there is no such attribute or value, or much is not from 0 to 1.
        """
        if not 0 <= much <= 1:
            raise ChibiError(f"much is {much}: it must be from 0 to 1")
        column = self.schema.index(name)
        wanted = self.schema.ask({name: value})[column]
        parts = list(recipe.shares.split(self._counts))
        goal = torch.zeros_like(parts[column])
        goal[wanted] = 1
        parts[column] = torch.lerp(parts[column], goal, much)
        return replace(recipe, shares=torch.cat(parts))

    def recipe(self, latent: Sequence[float], shares: Sequence[float]) -> Recipe:
        """A recipe from numbers that a file holds.

        Args:
            latent: latent_dim numbers.
            shares: As many as there are values of all attributes, from 0 to 1, those of an
                attribute summing to 1.

        Returns:
            The recipe.

        Raises:
            ChibiError: If there are too few or too many, or the shares are none.
        """
        z, parts = torch.tensor(latent), torch.tensor(shares)
        size, count = self.run.config.latent_dim, sum(self._counts)
        if (len(z), len(parts)) != (size, count):
            raise ChibiError(
                f"the recipe has a latent of {len(z)} numbers and {len(parts)} shares: "
                f"the model takes {size} and {count}"
            )
        if z.abs().max() > FARTHEST:
            raise ChibiError(
                f"the recipe's latent holds {z.abs().max():g}: {FARTHEST} is the most"
            )
        sums = torch.stack([part.sum() for part in parts.split(self._counts)])
        if parts.min() < 0 or not torch.allclose(sums, torch.ones(()), atol=1e-3):
            raise ChibiError("the recipe's shares of an attribute must sum to 1")
        return Recipe(z, parts)

    def values(self, recipe: Recipe) -> np.ndarray:
        """The value that each attribute of a recipe is mostly made of, int64 (A,)."""
        parts = recipe.shares.split(self._counts)
        return np.array([int(part.argmax()) for part in parts])

    def was_seen(self, recipe: Recipe) -> bool:
        """Whether each two values of a recipe were seen together in training."""
        starts = np.cumsum((0, *self._counts[:-1]))
        rows = torch.from_numpy(starts + self.values(recipe))
        return bool((self._decoder.wishes.seen[rows][:, rows] > 0).all())

    def companions(self, name: str) -> np.ndarray:
        """With how many values of another attribute each value was seen in training.

        Args:
            name: The attribute.

        Returns:
            int64 (values,), the least number over the other attributes.

        Raises:
            ChibiError: If there is no such attribute.
        """
        column = self.schema.index(name)
        rows = self._decoder.wishes.seen.split(self._counts)[column] > 0
        others = [
            part.sum(1)
            for place, part in enumerate(rows.split(self._counts, dim=1))
            if place != column
        ]
        return torch.stack(others).min(0).values.numpy()

    def recognise(self, image: Tensor, judge: "Judge") -> Recipe:
        """A first guess at the recipe of a picture.

        The encoder reads it, where there is one. Else the judge reads the attributes, and the
        latent is the middle of all: what it says beside the attributes is little.

        Args:
            image: (3, H, W) in [-1, 1], of the size that the model draws.
            judge: Reads the same attributes.

        Returns:
            The recipe.
        """
        if self._vae is not None:
            with torch.no_grad():
                mu, _, values = self._vae.encode(image[None])
            return Recipe(mu[0], one_hot(values, self._counts)[0])
        values = torch.from_numpy(judge.read(image[None]))
        z = torch.zeros(self.run.config.latent_dim)
        return Recipe(z, one_hot(values, self._counts)[0])

    def approach(
        self, image: Tensor, start: Recipe, steps: int, mask: Tensor | None = None
    ) -> Iterator[Approach]:
        r"""Search for the recipe that draws a picture best, from a first guess.

        Adam minimises over the latent and the logarithms of the shares

        .. math:: \frac{\sum m \, (G(z, s) - x)^2}{\sum m} + \lambda \frac{\|z - z_0\|^2}{d}

        Whoever takes the steps one by one can show them, and stop when it is near enough.

        Source: Zhu et al. (2016), section 3.1, from an encoder's guess; the mask as in Yeh et al.
        (2017).

        Args:
            image: (3, H, W) in [-1, 1], of the size that the model draws.
            start: The first guess.
            steps: Steps at most, at least 1.
            mask: Pixels that count, (H, W), 1 for those that are known; without it all count.

        Yields:
            The best so far, after each step; before the first nearly the guess itself.

        Raises:
            ChibiError: If the picture has another size, a mask counts no pixel, or steps is less
                than 1.
        """
        shape = (3, *self.run.config.shape)
        if image.shape != shape:
            raise ChibiError(
                f"the picture has the shape {tuple(image.shape)}, not {shape}"
            )
        if steps < 1:
            raise ChibiError(f"steps is {steps}: it must be at least 1")
        weight = torch.ones(shape[1:]) if mask is None else mask.float()
        if not weight.any():
            raise ChibiError(
                "a mask that counts no pixel leaves nothing to come near to"
            )
        z = start.z.clone().requires_grad_()
        guess = [
            (1 - DOUBT) * part + DOUBT / len(part)
            for part in start.shares.split(self._counts)
        ]
        logits = torch.cat(guess).log().requires_grad_()
        optimizer = torch.optim.Adam([z, logits], lr=LEARNING_RATE)
        best = None
        for step in range(steps + 1):
            shares = torch.cat([part.softmax(0) for part in logits.split(self._counts)])
            drawn = self._decoder(z[None], shares[None])[0]
            error = (weight * (drawn - image).square()).sum() / (3 * weight.sum())
            if best is None or error.item() < best.error:
                recipe = Recipe(z.detach().clone(), shares.detach())
                best = Approach(step, recipe, drawn.detach(), error.item())
            yield replace(best, step=step)
            away = PRIOR_WEIGHT * (z - start.z).square().mean()
            optimizer.zero_grad()
            (error + away).backward()
            optimizer.step()


def missed(asked: Sequence[int], read: np.ndarray) -> list[list[int]]:
    """Which wishes each picture does not fulfil, as the judge reads it.

    Args:
        asked: The wish, one number an attribute, -1 where nothing is asked for.
        read: What the judge reads, int64 (N, A).

    Returns:
        For each picture the columns of the attributes that are read otherwise.
    """
    wanted = np.asarray(asked)
    wrong = (wanted != OPEN) & (read != wanted)
    return [np.flatnonzero(row).tolist() for row in wrong]
