"""The command ``chibi-lab``: one frozen dataclass a command, which tyro turns into flags."""

import contextlib
import csv
import errno
import io
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from itertools import takewhile
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import tyro
from tyro.conf import (
    OmitArgPrefixes,
    OmitSubcommandPrefixes,
    Positional,
    UseAppendAction,
    arg,
    subcommand,
)

from chibi_lab import pretrained
from chibi_lab.errors import ChibiError
from chibi_lab.files import place, whole_folder
from chibi_lab.studio.checks import check_name
from chibi_lab.studio.commands import Animate, Create, Edit, Invert, OpenStudio, wish_of
from chibi_lab.studio.containers import read_file
from chibi_lab.training.config import (
    GANConfig,
    ModernGANConfig,
    ModernVAEConfig,
    TrainingConfig,
    VAEConfig,
    read_config,
)
from chibi_lab.training.run import Run

# All that waits for PyTorch is imported where it is used, so that --help, a wrong flag and a
# missing file are answered at once.
if TYPE_CHECKING:
    from chibi_lab.data import ImageSet

REHEARSED_IMAGES, REHEARSED_STEPS = 256, 16  # as long as from one penalty to the next
MAX_SAMPLES = 4096
DESCRIPTION = "Draw chibi avatars, train a GAN or a VAE on them, sample and compare."
INTERRUPTED = 130  # what a shell expects of a program that Ctrl-C ended
BROKEN_PIPE = 141  # and of one that wrote to nobody
PATHS = tyro.constructors.ConstructorRegistry()


@PATHS.primitive_rule
def _path(
    about: tyro.constructors.PrimitiveTypeInfo,
) -> tyro.constructors.PrimitiveConstructorSpec[Path] | None:
    """How every path of the command line is read: ``~`` expanded, an empty one refused."""
    if about.type is not Path:
        return None

    def read(words: list[str]) -> Path:
        try:
            return place(words[0])
        except ChibiError as error:
            # tyro would forget it where None is allowed, too.
            raise SystemExit(str(error)) from None

    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    )


@dataclass(frozen=True)
class Render:
    """Draw avatars into the cache, and as PNG files if a folder is given."""

    data: str = "adventurer"
    """Name of a DiceBear style."""
    size: int = 64
    """Side of the images in pixels."""
    count: int = 10_000
    """Number of avatars."""
    split: Literal["train", "validation", "test"] = "train"
    """Which of three ranges of seeds; no two share a seed."""
    palette: str = "pastel"
    """Colours: pastel, or original for the style's own."""
    out: Path | None = None
    """A new or empty folder for PNG files and a table of their attributes."""

    def run(self) -> None:
        """Do it."""
        from chibi_lab.data import load_avatars, split_seeds

        seeds = split_seeds(self.split, self.count)
        # The folder first: what is in the way is said before anything is drawn.
        out = None if self.out is None else whole_folder(place(self.out))
        with out or contextlib.nullcontext() as beside:
            images = load_avatars(self.data, self.size, seeds, self.palette)
            if beside is not None:
                _write_pictures(images, seeds, beside)
        print(f"{len(images):,} avatars of {self.size} pixels. {images.credit}")
        if self.out is not None:
            print(f"written to {self.out}")


@dataclass(frozen=True, kw_only=True)
class Training:
    """What the trainings of all kinds are told beside their choices."""

    out: Path
    """Folder of the run, to be made."""
    resume: bool = False
    """Go on with the run in that folder, by its own choices where none are said here."""
    config: Path | None = None
    """Take all that is not said here from this config.json of another run."""
    dry_run: bool = False
    """Say what the training would take, from a few timed steps, and write nothing."""

    def run(self) -> None:
        """Do it."""
        _train(self)


@dataclass(frozen=True, kw_only=True)
class TrainGAN(Training):
    """Train a GAN. Ctrl-C saves and stops; --resume goes on."""

    choices: OmitArgPrefixes[GANConfig]


@dataclass(frozen=True, kw_only=True)
class TrainVAE(Training):
    """Train a VAE. Ctrl-C saves and stops; --resume goes on."""

    choices: OmitArgPrefixes[VAEConfig]


@dataclass(frozen=True, kw_only=True)
class TrainModernGAN(Training):
    """Train a modern GAN, which can be asked for attributes."""

    choices: OmitArgPrefixes[ModernGANConfig]


@dataclass(frozen=True, kw_only=True)
class TrainModernVAE(Training):
    """Train a modern VAE, which can be asked for attributes."""

    choices: OmitArgPrefixes[ModernVAEConfig]


@dataclass(frozen=True)
class Train:
    """Train a model: gan or vae, as in the article or modern."""

    kind: OmitSubcommandPrefixes[
        Annotated[TrainGAN, subcommand("gan")]
        | Annotated[TrainVAE, subcommand("vae")]
        | Annotated[TrainModernGAN, subcommand("modern-gan")]
        | Annotated[TrainModernVAE, subcommand("modern-vae")]
    ]

    def run(self) -> None:
        """Do it."""
        self.kind.run()


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Draw the first images of a seed as one grid."""

    folder: Positional[Path | None] = None
    """Folder of a run."""
    pretrained: str | None = None
    """Instead of a folder the name of a run that comes with the package, such as gan."""
    out: Path
    """PNG file to write."""
    count: int = 64
    """Number of images."""
    seed: int = 0
    """Seed of the latents."""
    wishes: Annotated[
        UseAppendAction[tuple[str, ...]], arg(name="set", metavar="NAME=VALUE")
    ] = ()
    """An attribute that every image shall show, as in hair_color=pink; may be repeated."""
    overwrite: bool = False
    """Replace the file if it exists."""

    def run(self) -> None:
        """Do it."""
        check_name(self.out, self.overwrite, (".png",))
        if not 1 <= self.count <= MAX_SAMPLES:
            raise ChibiError(f"count is {self.count}: it must be 1 to {MAX_SAMPLES}")
        wish = wish_of(self.wishes)
        if (self.folder is None) == (self.pretrained is None):
            given = "neither" if self.folder is None else "both"
            raise ChibiError(
                f"the folder of a run or --pretrained NAME is needed, not {given}"
            )
        if self.folder is None:
            run = pretrained.open_run(self.pretrained)
        else:
            run = Run.open(self.folder)
        from chibi_lab.studio.pictures import grid, save_picture
        from chibi_lab.training import sample

        sheet = grid(sample(run, self.count, self.seed, wish))
        save_picture(sheet, self.out, self.overwrite)
        print(f"{self.count} images of seed {self.seed} written to {self.out}")


@dataclass(frozen=True)
class Compare:
    """Measure runs side by side and write a report."""

    folders: Positional[tuple[Path, ...]]
    """Folders of two or more runs."""
    out: Path
    """Folder of the report, to be made."""
    count: int = 1000
    """Images in each of five sets to draw from each run, and real images."""
    seed: int = 0
    """Seed of the latents."""
    neutral: bool = False
    """Measure distances in a network's features that knows nothing of avatars, too."""
    data: str | None = None
    """Where the pictures are now, if they were moved since the training."""

    def run(self) -> None:
        """Do it."""
        if len(self.folders) < 2:
            raise ChibiError(
                f"{len(self.folders)} run given: a comparison takes two or more"
            )
        runs = [Run.open(folder) for folder in self.folders]
        from chibi_lab.evaluation import compare

        compare(
            runs,
            self.out,
            count=self.count,
            seed=self.seed,
            neutral=self.neutral,
            data=self.data,
        )
        print(f"report written to {self.out / 'index.html'}")


@dataclass(frozen=True)
class Evaluate:
    """Measure what a run draws with the judge that ships."""

    folder: Positional[Path]
    """Folder of a run."""
    count: int = 2000
    """Images in each of five sets to draw, and real images to compare with."""
    seed: int = 0
    """Seed of the latents."""
    neutral: bool = False
    """Measure distances in a network's features that knows nothing of avatars, too."""
    data: str | None = None
    """Where the pictures are now, if they were moved since the training."""
    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> None:
        """Do it."""
        run = Run.open(self.folder)
        from chibi_lab.evaluation import evaluate
        from chibi_lab.evaluation.table import table

        result = evaluate(run, self.count, self.seed, self.neutral, self.data)
        print(json.dumps(result, indent=2) if self.json else table(result))


@dataclass(frozen=True)
class Export:
    """Copy a run without what only training needs."""

    folder: Positional[Path]
    """Folder of a run."""
    out: Path
    """Folder to make."""

    def run(self) -> None:
        """Do it."""
        run = Run.open(self.folder)
        from chibi_lab.training import export_run

        small = export_run(run, self.out)
        size = sum(
            file.stat().st_size for file in small.path.rglob("*") if file.is_file()
        )
        print(f"{size / 1e6:.1f} MB written to {self.out}")


@dataclass(frozen=True)
class Verify:
    """Say what a picture file tells of where it comes from, and what that is worth."""

    file: Positional[Path]
    """A PNG, WebP, GIF or JPEG file."""
    json: bool = False
    """Print JSON instead of sentences."""

    def run(self) -> None:
        """Do it."""
        read_file(self.file)  # complains of one that is missing
        from chibi_lab.studio.findings import examine

        found = examine(self.file)
        print(json.dumps(found.to_json(), indent=2) if self.json else found.report())


COMMANDS = {
    "render": Render,
    "train": Train,
    "sample": Sample,
    "compare": Compare,
    "evaluate": Evaluate,
    "export": Export,
    "create": Create,
    "edit": Edit,
    "invert": Invert,
    "animate": Animate,
    "studio": OpenStudio,
    "verify": Verify,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The command line after the program's name; by default the process's own.

    Returns:
        Exit code: 0 done, 2 wrong use, unfit data or a machine too small (one line on stderr says
        what), 130 stopped by Ctrl-C, 141 if nobody reads the output.
    """
    _open_streams()
    code, line = 0, ""
    try:
        _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # more would only disturb the end
        code, line = INTERRUPTED, "stopped"
    except BrokenPipeError:  # whoever read has left
        code = BROKEN_PIPE
    except Exception as error:
        code, line = 2, _explained(error)
        if not line:  # a fault of ours
            raise
    return _close_streams(code, line)


def _run(arguments: Sequence[str]) -> None:
    arguments, said = _with_config(arguments), io.StringIO()
    named = arguments[:1] and COMMANDS.get(arguments[0])
    every = [Annotated[kind, subcommand(name)] for name, kind in COMMANDS.items()]
    try:
        with contextlib.redirect_stderr(said):
            command = tyro.cli(
                named or reduce(or_, every),  # one alone is read in half of the time
                prog=f"chibi-lab {arguments[0]}" if named else "chibi-lab",
                description=None if named else DESCRIPTION,
                args=arguments[bool(named) :],
                registry=PATHS,
            )
    except SystemExit as stop:  # tyro's --help (0) or its complaint (2), or a path's
        if stop.code:
            own = stop.code if isinstance(stop.code, str) else ""
            raise ChibiError(own or _one_line(said.getvalue())) from None
        return
    command.run()


def _explained(error: Exception) -> str:
    """What went wrong in one line, if it is for the person who called; "" if it is a fault."""
    kind = type(error).__name__
    # PyTorch says only in words that the processor's memory was not enough.
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and "you tried to allocate" in str(error)
    ):  # fmt: skip
        return (
            "not enough memory: choose a smaller --batch, --channels, --size or --count"
        )
    if isinstance(error, RecursionError):
        return "what was read is nested too deeply"
    if isinstance(error, OSError):
        return f"{error.filename or 'cannot go on'}: {error.strerror or error or kind}"
    return str(error) if isinstance(error, ChibiError) else ""


def _open_streams() -> None:
    """Standard streams that can be written to, whatever they were given."""
    for number in (0, 1, 2):
        try:
            _ = os.write(number, b"") if number else os.fstat(number)
        except OSError as error:
            # What is opened next would get the number of a closed one, and with it what is
            # printed. That no more progress can be shown is no reason to stop.
            if number == 2 or error.errno == errno.EBADF:
                os.dup2(os.open(os.devnull, os.O_RDWR), number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name may be no text


def _close_streams(code: int, line: str) -> int:
    """Say a last line; the exit code, another one where nothing more can be said on stdout."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _silence(sys.stdout)
        if not code and isinstance(error, BrokenPipeError):
            code = BROKEN_PIPE
        elif not code:
            code, line = 2, f"cannot write the output: {error.strerror}"
    rank = f" rank {os.environ['RANK']}:" if "RANK" in os.environ else ""
    text = "".join(c if c.isprintable() else " " for c in line)
    try:
        if line:  # in one piece, since other ranks write too
            sys.stderr.write(f"chibi-lab:{rank} {text}\n")
        sys.stderr.flush()
    except OSError:
        _silence(sys.stderr)
    return code


def _silence(stream: TextIO) -> None:
    """Let Python not try again at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _train(command: TrainGAN | TrainVAE | TrainModernGAN | TrainModernVAE) -> None:
    from chibi_lab import training
    from chibi_lab.training.engine import is_first_rank

    config, out = command.choices, command.out
    loop = getattr(training, f"train_{config.kind.replace('-', '_')}")
    if command.dry_run:
        _rehearse(loop, config)
        return
    run = loop(config, out, resume=command.resume)
    if is_first_rank():
        print(f"{run.images_seen:,} images seen; the run is in {out}")
    if run.images_seen < config.images and config.minutes is None:
        raise KeyboardInterrupt


def _rehearse(loop: Callable[..., Run], config: TrainingConfig) -> None:
    """Print the config, and what a training would take, from a few steps somewhere else."""
    from chibi_lab.data import open_images
    from chibi_lab.training.checkpoint import read_checkpoint, with_prefix
    from chibi_lab.training.engine import is_first_rank

    if is_first_rank():
        for name, value in config.to_json().items():
            print(f"{name:>17}: {value}")
    few = max(config.batch, REHEARSED_IMAGES)
    images = open_images(
        config.data,
        config.size,
        count=min(config.count, few),
        palette=config.palette,
        progress=is_first_rank(),
        width=config.shape[1],
    )
    steps = REHEARSED_STEPS * config.batch
    never = 2 * steps + 1  # no sample grid in the steps that are timed
    every = {"log_every": steps, "sample_every": never, "checkpoint_every": never}
    short = replace(config, images=2 * steps, **every)
    with tempfile.TemporaryDirectory() as folder:
        run = loop(short, Path(folder) / "run", images=images, progress=False)
        if not is_first_rank():
            return
        speed = run.stats()[-1]["images_per_second"]
        size = run.latest().stat().st_size
        tensors = read_checkpoint(run.latest())[0]
    for name in ("generator", "discriminator", "encoder", "decoder"):
        own = with_prefix(tensors, f"{name}.") or with_prefix(tensors, f"vae.{name}.")
        if not own:
            continue
        count = sum(v.numel() for k, v in own.items() if k.endswith(("weight", "bias")))
        print(f"{name:>17}: {count:,} parameters")
    with contextlib.suppress(ImportError):  # Windows does not tell
        import resource

        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        memory *= 1 if sys.platform == "darwin" else 1024
        print(f"{'memory':>17}: {memory / 2**20:.0f} MiB and what the images take")
    print(f"{'a checkpoint':>17}: {size / 1e6:.1f} MB")
    print(f"{'speed':>17}: {speed:.0f} images a second on this machine")
    minutes = config.images / speed / 60
    if config.minutes is not None:
        minutes = min(minutes, config.minutes)
    seen = min(config.images, round(60 * minutes * speed))
    print(f"{'time':>17}: {minutes:.1f} minutes for {seen:,} images seen")
    print("no run was written")


def _with_config(arguments: Sequence[str]) -> list[str]:
    """Put what a saved config says before what the command line says of the same training.

    It is the one that --config names; a run that is resumed has its own.
    """
    arguments = list(arguments)
    if arguments[:1] != ["train"] or arguments[1:2] == []:
        return arguments
    name, out = _value(arguments, "--config"), _value(arguments, "--out")
    if name is not None:
        config, source = read_config(place(name), links=True), f"{name} is the config"
    elif (
        "--resume" in arguments and out and os.path.lexists(place(out) / "config.json")
    ):
        config, source = Run.open(out).config, f"{out} is a run"
    else:
        return arguments
    if config.kind != arguments[1]:
        raise ChibiError(f"{source} of a {config.kind}, not of a {arguments[1]}")
    said = {a.partition("=")[0].removeprefix("--no-") for a in arguments}
    said = {a.removeprefix("--").replace("-", "_") for a in said}
    flags = []
    for field in fields(config):
        value, flag = getattr(config, field.name), field.name.replace("_", "-")
        if field.name in said or value == field.default:
            continue
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            several = isinstance(value, tuple)
            flags += (
                [f"--{flag}", *map(str, value)] if several else [f"--{flag}={value}"]
            )
    return [*arguments[:2], *flags, *arguments[2:]]


def _value(arguments: list[str], flag: str) -> str | None:
    """What a command line says behind a flag; None if it does not."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, given, value = argument.partition("=")
        if name == flag:
            return value if given else following
    return None


def _one_line(box: str) -> str:
    """Title and first paragraph of tyro's complaint, in a frame or between rules of dashes."""
    first, *rows = (row.strip(" │╭╮╰╯") for row in box.splitlines())
    title = first.strip("─ ")
    rows = rows[1:] if rows and not rows[0].strip("-") else rows
    paragraph = " ".join(takewhile(lambda row: row.strip("─-"), rows))
    # A config's own complaint needs no title, nor tyro's name for the place where it was raised.
    own = re.sub(r"^Error parsing __tyro-dummy-inner__\S*: ", "", paragraph)
    return own if own != paragraph or own.startswith(title) else f"{title}: {paragraph}"


def _write_pictures(images: "ImageSet", seeds: range, folder: Path) -> None:
    from PIL import Image

    rows = [["file", *images.schema.names]]
    drawn = zip(seeds, images.images, images.attributes, strict=True)
    for seed, pixels, row in drawn:
        name = f"{seed:010d}.png"
        Image.fromarray(pixels).save(folder / name)
        rows.append([name, *images.schema.decode(row).values()])
    with (folder / "attributes.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    (folder / "CREDIT.txt").write_text(images.credit + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
