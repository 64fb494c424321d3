"""Archives of images are written once, read in a seeded order, and resumed where one stopped."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from chibi_lab.cli import main
from chibi_lab.data import (
    ShardLoader,
    load_avatars,
    open_images,
    open_loader,
    open_shards,
    open_training,
    split_seeds,
    to_float,
    to_uint8,
    write_shards,
)
from chibi_lab.data import (
    shards as shards_module,
)
from chibi_lab.errors import ChibiError
from chibi_lab.training import Run, VAEConfig, train_vae

STYLE, SIZE, SEEDS = "adventurer", 32, range(90)


@pytest.fixture(scope="module", autouse=True)
def small_shards() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards_module, "SHARD", 10)
        patch.setattr(shards_module, "WINDOW", 3)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_shards: object) -> Path:
    out = tmp_path_factory.mktemp("data") / "shards"
    write_shards(STYLE, SEEDS, SIZE, "pastel", out, workers=1, progress=False)
    return out


def drawn(loader: ShardLoader, batches: int) -> list[torch.Tensor]:
    return [next(loader) for _ in range(batches)]


def test_the_archives_hold_each_avatar_once_with_its_attributes(folder: Path) -> None:
    shards = open_shards(folder)
    assert shards.counts == (10,) * 9 and len(shards) == 90 and shards.size == SIZE
    loaded = shards.load(1_000)
    avatars = load_avatars(STYLE, SIZE, SEEDS, workers=1, progress=False)
    assert np.array_equal(loaded.images, avatars.images)
    assert np.array_equal(loaded.attributes, avatars.attributes)
    assert "Lisa Wischofsky" in shards.manifest["credit"]
    with tarfile.open(folder / "shard-000003.tar") as archive:
        names = archive.getnames()
    assert names[:2] == ["0000000030.png", "0000000030.json"]
    assert len(names) == 20


def test_what_was_stopped_goes_on_and_ends_with_the_same_bytes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, finish = tmp_path / "again", shards_module._write_shard

    def stop_at_the_fourth(path: Path, samples: object) -> None:
        if path.name == "shard-000003.tar":
            raise KeyboardInterrupt
        finish(path, samples)

    monkeypatch.setattr(shards_module, "_write_shard", stop_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        write_shards(STYLE, SEEDS, SIZE, "pastel", out, workers=1, progress=False)
    with pytest.raises(ChibiError, match="holds no finished shards"):
        open_shards(out)
    monkeypatch.setattr(shards_module, "_write_shard", finish)
    with pytest.raises(ChibiError, match="is in the way"):
        write_shards(STYLE, range(50), SIZE, "pastel", out, progress=False)
    write_shards(STYLE, SEEDS, SIZE, "pastel", out, workers=1, progress=False)
    for path in folder.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()
    assert len(list(out.iterdir())) == len(list(folder.iterdir()))


def test_a_pass_draws_every_image_once_in_an_order_of_its_own(folder: Path) -> None:
    loader = ShardLoader(open_shards(folder), batch=10, seed=0)
    first, second = torch.cat(drawn(loader, 9)), torch.cat(drawn(loader, 9))
    everything = to_float(open_shards(folder).load(90).images)
    for one_pass in (first, second):
        assert torch.equal(
            one_pass.flatten(1).unique(dim=0), everything.flatten(1).unique(dim=0)
        )
    assert not torch.equal(first, second)
    assert not torch.equal(first, everything)
    again = ShardLoader(open_shards(folder), batch=10, seed=0)
    assert torch.equal(torch.cat(drawn(again, 9)), first)
    other = ShardLoader(open_shards(folder), batch=10, seed=1)
    assert not torch.equal(torch.cat(drawn(other, 9)), first)


def test_attributes_come_with_their_image_through_shares_and_resume(
    folder: Path,
) -> None:
    shards = open_shards(folder)
    everything = shards.load(90)
    known = {
        image.tobytes(): row.tolist()
        for image, row in zip(everything.images, everything.attributes, strict=True)
    }
    whole, resumed = ShardLoader(shards, 8, 3), ShardLoader(shards, 8, 0)
    shares = [ShardLoader(shards, 8, 3, share=(part, 2)) for part in range(2)]
    assert whole.schema == shards.schema == everything.schema
    assert whole.attributes.shape == (0, len(shards.schema))
    for step in range(14):  # into the second pass
        if step == 5:
            next(resumed)
            resumed.load_state_dict(whole.state_dict())
            assert resumed.attributes.shape == (0, len(shards.schema))
        rows = [known[image.tobytes()] for image in to_uint8(next(whole))]
        assert whole.attributes.dtype == torch.int64
        assert whole.attributes.tolist() == rows
        for share in shares:
            next(share)
        parts = torch.cat([share.attributes for share in shares])
        assert torch.equal(parts, whole.attributes)
        if step >= 5:
            next(resumed)
            assert torch.equal(resumed.attributes, whole.attributes)


def test_portraits_are_the_middle_columns(folder: Path) -> None:
    shards = open_shards(folder).crop(24)
    assert (shards.size, shards.width, shards.manifest["width"]) == (32, 24, 24)
    square, portraits = open_shards(folder).load(5), shards.load(5)
    np.testing.assert_array_equal(portraits.images, square.images[:, :, 4:28])
    assert (portraits.width, portraits.manifest["width"]) == (24, 24)
    wide, narrow = (ShardLoader(s, 8, 3) for s in (open_shards(folder), shards))
    assert torch.equal(next(narrow), next(wide)[..., 4:28])
    assert torch.equal(narrow.attributes, wide.attributes)
    with pytest.raises(ChibiError, match="3:4"):
        shards.crop(20)


def test_shares_make_up_the_batch_and_stand_at_one_place(folder: Path) -> None:
    shards = open_shards(folder)
    whole = ShardLoader(shards, batch=8, seed=3)
    shares = [ShardLoader(shards, 8, 3, share=(part, 2)) for part in range(2)]
    for _ in range(14):  # into the second pass
        assert torch.equal(torch.cat([next(share) for share in shares]), next(whole))
    assert all(share.state_dict() == whole.state_dict() for share in shares)


@pytest.mark.parametrize("before", [0, 1, 4, 7, 13])
def test_a_loader_goes_on_where_another_stood(folder: Path, before: int) -> None:
    loader = ShardLoader(open_shards(folder), batch=8, seed=5)
    drawn(loader, before)
    state = json.loads(json.dumps(loader.state_dict()))
    resumed = ShardLoader(open_shards(folder), batch=8, seed=0)
    resumed.load_state_dict(state)
    for _ in range(12):
        assert torch.equal(next(resumed), next(loader))


@pytest.mark.parametrize(
    "state",
    [{}, {"seed": 0, "pass": 0, "stretch": 9, "position": 0}, {"seed": "x"}],
)
def test_the_state_of_something_else_is_refused(folder: Path, state: dict) -> None:
    with pytest.raises(ChibiError, match="state of a loader"):
        ShardLoader(open_shards(folder), 8, 0).load_state_dict(state)


def test_no_image_is_in_two_splits(folder: Path) -> None:
    splits = {s: open_shards(folder, s) for s in ("train", "validation", "test")}
    files = [file for shards in splits.values() for file in shards.files]
    assert sorted(files) == sorted(set(files)) and len(files) == 9
    assert [len(shards) for shards in splits.values()] == [70, 10, 10]
    held_out = open_images(folder, SIZE, "test", count=4)
    assert len(held_out) == 4 and held_out.schema is not None


def test_what_is_held_in_memory_does_not_grow_with_the_data(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = ShardLoader(open_shards(folder), batch=10, seed=0)
    for _ in range(20):
        next(loader)
        assert len(loader._samples) <= 3 * 10


def test_damaged_and_foreign_shards_are_one_clear_line(
    folder: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    for path in folder.iterdir():
        (bad / path.name).write_bytes(path.read_bytes())
    for path in bad.glob("*.tar"):
        path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(ChibiError, match="cannot be read as a shard"):
        next(ShardLoader(open_shards(bad), 8, 0))
    with pytest.raises(ChibiError, match="holds images of 32 pixels"):
        open_training(folder, 64, 10, "pastel")
    with pytest.raises(ChibiError, match="do not fill one batch"):
        open_loader(open_shards(folder), 1_000, 0)
    manifest = json.loads((bad / "shards.json").read_text())
    (bad / "shards.json").write_text(json.dumps(manifest | {"schema": None}))
    with pytest.raises(ChibiError, match="an attribute schema is a JSON object"):
        ShardLoader(open_shards(bad), 8, 0)
    (bad / "shards.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(ChibiError, match="shard format 99"):
        open_shards(bad)


@pytest.mark.parametrize("text", [b"{", b"[]", b"7", b'{"hair": "none"}'])
def test_attributes_that_fit_no_schema_are_one_clear_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    read = shards_module._samples
    monkeypatch.setattr(
        shards_module, "_samples", lambda path: [(png, text) for png, _ in read(path)]
    )
    with pytest.raises(ChibiError, match="are damaged: "):
        next(ShardLoader(open_shards(folder), 8, 0))
    with pytest.raises(ChibiError, match="are damaged: "):
        open_shards(folder).load(1)


def test_training_on_shards_is_resumed_exactly(folder: Path, tmp_path: Path) -> None:
    tiny = {"size": 32, "channels": 4, "latent_dim": 5, "batch": 8, "log_every": 16}
    config = VAEConfig(**tiny, data=str(folder), images=160)
    whole = train_vae(config, tmp_path / "whole", progress=False)
    half = VAEConfig(**tiny, data=str(folder), images=72)
    train_vae(half, tmp_path / "half", progress=False)
    resumed = train_vae(config, tmp_path / "half", resume=True, progress=False)
    from chibi_lab.training.checkpoint import read_checkpoint

    left, right = (read_checkpoint(run.latest())[0] for run in (whole, resumed))
    assert all(torch.equal(left[key], right[key]) for key in left)


def test_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shards"
    render = ["render", "--size", "32", "--count", "60", "--shards"]
    assert main([*render, "--out", str(out)]) == 0
    assert "60 avatars of 32 pixels in 6 archives" in capsys.readouterr().out
    run = [
        "--out",
        str(tmp_path / "run"),
        "--images",
        "64",
        "--channels",
        "4",
        "--batch",
        "8",
    ]
    assert main(["train", "vae", "--data", str(out), "--size", "32", *run]) == 0
    assert Run.open(tmp_path / "run").images_seen == 64
    assert main(render) == 2
    assert "--shards needs a folder" in capsys.readouterr().err
    assert split_seeds("train", 60) == range(60)
