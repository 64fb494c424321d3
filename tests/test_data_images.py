import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chibi_lab.data import AttributeSchema, BatchLoader, ImageSet, to_float, to_uint8
from chibi_lab.data import images as images_module
from chibi_lab.errors import ChibiError

SCHEMA = AttributeSchema(("hair",), (("long", "short"),))


def numbered(count: int, size: int = 4) -> np.ndarray:
    """Images that can be told apart: image i has the value i everywhere."""
    return np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones(
        (1, size, size, 3), dtype=np.uint8
    )


def labelled(count: int) -> ImageSet:
    """Numbered images whose one attribute says whether the number is odd."""
    return ImageSet(numbered(count), np.arange(count)[:, None] % 2, SCHEMA)


def drawn(loader: BatchLoader, batches: int) -> list[torch.Tensor]:
    return [next(loader) for _ in range(batches)]


# --- pixels


def test_to_uint8_undoes_to_float_for_every_level() -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    floats = to_float(levels)
    assert floats.dtype == torch.float32
    assert floats.shape == (1, 3, 16, 16)
    assert floats.is_contiguous()
    assert (floats.min(), floats.max()) == (-1.0, 1.0)
    np.testing.assert_array_equal(to_uint8(floats), levels)


def test_colours_and_places_are_kept() -> None:
    image = np.zeros((1, 2, 2, 3), dtype=np.uint8)
    image[0, 0, 1] = (255, 0, 51)
    floats = to_float(image)
    torch.testing.assert_close(floats[0, :, 0, 1], torch.tensor([1.0, -1.0, -0.6]))
    assert (floats[0, :, 1, 1] == -1).all()


def test_to_float_takes_tensors_and_leaves_its_input_alone() -> None:
    image = numbered(3)
    tensor = torch.from_numpy(image.copy())
    torch.testing.assert_close(to_float(tensor), to_float(image))
    np.testing.assert_array_equal(tensor.numpy(), numbered(3))


def test_to_uint8_rounds_and_clamps() -> None:
    values = torch.tensor([-7.0, -1.0, 0.0, 0.999, 1.0, 3.0]).reshape(1, 1, 1, 6)
    assert to_uint8(values.expand(1, 3, 1, 6))[0, 0, :, 0].tolist() == [
        0,
        0,
        128,
        255,
        255,
        255,
    ]


def test_to_uint8_takes_what_a_network_in_half_precision_writes() -> None:
    values = torch.tensor(
        [[[[-1.0, 1.0]]] * 3], dtype=torch.bfloat16, requires_grad=True
    )
    assert to_uint8(values).tolist() == [[[[0, 0, 0], [255, 255, 255]]]]


def test_a_picture_of_nan_is_an_error_and_not_black() -> None:
    with pytest.raises(ChibiError, match="NaN"):
        to_uint8(torch.full((1, 3, 2, 2), float("nan")))


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 2, 2, 3), dtype=np.float32),
        np.zeros((1, 3, 2, 2), dtype=np.uint8),
        np.zeros((2, 2, 3), dtype=np.uint8),
        torch.zeros((1, 2, 2, 3)),
    ],
)
def test_to_float_names_the_type_and_shape_it_wants(images: Any) -> None:
    with pytest.raises(ChibiError, match=r"uint8.*\(N, H, W, 3\)"):
        to_float(images)


@pytest.mark.parametrize("shape", [(1, 2, 2, 3), (3, 2, 2)])
def test_to_uint8_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ChibiError, match=r"\(N, 3, H, W\)"):
        to_uint8(torch.zeros(shape))


def test_to_uint8_refuses_integers() -> None:
    with pytest.raises(ChibiError, match="floating point"):
        to_uint8(torch.zeros((1, 3, 2, 2), dtype=torch.uint8))


# --- image sets


def test_select_keeps_images_and_attributes_together() -> None:
    attributes = np.array([[0], [1], [0], [1]], dtype=np.int64)
    manifest = {"style": "x", "count": 4, "credit": "by somebody"}
    chosen = ImageSet(numbered(4), attributes, SCHEMA, manifest).select([3, 0])
    assert chosen.images[:, 0, 0, 0].tolist() == [3, 0]
    assert chosen.attributes.tolist() == [[1], [0]]
    assert chosen.manifest == {"style": "x", "count": 2, "credit": "by somebody"}
    assert (len(chosen), chosen.size, chosen.credit) == (2, 4, "by somebody")


def test_select_by_slice_shares_the_pixels() -> None:
    whole = ImageSet(numbered(4))
    part = whole.select(slice(1, 3))
    assert np.shares_memory(part.images, whole.images)
    assert part.images[:, 0, 0, 0].tolist() == [1, 2]


def test_select_outside_is_an_error() -> None:
    with pytest.raises(ChibiError, match="4 images"):
        ImageSet(numbered(4)).select([4])


def test_crop_gives_the_middle_columns_as_a_view() -> None:
    images = np.zeros((2, 8, 8, 3), np.uint8)
    images[:] = np.arange(8)[:, None]
    rows = np.array([[0], [1]])
    square = ImageSet(images, rows, SCHEMA, {"size": 8})
    assert (square.size, square.width) == (8, 8)
    portraits = square.crop(6)
    assert (portraits.size, portraits.width) == (8, 6)
    assert portraits.images[1, 0, :, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert np.shares_memory(portraits.images, images)
    assert portraits.attributes is rows and portraits.schema is SCHEMA
    assert portraits.manifest == {"size": 8, "width": 6}
    assert square.manifest == {"size": 8}


@pytest.mark.parametrize("width", [0, -6, 5, 12])
def test_crop_to_another_shape_is_an_error(width: int) -> None:
    with pytest.raises(ChibiError, match=f"not {width} x 8 pixels"):
        ImageSet(numbered(2, 8)).crop(width)


def test_what_is_cut_off_does_not_come_back() -> None:
    with pytest.raises(ChibiError, match="3:4"):
        ImageSet(numbered(2, 8)).crop(6).crop(8)


def test_own_pictures_need_no_credit() -> None:
    assert ImageSet(numbered(1)).credit == ""


@pytest.mark.parametrize(
    ("images", "attributes", "schema"),
    [
        (np.zeros((2, 4, 5, 3), dtype=np.uint8), None, None),
        (np.zeros((2, 4, 4, 3)), None, None),
        (numbered(2), np.zeros((2, 1), dtype=np.int64), None),
        (numbered(2), None, SCHEMA),
        (numbered(2), np.zeros((3, 1), dtype=np.int64), SCHEMA),
        (numbered(2), np.zeros((2, 2), dtype=np.int64), SCHEMA),
        (numbered(2), np.zeros((2, 1), dtype=np.int32), SCHEMA),
    ],
)
def test_what_does_not_fit_together_is_no_image_set(
    images: Any, attributes: Any, schema: Any
) -> None:
    with pytest.raises(ChibiError):
        ImageSet(images, attributes, schema)


# --- batches


def test_a_pass_draws_every_image_once_in_another_order_each_time() -> None:
    loader = BatchLoader(numbered(12), batch=4, seed=0)
    passes = []
    for _ in range(3):
        drawn(loader, 1)
        order = [loader.indices]
        for _ in range(2):
            next(loader)
            order.append(loader.indices)
        passes.append(torch.cat(order).tolist())
    assert all(sorted(order) == list(range(12)) for order in passes)
    assert len({tuple(order) for order in passes}) == 3


def test_batches_are_the_images_at_the_indices() -> None:
    images = numbered(9)
    loader = BatchLoader(ImageSet(images), batch=4, seed=3)
    assert len(loader.indices) == 0
    for _ in range(5):
        batch = next(loader)
        assert batch.shape == (4, 3, 4, 4)
        assert loader.indices.dtype == torch.int64
        np.testing.assert_array_equal(to_uint8(batch), images[loader.indices.numpy()])


def test_attributes_are_those_of_the_images_given_last() -> None:
    shares = [BatchLoader(labelled(10), 4, 3, share=(part, 2)) for part in range(2)]
    shares.append(BatchLoader(labelled(10), 4, 3))
    for loader in shares:
        assert loader.schema == SCHEMA
        assert loader.attributes.shape == (0, 1)
    for _ in range(5):  # into the third pass
        for loader in shares:
            numbers = to_uint8(next(loader))[:, 0, 0, 0]
            assert loader.attributes.dtype == torch.int64
            assert loader.attributes[:, 0].tolist() == (numbers % 2).tolist()
        parts = torch.cat([loader.attributes for loader in shares[:2]])
        assert torch.equal(parts, shares[2].attributes)


def test_attributes_follow_a_loader_that_goes_on() -> None:
    loader, resumed = (BatchLoader(labelled(10), 4, seed) for seed in (3, 0))
    drawn(loader, 3)
    drawn(resumed, 1)
    resumed.load_state_dict(loader.state_dict())
    assert resumed.attributes.shape == (0, 1)
    drawn(loader, 1), drawn(resumed, 1)
    assert torch.equal(resumed.attributes, loader.attributes)


@pytest.mark.parametrize("images", [numbered(4), ImageSet(numbered(4))])
def test_images_of_which_nothing_is_known_have_no_attributes(images: Any) -> None:
    loader = BatchLoader(images, batch=2, seed=0)
    next(loader)
    assert (loader.schema, loader.attributes) == (None, None)


def test_batches_of_portraits_are_read_from_the_file_itself(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    mapped = ImageSet(np.load(tmp_path / "images.npy", mmap_mode="r"))
    loader = BatchLoader(mapped.crop(6), batch=4, seed=0)
    batch = next(loader)
    assert batch.shape == (4, 3, 8, 6)
    assert batch.is_contiguous()
    expected = pixels[loader.indices.numpy(), :, 1:7]
    np.testing.assert_array_equal(to_uint8(batch), expected)
    assert loader._pixels.data_ptr() == mapped.images[:, :, 1:].ctypes.data


def test_more_than_a_gpu_should_hold_stays_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "images.npy", numbered(6))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    for limit, place in ((mapped.nbytes, "meta"), (mapped.nbytes - 1, "cpu")):
        monkeypatch.setattr(images_module, "ON_DEVICE", limit)
        loader = BatchLoader(mapped, batch=4, seed=0, device="meta")
        assert loader._pixels.device.type == place
        assert next(loader).device.type == "meta"
    assert loader._pixels.data_ptr() == mapped.ctypes.data


def test_images_that_run_backwards_are_read_too() -> None:
    batch = next(BatchLoader(numbered(4)[::-1], batch=4, seed=0))
    assert sorted(to_uint8(batch)[:, 0, 0, 0].tolist()) == [0, 1, 2, 3]


def test_what_does_not_fill_a_batch_waits_for_another_pass() -> None:
    loader = BatchLoader(numbered(10), batch=4, seed=0)
    seen = set()
    for _ in range(40):
        next(loader)
        assert len(set(loader.indices.tolist())) == 4
        seen.update(loader.indices.tolist())
    assert seen == set(range(10))


def test_the_seed_decides_the_order() -> None:
    def first(seed: int) -> torch.Tensor:
        return torch.stack(drawn(BatchLoader(numbered(50), batch=5, seed=seed), 12))

    torch.testing.assert_close(first(1), first(1), rtol=0, atol=0)
    assert not torch.equal(first(1), first(2))


def test_the_second_pass_of_one_seed_is_not_the_first_of_the_next() -> None:
    loader = BatchLoader(numbered(64), batch=64, seed=0)
    drawn(loader, 2)
    second = loader.indices
    following = BatchLoader(numbered(64), batch=64, seed=1)
    next(following)
    assert not torch.equal(second, following.indices)


@pytest.mark.parametrize("before", [0, 1, 3, 7])
def test_a_loader_goes_on_where_another_stood(before: int) -> None:
    loader = BatchLoader(numbered(11), batch=3, seed=5)
    drawn(loader, before)
    state = dict(loader.state_dict())
    expected = drawn(loader, 6)

    other = BatchLoader(numbered(11), batch=3, seed=99)
    other.load_state_dict(state)
    assert other.state_dict() == state
    for batch, right in zip(drawn(other, 6), expected, strict=True):
        torch.testing.assert_close(batch, right, rtol=0, atol=0)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"seed": 0, "pass": 0},
        {"seed": 0, "pass": 0, "position": 13},
        {"seed": -1, "pass": 0, "position": 0},
        {"seed": 0, "pass": "x", "position": 0},
    ],
)
def test_a_state_of_something_else_is_refused(state: dict[str, Any]) -> None:
    with pytest.raises(ChibiError):
        BatchLoader(numbered(12), batch=4, seed=0).load_state_dict(state)


def test_a_read_only_file_is_read_without_a_warning(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", numbered(6))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loader = BatchLoader(mapped, batch=6, seed=0)
        batch = next(loader)
    assert sorted(to_uint8(batch)[:, 0, 0, 0].tolist()) == list(range(6))
    np.testing.assert_array_equal(mapped, numbered(6))


@pytest.mark.parametrize(
    ("count", "batch", "seed"), [(3, 4, 0), (0, 1, 0), (3, 0, 0), (3, 1, -1)]
)
def test_what_cannot_be_drawn_from_is_refused(
    count: int, batch: int, seed: int
) -> None:
    with pytest.raises(ChibiError):
        BatchLoader(numbered(count), batch=batch, seed=seed)
