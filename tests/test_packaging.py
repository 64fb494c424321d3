import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import chibi_lab

ROOT = Path(__file__).resolve().parents[1]


def read_project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]


def read_pins() -> dict[str, Version]:
    """The pinned versions by name. Every line that is no comment must be a pin."""
    pins = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            requirement = Requirement(line)
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", line
            assert requirement.name not in pins, f"{requirement.name} is pinned twice"
            pins[requirement.name] = Version(specifier.version)
    return pins


def read_requirements() -> list[Requirement]:
    """What the environment holds; the other extras are no part of it, and have no pins."""
    project = read_project()
    lines = [*project["dependencies"], *project["optional-dependencies"]["book"]]
    return [Requirement(line) for line in lines]


def test_environment_and_project_agree() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    project = read_project()
    packages = [part for part in environment["dependencies"] if isinstance(part, str)]
    (from_pip,) = [
        part["pip"] for part in environment["dependencies"] if isinstance(part, dict)
    ]

    # conda gives Python and pip; what the project needs, pip reads from the project itself.
    assert sorted(re.split("[<>=]", package)[0] for package in packages) == [
        "pip",
        "python",
    ]
    options = dict(line.split() for line in from_pip)
    assert options == {"--constraint": "constraints.txt", "--editable": ".[book]"}
    assert "book" in project["optional-dependencies"]

    (python,) = [package for package in packages if package.startswith("python")]
    in_conda = SpecifierSet(python.removeprefix("python"))
    in_project = SpecifierSet(project["requires-python"])
    for minor in range(9, 15):
        version = f"3.{minor}"
        assert (version in in_conda) == (version in in_project), version


def test_pins_satisfy_the_project() -> None:
    pins = read_pins()
    for requirement in read_requirements():
        assert requirement.name in pins, f"{requirement.name} has no pin: run make pins"
        assert pins[requirement.name] in requirement.specifier, requirement


def test_pins_name_no_address_and_no_build() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert not re.search(r"://|index-url|find-links|@", text)
    # "+cpu" or "+cu130" would tie the pins to one kind of machine.
    assert not [name for name, version in read_pins().items() if version.local]


def test_pinned_versions_hold_for_all_systems() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    markers = dict(
        re.findall(r"^([\w.-]+)==\S+(?: ; (.*))?$", text, flags=re.MULTILINE)
    )
    assert markers["torch"] == markers["torchvision"] == ""
    assert "linux" in markers["triton"]
    cuda = [name for name in markers if name.startswith(("nvidia-", "cuda-"))]
    assert cuda
    assert all("linux" in markers[name] for name in cuda)


def test_version_is_the_same_everywhere() -> None:
    assert metadata.version("chibi-lab") == chibi_lab.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(
        rf"^## {re.escape(chibi_lab.__version__)}\b", changelog, flags=re.MULTILINE
    )


def test_command_is_installed() -> None:
    (command,) = metadata.entry_points(group="console_scripts", name="chibi-lab")
    assert callable(command.load())


def test_pre_commit_and_environment_use_the_same_ruff() -> None:
    config = yaml.safe_load(
        (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    )
    (revision,) = [
        repo["rev"]
        for repo in config["repos"]
        if repo["repo"].endswith("ruff-pre-commit")
    ]
    assert revision == f"v{read_pins()['ruff']}"


@pytest.mark.parametrize("name", ["ci.yml", "pages.yml"])
def test_workflows_can_be_read(name: str) -> None:
    workflow = yaml.safe_load(
        (ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8")
    )
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    assert (".ci/run" if name == "ci.yml" else "make book") in commands


def test_wheel_holds_the_weights(tmp_path: Path) -> None:
    build = [sys.executable, *"-m hatchling build -t wheel -d".split(), str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    folder = ROOT / "chibi_lab" / "pretrained"
    ships = {
        file.relative_to(ROOT).as_posix()
        for file in folder.rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }
    assert any(file.endswith(".safetensors") for file in ships)
    assert ships <= set(zipfile.ZipFile(wheel).namelist())
