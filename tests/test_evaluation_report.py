"""Runs side by side: the figures under keys that stay, the page, and what is refused."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chibi_lab.data import ImageSet, load_avatars, to_float
from chibi_lab.errors import ChibiError
from chibi_lab.evaluation import compare, reference, report
from chibi_lab.evaluation.plot import Point, plot
from chibi_lab.evaluation.report import history
from chibi_lab.training import GANConfig, Run, VAEConfig, sample, train_gan, train_vae

TINY = {
    "size": 32,
    "channels": 4,
    "latent_dim": 4,
    "batch": 8,
    "images": 64,
    "count": 60,
    "log_every": 16,
    "sample_every": 32,
}
SPLITS = {"train": 0, "test": 2_000_000_000}


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Avatars without the need for hundreds, and "plain", the same without attributes."""

    def open_images(
        data: str, size: int, split: str, count: int, palette: str = "pastel"
    ) -> ImageSet:
        start = SPLITS[split]
        images = load_avatars(
            size=size, seeds=range(start, start + count), progress=False
        )
        if data == "adventurer":
            return images
        return ImageSet(images.images, manifest={"credit": "Drawn by “Ä & B” <c>"})

    monkeypatch.setattr(reference, "open_images", open_images)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("runs")
    return [
        train_gan(GANConfig(**TINY), folder / "gan", progress=False),
        train_vae(VAEConfig(**TINY), folder / "vae", progress=False),
    ]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that learned from pictures without attributes."""
    avatars = load_avatars(size=32, seeds=range(60), progress=False)
    config = VAEConfig(**TINY, data="plain")
    out = tmp_path_factory.mktemp("plain") / "a b<c>"
    return train_vae(config, out, images=ImageSet(avatars.images), progress=False)


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "img":
            self.images.append(values)
        self.links += [values[key] or "" for key in ("href", "src") if key in values]

    def handle_data(self, data: str) -> None:
        self.text += data


def pictures(page: Page) -> dict[str, Image.Image]:
    """The inlined pictures by what they are said to show."""
    return {
        image["alt"] or "": Image.open(
            io.BytesIO(base64.b64decode((image["src"] or "").partition(",")[2]))
        )
        for image in page.images
    }


def test_the_figures_stand_under_keys_that_stay(
    tmp_path: Path, runs: list[Run]
) -> None:
    result = compare(runs, tmp_path / "report", count=30, seed=1)
    file = tmp_path / "report" / "comparison.json"
    assert json.loads(file.read_text("utf-8")) == result
    assert result.keys() == {"format", "chibi_lab", "count", "seed", "data", "models"}
    gan, vae = result["models"]
    # What evaluate gives has its own tests.
    own = {"name", "minutes", "parameters", "images_per_second", "history"}
    assert own <= gan.keys() == vae.keys()
    assert (gan["name"], vae["name"]) == ("gan", "vae")
    assert (gan["images_seen"], vae["images_seen"]) == (64, 64)
    assert "psnr" not in gan["figures"]
    assert 0 < vae["figures"]["psnr"]["value"] < 60
    assert result["data"]["held_out"] == 30
    assert gan["attributes"]["hair"]["values"] > 5
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "comparison.json",
        "index.html",
    }


def test_history_is_that_of_the_sample_grids(runs: list[Run]) -> None:
    judged = reference.open_reference(runs[1], 40).spaces["judge"]
    entries = history(runs[1], judged)
    assert [entry["images_seen"] for entry in entries] == [0, 32, 64]
    assert [entry["pictures"] for entry in entries] == [32, 32, 32]
    minutes = [entry["minutes"] for entry in entries]
    assert 0 == minutes[0] < minutes[1] < minutes[2]
    stats = runs[1].stats()
    (row,) = (row for row in stats if row["images_seen"] == 32)
    assert minutes[1] == pytest.approx(row["seconds"] / 60)
    for entry in entries:
        assert entry["low"] < entry["kernel"] < entry["high"]


def test_history_of_real_images_ends_at_zero(tmp_path: Path, runs: list[Run]) -> None:
    """Grids are cut in their right places: real images on them are as real as any."""
    copy = tmp_path / "run"
    shutil.copytree(runs[1].path, copy)
    avatars = load_avatars(size=32, seeds=range(32), progress=False).images
    sheet = np.full((4 * 34 + 2, 8 * 34 + 2, 3), 255, np.uint8)
    for i, avatar in enumerate(avatars):
        y, x = 2 + 34 * (i // 8), 2 + 34 * (i % 8)
        sheet[y : y + 32, x : x + 32] = avatar
    Image.fromarray(sheet).save(copy / "samples" / "000000064.png")
    run = Run.open(copy)
    judged = reference.open_reference(run, 200).spaces["judge"]
    last = history(run, judged)[-1]
    assert abs(last["kernel"]) < 0.05
    assert last["low"] < 0 < last["high"]
    Image.fromarray(sheet[:-3]).save(copy / "samples" / "000000064.png")
    with pytest.raises(ChibiError, match="no grid of pictures of 32 pixels"):
        history(run, judged)


def test_same_seed_same_figures(tmp_path: Path, runs: list[Run]) -> None:
    first, again = (compare(runs, tmp_path / name, count=20, seed=3) for name in "ab")
    for result in (first, again):
        for model in result["models"]:
            del model["images_per_second"]
    assert first == again


def test_the_page_needs_nothing_else(tmp_path: Path, runs: list[Run]) -> None:
    compare(runs, tmp_path / "report", count=20, seed=5)
    text = (tmp_path / "report" / "index.html").read_text("utf-8")
    parsed = Page(text)
    shown = pictures(parsed)
    # Real, two sheets, one reconstruction, two rows of pairs.
    assert len(shown) == 6
    assert all(shown)
    assert all(link.startswith("data:") for link in parsed.links)
    assert not re.search(r"url\(|@import|<script", text)
    assert "prefers-color-scheme: dark" in text
    assert text.count("<svg") == 2
    assert "AI-generated" in parsed.text
    assert "rests on 32 images only" in parsed.text
    assert "Active units" in parsed.text
    assert "needs 257 images on either side" in parsed.text
    # The sheet shows the first samples of the seed.
    sheet = np.asarray(shown["A sheet drawn by vae"])
    first = to_float(sheet[None, 2:34, 2:34])
    assert (first - sample(runs[1], 1, seed=5)).abs().max() <= 1 / 127.5


def test_pictures_without_attributes_have_none(tmp_path: Path, plain: Run) -> None:
    result = compare([plain, plain], tmp_path, count=20)
    assert [model["name"] for model in result["models"]] == ["a-b-c-", "a-b-c--2"]
    assert result["models"][0]["attributes"] is None
    assert result["models"][0]["figures"]["kernel"] is not None
    parsed = Page((tmp_path / "index.html").read_text("utf-8"))
    assert "Attributes" not in parsed.text
    assert "cannot read their attributes" in parsed.text
    assert "Drawn by “Ä & B” <c>" in parsed.text


def test_a_run_without_sample_grids_has_no_plots(
    tmp_path: Path, runs: list[Run]
) -> None:
    shutil.copytree(runs[0].path, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "samples")
    (model,) = compare([Run.open(tmp_path / "run")], tmp_path / "out", 20)["models"]
    assert model["history"] == []
    assert "<svg" not in (tmp_path / "out" / "index.html").read_text("utf-8")


def test_a_plot_places_points_on_its_scales() -> None:
    lines = [("<one>", [Point(0, 1, 0.5, 2), Point(100, 0.01, -1, 0.02)]), ("two", [])]
    text = plot(lines, "images", "distance", floor=0.01)
    assert "&lt;one&gt;" in text
    # From 0.01 to 10, the next power above all; the second point stands on the floor.
    assert re.findall(r">([\d.]+)</text>", text)[:4] == ["0.01", "0.1", "1", "10"]
    (path,) = re.findall(r'<path d="M([\d. ]+L[\d. ]+)"/>', text)
    (x1, y1), (x2, y2) = (spot.split() for spot in path.split("L"))
    floor = re.search(r'<path class="rule" d="M[\d.]+ ([\d.]+)H', text)
    assert (x1, x2) == ("62.0", "490.0")
    assert float(y1) < float(y2) == float(floor.group(1))
    assert "nan" not in text
    assert "nan" not in plot([("none", [])], "images", "distance", floor=0.01)


def test_a_report_of_ours_is_replaced(tmp_path: Path, runs: list[Run]) -> None:
    out = tmp_path / "report"
    compare(runs[:1], out, count=8)
    compare(runs[:1], out, count=9)
    assert json.loads((out / "comparison.json").read_text("utf-8"))["count"] == 9


@pytest.mark.parametrize("name", ["letter.txt", "index.html", "comparison.json"])
def test_nothing_of_ones_own_is_replaced(
    name: str, tmp_path: Path, runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "open_reference", None)  # it is not even called
    own = tmp_path / "mine" / name
    own.parent.mkdir()
    own.write_text('{"format": 2}')
    for out in (own.parent, own):
        with pytest.raises(ChibiError, match=r"in the way|is no report of ours"):
            compare(runs[:1], out, count=8)
    assert own.read_text() == '{"format": 2}'
    assert [path.name for path in own.parent.iterdir()] == [name]


def test_a_report_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "open_reference", None)  # it is not even called
    (tmp_path / "file").touch()
    (tmp_path / "index.html").symlink_to(tmp_path / "nowhere")
    for out in (tmp_path / "file" / "a", tmp_path / ("a" * 300), tmp_path):
        with pytest.raises(ChibiError, match="cannot"):
            compare(runs[:1], out, count=8)


def test_names_that_collide_share_nothing(tmp_path: Path) -> None:
    config = GANConfig(**TINY)
    places = ["x/a-2", "y/a", "z/a", "w/a", "w/a-2"]
    runs = [Run(tmp_path / place, config) for place in places]
    assert report._names(runs) == ["a-2", "a", "a-3", "a-4", "a-2-2"]


def test_a_time_that_is_no_number_is_null(tmp_path: Path, runs: list[Run]) -> None:
    shutil.copytree(runs[1].path, tmp_path / "run")
    stats = tmp_path / "run" / "stats.jsonl"
    stats.write_text(
        stats.read_text().replace('"seconds": ', '"seconds": NaN, "was": ')
    )
    result = compare([Run.open(tmp_path / "run")], tmp_path / "out", count=8)
    text = (tmp_path / "out" / "comparison.json").read_text("utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == result
    assert result["models"][0]["minutes"] is None


@pytest.mark.parametrize("what", ["program", "huge", "cut off"])
def test_a_sample_that_is_no_grid_is_named(
    what: str, tmp_path: Path, runs: list[Run]
) -> None:
    shutil.copytree(runs[1].path, tmp_path / "run")
    file = tmp_path / "run" / "samples" / "000000064.png"
    if what == "program":  # which Pillow would hand to Ghostscript
        Image.new("RGB", (274, 138)).save(file, format="EPS")
    elif what == "huge":
        Image.new("1", (34 * 400 + 2, 34 * 400 + 2)).save(file)
    else:
        file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ChibiError, match=r"000000064\.png"):
        compare([Run.open(tmp_path / "run")], tmp_path / "out", count=8)
    assert not (tmp_path / "out").exists()


def test_runs_that_cannot_be_compared_are_named(
    tmp_path: Path, runs: list[Run], plain: Run
) -> None:
    with pytest.raises(
        ChibiError, match=r"learned from adventurer .* from plain .*same images"
    ):
        compare([runs[0], plain], tmp_path / "report")
    with pytest.raises(ChibiError, match="no run to compare"):
        compare([], tmp_path / "report")
    with pytest.raises(ChibiError, match="count is 1"):
        compare(runs, tmp_path / "report", count=1)
    with pytest.raises(ChibiError, match="no checkpoint"):
        compare([Run(tmp_path / "empty", GANConfig(**TINY))], tmp_path / "report")
    assert not (tmp_path / "report").exists()
