"""Names of a package that are imported when they are first used (PEP 562).

So a command that needs one of them does not wait for PyTorch.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any


class _Package(ModuleType):
    """A package whose function may be called what its submodule is, such as ``evaluate``."""

    _places: Mapping[str, str]

    def __setattr__(self, name: str, value: Any) -> None:
        # The import system names the submodule in the package; the function goes before it.
        if not (isinstance(value, ModuleType) and name in self._places):
            super().__setattr__(name, value)


def attach(
    package: str, modules: Mapping[str, tuple[str, ...]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """What a package's ``__init__.py`` calls ``__getattr__``, ``__dir__`` and ``__all__``.

    >>> __getattr__, __dir__, __all__ = attach(__name__, {"run": ("Run",), "loop": ("train",)})

    Args:
        package: ``__name__`` of the package.
        modules: The public names of each of its submodules.
    """
    places = {name: module for module, names in modules.items() for name in names}
    itself = sys.modules[package]

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{places[name]}"), name)
        setattr(itself, name, value)  # not asked for again
        return value

    public = sorted(places)
    itself.__class__ = _Package
    itself._places = places
    return get, lambda: sorted({*vars(itself), *public}), public
