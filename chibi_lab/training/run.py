"""A run: the folder that holds all there is to know of one training."""

import os
import re
import reprlib
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field
from pydantic_core import from_json

from chibi_lab.data import AttributeSchema
from chibi_lab.errors import ChibiError
from chibi_lab.files import explained, open_file, place, printable, read
from chibi_lab.reading import STRICT, checked, naming, read_json
from chibi_lab.training.config import TrainingConfig, read_config

# PyTorch, Pillow and tqdm are imported where they are used: to open a run takes none.
if TYPE_CHECKING:
    from PIL import Image

FILES = ("config.json", "data.json", "stats.jsonl")
FOLDERS = ("checkpoints", "samples")
LARGEST = 100_000_000  # bytes of a file that is no checkpoint
LARGEST_GRID = 256  # pictures
# Below 10 to the 9 with zeros before it.
NUMBER = r"([0-9]{9}|[1-9][0-9]{9,12})"


class Row(BaseModel):
    """A row of ``stats.jsonl``: means over the steps since the row before."""

    model_config = STRICT | {"extra": "allow"}
    __pydantic_extra__: dict[str, float] = Field(init=False)

    images_seen: Annotated[int, Field(ge=0, le=10**13)]
    seconds: Annotated[float, Field(ge=0)]


class Data(BaseModel):
    """What is read of ``data.json``; it holds more."""

    model_config = STRICT | {"extra": "allow"}

    data: str = ""
    folder: str = ""
    fingerprint: str = ""
    files: list[str] = []
    other_files: list[str] = []
    credit: str = ""


class Run:
    """One training on disk.

    The folder holds ``config.json``, ``data.json`` (where the images come from, and which pictures
    were left out), ``stats.jsonl`` (a row for each stretch of images seen),
    ``checkpoints/`` (safetensors, named by images seen) and ``samples/`` (PNG grids of the same
    latents, named alike). A training that came to its end adds ``timelapse.webp``, the grids as a
    film. A file appears whole or not at all. Files with other names are passed over; none of its
    own may be a link.

    Attributes:
        path: The folder.
        config: The choices of the training.
    """

    def __init__(self, path: Path | str, config: TrainingConfig) -> None:
        self.path = place(path)
        self.config = config
        self._said: set[str] = set()

    @classmethod
    def open(cls, path: Path | str) -> "Run":
        """Open a run that exists."""
        path = place(path)
        if not is_there(path / "config.json"):
            raise ChibiError(f"{path} is not a run: it holds no config.json")
        refuse_links(path)
        return cls(path, read_config(path / "config.json"))

    def data(self) -> dict[str, Any]:
        """Where the images come from, as ``data.json`` says; empty without that file."""
        file = self.path / "data.json"
        if not is_there(file):
            return {}
        known = read_json(file, LARGEST)
        with naming(file), checked():
            return Data.model_validate(known).model_dump(exclude_unset=True)

    def schema(self) -> AttributeSchema | None:
        """The attributes that the model can be asked for; None if it draws without wishes."""
        known = self.data() if getattr(self.config, "conditional", False) else {}
        if known.get("schema") is None:
            return None
        with naming(self.path / "data.json"):
            return AttributeSchema.from_json(known["schema"])

    def stats(self) -> list[dict[str, float]]:
        """The rows of ``stats.jsonl``, oldest first; empty before the first row.

        What a loss of power or a kill left there is passed over, and said.
        """
        file = self.path / "stats.jsonl"
        if not is_there(file):
            return []
        lines = [*filter(None, read(file, LARGEST, links=False).split(b"\n"))]
        rows, damaged = [], 0
        for line in lines:
            try:
                row = Row.model_validate(from_json(line, allow_inf_nan=False))
                rows.append(row.model_dump())
            except ValueError:
                damaged += 1
        if damaged:
            self._say_once(
                f"{file}: {damaged} of {len(lines)} lines are damaged, and left out"
            )
        return rows

    def checkpoints(self) -> list[Path]:
        """Checkpoints, oldest first."""
        return self._numbered("checkpoints", ".safetensors")

    def samples(self) -> list[Path]:
        """Sample grids, oldest first. The file name is the images seen."""
        return self._numbered("samples", ".png")

    def _numbered(self, folder: str, suffix: str) -> list[Path]:
        """The run's own files of a folder, by number; what has another name is a stranger's."""
        inside = self.path / folder
        if not is_there(inside):
            return []
        with explained(f"cannot read {inside}"):
            own = [n for n in os.listdir(inside) if re.fullmatch(NUMBER + suffix, n)]
        return sorted((inside / name for name in own), key=lambda path: int(path.stem))

    def open_sample(self, path: Path) -> "Image.Image":
        """A sample grid, RGB; nothing is opened but a PNG file of a grid's size."""
        from PIL import Image

        pixels = LARGEST_GRID * (self.config.shape[0] + 4) * (self.config.shape[1] + 4)
        with open_file(path, links=False) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            try:
                with Image.open(file, formats=["PNG"]) as grid:
                    if grid.width * grid.height > pixels:
                        raise ValueError(f"{grid.width} x {grid.height} pixels")
                    return grid.convert("RGB")
            except (
                OSError,
                SyntaxError,
                ValueError,
                Image.DecompressionBombError,
            ) as error:
                raise ChibiError(f"{path} is no sample grid: {error}") from error

    def latest(self) -> Path:
        """The newest checkpoint that is whole; one that is not is named."""
        from chibi_lab.training.checkpoint import DamagedError, read_header

        damage: DamagedError | None = None
        for path in reversed(self.checkpoints()):
            try:
                seen = read_header(path)[1].get("images_seen")
                if seen != int(path.stem):
                    raise DamagedError(
                        f"{path} is of {reprlib.repr(seen)} images seen by what is in it"
                    )
            except DamagedError as error:
                damage = damage or error
                continue
            if damage is not None:
                self._say_once(
                    f"{damage}; {path.name}, which is older, is whole and taken instead"
                )
            return path
        raise damage or ChibiError(f"{self.path} has no checkpoint yet")

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            say(line)

    @property
    def images_seen(self) -> int:
        """Images seen up to the newest checkpoint; 0 before the first."""
        return int(self.latest().stem) if self.checkpoints() else 0


def say(line: str) -> None:
    """Tell a person one line, beside a progress bar if there is one; nobody has to listen."""
    from tqdm.auto import tqdm

    with suppress(OSError):
        tqdm.write(printable(line), file=sys.stderr)


def is_there(path: Path) -> bool:
    """Whether a path exists; one that cannot be looked at is not taken for one that does not."""
    with explained(f"cannot read {path}"):
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
    return True


def refuse_links(run: Path) -> None:
    """A link in a stranger's run would be written, copied or cleared where it points to."""
    inside = [run / name for name in (*FILES, *FOLDERS, "tensorboard")]
    with explained(f"cannot read {run}"):
        for folder in (run / name for name in FOLDERS):
            if folder.is_dir() and not folder.is_symlink():
                inside += folder.iterdir()
    for path in inside:
        if path.is_symlink():
            raise ChibiError(f"{path} is a link: the files of a run are in its folder")
