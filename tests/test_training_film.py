"""The film of a run: bounded in length and size, and only of sample grids."""

import json
from pathlib import Path

import pytest
from PIL import Image

from chibi_lab.errors import ChibiError
from chibi_lab.training import Run, VAEConfig
from chibi_lab.training import film as film_module
from chibi_lab.training.film import write_timelapse


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "samples").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(VAEConfig(size=32).to_json()))
    return Run.open(tmp_path)


def grid(run: Run, number: int, side: int = 40, kind: str = "PNG") -> Path:
    path = run.path / "samples" / f"{number:09d}.png"
    colour = (number * 20 % 256, 0, 200)
    Image.new("RGB", (side, side), colour).save(path, kind)
    return path


def test_more_grids_than_fit_are_thinned_out(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(film_module, "FRAMES", 4)
    monkeypatch.setattr(film_module, "LARGEST", 20)
    opened = []
    open_sample = Run.open_sample

    def watched(self: Run, path: Path) -> Image.Image:
        opened.append(int(path.stem))
        return open_sample(self, path)

    monkeypatch.setattr(Run, "open_sample", watched)
    for number in range(10):
        grid(run, number)
    write_timelapse(run)
    assert opened == [0, 3, 6, 9]
    with Image.open(run.path / "timelapse.webp") as film:
        assert (film.n_frames, film.size) == (4, (20, 20))


def test_what_is_no_grid_is_left_out_and_named(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    grid(run, 0)
    other = grid(run, 1, kind="GIF")
    eps = run.path / "samples" / "000000002.png"
    eps.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
    huge = grid(run, 3, side=1_200)
    grid(run, 4, side=20)  # a grid of another size fits no film
    grid(run, 5)
    for path in (other, eps, huge):
        with pytest.raises(ChibiError, match="is no sample grid"):
            run.open_sample(path)
    write_timelapse(run)
    said = capsys.readouterr().err
    assert said.count("left out of the film\n") == 3
    with Image.open(run.path / "timelapse.webp") as film:
        assert film.n_frames == 2


def test_a_run_without_grids_gets_no_film(run: Run) -> None:
    write_timelapse(run)
    assert not (run.path / "timelapse.webp").exists()
