"""What a run learned: networks, images on request, and a small copy."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from chibi_lab.data import ImageSet, to_float
from chibi_lab.errors import ChibiError
from chibi_lab.models import Decoder, Generator, ModernGenerator, ModernVAE
from chibi_lab.training import (
    GANConfig,
    ModernGANConfig,
    ModernVAEConfig,
    Run,
    VAEConfig,
    draw,
    export_run,
    has_encoder,
    latents,
    load_drawer,
    load_generator,
    load_modern_vae,
    load_vae,
    reconstruct,
    sample,
    train_gan,
    train_modern_gan,
    train_modern_vae,
    train_vae,
)
from chibi_lab.training import drawing as drawing_module
from chibi_lab.training.checkpoint import read_checkpoint

TINY = {"size": 32, "channels": 4, "latent_dim": 5, "batch": 8, "images": 160}
TINY |= {"log_every": 16, "sample_every": 80, "checkpoint_every": 80}
LOOPS = {
    "gan": (GANConfig, train_gan),
    "vae": (VAEConfig, train_vae),
    "modern-gan": (ModernGANConfig, train_modern_gan),
    "modern-vae": (ModernVAEConfig, train_modern_vae),
}
KINDS, MODERN, CODING = list(LOOPS), ["modern-gan", "modern-vae"], ["vae", "modern-vae"]


def train(kind: str, out: Path, pictures: ImageSet, **changes: object) -> Run:
    config, loop = LOOPS[kind]
    return loop(config(**TINY | changes), out, images=pictures, progress=False)


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, labelled: ImageSet
) -> dict[str, Run]:
    out = tmp_path_factory.mktemp("runs")
    return {kind: train(kind, out / kind, labelled) for kind in KINDS}


@pytest.fixture(scope="module")
def unconditional(
    tmp_path_factory: pytest.TempPathFactory, labelled: ImageSet
) -> dict[str, Run]:
    out, plain = tmp_path_factory.mktemp("plain"), ImageSet(labelled.images)
    return {kind: train(kind, out / kind, plain) for kind in MODERN}


@pytest.mark.parametrize("kind", KINDS)
def test_sample_k_of_a_seed_does_not_depend_on_the_count(
    kind: str, runs: dict[str, Run]
) -> None:
    run = runs[kind]
    many, few = sample(run, 70, seed=3), sample(run, 3, seed=3)
    assert many.shape == (70, 3, 32, 32)
    assert many.abs().max() <= 1
    assert torch.equal(many[:3], few)
    assert torch.equal(latents(70, 5, seed=3)[:3], latents(3, 5, seed=3))
    assert not torch.equal(few, sample(run, 3, seed=4))


def test_sampling_out_of_range_is_refused(runs: dict[str, Run]) -> None:
    with pytest.raises(ChibiError, match="count is 0: it must be at least 1"):
        sample(runs["gan"], 0)
    with pytest.raises(ChibiError, match="seed is -1: it must be 0 or more"):
        sample(runs["gan"], 1, seed=-1)


@pytest.mark.parametrize(
    ("kind", "weight", "last"),
    [
        ("gan", "project.0.weight", "generator.project.0.weight"),
        ("modern-gan", "mix.0.weight", "generator.mix.0.weight"),
        ("modern-vae", "encoder.down.0.weight", "vae.encoder.down.0.weight"),
    ],
)
def test_what_draws_is_the_average_not_the_last_step(
    kind: str, weight: str, last: str, runs: dict[str, Run]
) -> None:
    tensors, _ = read_checkpoint(runs[kind].latest())
    averaged = load_drawer(runs[kind]).state_dict()[weight]
    assert torch.equal(averaged, tensors[f"ema.module.{weight}"])
    assert not torch.equal(averaged, tensors[last])


def test_each_kind_has_its_networks(runs: dict[str, Run]) -> None:
    drawers = {kind: type(load_drawer(run)) for kind, run in runs.items()}
    assert drawers == {
        "gan": Generator, "vae": Decoder,
        "modern-gan": ModernGenerator, "modern-vae": ModernVAE,
    }  # fmt: skip
    for run in runs.values():
        assert not load_drawer(run).training


def test_networks_of_another_kind_are_refused(runs: dict[str, Run]) -> None:
    with pytest.raises(ChibiError, match="is a run of a gan: a vae is needed here"):
        load_vae(runs["gan"])
    with pytest.raises(ChibiError, match="a vae: a gan or modern-gan is needed here"):
        load_generator(runs["vae"])
    with pytest.raises(ChibiError, match="a vae: a modern-vae is needed here"):
        load_modern_vae(runs["vae"])
    for kind in ("gan", "modern-gan"):
        with pytest.raises(ChibiError, match=f"a {kind}: a vae or modern-vae is need"):
            reconstruct(runs[kind], torch.zeros(1, 3, 32, 32))


def test_those_that_reconstruct_have_an_encoder(runs: dict[str, Run]) -> None:
    assert [kind for kind, run in runs.items() if has_encoder(run)] == CODING


@pytest.mark.parametrize("kind", KINDS)
def test_drawing_leaves_the_network_in_its_mode(
    kind: str, runs: dict[str, Run]
) -> None:
    network = load_drawer(runs[kind]).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    draw(network, latents(2, 5, 0))
    assert network.training
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("kind", MODERN)
def test_a_wish_reaches_the_network_and_the_rest_stays_open(
    kind: str, runs: dict[str, Run]
) -> None:
    run, z = runs[kind], latents(70, 5, seed=2)
    asked = torch.tensor([[-1, 1]]).expand(70, -1)
    expected = draw(load_drawer(run), z, asked)
    wish = {"disc": "white"}
    assert torch.equal(sample(run, 70, seed=2, wish=wish), expected)
    assert torch.equal(sample(run, 3, seed=2, wish=wish), expected[:3])
    # What the latent would have chosen changes nothing when it is asked for.
    network = load_drawer(run)
    wishes = network.wishes if kind == "modern-gan" else network.decoder.wishes
    alike = wishes.choose(z)[:, 1] == 1
    free = sample(run, 70, seed=2)
    assert 0 < alike.sum() < 70
    same = (free == expected).flatten(1).all(1)
    assert torch.equal(same, alike)


@pytest.mark.parametrize("kind", MODERN)
def test_a_wish_for_nothing_is_no_wish(kind: str, runs: dict[str, Run]) -> None:
    assert torch.equal(sample(runs[kind], 2, wish={}), sample(runs[kind], 2))


@pytest.mark.parametrize("kind", MODERN)
def test_what_cannot_be_asked_for_is_named(kind: str, runs: dict[str, Run]) -> None:
    with pytest.raises(ChibiError, match=r"no attribute 'hat'.* are: around, disc"):
        sample(runs[kind], 1, wish={"hat": "none"})
    with pytest.raises(ChibiError, match=r"has no value 'gold'.*red, green, blue"):
        sample(runs[kind], 1, wish={"around": "gold"})


def test_models_that_take_no_wishes_say_so(
    runs: dict[str, Run], unconditional: dict[str, Run]
) -> None:
    for run in (runs["gan"], runs["vae"], *unconditional.values()):
        assert run.schema() is None
        with pytest.raises(ChibiError, match="draws what it likes: it takes no wishes"):
            sample(run, 1, wish={"around": "red"})
        assert sample(run, 1).shape == (1, 3, 32, 32)


@pytest.mark.parametrize("kind", CODING)
def test_reconstructions_are_decoded_means(
    kind: str, runs: dict[str, Run], labelled: ImageSet
) -> None:
    run, real = (
        runs[kind],
        to_float(labelled.images).repeat(2, 1, 1, 1),
    )  # 96: two chunks
    rebuilt, mu, logvar = reconstruct(run, real)
    assert rebuilt.shape == real.shape
    assert mu.shape == logvar.shape == (96, 5)
    assert not rebuilt.requires_grad
    assert not mu.requires_grad
    if kind == "vae":
        encoder, decoder = load_vae(run)
        coded, read = encoder(real), None
    else:
        vae = load_modern_vae(run)
        decoder, (*coded, read) = vae.decoder, vae.encode(real)
    torch.testing.assert_close(mu, coded[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logvar, coded[1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(rebuilt, draw(decoder, mu, read), atol=1e-5, rtol=0)


def test_an_unconditional_vae_reconstructs(
    unconditional: dict[str, Run], labelled: ImageSet
) -> None:
    real = to_float(labelled.images[:3])
    assert reconstruct(unconditional["modern-vae"], real)[0].shape == real.shape


@pytest.mark.parametrize("kind", KINDS)
def test_export_keeps_the_samples_and_drops_the_rest(
    kind: str, tmp_path: Path, runs: dict[str, Run]
) -> None:
    run = runs[kind]
    small = export_run(run, tmp_path / "small")
    assert small.config == run.config
    assert small.stats() == run.stats()
    assert small.schema() == run.schema()
    assert (sample(small, 4) - sample(run, 4)).abs().max() < 2 / 255
    assert small.latest().stat().st_size < run.latest().stat().st_size / 3
    with pytest.raises(ChibiError, match="is in the way: choose a new or an empty"):
        export_run(run, small.path)


@pytest.mark.parametrize("kind", MODERN)
def test_a_copy_draws_what_it_is_asked_for(
    kind: str, tmp_path: Path, runs: dict[str, Run]
) -> None:
    small, wish = export_run(runs[kind], tmp_path / "small"), {"around": "blue"}
    apart = (sample(small, 4, wish=wish) - sample(runs[kind], 4, wish=wish)).abs()
    assert apart.max() < 2 / 255


@pytest.mark.parametrize("kind", MODERN)
def test_images_of_three_to_four_are_drawn_and_copied(
    kind: str, tmp_path: Path, narrow: ImageSet
) -> None:
    run = train(kind, tmp_path / "run", narrow, size=64, width=48, images=16)
    small = export_run(run, tmp_path / "small")
    drawn = sample(small, 2, wish={"around": "red"})
    assert drawn.shape == (2, 3, 64, 48)
    assert (drawn - sample(run, 2, wish={"around": "red"})).abs().max() < 2 / 255


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", [{"channels": 4_096}, {"latent_dim": 65_536}])
def test_a_config_that_the_weights_do_not_fit_is_found_without_memory_for_it(
    kind: str,
    changes: dict[str, int],
    runs: dict[str, Run],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    devices, networks = [], drawing_module._networks

    def watched(run: Run) -> dict[str, Callable[[], nn.Module]]:
        def build(first: Callable[[], nn.Module]) -> nn.Module:
            devices.append(torch.get_default_device().type)
            return first()

        return {k: partial(build, first) for k, first in networks(run).items()}

    monkeypatch.setattr(drawing_module, "_networks", watched)
    forged = Run(runs[kind].path, replace(runs[kind].config, **changes))
    with pytest.raises(ChibiError, match=r"does not fit the run's config: .* is"):
        sample(forged, 1)
    assert set(devices) == {"meta"}


def test_what_a_strangers_config_names_is_not_opened_to_draw_or_to_copy(
    runs: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs["modern-gan"]
    forged = Run(run.path, replace(run.config, data="/", count=10_000_000))
    monkeypatch.setattr(os, "walk", lambda *_: pytest.fail("walks the disk"))
    assert sample(forged, 1).shape == (1, 3, 32, 32)
    export_run(forged, tmp_path / "small")


def test_an_empty_folder_is_filled_and_a_file_is_in_the_way(
    runs: dict[str, Run], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert export_run(runs["gan"], tmp_path / "empty").images_seen == 160
    for name in ("file", "file/small", "x" * 300):
        with pytest.raises(ChibiError) as caught:
            export_run(runs["gan"], tmp_path / name)
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]
