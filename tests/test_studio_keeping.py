import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from chibi_lab.data import load_avatars, split_seeds, to_float, to_uint8
from chibi_lab.errors import ChibiError
from chibi_lab.studio import Origin, keeping
from chibi_lab.studio.enlarging import enlarge
from chibi_lab.studio.findings import examine
from chibi_lab.studio.keeping import keep
from chibi_lab.studio.keys import SigningKey


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings")


@pytest.fixture(scope="module")
def key(settings: Path) -> SigningKey:
    return SigningKey.of_user(settings)


@pytest.fixture(scope="module")
def avatars() -> torch.Tensor:
    return to_float(load_avatars(size=64, seeds=split_seeds("test", 3)).images)


def pixels(path: Path, mode: str) -> np.ndarray:
    return np.asarray(Image.open(path).convert(mode))


@pytest.mark.parametrize("suffix", [".png", ".webp", ".gif", ".PNG"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_kept_file_says_where_it_comes_from_and_is_signed(
    avatars: torch.Tensor, origin: Origin, key: SigningKey, settings: Path,
    tmp_path: Path, suffix: str, count: int,
) -> None:  # fmt: skip
    path = keep(avatars[:count], tmp_path / f"me{suffix}", origin, 64, key=key)
    assert path == tmp_path / f"me{suffix}"
    found = examine(path, settings)
    assert found.origin == origin
    assert found.source_type == "trainedAlgorithmicMedia"
    assert found.signature.valid and found.signature.own and not found.signature.changed
    assert found.format.upper() == suffix[1:].upper()
    with Image.open(path) as picture:
        assert getattr(picture, "n_frames", 1) == count
        assert picture.size == (64, 64)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_what_is_kept_is_the_enlarged_avatar(
    avatars: torch.Tensor, origin: Origin, key: SigningKey, tmp_path: Path
) -> None:
    large = to_uint8(enlarge(avatars[:1], 200))[0]
    for name in ("me.png", "me.webp"):
        path = keep(avatars[:1], tmp_path / name, origin, 200, key=key)
        assert np.array_equal(pixels(path, "RGB"), large)
    portrait = keep(avatars[:1, ..., 8:56], tmp_path / "3-4.png", origin, 200, key=key)
    assert Image.open(portrait).size == (150, 200)
    path = keep(avatars[:1], tmp_path / "usual.png", origin, key=key)
    assert Image.open(path).size == (512, 512)


@pytest.mark.parametrize("name", ["me.png", "me.webp", "me.gif"])
def test_a_transparent_avatar_is_clear_around_and_whole_inside(
    avatars: torch.Tensor, origin: Origin, key: SigningKey, tmp_path: Path, name: str
) -> None:
    path = keep(avatars[:1], tmp_path / name, origin, 128, transparent=True, key=key)
    alpha = pixels(path, "RGBA")[..., 3]
    assert alpha[0].max() == alpha[:64, 0].max() == 0
    assert alpha[54:74, 54:74].min() == 255
    assert 0.2 < (alpha > 0).mean() < 0.8


def test_frames_stay_in_their_order(
    avatars: torch.Tensor, origin: Origin, key: SigningKey, tmp_path: Path
) -> None:
    order = [2, 0, 1, 0, 2]
    path = keep(avatars[order], tmp_path / "moves.png", origin, 64, key=key)
    with Image.open(path) as picture:
        for number, which in enumerate(order):
            picture.seek(number)
            assert picture.info["duration"] == 80
            shown = np.asarray(picture.convert("RGB"))
            assert np.array_equal(shown, to_uint8(avatars)[which])


def test_a_file_that_exists_is_replaced_on_request_alone(
    avatars: torch.Tensor, origin: Origin, key: SigningKey, tmp_path: Path
) -> None:
    path = tmp_path / "me.png"
    path.write_bytes(b"precious")
    with pytest.raises(
        ChibiError, match="exists: choose another name, or ask to overwrite it"
    ):
        keep(avatars[:1], path, origin, 64, key=key)
    assert path.read_bytes() == b"precious"
    keep(avatars[:1], path, origin, 64, overwrite=True, key=key)
    assert Image.open(path).size == (64, 64)


@pytest.mark.parametrize(
    "name",
    ["my avatar.png", "it's \"me\".png", "Ärger 猫 🐈.webp", "-rf.gif", "%s{0}$HOME.png", ".a.png"],
)  # fmt: skip
def test_a_name_may_hold_what_names_hold(
    avatars: torch.Tensor, origin: Origin, key: SigningKey, settings: Path,
    tmp_path: Path, name: str,
) -> None:  # fmt: skip
    keep(avatars[:1], tmp_path / name, origin, 64, key=key)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert examine(tmp_path / name, settings).signature.valid


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("me.jpg", r"me\.jpg would be a JPEG, which smears lines and cannot hold"),
        ("me.JPEG", r"me\.JPEG would be a JPEG"),
        ("me", r"me must end in \.png or \.webp or \.gif"),
        (".png", r"\.png must end in"),
        ("me.png.part", r"me\.png\.part must end in"),
        ("no/such/me.png", "there is no folder .*such: make it, or choose another"),
        ("folder.png", r"folder\.png is a folder: name a file in it"),
        ("folder.png/../no/me.png", "there is no folder"),
        ("x" * 300 + ".png", "cannot write .*: File name too long"),
        ("me\0.png", "holds a character that no file name can hold"),
    ],
)
def test_a_name_that_cannot_be_is_named_and_leaves_nothing(
    avatars: torch.Tensor, origin: Origin, key: SigningKey, tmp_path: Path,
    name: str, message: str,
) -> None:  # fmt: skip
    inner = tmp_path / "inner"
    (inner / "folder.png").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ChibiError, match=message):
        keep(avatars[:1], inner / name, origin, 64, key=key)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_path_that_goes_up_is_where_it_says(
    avatars: torch.Tensor, origin: Origin, key: SigningKey, tmp_path: Path
) -> None:
    (tmp_path / "inner").mkdir()
    keep(avatars[:1], tmp_path / "inner" / ".." / "me.png", origin, 64, key=key)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["inner", "me.png"]
    assert list((tmp_path / "inner").iterdir()) == []


@pytest.mark.parametrize("step", ["enlarge", "encode", "embed", "sign"])
def test_whatever_fails_leaves_everything_as_it_was(
    avatars: torch.Tensor, origin: Origin, key: SigningKey, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, step: str,
) -> None:  # fmt: skip
    def fail(*_: object, **__: object) -> None:
        raise ChibiError("it went wrong")

    (tmp_path / "me.png").write_bytes(b"precious")
    monkeypatch.setattr(keeping, step, fail)
    with pytest.raises(ChibiError, match="it went wrong"):
        keep(avatars[:1], tmp_path / "me.png", origin, 64, overwrite=True, key=key)
    assert [file.name for file in tmp_path.iterdir()] == ["me.png"]
    assert (tmp_path / "me.png").read_bytes() == b"precious"


def test_a_full_disk_leaves_the_file_that_was_there(
    avatars: torch.Tensor, origin: Origin, key: SigningKey, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    (tmp_path / "me.png").write_bytes(b"precious")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        ChibiError, match=r"cannot write .*me\.png: No space left on device"
    ):
        keep(avatars[:1], tmp_path / "me.png", origin, 64, overwrite=True, key=key)
    assert [file.name for file in tmp_path.iterdir()] == ["me.png"]
    assert (tmp_path / "me.png").read_bytes() == b"precious"


@pytest.mark.parametrize("size", [0, 63, 1025])
def test_a_size_that_cannot_be_is_named(
    avatars: torch.Tensor, origin: Origin, key: SigningKey, tmp_path: Path, size: int
) -> None:
    with pytest.raises(ChibiError, match=f"size is {size}: it must be 64 to 1024"):
        keep(avatars[:1], tmp_path / "me.png", origin, size, key=key)
    assert list(tmp_path.iterdir()) == []


def test_pictures_that_cannot_be_kept_are_named(
    avatars: torch.Tensor, origin: Origin, key: SigningKey, tmp_path: Path
) -> None:
    path = tmp_path / "me.png"
    with pytest.raises(ChibiError, match="there is no picture"):
        keep(avatars[:0], path, origin, 64, key=key)
    with pytest.raises(ChibiError, match="background all over"):
        keep(torch.zeros(1, 3, 64, 64), path, origin, 64, transparent=True, key=key)
    with pytest.raises(ChibiError, match="not a number"):
        keep(avatars[:1] * float("nan"), path, origin, 64, key=key)
    assert list(tmp_path.iterdir()) == []
