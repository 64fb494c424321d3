import numpy as np
import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

from chibi_lab.errors import ChibiError
from chibi_lab.evaluation import memorisation, nearest
from chibi_lab.evaluation.distances import nearest_rows, neighbours


def random_images(count: int, seed: int, size: int = 16) -> torch.Tensor:
    """Smooth random pictures, no two alike."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")


def test_nearest_is_that_of_brute_force() -> None:
    images, reference = random_images(100, 0), random_images(600, 1)
    distance, index = nearest(images, reference)
    brute = torch.stack(
        [(reference - image).square().mean((1, 2, 3)).sqrt() for image in images]
    )
    assert torch.equal(index, brute.argmin(1))
    torch.testing.assert_close(distance, brute.amin(1))


def test_neighbours_come_in_order() -> None:
    images, reference = random_images(20, 0), random_images(100, 1)
    brute = torch.stack(
        [(reference - image).square().mean((1, 2, 3)).sqrt() for image in images]
    )
    expected, order = brute.sort(dim=1)
    distance, index = neighbours(images, reference, 7)
    assert torch.equal(index, order[:, :7])
    torch.testing.assert_close(distance, expected[:, :7])
    assert neighbours(images, reference[:3], 7)[0].shape == (20, 3)


def test_a_copy_is_found_at_distance_zero() -> None:
    reference = random_images(200, 1, size=64)
    distance, index = nearest(reference[[7, 150]], reference)
    assert index.tolist() == [7, 150]
    assert (distance == 0).all()


def test_tiny_differences_survive_the_matrix_product() -> None:
    base = torch.full((50, 1000), 100.0)
    base += torch.randn(50, 1000, generator=torch.Generator().manual_seed(0)) * 1e-3
    queries = base + 1e-4
    distance, index = nearest_rows(queries - 100, base - 100, 1)
    assert torch.equal(index[:, 0], torch.arange(50))
    torch.testing.assert_close(
        distance[:, 0], torch.full((50,), 1e-4), rtol=0.1, atol=0
    )


def test_of_two_equal_ones_the_first_is_nearest() -> None:
    reference = random_images(5, 0)[[0, 1, 2, 1, 1]]
    assert nearest(reference[[4]], reference)[1].tolist() == [1]


def test_the_unit_is_that_of_the_image_range() -> None:
    white, black = torch.ones(1, 3, 64, 64), -np.ones((1, 3, 64, 64), np.float32)
    distance, _ = nearest(white, torch.from_numpy(black))
    assert distance.tolist() == [2.0]


def test_sizes_must_agree() -> None:
    with pytest.raises(ChibiError, match="16 pixels cannot be compared with 32"):
        nearest(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 64, 64))


def test_copies_of_training_images_are_found_out() -> None:
    train, held_out = random_images(400, 0), random_images(200, 1)
    noise = torch.randn(train.shape, generator=torch.Generator().manual_seed(2))
    result = memorisation(train[:100] + 0.02 * noise[:100], train, held_out)
    assert result.index.tolist() == list(range(100))
    assert result.ratio < 0.2
    assert result.copied == 1


def test_new_images_are_no_copies() -> None:
    train, held_out = random_images(400, 0), random_images(300, 1)
    result = memorisation(random_images(300, 2), train, held_out)
    assert 0.9 < result.ratio < 1.1
    assert result.copied < 0.05


def test_blur_is_not_taken_for_copying() -> None:
    train, held_out = random_images(400, 0), random_images(300, 1)
    blurred = gaussian_blur(random_images(300, 2), [11, 11], [3, 3])
    result = memorisation(blurred, train, held_out)
    assert result.ratio < 0.9  # nearer to everything, but to nothing in particular
    assert result.copied < 0.05


def test_a_training_set_of_copies_divides_by_nothing() -> None:
    same = random_images(1, 0).expand(60, -1, -1, -1)
    result = memorisation(same[:2], same, same[:2])
    assert np.isfinite(result.ratio)
    assert result.isolation.isfinite().all()
