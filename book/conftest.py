"""How the notebooks are run by ``pytest --nbval``."""

import os
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Name the file of what nbval need not compare."""
    # nbval looks for the file from the current directory; found here, it works from any.
    config.option.nbval_sanitize_with = str(Path(__file__).with_name("nbval.cfg"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give the kernels, which start after this, the environment that they have in a build."""
    # Not at import: the unit tests run in this process too, and look at progress bars.
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ["PYTHONSTARTUP"] = str(
        Path(__file__).parent / "_ext" / "kernel_startup.py"
    )
