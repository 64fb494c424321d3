import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chibi_lab import pretrained
from chibi_lab.cli import main
from chibi_lab.errors import ChibiError
from chibi_lab.studio import Origin, embed
from chibi_lab.studio.containers import join, png_chunk, split
from chibi_lab.studio.credentials import Signature, sign
from chibi_lab.studio.findings import Findings, examine, shipped_as
from chibi_lab.studio.keys import SigningKey
from chibi_lab.studio.watermark import mark
from chibi_lab.training import latents


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This user's own folder, wherever the tests run."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setattr(sys, "platform", "linux")
    return tmp_path / "settings" / "chibi-lab"


@pytest.fixture
def save(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(data: bytes, name: str = "my 'own' \"avatar\".png") -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


@pytest.fixture(scope="module")
def shipped() -> Origin:
    """The origin of a picture that a shipped model draws."""
    run = pretrained.open_run("modern-gan")
    z = latents(3, run.config.latent_dim, seed=7)[2]
    wish = {"hair_color": "pink"}
    return Origin.of_run(run, "modern-gan", z, 7, 3, attributes=wish, steps=["repair"])


def verified(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["verify", str(path)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return " ".join(said.out.split())


def refused(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["verify", str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("chibi-lab: ") and said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize("name", ["PNG", "APNG", "WebP", "animated WebP", "GIF"])
def test_a_signed_picture_of_a_shipped_model_tells_all(
    files: dict[str, bytes], shipped: Origin, save: Callable[..., Path],
    capsys: pytest.CaptureFixture[str], name: str,
) -> None:  # fmt: skip
    path = save(sign(embed(files[name], shipped), SigningKey.of_user()))
    said = verified(path, capsys)
    for sentence in (
        f"{path}: {name.rpartition('A')[2] if name == 'APNG' else name.split()[-1]}",
        "Origin: AI-generated, as the file says.",
        "those of modern-gan that ship with chibi-lab",
        "seed 7 candidate 3 latent 100 numbers asked for hair_color=pink steps repair",
        "learned from Remix of “Adventurer”",
        "trainedAlgorithmicMedia, made by a trained model",
        "C2PA manifest: found, its signature is valid.",
        "Pixels and metadata are as they were when it was signed.",
        "the key that you keep on this computer",
        "It does not show who that is",
        "Anyone can remove such metadata, and anyone can write them",
    ):
        assert sentence in said, said
    assert "not found" not in said


def test_nobody_vouches_for_a_key_made_on_another_computer(
    files: dict[str, bytes], origin: Origin, save: Callable[..., Path],
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: Path,
) -> None:  # fmt: skip
    key = SigningKey.of_user(tmp_path / "elsewhere")
    said = verified(save(sign(embed(files["PNG"], origin), key)), capsys)
    assert "The key is not known as your own here." in said
    assert "on this computer" not in said
    assert "not those of a model that ships with chibi-lab" in said
    assert not settings.exists()


OWN = "It was signed with the key that you keep on this computer."


def test_no_text_of_the_file_looks_like_a_line_of_the_report(
    files: dict[str, bytes], origin: Origin, save: Callable[..., Path],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr("chibi_lab.studio.keys.MADE_HERE", f'Ada" {OWN}')
        key = SigningKey.of_user(tmp_path / "elsewhere")
    forged = replace(origin, software="x" * 63 + f" {OWN}")
    found = examine(save(sign(embed(files["PNG"], forged), key)))
    assert not found.signature.own
    report = found.report()
    assert f"signed as    \"Ada' {OWN.split(' you')[0]}" in report
    own = examine(save(sign(embed(files["PNG"], origin), SigningKey.of_user())))
    real = [line for line in own.report().splitlines() if OWN in line]
    assert len(real) == 1 and len(real[0]) - len(real[0].lstrip()) == 2
    # Whatever a file says stands further right than where lines begin.
    lines = [line for line in report.splitlines() if line.lstrip().startswith("It was")]
    assert lines and all(line.startswith("      ") for line in lines)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("signingCredential.expired", f"clock of this computer shows, {date.today()}"),
        ("signingCredential.ocsp.revoked", "about its certificate"),
        ("com.example.new", "a code that is not known here"),
    ],
)
def test_what_failed_beside_a_valid_signature_is_named(code: str, said: str) -> None:
    signature = Signature(True, False, False, "A", "b", "c 1", None, (code,))
    report = " ".join(Findings("x.png", "PNG", signature=signature).report().split())
    assert f"problem {code}: " in report and said in report
    assert "its signature is valid" in report and "proves nothing." not in report


def test_a_jpeg_that_says_that_a_model_made_it_is_heard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    space = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmp = f'<r xmlns:i="{space}" i:DigitalSourceType="%s"/>'
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (8, 8)).save(path, xmp=(xmp % words).encode())
    said = verified(path, capsys)
    assert "trainedAlgorithmicMedia, made by a trained model (IPTC)" in said
    assert "Nothing here says" not in said
    other = "http://evil.example/trainedAlgorithmicMedia"
    Image.new("RGB", (8, 8)).save(path, xmp=(xmp % other).encode())
    assert f'type: "{other}", none of the IPTC\'s.' in verified(path, capsys)


def test_a_picture_changed_after_signing_is_called_so(
    files: dict[str, bytes], origin: Origin, save: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    data = sign(embed(files["PNG"], origin), SigningKey.of_user())
    said = verified(save(data + b"more"), capsys)
    assert "The file was CHANGED after that: pixels, metadata or both." in said
    assert "signed another state of this file" in said
    assert "are as they were" not in said


def test_a_forged_manifest_is_called_not_valid(
    files: dict[str, bytes], origin: Origin, save: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pieces = split(sign(embed(files["PNG"], origin), SigningKey.of_user()))[1]
    forged = [
        png_chunk("caBX", p.body.replace(b"chibi-lab", b"some-body"))
        if p.kind == "caBX"
        else p
        for p in pieces
    ]
    said = verified(save(join(forged)), capsys)
    assert "its signature is NOT valid" in said
    assert "A manifest whose signature is not valid proves nothing." in said
    assert "on this computer" not in said


@pytest.mark.parametrize("name", ["PNG", "WebP", "GIF", "JPEG"])
def test_a_picture_that_says_nothing_proves_nothing(
    files: dict[str, bytes], save: Callable[..., Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str], name: str,
) -> None:  # fmt: skip
    if name == "JPEG":
        path = tmp_path / "photo.jpg"
        Image.new("RGB", (8, 8)).save(path)
    else:
        path = save(files[name])
    said = verified(path, capsys)
    for what in ("Origin", "Digital source type", "C2PA manifest"):
        assert f"{what}: not found." in said
    assert "A model may have made it all the same." in said
    assert "their absence proves nothing" in said


def test_json_has_the_same_keys_whatever_was_found(
    files: dict[str, bytes], shipped: Origin, save: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    found = []
    for data in (
        sign(embed(files["PNG"], shipped), SigningKey.of_user()),
        files["GIF"],
    ):
        path = save(data)
        capsys.readouterr()
        assert main(["verify", str(path), "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    full, empty = found
    assert list(full) == list(empty) == [
        "file", "format", "origin", "origin_problem", "ships_as", "source_type",
        "source_type_problem", "watermark", "watermark_problem", "signature",
        "signature_problem",
    ]  # fmt: skip
    assert full["file"] == str(path)
    assert Origin.from_text(json.dumps(full["origin"])) == shipped
    assert full["ships_as"] == "modern-gan"
    assert full["signature"]["valid"] and full["signature"]["own"]
    assert not full["signature"]["changed"]
    too_small = empty.pop("watermark_problem")
    assert "7 x 9 pixels is too small" in too_small
    assert [empty[key] for key in list(empty)[2:]] == [None] * 8


@pytest.fixture
def flat() -> np.ndarray:
    """A picture of 256 pixels a side that says nothing."""
    return np.full((256, 256, 3), (228, 220, 250), np.uint8)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif"])
def test_a_watermark_is_found_when_the_metadata_are_lost(
    flat: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    path = tmp_path / f"me.{suffix}"
    Image.fromarray(mark(flat)).save(path)
    said = verified(path, capsys)
    assert "Watermark: found in the pixels" in said
    assert "Of pictures without one, fewer than 1 in 1,000 score so high" in said
    assert "anyone who has this package can put it into any picture" in said
    assert "A model may have made it all the same" not in said
    found = examine(path).to_json()["watermark"]
    assert found["present"] and found["score"] > found["threshold"]
    assert json.loads(json.dumps(found)) == found


def test_no_watermark_is_found_where_none_is(
    flat: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(flat).save(tmp_path / "plain.png")
    said = verified(tmp_path / "plain.png", capsys)
    assert "Watermark: not found." in said and "can put it into" not in said
    found = examine(tmp_path / "plain.png").to_json()["watermark"]
    assert found["present"] is False


def test_what_cannot_be_searched_says_why(
    files: dict[str, bytes], save: Callable[..., Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    said = verified(save(files["PNG"]), capsys)
    assert "Watermark: not looked for: a picture of 7 x 9 pixels is too small" in said
    pieces = split(files["PNG"])[1]
    broken = [png_chunk("IDAT", b"?") if p.kind == "IDAT" else p for p in pieces]
    said = verified(save(join(broken)), capsys)
    assert "Watermark: not looked for: its pixels cannot be read." in said
    monkeypatch.setattr("chibi_lab.studio.findings.MAX_PIXELS", 60)
    said = verified(save(files["PNG"]), capsys)
    assert "Watermark: not looked for: it has more than 60 pixels." in said


def test_the_watermark_of_each_picture_of_an_animation_counts_from_the_first(
    flat: np.ndarray, tmp_path: Path
) -> None:
    frames = [Image.fromarray(mark(flat - np.uint8(9 * i))) for i in range(3)]
    path = tmp_path / "blink.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    found = examine(path)
    assert found.watermark is not None and found.watermark.present


def test_a_large_marked_picture_is_reduced_before_it_is_searched(
    tmp_path: Path,
) -> None:
    large = np.full((2100, 2000, 3), (228, 220, 250), np.uint8)
    Image.fromarray(mark(large)).save(tmp_path / "large.jpg", quality=90)
    found = examine(tmp_path / "large.jpg")
    assert found.watermark is not None and found.watermark.present


def text(body: bytes) -> Callable[[bytes], bytes]:
    def forge(data: bytes) -> bytes:
        pieces = split(data)[1]
        return join([*pieces[:2], png_chunk("iTXt", body), *pieces[2:]])

    return forge


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (text(b"chibi-lab-origin\0\0\0\0\0{"), "no whole JSON"),
        (text(b'chibi-lab-origin\0\0\0\0\0{"format": 9}'), "install a newer one"),
        (text(b"chibi-lab-origin\0\0\0\0\0\xff"), "not in UTF-8"),
        (text(b"XML:com.adobe.xmp\0\0\0\0\0<x>"), "no XML"),
        (text(b"XML:com.adobe.xmp\0\0\0\0\0<!DOCTYPE x>"), "document type"),
        (lambda data: join([*(p := split(data)[1])[:2], png_chunk("caBX", b"?"), *p[2:]]),
         "the C2PA manifest cannot be read"),
    ],
)  # fmt: skip
def test_damaged_metadata_in_a_whole_picture_are_a_finding(
    files: dict[str, bytes], save: Callable[..., Path],
    capsys: pytest.CaptureFixture[str], forge: Callable[[bytes], bytes], said: str,
) -> None:  # fmt: skip
    assert said in verified(save(forge(files["PNG"])), capsys)


def test_what_a_stranger_wrote_does_nothing_to_the_terminal(
    files: dict[str, bytes], origin: Origin, save: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    evil = json.dumps({**origin.to_json(), "model": "\x1b[2J"}, ensure_ascii=False)
    forge = text(b"chibi-lab-origin\0\0\0\0\0" + evil.encode())
    said = verified(save(forge(files["PNG"])), capsys)
    assert "printed alone" in said and "\x1b" not in said


def test_no_line_is_wider_than_eighty_columns(
    files: dict[str, bytes], origin: Origin, save: Callable[..., Path]
) -> None:
    long = replace(origin, credit="word " * 300 + "end", model="m" * 200)
    report = examine(save(embed(files["PNG"], long))).report()
    assert max(map(len, report.splitlines())) <= 80
    assert report.count("word") == 300


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty: it has 0 bytes"),
        (b"I am text, renamed", "this is no PNG, WebP, GIF or JPEG picture"),
        (b"\x89PNG\r\n\x1a\n", "the PNG is cut off"),
    ],
)
def test_what_is_no_picture_is_one_line_and_exit_code_2(
    save: Callable[..., Path], capsys: pytest.CaptureFixture[str],
    data: bytes, said: str,
) -> None:  # fmt: skip
    path = save(data)
    line = refused(path, capsys)
    assert f"{path}: {said}" in line


@pytest.mark.parametrize("name", ["PNG", "WebP", "GIF"])
def test_a_picture_cut_off_is_one_line_and_exit_code_2(
    files: dict[str, bytes], origin: Origin, save: Callable[..., Path],
    capsys: pytest.CaptureFixture[str], name: str,
) -> None:  # fmt: skip
    pieces = split(sign(embed(files[name], origin), SigningKey.of_user()))[1]
    for count in range(1, len(pieces)):
        line = refused(save(join(pieces[:count])), capsys)
        assert "cut off" in line or "damaged" in line


def test_what_is_no_file_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "it is not a regular file" in refused(tmp_path, capsys)
    missing = tmp_path / "no\nsuch.png"
    line = refused(missing, capsys)
    assert "No such file or directory" in line and "no such.png" in line
    os.mkfifo(tmp_path / "pipe.png")
    assert "it is not a regular file" in refused(tmp_path / "pipe.png", capsys)
    assert "File name too long" in refused(tmp_path / ("x" * 300), capsys)


def test_a_file_that_is_too_large_is_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    line = refused(tmp_path / "large.png", capsys)
    assert "is larger than 64 MB" in line


def test_verify_needs_no_folder_that_can_be_written_and_makes_no_key(
    files: dict[str, bytes], save: Callable[..., Path], settings: Path
) -> None:
    settings.parent.mkdir()
    settings.write_text("in the way")
    assert examine(save(files["PNG"])).signature is None
    assert settings.read_text() == "in the way"


def test_the_checksums_of_shipped_weights_are_known() -> None:
    for name in pretrained.RUNS:
        weights = pretrained.open_run(name).latest().read_bytes()
        assert shipped_as(hashlib.sha256(weights).hexdigest()) == name
    assert shipped_as("0" * 64) is None


def test_checksums_that_are_missing_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    with pytest.raises(ChibiError, match=r"cannot read .*SHA256SUMS"):
        shipped_as("0" * 64)


def test_other_commands_wait_for_no_signing() -> None:
    program = (
        "import sys, chibi_lab.cli; "
        "print({'c2pa', 'cryptography', 'ipywidgets', 'matplotlib'} & sys.modules.keys())"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert said.stdout == "set()\n"


def test_a_picture_is_verified_without_waiting_for_torch(
    files: dict[str, bytes], shipped: Origin, save: Callable[..., Path]
) -> None:
    path = save(sign(embed(files["PNG"], shipped), SigningKey.of_user()))
    program = (
        "import sys; from chibi_lab.cli import main; main(['verify', sys.argv[1]]); "
        "print({'torch', 'scipy', 'matplotlib'} & sys.modules.keys())"
    )
    command = [sys.executable, "-c", program, str(path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "on this computer" in said and said.endswith("set()\n")
