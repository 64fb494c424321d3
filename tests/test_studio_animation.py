from itertools import pairwise

import pytest
import torch

from chibi_lab import pretrained
from chibi_lab.errors import ChibiError
from chibi_lab.studio.animation import CLOSED, blink, turn
from chibi_lab.studio.painter import Painter, Recipe


@pytest.fixture(scope="module")
def painter() -> Painter:
    return Painter(pretrained.open_run("modern-gan"))


@pytest.fixture(scope="module")
def faces(painter: Painter) -> list[Recipe]:
    recipes, _ = painter.compose({"eyes": "variant01"}, seed=1, count=3)
    return recipes


def closed(painter: Painter, recipe: Recipe) -> float:
    """How much of the eyes of a recipe is closed."""
    column = painter.schema.index("eyes")
    before = sum(map(len, painter.schema.values[:column]))
    place = painter.schema.values[column].index(CLOSED)
    return round(recipe.shares[before + place].item(), 6)


def step(before: Recipe, after: Recipe) -> float:
    moved = torch.cat([after.z - before.z, after.shares - before.shares])
    return moved.norm().item()


def same(first: Recipe, second: Recipe) -> bool:
    return torch.equal(first.z, second.z) and torch.equal(first.shares, second.shares)


@pytest.mark.parametrize("frames", [6, 7, 24])
def test_a_blink_is_open_then_closed_then_open(
    painter: Painter, faces: list[Recipe], frames: int
) -> None:
    walk = blink(painter, faces[0], frames)
    lids = [closed(painter, recipe) for recipe in walk]
    assert len(walk) == frames
    assert lids[0] == lids[-1] == 0
    assert same(walk[0], faces[0]) and same(walk[-1], faces[0])
    assert lids[frames // 2] == 1
    middle = lids.index(1)
    assert lids[:middle] == sorted(lids[:middle])
    assert lids[middle:] == sorted(lids[middle:], reverse=True)


def test_a_blink_moves_the_eyes_alone(painter: Painter, faces: list[Recipe]) -> None:
    column = painter.schema.index("eyes")
    sizes = list(map(len, painter.schema.values))
    whole = faces[0].shares.split(sizes)
    for recipe in blink(painter, faces[0], 6):
        assert torch.equal(recipe.z, faces[0].z)
        for place, part in enumerate(recipe.shares.split(sizes)):
            assert part.sum().item() == pytest.approx(1)
            assert place == column or torch.equal(part, whole[place])


def test_a_blink_is_seen(painter: Painter, faces: list[Recipe]) -> None:
    opened, *_, shut, _, _ = painter.draw(blink(painter, faces[0], 6))
    changed = (opened - shut).abs().amax(0) > 0.25
    assert 10 < changed.sum() < 0.2 * changed.numel()


@pytest.mark.parametrize("frames", [-1, 0, 5])
def test_a_blink_needs_its_time(
    painter: Painter, faces: list[Recipe], frames: int
) -> None:
    with pytest.raises(ChibiError, match=f"frames is {frames}: a blink takes 6 to 240"):
        blink(painter, faces[0], frames)


@pytest.mark.parametrize(("stops", "frames"), [(2, 12), (3, 24), (3, 10), (2, 7)])
def test_a_turn_begins_at_the_first_face_and_has_no_seam(
    faces: list[Recipe], stops: int, frames: int
) -> None:
    walk = turn(faces[:stops], frames)
    assert len(walk) == frames
    assert same(walk[0], faces[0])
    steps = [step(*pair) for pair in pairwise(walk)]
    seam = step(walk[-1], walk[0])
    assert 0 < seam <= max(steps) + 1e-6


def test_a_turn_meets_every_face_and_is_slow_there(faces: list[Recipe]) -> None:
    walk = turn(faces, 24)
    for place, face in enumerate(faces):
        assert same(walk[8 * place], face)
    away = [step(*pair) for pair in pairwise(walk[:9])]
    assert away[0] < away[1] < away[2] < away[3]
    assert away[0] == pytest.approx(away[7], rel=1e-3)
    middle = torch.lerp(faces[0].z, faces[1].z, 0.5)
    torch.testing.assert_close(walk[4].z, middle)


def test_as_many_frames_as_faces_are_the_faces(faces: list[Recipe]) -> None:
    assert all(map(same, turn(faces, 3), faces))


def test_a_turn_that_cannot_be_is_named(faces: list[Recipe]) -> None:
    for stops in ([], faces[:1]):
        with pytest.raises(ChibiError, match="a turn takes two faces or more"):
            turn(stops, 24)
    with pytest.raises(ChibiError, match="frames is 2: 3 faces take 3 to 240"):
        turn(faces, 2)
