"""One run measured: the command, its JSON and table, and what few pictures leave out."""

import importlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from chibi_lab import pretrained
from chibi_lab.cli import main
from chibi_lab.data import ImageSet, load_avatars, split_seeds, to_float
from chibi_lab.errors import ChibiError
from chibi_lab.evaluation import (
    active_units,
    compare,
    evaluate,
    memorisation,
    reference,
)
from chibi_lab.evaluation.spaces import Space
from chibi_lab.evaluation.table import table
from chibi_lab.training import (
    ModernGANConfig,
    Run,
    VAEConfig,
    drawing,
    load_vae,
    train_vae,
)
from chibi_lab.training.checkpoint import write_checkpoint

measuring = importlib.import_module(evaluate.__module__)  # it has the function's name
DISTANCES = {"frechet", "kernel"}
AROUND = {"precision", "recall", "density", "coverage"}
COPYING = {"memorisation", "copied"}
ASKING = {"read_back"}
CODING = {"psnr", "ssim", "kl", "active_units"}


@pytest.mark.parametrize("kind", ["gan", "vae", "modern-gan"])
def test_evaluate_gives_the_same_figures_as_json_and_as_a_table(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", str(pretrained.path(kind)), "--count", "260"]
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result.keys() == {
        "format", "run", "kind", "images_seen", "count", "sets", "held_out", "searched",
        "reconstructed", "seed", "figures", "real", "real_interval", "attributes",
        "neutral", "notes",
    }  # fmt: skip
    coding = CODING if kind == "vae" else set()
    asking = ASKING if kind == "modern-gan" else set()
    assert result["figures"].keys() == DISTANCES | AROUND | COPYING | coding | asking
    assert result["real_interval"].keys() == DISTANCES | AROUND
    assert result["real"].keys() == DISTANCES | AROUND | asking
    for figure in result["figures"].values():
        assert figure["low"] <= figure["value"] <= figure["high"]
    # Real images are nearer to real ones than what either model draws.
    assert result["real"]["frechet"] < result["figures"]["frechet"]["low"]
    assert (result["held_out"], result["searched"]) == (
        260,
        40_000 if kind == "modern-gan" else 10_000,
    )
    assert result["reconstructed"] == (260 if kind == "vae" else 0)
    assert result["notes"] == []
    hair = result["attributes"]["hair"]
    readings = {"covered", "effective", "distance"}
    answers = {"read_back", "readable"} if asking else set()
    assert hair.keys() == {"values", *readings, "low", "high", "real", *answers}
    assert all(0.5 < hair[key] <= 1 for key in answers)
    for key in readings:
        assert hair["low"][key] <= hair[key] <= hair["high"][key]
    assert hair["real"]["covered"] >= hair["high"]["covered"]
    text = table(result)
    assert f"{result['figures']['frechet']['value']:.3f}" in text
    assert "hair_color" in text


@pytest.fixture(scope="module")
def plain() -> ImageSet:
    """Pictures without attributes, as of a folder."""
    return ImageSet(load_avatars(size=32, seeds=range(60), progress=False).images)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, plain: ImageSet) -> Run:
    config = VAEConfig(
        size=32, channels=4, latent_dim=4, batch=8, images=64, data="own", seed=3
    )
    folder = tmp_path_factory.mktemp("runs") / "own"
    return train_vae(config, folder, images=plain, progress=False)


def test_few_own_pictures_leave_figures_out_and_say_why(
    small: Run, plain: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def open_images(
        data: str, size: int, split: str, count: int, palette: str = "pastel"
    ) -> ImageSet:
        asked.append((data, split))
        return plain if split == "train" else plain.select(slice(6))

    monkeypatch.setattr(reference, "open_images", open_images)
    result = evaluate(small, count=20)
    assert asked == [("own", "test"), ("own", "train")]
    assert (result["held_out"], result["count"]) == (3, 20)
    left_out = {name for name, figure in result["figures"].items() if figure is None}
    assert left_out == {"frechet", "copied"} | AROUND
    assert result["attributes"] is None
    assert (
        "needs 257 images on either side: there are 3 real ones" in result["notes"][0]
    )
    assert any("density and coverage need 100 images" in n for n in result["notes"])
    assert any("beside 100 held-out images: there are 3" in n for n in result["notes"])
    assert any("the judge learned" in note for note in result["notes"])
    assert "note: the Fréchet distance" in table(result)


def test_one_test_picture_is_too_few(
    small: Run,
    plain: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
    complaint: Callable[[list[str]], str],
) -> None:
    monkeypatch.setattr(reference, "open_images", lambda *_, **__: plain.select([0]))
    line = complaint(["evaluate", str(small.path)])
    assert "own has 1 test image: at least 2 are needed" in line


@pytest.mark.parametrize("count", ["1", "-5", "100000000"])
def test_a_count_out_of_range_is_refused_at_once(
    count: str, small: Run, tmp_path: Path, complaint: Callable[[list[str]], str]
) -> None:
    run, out = str(small.path), tmp_path / "report"
    for command in (["evaluate", run], ["compare", run, run, f"--out={out}"]):
        line = complaint([*command, "--count", count])
        assert f"count is {count}: it must be 2 to 10,000" in line
    assert not out.exists()


def test_real_pictures_are_not_called_copies_for_being_few() -> None:
    avatars = to_float(load_avatars(size=32, seeds=range(300), progress=False).images)
    few, enough = (
        memorisation(avatars[200:], avatars[:100], avatars[100 : 100 + held_out])
        for held_out in (99, 100)
    )
    assert few.copied is None
    assert 0 <= enough.copied < 0.2


def test_what_no_json_can_hold_becomes_null() -> None:
    given = {"a": [math.nan, math.inf, 1.5, 2, None], "b": "x\udcff", "c": {"d": True}}
    assert measuring.plain(given) == {
        "a": [None, None, 1.5, 2, None],
        "b": r"x\udcff",
        "c": {"d": True},
    }


def test_images_that_are_not_square_are_refused_before_anything_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path / "run", ModernGANConfig(size=64, width=48))
    (run.path / "checkpoints").mkdir(parents=True)
    (run.path / "data.json").write_text("{}")
    checkpoint = run.path / "checkpoints" / "000000008.safetensors"
    write_checkpoint(checkpoint, {"ema": torch.zeros(1)}, {"images_seen": 8})
    monkeypatch.setattr(reference, "load_judge", None)  # it is not even called
    line = "^only square images can be judged and compared, not 48 x 64 pixels$"
    with pytest.raises(ChibiError, match=line):
        evaluate(run)
    with pytest.raises(ChibiError, match=line):
        compare([run, run], tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_further_spaces_have_their_own_figures(
    small: Run, plain: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHIBI_LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(reference, "open_images", lambda *_, **__: plain)
    # As a space of three features: the mean colour.
    colours = Space("colours", lambda images: images.mean((2, 3)))
    monkeypatch.setattr(reference, "neutral_space", lambda: colours)
    result = evaluate(small, count=30, neutral=True)
    neutral = result["neutral"]
    assert neutral["features"] == "colours"
    assert neutral["figures"].keys() == neutral["real"].keys() == DISTANCES
    # The test images are the training images here, and the drawing has hardly begun.
    assert neutral["real"]["frechet"] < neutral["figures"]["frechet"]["low"]
    assert "neutral frechet" in table(result)


def test_a_model_that_draws_its_training_images_is_found_out(
    small: Run, plain: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_out = load_avatars(size=32, seeds=split_seeds("test", 200), progress=False)
    monkeypatch.setattr(
        reference,
        "open_images",
        lambda data, size, split, *_, **__: plain if split == "train" else held_out,
    )
    pixels = to_float(plain.images).repeat(2, 1, 1, 1)
    honest = evaluate(small, count=100)["figures"]
    monkeypatch.setattr(measuring, "draw", lambda network, z: pixels[: len(z)])
    copied = evaluate(small, count=100)["figures"]
    assert copied["memorisation"]["value"] == 0 < honest["memorisation"]["low"]
    assert copied["copied"]["value"] == 1 > honest["copied"]["high"]


def test_active_units_are_those_that_vary() -> None:
    mu = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    assert active_units(mu * torch.tensor([1.0, 0.3, 0.03, 0.0]) + 5) == 2


def test_the_kl_divergence_is_per_image(
    small: Run, plain: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Known(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.ones(len(images), 4), torch.zeros(len(images), 4)

    decoder = load_vae(small)[1]
    monkeypatch.setattr(drawing, "load_vae", lambda run: (Known(), decoder))
    monkeypatch.setattr(reference, "open_images", lambda *_, **__: plain)
    figures = evaluate(small, count=30)["figures"]
    assert figures["kl"]["value"] == pytest.approx(2)  # four dimensions, mean² / 2 each
    assert figures["active_units"]["value"] == 0
    assert np.isfinite(figures["ssim"]["value"])
