import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from chibi_lab.data import load_avatars, render_avatar, workers
from chibi_lab.data.workers import draw_blocks, refuse_inside_worker
from chibi_lab.errors import ChibiError
from chibi_lab.files import hold

STYLE, SIZE = "identicon", 8


def drawn(seeds: range, count: int) -> tuple[np.ndarray, np.ndarray]:
    images, attributes = zip(
        *draw_blocks(STYLE, seeds, SIZE, "pastel", count), strict=True
    )
    return np.concatenate(images), np.concatenate(attributes)


def block_of(monkeypatch: pytest.MonkeyPatch, avatars: int) -> None:
    monkeypatch.setattr(workers, "_BLOCK", avatars * SIZE**2)


def test_avatars_come_in_the_order_of_the_seeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    block_of(monkeypatch, 2)
    seeds = range(9, 0, -2)
    images, _ = drawn(seeds, 1)
    expected = np.stack([render_avatar(STYLE, seed, SIZE)[0] for seed in seeds])
    np.testing.assert_array_equal(images, expected)


def test_several_processes_draw_the_same_as_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    block_of(monkeypatch, 20)
    seeds = range(50)  # more blocks than processes, the last one not full
    for several, one in zip(drawn(seeds, 2), drawn(seeds, 1), strict=True):
        np.testing.assert_array_equal(several, one)


def test_spawned_processes_draw_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    block_of(monkeypatch, 3)
    expected = drawn(range(6), 1)
    monkeypatch.setattr(workers, "_START_METHOD", "spawn")
    for several, one in zip(drawn(range(6), 2), expected, strict=True):
        np.testing.assert_array_equal(several, one)
    refuse_inside_worker()  # all over: this process may ask for avatars again


def die(*_: object, **__: object) -> None:
    os._exit(1)


@pytest.mark.skipif(
    workers._START_METHOD != "fork", reason="the patch reaches forked ones only"
)
def test_a_worker_that_dies_is_an_error_and_not_a_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block_of(monkeypatch, 2)
    monkeypatch.setattr(workers, "render_avatars", die)
    with pytest.raises(ChibiError, match="workers=1"):
        load_avatars(STYLE, SIZE, range(6), cache=tmp_path, workers=2, progress=False)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def wait_long(*_: object, **__: object) -> None:
    os.write(ALIVE[1], b"x")
    time.sleep(60)


ALIVE = os.pipe()  # its end comes when nobody is left who could write


@pytest.mark.skipif(
    workers._START_METHOD != "fork", reason="the patch reaches forked ones only"
)
def test_workers_end_with_whoever_is_killed_and_hold_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block_of(monkeypatch, 2)
    with monkeypatch.context() as patch:
        patch.setattr(workers, "render_avatars", wait_long)
        parent = multiprocessing.get_context("fork").Process(
            target=load_avatars,
            args=(STYLE, SIZE, range(6)),
            kwargs={"cache": tmp_path, "workers": 2, "progress": False},
        )
        parent.start()
    os.close(ALIVE[1])
    assert os.read(ALIVE[0], 1) == b"x"
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    signal.alarm(20)  # instead of a wait for ever
    while os.read(ALIVE[0], 1):
        pass
    signal.alarm(0)
    hold(next(tmp_path.glob(".*.lock")))()
    load_avatars(STYLE, SIZE, range(6), cache=tmp_path, workers=1, progress=False)
    assert not list(tmp_path.glob(".*.part"))


def test_where_no_processes_can_be_started_one_draws(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    block_of(monkeypatch, 2)
    expected = drawn(range(6), 1)
    monkeypatch.setattr(workers, "ProcessPoolExecutor", refused)
    for several, one in zip(drawn(range(6), 2), expected, strict=True):
        np.testing.assert_array_equal(several, one)
    assert "drawing with one process" in capsys.readouterr().err


def test_a_worker_that_imports_the_program_again_does_not_draw_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(workers._DRAWING, str(os.getpid() + 1))
    with pytest.raises(ChibiError, match="__main__"):
        load_avatars(STYLE, SIZE, range(6), cache=tmp_path, progress=False)
