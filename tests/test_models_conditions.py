import pytest
import torch

from chibi_lab.errors import ChibiError
from chibi_lab.models import OPEN, Wishes
from chibi_lab.models.conditions import one_hot

COUNTS = (3, 2)


@pytest.fixture
def wishes() -> Wishes:
    """Has seen the three values of the first attribute 7, 2 and 1 times in 10, the others alike."""
    wishes = Wishes(COUNTS, latent_dim=4)
    shown = [[v, w] for v in range(3) for w in range(2)]
    often = torch.tensor([7, 7, 2, 2, 1, 1])
    wishes.follow(wishes.count(torch.tensor(shown).repeat_interleave(often, dim=0)))
    return wishes


def noise(count: int = 1) -> torch.Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(0))


def test_each_value_has_its_column() -> None:
    columns = one_hot(torch.tensor([[2, 0], [0, 1]]), COUNTS)
    assert columns.tolist() == [[0, 0, 1, 1, 0], [1, 0, 0, 0, 1]]
    assert one_hot(torch.zeros(5, 0, dtype=torch.int64), ()).shape == (5, 0)


def test_what_is_asked_for_stays(wishes: Wishes) -> None:
    z = noise(500)
    whole = torch.stack([torch.arange(500) % 3, torch.arange(500) % 2], dim=1)
    assert torch.equal(wishes.choose(z, whole), whole)
    part = whole.clone()
    part[:, 0] = OPEN
    chosen = wishes.choose(z, part)
    assert torch.equal(chosen[:, 1], whole[:, 1])
    assert torch.equal(chosen[:, 0], wishes.choose(z)[:, 0])


def test_what_is_open_is_as_frequent_as_it_was_seen(wishes: Wishes) -> None:
    chosen = wishes.choose(noise(20_000))
    shares = torch.bincount(chosen[:, 0], minlength=3) / 20_000
    torch.testing.assert_close(
        shares, torch.tensor([0.7, 0.2, 0.1]), atol=0.015, rtol=0
    )
    shares = torch.bincount(chosen[:, 1], minlength=2) / 20_000
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.5]), atol=0.015, rtol=0)
    # Each by itself.
    both = ((chosen[:, 0] == 0) & (chosen[:, 1] == 0)).float().mean()
    assert both.item() == pytest.approx(0.35, abs=0.015)


def test_before_anything_was_seen_all_values_are_as_probable() -> None:
    chosen = Wishes((4,), latent_dim=4).choose(noise(20_000))
    shares = torch.bincount(chosen[:, 0], minlength=4) / 20_000
    torch.testing.assert_close(shares, torch.full((4,), 0.25), atol=0.015, rtol=0)


def test_the_latent_alone_decides(wishes: Wishes) -> None:
    z = noise(50)
    chosen = wishes.choose(z)
    assert torch.equal(chosen, wishes.choose(z))
    assert torch.equal(chosen[7:8], wishes.choose(z[7:8]))
    # The first coordinate decides on the first attribute, in the order of its values.
    far = torch.zeros(3, 4)
    far[:, 0] = torch.tensor([-9.0, 0.8, 9.0])
    assert wishes.choose(far)[:, 0].tolist() == [0, 1, 2]
    assert wishes.choose(far)[:, 1].unique().numel() == 1


def test_forward_gives_numbers_that_are_loud(wishes: Wishes) -> None:
    asked = torch.tensor([[1, 0], [OPEN, 1]])
    z = noise(2)
    numbers = wishes(z, asked)
    assert torch.equal(numbers, 4 * one_hot(wishes.choose(z, asked), COUNTS))
    assert wishes(z).shape == (2, 5)


def test_shares_lead_from_one_value_to_another(wishes: Wishes) -> None:
    ends = one_hot(torch.tensor([[0, 0], [2, 0]]), COUNTS)
    way = torch.stack([ends[0], ends.mean(0), ends[1]])
    assert wishes(noise(3), way).tolist() == [
        [4, 0, 0, 4, 0],
        [2, 0, 2, 4, 0],
        [0, 0, 4, 4, 0],
    ]


def test_only_what_it_is_told_to_follow_is_counted(wishes: Wishes) -> None:
    before = wishes.seen.clone()
    wishes.train()(noise(8))
    assert torch.equal(wishes.seen, before)
    shown = torch.tensor([[2, 0], [0, 1], [2, 1]])
    assert wishes.count(shown).tolist() == [
        [1, 0, 0, 0, 1],
        [0, 0, 0, 0, 0],
        [0, 0, 2, 1, 1],
        [0, 0, 1, 1, 0],
        [1, 0, 1, 0, 2],
    ]
    wishes.follow(wishes.count(shown))
    assert torch.equal(wishes.seen - before, wishes.count(shown))
    assert "seen" in wishes.state_dict()


def test_a_value_that_was_never_seen_is_all_but_never_drawn() -> None:
    wishes = Wishes((2,), latent_dim=4)
    wishes.follow(torch.tensor([[0, 0], [0, 10**6]]))
    assert wishes.choose(noise(1000))[:, 0].min() == 1


@pytest.fixture
def ruled() -> Wishes:
    """Three attributes: the last value of the first goes with the first of the second alone."""
    wishes = Wishes((3, 4, 2), latent_dim=4)
    shown = [[v, w, u] for v in range(3) for w in range(4) for u in range(2)]
    shown = [row for row in shown if (row[0] == 2) == (row[1] == 0)]
    wishes.follow(wishes.count(torch.tensor(shown)))
    return wishes


def test_what_was_never_seen_together_is_not_chosen_together(ruled: Wishes) -> None:
    chosen = ruled.choose(noise(5_000))
    assert torch.equal(chosen[:, 0] == 2, chosen[:, 1] == 0)
    for column, count in zip(chosen.T, ruled.counts, strict=True):
        assert len(column.unique()) == count
    # The second attribute is as frequent as it may be beside what the first has become.
    shares = torch.bincount(chosen[chosen[:, 0] < 2, 1], minlength=4) / 5_000
    expected = (chosen[:, 0] < 2).float().mean().item() / 3
    assert shares[1:].tolist() == pytest.approx([expected] * 3, abs=0.02)


@pytest.mark.parametrize(("asked", "means"), [([2, OPEN], [2, 0]), ([OPEN, 0], [2, 0])])
def test_what_is_asked_for_comes_first(
    ruled: Wishes, asked: list[int], means: list[int]
) -> None:
    chosen = ruled.choose(noise(200), torch.tensor([[*asked, OPEN]]).expand(200, -1))
    assert (chosen[:, :2] == torch.tensor(means)).all()
    assert len(chosen[:, 2].unique()) == 2


def test_an_order_against_the_rules_is_obeyed_all_the_same(ruled: Wishes) -> None:
    asked = torch.tensor([[2, 3, OPEN]]).expand(200, -1)
    chosen = ruled.choose(noise(200), asked)
    assert torch.equal(chosen[:, :2], asked[:, :2])
    assert len(chosen[:, 2].unique()) == 2


def test_without_attributes_there_is_nothing_to_add() -> None:
    wishes = Wishes((), latent_dim=4)
    assert wishes(noise(3)).shape == (3, 0)
    assert wishes.choose(noise(3)).shape == (3, 0)


@pytest.mark.parametrize(
    ("counts", "latent_dim", "least"), [(COUNTS, 1, 2), ((), 0, 1), ((2,) * 10, 9, 10)]
)
def test_each_attribute_needs_a_dimension(
    counts: tuple[int, ...], latent_dim: int, least: int
) -> None:
    message = f"latent_dim is {latent_dim}: it must be at least {least}"
    with pytest.raises(ChibiError, match=message):
        Wishes(counts, latent_dim)
