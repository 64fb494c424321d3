import numpy as np
import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

from chibi_lab.data import ImageSet, to_float
from chibi_lab.errors import ChibiError
from chibi_lab.evaluation import psnr, sharpness, ssim
from chibi_lab.evaluation.features import as_images, shrink


@pytest.fixture
def pictures() -> torch.Tensor:
    """Flat shapes with hard edges, like a drawing: a disc of another size and colour each."""
    random = torch.Generator().manual_seed(0)
    row = torch.arange(32) - 15.5
    radius = torch.hypot(row[:, None], row[None])
    colours = torch.rand(6, 2, 3, 1, 1, generator=random) * 0.6
    return torch.stack(
        [
            torch.where(radius < 8 + i, colour[0] - 1, colour[1] + 0.4)
            for i, colour in enumerate(colours)
        ]
    )


def test_both_forms_of_picture_measure_the_same() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    for form in (pixels, to_float(pixels), ImageSet(pixels)):
        assert torch.equal(as_images(form), to_float(pixels))
        assert torch.equal(sharpness(form), sharpness(pixels))


def test_blur_lowers_sharpness_of_every_picture(pictures: torch.Tensor) -> None:
    before = sharpness(pictures)
    assert before.shape == (6,)
    for sigma in (0.6, 1.2):
        after = sharpness(gaussian_blur(pictures, [7, 7], [sigma, sigma]))
        assert (after < 0.9 * before).all()
        before = after


def test_noise_hardly_counts_as_sharpness(pictures: torch.Tensor) -> None:
    noise = 0.05 * torch.randn(
        pictures.shape, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(
        sharpness(pictures + noise), sharpness(pictures), rtol=0.1, atol=0
    )


def test_sharpness_is_the_slope_of_a_ramp() -> None:
    ramp = torch.linspace(-1, 1, 21).expand(1, 3, 21, 21)
    torch.testing.assert_close(sharpness(ramp), torch.tensor([0.1]))
    torch.testing.assert_close(sharpness(ramp.mT), torch.tensor([0.1]))
    assert sharpness(torch.zeros(1, 3, 8, 8)) == 0


def test_psnr_of_a_known_error() -> None:
    black = torch.full((2, 3, 4, 4), -1.0)
    grey = torch.stack([black[0] + 0.2, black[1] + 2])
    torch.testing.assert_close(psnr(grey, black), torch.tensor([20.0, 0.0]))
    assert psnr(black, black).isinf().all()


def test_psnr_needs_two_of_one_shape() -> None:
    with pytest.raises(ChibiError, match="cannot be compared"):
        psnr(torch.zeros(1, 3, 4, 4), torch.zeros(2, 3, 4, 4))


def test_ssim_of_known_pictures(pictures: torch.Tensor) -> None:
    same = ssim(pictures, pictures)
    torch.testing.assert_close(same, torch.ones(6), rtol=0, atol=1e-4)
    # Of two flat pictures only the means are compared: (2ab + c) / (a² + b² + c), c = (0.01 · 2)².
    low, high = torch.full((1, 3, 32, 32), 0.2), torch.full((1, 3, 32, 32), 0.6)
    expected = (2 * 0.12 + 4e-4) / (0.04 + 0.36 + 4e-4)
    assert ssim(low, high).item() == pytest.approx(expected, abs=1e-4)


def test_ssim_needs_two_of_one_shape_and_of_some_width() -> None:
    with pytest.raises(ChibiError, match="cannot be compared"):
        ssim(torch.zeros(1, 3, 16, 16), torch.zeros(2, 3, 16, 16))
    with pytest.raises(ChibiError, match="8 pixels wide: their similarity needs 11"):
        ssim(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))


def test_shrink_averages_in_chunks_and_leaves_small_ones() -> None:
    images = torch.rand(600, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    small = shrink(images, 4)
    torch.testing.assert_close(
        small, images.unflatten(3, (4, 2)).unflatten(2, (4, 2)).mean((3, 5))
    )
    assert torch.equal(shrink(images, 8), images)
    assert torch.equal(shrink(images, 16), images)


def test_portraits_are_not_squeezed() -> None:
    portraits = np.zeros((2, 64, 48, 3), np.uint8)
    with pytest.raises(ChibiError, match="not 48 x 64 pixels"):
        shrink(ImageSet(portraits), 32)


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (torch.zeros(3, 8, 8), "expected float images"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "expected float images"),
        (np.zeros((1, 3, 8, 8), np.uint8), "expected uint8 images"),
        (torch.zeros(0, 3, 8, 8), "there are no images"),
        (torch.zeros(1, 3, 2, 2), "2 pixels wide"),
    ],
)
def test_what_is_no_picture_is_named(
    pictures: torch.Tensor | np.ndarray, message: str
) -> None:
    with pytest.raises(ChibiError, match=message):
        sharpness(pictures)
