import json
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from chibi_lab.data import ImageSet, to_float
from chibi_lab.errors import ChibiError
from chibi_lab.models import Discriminator
from chibi_lab.training import (
    GANConfig,
    Run,
    TrainingDivergedError,
    VAEConfig,
    draw,
    load_vae,
    sample,
    train_gan,
    train_vae,
)
from chibi_lab.training import loop as loop_module
from chibi_lab.training.loop import Loop
from chibi_lab.training.run import whole_folder

TINY = {
    "size": 32,
    "channels": 4,
    "latent_dim": 5,
    "batch": 8,
    "images": 64,
    "log_every": 16,
}
EVERY = {"sample_every": 32, "checkpoint_every": 32}
Train = Callable[..., Run]
KINDS = [
    (train_gan, GANConfig),
    (train_gan, partial(GANConfig, instance_noise=0.1)),
    (train_vae, VAEConfig),
]


@pytest.fixture(scope="module")
def pictures() -> ImageSet:
    # Two-coloured discs, so that there is something to learn.
    random = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32]
    colours = random.integers(0, 256, (40, 2, 3), dtype=np.uint8)
    disc = ((x - 16) ** 2 + (y - 16) ** 2 < 100)[None, :, :, None]
    return ImageSet(
        np.where(disc, colours[:, 0, None, None], colours[:, 1, None, None])
    )


@pytest.fixture(scope="module")
def gan_run(tmp_path_factory: pytest.TempPathFactory, pictures: ImageSet) -> Run:
    out = tmp_path_factory.mktemp("runs") / "gan"
    return train_gan(GANConfig(**TINY, **EVERY), out, images=pictures, progress=False)


@pytest.fixture(scope="module")
def vae_run(tmp_path_factory: pytest.TempPathFactory, pictures: ImageSet) -> Run:
    out = tmp_path_factory.mktemp("runs") / "vae"
    return train_vae(VAEConfig(**TINY, **EVERY), out, images=pictures, progress=False)


def newest(run: Run) -> bytes:
    return run.latest().read_bytes()


@pytest.mark.parametrize("kind", ["gan", "vae"])
def test_a_run_holds_config_stats_checkpoints_and_samples(
    kind: str, request: pytest.FixtureRequest
) -> None:
    run = request.getfixturevalue(f"{kind}_run")
    assert json.loads((run.path / "config.json").read_text())["kind"] == kind
    assert [row["images_seen"] for row in run.stats()] == [16, 32, 48, 64]
    assert [path.stem for path in run.checkpoints()] == ["000000032", "000000064"]
    assert [path.stem for path in run.samples()] == [
        "000000000",
        "000000032",
        "000000064",
    ]
    assert run.images_seen == 64
    assert Run.open(run.path).config == run.config
    assert not list(run.path.rglob("*.part"))


def test_stats_name_the_losses_and_stay_in_range(gan_run: Run, vae_run: Run) -> None:
    for row in gan_run.stats():
        assert row.keys() >= {"seconds", "images_per_second", "loss_d", "loss_g"}
        assert 0 <= row["d_real"] <= 1
        assert 0 <= row["d_fake"] <= 1
    for row in vae_run.stats():
        assert row["loss"] == pytest.approx(row["reconstruction"] + row["kl"], rel=1e-4)


@pytest.mark.parametrize(("train", "config"), KINDS)
def test_the_same_seed_gives_the_same_bytes(
    train: Train,
    config: Callable[..., GANConfig | VAEConfig],
    tmp_path: Path,
    pictures: ImageSet,
) -> None:
    def trained(name: str, seed: int) -> Run:
        return train(
            config(**TINY, **EVERY, seed=seed),
            tmp_path / name,
            images=pictures,
            progress=False,
        )

    first, again, other = trained("a", 0), trained("b", 0), trained("c", 1)
    assert torch.equal(sample(first, 4), sample(again, 4))
    assert first.samples()[-1].read_bytes() == again.samples()[-1].read_bytes()
    assert not torch.equal(sample(first, 4), sample(other, 4))


@pytest.mark.parametrize(("train", "config"), KINDS)
def test_resumed_training_is_the_training_without_a_stop(
    train: Train,
    config: Callable[..., GANConfig | VAEConfig],
    tmp_path: Path,
    pictures: ImageSet,
) -> None:
    whole = train(
        config(**TINY, **EVERY), tmp_path / "whole", images=pictures, progress=False
    )
    half = TINY | {"images": 40}  # not at a checkpoint's or a log row's multiple
    train(config(**half, **EVERY), tmp_path / "half", images=pictures, progress=False)
    resumed = train(
        config(**TINY, **EVERY),
        tmp_path / "half",
        images=pictures,
        resume=True,
        progress=False,
    )
    assert resumed.images_seen == 64
    first, second = (
        loop_module.read_checkpoint(run.latest())[0] for run in (whole, resumed)
    )
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def test_rows_after_the_checkpoint_are_written_once(
    tmp_path: Path, pictures: ImageSet
) -> None:
    config = VAEConfig(**TINY, **EVERY)
    run = train_vae(config, tmp_path / "run", images=pictures, progress=False)
    run.latest().unlink()  # as if it was killed after images 48 were logged
    train_vae(config, tmp_path / "run", images=pictures, resume=True, progress=False)
    assert [row["images_seen"] for row in run.stats()] == [16, 32, 48, 64]


def test_resume_goes_on_to_more_images_and_refuses_another_config(
    tmp_path: Path, pictures: ImageSet
) -> None:
    out = tmp_path / "run"
    train_gan(GANConfig(**TINY), out, images=pictures, progress=False)
    before = (out / "config.json").read_bytes()
    with pytest.raises(
        ChibiError, match="holds a run already: resume it, or choose another"
    ):
        train_gan(GANConfig(**TINY), out, images=pictures, progress=False)
    with pytest.raises(
        ChibiError, match=r"seed was 0, now 3; learning_rate was 0.0002, now 0.1"
    ):
        train_gan(
            GANConfig(**TINY, seed=3, learning_rate=0.1),
            out, images=pictures, resume=True, progress=False,
        )  # fmt: skip
    with pytest.raises(ChibiError, match="is a run of a gan, not of a vae"):
        train_vae(VAEConfig(**TINY), out, images=pictures, resume=True, progress=False)
    assert (out / "config.json").read_bytes() == before
    longer = GANConfig(**TINY | {"images": 80})
    assert (
        train_gan(longer, out, images=pictures, resume=True, progress=False).images_seen
        == 80
    )


def test_a_folder_with_something_else_in_it_is_left_alone(
    tmp_path: Path, pictures: ImageSet
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(
        ChibiError, match="exists and is not a run: choose a new or an empty"
    ):
        train_gan(GANConfig(**TINY), tmp_path, images=pictures, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_resume_ends_as_if_nothing_had_happened(
    number: signal.Signals,
    tmp_path: Path,
    pictures: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = VAEConfig(**TINY, **EVERY)
    whole = train_vae(config, tmp_path / "whole", images=pictures, progress=False)

    log = Loop.log

    def press(self: Loop, **values: torch.Tensor) -> None:
        if self.images_seen == 40:
            signal.raise_signal(number)
        log(self, **values)

    handler = signal.getsignal(number)
    monkeypatch.setattr(Loop, "log", press)
    stopped = train_vae(config, tmp_path / "stopped", images=pictures, progress=False)
    monkeypatch.undo()
    assert stopped.images_seen == 48  # the step under way is finished
    assert signal.getsignal(number) is handler
    train_vae(
        config, tmp_path / "stopped", images=pictures, resume=True, progress=False
    )
    assert torch.equal(sample(whole, 4), sample(stopped, 4))


def test_a_loss_that_is_not_finite_stops_and_says_where(
    tmp_path: Path, pictures: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Loop.log

    def poison(self: Loop, **values: torch.Tensor) -> None:
        if self.images_seen == 40:
            values["kl"] = torch.tensor(float("nan"))
        log(self, **values)

    monkeypatch.setattr(Loop, "log", poison)
    message = r"kl is nan between 32 and 48 images seen; the last good checkpoint is .*000000032"
    with pytest.raises(TrainingDivergedError, match=message):
        train_vae(
            VAEConfig(**TINY, **EVERY),
            tmp_path / "run",
            images=pictures,
            progress=False,
        )
    run = Run.open(tmp_path / "run")
    assert run.images_seen == 32
    assert [row["images_seen"] for row in run.stats()] == [16, 32]


def test_instance_noise_lies_on_what_the_discriminator_sees(
    tmp_path: Path, pictures: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    forward = Discriminator.forward

    def spy(self: Discriminator, images: torch.Tensor) -> torch.Tensor:
        seen.append(images.detach())
        return forward(self, images)

    monkeypatch.setattr(Discriminator, "forward", spy)
    # Images that are 1 everywhere.
    flat = ImageSet(np.full((8, 32, 32, 3), 255, dtype=np.uint8))
    for deviation in (0.0, 0.25):
        seen.clear()
        config = GANConfig(**TINY | {"images": 8}, instance_noise=deviation)
        train_gan(config, tmp_path / str(deviation), images=flat, progress=False)
        real, fake, judged = seen  # the three passes of one step
        assert (real - 1).std().item() == pytest.approx(deviation, rel=0.02)
        assert (judged.float() - fake.float()).std().item() == pytest.approx(
            deviation * 2**0.5, rel=0.02
        )  # the same drawings, noise of their own


def test_weights_that_are_not_finite_are_never_saved(
    tmp_path: Path, pictures: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Loop.log

    def poison(self: Loop, **values: torch.Tensor) -> None:
        log(self, **values)
        if self.images_seen == 56:
            with torch.no_grad():
                next(self.parts["decoder"].parameters())[0] = float("inf")

    monkeypatch.setattr(Loop, "log", poison)
    with pytest.raises(
        TrainingDivergedError, match=r"decoder\.project\.0\.weight is not finite"
    ):
        train_vae(
            VAEConfig(**TINY, **EVERY),
            tmp_path / "run",
            images=pictures,
            progress=False,
        )
    assert Run.open(tmp_path / "run").images_seen == 32


def test_a_vae_learns_to_reconstruct(vae_run: Run, pictures: ImageSet) -> None:
    encoder, decoder = load_vae(vae_run)
    real = to_float(pictures.images[:16])
    with torch.no_grad():
        error = (draw(decoder, encoder(real)[0]) - real).square().mean()
    flat = real.mean(dim=(0, 2, 3), keepdim=True)
    assert error < 2 * (real - flat).square().mean()
    rows = vae_run.stats()
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ChibiError, match=r"nowhere is not a run: it holds no config\.json"
    ):
        Run.open(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ChibiError, match="cannot be read as a config"):
        Run.open(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(VAEConfig().to_json()))
    with pytest.raises(ChibiError, match="has no checkpoint yet"):
        sample(Run.open(tmp_path), 1)


def test_without_a_compiler_a_training_runs_and_says_so(
    tmp_path: Path,
    pictures: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("chibi_lab.training.loop.shutil.which", lambda _: None)
    config = VAEConfig(**TINY, compile=True)
    run = train_vae(config, tmp_path / "run", images=pictures, progress=False)
    assert run.images_seen == 64
    assert capsys.readouterr().out.count("no C++ compiler was found") == 1


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ZeroDivisionError), whole_folder(out) as beside:
        (beside / "half.txt").write_text("half")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with whole_folder(out) as beside:
        (beside / "all.txt").write_text("all")
        assert not out.exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "all.txt"]
