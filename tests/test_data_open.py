from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chibi_lab.data import BatchLoader, open_images
from chibi_lab.errors import ChibiError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIBI_LAB_CACHE", str(tmp_path / "cache"))


def write_pictures(folder: Path, count: int) -> Path:
    """Pictures that all differ, and one file that is none."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(count):
        pixels = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    (folder / "notes.png").write_text("no picture")
    return folder


def pictures(data: str | Path, split: str, seed: int = 0) -> set[bytes]:
    images = open_images(data, 16, split, seed=seed, progress=False)
    return {image.tobytes() for image in images.images}


def test_a_style_opens_as_avatars_with_attributes() -> None:
    images = open_images("identicon", size=8, count=5, progress=False)
    assert (len(images), images.size) == (5, 8)
    assert images.attributes.shape == (5, len(images.schema))
    assert images.manifest["seeds"] == {"start": 0, "stop": 5, "step": 1}


def test_splits_of_a_style_have_other_seeds() -> None:
    starts = [
        open_images("identicon", 8, split, 3, progress=False).manifest["seeds"]["start"]
        for split in ("train", "validation", "test")
    ]
    assert len(set(starts)) == 3


def test_the_palette_is_passed_on() -> None:
    images = open_images("identicon", 8, count=2, palette="original", progress=False)
    assert images.manifest["palette"]["name"] == "original"


def test_a_folder_opens_as_images_and_names_what_was_left_out(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "own", 40)
    images = open_images(str(folder), size=16, progress=False)
    assert images.size == 16
    assert images.attributes is None
    assert images.credit == ""
    assert [skip["path"] for skip in images.manifest["skipped"]] == ["notes.png"]
    assert images.manifest["skipped"][0]["reason"]


def test_splits_of_a_folder_share_nothing_and_are_all_of_it(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "own", 40)
    splits = [pictures(folder, split) for split in ("train", "validation", "test")]
    assert min(len(split) for split in splits) >= 1
    assert sum(len(split) for split in splits) == len(set.union(*splits)) == 40


def test_the_seed_decides_how_a_folder_is_split(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "own", 60)
    assert pictures(folder, "validation", 1) == pictures(folder, "validation", 1)
    assert (
        len({frozenset(pictures(folder, "validation", seed)) for seed in range(4)}) > 1
    )


def test_portraits_of_a_style_are_cut_out_of_the_same_cache(tmp_path: Path) -> None:
    square = open_images("identicon", 16, count=3, progress=False)
    portraits = open_images("identicon", 16, count=3, progress=False, width=12)
    np.testing.assert_array_equal(portraits.images, square.images[:, :, 2:14])
    np.testing.assert_array_equal(portraits.attributes, square.attributes)
    assert (portraits.size, portraits.width) == (16, 12)
    assert portraits.manifest == {**square.manifest, "width": 12}
    again = open_images("identicon", 16, count=3, progress=False, width=16)
    assert again.manifest == square.manifest
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 1


def test_portraits_are_trained_on_from_wherever_they_come(tmp_path: Path) -> None:
    own = write_pictures(tmp_path / "own", 40)
    for data in ("identicon", own):
        images = open_images(data, 16, count=4, progress=False, width=12)
        assert (images.size, images.width, images.manifest["width"]) == (16, 12, 12)
        assert next(BatchLoader(images, 4, 0)).shape == (4, 3, 16, 12)


def test_another_width_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    own = write_pictures(tmp_path / "own", 40)
    for data in ("identicon", own):
        with pytest.raises(ChibiError, match="not 10 x 16 pixels"):
            open_images(data, 16, progress=False, width=10)
    assert not (tmp_path / "cache").exists()


def test_a_folder_with_the_name_of_a_style_needs_its_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "identicon", 40)
    monkeypatch.chdir(tmp_path)
    assert (
        open_images("identicon", 8, count=2, progress=False).manifest["source"]
        == "dicebear"
    )
    assert open_images("./identicon", 8, progress=False).manifest["source"] == "folder"


def test_neither_style_nor_folder_is_answered_with_what_is_close() -> None:
    with pytest.raises(ChibiError, match=r"'adventurr'.*adventurer"):
        open_images("adventurr")
    with pytest.raises(ChibiError, match="no style and no folder"):
        open_images("/nowhere/at/all")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"")
    with pytest.raises(ChibiError, match="folder"):
        open_images(str(tmp_path / "picture.png"))


def test_a_wrong_split_is_refused_for_both(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "own", 40)
    for data in ("identicon", str(folder)):
        with pytest.raises(ChibiError, match="train, validation, test"):
            open_images(data, 8, split="exam", progress=False)
