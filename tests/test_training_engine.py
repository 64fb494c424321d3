"""Several ranks: the same training as one, written once, ended together."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from chibi_lab.data import AttributeSchema, BatchLoader, ImageSet
from chibi_lab.errors import ChibiError
from chibi_lab.training import (
    GANConfig,
    ModernGANConfig,
    ModernVAEConfig,
    Run,
    VAEConfig,
    train_gan,
    train_modern_gan,
    train_modern_vae,
    train_vae,
)
from chibi_lab.training.checkpoint import read_checkpoint
from chibi_lab.training.engine import Engine

TINY = {"size": 32, "channels": 4, "latent_dim": 5, "batch": 8, "log_every": 16}
TINY |= {"sample_every": 32, "checkpoint_every": 32, "precision": "float32"}
LOOPS = {
    "gan": (GANConfig, train_gan),
    "vae": (VAEConfig, train_vae),
    "modern-gan": (ModernGANConfig, train_modern_gan),
    "modern-vae": (ModernVAEConfig, train_modern_vae),
}


def pictures() -> ImageSet:
    """Noise, and attributes that are noise too: what every rank sees differs."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (40, 4, 4, 3), dtype=np.uint8)
    schema = AttributeSchema(("a", "b"), (("x", "y", "z"), ("no", "yes")))
    attributes = random.integers(0, (3, 2), (40, 2))
    return ImageSet(noise.repeat(8, axis=1).repeat(8, axis=2), attributes, schema)


def as_rank(
    rank: int, ranks: int, port: int, task: Callable[..., None], *arguments: Any
) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"OMP_NUM_THREADS": "1"}
    torch.set_num_threads(1)
    task(*arguments)


def in_ranks(task: Callable[..., None], *arguments: Any, ranks: int = 2) -> None:
    """Run a task as torchrun would, without its start-up."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["chibi_lab.training", "accelerate"])
    children = [
        context.Process(target=as_rank, args=(rank, ranks, port, task, *arguments))
        for rank in range(ranks)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0] * ranks


def train(kind: str, out: Path, images: int, changes: dict[str, Any]) -> None:
    config, loop = LOOPS[kind]
    choices = config(images=images, **(TINY | changes))
    loop(choices, out, images=pictures(), resume=out.exists(), progress=False)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("gan", {"instance_noise": 0.1}),
        ("vae", {}),
        ("modern-gan", {"augment": True}),
        ("modern-vae", {"adversary": 2e-4}),
    ],
)
def test_a_step_of_two_ranks_is_that_of_one(
    kind: str, changes: dict[str, float], tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    train(kind, one, 8, changes)
    in_ranks(train, kind, two, 8, changes)
    left, right = (read_checkpoint(Run.open(out).latest())[0] for out in (one, two))
    assert left.keys() == right.keys()
    # Among them are the gradients: Adam's first moment after one step is a part of them.
    assert any(name.endswith("exp_avg") for name in left)
    # And what the wishes counted, of the pictures of both ranks.
    assert any(name.endswith("wishes.seen") for name in left) == ("modern" in kind)
    for name in left:
        largest = left[name].double().abs().max().clamp(min=1e-2)
        furthest = (left[name].double() - right[name].double()).abs().max()
        # Sums in another order round otherwise, in Adam's squares twice as much.
        assert furthest <= 5e-5 * largest, name


@pytest.mark.parametrize("kind", LOOPS)
def test_one_goes_on_where_two_ranks_were_stopped(kind: str, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    train(kind, one, 96, {})
    in_ranks(train, kind, two, 64, {})
    train(kind, two, 96, {})
    rows = Run.open(one).stats(), Run.open(two).stats()
    assert len(rows[0]) == len(rows[1]) == 6
    for row, other in zip(*rows, strict=True):
        for name in row.keys() - {"seconds", "images_per_second"}:
            # Rounding grows with every step: later they agree as curves, not as digits.
            assert row[name] == pytest.approx(other[name], rel=0.02), name
    for folder in ("samples", "checkpoints"):
        left, right = (
            sorted(f.name for f in (out / folder).iterdir()) for out in (one, two)
        )
        assert left == right


def test_ranks_stop_together_when_the_time_is_up(tmp_path: Path) -> None:
    out = tmp_path / "run"
    in_ranks(train, "vae", out, 10**8, {"minutes": 0.01})
    run = Run.open(out)
    assert 0 < run.images_seen < 10**8
    assert run.images_seen == run.stats()[-1]["images_seen"]
    assert run.images_seen // 8 % 16 == 0  # where the ranks ask one another


def test_shares_of_loaders_make_up_the_batch() -> None:
    whole = BatchLoader(pictures(), 8, seed=0)
    shares = [BatchLoader(pictures(), 8, 0, share=(part, 4)) for part in range(4)]
    for _ in range(7):  # into the second pass
        together = torch.cat([next(share) for share in shares])
        assert torch.equal(together, next(whole))
    assert all(share.state_dict() == whole.state_dict() for share in shares)


@pytest.mark.parametrize("batch", [9, 2])
def test_ranks_that_cannot_share_a_batch_are_refused(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ChibiError, match=f"batch is {batch}: 2 ranks need a multiple"):
        Engine("cpu", "float32", batch)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_clear_line() -> None:
    with pytest.raises(ChibiError, match="finds no GPU here, choose cpu or auto"):
        Engine("cuda", "auto", 8)
    assert Engine("auto", "auto", 8).device.type == "cpu"


def test_a_gpu_is_taken_where_there_is_one_for_each_rank(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert Engine("auto", "float32", 8).device.type == "cuda"
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ChibiError, match="finds 1 of the 2 GPUs here"):
        Engine("cuda", "float32", 8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    own = tmp_path / "own"
    own.mkdir()
    for number, pixels in enumerate(pictures().images):
        Image.fromarray(pixels).save(own / f"{number}.png")
    return own


def torchrun(folder: Path, out: Path, *flags: str) -> subprocess.Popen[str]:
    sizes = {name: value for name, value in TINY.items() if name != "precision"}
    flags += tuple(f"--{k.replace('_', '-')}={v}" for k, v in sizes.items())
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    train = ["-m", "chibi_lab", "train", "gan", f"--data={folder}", f"--out={out}"]
    return subprocess.Popen(
        [*run, "--standalone", *train, "--device=cpu", *flags],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the rank in /proc")
def test_torchrun_writes_once_and_a_rank_that_dies_ends_all(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = torchrun(folder, out, "--images=100000000")
    deadline = time.monotonic() + 120
    while not list(out.glob("checkpoints/*.safetensors")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    rows = [row["images_seen"] for row in Run.open(out).stats()]
    assert rows == sorted(set(rows))  # written by one rank alone
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    os.kill(int(children.split()[1]), signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.count("reading: 100%") == 1
    assert "chibi-lab: rank 0: another rank was lost at" in said
    assert "the last good checkpoint is" in said
    seen = Run.open(out).images_seen
    config = Run.open(out).config
    train_gan(replace(config, images=seen + 8), out, resume=True, progress=False)
    assert Run.open(out).images_seen == seen + 8


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RANK", "abc"),
        ("RANK", "1"),
        ("RANK", "-1"),
        ("RANK", ""),
        ("WORLD_SIZE", "0"),
        ("WORLD_SIZE", "2.0"),
        ("WORLD_SIZE", "9" * 5_000),
        ("LOCAL_WORLD_SIZE", "two"),
    ],
)
def test_what_torchrun_would_not_set_is_one_line(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ChibiError, match=f"^{name} is '.*: torchrun sets it to"):
        Engine("cpu", "auto", 8)


def test_ranks_without_an_address_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ChibiError, match="the 2 ranks cannot be joined, start them"):
        Engine("cpu", "auto", 8)
