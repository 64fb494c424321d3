import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chibi_lab.data import AttributeSchema, ImageSet, to_float
from chibi_lab.errors import ChibiError
from chibi_lab.evaluation import attributes, compare, report
from chibi_lab.training import GANConfig, Run, VAEConfig, sample, train_gan, train_vae

SCHEMA = AttributeSchema(("hair", "hat"), (("short", "long"), ("none", "top", "cap")))
SPLITS = {"train": 0, "validation": 1, "test": 2}
FIGURES = ("values", "recognised", "covered", "effective")
TINY = {
    "size": 32,
    "channels": 4,
    "latent_dim": 4,
    "batch": 8,
    "images": 64,
    "count": 40,
}


def drawings(split: str, count: int) -> ImageSet:
    """Drawings with two attributes, on a ground of changing colour."""
    random = np.random.default_rng(SPLITS[split])
    labels = np.stack([random.integers(0, n, count) for n in (2, 3)], axis=1).astype(
        np.int64
    )
    images = np.empty((count, 32, 32, 3), np.uint8)
    images[:] = random.integers(150, 250, (count, 1, 1, 3))
    for image, (hair, hat) in zip(images, labels, strict=True):
        image[8 : 16 + 10 * hair, 4:10] = 40
        image[2:6, 10 : 10 + 5 * hat] = 90
    return ImageSet(images, labels, SCHEMA, {"credit": "Drawn by “Ä & B” <c>"})


@pytest.fixture(autouse=True)
def drawn_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-in for rendering: each split has other drawings, and "plain" no attributes."""

    def open_images(
        data: str, size: int, split: str, count: int, palette: str = "pastel"
    ) -> ImageSet:
        images = drawings(split, count)
        return images if data == "adventurer" else ImageSet(images.images)

    monkeypatch.setattr(report, "open_images", open_images)
    monkeypatch.setattr(report, "LABELLED", 120)
    # Enough for these drawings, and much faster.
    monkeypatch.setattr(attributes, "SIZE", 16)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder, images = tmp_path_factory.mktemp("runs"), drawings("train", 40)
    return [
        train_gan(GANConfig(**TINY), folder / "gan", images=images, progress=False),
        train_vae(VAEConfig(**TINY), folder / "vae", images=images, progress=False),
    ]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that learned from pictures without attributes."""
    images = ImageSet(drawings("train", 40).images)
    config = VAEConfig(**TINY, data="plain")
    out = tmp_path_factory.mktemp("plain") / "a b<c>"
    return train_vae(config, out, images=images, progress=False)


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


def keys(value: object) -> object:
    """The shape of some JSON: its keys without its values."""
    return {k: keys(v) for k, v in value.items()} if isinstance(value, dict) else None


def test_the_figures_stand_under_keys_that_stay(
    tmp_path: Path, runs: list[Run]
) -> None:
    result = compare(runs, tmp_path / "report", count=30, seed=1)
    assert (
        json.loads((tmp_path / "report" / "comparison.json").read_text("utf-8"))
        == result
    )
    diversity = {name: dict.fromkeys(FIGURES) for name in SCHEMA.names}
    assert keys(result["real"]) == {
        "name": None,
        "relative_sharpness": None,
        "sharpness": None,
        "diversity": diversity,
    }
    for model in result["models"]:
        assert keys(model) == {
            "name": None,
            "kind": None,
            "images_seen": None,
            "minutes": None,
            "parameters": None,
            "images_per_second": None,
            "sharpness": None,
            "relative_sharpness": None,
            "diversity": diversity,
            "psnr": None,
            "memorisation": dict.fromkeys(("distance", "ratio", "copied")),
        }
    gan, vae = result["models"]
    assert (gan["name"], vae["name"]) == ("gan", "vae")
    assert (gan["images_seen"], vae["images_seen"]) == (64, 64)
    assert gan["psnr"] is None
    assert 0 < vae["psnr"] < 60
    assert result["data"]["held_out"] == 30
    assert set(result["reading_accuracy"]) == set(SCHEMA.names)


def test_real_images_score_full_diversity_and_can_be_read(
    tmp_path: Path, runs: list[Run]
) -> None:
    result = compare(runs[:1], tmp_path, count=60)
    assert min(result["reading_accuracy"].values()) > 0.95
    for figures in result["real"]["diversity"].values():
        assert figures["covered"] == figures["values"]
        assert figures["recognised"] > 0.9
        assert figures["effective"] > 0.9 * figures["values"]


def test_figures_are_those_of_the_samples(
    tmp_path: Path, runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that draws its training images is found out."""
    copies = to_float(drawings("train", 40).images)
    monkeypatch.setattr(report, "draw", lambda network, z: copies[: len(z)])
    (model,) = compare(runs[:1], tmp_path, count=40)["models"]
    assert model["memorisation"]["distance"] == 0
    assert model["memorisation"]["copied"] == 1
    assert model["relative_sharpness"] == pytest.approx(1, abs=0.2)
    assert model["diversity"]["hair"]["covered"] == 2


def test_same_seed_same_figures(tmp_path: Path, runs: list[Run]) -> None:
    first, again = (compare(runs, tmp_path / name, count=20, seed=3) for name in "ab")
    for result in (first, again):
        for model in result["models"]:
            del model["images_per_second"]
    assert first == again
    for name in (
        "real",
        "samples-gan",
        "samples-vae",
        "nearest-vae",
        "reconstructions-vae",
    ):
        one, two = (tmp_path / folder / f"{name}.png" for folder in "ab")
        assert one.read_bytes() == two.read_bytes()


def test_the_page_needs_nothing_else(tmp_path: Path, runs: list[Run]) -> None:
    compare(runs, tmp_path / "report", count=20)
    text = (tmp_path / "report" / "index.html").read_text("utf-8")
    parsed = Page(text)
    # Real, two sheets, one reconstruction, two rows of pairs.
    assert len(parsed.images) == 6
    for image in parsed.images:
        assert image["alt"]
        data = base64.b64decode(
            (image["src"] or "").removeprefix("data:image/png;base64,")
        )
        picture = Image.open(io.BytesIO(data))
        assert picture.size == (int(image["width"] or 0), int(image["height"] or 0))
    assert all(link.startswith("data:") for link in parsed.links)
    assert not re.search(r"url\(|@import|<script", text)
    assert "light-dark(" in text  # both themes
    assert "Drawn by “Ä & B” <c>" in parsed.text
    assert "AI-generated" in parsed.text
    assert not list((tmp_path / "report").glob("*.part"))


def test_the_sheet_shows_the_first_samples_of_the_seed(
    tmp_path: Path, runs: list[Run]
) -> None:
    compare(runs[1:], tmp_path, count=20, seed=5)
    sheet = np.asarray(Image.open(tmp_path / "samples-vae.png"))
    first = to_float(sheet[None, 2:34, 2:34])
    assert (first - sample(runs[1], 1, seed=5)).abs().max() <= 1 / 127.5


def test_pictures_without_attributes_have_no_diversity(
    tmp_path: Path, plain: Run
) -> None:
    result = compare([plain, plain], tmp_path, count=20)
    assert result["reading_accuracy"] is None
    assert result["real"]["diversity"] is None
    assert [model["name"] for model in result["models"]] == ["a-b-c-", "a-b-c--2"]
    parsed = Page((tmp_path / "index.html").read_text("utf-8"))
    assert "All attributes" not in parsed.text


def test_a_report_is_replaced_but_nothing_else(tmp_path: Path, runs: list[Run]) -> None:
    out = tmp_path / "report"
    compare(runs[:1], out, count=8)
    compare(runs[:1], out, count=9)
    assert json.loads((out / "comparison.json").read_text("utf-8"))["count"] == 9
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(ChibiError, match="holds other files"):
        compare(runs[:1], tmp_path / "mine", count=8)
    with pytest.raises(ChibiError, match="is a file"):
        compare(runs[:1], tmp_path / "mine" / "letter.txt", count=8)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_runs_that_cannot_be_compared_are_named(
    tmp_path: Path, runs: list[Run], plain: Run
) -> None:
    with pytest.raises(
        ChibiError, match=r"learned from adventurer .* from plain .*same images"
    ):
        compare([runs[0], plain], tmp_path / "report")
    with pytest.raises(ChibiError, match="no run to compare"):
        compare([], tmp_path / "report")
    with pytest.raises(ChibiError, match="count is 0"):
        compare(runs, tmp_path / "report", count=0)
    with pytest.raises(ChibiError, match="no checkpoint"):
        compare([Run(tmp_path / "empty", GANConfig(**TINY))], tmp_path / "report")
    assert not (tmp_path / "report").exists()
