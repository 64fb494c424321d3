import pytest
import torch

from chibi_lab import pretrained
from chibi_lab.data import load_avatars, split_seeds, to_float
from chibi_lab.errors import ChibiError
from chibi_lab.studio.enlarging import enlarge
from chibi_lab.training.enlarger import load_enlarger


@pytest.fixture(scope="module")
def avatars() -> torch.Tensor:
    return to_float(load_avatars(size=64, seeds=split_seeds("test", 3)).images)


@pytest.mark.parametrize("size", [64, 100, 256, 300])
def test_a_square_stays_square_and_a_portrait_a_portrait(
    avatars: torch.Tensor, size: int
) -> None:
    portraits = avatars[..., 8:56]
    for images, width in ((avatars, size), (portraits, 3 * size // 4)):
        large = enlarge(images, size)
        assert large.shape == (3, 3, size, width)
        assert large.dtype == torch.float32
        assert large.min() >= -1 and large.max() <= 1


def test_the_largest_size_is_possible(avatars: torch.Tensor) -> None:
    assert enlarge(avatars[:1], 1024).shape == (1, 3, 1024, 1024)


def test_four_times_is_what_the_network_draws(avatars: torch.Tensor) -> None:
    network = load_enlarger(pretrained.path("enlarger") / "enlarger.safetensors")
    with torch.no_grad():
        drawn = torch.cat([network(image[None]) for image in avatars])
    assert torch.equal(enlarge(avatars, 256), drawn)


def test_its_own_size_changes_nothing(avatars: torch.Tensor) -> None:
    assert torch.equal(enlarge(avatars, 64), avatars)


def test_a_size_in_between_is_the_mean_of_what_a_pixel_covers(
    avatars: torch.Tensor,
) -> None:
    large = enlarge(avatars, 256)
    flat = torch.full((1, 3, 64, 64), 0.25)
    for size in (80, 128):
        small = enlarge(avatars, size)
        torch.testing.assert_close(
            small.mean((2, 3)), large.mean((2, 3)), atol=2e-3, rtol=0
        )
        # A flat picture stays flat, but for the network's noise, up to its border.
        assert (enlarge(flat, size) - 0.25).abs().max() < 0.05


def test_the_network_comes_nearer_to_the_drawing_than_a_filter(
    avatars: torch.Tensor,
) -> None:
    truth = to_float(load_avatars(size=256, seeds=split_seeds("test", 3)).images)
    filtered = torch.nn.functional.interpolate(
        avatars, scale_factor=4, mode="bicubic", antialias=True
    )
    error = (enlarge(avatars, 256) - truth).square().mean()
    assert error < 0.6 * (filtered - truth).square().mean()


def test_each_picture_is_enlarged_by_itself(avatars: torch.Tensor) -> None:
    together = enlarge(avatars, 128)
    for image, large in zip(avatars, together, strict=True):
        assert torch.equal(enlarge(image[None], 128)[0], large)


@pytest.mark.parametrize("size", [-1, 0, 63, 1025, 10**9])
def test_a_size_out_of_range_is_named(avatars: torch.Tensor, size: int) -> None:
    with pytest.raises(
        ChibiError, match=f"size is {size}: it must be 64 to 1024 pixels"
    ):
        enlarge(avatars, size)


def test_no_picture_cannot_be_enlarged() -> None:
    with pytest.raises(ChibiError, match="there is no picture to enlarge"):
        enlarge(torch.zeros(0, 3, 64, 64), 128)


def test_what_moves_is_drawn_once_and_filtered_for_the_rest(
    avatars: torch.Tensor,
) -> None:
    truth = to_float(load_avatars(size=512, seeds=split_seeds("test", 3)).images)
    moving, still = enlarge(avatars, 512, moving=True), enlarge(avatars, 512)
    assert moving.shape == still.shape and moving.min() >= -1 and moving.max() <= 1
    filtered = torch.nn.functional.interpolate(
        avatars, scale_factor=8, mode="bicubic", antialias=True
    )
    errors = [(images - truth).square().mean() for images in (still, moving, filtered)]
    assert errors[0] < errors[1] < 0.4 * errors[2]
    assert torch.equal(enlarge(avatars, 200, moving=True), enlarge(avatars, 200))
