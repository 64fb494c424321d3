import hashlib
import itertools
import json
import multiprocessing
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chibi_lab.data import ImageSet, load_avatars, render_avatar, split_seeds, workers
from chibi_lab.errors import ChibiError

STYLE, SIZE, SEEDS = "identicon", 8, range(3, 9)


def load(folder: Path, **options: Any) -> ImageSet:
    chosen = {
        "style": STYLE,
        "size": SIZE,
        "seeds": SEEDS,
        "workers": 1,
        "progress": False,
    }
    return load_avatars(cache=folder, **{**chosen, **options})


def data_folder(folder: Path) -> Path:
    (found,) = [path for path in folder.iterdir() if path.is_dir()]
    return found


def assert_right(images: ImageSet, seeds: range = SEEDS) -> None:
    assert len(images) == len(seeds)
    for image, row, seed in zip(images.images, images.attributes, seeds, strict=True):
        expected, attributes = render_avatar(STYLE, seed, SIZE)
        np.testing.assert_array_equal(image, expected)
        assert images.schema.decode(row) == attributes


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("drawn again")


# --- what is kept


def test_every_seed_has_its_image_and_attributes(tmp_path: Path) -> None:
    assert_right(load(tmp_path))


def test_the_second_time_nothing_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(tmp_path)
    monkeypatch.setattr(workers, "render_avatars", refuse)
    second = load(tmp_path)
    assert_right(second)
    assert second.manifest == first.manifest
    assert isinstance(second.images, np.memmap)
    assert not second.images.flags.writeable


def test_another_recipe_is_another_data_set(tmp_path: Path) -> None:
    load(tmp_path)
    assert load(tmp_path, size=16).size == 16
    assert load(tmp_path, palette="original").manifest["palette"]["name"] == "original"
    assert_right(load(tmp_path, seeds=range(4, 7)), range(4, 7))
    assert_right(load(tmp_path, seeds=range(9, 3, -2)), range(9, 3, -2))
    assert_right(load(tmp_path))
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 5


def test_the_manifest_says_what_it_is_and_whose(tmp_path: Path) -> None:
    images = load(tmp_path, style="adventurer", seeds=range(2))
    manifest = json.loads(
        (data_folder(tmp_path) / "manifest.json").read_text(encoding="utf-8")
    )
    assert manifest == images.manifest
    assert manifest["style"] == "adventurer"
    assert manifest["size"] == SIZE
    assert manifest["seeds"] == {"start": 0, "stop": 2, "step": 1}
    assert manifest["palette"]["name"] == "pastel"
    assert ["pink", "#f8a1c4"] in manifest["palette"]["colors"]["hair"]
    assert (manifest["author"], manifest["licence"]) == ("Lisa Wischofsky", "CC BY 4.0")
    assert set(manifest["versions"]) == {"dicebear-core", "dicebear-styles", "resvg-py"}
    for name, digest in manifest["sha256"].items():
        content = (data_folder(tmp_path) / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
    assert set(manifest["sha256"]) == {"images.npy", "attributes.npy"}
    assert "Lisa Wischofsky" in images.credit and "Colours changed" in images.credit


def test_unchanged_colours_are_not_called_changed(tmp_path: Path) -> None:
    # This style brings every colour itself, so the palette has nothing to change.
    assert "changed" not in load(tmp_path, style="glass", seeds=range(1)).credit


def test_the_cache_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHIBI_LAB_CACHE", str(tmp_path / "here"))
    load_avatars(STYLE, SIZE, range(2), workers=1, progress=False)
    assert data_folder(tmp_path / "here").name.startswith("identicon-pastel-8px")


def test_progress_is_shown_when_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    load(tmp_path / "quiet", progress=False)
    assert capsys.readouterr().err == ""
    load(tmp_path / "loud", progress=True)
    assert "6/6" in capsys.readouterr().err


# --- damage


def flip_a_byte(folder: Path) -> None:
    path = folder / "images.npy"
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def cut_off(folder: Path) -> None:
    path = folder / "images.npy"
    os.truncate(path, path.stat().st_size // 2)


def empty_the_attributes(folder: Path) -> None:
    (folder / "attributes.npy").write_bytes(b"")


def other_attributes(folder: Path) -> None:
    """Arrays and hashes agree with one another, but not with the recipe."""
    np.save(folder / "attributes.npy", np.zeros((1, 1), dtype=np.int64))
    edit(folder, lambda manifest: manifest["sha256"].update(hashes(folder)))


def other_images(folder: Path) -> None:
    np.save(folder / "images.npy", np.zeros((6, 4, 4, 3), dtype=np.uint8))
    edit(folder, lambda manifest: manifest["sha256"].update(hashes(folder)))


def fewer_pictures(folder: Path) -> None:
    for name in ("images.npy", "attributes.npy"):
        np.save(folder / name, np.load(folder / name)[:3])
    edit(folder, lambda manifest: manifest.update(count=3, sha256=hashes(folder)))


def a_pickle(folder: Path) -> None:
    np.save(folder / "images.npy", np.array([{}], dtype=object), allow_pickle=True)
    edit(folder, lambda manifest: manifest["sha256"].update(hashes(folder)))


def half_a_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text(encoding="utf-8")[:100], encoding="utf-8")


def a_manifest_of_nothing(folder: Path) -> None:
    (folder / "manifest.json").write_text("[]", encoding="utf-8")


def another_size(folder: Path) -> None:
    edit(folder, lambda manifest: manifest.update(size=64))


def no_hashes(folder: Path) -> None:
    edit(folder, lambda manifest: manifest.pop("sha256"))


def no_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def no_images(folder: Path) -> None:
    (folder / "images.npy").unlink()


def hashes(folder: Path) -> dict[str, str]:
    arrays = folder.glob("*.npy")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in arrays}


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_byte,
        cut_off,
        empty_the_attributes,
        other_attributes,
        other_images,
        fewer_pictures,
        a_pickle,
        half_a_manifest,
        a_manifest_of_nothing,
        another_size,
        no_hashes,
        no_manifest,
        no_images,
    ],
)
def test_damage_is_noticed_and_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    load(tmp_path)
    damage(data_folder(tmp_path))
    with pytest.warns(UserWarning, match="damaged") as caught:
        assert_right(load(tmp_path))
    assert len(caught) == 1
    monkeypatch.setattr(workers, "render_avatars", refuse)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_right(load(tmp_path))


def test_one_who_still_reads_a_damaged_set_is_not_disturbed(tmp_path: Path) -> None:
    reading = load(tmp_path)
    no_manifest(data_folder(tmp_path))
    with pytest.warns(UserWarning, match="damaged"):
        load(tmp_path)
    assert_right(reading)


# --- interruptions


def interrupted(*arguments: Any, **options: Any) -> Any:
    if 6 in arguments[1]:
        raise KeyboardInterrupt
    return drawn_rightly(*arguments, **options)


drawn_rightly = workers.render_avatars


def test_ctrl_c_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_BLOCK", 2 * SIZE**2)
    monkeypatch.setattr(workers, "render_avatars", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []
    monkeypatch.undo()
    assert_right(load(tmp_path))


def test_what_a_killed_process_left_is_not_used_and_goes_away(tmp_path: Path) -> None:
    load(tmp_path)
    folder = data_folder(tmp_path)
    leftover = tmp_path / f".{folder.name}.0123.part"
    shutil.move(folder, leftover)
    cut_off(leftover)
    assert_right(load(tmp_path))
    assert not leftover.exists()


# --- several processes


def counted(*arguments: Any, **options: Any) -> Any:
    with Path(os.environ["TEST_DRAWINGS"]).open("a") as file:
        file.write("drawn\n")
    return drawn_rightly(*arguments, **options)


def load_together(folder: Path, start: Any, digests: Any) -> None:
    start.wait()
    images = load(folder, seeds=range(40))
    digests.put(hashlib.sha256(images.images.tobytes()).hexdigest())


@pytest.mark.skipif(
    workers._START_METHOD != "fork", reason="the patch reaches forked processes only"
)
@pytest.mark.parametrize("locks", [True, False])
def test_processes_may_ask_for_the_same_set_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: bool
) -> None:
    import fcntl

    def no_lock(*_: object) -> None:
        raise OSError("no locks on this file system")

    if not locks:
        monkeypatch.setattr(fcntl, "flock", no_lock)
    monkeypatch.setenv("TEST_DRAWINGS", str(tmp_path / "drawings"))
    monkeypatch.setattr(workers, "render_avatars", counted)
    context = multiprocessing.get_context("fork")
    start, digests = context.Barrier(3), context.Queue()
    folder = tmp_path / "cache"
    processes = [
        context.Process(target=load_together, args=(folder, start, digests))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    found = {digests.get(timeout=60) for _ in processes}
    for process in processes:
        process.join(timeout=60)

    drawings = len((tmp_path / "drawings").read_text().splitlines())
    assert drawings == 1 if locks else drawings >= 1
    expected = load(folder, seeds=range(40))
    assert_right(expected, range(40))
    assert found == {hashlib.sha256(expected.images.tobytes()).hexdigest()}
    assert not list(folder.glob("*.part"))


# --- mistakes


def test_a_cache_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ChibiError, match="CHIBI_LAB_CACHE"):
        load(tmp_path / "file")


@pytest.mark.parametrize(
    "options",
    [
        {"style": "adventurr"},
        {"palette": "neon"},
        {"size": 4},
        {"seeds": range(0)},
        {"seeds": range(-2, 3)},
        {"workers": 0},
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(ChibiError):
        load(tmp_path / "cache", **options)
    assert not (tmp_path / "cache").exists()


def test_without_a_home_folder_a_line_says_what_helps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nobody(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("CHIBI_LAB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "expanduser", nobody)
    with pytest.raises(ChibiError, match=r"home folder.*CHIBI_LAB_CACHE"):
        load_avatars(STYLE, SIZE, range(2))


# --- splits


def test_splits_never_share_a_seed() -> None:
    most = 1_000_000_000
    splits = [split_seeds(split, most) for split in ("train", "validation", "test")]
    edges = sorted((seeds[0], seeds[-1]) for seeds in splits)
    assert all(last < first for (_, last), (first, _) in itertools.pairwise(edges))
    assert split_seeds("train", 5) == range(5)


@pytest.mark.parametrize(
    ("split", "count"), [("train", 0), ("train", 1_000_000_001), ("exam", 5), ("", 5)]
)
def test_there_are_no_other_splits_or_counts(split: str, count: int) -> None:
    with pytest.raises(ChibiError):
        split_seeds(split, count)
