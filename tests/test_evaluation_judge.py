"""The judge reads what stands in the picture."""

from pathlib import Path

import numpy as np
import pytest
import torch

from chibi_lab import pretrained
from chibi_lab.data import AttributeSchema, ImageSet, load_avatars, split_seeds
from chibi_lab.errors import ChibiError
from chibi_lab.evaluation import Judge, load_judge, save_judge, train_judge
from chibi_lab.evaluation.judge import wear

SCHEMA = AttributeSchema(("colour", "side"), (("red", "blue"), ("left", "right")))


def halves(count: int) -> ImageSet:
    """Pictures of which one half is red or blue, the other black."""
    dice = np.random.default_rng(count)
    rows = dice.integers(0, 2, (count, 2))
    images = np.zeros((count, 32, 32, 3), np.uint8)
    for image, (colour, side) in zip(images, rows, strict=True):
        image[:, 16 * side : 16 * side + 16, 2 * colour] = dice.integers(150, 256)
    return ImageSet(images, rows, SCHEMA)


@pytest.fixture(scope="module")
def shipped() -> Judge:
    return load_judge(pretrained.path("judge") / "judge.safetensors")


@pytest.mark.parametrize("size", [32, 64, 128])
def test_the_shipped_judge_reads_avatars_of_any_size(shipped: Judge, size: int) -> None:
    test = load_avatars(size=size, seeds=split_seeds("test", 150), progress=False)
    accuracy = shipped.accuracy(test)
    assert np.mean(list(accuracy.values())) > 0.99
    # Eyes behind sunglasses cannot be seen by anybody.
    assert min(accuracy.values()) > 0.95
    assert min(share for name, share in accuracy.items() if name != "eyes") > 0.97


def test_a_judge_learns_and_repeats_with_its_seed() -> None:
    first, again = (
        train_judge(halves(64), 1_600, channels=4, batch=32, progress=False)
        for _ in range(2)
    )
    assert min(first.accuracy(halves(50)).values()) > 0.95
    left, right = first.state_dict(), again.state_dict()
    assert all(torch.equal(left[name], right[name]) for name in left)
    with pytest.raises(ChibiError, match="have no attributes to learn from"):
        train_judge(ImageSet(halves(8).images), 8)
    with pytest.raises(ChibiError, match="must have the attributes of the judge"):
        first.accuracy(load_avatars(seeds=range(4), progress=False))


def test_features_have_one_length(shipped: Judge) -> None:
    features = shipped.features(halves(10))
    assert features.shape == (10, 256)
    torch.testing.assert_close(features.square().mean(1), torch.ones(10))


def test_a_judge_is_kept_in_half_precision(tmp_path: Path) -> None:
    judge = train_judge(halves(64), 640, channels=4, batch=32, progress=False)
    save_judge(judge, tmp_path / "judge.safetensors")
    kept = load_judge(tmp_path / "judge.safetensors")
    assert kept.schema == SCHEMA
    images = halves(20)
    assert (judge.read(images) == kept.read(images)).mean() > 0.95
    assert [path.name for path in tmp_path.iterdir()] == ["judge.safetensors"]
    (tmp_path / "other").write_bytes(b"no")
    with pytest.raises(ChibiError, match="other is not a judge"):
        load_judge(tmp_path / "other")


def test_wear_leaves_the_first_half_as_it_is() -> None:
    images = torch.rand(16, 3, 32, 32) * 2 - 1
    worn = wear(images, torch.Generator().manual_seed(0))
    assert worn.shape == images.shape
    assert torch.equal(worn[:8], images[:8])
    assert not any(
        torch.equal(a, b) for a, b in zip(worn[8:14], images[8:14], strict=True)
    )
