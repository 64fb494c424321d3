from types import SimpleNamespace

import pytest
import torch

from chibi_lab.training import Engine
from chibi_lab.training.augment import Augmentation

# Colours as they were, no shift, the hole in the middle.
STILL = (0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5)


def augmentation(seed: int, batch: int) -> Augmentation:
    generator = torch.Generator().manual_seed(seed)
    return Augmentation(Engine("cpu", "float32", batch), generator, batch)


def thrown(*dice: float) -> Augmentation:
    """An augmentation whose dice are known."""
    engine = SimpleNamespace(uniform=lambda _, batch, __: torch.tensor([dice] * batch))
    return Augmentation(engine, torch.Generator(), 2)


def images(
    count: int = 2, shape: tuple[int, int] = (32, 32), seed: int = 0
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, *shape, generator=generator) * 2 - 1


@pytest.mark.parametrize("shape", [(32, 32), (64, 48)])
def test_all_images_change_and_keep_their_shape(shape: tuple[int, int]) -> None:
    before = images(8, shape)
    after = augmentation(0, 8)(before)
    assert after.shape == before.shape
    assert (after != before).flatten(1).float().mean(1).min() > 0.5
    # Nearly all of it stays where images are.
    assert (after.abs() < 1.6).float().mean() > 0.9


def test_each_image_changes_in_its_own_way() -> None:
    same = images(1).expand(8, -1, -1, -1)
    after = augmentation(0, 8)(same).flatten(1)
    assert len(after.unique(dim=0)) == 8


def test_the_same_seed_gives_the_same_changes_one_after_the_other() -> None:
    first, again = augmentation(3, 4), augmentation(3, 4)
    once, twice = first(images(4)), first(images(4))
    assert torch.equal(once, again(images(4)))
    assert torch.equal(twice, again(images(4)))
    assert not torch.equal(once, twice)
    assert not torch.equal(once, augmentation(4, 4)(images(4)))


def test_still_dice_leave_all_but_a_hole_of_half_the_sides() -> None:
    before = images(shape=(64, 48))
    after = thrown(*STILL)(before)
    hole = torch.zeros(64, 48, dtype=torch.bool)
    hole[16:48, 12:36] = True
    assert (after[..., hole] == 0).all()
    torch.testing.assert_close(after[..., ~hole], before[..., ~hole])


@pytest.mark.parametrize(("dice", "rows", "columns"), [(0.0, -8, -6), (0.999, 8, 6)])
def test_images_move_by_up_to_an_eighth_and_black_comes_in(
    dice: float, rows: int, columns: int
) -> None:
    before = images(shape=(64, 48))
    after = thrown(*STILL[:3], dice, dice, *STILL[5:])(before)
    moved = before.roll((rows, columns), dims=(2, 3))
    new_rows = slice(0, rows) if rows > 0 else slice(rows, None)
    new_columns = slice(0, columns) if columns > 0 else slice(columns, None)
    moved[:, :, new_rows] = -1
    moved[:, :, :, new_columns] = -1
    moved[:, :, 16:48, 12:36] = 0  # the hole is cut last
    torch.testing.assert_close(after, moved)


def test_colours_change_as_told() -> None:
    before = images()
    kept = (slice(None), slice(None), slice(0, 8))  # above the hole
    brighter = thrown(0.9, *STILL[1:])(before)
    torch.testing.assert_close(brighter[kept], before[kept] + 0.4)
    grey = thrown(0.5, 0.0, *STILL[2:])(before)
    expected = before.mean(1, keepdim=True).expand_as(before)
    torch.testing.assert_close(grey[kept], expected[kept])
    dull = thrown(0.5, 0.5, 0.0, *STILL[3:])(before)
    middle = before.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(dull[kept], ((before + middle) / 2)[kept])


def test_gradients_pass_twice() -> None:
    before = images(4).requires_grad_()
    after = augmentation(0, 4)(before)
    (slope,) = torch.autograd.grad(after.pow(3).sum(), before, create_graph=True)
    assert slope.isfinite().all()
    assert (slope != 0).float().mean() > 0.3  # not where the hole is
    (again,) = torch.autograd.grad(slope.square().sum(), before)
    assert again.abs().sum() > 0
