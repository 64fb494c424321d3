"""The studio's commands, as a person types them."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chibi_lab.cli import main
from chibi_lab.data import load_avatars, split_seeds
from chibi_lab.studio import embed, examine, extract

NAME = 'my "best" d\'avatar ü.png'


@pytest.fixture(autouse=True, scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The key of the tests, not the person's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("settings")))
        yield


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An avatar in a file whose name needs quotes."""
    file = tmp_path_factory.mktemp("kept") / NAME
    assert main(["create", "--set", "hair_color=pink", "--out", str(file)]) == 0
    return file


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture that no model drew."""
    file = tmp_path_factory.mktemp("drawn") / "mine.png"
    images = load_avatars(seeds=split_seeds("test", 1)).images
    Image.fromarray(images[0]).save(file)
    return file


def pixels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file).convert("RGB"))


def test_create_keeps_what_was_asked_for(kept: Path) -> None:
    assert Image.open(kept).size == (512, 512)
    found = examine(kept)
    assert found.signature.valid and found.watermark.present
    assert (found.origin.seed, found.origin.candidate) == (0, 1)
    assert found.origin.attributes == {"hair_color": "pink"}


def test_a_sheet_shows_the_candidates_that_are_kept(tmp_path: Path, kept: Path) -> None:
    sheet, third = tmp_path / "sheet.png", tmp_path / "third.png"
    pink = ["create", "--set", "hair_color=pink"]
    assert main([*pink, "--sheet", "--out", str(sheet)]) == 0
    arguments = ["--candidate", "3", "--size", "64", "--out", str(third)]
    assert main([*pink, *arguments]) == 0
    gap, side = 2, 64
    left = 2 * (side + gap) + gap
    cut = pixels(sheet)[gap : gap + side, left : left + side]
    assert np.array_equal(cut, pixels(third))


def test_edit_goes_on_from_a_kept_file(tmp_path: Path, kept: Path) -> None:
    out = tmp_path / "edited.png"
    changes = ["--set", "hair_color=mint", "--slide", "wider mouth=1"]
    assert main(["edit", str(kept), *changes, "--size", "64", "--out", str(out)]) == 0
    origin = examine(out).origin
    assert origin.steps == ("hair_color=mint", "wider mouth=1")
    assert origin.attributes == {"hair_color": "pink"}  # what was asked for at first
    assert not np.array_equal(pixels(out), pixels(kept)[::8, ::8])


def test_mixing_a_face_with_itself_changes_nothing(tmp_path: Path, kept: Path) -> None:
    same, once = tmp_path / "same.png", tmp_path / "once.png"
    assert main(["edit", str(kept), "--mix", str(kept), "--out", str(same)]) == 0
    assert main(["create", "--set", "hair_color=pink", "--out", str(once)]) == 0
    assert np.array_equal(pixels(same), pixels(once))


def test_repair_changes_what_is_white_in_the_mask_alone(
    tmp_path: Path, kept: Path
) -> None:
    mask, out = tmp_path / "mask.png", tmp_path / "out.png"
    hole = np.zeros((512, 512), bool)
    hole[216:328, 96:368] = True
    Image.fromarray(hole).save(mask)
    arguments = ["--repair", str(mask), "--proposal", "2", "--out", str(out)]
    assert main(["edit", str(kept), *arguments]) == 0
    moved = np.abs(pixels(out).astype(int) - pixels(kept)).max(2)
    assert moved[hole].max() > 60
    # A watermark lies over all of the picture, a level or two deep.
    assert moved[~hole].max() <= 6


def test_invert_says_how_near_it_came(
    tmp_path: Path, drawing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "near.png"
    assert main(["invert", str(drawing), "--size", "64", "--out", str(out)]) == 0
    assert "The nearest that the models can draw: GAN" in capsys.readouterr().err
    assert examine(out).origin.steps == ("picture",)
    error = pixels(out).astype(float) - pixels(drawing)
    assert np.square(error / 127.5).mean() < 0.01


@pytest.mark.parametrize(("kind", "suffix"), [("blink", ".webp"), ("turn", ".gif")])
def test_animate_moves_and_comes_back(
    tmp_path: Path, kept: Path, kind: str, suffix: str
) -> None:
    out = tmp_path / f"moving{suffix}"
    arguments = ["--kind", kind, "--frames", "8", "--size", "64", "--out", str(out)]
    assert main(["animate", str(kept), *arguments]) == 0
    moving = Image.open(out)
    assert moving.n_frames > 2
    assert examine(out).signature.valid


def test_the_notebook_of_the_studio_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    class Lab:
        """A JupyterLab that asks at the first Ctrl-C and ends at the second."""

        def __init__(self, command: list[str], cwd: Path, env: dict[str, str]) -> None:
            started.append(cwd)
            self.stops = 0

        def __enter__(self) -> "Lab":
            return self

        def __exit__(self, *_: object) -> None:
            assert self.stops == 2

        def wait(self) -> int:
            self.stops += 1
            if self.stops == 1:
                raise KeyboardInterrupt
            return 0

    monkeypatch.setattr("chibi_lab.studio.commands.subprocess.Popen", Lab)
    notebook = tmp_path / "my-avatar.ipynb"
    assert main(["studio", str(tmp_path)]) == 0
    assert "Studio()" in json.loads(notebook.read_text())["cells"][0]["source"]
    notebook.write_text("mine")
    assert main(["studio", str(tmp_path)]) == 0
    assert notebook.read_text() == "mine"
    assert started == [tmp_path, tmp_path]


def test_an_avatar_waits_for_nothing_that_only_training_needs() -> None:
    program = (
        "import sys; from chibi_lab.evaluation import load_judge; "
        "import chibi_lab.studio.keeping, chibi_lab.studio.session; "
        "unneeded = {'torchvision', 'torch._dynamo', 'scipy', 'matplotlib', 'ipywidgets'}; "
        "print(unneeded & sys.modules.keys())"
    )
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said == "set()\n"


@pytest.mark.parametrize("path", ["", ":", ".:/nowhere"])
def test_the_studio_runs_no_module_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    started = []

    def start(command: list[str], **how: object) -> subprocess.Popen[bytes]:
        started.append(command)
        # In place of JupyterLab a module that is as easily hidden by one of the folder.
        return popen([*command[:2], "this"], stdout=subprocess.DEVNULL, **how)

    popen = subprocess.Popen
    monkeypatch.setattr("chibi_lab.studio.commands.subprocess.Popen", start)
    monkeypatch.setenv("PYTHONPATH", path)
    (tmp_path / "this.py").write_text("open('was here', 'w')")
    assert main(["studio", str(tmp_path)]) == 0
    assert not (tmp_path / "was here").exists()
    assert started[0][1:4] == ["-m", "jupyterlab", "my-avatar.ipynb"]


@pytest.mark.parametrize(("user", "allowed"), [(0, True), (1000, False)])
def test_the_studio_opens_as_root_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, allowed: bool
) -> None:
    commands = []

    def start(command: list[str], **how: object) -> subprocess.Popen[bytes]:
        commands.append(command)
        return popen([sys.executable, "-c", ""])

    popen = subprocess.Popen
    monkeypatch.setattr("chibi_lab.studio.commands.subprocess.Popen", start)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert main(["studio", str(tmp_path)]) == 0
    assert ("--allow-root" in commands[0]) is allowed


def test_the_studios_help_says_that_notebooks_are_programs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["studio", "--help"])
    assert "programs: open one of your own" in capsys.readouterr().out


def test_a_picture_of_another_format_starts_no_program(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch,
    complaint: Callable[[list[str]], str],
) -> None:  # fmt: skip
    def started(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    evil = tmp_path / "evil.png"
    Image.new("RGB", (512, 512)).save(evil, "EPS")
    monkeypatch.setattr(subprocess, "Popen", started)
    for command in (
        ["invert", str(evil)],
        ["edit", str(kept), "--repair", str(evil)],
        ["edit", str(evil), "--repair", str(kept)],
        ["verify", str(evil)],
    ):
        out = [] if command[0] == "verify" else ["--out", str(tmp_path / "out.png")]
        assert "evil.png" in complaint([*command, *out])


def test_a_name_does_nothing_to_the_terminal(
    tmp_path: Path, drawing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil, out = tmp_path / "\x1b[2J.png", tmp_path / "\x1b]0;x\x07.png"
    evil.write_bytes(drawing.read_bytes())
    assert main(["invert", str(evil), "--size", "64", "--out", str(out)]) == 0
    said = "".join(capsys.readouterr())
    assert "[2J.png" in said and "]0;x" in said
    assert said.replace("\n", "").isprintable()


def test_a_file_that_was_edited_a_hundred_times_is_edited_on(
    tmp_path: Path, kept: Path
) -> None:
    data = kept.read_bytes()
    steps = tuple(f"hair_color=pink {number}" for number in range(100))
    often = tmp_path / "often.png"
    bare = io.BytesIO()
    Image.open(kept).convert("RGB").save(bare, "PNG")
    often.write_bytes(embed(bare.getvalue(), replace(extract(data), steps=steps)))
    out = tmp_path / "out.png"
    change = ["--set", "hair_color=mint", "--size", "64", "--out", str(out)]
    assert main(["edit", str(often), *change]) == 0
    kept_steps = examine(out).origin.steps
    assert len(kept_steps) == 100
    assert kept_steps == ("earlier steps", *steps[2:], "hair_color=mint")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "--set", "hair_color=plaid"], "plaid"),
        (["create", "--set", "hat=red"], "hat"),
        (["create", "--set", "hair_color"], "--set takes NAME=VALUE"),
        (["create", "--candidate", "0"], "candidate is 0: it must be 1 to 64"),
        (["create", "--candidate", "65"], "candidate is 65: it must be 1 to 64"),
        (["create", "--seed", "-1"], "seed"),
        (["create", "--size", "5000"], "size is 5000"),
        (["edit", "KEPT"], "nothing to change"),
        (["edit", "KEPT", "--slide", "taller=1"], "no slider 'taller': choose darker"),
        (["edit", "KEPT", "--slide", "glasses=2"], "from 0 to 1"),
        (["edit", "KEPT", "--slide", "glasses=on"], "from 0 to 1, not 'on'"),
        (["edit", "KEPT", "--mix", "missing.png"], "cannot read missing.png"),
        (["edit", "KEPT", "--repair", "KEPT", "--set", "hair=long01"], "goes alone"),
        (["edit", "KEPT", "--repair", "KEPT", "--proposal", "0"], "proposal is 0"),
        (["invert", "missing.png"], "missing.png"),
        (["animate", "missing.png"], "cannot read missing.png"),
        (["animate", "KEPT", "--frames", "2"], "a blink takes 6 to 240"),
        (["animate", "KEPT", "--frames", "9999"], "a blink takes 6 to 240"),
        (["animate", "KEPT", "--kind", "turn", "--frames", "3"], "faces take 4 to 240"),
        (["create", "--seed", str(2**63)], "less than 2**63"),
        (["create", "--sheet", "--out", "sheet.gif"], "must end in .png"),
        (["sample", "--pretrained", "gan", "--out", "."], "must end in .png"),
        (["sample", "--pretrained", "gan", "--count", "9999"], "it must be 1 to 4096"),
        (["edit", "KEPT", "--repair", "KEPT", "--proposal", "99"], "must be 1 to 16"),
        (["edit", "KEPT", "--repair", "SMALL"], "as large as the file, 512 x 512"),
        (["edit", "WIDE", "--repair", "WIDE"], "takes a square picture of 64 to 1024"),
        (["edit", "CLEAR", "--repair", "CLEAR"], "is transparent: repair it first"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_no_file(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    kept: Path,
    arguments: list[str],
    message: str,
    complaint: Callable[[list[str]], str],
) -> None:
    out = tmp_path / "out.png"
    inputs = tmp_path_factory.mktemp("inputs")
    files = {"KEPT": kept}
    for name, mode, size in (
        ("SMALL", "L", (64, 64)),
        ("WIDE", "RGB", (96, 64)),
        ("CLEAR", "RGBA", (64, 64)),
    ):
        files[name] = inputs / f"{name}.png"
        Image.new(mode, size).save(files[name])
    said = [str(files.get(word, word)) for word in arguments]
    named = [] if "--out" in said else ["--out", str(out)]
    assert message in complaint([*said, *named])
    assert not list(tmp_path.iterdir())


def _broken(folder: Path) -> dict[str, Path]:
    """Files that are no picture that one could use, each wrong in another way."""
    files = {
        name: folder / f"{name}.png"
        for name in ("empty", "text", "cut", "thin", "pipe")
    }
    files["empty"].write_bytes(b"")
    files["text"].write_text("dear diary")
    whole = folder / "whole.png"
    Image.effect_noise((200, 200), 90).save(whole)
    files["cut"].write_bytes(whole.read_bytes()[:2000])
    Image.new("RGB", (30_000, 8)).save(files["thin"])
    files["pipe"].mkdir()
    return files


@pytest.mark.parametrize("command", ["invert", "animate", "edit"])
@pytest.mark.parametrize("broken", ["empty", "text", "cut", "thin", "pipe"])
def test_broken_pictures_are_one_line(
    tmp_path: Path, broken: str, command: str, complaint: Callable[[list[str]], str]
) -> None:
    out = tmp_path / "out.png"
    change = ["--set", "hair_color=pink"] if command == "edit" else []
    file = _broken(tmp_path)[broken]
    said = complaint([command, str(file), *change, "--out", str(out)])
    assert file.name in said
    assert not out.exists()


@pytest.mark.parametrize("mode", ["CMYK", "L", "LA", "P", "I;16"])
def test_pictures_of_other_kinds_are_read(
    tmp_path: Path, drawing: Path, mode: str
) -> None:
    file = tmp_path / ("mine.jpg" if mode == "CMYK" else "mine.png")
    Image.open(drawing).convert("L" if mode == "I;16" else mode).convert(mode).save(
        file
    )
    out = tmp_path / "near.png"
    assert main(["invert", str(file), "--size", "64", "--out", str(out)]) == 0
    assert Image.open(out).size == (64, 64)


def test_nothing_is_overwritten_without_asking(
    tmp_path: Path, complaint: Callable[[list[str]], str]
) -> None:
    out = tmp_path / "mine.png"
    out.write_text("mine")
    for command in (
        ["sample", "--pretrained", "gan"],
        ["create", "--size", "64"],
        ["create", "--sheet"],
    ):
        arguments = [*command, "--out", str(out)]
        assert "exists" in complaint(arguments)
        assert out.read_text() == "mine"
    assert main([*arguments, "--overwrite"]) == 0
    assert Image.open(out).width > 64


def test_a_repaired_file_is_searched_for_and_says_so(
    tmp_path: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask, repaired, out = (tmp_path / name for name in ("m.png", "r.png", "o.png"))
    hole = np.zeros((512, 512), bool)
    hole[216:328, 96:368] = True
    Image.fromarray(hole).save(mask)
    command = ["edit", str(kept), "--repair", str(mask), "--out", str(repaired)]
    assert main(command) == 0
    change = ["--set", "hair_color=mint", "--size", "64", "--out", str(out)]
    assert main(["edit", str(repaired), *change]) == 0
    said = capsys.readouterr().err
    assert "the picture was repaired" in said and "The nearest" in said
    assert examine(out).origin.steps == ("picture", "hair_color=mint")


def test_a_pipe_is_not_waited_for(
    tmp_path: Path, complaint: Callable[[list[str]], str]
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    arguments = ["animate", str(pipe), "--out", str(tmp_path / "out.webp")]
    assert "it is not a regular file" in complaint(arguments)


def test_the_complaint_stays_one_line(
    tmp_path: Path, complaint: Callable[[list[str]], str]
) -> None:
    arguments = ["create", "--out", str(tmp_path / "no" / "a\nb\x1b[2J.png")]
    said = complaint(arguments)
    assert "there is no folder" in said and "\x1b" not in said


def test_nobody_reads_what_is_printed(tmp_path: Path, kept: Path) -> None:
    """As `chibi-lab verify FILE | head -0` ends."""
    reader, writer = os.pipe()
    os.close(reader)
    program = "import sys; from chibi_lab.cli import main; sys.exit(main())"
    with os.fdopen(writer, "wb") as output:
        done = subprocess.run(
            [sys.executable, "-c", program, "verify", str(kept)],
            stdout=output,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.stderr == b""
    assert done.returncode == 141
