import math
from pathlib import Path

import pytest
import torch

from chibi_lab.data import ImageSet, to_float
from chibi_lab.training import (
    ModernVAEConfig,
    Run,
    TrainingDivergedError,
    load_modern_vae,
    reconstruct,
    sample,
    train_modern_vae,
)
from chibi_lab.training.checkpoint import read_checkpoint
from chibi_lab.training.loop import Loop
from chibi_lab.training.modern_vae import LOUDNESS, read_loss

TINY = {"size": 32, "channels": 4, "latent_dim": 5, "batch": 8, "images": 64}
TINY |= {"log_every": 16, "sample_every": 32, "checkpoint_every": 32}
TINY |= {"penalty_every": 3, "precision": "float32"}
SHARP = {"adversary": 2e-4}
CHANGES = [{}, SHARP, SHARP | {"augment": True}, {"conditional": False}]


def train(
    out: Path, pictures: ImageSet, resume: bool = False, **changes: object
) -> Run:
    config = ModernVAEConfig(**TINY | changes)
    return train_modern_vae(config, out, images=pictures, resume=resume, progress=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, labelled: ImageSet) -> Run:
    """Long enough that something was learned."""
    out = tmp_path_factory.mktemp("runs") / "run"
    return train(
        out, labelled, images=2_400, ema_images=100, channels=8, log_every=80,
        sample_every=2_400, checkpoint_every=2_400,
    )  # fmt: skip


def test_a_run_tells_the_terms_of_the_loss(run: Run) -> None:
    for row in run.stats():
        loss = row["nll"] + row["kl"] + LOUDNESS * row["reading"]
        assert row["loss"] == pytest.approx(loss, rel=1e-3, abs=0.1)
        assert row["variance"] > 0
        assert row["kl"] >= 0
        assert row["reading"] >= 0
    first, last = run.stats()[0], run.stats()[-1]
    for name in ("loss", "variance", "reading"):
        assert last[name] < first[name]


def test_the_variance_is_the_mean_squared_error(
    tmp_path: Path, labelled: ImageSet
) -> None:
    (row,) = train(tmp_path / "run", labelled, images=8, log_every=8).stats()
    # With it both terms of the likelihood are known: half a nat a pixel, and the constant.
    pixels = 3 * 32 * 32
    nll = pixels / 2 * (1 + math.log(2 * math.pi * row["variance"]))
    assert row["nll"] == pytest.approx(nll, rel=1e-4)


@pytest.mark.parametrize("changes", CHANGES)
def test_the_same_seed_gives_the_same_bytes(
    changes: dict[str, object], tmp_path: Path, labelled: ImageSet
) -> None:
    first, again = (
        read_checkpoint(train(tmp_path / name, labelled, **changes).latest())[0]
        for name in ("first", "again")
    )
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    has_adversary = any(name.startswith("discriminator.") for name in first)
    assert has_adversary == ("adversary" in changes)


@pytest.mark.parametrize("changes", CHANGES)
def test_a_resumed_training_ends_as_one_without_a_stop(
    changes: dict[str, object], tmp_path: Path, labelled: ImageSet
) -> None:
    whole = train(tmp_path / "whole", labelled, **changes)
    train(tmp_path / "half", labelled, images=40, **changes)
    resumed = train(tmp_path / "half", labelled, resume=True, **changes)
    first, second = (read_checkpoint(run.latest())[0] for run in (whole, resumed))
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def test_each_image_is_counted_once_with_an_adversary_too(
    tmp_path: Path, labelled: ImageSet
) -> None:
    for changes in ({}, SHARP):
        run = train(tmp_path / str(len(changes)), labelled, **changes)
        seen = load_modern_vae(run).decoder.wishes.seen
        assert [part.sum().item() for part in seen.diagonal().split((3, 2))] == [64, 64]


def test_only_without_an_adversary_the_loss_tells_which_checkpoint_is_best(
    tmp_path: Path, labelled: ImageSet
) -> None:
    for changes in ({}, SHARP):
        run = train(tmp_path / str(len(changes)), labelled, **changes)
        best = read_checkpoint(run.latest())[1]["best"]
        assert (best is None) == bool(changes)


def test_the_density_is_where_the_encoder_puts_the_images(
    run: Run, labelled: ImageSet
) -> None:
    vae = load_modern_vae(run)
    with torch.no_grad():
        mu, logvar, _ = vae.encode(to_float(labelled.images))
    # The variance of all latents is that of their means and the mean of their variances.
    spread = mu.var(0) + logvar.exp().mean(0)
    ratio = vae.density.covariance.diagonal() / spread
    assert ((ratio > 0.5) & (ratio < 2)).all()
    torch.testing.assert_close(vae.density.mean, mu.mean(0), rtol=0, atol=0.5)
    torch.testing.assert_close(vae.density.covariance, vae.density.covariance.T)


def test_the_encoder_learns_to_read(run: Run, labelled: ImageSet) -> None:
    _, _, read = load_modern_vae(run).encode(to_float(labelled.images))
    right = (read.numpy() == labelled.attributes).mean(0)
    assert right[0] > 0.9


def test_the_decoder_learns_to_draw_what_is_asked_for(run: Run) -> None:
    for column, name in enumerate(("red", "green", "blue")):
        corners = sample(run, 8, wish={"around": name})[:, :, :4, :4].mean((2, 3))
        assert (corners.argmax(1) == column).all(), name


def test_it_learns_to_reconstruct(run: Run, labelled: ImageSet) -> None:
    real = to_float(labelled.images)
    error = (reconstruct(run, real)[0] - real).square().mean()
    flat = real.mean((2, 3), keepdim=True)  # the mean colour of each
    assert error < 2 * (real - flat).square().mean()


@pytest.mark.parametrize("changes", [{}, SHARP])
def test_a_density_that_breaks_stops_the_training_in_one_line(
    changes: dict[str, object],
    tmp_path: Path,
    labelled: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Loop.log

    def poison(self: Loop, **values: torch.Tensor) -> None:
        if self.images_seen == 40:
            self.parts["vae"].density.covariance.fill_(torch.nan)
        log(self, **values)

    monkeypatch.setattr(Loop, "log", poison)
    with pytest.raises(TrainingDivergedError, match="the last good checkpoint is"):
        train(tmp_path / "run", labelled, **changes)
    assert Run.open(tmp_path / "run").images_seen == 32


def test_pictures_that_say_nothing_make_an_unconditional_model(
    tmp_path: Path, labelled: ImageSet
) -> None:
    run = train(tmp_path / "run", ImageSet(labelled.images), **SHARP)
    assert run.schema() is None
    assert [row["reading"] for row in run.stats()] == [0] * 4
    assert load_modern_vae(run).encode(to_float(labelled.images))[2].shape == (48, 0)


def test_images_of_three_to_four_are_learned(tmp_path: Path, narrow: ImageSet) -> None:
    run = train(tmp_path / "run", narrow, size=64, width=48, images=16, **SHARP)
    real = to_float(narrow.images[:3])
    assert reconstruct(run, real)[0].shape == sample(run, 3).shape == (3, 3, 64, 48)


def test_reading_is_the_surprise_at_all_attributes() -> None:
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    shown = torch.tensor([[0, 1], [2, 0], [1, 1], [0, 0], [2, 1], [1, 0]])
    first, second = logits[:, :3].log_softmax(1), logits[:, 3:].log_softmax(1)
    surprise = [-first[i, a] - second[i, b] for i, (a, b) in enumerate(shown.tolist())]
    found = read_loss(logits, shown, (3, 2))
    torch.testing.assert_close(found, torch.stack(surprise).mean())
    assert read_loss(logits[:, :0], None, ()) == 0
