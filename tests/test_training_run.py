import io
import json
import os
import shutil
import signal
from collections.abc import Callable
from functools import partial
from itertools import count
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
    export_run,
    load_vae,
    sample,
    train_gan,
    train_vae,
)
from chibi_lab.training import loop as loop_module
from chibi_lab.training.loop import Loop

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


@pytest.mark.parametrize(
    "numbers",
    [
        [signal.SIGINT],
        [signal.SIGTERM],
        # A window that is closed sends one, the shell in it another.
        [signal.SIGHUP, signal.SIGHUP],
    ],
)
def test_a_signal_saves_and_resume_ends_as_if_nothing_had_happened(
    numbers: list[signal.Signals],
    tmp_path: Path,
    pictures: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = VAEConfig(**TINY, **EVERY)
    whole = train_vae(config, tmp_path / "whole", images=pictures, progress=False)

    log = Loop.log

    def press(self: Loop, **values: torch.Tensor) -> None:
        if self.images_seen == 40:
            for number in numbers:
                signal.raise_signal(number)
        log(self, **values)

    if signal.getsignal(numbers[0]) is signal.SIG_IGN:  # as under nohup
        signal.signal(numbers[0], signal.SIG_DFL)
    handler = signal.getsignal(numbers[0])
    monkeypatch.setattr(Loop, "log", press)
    stopped = train_vae(config, tmp_path / "stopped", images=pictures, progress=False)
    monkeypatch.undo()
    assert stopped.images_seen == 48  # the step under way is finished
    assert signal.getsignal(numbers[0]) is handler
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
    with pytest.raises(ChibiError, match="cannot be read as JSON"):
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
    monkeypatch.setattr("chibi_lab.training.opening.shutil.which", lambda _: None)
    config = VAEConfig(**TINY, compile=True)
    run = train_vae(config, tmp_path / "run", images=pictures, progress=False)
    assert run.images_seen == 64
    assert capsys.readouterr().out.count("no C++ compiler was found") == 1


def test_under_nohup_a_lost_connection_stops_nothing(
    tmp_path: Path, pictures: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Loop.log

    def hang_up(self: Loop, **values: torch.Tensor) -> None:
        signal.raise_signal(signal.SIGHUP)
        log(self, **values)

    monkeypatch.setattr(Loop, "log", hang_up)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        config = VAEConfig(**TINY)
        run = train_vae(config, tmp_path / "run", images=pictures, progress=False)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert run.images_seen == 64


def test_a_reader_of_the_progress_that_leaves_ends_the_training_and_loses_nothing(
    tmp_path: Path, pictures: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr("sys.stderr", Gone())
    config = VAEConfig(**TINY | {"images": 10**6})
    run = train_vae(config, tmp_path / "run", images=pictures)
    assert run.images_seen < 10**6
    monkeypatch.undo()
    on = VAEConfig(**TINY)
    train_vae(on, run.path, images=pictures, resume=True, progress=False)
    assert run.images_seen == 64


def test_minutes_are_those_of_this_stretch(
    tmp_path: Path, pictures: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = count()  # one passes whenever the clock is looked at
    monkeypatch.setattr(loop_module.time, "perf_counter", lambda: next(seconds))
    config = VAEConfig(**TINY | {"images": 10**6}, minutes=20 / 60)
    seen = [0]
    for resume in (False, True, True):  # the same command again and again
        run = train_vae(
            config, tmp_path / "run", images=pictures, resume=resume, progress=False
        )
        seen.append(run.images_seen)
    assert seen == sorted(set(seen))
    assert len(seen) == 4


@pytest.fixture
def copy(vae_run: Run, tmp_path: Path) -> Run:
    shutil.copytree(vae_run.path, tmp_path / "run")
    return Run.open(tmp_path / "run")


def go_on(run: Run, pictures: ImageSet, images: int) -> Run:
    config = VAEConfig(**TINY | EVERY | {"images": images})
    return train_vae(config, run.path, images=pictures, resume=True, progress=False)


STRANGERS = [
    "checkpoints/best.safetensors",
    "checkpoints/._000000064.safetensors",
    "checkpoints/000000064 copy.safetensors",
    "checkpoints/64.safetensors",
    "checkpoints/notes.part",
    "checkpoints/.tmpAb3",
    "samples/._000000064.png",
    "samples/000000064 copy.png",
    "samples/a.part",
]


def test_files_of_strangers_are_passed_over_and_never_deleted(
    copy: Run, pictures: ImageSet, tmp_path: Path
) -> None:
    for name in STRANGERS:
        (copy.path / name).write_text("mine")
    assert go_on(copy, pictures, 160).images_seen == 160
    numbers = ["000000128", "000000160"]
    assert [path.stem for path in copy.checkpoints()][-2:] == numbers
    assert sample(copy, 1).shape == (1, 3, 32, 32)
    small = export_run(copy, tmp_path / "small")
    for name in STRANGERS:
        assert (copy.path / name).read_text() == "mine"
        assert not (small.path / name).exists()


def test_names_are_sorted_by_number(copy: Run) -> None:
    for number in (10**9, 999_999_999, 10**10):
        (copy.path / f"samples/{number:09d}.png").touch()
    numbers = [int(path.stem) for path in copy.samples()]
    assert numbers == [0, 32, 64, 999_999_999, 10**9, 10**10]


def test_a_newest_checkpoint_that_is_cut_off_is_named_and_the_older_taken(
    copy: Run, vae_run: Run, pictures: ImageSet, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = copy.latest()
    newest.write_bytes(newest.read_bytes()[:-100])
    again = Run.open(copy.path)
    assert sample(again, 1).shape == (1, 3, 32, 32)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{newest} is not a whole checkpoint" in said
    assert "000000032.safetensors, which is older, is whole" in said
    assert newest.exists()
    go_on(copy, pictures, 64)
    assert str(newest) in capsys.readouterr().err
    assert torch.equal(sample(copy, 4), sample(vae_run, 4))
    assert newest.with_suffix(".damaged").exists()


def test_a_checkpoint_under_the_name_of_another_is_not_taken_for_it(
    copy: Run, pictures: ImageSet
) -> None:
    forged = copy.path / "checkpoints" / "999999999.safetensors"
    shutil.copyfile(copy.latest(), forged)
    assert copy.images_seen == 64
    assert go_on(copy, pictures, 96).images_seen == 96
    assert [path.stem for path in copy.checkpoints()][-2:] == ["000000064", "000000096"]


@pytest.mark.parametrize("folder", ["checkpoints", "samples"])
def test_what_cannot_be_read_is_not_what_is_not_there(
    folder: str, copy: Run, pictures: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    listdir, before = os.listdir, (copy.path / "stats.jsonl").read_bytes()

    def refused(path: str | Path) -> list[str]:
        if Path(path) == copy.path / folder:
            raise PermissionError(13, "Permission denied")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refused)
    with pytest.raises(ChibiError, match=f"cannot read .*{folder}: Permission denied"):
        copy.checkpoints(), copy.samples()
    with pytest.raises(ChibiError, match="Permission denied"):
        go_on(copy, pictures, 96)
    assert (copy.path / "stats.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "data.json",
        "stats.jsonl",
        "checkpoints",
        "samples",
        "samples/000000000.png",
        "checkpoints/000000032.safetensors",
    ],
)
def test_a_run_with_a_link_in_it_is_refused(
    name: str, copy: Run, pictures: ImageSet, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (copy.path / name).rename(elsewhere)
    (copy.path / name).symlink_to(elsewhere)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    tries: list[Callable[[], object]] = [
        lambda: Run.open(copy.path),
        lambda: go_on(copy, pictures, 96),
        lambda: export_run(copy, tmp_path / "small"),
    ]
    for each in tries:
        with pytest.raises(ChibiError, match=f"{name} is a link: the files of a run"):
            each()
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_link_that_waits_to_be_written_to_is_not(
    copy: Run, pictures: ImageSet, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("mine")
    for name in ("config.json", "data.json", "stats.jsonl", "timelapse.webp"):
        (copy.path / f"{name}.part").symlink_to(tmp_path / "precious")
    go_on(copy, pictures, 96)
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize(
    "name",
    ["config.json", "data.json", "stats.jsonl", "checkpoints/000000064.safetensors"],
)
def test_nothing_waits_for_a_pipe_in_a_run(
    name: str, copy: Run, tmp_path: Path
) -> None:
    (copy.path / name).unlink()
    os.mkfifo(copy.path / name)
    with pytest.raises(ChibiError, match="not a regular file") as caught:
        export_run(Run.open(copy.path), tmp_path / "small")
    assert name in str(caught.value)


GOOD = b'{"images_seen": 16, "seconds": 1.0, "loss": 2.0}\n'


@pytest.mark.parametrize(
    "tail",
    [
        b"\0" * 300,
        b"\0" * 300 + b"\n",
        GOOD[:20],
        GOOD[:20] + b"\n",
        b'{"images_seen": 16, "seconds": 1.0, "loss": NaN}\n',
        b'{"images_seen": 16, "seconds": 1e999}\n',
        b'{"images_seen": "16", "seconds": 1.0}\n',
        b'{"images_seen": 16.5, "seconds": 1.0}\n',
        b'{"images_seen": 16}\n',
        b"[16, 1.0]\n",
        b"[" * 10_000 + b"\n",
        b'{"images_seen": ' + b"9" * 5_000 + b', "seconds": 1.0}\n',
        b'{"images_seen": 16, "seconds": 1.0, "loss": "\xe4"}\n',
    ],
)
def test_a_damaged_line_is_cut_and_said_and_the_rest_is_good(
    tail: bytes, copy: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy.path / "stats.jsonl").write_bytes(GOOD + tail + GOOD.replace(b"16", b"32"))
    ends = [16, 32] if tail.endswith(b"\n") else [16]
    for _ in range(2):
        assert [row["images_seen"] for row in copy.stats()] == ends
    said = capsys.readouterr().err
    assert said.count("\n") == 1  # once
    assert "stats.jsonl: 1 of 3 lines are damaged" in said or ends == [16]


def test_a_training_goes_on_after_a_loss_of_power(
    copy: Run, pictures: ImageSet
) -> None:
    with (copy.path / "stats.jsonl").open("ab") as file:
        file.write(b"\0" * 4_096)
    go_on(copy, pictures, 96)
    seen = [row["images_seen"] for row in copy.stats()]
    assert seen == [16, 32, 48, 64, 80, 96]
    assert b"\0" not in (copy.path / "stats.jsonl").read_bytes()


@pytest.mark.parametrize(
    "text", ["[]", '"a"', "{", "\udce4", "[" * 9_999, '{"a": NaN}']
)
def test_data_that_make_no_sense_are_one_line_with_the_name_of_the_file(
    text: str, copy: Run
) -> None:
    (copy.path / "data.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ChibiError, match=r"data\.json") as caught:
        copy.data()
    assert "\n" not in str(caught.value)


def test_a_home_folder_is_found_in_a_name(
    copy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(copy.path.parent))
    assert Run.open("~/run").path == copy.path
