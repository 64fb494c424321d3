from pathlib import Path

import numpy as np
import pytest
import torch

from chibi_lab.data import ImageSet
from chibi_lab.errors import ChibiError
from chibi_lab.studio.painter import Painter, missed
from chibi_lab.training import (
    ModernGANConfig,
    ModernVAEConfig,
    Run,
    sample,
    train_modern_gan,
    train_modern_vae,
)

TINY = {"size": 32, "images": 64, "batch": 16, "channels": 2, "latent_dim": 5}
LOOPS = {
    "modern-gan": (ModernGANConfig, train_modern_gan),
    "modern-vae": (ModernVAEConfig, train_modern_vae),
}


class Reader:
    """In the judge's place: reads the same off any picture."""

    def read(self, images: torch.Tensor) -> np.ndarray:
        return np.tile([2, 1], (len(images), 1))


@pytest.fixture(scope="module", params=list(LOOPS))
def run(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    labelled: ImageSet,
) -> Run:
    config, loop = LOOPS[request.param]
    out = tmp_path_factory.mktemp("runs") / "run"
    return loop(config(**TINY), out, images=labelled, progress=False)


@pytest.fixture(scope="module")
def painter(run: Run) -> Painter:
    return Painter(run)


def test_a_wish_is_drawn_as_sample_draws_it(run: Run, painter: Painter) -> None:
    wish = {"around": "green"}
    recipes, values = painter.compose(wish, seed=3, count=7)
    drawn = painter.draw(recipes)
    assert drawn.shape == (7, 3, 32, 32)
    torch.testing.assert_close(drawn, sample(run, 7, seed=3, wish=wish))
    assert values.shape == (7, 2)
    assert (values[:, 0] == 1).all()
    assert [painter.values(recipe).tolist() for recipe in recipes] == values.tolist()
    few, _ = painter.compose(wish, seed=3, count=2)
    assert torch.equal(few[1].z, recipes[1].z)


def test_an_attribute_moves_by_itself(painter: Painter) -> None:
    (recipe,), _ = painter.compose({"around": "red", "disc": "none"}, seed=0, count=1)
    assert recipe.shares.tolist() == [1, 0, 0, 1, 0]
    half = painter.with_value(recipe, "around", "blue", 0.5)
    assert half.shares.tolist() == [0.5, 0, 0.5, 1, 0]
    assert torch.equal(half.z, recipe.z)
    whole = painter.with_value(half, "around", "blue")
    assert whole.shares.tolist() == [0, 0, 1, 1, 0]
    assert painter.values(whole).tolist() == [2, 0]
    assert recipe.shares.tolist() == [1, 0, 0, 1, 0]
    same = painter.with_value(recipe, "around", "blue", 0.0)
    assert torch.equal(painter.draw([same]), painter.draw([recipe]))
    assert not torch.equal(painter.draw([half]), painter.draw([recipe]))


def test_the_first_guess_is_of_the_right_form(
    painter: Painter, labelled: ImageSet
) -> None:
    image = torch.zeros(3, 32, 32)
    guess = painter.recognise(image, Reader())
    assert guess.z.shape == (5,)
    assert guess.shares.shape == (5,)
    assert sorted(guess.shares.tolist()) == [0, 0, 0, 1, 1]
    if painter.run.config.kind == "modern-gan":
        assert painter.values(guess).tolist() == [2, 1]


def test_the_search_comes_nearer_and_can_be_stopped(painter: Painter) -> None:
    (truth, start), _ = painter.compose({}, seed=5, count=2)
    image = painter.draw([truth])[0]
    search = painter.approach(image, start, steps=40)
    first = next(search)
    assert first.step == 0
    states = [first, *search]
    assert [state.step for state in states] == list(range(41))
    errors = [state.error for state in states]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 2
    last = states[-1]
    torch.testing.assert_close(painter.draw([last.recipe])[0], last.image)
    assert (last.image - image).square().mean().item() == pytest.approx(last.error)
    for part in last.recipe.shares.split((3, 2)):
        assert part.sum().item() == pytest.approx(1)
        assert part.min() >= 0
    stopped = painter.approach(image, start, steps=40)
    assert next(stopped).error == errors[0]
    stopped.close()


def test_what_the_mask_hides_does_not_count(painter: Painter) -> None:
    (truth, start), _ = painter.compose({}, seed=5, count=2)
    image = painter.draw([truth])[0]
    mask = torch.ones(32, 32)
    mask[8:24, 8:24] = 0
    spoiled = torch.where(mask.bool(), image, -image)
    of_image = [state.error for state in painter.approach(image, start, 5, mask)]
    of_spoiled = [state.error for state in painter.approach(spoiled, start, 5, mask)]
    assert of_image == of_spoiled


def test_the_same_search_finds_the_same(painter: Painter) -> None:
    (truth, start), _ = painter.compose({}, seed=5, count=2)
    image = painter.draw([truth])[0]
    once, again = (list(painter.approach(image, start, 6))[-1] for _ in range(2))
    assert torch.equal(once.image, again.image)
    assert torch.equal(start.z, painter.compose({}, seed=5, count=2)[0][1].z)


def test_what_cannot_be_searched_for_is_refused(painter: Painter) -> None:
    (start,), _ = painter.compose({}, seed=0, count=1)
    with pytest.raises(ChibiError, match=r"shape \(3, 64, 64\), not \(3, 32, 32\)"):
        next(painter.approach(torch.zeros(3, 64, 64), start, 5))
    with pytest.raises(ChibiError, match="a mask that counts no pixel"):
        next(painter.approach(torch.zeros(3, 32, 32), start, 5, torch.zeros(32, 32)))
    with pytest.raises(ChibiError, match="steps is 0: it must be at least 1"):
        next(painter.approach(torch.zeros(3, 32, 32), start, 0))
    with pytest.raises(ChibiError, match=r"much is 1\.5: it must be from 0 to 1"):
        painter.with_value(start, "around", "red", 1.5)


def test_a_model_without_wishes_is_refused(tmp_path: Path, labelled: ImageSet) -> None:
    plain = ImageSet(labelled.images)
    run = train_modern_gan(
        ModernGANConfig(**TINY), tmp_path / "run", images=plain, progress=False
    )
    with pytest.raises(ChibiError, match="the studio needs one that takes wishes"):
        Painter(run)


def test_missed_wishes_are_named() -> None:
    read = np.array([[1, 0, 2], [1, 5, 2], [0, 0, 0]])
    assert missed([1, -1, 2], read) == [[], [], [0, 2]]
    assert missed([-1, -1, -1], read) == [[], [], []]
