"""The studio as a person uses it: in JupyterLab, in a browser."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from chibi_lab.studio.findings import examine

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: see the extra browser"
)
pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")

NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "id": "studio",
            "execution_count": None,
            "metadata": {},
            "outputs": [],
            "source": "from chibi_lab.studio import Studio\nStudio()",
        }
    ],
    "metadata": {
        "kernelspec": {
            "display_name": "Python 3",
            "language": "python",
            "name": "python3",
        }
    },
    "nbformat": 4,
    "nbformat_minor": 5,
}
PATIENCE = 120  # seconds for what may be slow on a busy computer
FOLDERS = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "JUPYTER_CONFIG_DIR")


@pytest.fixture
def page() -> Iterator[Any]:
    """A page of Chromium; skips where there is none."""
    with sync_api.sync_playwright() as playwright:
        # The one that Playwright brought, or else the system's.
        own = Path(playwright.chromium.executable_path)
        found = str(own) if own.is_file() else shutil.which("chromium")
        if found is None:
            pytest.skip("no Chromium is installed: playwright install chromium")
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(1000 * PATIENCE)
        yield page
        browser.close()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """The address of a JupyterLab on loopback, and the folder that it works in."""
    for name in (*FOLDERS, "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
        (tmp_path / name).mkdir(mode=0o700)
        monkeypatch.setenv(name, str(tmp_path / name))
    work = tmp_path / "work"
    work.mkdir()
    (work / "me.ipynb").write_text(json.dumps(NOTEBOOK))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = "only-for-this-test"
    options = [
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
    ]
    command = [sys.executable, "-m", "jupyterlab", *options]
    # The package that is tested, wherever the server works.
    root = str(Path(__file__).parents[1])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(
            command,
            cwd=work,
            env={**os.environ, "PYTHONPATH": paths},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(f"{address}/api/status?token={token}", server, tmp_path)
            yield f"{address}/lab/tree/me.ipynb?token={token}", work
        finally:
            server.terminate()
            server.wait(30)


def _wait_for(address: str, server: subprocess.Popen[bytes], folder: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if server.poll() is not None:
                break
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{(folder / 'lab.log').read_text()}")


def test_from_a_wish_to_a_file_that_verifies(page: Any, lab: tuple[str, Path]) -> None:
    address, work = lab
    page.goto(address)
    # A cell that is run before there is a kernel is not run later.
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.click(".jp-Notebook .jp-Cell .jp-InputArea-editor")
    page.keyboard.press("Shift+Enter")
    # Wish.
    page.click("button[title='hair colour: pink']")
    page.get_by_text("✓ pink").wait_for()
    # Choose, with the keyboard.
    third = page.locator("button[title^='Choose GAN 3 '][title$='matches the wish']")
    third.focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="GAN 3 of seed 0").wait_for()
    # Slide.
    page.click("button:has-text('3 Shape')")
    handle = page.locator(".widget-slider", has_text="Darker skin").locator(
        ".noUi-handle"
    )
    handle.wait_for()  # the kernel opens the section; a hidden handle takes no key
    handle.press("End" if handle.get_attribute("aria-valuenow") != "1.0" else "Home")
    page.locator("p[role=status]", has_text="Darker skin").wait_for()
    # An error is said in place.
    page.click("button:has-text('5 Keep')")
    name = page.get_by_label("File name")
    name.fill("../me.png")
    name.press("Tab")
    page.click("button[title='Save the picture on the table']")
    page.locator("p[role=alert]", has_text="leads out of the folder").wait_for()
    # Save.
    name.fill("me.png")
    name.press("Tab")
    page.click("button[title='Save the picture on the table']")
    page.locator("p[role=status]", has_text="Saved as").wait_for()
    assert not (work.parent / "me.png").exists()
    assert Image.open(work / "me.png").size == (512, 512)
    findings = examine(work / "me.png")
    assert findings.signature.valid and not findings.signature.changed
    assert findings.ships_as == "modern-gan"
    assert findings.origin.candidate == 3
    assert findings.origin.attributes == {"hair_color": "pink"}
    assert len(findings.origin.steps) == 1
    assert findings.origin.steps[0].startswith("darker skin")
