"""What this book asks of Sphinx beyond ``_config.yml``.

* The plain command ``jupyter-book build book/`` is strict: a failing cell, a broken reference or
  any other warning ends it with a non-zero exit code, and every later one until it is mended.
* A chapter is run again when the package changes, not only when its notebook does.
* Progress bars are switched off in the pages, where they would stand still.
* The formulas need no network: MathJax is copied from an installed package.
* Of the package's docstrings a chapter shows the first line; the rest stands in the reference.
* The build says which chapter runs, and how long each took. A cell that stalls is one line.
* The reference shows the types of fields, not the ranges that they are checked against.
* The address of the repository is that of ``pyproject.toml``.
"""

import ast
import asyncio
import importlib.util
import logging as python_logging
import os
import re
import shutil
import textwrap
from pathlib import Path
from typing import Any, get_type_hints

from docutils import nodes
from myst_nb.sphinx_ext import NbMetadataCollector
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.directives.code import LiteralInclude
from sphinx.util import logging

import chibi_lab  # before torch is loaded: it says how threads wait, for the kernels too
from address import address

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
# One file that draws formulas as SVG, with every TeX package in it: no font, nothing loaded later.
MATHJAX = Path("mathjax", "tex-svg-full.js")

# The chapters that this build reads, and so executes.
executed: set[str] = set()


def package_files() -> list[Path]:
    """Return what the chapters' outputs depend on beside the notebooks: package and versions."""
    files = [
        path
        for path in sorted((ROOT / "chibi_lab").rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]
    return [*files, ROOT / "constraints.txt"]


def with_short_docstrings(source: str) -> str:
    """Cut each docstring of some Python source down to its first line."""
    lines = source.splitlines()
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    documented = [
        node.body[0]
        for node in ast.walk(ast.parse(textwrap.dedent(source)))
        if isinstance(node, kinds) and ast.get_docstring(node) is not None
    ]
    for docstring in sorted(documented, key=lambda node: -node.lineno):
        if docstring.end_lineno > docstring.lineno:
            lines[docstring.lineno - 1] += '"""'
            del lines[docstring.lineno : docstring.end_lineno]
    return "\n".join(lines) + "\n"


class PackageSource(LiteralInclude):
    """``literalinclude``, which shows an object of the package without its long docstrings."""

    def run(self) -> list[nodes.Node]:
        """Include the source, then shorten what was included."""
        found = super().run()
        if "pyobject" in self.options:
            for block in (
                block for node in found for block in node.findall(nodes.literal_block)
            ):
                block.rawsource = with_short_docstrings(block.astext())
                block.children = [nodes.Text(block.rawsource)]
        return found


def use_local_mathjax(app: Sphinx, config: Config) -> None:
    """Load MathJax from the book's own static files."""
    config.mathjax_path = MATHJAX.as_posix()


def depend_on_package(app: Sphinx, docname: str, source: list[str]) -> None:
    """Have a notebook read and executed again when a file of the package is newer."""
    notebooks = [d for d in app.env.found_docs if app.env.doc2path(d).endswith("ipynb")]
    if docname in notebooks:
        executed.add(docname)
        logger.info("")
        logger.info("chapter %d of %d: %s", len(executed), len(notebooks), docname)
        for path in package_files():
            app.env.note_dependency(str(path))


def leave_out_thebe(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: object,
) -> None:
    """Drop the scripts of thebe, which would run cells on a server: nothing here uses it.

    Jupyter Book loads it always, and twice, which every browser reports as an error.
    """
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "thebe"
        not in f"{script.filename}{script.attributes.get('body', '')}".lower()
    ]


def report_times(app: Sphinx) -> None:
    """Log the seconds that each chapter took which this build executed."""
    times = {}
    for docname in sorted(executed):
        data = NbMetadataCollector.get_exec_data(app.env, docname)
        if data:
            times[docname] = data["runtime"] or 0.0
    if times:
        logger.info("")
        for docname, seconds in times.items():
            logger.info("%8.1f s  %s", seconds, docname)
        logger.info("%8.1f s  all chapters", sum(times.values()))


async def give_up(client: NotebookClient, timeout: int, cell: Any) -> None:
    """End a cell that met the limit as Ctrl-C would, so that its kernel ends in peace."""
    await client.km.interrupt_kernel()
    await asyncio.sleep(1)
    begins = cell.source.strip().partition("\n")[0]
    raise CellTimeoutError(
        f"given up after {timeout} seconds: the cell that begins {begins!r}"
    )


class StalledCell(python_logging.Filter):
    """Shortens the report of a cell that met the limit to its last line."""

    def filter(self, record: python_logging.LogRecord) -> bool:
        """Change the record; it is always shown."""
        found = re.findall(r"CellTimeoutError: (given up .*)", record.getMessage())
        if found:
            record.msg, record.args = found[-1], ()
        return True


def leave_out_ranges(app: Sphinx, function: Any, bound: bool) -> None:
    """Show the types of a config's fields without their ranges; its help says those."""
    hints = getattr(function, "__annotations__", {})
    ranged = any("Annotated" in str(t) for t in hints.values())
    if ranged:
        function.__annotations__ = get_type_hints(function)


def set_address(app: Sphinx, config: Config) -> None:
    """Link the pages to the repository; ``_config.yml`` would say its address once more."""
    config.html_theme_options |= {
        "repository_url": address(),
        "repository_branch": "main",
        "path_to_docs": "book",
        "use_repository_button": True,
        "use_issues_button": True,
    }


def finish(app: Sphinx, exception: Exception | None) -> None:
    """Copy MathJax; after a build with warnings, make sure that the next one meets them again."""
    if exception is not None:
        return
    if app.builder.format == "html":
        spec = importlib.util.find_spec("sphinx-mathjax-offline")
        if spec is None or not spec.submodule_search_locations:
            raise RuntimeError(
                "the package sphinx-mathjax-offline is not installed: install the extra 'book'"
            )
        target = Path(app.outdir, "_static", MATHJAX)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(
            Path(spec.submodule_search_locations[0], "static", MATHJAX), target
        )
    report_times(app)
    if app._warncount:
        # Pages that did not change are not read again, so their warnings would be lost.
        Path(app.doctreedir, "environment.pickle").unlink(missing_ok=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.keep_going = True  # finish the build, then exit with 1 if there was any warning
    # The kernels inherit these: no progress bars.
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ["PYTHONSTARTUP"] = str(Path(__file__).with_name("kernel_startup.py"))
    NotebookClient._async_handle_timeout = give_up
    for handler in python_logging.getLogger("sphinx").handlers:
        handler.filters.insert(0, StalledCell())
    app.add_directive("literalinclude", PackageSource, override=True)
    app.connect("config-inited", use_local_mathjax)
    app.connect("config-inited", set_address)
    app.connect("autodoc-before-process-signature", leave_out_ranges)
    app.connect("source-read", depend_on_package)
    app.connect("html-page-context", leave_out_thebe)
    app.connect("build-finished", finish)
    return {"version": "1.0", "parallel_read_safe": False, "parallel_write_safe": True}
