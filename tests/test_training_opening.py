"""A folder is taken before all else and let go of whatever happens; short memory is one line."""

import json
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from chibi_lab.data import ImageSet
from chibi_lab.errors import ChibiError
from chibi_lab.training import Run, VAEConfig, export_run, train_vae
from chibi_lab.training import opening as opening_module
from chibi_lab.training.checkpoint import read_checkpoint, write_checkpoint

TINY = {"size": 32, "channels": 4, "latent_dim": 5, "batch": 8, "log_every": 16}
PICTURES = ImageSet(
    np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)
)
posix = pytest.mark.skipif(sys.platform == "win32", reason="locks are those of POSIX")


def train(out: Path, resume: bool = False, **changes: object) -> Run:
    config = VAEConfig(**TINY | {"images": 16} | changes)
    return train_vae(config, out, images=PICTURES, resume=resume, progress=False)


@posix
def test_a_folder_is_taken_before_the_data_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing, may_go_on = threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> ImageSet:
        drawing.set()
        may_go_on.wait(60)
        return PICTURES

    monkeypatch.setattr(opening_module, "open_images", slow)
    config, ended = VAEConfig(**TINY, images=16), []
    first = threading.Thread(
        target=lambda: ended.append(train_vae(config, tmp_path / "run", progress=False))
    )
    first.start()
    drawing.wait(60)
    for resume in (False, True):
        with pytest.raises(ChibiError, match="another training is writing to"):
            train(tmp_path / "run", resume=resume, seed=3)
    may_go_on.set()
    first.join()
    assert ended[0].images_seen == 16
    assert Run.open(tmp_path / "run").config == config


def short(*_: object) -> None:
    raise MemoryError


def test_a_try_that_failed_leaves_neither_lock_nor_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, kept = tmp_path / "new" / "run", []
    with pytest.raises(ChibiError, match="no style and no folder") as error:
        train_vae(VAEConfig(data="nowhere"), out, progress=False)
    kept.append(error)  # as a notebook keeps it, with all that it refers to
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ChibiError, match="TensorBoard is not installed") as error:
        train(out, tensorboard=True)
    kept.append(error)
    monkeypatch.setattr("chibi_lab.training.vae.Encoder.__init__", short)
    with pytest.raises(ChibiError, match="out of memory"):
        train(out)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
    run = train(out, channels=3)
    assert run.images_seen == 16
    monkeypatch.setattr("chibi_lab.training.vae.Encoder.__init__", short)
    with pytest.raises(ChibiError, match="out of memory"):
        train(out, resume=True, channels=3, images=32)
    assert run.images_seen == 16


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"),
    ],
)
def test_short_memory_is_one_line_that_says_what_to_take_less_of(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: object) -> None:
        raise error

    monkeypatch.setattr("chibi_lab.training.vae.Encoder.forward", short)
    with pytest.raises(ChibiError) as caught:
        train(tmp_path / "run")
    said = str(caught.value)
    assert "\n" not in said
    assert all(flag in said for flag in ("--batch (now 8)", "--channels (4)", "--size"))


def test_another_error_is_not_taken_for_short_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr("chibi_lab.training.vae.Encoder.forward", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(tmp_path / "run")


def test_sizes_are_held_against_the_checkpoint_before_the_data_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(tmp_path / "run")
    known = run.config.to_json() | {"channels": 4_096, "data": "/"}
    (run.path / "config.json").write_text(json.dumps(known))
    config = Run.open(run.path).config
    monkeypatch.setattr(
        opening_module, "open_images", lambda *_, **__: pytest.fail("read")
    )
    with pytest.raises(ChibiError, match="does not fit the run's config: encoder"):
        train_vae(config, run.path, resume=True, progress=False)


def test_an_exported_run_says_that_it_cannot_be_resumed(tmp_path: Path) -> None:
    small = export_run(train(tmp_path / "run"), tmp_path / "small")
    with pytest.raises(ChibiError, match="is a copy that draws: the run that it was"):
        train(small.path, resume=True, images=32)


@pytest.mark.parametrize("name", ["file/run", "x" * 300, "link", "~nosuchuser/run"])
def test_a_folder_that_cannot_be_made_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    out = Path(name) if name.startswith("~") else tmp_path / name
    with pytest.raises(ChibiError) as caught:
        train(out)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_of_somebody_else_is_refused_before_the_data_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(
        opening_module, "open_images", lambda *_, **__: pytest.fail("read")
    )
    with pytest.raises(ChibiError, match="is not yours to write to"):
        train_vae(VAEConfig(**TINY), tmp_path / "run", progress=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images_seen": "16"}, "is of '16' images seen by what is in it"),
        (
            {"images_seen": 16, "seconds": -1.0},
            "seconds is -1.0: it must be at least 0",
        ),
        ({"images_seen": 16, "loader": []}, "loader is .*: it must be a dictionary"),
        (
            {"images_seen": 16, "loader": {"seed": 0.5}},
            r"loader.seed is 0.5: it must be a whole number",
        ),
        ({"images_seen": 16, "best": 7}, "best is 7: "),
        ({"images_seen": 16, "seconds": None}, "seconds is None: it must be a number"),
    ],
)
def test_progress_that_makes_no_sense_is_named_with_its_file(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    run = train(tmp_path / "run")
    tensors, progress = read_checkpoint(run.latest())
    write_checkpoint(run.latest(), tensors, progress | changes)
    with pytest.raises(ChibiError, match=message) as caught:
        train(run.path, resume=True, images=32)
    assert "000000016.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)
