import csv
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from chibi_lab import cli, pretrained
from chibi_lab.cli import main
from chibi_lab.errors import ChibiError
from chibi_lab.studio import grid
from chibi_lab.training import Run, sample
from chibi_lab.training.film import write_timelapse

TINY = [
    "--size",
    "32",
    "--channels",
    "4",
    "--latent-dim",
    "5",
    "--batch",
    "8",
    "--images",
    "64",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures that are no avatars: stripes, and two files that cannot be used."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for i in range(40):
        stripes = np.repeat(
            random.integers(0, 256, (8, 1, 3), dtype=np.uint8), 8, axis=0
        )
        Image.fromarray(np.repeat(stripes, 64, axis=1)).save(folder / f"{i:02d}.png")
    (folder / "notes.png").write_text("no picture")
    Image.new("RGB", (4, 4)).save(folder / "tiny.png")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("runs")
    for kind in ("gan", "vae"):
        assert (
            main(
                ["train", kind, "--data", str(folder), "--out", str(out / kind), *TINY]
            )
            == 0
        )
    return {kind: out / kind for kind in ("gan", "vae")}


def test_training_on_a_folder_names_what_was_left_out(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["train", "vae", "--data", str(folder), "--out", str(out), *TINY]) == 0
    said = capsys.readouterr()
    assert re.search(r"^left out notes\.png: ", said.err, re.MULTILINE)
    assert re.search(r"^left out tiny\.png: ", said.err, re.MULTILINE)
    assert "64 images seen" in said.out
    data = (out / "data.json").read_text()
    assert "notes.png" in data
    assert "tiny.png" in data
    config = Run.open(out).config
    assert (config.kind, config.size, config.images, config.data) == (
        "vae",
        32,
        64,
        str(folder),
    )


def test_sample_writes_the_same_grid_for_the_same_seed(
    tmp_path: Path, runs: dict[str, Path]
) -> None:
    for kind, run in runs.items():
        first, again = tmp_path / f"{kind}.png", tmp_path / f"{kind}2.png"
        for out in (first, again):
            command = [
                "sample",
                str(run),
                "--count",
                "6",
                "--seed",
                "3",
                "--out",
                str(out),
            ]
            assert main(command) == 0
        assert first.read_bytes() == again.read_bytes()
        assert Image.open(first).width >= 6 * 32


def test_a_run_that_ships_is_sampled_by_its_name(tmp_path: Path) -> None:
    named, opened = tmp_path / "named.png", tmp_path / "opened.png"
    folder = str(pretrained.path("gan"))
    assert main(["sample", "--pretrained", "gan", "--count=2", f"--out={named}"]) == 0
    assert main(["sample", folder, "--count", "2", "--out", str(opened)]) == 0
    assert named.read_bytes() == opened.read_bytes()


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a model that takes wishes."""
    folder = tmp_path_factory.mktemp("asked")
    command = ["train", "modern-gan", "--count=16", f"--out={folder / 'run'}", *TINY]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHIBI_LAB_CACHE", str(folder / "cache"))
        assert main([*command, "--latent-dim=12", "--images=16"]) == 0
    return folder / "run"


def test_a_sample_shows_what_was_set(tmp_path: Path, asked: Path) -> None:
    out = tmp_path / "grid.png"
    command = ["sample", str(asked), "--count=4", f"--out={out}"]
    assert main([*command, "--set", "hair_color=pink", "--set=glasses=none"]) == 0
    wish = {"hair_color": "pink", "glasses": "none"}
    drawn = sample(Run.open(asked), 4, wish=wish)
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(grid(drawn)))
    assert not torch.equal(drawn, sample(Run.open(asked), 4))


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (["nose=big"], "no attribute 'nose'; the attributes are: hair, hair_color,"),
        (["glasses=pink"], "'glasses' has no value 'pink'; its values are: none, var"),
        (["pink"], "--set takes NAME=VALUE, as in hair_color=pink, not 'pink'"),
        (["hair=long01", "hair=long02"], "--set says hair twice: long01 and long02"),
    ],
)
def test_a_wish_that_cannot_be_granted_is_one_line(
    wishes: list[str],
    message: str,
    tmp_path: Path,
    asked: Path,
    complaint: Callable[[list[str]], str],
) -> None:
    command = ["sample", str(asked), f"--out={tmp_path / 'grid.png'}"]
    command += [f"--set={wish}" for wish in wishes]
    assert message in complaint(command)
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_wishes_says_so(
    tmp_path: Path, runs: dict[str, Path], complaint: Callable[[list[str]], str]
) -> None:
    command = ["sample", str(runs["vae"]), f"--out={tmp_path / 'grid.png'}"]
    line = complaint([*command, "--set=hair=long01"])
    assert "draws what it likes: it takes no wishes" in line


def test_an_avatar_waits_for_no_module_that_draws_none(tmp_path: Path) -> None:
    command = ["sample", "--pretrained=gan", "--count=1", f"--out={tmp_path / 'a.png'}"]
    slow = "accelerate dicebear ipywidgets matplotlib torch._dynamo torchmetrics torchvision"
    program = (
        "import sys; from chibi_lab.cli import main; "
        f"assert main({command}) == 0; print(set({slow.split()}) & sys.modules.keys())"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert said.stdout.splitlines()[-1] == "set()"


REFUSED = [
    "train gan --out=run --size=3",
    "sample run --out=a.png --sead=1",
    "sample nowhere --out=a.png",
    "export nowhere --out=run",
    "evaluate nowhere",
    "compare here there --out=report",
    "verify nothing.png",
    "edit nothing.png --set=hair=none --out=a.png",
    "invert nothing.png --out=a.png",
    "animate nothing.png --out=a.webp",
    "create --candidate=0 --out=a.png",
    "create --out=a.jpg",
]


def test_help_and_refusals_do_not_wait_for_pytorch(tmp_path: Path) -> None:
    program = f"""
import sys
from chibi_lab.cli import main
assert main(["--help"]) == main(["train", "gan", "--help"]) == 0
assert "torch" not in sys.modules, "help"
for command in {REFUSED}:
    assert main(command.split()) == 2, command
    assert "torch" not in sys.modules, command
"""
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("--help >&-", 0, ""),
        ("--help >&- 2>&- <&-", 0, ""),
        ("--help >/dev/full", 2, "chibi-lab: cannot write the output: No space left"),
        ("--help | true", 141, ""),
        ("--help 2>/dev/full >/dev/null", 0, ""),
        ("nothing 2>&-", 2, ""),
        ("nothing 2>/dev/full", 2, ""),
        ("nothing 2>&1 | true", 2, ""),
        ("nothing >&-", 2, "chibi-lab: Unrecognized options: nothing"),
    ],
)
def test_closed_and_full_streams_are_borne(command: str, code: int, said: str) -> None:
    shell = f"set -o pipefail; {sys.executable} -m chibi_lab {command}"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    ended = subprocess.run(
        ["bash", "-c", shell], capture_output=True, text=True, env=environment
    )
    assert ended.returncode == code
    assert ended.stderr.startswith(said)
    assert ended.stderr.count("\n") == bool(said), ended.stderr


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device", "a.png"), "a.png: No space left on"),
        (OSError(5, "Input/output error"), "cannot go on: Input/output error"),
        (
            MemoryError(),
            "not enough memory: choose a smaller --batch, --channels, --si",
        ),
        (torch.OutOfMemoryError("CUDA"), "not enough memory: choose a smaller --batch"),
        (
            RuntimeError("can't allocate memory: you tried to allocate 9"),
            "not enough m",
        ),
        (RecursionError("maximum depth"), "what was read is nested too deeply"),
        (ChibiError("a\x1b[31m\nb \udcff"), "a [31m b "),
    ],
)
def test_what_the_machine_refuses_is_one_line(
    error: Exception,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    complaint: Callable[[list[str]], str],
) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(cli.Evaluate, "run", fail)
    assert complaint(["evaluate", "run"]).startswith(f"chibi-lab: {line}")


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(cli.Evaluate, "run", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        main(["evaluate", "run"])


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["sample", "", "--out=a.png"], "'' is no name of a file or a folder"),
        (["compare", "a", "", "--out=b"], "'' is no name of a file or a folder"),
        (["sample", "--pretrained=gan", "--out="], "'' is no name of a file or a fo"),
        (["train", "gan", "--out=a", "--config="], "'' is no name of a file or a fo"),
        (["edit", "a.png", "--mix=~nobody_/b", "--out=c.png"], "~nobody_/b: no such home"),
        (["studio", "~/pictures"], "{home}/pictures is no folder that exists"),
        (["sample", "~/run", "--out=a.png"], "{home}/run is not a run"),
        (["sample", "--pretrained=gan", "--out=~/no/a.png"], "there is no folder {home}"),
        (["compare", "~/a", "~/b", "--out=c"], "{home}/a is not a run"),
        (["train", "vae", "--out=a", "--config", "~/c.json"], "{home}/c.json"),
    ],
)  # fmt: skip
def test_a_path_is_read_alike_in_every_command(
    command: list[str], line: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, complaint: Callable[[list[str]], str],
) -> None:  # fmt: skip
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert line.format(home=tmp_path) in complaint(command)
    assert list(tmp_path.iterdir()) == []


def test_compare_writes_a_report(tmp_path: Path, runs: dict[str, Path]) -> None:
    out = tmp_path / "report"
    assert (
        main(
            [
                "compare",
                str(runs["gan"]),
                str(runs["vae"]),
                "--out",
                str(out),
                "--count",
                "64",
            ]
        )
        == 0
    )
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "gan" in page
    assert "vae" in page


def test_export_makes_a_run_that_draws(tmp_path: Path, runs: dict[str, Path]) -> None:
    assert main(["export", str(runs["gan"]), "--out", str(tmp_path / "small")]) == 0
    assert (
        main(
            [
                "sample",
                str(tmp_path / "small"),
                "--count",
                "1",
                "--out",
                str(tmp_path / "a.png"),
            ]
        )
        == 0
    )


def test_resume_needs_the_flag(
    runs: dict[str, Path], folder: Path, complaint: Callable[[list[str]], str]
) -> None:
    command = ["train", "gan", "--data", str(folder), "--out", str(runs["gan"]), *TINY]
    assert "holds a run already" in complaint(command)
    assert main([*command, "--resume"]) == 0


def test_render_writes_pictures_with_their_attributes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHIBI_LAB_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    assert (
        main(
            [
                "render",
                "--size",
                "32",
                "--count",
                "3",
                "--split",
                "test",
                "--out",
                str(out),
            ]
        )
        == 0
    )
    with (out / "attributes.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert all(Image.open(out / row["file"]).size == (32, 32) for row in rows)
    assert {"hair", "hair_color", "glasses"} <= rows[0].keys()
    assert "Lisa Wischofsky" in (out / "CREDIT.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "out", ["file", "file/new", "gone/new", "full", "~nosuchuser/a", "b" * 300, ""]
)
def test_render_says_before_it_draws_that_it_cannot_write(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    complaint: Callable[[list[str]], str],
    out: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHIBI_LAB_CACHE", str(tmp_path / "cache"))
    Path("file").touch()
    Path("gone").symlink_to("nowhere")
    Path("full").mkdir()
    Path("full/mine").touch()
    assert complaint(["render", "--count", "2", "--out", out])
    assert not Path("cache").exists()


def test_render_fills_an_empty_folder_and_clears_what_a_kill_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CHIBI_LAB_CACHE", "~/cache")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / ".new.0.part").mkdir()
    few = ["render", "--data", "identicon", "--size", "8", "--count", "2"]
    for out in ("~/link", "~/new"):
        assert main([*few, "--out", out]) == 0
    assert (tmp_path / "link").is_symlink()
    for folder in ("real", "new"):
        assert len(list((tmp_path / folder).iterdir())) == 4
    assert sorted(os.listdir(tmp_path)) == ["cache", "link", "new", "real"]


def test_after_ctrl_c_no_other_disturbs_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.Render, "run", interrupted)
    before = signal.getsignal(signal.SIGINT)
    try:
        assert main(["render"]) == 130
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert "stopped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "gan", "--out", "run", "--sise", "64"], "--sise"),
        (["train", "gan"], "--out"),
        (["train", "gan", "--out", "run", "--size", "big"], "--size"),
        (
            ["train", "gan", "--out", "run", "--size", "50"],
            "size is 50: it must be 32, 64 or 128",
        ),
        (
            ["train", "gan", "--out", "run", "--data", "adventurers"],
            "did you mean adventurer",
        ),
        (["train", "diffusion", "--out", "run"], "diffusion"),
        (
            ["train", "modern-gan", "--out", "run", "--width", "50"],
            "width is 50: it must be 64, or 3/4 of it",
        ),
        (
            ["train", "modern-vae", "--out", "run", "--augment"],
            "augment is True: it must be False where there is no adversary",
        ),
        (["sample", "nowhere", "--out", "grid.png"], "nowhere is not a run"),
        (["sample", "--out", "grid.png"], "--pretrained NAME is needed, not neither"),
        (
            ["sample", "nowhere", "--pretrained", "gan", "--out", "grid.png"],
            "the folder of a run or --pretrained NAME is needed, not both",
        ),
        (
            ["sample", "--pretrained", "judge", "--out", "grid.png"],
            "no run named 'judge' ships: choose gan or",
        ),
        (["compare", "nowhere", "--out", "report"], "a comparison takes two or more"),
        (["render", "--data", "adventurer", "--split", "half"], "--split"),
        (
            [],
            "Missing subcommand: Expected one of {render, train, sample, compare,",
        ),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, complaint: Callable[[list[str]], str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert message in complaint(arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_sample_that_cannot_be_written_says_so(
    tmp_path: Path, runs: dict[str, Path], complaint: Callable[[list[str]], str]
) -> None:
    out = tmp_path / "no" / "such" / "grid.png"
    assert f"there is no folder {out.parent}" in complaint(
        ["sample", str(runs["vae"]), "--out", str(out)]
    )


def test_help_explains_each_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "gan", "--help"]) == 0
    said = capsys.readouterr().out
    for flag in (
        "--data",
        "--out",
        "--size",
        "--images",
        "--seed",
        "--resume",
        "--learning-rate",
    ):
        assert flag in said


def test_ctrl_c_saves_and_ends_with_130(tmp_path: Path, folder: Path) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "chibi_lab", "train", "gan", "--data", str(folder),
         "--out", str(out), *TINY, "--images", "100000000", "--log-every", "64"],
        env={**os.environ, "TQDM_DISABLE": "1"}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (out / "stats.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert Run.open(out).images_seen >= 64


def test_a_saved_config_is_the_start_and_flags_change_it(
    tmp_path: Path, folder: Path, runs: dict[str, Path]
) -> None:
    command = ["train", "gan", "--out", str(tmp_path / "again")]
    saved = ["--config", str(runs["gan"] / "config.json")]
    assert main([*command, *saved, "--images", "32", "--instance-noise", "0.5"]) == 0
    before, after = Run.open(runs["gan"]).config, Run.open(tmp_path / "again").config
    assert after == dataclasses.replace(before, images=32, instance_noise=0.5)
    assert after.data == str(folder)


def test_a_run_goes_on_by_its_folder_alone(
    tmp_path: Path,
    folder: Path,
    runs: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    complaint: Callable[[list[str]], str],
) -> None:
    shutil.copytree(runs["gan"], tmp_path / "run")
    before = Run.open(tmp_path / "run").config
    monkeypatch.setenv("HOME", str(tmp_path))
    command = ["train", "gan", "--resume", "--out", "~/run"]
    assert main(command) == 0
    assert main([*command, "--images=96", "--log-every", "32"]) == 0
    after = Run.open(tmp_path / "run")
    assert after.images_seen == 96
    assert after.config == dataclasses.replace(before, images=96, log_every=32)
    assert "was trained otherwise (batch was 8, now 16)" in complaint(
        [*command, "--batch=16"]
    )
    line = complaint(["train", "vae", *command[2:]])
    assert "is a run of a gan, not of a vae" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_config_of_a_stranger_says_no_flags(
    tmp_path: Path, runs: dict[str, Path], complaint: Callable[[list[str]], str]
) -> None:
    known = Run.open(runs["gan"]).config.to_json() | {"data": "--out=elsewhere"}
    file = tmp_path / "config.json"
    file.write_text(json.dumps(known))
    command = ["train", "gan", f"--config={file}", f"--out={tmp_path / 'run'}"]
    assert "there is no style and no folder '--out=elsewhere'" in complaint(command)


@pytest.mark.parametrize(
    ("name", "said"),
    [("gan", "is the config of a vae, not of a gan"), ("nothing", "cannot read")],
)
def test_a_config_that_does_not_fit_is_refused(
    name: str,
    said: str,
    tmp_path: Path,
    runs: dict[str, Path],
    complaint: Callable[[list[str]], str],
) -> None:
    file = runs["vae"] if name == "gan" else tmp_path
    command = ["train", "gan", "--out", str(tmp_path / "new")]
    line = complaint([*command, f"--config={file / 'config.json'}"])
    assert said in line
    assert not (tmp_path / "new").exists()


def test_a_rehearsal_says_what_it_would_take_and_leaves_nothing(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    command = ["train", "vae", "--data", str(folder), "--out", str(out), *TINY]
    assert main([*command, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"encoder: [\d,]+ parameters", said)
    assert re.search(r"speed: \d+ images a second", said)
    assert re.search(r"time: \d+\.\d minutes for 64 images seen", said)
    assert "latent_dim: 5" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("modern-gan", ["generator", "discriminator"]),
        ("modern-vae", ["encoder", "decoder"]),
    ],
)
def test_a_rehearsal_counts_the_weights_of_modern_models(
    kind: str,
    parts: list[str],
    tmp_path: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["train", kind, "--data", str(folder), "--out", str(tmp_path / "run")]
    assert main([*command, *TINY, "--dry-run"]) == 0
    said = capsys.readouterr().out
    counted = re.findall(r"^ *(\w+): ([\d,]+) parameters$", said, re.MULTILINE)
    assert [name for name, _ in counted] == parts
    assert "penalty_every: 16" in said
    assert not (tmp_path / "run").exists()


def test_a_modern_model_of_narrow_pictures_is_trained_drawn_and_not_measured(
    tmp_path: Path, folder: Path, complaint: Callable[[list[str]], str]
) -> None:
    for kind, flag in (("modern-gan", "--augment"), ("modern-vae", "--adversary=1e-4")):
        out = tmp_path / kind
        command = ["train", kind, "--data", str(folder), "--out", str(out), flag]
        command += [*TINY, "--size", "64", "--width", "48", "--images", "16"]
        assert main(command) == 0
        again = ["train", kind, "--config", str(out / "config.json"), "--images", "24"]
        assert main([*again, "--resume", "--out", str(out)]) == 0
        assert Run.open(out).images_seen == 24
        grid = tmp_path / f"{kind}.png"
        assert main(["sample", str(out), "--count", "2", "--out", str(grid)]) == 0
        assert main(["export", str(out), "--out", str(tmp_path / f"{kind}-s")]) == 0
        line = complaint(["evaluate", str(out)])
        assert "only square images can be judged and compared, not 48 x 64" in line


def test_a_training_that_used_up_its_minutes_has_done_what_it_should(
    tmp_path: Path, folder: Path
) -> None:
    command = ["train", "vae", "--data", str(folder), "--out", str(tmp_path / "run")]
    assert main([*command, *TINY, "--images", "1000000", "--minutes", "0.005"]) == 0
    assert 0 < Run.open(tmp_path / "run").images_seen < 1_000_000


def test_a_finished_training_leaves_a_film_of_its_samples(
    tmp_path: Path, runs: dict[str, Path]
) -> None:
    with Image.open(runs["gan"] / "timelapse.webp") as film:
        with Image.open(Run.open(runs["gan"]).samples()[0]) as sheet:
            assert film.size == sheet.size
    shutil.copytree(runs["gan"], tmp_path / "run")
    run = Run.open(tmp_path / "run")
    for number, colour in enumerate(("red", "green", "blue")):
        Image.new("RGB", (20, 10), colour).save(run.path / f"samples/{number:09d}.png")
    (run.path / "samples/000000064.png").unlink()
    write_timelapse(run)
    with Image.open(run.path / "timelapse.webp") as film:
        assert film.n_frames == 3
        film.seek(2)
        assert film.convert("RGB").getpixel((5, 5))[2] > 200


def test_a_training_that_ends_on_a_checkpoint_leaves_its_last_samples_and_a_film(
    tmp_path: Path, folder: Path
) -> None:
    command = ["train", "vae", "--data", str(folder), "--out", str(tmp_path / "run")]
    sizes = ["--images", "128", "--checkpoint-every", "64", "--sample-every", "96"]
    assert main([*command, *TINY, *sizes]) == 0
    run = Run.open(tmp_path / "run")
    assert [path.stem for path in run.checkpoints()] == ["000000064", "000000128"]
    assert run.samples()[-1].stem == "000000128"
    assert (run.path / "timelapse.webp").exists()


def test_another_precision_is_another_training(
    tmp_path: Path, folder: Path, complaint: Callable[[list[str]], str]
) -> None:
    command = ["train", "vae", "--data", str(folder), "--out", str(tmp_path / "run")]
    assert main([*command, *TINY, "--precision", "float32"]) == 0
    line = complaint([*command, *TINY, "--precision", "bfloat16", "--resume"])
    assert "precision was float32, now bfloat16" in line


def test_without_tensorboard_the_flag_says_how_to_get_it(
    tmp_path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    command = ["train", "vae", "--data", str(folder), "--out", str(tmp_path / "run")]
    assert main([*command, *TINY, "--tensorboard"]) == 2
    assert "chibi-lab: TensorBoard is not installed" in capsys.readouterr().err
