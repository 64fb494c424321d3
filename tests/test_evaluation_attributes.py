import numpy as np
import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

from chibi_lab.data import AttributeSchema, ImageSet, to_float
from chibi_lab.errors import ChibiError
from chibi_lab.evaluation import (
    AttributeReader,
    coverage,
    effective_count,
    read_back,
)
from chibi_lab.evaluation.attributes import nearest_label

SCHEMA = AttributeSchema(
    ("shape", "colour", "ground", "same"),
    (
        ("none", "bar", "block", "corner"),
        ("red", "green", "blue"),
        ("dark", "light"),
        ("one",),
    ),
)
COLOURS = ((220, 40, 40), (40, 220, 40), (40, 40, 220))


def draw_set(count: int, seed: int, scale: int = 1) -> ImageSet:
    """Little drawings with known attributes: a shape of some colour, on a noisy ground."""
    random = np.random.default_rng(seed)
    labels = np.stack(
        [random.integers(0, len(values), count) for values in SCHEMA.values], axis=1
    ).astype(np.int64)
    images = np.empty((count, 16, 16, 3))
    for image, (shape, colour, ground, _) in zip(images, labels, strict=True):
        image[:] = (70, 180)[ground]
        # An eye-catcher that says nothing about the shape.
        image[1:6, 1:6] = COLOURS[colour]
        if shape == 1:
            image[10:11, 3:13] = 0
        if shape == 2:
            image[9:12, 6:9] = 0
        if shape == 3:
            image[13:, 13:] = 0
    images += random.normal(0, 12, images.shape)
    pixels = images.clip(0, 255).astype(np.uint8).repeat(scale, 1).repeat(scale, 2)
    return ImageSet(pixels, labels, SCHEMA)


@pytest.fixture(scope="module")
def reader() -> AttributeReader:
    return AttributeReader(draw_set(400, 0))


def test_every_attribute_is_read_right(reader: AttributeReader) -> None:
    test = draw_set(200, 1)
    read = reader.read(test)
    assert read.dtype == np.int64
    assert read.shape == test.attributes.shape
    accuracy = reader.accuracy(test)
    assert tuple(accuracy) == SCHEMA.names
    assert min(accuracy.values()) > 0.98, accuracy


def test_soft_pictures_are_read_too(reader: AttributeReader) -> None:
    test = draw_set(200, 1)
    soft = gaussian_blur(to_float(test.images), [7, 7], [1.2, 1.2])
    right = (reader.read(soft) == test.attributes).mean(0)
    assert right.min() > 0.95, right


def test_real_pictures_are_read_with_certainty(reader: AttributeReader) -> None:
    test = draw_set(200, 1)
    certain = reader.read(test, certain=True)
    assert (certain == test.attributes).mean(0).min() > 0.95
    told = certain >= 0
    assert np.array_equal(certain[told], reader.read(test)[told])


@pytest.mark.parametrize(
    ("place", "label"), [(0.0, 7), (4.0, 7), (4.6, -1), (5.4, -1), (6.0, 3)]
)
def test_between_two_labels_nothing_is_certain(place: float, label: int) -> None:
    # Two of label 7 near 0, one of label 3 at 10. At 4.4 the distances are as 4 to 5 (Lowe's 0.8).
    base, labels = torch.tensor([[0.0], [-0.1], [10.0]]), torch.tensor([7, 7, 3])
    query = torch.tensor([[place]])
    assert nearest_label(query, base, labels, limit=0.8).tolist() == [label]
    assert nearest_label(query, base, labels, limit=None).tolist() == [
        7 if place < 5 else 3
    ]


def test_the_only_label_there_is_is_certain() -> None:
    base, labels = torch.zeros(2, 0), torch.tensor([5, 5])
    assert nearest_label(torch.zeros(3, 0), base, labels, limit=0.8).tolist() == [
        5,
        5,
        5,
    ]


def test_larger_pictures_are_averaged_down() -> None:
    labelled = draw_set(200, 0, scale=4)
    shapes = AttributeSchema(SCHEMA.names[:1], SCHEMA.values[:1])
    reader = AttributeReader(
        ImageSet(labelled.images, labelled.attributes[:, :1], shapes)
    )
    test = draw_set(50, 2, scale=4)
    assert (reader.read(test) == test.attributes[:, :1]).mean() > 0.95
    # 32 pixels, as large as the labelled ones are averaged down to.
    half = draw_set(50, 2, scale=2)
    assert np.array_equal(reader.read(test), reader.read(half))


def test_accuracy_counts_the_right_ones(reader: AttributeReader) -> None:
    test = draw_set(100, 3)
    wrong = test.attributes.copy()
    wrong[:25, 1] = (wrong[:25, 1] + 1) % 3
    accuracy = reader.accuracy(ImageSet(test.images, wrong, SCHEMA))
    assert accuracy["colour"] == pytest.approx(0.75, abs=0.02)


def test_values_that_no_picture_has_are_never_read() -> None:
    labelled = draw_set(300, 0)
    without_red = labelled.select(np.flatnonzero(labelled.attributes[:, 1] != 0))
    read = AttributeReader(without_red).read(draw_set(100, 1))
    assert set(read[:, 1]) == {1, 2}


def test_reading_repeats_and_does_not_depend_on_the_batch(
    reader: AttributeReader,
) -> None:
    test = draw_set(30, 4)
    again = AttributeReader(draw_set(400, 0))
    assert np.array_equal(reader.read(test), again.read(test))
    one_by_one = np.concatenate(
        [reader.read(test.images[i : i + 1]) for i in range(30)]
    )
    assert np.array_equal(one_by_one, reader.read(test))


def test_pictures_without_attributes_are_refused(reader: AttributeReader) -> None:
    plain = ImageSet(draw_set(10, 0).images)
    with pytest.raises(ChibiError, match="no attributes to learn from"):
        AttributeReader(plain)
    with pytest.raises(
        ChibiError, match="must have the attributes of the labelled ones"
    ):
        reader.accuracy(plain)
    with pytest.raises(ChibiError, match="as large as the labelled ones"):
        reader.read(torch.zeros(1, 3, 8, 8))


def test_coverage_counts_what_is_drawn_often_enough() -> None:
    real = np.repeat(np.arange(4), 25)  # each value a quarter
    assert coverage(np.array([0, 1, 2, 3] * 10), real) == 4
    assert coverage(np.zeros(100, np.int64), real) == 1
    # 2 of 100 are less than a tenth of a quarter, 3 are more: a stray reading is no coverage.
    assert coverage(np.array([0] * 98 + [1] * 2), real) == 1
    assert coverage(np.array([0] * 97 + [1] * 3), real) == 2
    assert coverage(np.array([0] * 98 + [1] * 2), real, minimum=0.05) == 2


def test_coverage_of_a_rare_value_asks_for_little() -> None:
    real = np.array([0] * 98 + [1] * 2)
    assert coverage(np.array([0] * 199 + [1]), real) == 2


def test_values_that_are_not_real_do_not_count() -> None:
    assert coverage(np.array([0, 5, 5, 5]), np.array([0, 0, 1])) == 1


def test_what_is_not_recognised_counts_for_nothing() -> None:
    real = np.repeat(np.arange(4), 25)
    values = np.array([0] * 2 + [1] * 10 + [-1] * 88)
    assert coverage(values, real) == 1  # 2 of 100, not 2 of 12
    assert effective_count(np.array([0, 1, -1, -1])) == pytest.approx(2)
    assert coverage(np.array([-1, -1]), real) == 0
    assert effective_count(np.array([-1, -1])) == 0


def test_effective_count_of_known_shares() -> None:
    assert effective_count(np.array([3, 3, 3])) == pytest.approx(1)
    assert effective_count(np.arange(45)) == pytest.approx(45)
    half = np.concatenate([np.zeros(44, np.int64), np.arange(1, 45)])
    assert effective_count(half) == pytest.approx(2 * np.sqrt(44))  # 13.3


def test_no_values_are_refused() -> None:
    nothing = np.array([], np.int64)
    with pytest.raises(ChibiError):
        coverage(nothing, np.arange(3))
    with pytest.raises(ChibiError):
        effective_count(nothing)


def test_read_back_leaves_open_ones_out() -> None:
    asked = np.array([[3, -1, -1], [2, 1, -1], [1, 0, -1], [-1, 0, -1]])
    read = np.array([[3, 7, 0], [0, 1, 0], [1, 1, 0], [5, 0, 0]])
    share = read_back(asked, read)
    np.testing.assert_allclose(share, [2 / 3, 2 / 3, np.nan])
    with pytest.raises(ChibiError, match=r"\(4, 3\) and read ones of \(4, 2\)"):
        read_back(asked, read[:, :2])
