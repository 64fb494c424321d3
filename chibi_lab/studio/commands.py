"""What the studio does, as commands: create, edit, invert, animate, studio."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from PIL import Image
from tyro.conf import Positional, UseAppendAction, arg

from chibi_lab.errors import ChibiError
from chibi_lab.files import open_file, write
from chibi_lab.studio.checks import (
    LEAST,
    MAX_CANDIDATES,
    MOST,
    check_name,
    check_size,
)
from chibi_lab.studio.containers import read_file, shown
from chibi_lab.studio.keys import SigningKey

# What waits for PyTorch is imported where it is used: a missing file is said at once.
if TYPE_CHECKING:
    from chibi_lab.studio.session import Candidate, Session

Model = Literal["vae", "gan"]
Wishes = Annotated[
    UseAppendAction[tuple[str, ...]], arg(name="set", metavar="NAME=VALUE")
]
Slides = Annotated[
    UseAppendAction[tuple[str, ...]], arg(name="slide", metavar="SLIDER=PLACE")
]
STEPS = 100  # of the search for a picture's recipe
SHEET = 16
MOST_PROPOSALS = 16
NOTEBOOK = "my-avatar.ipynb"
CELLS = ["from chibi_lab.studio import Studio\n\nStudio()"]


@dataclass(frozen=True, kw_only=True)
class Create:
    """Draw an avatar to order and keep it in a file."""

    wishes: Wishes = ()
    """An attribute that it shall show, as in hair_color=pink; may be repeated."""
    seed: int = 0
    """Seed of the candidates."""
    candidate: int = 1
    """Which candidate of the seed, from 1; --sheet shows the first 16."""
    model: Model = "vae"
    """Who draws."""
    sheet: bool = False
    """Write a PNG picture of the first 16 candidates, in rows of 8, to choose one from."""
    size: int = 512
    """Height in pixels, 64 to 1024."""
    transparent: bool = False
    """Cut it out of its background."""
    overwrite: bool = False
    """Replace the file if it exists."""
    out: Path
    """File to write: .png, .webp or .gif."""

    def run(self) -> None:
        """Do it."""
        if self.sheet:
            check_name(self.out, self.overwrite, (".png",))
        else:
            _check(self)
        if not 1 <= self.candidate <= MAX_CANDIDATES:
            raise ChibiError(
                f"candidate is {self.candidate}: it must be 1 to {MAX_CANDIDATES}"
            )
        import torch

        from chibi_lab.studio.pictures import grid, save_picture
        from chibi_lab.studio.session import open_session

        session = open_session((self.model.upper(),))
        count = SHEET if self.sheet else self.candidate
        sheets = session.sheet(wish_of(self.wishes), self.seed, count)
        (candidates,) = sheets.values()
        if self.sheet:
            sheet = grid(torch.stack([each.image for each in candidates]))
            save_picture(sheet, self.out, self.overwrite)
            print(
                f"the first {SHEET} candidates of seed {self.seed} are in {shown(str(self.out))}"
            )
            return
        chosen = candidates[-1]
        if chosen.missed:
            print(f"looks as if it missed: {', '.join(chosen.missed)}", file=sys.stderr)
        _keep(session, chosen, self)


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Change an avatar from a file: attributes, sliders, a mixture, or a part painted over."""

    file: Positional[Path]
    """A file that the studio kept, or any picture: then the nearest avatar is searched for."""
    wishes: Wishes = ()
    """An attribute to change, as in hair_color=mint; may be repeated."""
    slides: Slides = ()
    """A slider to move, from 0 to 1, as in "longer hair=0.7"; may be repeated."""
    mix: Path | None = None
    """Go half of the way to the avatar in this file."""
    repair: Path | None = None
    """A picture as large as the file, white where a part is to be filled in and black elsewhere."""
    proposal: int = 1
    """Which way to fill it in, from 1: the second and later ones try other attributes."""
    size: int = 512
    """Height in pixels, 64 to 1024; a repaired picture keeps its own."""
    transparent: bool = False
    """Cut it out of its background."""
    overwrite: bool = False
    """Replace the file if it exists."""
    out: Path
    """File to write: .png, .webp or .gif."""

    def run(self) -> None:
        """Do it."""
        _check(self, self.file, self.mix, self.repair)
        changes = [*self.wishes, *self.slides, self.mix, self.repair]
        if not any(changes):
            raise ChibiError("nothing to change: say --set, --slide, --mix or --repair")
        if self.repair and any(changes[:-1]):
            raise ChibiError("--repair goes alone: edit its result for all else")
        if self.repair:
            self._fill_in()
            return
        from chibi_lab.studio.session import open_session
        from chibi_lab.studio.sliders import fits, slide, sliders

        session = open_session()
        session.put(_opened(session, self.file))
        now = session.current
        painter = session.painters[now.painter]
        for name, value in wish_of(self.wishes).items():
            recipe = painter.with_value(session.current.recipe, name, value)
            session.shape(recipe, f"{name}={value}")
        known = {slider.label: slider for slider in sliders(painter)}
        for label, text in pairs_of(self.slides, "--slide takes SLIDER=PLACE").items():
            if label not in known:
                raise ChibiError(f"no slider {label!r}: choose {', '.join(known)}")
            place, recipe = _number(text), session.current.recipe
            if not fits(painter, recipe, known[label], place):
                print(
                    f"{label}: never seen with the rest of this avatar", file=sys.stderr
                )
            session.shape(
                slide(painter, recipe, known[label], place), f"{label}={text}"
            )
        if self.mix:
            session.blend(_opened(session, self.mix), 0.5)
        _keep(session, session.current, self)

    def _fill_in(self) -> None:
        """Fill in what is painted over; the rest stays as it is, but for the watermark."""
        if not 1 <= self.proposal <= MOST_PROPOSALS:
            raise ChibiError(
                f"proposal is {self.proposal}: it must be 1 to {MOST_PROPOSALS}"
            )
        import torch

        from chibi_lab.studio.enlarging import enlarge
        from chibi_lab.studio.keeping import keep
        from chibi_lab.studio.opening import open_picture
        from chibi_lab.studio.session import Candidate, open_session

        side = _side(self.file)
        large = open_picture(self.file, (side, side))
        painted = _stored(self.repair)[0]
        if painted != (side, side):
            raise ChibiError(
                "the picture with the part to fill in must be as large as the file, "
                f"{side} x {side} pixels, not {' x '.join(map(str, painted))}"
            )
        hole = open_picture(self.repair, (side, side)).mean(0) > 0
        session = open_session()
        now = _opened(session, self.file)
        small = tuple(now.image.shape[1:])
        # A pixel of the small picture counts as known only if nothing of it is painted over.
        coarse = (
            torch.nn.functional.adaptive_max_pool2d(hole[None].float(), small)[0] > 0
        )
        picture = open_picture(self.file, small)
        session.put(Candidate(**{**vars(now), "image": picture}))
        chosen = session.repair(coarse, self.proposal)[-1]
        filled = torch.where(hole, enlarge(chosen.image[None], side)[0], large)
        origin = session.origin(chosen)
        keep(filled[None], self.out, origin, side, self.transparent, self.overwrite)
        print(f"kept in {shown(str(self.out))}, {side} pixels high")


@dataclass(frozen=True, kw_only=True)
class Invert:
    """Find the avatar that comes nearest to a picture, and keep it in a file."""

    picture: Positional[Path]
    """A picture file, in any format that `chibi_lab.data` reads."""
    size: int = 512
    """Height in pixels, 64 to 1024."""
    overwrite: bool = False
    """Replace the file if it exists."""
    out: Path
    """File to write: .png, .webp or .gif."""

    def run(self) -> None:
        """Do it."""
        _check(self, self.picture)
        from chibi_lab.studio.session import open_session

        session = open_session()
        _keep(session, _searched(session, self.picture), self)


@dataclass(frozen=True, kw_only=True)
class Animate:
    """Let an avatar from a file blink, or turn into others and back."""

    file: Positional[Path]
    """A file that the studio kept, or any picture: then the nearest avatar is searched for."""
    kind: Literal["blink", "turn"] = "blink"
    """What it does; a turn goes through three other faces of its model."""
    frames: int = 24
    """How many pictures, 80 ms each."""
    seed: int = 0
    """Seed of the other faces of a turn."""
    size: int = 512
    """Height in pixels, 64 to 1024."""
    transparent: bool = False
    """Cut it out of its background."""
    overwrite: bool = False
    """Replace the file if it exists."""
    out: Path
    """File to write: .webp, .gif or .png (an APNG)."""

    def run(self) -> None:
        """Do it."""
        _check(self, self.file)
        from chibi_lab.studio.animation import blink, turn
        from chibi_lab.studio.keeping import keep
        from chibi_lab.studio.session import open_session

        session = open_session()
        now = _opened(session, self.file)
        painter = session.painters[now.painter]
        if self.kind == "blink":
            recipes = blink(painter, now.recipe, self.frames)
        else:
            others, _ = painter.compose({}, self.seed, 3)
            recipes = turn([now.recipe, *others], self.frames)
        keep(
            painter.draw(recipes),
            self.out,
            session.origin(now),
            self.size,
            self.transparent,
            self.overwrite,
        )
        print(
            f"{len(recipes)} frames kept in {shown(str(self.out))}, {self.size} pixels high"
        )


@dataclass(frozen=True)
class OpenStudio:
    """Open the studio in JupyterLab."""

    folder: Positional[Path] = Path()
    """Where avatars are kept; the notebook my-avatar.ipynb is made there if it is missing.
    Notebooks in a folder are programs: open one of your own, or of somebody you trust."""

    def run(self) -> None:
        """Do it."""
        if not self.folder.is_dir():
            raise ChibiError(
                f"{self.folder} is no folder that exists: make it, or choose another"
            )
        notebook = self.folder / NOTEBOOK
        if not notebook.exists():
            write_notebook(notebook)
        command = [sys.executable, "-m", "jupyterlab", notebook.name]
        if getattr(os, "geteuid", lambda: None)() == 0:  # as in a container
            command.append("--allow-root")
        # Files of the folder, a json.py say, are no modules of Python's, nor of its kernels'.
        given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        safe = os.pathsep.join(filter(os.path.isabs, given))
        environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": safe}
        with subprocess.Popen(command, cwd=self.folder, env=environment) as lab:
            while (status := _ended(lab)) is None:
                pass  # Ctrl-C is JupyterLab's: it asks, or stops its kernels
        if status:
            raise ChibiError(
                f"JupyterLab ended with status {status}; is it installed? "
                'pip install "chibi-lab[book]"'
            )


def _ended(process: subprocess.Popen[bytes]) -> int | None:
    """The status that a program ended with; None if Ctrl-C came first."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        return None


def write_notebook(path: Path) -> None:
    """Write a notebook that opens the studio.

    Raises:
        ChibiError: If the file cannot be written.
    """
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    cells = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"studio-{number}",
            "metadata": {},
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(CELLS)
    ]
    notebook = {
        "cells": cells,
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    write(path, json.dumps(notebook, indent=1) + "\n")


def wish_of(said: Sequence[str]) -> dict[str, str]:
    """Attributes with their values, from NAME=VALUE each.

    Raises:
        ChibiError: If one is not of this form, or a name comes twice.
    """
    return pairs_of(said, "--set takes NAME=VALUE, as in hair_color=pink")


def pairs_of(said: Sequence[str], form: str) -> dict[str, str]:
    """Names with their values; `form` begins the complaint about any other form."""
    flag = form.split()[0]
    pairs: dict[str, str] = {}
    for each in said:
        name, given, value = each.partition("=")
        if not given:
            raise ChibiError(f"{form}, not {each!r}")
        if name in pairs:
            raise ChibiError(f"{flag} says {name} twice: {pairs[name]} and {value}")
        pairs[name] = value
    return pairs


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ChibiError(
            f"a slider's place is a number from 0 to 1, not {text!r}"
        ) from None


def _opened(session: "Session", file: Path) -> "Candidate":
    """What a kept file was drawn from; of any other picture the nearest that can be drawn."""
    data = read_file(file)
    try:
        kept = session.reopen_file(data)
    except ChibiError as error:
        kept = None
        print(
            shown(f"{file} is not opened as it was kept: {error}", 999), file=sys.stderr
        )
    return _searched(session, file) if kept is None else kept


def _searched(session: "Session", file: Path) -> "Candidate":
    """The nearest that the painters can draw; how near is said."""
    from tqdm.auto import tqdm

    from chibi_lab.studio.opening import nearness, open_picture
    from chibi_lab.studio.session import Candidate

    found: list[tuple[float, Candidate]] = []
    for name, painter in session.painters.items():
        picture = open_picture(file, painter.run.config.shape)
        search = tqdm(
            session.approach(name, picture, STEPS),
            total=STEPS + 1,
            desc=name,
            unit="step",
            leave=False,
            **({} if sys.stderr.isatty() else {"disable": True}),
        )
        *_, near = search
        found.append(
            (near.error, Candidate(name, near.recipe, near.image, steps=("picture",)))
        )
    _, nearest = min(found, key=lambda each: each[0])
    errors = {candidate.painter: error for error, candidate in found}
    print(f"{shown(str(file))}: {nearness(errors)}", file=sys.stderr)
    return nearest


def _stored(file: Path) -> tuple[tuple[int, int], bool]:
    """Width and height of a picture as it is stored, and whether it is transparent anywhere."""
    from chibi_lab.data.decode import picture_formats
    from chibi_lab.studio.opening import open_picture

    open_picture(file, (1, 1))  # complains of what is no picture
    with (
        open_file(file) as opened,
        Image.open(opened, formats=picture_formats()) as picture,
    ):
        return picture.size, picture.has_transparency_data


def _side(file: Path) -> int:
    """Width and height of a picture that a part can be filled in of.

    Raises:
        ChibiError: If it is not square, too small or large, or transparent anywhere.
    """
    (width, height), transparent = _stored(file)
    if width != height or not LEAST <= width <= MOST:
        raise ChibiError(
            f"{file} has {width} x {height} pixels: --repair takes a square picture of "
            f"{LEAST} to {MOST}"
        )
    if transparent:
        raise ChibiError(
            f"{file} is transparent: repair it first, and cut it out afterwards"
        )
    return width


def _check(command: Create | Edit | Invert | Animate, *needed: Path | None) -> None:
    """Complain of what a file cannot be, and of one that is missing, before work is spent on it."""
    for file in needed:
        if file is not None:
            read_file(file)
    check_name(command.out, command.overwrite)
    check_size(command.size)
    SigningKey.of_user()


def _keep(
    session: "Session", chosen: "Candidate", command: Create | Edit | Invert
) -> None:
    from chibi_lab.studio.keeping import keep

    transparent = getattr(command, "transparent", False)
    keep(
        chosen.image[None],
        command.out,
        session.origin(chosen),
        command.size,
        transparent,
        command.overwrite,
    )
    print(f"kept in {shown(str(command.out))}, {command.size} pixels high")
