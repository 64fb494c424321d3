from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from chibi_lab import pretrained
from chibi_lab.data import ImageSet, to_uint8
from chibi_lab.errors import ChibiError
from chibi_lab.studio import AvatarChoice
from chibi_lab.studio.enlarging import enlarge
from chibi_lab.studio.findings import examine
from chibi_lab.studio.painter import Painter
from chibi_lab.training import (
    GANConfig,
    Run,
    VAEConfig,
    draw,
    load_drawer,
    sample,
    train_gan,
    train_vae,
)

TINY = {"size": 32, "channels": 4, "latent_dim": 4, "batch": 8, "images": 16}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("runs")
    pixels = torch.randint(0, 256, (16, 32, 32, 3), dtype=torch.uint8).numpy()
    images = ImageSet(pixels, manifest={"credit": "Avatars by Ä"})
    return {
        "GAN": train_gan(
            GANConfig(**TINY), folder / "gan", images=images, progress=False
        ),
        "VAE": train_vae(
            VAEConfig(**TINY), folder / "vae", images=images, progress=False
        ),
    }


def test_candidates_are_the_first_samples_of_the_seed(runs: dict[str, Run]) -> None:
    choice = AvatarChoice(runs)
    for model, run in runs.items():
        images = choice.candidates(model, seed=3, count=5)
        assert torch.equal(images, sample(run, 5, seed=3))
        assert torch.equal(choice.candidates(model, seed=3, count=2), images[:2])


def test_the_first_candidate_is_chosen_until_another_is(runs: dict[str, Run]) -> None:
    choice = AvatarChoice(runs)
    images = choice.candidates("GAN", 0, 4)
    assert choice.index == 0
    assert torch.equal(choice.choose(2), images[2])
    assert choice.index == 2
    choice.candidates("VAE", 0, 4)
    assert choice.index == 0


def test_a_refused_request_changes_nothing(runs: dict[str, Run]) -> None:
    choice = AvatarChoice(runs)
    images = choice.candidates("GAN", 0, 4)
    choice.choose(1)
    for request in (("XYZ", 0, 4), ("GAN", -1, 4), ("GAN", 0, 0), ("GAN", 0, 65)):
        with pytest.raises(ChibiError):
            choice.candidates(*request)
    for index in (-1, 4):
        with pytest.raises(ChibiError, match="there is no candidate"):
            choice.choose(index)
    assert (choice.model, choice.seed, choice.index) == ("GAN", 0, 1)
    assert torch.equal(choice.images, images)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the key is kept that signs."""
    folder = tmp_path / "settings"
    monkeypatch.setattr("chibi_lab.studio.keys.config_folder", lambda: folder)
    return folder


def test_the_saved_avatar_says_what_drew_it(
    tmp_path: Path, runs: dict[str, Run], settings: Path
) -> None:
    choice = AvatarChoice(runs)
    images = choice.candidates("VAE", seed=7, count=4)
    choice.choose(2)
    file = choice.save(tmp_path / "me.png", size=64)
    assert Image.open(file).size == (64, 64)
    found = examine(file, settings)
    assert found.signature.valid and found.signature.own
    origin = found.origin
    assert (origin.model, origin.kind) == ("VAE", "vae")
    assert (origin.seed, origin.candidate) == (7, 3)
    assert origin.credit == "Avatars by Ä"
    network = load_drawer(runs["VAE"])
    torch.testing.assert_close(draw(network, origin.z)[0], images[2])


@pytest.mark.parametrize("name", ["modern-gan", "modern-vae"])
def test_an_avatar_of_a_model_that_takes_wishes_can_be_drawn_again(
    tmp_path: Path, settings: Path, name: str
) -> None:
    run = pretrained.open_run(name)
    choice = AvatarChoice({name: run})
    images = choice.candidates(name, seed=1, count=4)
    choice.choose(2)
    origin = examine(choice.save(tmp_path / "me.png", size=64), settings).origin
    painter = Painter(run)
    drawn = painter.draw([painter.recipe(origin.latent, origin.shares)])
    torch.testing.assert_close(drawn[0], images[2], atol=1e-4, rtol=0)


def test_the_saved_avatar_is_the_chosen_one(
    tmp_path: Path, runs: dict[str, Run], settings: Path
) -> None:
    choice = AvatarChoice(runs)
    images = choice.candidates("GAN", 0, 4)
    choice.choose(3)
    picture = Image.open(choice.save(tmp_path / "me.webp", size=128))
    large = to_uint8(enlarge(images[3:], 128))[0]
    assert np.array_equal(np.asarray(picture.convert("RGB")), large)
    with pytest.raises(ChibiError, match="exists"):
        choice.save(tmp_path / "me.webp")


def test_nothing_can_be_chosen_or_saved_before_something_is_drawn(
    tmp_path: Path, runs: dict[str, Run]
) -> None:
    choice = AvatarChoice(runs)
    for act in (lambda: choice.choose(0), lambda: choice.save(tmp_path / "me.png")):
        with pytest.raises(ChibiError, match="no candidates yet"):
            act()
    with pytest.raises(ChibiError, match="at least one run"):
        AvatarChoice({})
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_does_not_say_its_source_can_be_used(
    tmp_path: Path, runs: dict[str, Run]
) -> None:
    run = Run.open(runs["GAN"].path)
    data = run.path / "data.json"
    text = data.read_text("utf-8")
    try:
        for broken in ("", "[]", "{}"):
            data.write_text(broken, "utf-8")
            choice = AvatarChoice({"GAN": run})
            choice.candidates("GAN", 0, 1)
            assert choice.origin().credit == ""
    finally:
        data.write_text(text, "utf-8")
