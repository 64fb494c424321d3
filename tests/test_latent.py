import pytest
import torch
from torch import nn

from chibi_lab.errors import ChibiError
from chibi_lab.latent import inpaint, interpolate, invert, traverse
from chibi_lab.models import Generator


class Linear(nn.Module):
    """A drawing network whose best latent is known."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.latent_dim = 3
        self.layer = nn.Linear(3, 3 * 8 * 8)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.layer(z).view(-1, 3, 8, 8)


def test_both_walks_have_their_ends() -> None:
    start, end = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    for spherical in (True, False):
        walk = interpolate(start, end, 7, spherical)
        assert walk.shape == (7, 50)
        torch.testing.assert_close(walk[0], start)
        torch.testing.assert_close(walk[-1], end)


def test_the_great_circle_keeps_the_length_and_turns_evenly() -> None:
    start, end = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    walk = interpolate(start, end, 4)
    angles = torch.atan2(walk[:, 1], walk[:, 0])
    torch.testing.assert_close(walk.norm(dim=1), torch.full((4,), 2.0))
    torch.testing.assert_close(angles, torch.linspace(0, torch.pi / 2, 4))
    # The chord is shorter.
    assert interpolate(start, end, 3, spherical=False)[1].norm() < 1.5


def test_parallel_and_opposite_latents_are_joined_straight() -> None:
    start = torch.tensor([1.0, 1.0])
    torch.testing.assert_close(interpolate(start, 2 * start, 3)[1], 1.5 * start)
    assert interpolate(start, -start, 3).isfinite().all()


def test_traverse_changes_one_dimension_only() -> None:
    z, values = torch.arange(4.0), torch.tensor([-1.0, 0.0, 1.0])
    walk = traverse(z, 2, values)
    assert torch.equal(walk[:, 2], values)
    assert torch.equal(walk[:, [0, 1, 3]], z[[0, 1, 3]].repeat(3, 1))
    assert torch.equal(z, torch.arange(4.0))


def test_inversion_finds_the_latent_that_drew_a_picture() -> None:
    network = Linear()
    z = torch.randn(2, 3, generator=torch.Generator().manual_seed(1))
    found = invert(network, network(z).detach(), steps=400, prior_weight=0)
    torch.testing.assert_close(found.z, z, atol=0.02, rtol=0)
    torch.testing.assert_close(found.images, network(found.z).detach())
    assert found.errors.shape == (2,)
    assert found.history.shape == (400,)
    assert found.history[-1] < found.history[0] / 100


def test_masked_pixels_do_not_count() -> None:
    network = Linear()
    picture = network(torch.ones(1, 3)).detach()
    mask = torch.ones(1, 1, 8, 8)
    mask[..., 4:] = 0
    spoiled = torch.where(mask.bool(), picture, torch.full_like(picture, 9.0))
    found = invert(network, spoiled, mask=mask, steps=400, prior_weight=0)
    torch.testing.assert_close(found.images, picture, atol=0.05, rtol=0)


def test_more_starts_are_never_worse() -> None:
    torch.manual_seed(0)
    network = Generator(32, channels=4, latent_dim=5).eval()
    with torch.no_grad():
        picture = network(torch.randn(1, 5) * 3)
    # The first start is the same, so the best of four is at least as good.
    one, four = (invert(network, picture, starts=n, steps=20).errors for n in (1, 4))
    assert four <= one + 1e-6


def test_inversion_repeats_and_leaves_the_network_alone() -> None:
    network = Linear()
    before = [p.clone() for p in network.parameters()]
    picture = torch.zeros(1, 3, 8, 8)
    first, again = (invert(network, picture, steps=5, seed=2).z for _ in range(2))
    assert torch.equal(first, again)
    assert all(
        torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)
    )
    assert all(p.requires_grad and p.grad is None for p in network.parameters())


def test_inpainting_leaves_known_pixels_to_the_bit() -> None:
    network = Linear()
    picture = network(torch.ones(1, 3)).detach()
    mask = torch.ones(1, 1, 8, 8)
    mask[..., 2:5, 2:5] = 0
    filled = inpaint(network, torch.where(mask.bool(), picture, 0.0), mask, steps=400)
    known = mask.bool().expand_as(picture)
    assert torch.equal(filled[known], picture[known])
    torch.testing.assert_close(filled, picture, atol=0.1, rtol=0)


def test_what_cannot_be_is_named() -> None:
    z = torch.zeros(3)
    with pytest.raises(ChibiError, match=r"two latents of one shape"):
        interpolate(z, torch.zeros(4), 3)
    with pytest.raises(ChibiError, match="steps is 1: a walk has at least its 2 ends"):
        interpolate(z, z, 1)
    with pytest.raises(
        ChibiError, match="dimension is 3: this latent has the dimensions 0 to 2"
    ):
        traverse(z, 3, torch.zeros(1))
    with pytest.raises(ChibiError, match="starts is 0 and steps 5"):
        invert(Linear(), torch.zeros(1, 3, 8, 8), starts=0, steps=5)
    with pytest.raises(ChibiError, match="a mask that counts no pixel"):
        invert(Linear(), torch.zeros(1, 3, 8, 8), mask=torch.zeros(1, 1, 8, 8))
