"""The address of the repository: ``pyproject.toml`` says it, all else follows.

``make address`` writes it into the badge and the first cell of each notebook.
"""

import re
import tomllib
from pathlib import Path

import nbformat

BOOK = Path(__file__).resolve().parents[1]
BADGE = re.compile(r"\[!\[Open in Colab\].*")
FIRST_CELL = """\
import sys

if "google.colab" in sys.modules:  # a fresh machine: what the book was tested with
    !git clone --quiet --depth 1 {address} chibi-lab
    %pip install --quiet --constraint chibi-lab/constraints.txt ./chibi-lab

import chibi_lab  # before torch: it says how torch's threads wait for one another"""


def address() -> str:
    """Where the project lies, an address that git can clone."""
    text = (BOOK.parent / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["project"]["urls"]["Repository"]


def badge(name: str) -> str:
    """The link that opens a chapter in Colab."""
    place = address().removeprefix("https://").replace("github.com", "github")
    link = f"https://colab.research.google.com/{place}/blob/main/book/{name}"
    return f"[![Open in Colab](images/open-in-colab.svg)]({link})"


def write_address(file: Path) -> None:
    """Put badge and first cell of a notebook right; its other cells and outputs stay."""
    notebook = nbformat.read(file, as_version=4)
    title, first = notebook.cells[:2]
    title.source = BADGE.sub(lambda _: badge(file.name), title.source)
    first.source = FIRST_CELL.format(address=address())
    nbformat.write(notebook, file)


if __name__ == "__main__":
    for file in sorted(BOOK.glob("*.ipynb")):
        write_address(file)
