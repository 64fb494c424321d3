"""A run knows which pictures it learned from, wherever they are and wherever one stands."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chibi_lab.errors import ChibiError
from chibi_lab.evaluation.reference import training_images
from chibi_lab.training import Run, VAEConfig, train_vae

TINY = {"size": 32, "channels": 4, "latent_dim": 5, "batch": 8}


def write_pictures(folder: Path, seed: int, count: int = 40) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for i in range(count):
        pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}-{i}.png")


def go_on(out: Path, data: str, images: int) -> Run:
    config = VAEConfig(**TINY, data=data, images=images)
    return train_vae(config, out, resume=images > 8, progress=False)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Of the folder `here/pics`, where one stands in `here`; `there` has another."""
    write_pictures(tmp_path / "here" / "pics", 0)
    write_pictures(tmp_path / "there" / "pics", 1)
    monkeypatch.chdir(tmp_path / "here")
    return go_on(tmp_path / "run", "pics", 8)


def test_the_same_name_elsewhere_means_the_same_pictures(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run.data()
    assert before["folder"] == str(tmp_path / "here" / "pics")
    monkeypatch.chdir(tmp_path / "there")
    for images, name in ((16, "pics"), (24, "pics/")):
        go_on(run.path, name, images)
        assert run.data()["fingerprint"] == before["fingerprint"]
    assert training_images(run).manifest["files"] == before["files"]
    with pytest.raises(ChibiError, match="none of the pictures"):
        go_on(run.path, "../there/pics", 32)
    with pytest.raises(ChibiError, match="was trained otherwise"):
        go_on(run.path, "adventurer", 32)
    assert run.images_seen == 24


def test_pictures_that_were_moved_are_found_where_one_says(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, moved = run.data(), tmp_path / "moved"
    (tmp_path / "here" / "pics").rename(moved)
    with pytest.raises(ChibiError, match="pics"):
        training_images(run)
    found = training_images(run, data=str(moved))
    assert found.manifest["files"] == before["files"]
    go_on(run.path, str(moved), 16)
    assert run.data()["folder"] == str(moved)
    assert training_images(Run.open(run.path)).manifest["files"] == before["files"]
    assert "changed" not in capsys.readouterr().err


def test_pictures_that_came_or_went_are_said(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "here" / "pics" / "new.png")
    (tmp_path / "here" / "pics" / "0-3.png").unlink()
    training_images(run)
    go_on(run.path, "pics", 16)
    said = capsys.readouterr().err
    assert said.count("1 added (first: new.png), 1 taken away (first: 0-3.png)") == 2
    go_on(run.path, "pics", 24)
    assert "changed" not in capsys.readouterr().err


def test_a_run_among_its_pictures_does_not_learn_from_itself(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = tmp_path / "here" / "pics" / "run"
    go_on(inside, "pics", 8)
    go_on(inside, "pics", 16)
    assert "left out run: a run" in capsys.readouterr().err
    assert Run.open(inside).data()["fingerprint"] == run.data()["fingerprint"]


def test_names_cannot_command_the_terminal(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here" / "pics" / "\x1b[31mred.png").write_text("no picture")
    go_on(tmp_path / "second", "pics", 8)
    said = capsys.readouterr().err
    assert r"left out \x1b[31mred.png" in said
    assert "\x1b" not in said
