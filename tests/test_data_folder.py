"""A folder of pictures becomes an image set; what is left out is named; copies stay together."""

import json
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from chibi_lab.data import listing
from chibi_lab.data.folder import FolderReport, changes, read_folder, split_folder
from chibi_lab.data.images import ImageSet
from chibi_lab.errors import ChibiError


def paint(path: Path, shade: int, side: int = 32) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), (shade, 0, 255 - shade)).save(path)
    return path


def shades(image_set: ImageSet) -> list[int]:
    return image_set.images[:, 0, 0, 0].tolist()


def skipped(report: FolderReport) -> dict[str, str]:
    return {skip.path.as_posix(): skip.reason for skip in report.skipped}


def read(folder: Path, minimum: int = 1) -> tuple[ImageSet, FolderReport]:
    return read_folder(folder, 32, minimum=minimum, progress=False)


def error(folder: Path | str, **options: object) -> str:
    with pytest.raises(ChibiError) as caught:
        read_folder(folder, progress=False, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What is found


def test_pictures_come_in_the_order_of_their_relative_paths(tmp_path: Path) -> None:
    paths = [
        "b.png",
        "a/z.bmp",
        "a/deep/er/c.jpg",
        "a.gif",
        "a-b.webp",
        "B.png",
        "ä.png",
    ]
    for index, path in enumerate(paths):
        paint(tmp_path / path, 20 * index)
    images, report = read(tmp_path)
    assert [path.as_posix() for path in report.used] == sorted(paths)
    assert report.skipped == ()
    assert images.images.shape == (7, 32, 32, 3)
    expected = [20 * paths.index(path) for path in sorted(paths)]
    assert np.abs(np.subtract(shades(images), expected)).max() <= 4
    assert np.array_equal(read(tmp_path)[0].images, images.images)


def test_content_counts_and_not_the_name(tmp_path: Path) -> None:
    paint(tmp_path / "picture.png", 10).rename(tmp_path / "picture.jpg")
    paint(tmp_path / "other.png", 20).rename(tmp_path / "other")
    (tmp_path / "text.png").write_text("I am not a picture")
    images, report = read(tmp_path)
    assert shades(images) == [20, 10]
    assert skipped(report).keys() == {"text.png"}


def test_everything_left_out_is_named_with_its_reason(tmp_path: Path) -> None:
    paint(tmp_path / "good.png", 1)
    paint(tmp_path / "icons/small.png", 1, side=31)
    data = paint(tmp_path / "cut.bmp", 1).read_bytes()
    (tmp_path / "cut.bmp").write_bytes(data[:1000])
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.txt").write_text("hello")
    paint(tmp_path / ".hidden.png", 1)
    paint(tmp_path / ".git/inside.png", 1)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    (tmp_path / "icons/up").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")

    images, report = read(tmp_path)

    assert report.used == (Path("good.png"),)
    assert shades(images) == [1]
    reasons = skipped(report)
    assert list(reasons) == sorted(reasons)
    assert {path: reason.partition(":")[0] for path, reason in reasons.items()} == {
        ".git": "hidden",
        ".hidden.png": "hidden",
        "cut.bmp": "truncated",
        "empty.png": "empty file",
        "gone.png": "broken link",
        "icons/small.png": "too small",
        "icons/up": "link to a folder",
        "notes.txt": "not an image",
        "pipe.png": "not a file",
        "self.png": "broken link",
    }
    lines = report.summary().splitlines()
    assert lines[0] == f"{tmp_path}: pictures used: 1, left out: 10"
    assert lines[1:] == [f"  {path}: {reason}" for path, reason in reasons.items()]
    assert images.manifest["skipped"] == [
        {"path": path, "reason": reason} for path, reason in reasons.items()
    ]


def test_a_folder_may_be_called_like_a_picture(tmp_path: Path) -> None:
    paint(tmp_path / "x.png" / "y.png", 5)
    assert read(tmp_path)[1] == FolderReport(tmp_path, (Path("x.png/y.png"),), ())


def test_links_to_pictures_and_to_the_folder_itself_are_followed(
    tmp_path: Path,
) -> None:
    paint(tmp_path / "elsewhere/a.png", 5)
    (tmp_path / "real").mkdir()
    (tmp_path / "real/b.png").symlink_to(tmp_path / "elsewhere/a.png")
    (tmp_path / "folder").symlink_to(tmp_path / "real")
    assert read(tmp_path / "folder")[1].used == (Path("b.png"),)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_and_folders_without_permission(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", 1)
    paint(tmp_path / "b.png", 1).chmod(0)
    paint(tmp_path / "c/d.png", 1)
    (tmp_path / "c").chmod(0)
    try:
        report = read(tmp_path)[1]
    finally:
        (tmp_path / "c").chmod(0o700)
    assert report.used == (Path("a.png"),)
    assert skipped(report) == dict.fromkeys(
        ["b.png", "c"], "unreadable: Permission denied"
    )


def test_files_and_folders_that_the_system_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for whoever runs the tests, root too."""
    for name in ("a.png", "b.png", "c/d.png"):
        paint(tmp_path / name, 1)
    os_open, scandir = os.open, os.scandir

    def refuse_file(path: Path, *arguments: object) -> object:
        if Path(path).name == "b.png":
            raise PermissionError(13, "Permission denied", str(path))
        return os_open(path, *arguments)

    def refuse_folder(path: Path) -> object:
        if Path(path).name == "c":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "open", refuse_file)
    monkeypatch.setattr(listing.os, "scandir", refuse_folder)
    report = read(tmp_path)[1]
    assert report.used == (Path("a.png"),)
    assert skipped(report) == dict.fromkeys(
        ["b.png", "c"], "unreadable: Permission denied"
    )


def test_strange_names_do_not_break_the_report(tmp_path: Path) -> None:
    (tmp_path / "two\nlines.png").write_text("no picture")
    (tmp_path / "\x1b[31mred.png").write_text("no picture")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/latin-\xe9.png")).write_text(
            "no picture"
        )
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    paint(tmp_path / "a.png", 1)
    images, report = read(tmp_path)
    summary = report.summary()
    assert len(summary.splitlines()) == 4
    assert "\x1b" not in summary
    summary.encode("utf-8")
    text = json.dumps(images.manifest, ensure_ascii=False).encode()
    assert len(json.loads(text)["skipped"]) == 3


def test_what_trainings_made_is_not_learned_from(tmp_path: Path) -> None:
    paint(tmp_path / "mine" / "a.png", 1)
    (tmp_path / "mine" / "config.json").write_text("{}")  # of some other program
    for run in ("run", "deep/down/run"):
        paint(tmp_path / run / "samples" / "000000000.png", 2)
        (tmp_path / run / "config.json").write_text("{}")
    paint(tmp_path / "report" / "grid.png", 2)
    (tmp_path / "report" / "comparison.json").write_text("{}")
    report = read(tmp_path)[1]
    assert report.used == (Path("mine/a.png"),)
    assert {path: why.partition(":")[0] for path, why in skipped(report).items()} == {
        "deep/down/run": "a run",
        "mine/config.json": "not an image",
        "report": "a report on runs",
        "run": "a run",
    }
    assert "1 a run" in error(tmp_path / "run")


def test_a_whole_disk_is_no_folder_of_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MOST", 2)
    for index in range(3):
        paint(tmp_path / f"{index}.png", 1)
    assert "more than 2 files" in error(tmp_path)


def test_a_name_for_no_folder(tmp_path: Path) -> None:
    assert "no name" in error("")
    assert "home folder" in error("~nosuchuser/pictures")


# What changed


def train_part(folder: Path) -> dict[str, object]:
    return split_folder(read(folder)[0], 0.1, 0.1)["train"].manifest


def test_the_place_and_its_pictures_are_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(9):
        paint(tmp_path / "pics" / f"{index}.png", index)
    monkeypatch.chdir(tmp_path)
    before = train_part(Path("pics/"))
    assert before["folder"] == str(tmp_path / "pics")
    assert len(before["files"]) + len(before["other_files"]) == 9
    (tmp_path / "pics").rename(tmp_path / "moved")
    after = train_part(Path("moved"))
    assert changes(before, after) == ""
    assert changes({"source": "folder"}, after) == ""  # written by an older version


def test_what_changed_in_a_folder_is_said(tmp_path: Path) -> None:
    for index in range(9):
        paint(tmp_path / f"{index}.png", index)
    before = train_part(tmp_path)
    paint(tmp_path / "new.png", 99)
    (tmp_path / "3.png").unlink()
    said = changes(before, train_part(tmp_path))
    assert "1 added (first: new.png), 1 taken away (first: 3.png)" in said
    before = train_part(tmp_path)
    paint(tmp_path / "new.png", 98)
    assert "other pixels" in changes(before, train_part(tmp_path))
    paint(tmp_path / "another" / "x.png", 1)
    paint(tmp_path / "another" / "y.png", 2)
    paint(tmp_path / "another" / "z.png", 3)
    with pytest.raises(ChibiError, match="none of the pictures"):
        changes(before, train_part(tmp_path / "another"))


# How it is read


def test_the_manifest_says_what_was_read(tmp_path: Path) -> None:
    for index in range(3):
        paint(tmp_path / f"{index}.png", index)
    images, _ = read_folder(tmp_path, 16, background="navy", minimum=1, progress=False)
    assert len(images.manifest.pop("fingerprint")) == 64
    assert images.manifest == {
        "source": "folder",
        "folder": str(tmp_path),
        "size": 16,
        "width": 16,
        "background": "navy",
        "count": 3,
        "credit": "",
        "files": ["0.png", "1.png", "2.png"],
        "skipped": [],
    }
    assert (images.size, images.attributes, images.schema, images.credit) == (
        16,
        None,
        None,
        "",
    )


def test_portraits_are_cut_out_before_they_are_scaled(tmp_path: Path) -> None:
    paint(tmp_path / "low.png", 1, side=60)
    # 48 x 64 is the shape asked for: nothing of it is lost, though a square would lose a quarter.
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "portrait.png")
    images, report = read_folder(tmp_path, 64, minimum=1, progress=False, width=48)
    assert (images.size, images.width, images.manifest["width"]) == (64, 48, 48)
    np.testing.assert_array_equal(images.images, pixels[None])
    assert skipped(report) == {
        "low.png": "too small: 60 x 60 px, at least 48 x 64 needed"
    }
    assert "48 x 64 px or more" in error(tmp_path, width=48)
    assert "3:4" in error(tmp_path, width=40)


def test_the_background_is_chosen_by_name_or_number(tmp_path: Path) -> None:
    Image.new("RGBA", (32, 32), (9, 9, 9, 0)).save(tmp_path / "clear.png")
    for background, colour in {
        "#ffffff": 255,
        "#123": (17, 34, 51),
        "red": (255, 0, 0),
    }.items():
        images, _ = read_folder(tmp_path, 32, background, minimum=1, progress=False)
        assert (images.images == colour).all()


def test_nothing_in_the_folder_is_changed(tmp_path: Path) -> None:
    paint(tmp_path / "a/b.png", 1)
    paint(tmp_path / "c.jpg", 1)
    (tmp_path / "d.txt").write_text("hello")

    def look() -> dict[str, tuple[int, int, bytes]]:
        return {
            str(path): (
                path.stat().st_mtime_ns,
                path.stat().st_mode,
                path.read_bytes() if path.is_file() else b"",
            )
            for path in [tmp_path, *tmp_path.rglob("*")]
        }

    before = look()
    images, _ = read(tmp_path)
    images.images[:] = 0
    assert look() == before


def test_pillow_and_the_warnings_are_left_as_they_were(tmp_path: Path) -> None:
    """Also while a picture is so large that Pillow warns."""
    paint(tmp_path / "a.png", 1)
    header = Image.new("1", (9500, 9500))  # 90 million pixels, in a file of 10 kB
    header.save(tmp_path / "bomb.png")
    state = (
        Image.MAX_IMAGE_PIXELS,
        ImageFile.LOAD_TRUNCATED_IMAGES,
        list(warnings.filters),
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = read(tmp_path)[1]
    assert caught == []
    assert skipped(report) == {
        "bomb.png": "decompression bomb: more than 89,478,485 pixels"
    }
    assert state == (
        Image.MAX_IMAGE_PIXELS,
        ImageFile.LOAD_TRUNCATED_IMAGES,
        list(warnings.filters),
    )


def test_progress_is_shown_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    paint(tmp_path / "a.png", 1)
    read_folder(tmp_path, 32, minimum=1, progress=False)
    assert capsys.readouterr().err == ""
    read_folder(tmp_path, 32, minimum=1, progress=True)
    assert "1/1" in capsys.readouterr().err


# What is refused


def test_a_missing_folder(tmp_path: Path) -> None:
    assert error(tmp_path / "pictures") == (
        f"{tmp_path}/pictures is not there: give a folder of PNG, JPEG, WebP, GIF, BMP, TIFF "
        "or AVIF pictures"
    )


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    assert "a.png is a file, not a folder" in error(paint(tmp_path / "a.png", 1))


def test_an_empty_folder(tmp_path: Path) -> None:
    assert error(tmp_path) == (
        f"{tmp_path} is empty; pictures needed: at least 32 "
        "(PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF, 64 x 64 px or more)"
    )
    (tmp_path / "also/empty").mkdir(parents=True)
    assert "is empty" in error(tmp_path, minimum=0)


def test_too_few_pictures(tmp_path: Path) -> None:
    for index in range(5):
        paint(tmp_path / f"{index}.png", index, side=64 if index < 2 else 40)
    (tmp_path / "notes.txt").write_text("hello")
    assert error(tmp_path, minimum=3) == (
        f"{tmp_path}: usable pictures: 2, needed: at least 3 (PNG, JPEG, WebP, GIF, BMP, TIFF or "
        "AVIF, 64 x 64 px or more); left out: 3 too small, 1 not an image "
        "(first: 2.png: too small: 40 x 40 px, at least 64 x 64 needed)"
    )
    assert len(read_folder(tmp_path, minimum=2, progress=False)[0]) == 2


@pytest.mark.parametrize("size", [0, -64, 10**6])
def test_a_senseless_size(size: int, tmp_path: Path) -> None:
    paint(tmp_path / "a.png", 1)
    error(tmp_path, size=size, minimum=1)


def test_a_background_that_is_no_colour(tmp_path: Path) -> None:
    assert error(tmp_path, background="whiteish") == (
        "'whiteish' is no colour: write it like '#ffffff'"
    )


# Splits


def numbered(shades: list[int]) -> ImageSet:
    """Pictures that tell which file they are by their first pixel: equal numbers are copies."""
    images = np.zeros((len(shades), 4, 4, 3), dtype=np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.divmod(shades, 256)
    return ImageSet(
        images, manifest={"files": [f"{i}.png" for i in range(len(shades))]}
    )


def numbers(image_set: ImageSet) -> list[int]:
    return (image_set.images[:, 0, 0, :2].astype(int) @ [256, 1]).tolist()


def test_a_split_shares_nothing_and_loses_nothing() -> None:
    parts = split_folder(numbered(list(range(1000))), validation=0.1, test=0.05)
    assert list(parts) == ["train", "validation", "test"]
    assert [len(part) for part in parts.values()] == [850, 100, 50]
    assert sorted(number for part in parts.values() for number in numbers(part)) == [
        *range(1000)
    ]
    for part in parts.values():
        assert numbers(part) == sorted(numbers(part))
        assert part.manifest["files"] == [f"{number}.png" for number in numbers(part)]
        assert part.manifest["count"] == len(part)


@pytest.mark.parametrize("seed", range(20))
def test_copies_are_never_in_two_parts(seed: int) -> None:
    generator = np.random.default_rng(seed)
    count = int(generator.integers(3, 60))
    shades = [
        *range(3),
        *generator.integers(0, generator.integers(3, 40), count).tolist(),
    ]
    parts = split_folder(numbered(shades), 0.2, 0.2, seed=seed)
    train, validation, test = (set(numbers(part)) for part in parts.values())
    assert train and validation and test
    assert not train & validation and not train & test and not validation & test
    assert sum(map(len, parts.values())) == len(shades)


def test_the_seed_decides_the_split() -> None:
    pictures = numbered(list(range(200)))
    first, again, other = (
        split_folder(pictures, seed=seed)["test"] for seed in (0, 0, 1)
    )
    assert numbers(first) == numbers(again) != numbers(other)


def test_the_split_does_not_depend_on_the_order() -> None:
    shuffled = np.random.default_rng(0).permutation(200).tolist()
    here, there = (split_folder(numbered(s)) for s in (list(range(200)), shuffled))
    for part in here:
        assert set(numbers(here[part])) == set(numbers(there[part]))


def test_a_part_of_nothing() -> None:
    parts = split_folder(numbered([1, 2]), validation=0.5, test=0)
    assert [len(part) for part in parts.values()] == [1, 1, 0]
    assert len(split_folder(numbered([7]), 0, 0)["train"]) == 1


@pytest.mark.parametrize("shades", [[1], [1, 2], [1, 1, 1, 2, 2]])
def test_too_few_different_pictures(shades: list[int]) -> None:
    with pytest.raises(
        ChibiError, match=rf"{len(shades)} pictures, of which {len(set(shades))}"
    ):
        split_folder(numbered(shades))


@pytest.mark.parametrize("shares", [(-0.1, 0.1), (0.3, 0.3), (1, 0), (float("nan"), 0)])
def test_senseless_shares(shares: tuple[float, float]) -> None:
    with pytest.raises(ChibiError, match="at most half of the pictures"):
        split_folder(numbered(list(range(20))), *shares)


def test_a_split_of_a_real_folder_with_copies_of_every_kind(tmp_path: Path) -> None:
    """A copied file, a link, another lossless format and a turned one are the same picture."""
    generator = np.random.default_rng(0)
    for index in range(12):
        pixels = generator.integers(0, 256, (48, 40, 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
        image.save(tmp_path / f"{index}.png")
        shutil.copy(tmp_path / f"{index}.png", tmp_path / f"{index}-copy.jpeg")
        (tmp_path / f"{index}-link.png").symlink_to(tmp_path / f"{index}.png")
        image.save(tmp_path / f"{index}-format.bmp")
        exif = Image.Exif()
        exif[0x0112] = 6
        turned = image.transpose(Image.Transpose.ROTATE_90)
        turned.save(tmp_path / f"{index}-turned.webp", lossless=True, exif=exif)
    images, report = read(tmp_path)
    assert (len(images), report.skipped) == (60, ())
    parts = split_folder(images, 0.1, 0.1)
    assert [len(part) for part in parts.values()] == [50, 5, 5]
    homes = {
        part: {
            name.partition(".")[0].partition("-")[0]
            for name in images.manifest["files"]
        }
        for part, images in parts.items()
    }
    assert sum(map(len, homes.values())) == 12
