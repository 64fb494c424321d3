from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from chibi_lab.data import ImageSet
from chibi_lab.errors import ChibiError
from chibi_lab.studio.origin import Origin
from chibi_lab.studio.painter import Painter
from chibi_lab.studio.session import Session, repair
from chibi_lab.studio.sliders import Slider, mix, slide, sliders
from chibi_lab.training import ModernGANConfig, train_modern_gan

TINY = {"size": 32, "images": 64, "batch": 16, "channels": 2, "latent_dim": 5}


class Reader:
    """In the judge's place: reads red and no disc off any picture."""

    def read(self, images: torch.Tensor) -> np.ndarray:
        return np.tile([0, 0], (len(images), 1))


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory, labelled: ImageSet) -> Painter:
    out = tmp_path_factory.mktemp("runs") / "run"
    run = train_modern_gan(
        ModernGANConfig(**TINY), out, images=labelled, progress=False
    )
    return Painter(run)


@pytest.fixture
def session(painter: Painter) -> Session:
    return Session({"one": painter, "two": painter}, Reader())


def test_a_sheet_says_what_was_missed(session: Session) -> None:
    sheets = session.sheet({"around": "red", "disc": "white"}, seed=1, count=3)
    assert list(sheets) == ["one", "two"]
    for candidate in sheets["two"]:
        assert candidate.missed == ("disc",)
        assert candidate.image.shape == (3, 32, 32)
    third = sheets["one"][2]
    assert third.wish == {"around": "red", "disc": "white"}
    assert (third.seed, third.number, third.steps) == (1, 3, ())


def test_the_same_wish_and_seed_give_the_same_sheet(session: Session) -> None:
    first, again = (session.sheet({"disc": "white"}, 4, 5)["one"] for _ in range(2))
    other = session.sheet({"disc": "white"}, 5, 5)["one"]
    assert all(torch.equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0].image, other[0].image)


def test_steps_are_taken_back_and_done_again(session: Session) -> None:
    painter = session.painters["one"]
    chosen = session.sheet({"around": "red"}, 0, 1)["one"][0]
    session.put(chosen)
    blue = session.shape(painter.with_value(chosen.recipe, "around", "blue"), "blue")
    assert session.current is blue
    assert blue.steps == ("blue",)
    assert torch.equal(blue.image, painter.draw([blue.recipe])[0])
    assert session.undo() is chosen
    assert session.redo() is blue
    session.undo()
    green = session.shape(painter.with_value(chosen.recipe, "around", "green"), "green")
    with pytest.raises(ChibiError, match="there is nothing to redo"):
        session.redo()
    assert session.current is green
    assert session.undo() is chosen
    with pytest.raises(ChibiError, match="there is nothing to undo"):
        session.undo()


def test_what_cannot_be_done_is_said(session: Session, painter: Painter) -> None:
    with pytest.raises(ChibiError, match="nothing is on the table yet"):
        session.shape(painter.compose({}, 0, 1)[0][0], "nothing")
    with pytest.raises(ChibiError, match="count is 65: it must be 1 to 64"):
        session.sheet({}, 0, 65)
    with pytest.raises(ChibiError, match="at least one painter"):
        Session({}, Reader())


def test_a_slider_runs_through_its_stops(painter: Painter) -> None:
    slider = Slider("colour", "around", ("red", "green", "blue"), smooth=True)
    (recipe,), _ = painter.compose({"around": "blue", "disc": "none"}, 0, 1)
    shares = [
        slide(painter, recipe, slider, place).shares.tolist()
        for place in (0, 0.25, 0.5, 1)
    ]
    assert shares == [
        [1, 0, 0, 1, 0],
        [0.5, 0.5, 0, 1, 0],
        [0, 1, 0, 1, 0],
        [0, 0, 1, 1, 0],
    ]
    nearest = slide(painter, recipe, replace(slider, smooth=False), 0.3)
    assert nearest.shares.tolist() == [0, 1, 0, 1, 0]
    with pytest.raises(ChibiError, match=r"place is 1\.1: it must be from 0 to 1"):
        slide(painter, recipe, slider, 1.1)


def test_a_painter_of_other_things_has_no_sliders(painter: Painter) -> None:
    assert sliders(painter) == []


def test_a_mixture_lies_between(painter: Painter) -> None:
    first, second = painter.compose({}, 0, 2)[0]
    half = mix(first, second, 0.5)
    torch.testing.assert_close(half.z, (first.z + second.z) / 2)
    torch.testing.assert_close(half.shares, (first.shares + second.shares) / 2)
    assert torch.equal(mix(first, second, 0.0).z, first.z)


def test_a_repair_leaves_the_rest_to_the_bit(painter: Painter) -> None:
    (recipe, other), _ = painter.compose({}, 0, 2)
    image = painter.draw([recipe])[0]
    hole = torch.zeros(32, 32, dtype=torch.bool)
    hole[10:20, 12:22] = True
    spoiled = image.masked_fill(hole, 1.0)
    recipes, proposals = repair(painter, spoiled, other, hole, count=3)
    assert len(recipes) == 3
    assert proposals.shape == (3, 3, 32, 32)
    assert torch.equal(proposals[:, :, ~hole], image[:, ~hole].expand(3, -1, -1))
    drawn = painter.draw(recipes)
    assert torch.equal(proposals[:, :, hole], drawn[:, :, hole])
    # What was painted over does not matter.
    _, again = repair(painter, image.masked_fill(hole, -1.0), other, hole, count=3)
    assert torch.equal(proposals, again)


@pytest.mark.parametrize(
    ("hole", "count", "message"),
    [
        (torch.zeros(32, 32), 1, "the hole is empty"),
        (torch.ones(32, 32), 1, "the hole takes all of the picture"),
        (torch.eye(32), 0, "count is 0: it must be at least 1"),
        (torch.eye(16), 1, r"the hole has \(16, 16\) pixels, the picture \(32, 32\)"),
    ],
)
def test_a_repair_that_cannot_be_is_refused(
    painter: Painter, hole: torch.Tensor, count: int, message: str
) -> None:
    (recipe,), _ = painter.compose({}, 0, 1)
    with pytest.raises(ChibiError, match=message):
        repair(painter, torch.zeros(3, 32, 32), recipe, hole.bool(), count)


def test_proposals_for_the_picture_on_the_table_say_what_they_are(
    session: Session,
) -> None:
    chosen = session.sheet({"around": "red"}, 0, 1)["one"][0]
    session.put(chosen)
    hole = torch.zeros(32, 32, dtype=torch.bool)
    hole[:8] = True
    proposals = session.repair(hole, count=2)
    assert session.current is chosen
    for proposal in proposals:
        assert proposal.steps == ("repair",)
        assert torch.equal(proposal.image[:, ~hole], chosen.image[:, ~hole])


def test_a_picture_is_approached(session: Session) -> None:
    image = session.sheet({}, 3, 1)["one"][0].image
    errors = [each.error for each in session.approach("one", image, steps=20)]
    assert len(errors) == 21
    assert errors[-1] < errors[0]


def test_what_was_kept_is_drawn_again(session: Session) -> None:
    chosen = session.sheet({"around": "red"}, 7, 3)["two"][2]
    session.put(chosen)
    painter = session.painters["two"]
    half = painter.with_value(chosen.recipe, "around", "blue", 0.5)
    shaped = session.shape(half, "half blue")
    origin = Origin.from_text(session.origin(shaped).to_text())
    again = session.reopen(origin)
    assert torch.equal(again.image, shaped.image)
    assert (again.seed, again.number, again.steps) == (7, 3, ("half blue",))
    assert again.wish == {"around": "red"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "0" * 64}, "with weights that are not here: open it as a picture"),
        ({"latent": (0.0,)}, "a latent of 1 numbers and 5 shares: the model takes 5"),
        ({"latent": (0.0, 0.0, 1e3, 0.0, 0.0)}, "latent holds 1000: 100 is the most"),
        ({"shares": ()}, "a latent of 5 numbers and 0 shares: the model takes 5 and 5"),
        ({"shares": (0.0,) * 5}, "shares of an attribute must sum to 1"),
        ({"shares": (2.0, -1.0, 0.0, 1.0, 0.0)}, "must sum to 1"),
    ],
)
def test_a_forged_origin_is_refused(
    session: Session, change: dict[str, Any], message: str
) -> None:
    origin = session.origin(session.sheet({}, 0, 1)["one"][0])
    with pytest.raises(ChibiError, match=message):
        session.reopen(replace(origin, **change))
