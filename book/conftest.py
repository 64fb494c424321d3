"""How the notebooks are run by ``pytest --nbval``."""

import os
from pathlib import Path

import pytest

# The kernels inherit these: no progress bars, as in the built pages.
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ["PYTHONSTARTUP"] = str(Path(__file__).parent / "_ext" / "kernel_startup.py")


def pytest_configure(config: pytest.Config) -> None:
    # nbval looks for the file from the current directory; found here, it works from any.
    config.option.nbval_sanitize_with = str(Path(__file__).with_name("nbval.cfg"))
