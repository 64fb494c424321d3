import hashlib
import re
import shutil
from pathlib import Path

import pytest

from chibi_lab import pretrained
from chibi_lab.errors import ChibiError

MB = 1_000_000


def weights_of(name: str) -> list[Path]:
    return sorted((pretrained.FOLDER / name).rglob("*.safetensors"))


def card_of(name: str) -> str:
    return (pretrained.FOLDER / name / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What ships, where a test may damage it."""
    folder = tmp_path / "pretrained"
    shutil.copytree(pretrained.FOLDER, folder)
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    return folder


def test_each_file_of_weights_has_its_checksum() -> None:
    text = (pretrained.FOLDER / "SHA256SUMS").read_text(encoding="utf-8")
    # The format that "sha256sum -c" reads.
    listed = dict(line.split("  ")[::-1] for line in text.splitlines())
    found = {
        file.relative_to(pretrained.FOLDER).as_posix(): file.read_bytes()
        for file in weights_of(".")
    }
    assert listed == {k: hashlib.sha256(v).hexdigest() for k, v in found.items()}
    assert {file.partition("/")[0] for file in found} == set(pretrained.NAMES)


def test_what_ships_is_small() -> None:
    sizes = {
        name: sum(
            file.stat().st_size
            for file in (pretrained.FOLDER / name).rglob("*")
            if file.is_file()
        )
        for name in pretrained.NAMES
    }
    assert max(sizes.values()) <= 10 * MB, sizes
    assert sum(sizes.values()) <= 40 * MB, sizes


@pytest.mark.parametrize("name", pretrained.NAMES)
def test_each_has_a_card(name: str) -> None:
    card = card_of(name)
    rows = dict(re.findall(r"^\| ([\w ]+) \| (.+) \|$", card, flags=re.MULTILINE))
    needed = {"command", "commit", "seed", "images seen", "minutes", "machine"}
    assert needed <= rows.keys()
    assert re.fullmatch("`[0-9a-f]{7,40}`", rows["commit"])
    assert re.match(r"\d", rows["minutes"])
    figures = card.partition("\n## Figures\n")[2].partition("\n## ")[0]
    assert re.search(r"\d", figures)


@pytest.mark.parametrize("name", pretrained.RUNS)
def test_cards_of_runs_agree_with_the_runs(name: str) -> None:
    card, run = card_of(name), pretrained.open_run(name)
    assert f"| seed | {run.config.seed} |" in card
    (seen,) = re.findall(r"^\| images seen \| ([\d,]+) \|$", card, flags=re.MULTILINE)
    assert int(seen.replace(",", "")) == run.images_seen


def test_unknown_names_are_refused_with_those_there_are() -> None:
    there = " or ".join(pretrained.NAMES)
    with pytest.raises(ChibiError, match=f"no weights named 'gam': choose {there}$"):
        pretrained.path("gam")
    with pytest.raises(ChibiError, match=r"no run named 'judge' ships: choose gan or"):
        pretrained.open_run("judge")


def test_damaged_weights_are_not_opened(copy: Path) -> None:
    (file,) = weights_of("vae")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ChibiError, match="are not those that shipped"):
        pretrained.open_run("vae")
    pretrained.open_run("gan")  # which nothing happened to


@pytest.mark.parametrize("missing", ["judge/judge.safetensors", "SHA256SUMS"])
def test_missing_files_are_one_line(copy: Path, missing: str) -> None:
    (copy / missing).unlink()
    with pytest.raises(ChibiError, match=r"^[^\n]+$"):
        pretrained.path("judge")
