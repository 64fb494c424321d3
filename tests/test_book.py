"""The book's files fit together: contents, committed outputs, pictures, nothing remote."""

import json
import logging
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError
from PIL import Image

import address
import chibi_book
import draw_gallery
import keep_outputs

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
NOTEBOOKS = sorted(path.name for path in BOOK.glob("*.ipynb"))


def chapters() -> list[str]:
    contents = yaml.safe_load((BOOK / "_toc.yml").read_text(encoding="utf-8"))
    parts = [
        chapter["file"] for part in contents["parts"] for chapter in part["chapters"]
    ]
    return [contents["root"], *parts]


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(BOOK / name, as_version=4)


def test_contents_and_files_agree() -> None:
    pages = {
        path.stem for pattern in ("*.ipynb", "*.md") for path in BOOK.glob(pattern)
    }
    assert sorted(chapters()) == sorted(pages)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_is_valid_and_normalised(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    text = (BOOK / name).read_text(encoding="utf-8")
    again = keep_outputs.normalise(read(name))
    assert again == notebook, "run make notebooks"
    assert len(text) < 3_200_000, "pictures too large for a repository"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_was_run_from_top_to_bottom(name: str) -> None:
    cells = [cell for cell in read(name).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(
        output.output_type != "error" for cell in cells for output in cell.outputs
    )


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_pictures_are_described(name: str) -> None:
    for number, cell in enumerate(read(name).cells):
        pictures = [
            output
            for output in cell.get("outputs", [])
            if any(kind.startswith("image/") for kind in output.get("data", {}))
        ]
        if pictures:
            shown = cell.metadata.get("mystnb", {})
            assert shown.get("image", {}).get("alt"), f"cell {number} has no alt text"
            assert shown.get("figure", {}).get("caption"), (
                f"cell {number} has no caption"
            )


@pytest.mark.parametrize("name", sorted(chapters()))
def test_page_loads_nothing_remote(name: str) -> None:
    if (BOOK / f"{name}.ipynb").exists():
        text = "\n".join(
            c.source for c in read(f"{name}.ipynb").cells if c.cell_type == "markdown"
        )
    else:
        text = (BOOK / f"{name}.md").read_text(encoding="utf-8")
    assert not re.search(r"!\[[^\]]*\]\(https?:", text)
    assert not re.search(r"<(img|script|iframe|video)[^>]*src=[\"']?(https?:)?//", text)
    assert not re.search(r"```\{(image|figure)\} https?:", text)


def executed(*sources: str) -> nbformat.NotebookNode:
    v4 = nbformat.v4
    output = v4.new_output("stream", name="stdout", text="done\n")
    cells = [
        v4.new_code_cell(
            source,
            id=f"cell-{number}",
            execution_count=number,
            outputs=[output],
            metadata={"execution": {"iopub.status.busy": "now"}, "tags": ["kept"]},
        )
        for number, source in enumerate(sources, start=1)
    ]
    metadata = {
        "widgets": {"state": {}},
        "language_info": {"name": "python", "version": "3.11.7"},
    }
    return v4.new_notebook(cells=cells, metadata=metadata)


def test_outputs_are_kept_without_traces_of_the_run(tmp_path: Path) -> None:
    source, built = tmp_path / "a.ipynb", tmp_path / "built.ipynb"
    notebook = executed("print('done')")
    nbformat.write(notebook, built)
    notebook.cells[0].update(outputs=[], execution_count=None)
    nbformat.write(notebook, source)

    assert keep_outputs.keep_outputs(source, built)
    kept = nbformat.read(source, as_version=4)
    (cell,) = kept.cells
    assert cell.outputs[0].text == "done\n"
    assert cell.execution_count == 1
    assert cell.metadata == {"tags": ["kept"]}
    assert kept.metadata == keep_outputs.KERNEL
    assert not keep_outputs.keep_outputs(source, built), "a second time changes nothing"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.ipynb",
        "built.ipynb",
    ]


def test_widgets_are_kept_as_text() -> None:
    notebook = executed("box")
    data = {keep_outputs.WIDGET_VIEW: {"model_id": "0123"}, "text/plain": "VBox()"}
    notebook.cells[0].outputs = [nbformat.v4.new_output("display_data", data=data)]
    (output,) = keep_outputs.normalise(notebook).cells[0].outputs
    assert output.data == {"text/plain": "VBox()"}


def test_outputs_of_another_version_are_refused(tmp_path: Path) -> None:
    source, built = tmp_path / "a.ipynb", tmp_path / "built.ipynb"
    nbformat.write(executed("print('old')"), built)
    nbformat.write(executed("print('new')"), source)
    before = source.read_bytes()
    with pytest.raises(
        keep_outputs.OutdatedError, match=r"a\.ipynb changed since it was executed"
    ):
        keep_outputs.keep_outputs(source, built)
    assert source.read_bytes() == before


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the plain build command in a folder, with its two streams together."""
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", "book/"]
    return subprocess.run(
        command,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
    )


@pytest.fixture
def small_book(tmp_path: Path) -> Path:
    """A book of one page and one chapter, built as this one is. Returns the folder above it."""
    book = tmp_path / "book"
    shutil.copytree(
        BOOK / "_ext", book / "_ext", ignore=shutil.ignore_patterns("__pycache__")
    )
    (book / "images").mkdir()
    (book / "_assets").mkdir()
    (tmp_path / "chibi_lab").mkdir()
    for name in (
        "_config.yml",
        "constraints.txt",
        "pyproject.toml",
        "book/references.bib",
        "book/images/favicon.svg",
    ):
        shutil.copy(ROOT / name, tmp_path / name)
    (book / "_assets" / "chibi.css").write_text("")
    (book / "_toc.yml").write_text(
        "format: jb-book\nroot: index\nchapters:\n- file: one\n"
    )
    (book / "index.md").write_text("# Index\n\nAll is well: $x^2$.\n")
    (tmp_path / "chibi_lab" / "__init__.py").write_text("answer = 42\n")
    code = (
        "import sys\nsys.path.insert(0, '..')\nimport chibi_lab\nfrom tqdm.auto import tqdm\n"
        "list(tqdm([1]))\nassert chibi_lab.answer == 42\nprint('the answer', 'is right')"
    )
    title = nbformat.v4.new_markdown_cell("# One")
    notebook = nbformat.v4.new_notebook(cells=[title, nbformat.v4.new_code_cell(code)])
    nbformat.write(notebook, book / "one.ipynb")
    return tmp_path


def test_plain_build_is_strict_and_notices_a_changed_package(small_book: Path) -> None:
    first = build(small_book)
    assert first.returncode == 0, first.stdout
    assert re.search(r"chapter 1 of \d+: one", first.stdout)
    assert re.search(r"\d s  all chapters", first.stdout)
    html = small_book / "_build" / "html"
    page = (html / "one.html").read_text(encoding="utf-8")
    assert "the answer is right" in page
    assert "0/1" not in page, "a progress bar stands in the page"
    # Formulas come from the book itself.
    assert "_static/mathjax/tex-svg-full.js" in (html / "index.html").read_text(
        encoding="utf-8"
    )
    assert (html / "_static" / "mathjax" / "tex-svg-full.js").stat().st_size > 1_000_000

    # The package changes under a chapter that does not, and a page loses its target.
    (small_book / "chibi_lab" / "__init__.py").write_text("answer = 41\n")
    (small_book / "book" / "index.md").write_text("# Index\n\nSee {ref}`nowhere`.\n")
    second = build(small_book)
    # Nothing changes any more: what failed goes on failing.
    third = build(small_book)
    for failed in (second, third):
        assert failed.returncode != 0, failed.stdout
        assert "AssertionError" in failed.stdout
        assert "nowhere" in failed.stdout


@pytest.mark.parametrize(
    "first", ["one\n", "one\ntwo\nthree\n"]
)  # as it comes, or merged
def test_a_stream_in_pieces_is_kept_once(first: str) -> None:
    pieces = [
        nbformat.v4.new_output("stream", name=name, text=text)
        for name, text in (
            ("stdout", first),
            ("stderr", "!"),
            ("stdout", "two\n"),
            ("stdout", "three\n"),
        )
    ]
    kept = keep_outputs.merge_streams(pieces)
    assert [(output.name, output.text) for output in kept] == [
        ("stdout", "one\ntwo\nthree\n"),
        ("stderr", "!"),
    ]


def test_gallery_shows_the_weights_that_ship() -> None:
    shown = np.asarray(Image.open(draw_gallery.GALLERY).convert("RGB")).astype(int)
    drawn = np.asarray(draw_gallery.draw_gallery()).astype(int)
    assert shown.shape == drawn.shape
    assert np.abs(shown - drawn).mean() < 1, "run make gallery"


def test_of_a_docstring_the_first_line_is_shown() -> None:
    source = '''class Room:
    r"""A room.

    With a wall.
    """

    def enter(self) -> str:
        """Go in.

        Returns:
            What one sees.
        """
        return """a
wall"""

    def leave(self) -> None:
        """Go out."""
'''
    short = '''class Room:
    r"""A room."""

    def enter(self) -> str:
        """Go in."""
        return """a
wall"""

    def leave(self) -> None:
        """Go out."""
'''
    assert chibi_book.with_short_docstrings(source) == short
    # A method alone is included with its indentation.
    method = (
        "    def f(self) -> None:\n" + '        """One.\n\n        Two.\n        """\n'
    )
    assert (
        chibi_book.with_short_docstrings(method)
        == '    def f(self) -> None:\n        """One."""\n'
    )


def result_of(benchmark: str) -> dict[str, Any]:
    (file,) = (ROOT / "benchmarks" / "results").glob(f"{benchmark}-*.json")
    return json.loads(file.read_text(encoding="utf-8"))


def text_of(name: str) -> str:
    return "".join(cell.source for cell in read(name).cells)


def test_the_table_of_speeds_is_the_one_that_was_measured() -> None:
    for row in result_of("candidates")["rows"]:
        speed, times = row["images_per_second"], row["times_the_usual"]
        assert f"| {row['way']} | {speed:.0f} | {times:.2f} |" in text_of(
            "14_tools.ipynb"
        )


def test_the_tables_of_ranks_and_memory_are_those_that_were_measured() -> None:
    text, ranks = text_of("13_scaling.ipynb"), result_of("ranks")
    for kind in ("gan", "vae"):
        one, two = ranks[kind]["images_per_second"].values()
        assert (
            f"| {kind} | {one:.0f} | {two:.0f} | {ranks[kind]['ratio']:.2f} |" in text
        )
    for row in result_of("memory")["rows"]:
        memory, speed = row["memory_mib"], row["images_per_second"]
        cells = (
            f"{row['images']:,} | {row['megabytes']} MB | {memory} MiB | {speed:,.0f}"
        )
        assert f"| {cells} |" in text


def test_the_tables_of_the_modern_gan_are_those_that_were_measured() -> None:
    text = text_of("06_modern_gan.ipynb")
    for row in result_of("ablation_gan")["rows"]:
        low, high = row["interval"].values()
        distance = f"{row['frechet']:.1f} ({low:.1f} to {high:.1f})"
        speed = f"{row['images_per_second']:.0f}"
        assert (
            f"| {row['name']} | {distance} | {row['hair_styles']} | {speed} |" in text
        )
    without, augmented = result_of("few_pictures")["rows"].values()
    for pair in zip(without, augmented, strict=True):
        cells = [f"{pair[0]['images_seen']:,}"]
        for found in (row["figures"]["frechet"] for row in pair):
            cells.append("{value:.1f} ({low:.1f} to {high:.1f})".format(**found))
        assert f"| {' | '.join(cells)} |" in text
    for name, title in (("gan", "article's GAN"), ("modern-gan", "modern GAN")):
        rows = result_of("quality")["models"][name]
        distances = ", ".join(
            f"{row['figures']['frechet']['value']:.1f}" for row in rows
        )
        styles = ", ".join(str(row["attributes"]["hair"]["covered"]) for row in rows)
        assert f"| {title} | {distances} | {styles} |" in text


def test_the_ten_minutes_of_the_vaes_are_those_that_were_measured() -> None:
    text = text_of("08_modern_vae.ipynb")
    for name, title in (("vae", "article's VAE"), ("modern-vae", "modern VAE")):
        figures = [row["figures"] for row in result_of("quality")["models"][name]]
        cells = (
            ", ".join(f"{figure[key]['value']:.1f}" for figure in figures)
            for key in ("frechet", "psnr")
        )
        assert f"| {title} | {' | '.join(cells)} |" in text


@pytest.mark.parametrize("benchmark", ["ablation_vae", "ablation_vae_96000"])
def test_the_tables_of_changes_are_those_that_were_measured(benchmark: str) -> None:
    text = text_of("08_modern_vae.ipynb")
    for row in result_of(benchmark)["rows"]:
        prior, density = (row["frechet"][name] for name in ("prior", "density"))
        figures = (
            f"{row['psnr']:.1f} | {row['kl']:.0f} | {row['sharpness_of_samples']['density']:.3f} | "
            f"{prior:.1f} | {density:.1f} | {row['seconds'] or '–'}"
        )
        assert f"| {row['change']} | {figures} |" in text


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_address_is_that_of_the_project(name: str, tmp_path: Path) -> None:
    copy = tmp_path / name
    shutil.copyfile(BOOK / name, copy)
    address.write_address(copy)
    assert nbformat.read(copy, as_version=4) == read(name), "run make address"


def test_the_address_stands_nowhere_else() -> None:
    files = ["README.md", "_config.yml", "Makefile", "CONTRIBUTING.md"]
    pages = [*BOOK.glob("*.md"), *(ROOT / name for name in files)]
    for page in pages:
        assert address.address() not in page.read_text(encoding="utf-8"), page.name


def test_a_cell_that_stalls_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(NotebookClient, "_async_handle_timeout", chibi_book.give_up)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("import time\ntime.sleep(60)")]
    )
    client = NotebookClient(notebook, timeout=1, kernel_name="python3")
    with pytest.raises(CellTimeoutError, match=r"after 1 seconds: .*'import time'"):
        client.execute()


def test_of_a_stalled_cell_a_build_shows_the_last_line() -> None:
    text = "Executing notebook failed: Traceback\nCellTimeoutError: given up after 9 seconds\n"
    record = logging.LogRecord("sphinx", logging.WARNING, "", 0, text, (), None)
    assert chibi_book.StalledCell().filter(record)
    assert record.getMessage() == "given up after 9 seconds"
