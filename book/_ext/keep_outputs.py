"""Copy the notebooks that the last build executed back into the book, with their outputs.

``make notebooks`` runs this after a build. Whatever says only when or where a notebook ran is taken
out, so that a difference between two versions of a notebook is a difference in what it says.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

import nbformat

BOOK = Path(__file__).resolve().parents[1]
EXECUTED = BOOK.parent / "_build" / "jupyter_execute"

KERNEL = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {"name": "python"},
}
# Values of metadata that differ from run to run.
RUN_METADATA = ("execution", "widgets")
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class OutdatedError(Exception):
    """The executed notebook does not belong to the one in the book."""


def merge_streams(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Return a cell's outputs with all pieces of a stream in the first of them.

    A stream comes in pieces that depend on the moment. A build that merges them
    (``nb_merge_streams``) has put all the text into the first and left the others as they were.

    Args:
        outputs: Outputs of one cell.

    Returns:
        The same outputs with one piece of each stream.
    """
    pieces: dict[str, list[nbformat.NotebookNode]] = {}
    for output in outputs:
        if output.output_type == "stream":
            pieces.setdefault(output.name, []).append(output)
    for first, *others in pieces.values():
        rest = "".join(other.text for other in others)
        if not first.text.endswith(rest):
            first.text += rest
    later = [id(other) for _, *others in pieces.values() for other in others]
    return [output for output in outputs if id(output) not in later]


def normalise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return an executed notebook without the traces of one particular run.

    Args:
        notebook: An executed notebook, format 4.5. It is changed in place.

    Returns:
        The same notebook: the kernel is named by its language only, times of execution and saved
        widget states are gone (a widget's view is kept as text), execution counts stay.
    """
    for key in RUN_METADATA:
        notebook.metadata.pop(key, None)
    notebook.metadata.update(nbformat.from_dict(KERNEL))
    for cell in notebook.cells:
        for key in RUN_METADATA:
            cell.metadata.pop(key, None)
        if "outputs" in cell:
            cell.outputs = merge_streams(cell.outputs)
        for output in cell.get("outputs", []):
            data: dict[str, Any] = output.get("data", {})
            if len(data) > 1:
                data.pop(WIDGET_VIEW, None)
            if "image/png" in data:  # Pillow gives each picture twice
                data.pop("image/jpeg", None)
    return notebook


def keep_outputs(source: Path, executed: Path) -> bool:
    """Replace a notebook by its executed self.

    Args:
        source: The notebook in the book.
        executed: The same notebook as the build executed it.

    Returns:
        Whether the file changed.

    Raises:
        OutdatedError: If the two do not hold the same cells, or a cell failed.
    """
    old = nbformat.read(source, as_version=4)
    new = normalise(nbformat.read(executed, as_version=4))
    if [cell.source for cell in old.cells] != [cell.source for cell in new.cells]:
        raise OutdatedError(
            f"{source.name} changed since it was executed: build the book first"
        )
    if any(
        output.output_type == "error"
        for cell in new.cells
        for output in cell.get("outputs", [])
    ):
        raise OutdatedError(
            f"{source.name} has a failing cell: mend it and build the book first"
        )
    text = nbformat.writes(new, version=4, indent=1) + "\n"
    text = re.sub(r"\n+\Z", "\n", text)
    if text == source.read_text(encoding="utf-8"):
        return False
    beside = source.with_name(f".{source.name}.new")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, source)
    return True


def main() -> int:
    """Copy every notebook of the book; return the exit code."""
    failed = False
    for source in sorted(BOOK.glob("*.ipynb")):
        executed = EXECUTED / source.name
        if not executed.exists():
            print(f"{source.name}: not executed by the last build, left as it is")
            continue
        try:
            changed = keep_outputs(source, executed)
        except OutdatedError as error:
            print(error, file=sys.stderr)
            failed = True
        else:
            print(f"{source.name}: {'updated' if changed else 'unchanged'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
