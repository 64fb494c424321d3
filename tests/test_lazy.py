import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = """
from chibi_lab.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__, {"measure": ("measure",), "shapes": ("Circle", "area")}
)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    folder = tmp_path / "lazy_example"
    folder.mkdir()
    (folder / "__init__.py").write_text(SOURCE)
    (folder / "measure.py").write_text("def measure(): return 1\nother = 2\n")
    (folder / "shapes.py").write_text("class Circle: pass\ndef area(): return 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("lazy_example")
    for name in [name for name in sys.modules if name.startswith("lazy_example")]:
        del sys.modules[name]


def test_a_name_is_imported_when_it_is_used(package: ModuleType) -> None:
    assert "lazy_example.shapes" not in sys.modules
    assert package.area() == 3
    assert "lazy_example.shapes" in sys.modules
    assert "lazy_example.measure" not in sys.modules


def test_all_names_are_listed_before_they_are_used(package: ModuleType) -> None:
    assert package.__all__ == ["Circle", "area", "measure"]
    assert {"Circle", "area", "measure", "__name__"} <= {*dir(package)}
    with pytest.raises(
        AttributeError, match=r"'lazy_example' has no attribute 'volume'"
    ):
        package.volume  # noqa: B018


def test_a_function_goes_before_its_submodule_of_the_same_name(
    package: ModuleType,
) -> None:
    # As after `from chibi_lab.evaluation.evaluate import …`.
    assert importlib.import_module("lazy_example.measure").other == 2
    assert package.measure() == 1


def test_the_studio_is_imported_without_torch() -> None:
    program = "import sys, chibi_lab.studio; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
