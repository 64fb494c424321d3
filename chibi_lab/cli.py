"""The command ``chibi-lab``: one frozen dataclass a command, which tyro turns into flags."""

import contextlib
import csv
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Literal

import tyro
from PIL import Image
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, Positional, subcommand

from chibi_lab.data import ImageSet, load_avatars, open_images, split_seeds
from chibi_lab.errors import ChibiError
from chibi_lab.evaluation import compare
from chibi_lab.studio import grid
from chibi_lab.training import (
    GANConfig,
    Run,
    VAEConfig,
    export_run,
    sample,
    train_gan,
    train_vae,
)

INTERRUPTED = 130  # what a shell expects of a program that Ctrl-C ended


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
        if self.out is not None and self.out.exists():
            if not self.out.is_dir() or any(self.out.iterdir()):
                raise ChibiError(
                    f"{self.out} is in the way: choose a new or an empty folder"
                )
        seeds = split_seeds(self.split, self.count)
        images = load_avatars(self.data, self.size, seeds, self.palette)
        print(f"{len(images):,} avatars of {self.size} pixels. {images.credit}")
        if self.out is not None:
            _write_pictures(images, seeds, self.out)
            print(f"written to {self.out}")


@dataclass(frozen=True, kw_only=True)
class TrainGAN:
    """Train a GAN. Ctrl-C saves and stops; --resume goes on."""

    config: OmitArgPrefixes[GANConfig]
    out: Path
    """Folder of the run, to be made."""
    resume: bool = False
    """Go on with the run in that folder."""

    def run(self) -> None:
        """Do it."""
        _train(train_gan, self.config, self.out, self.resume)


@dataclass(frozen=True, kw_only=True)
class TrainVAE:
    """Train a VAE. Ctrl-C saves and stops; --resume goes on."""

    config: OmitArgPrefixes[VAEConfig]
    out: Path
    """Folder of the run, to be made."""
    resume: bool = False
    """Go on with the run in that folder."""

    def run(self) -> None:
        """Do it."""
        _train(train_vae, self.config, self.out, self.resume)


@dataclass(frozen=True)
class Train:
    """Train a model: gan or vae."""

    kind: OmitSubcommandPrefixes[
        Annotated[TrainGAN, subcommand("gan")] | Annotated[TrainVAE, subcommand("vae")]
    ]

    def run(self) -> None:
        """Do it."""
        self.kind.run()


@dataclass(frozen=True)
class Sample:
    """Draw the first images of a seed as one grid."""

    folder: Positional[Path]
    """Folder of a run."""
    out: Path
    """PNG file to write."""
    count: int = 64
    """Number of images."""
    seed: int = 0
    """Seed of the latents."""

    def run(self) -> None:
        """Do it."""
        _save_png(grid(sample(Run.open(self.folder), self.count, self.seed)), self.out)
        print(f"{self.count} images of seed {self.seed} written to {self.out}")


@dataclass(frozen=True)
class Compare:
    """Measure runs side by side and write a report."""

    folders: Positional[tuple[Path, ...]]
    """Folders of two or more runs."""
    out: Path
    """Folder of the report, to be made."""
    count: int = 1000
    """Images to draw from each run."""
    seed: int = 0
    """Seed of the latents."""

    def run(self) -> None:
        """Do it."""
        if len(self.folders) < 2:
            raise ChibiError(
                f"{len(self.folders)} run given: a comparison takes two or more"
            )
        compare(
            [Run.open(f) for f in self.folders],
            self.out,
            count=self.count,
            seed=self.seed,
        )
        print(f"report written to {self.out / 'index.html'}")


@dataclass(frozen=True)
class Export:
    """Copy a run without what only training needs."""

    folder: Positional[Path]
    """Folder of a run."""
    out: Path
    """Folder to make."""

    def run(self) -> None:
        """Do it."""
        small = export_run(Run.open(self.folder), self.out)
        size = sum(
            file.stat().st_size for file in small.path.rglob("*") if file.is_file()
        )
        print(f"{size / 1e6:.1f} MB written to {self.out}")


Command = (
    Annotated[Render, subcommand("render")]
    | Annotated[Train, subcommand("train")]
    | Annotated[Sample, subcommand("sample")]
    | Annotated[Compare, subcommand("compare")]
    | Annotated[Export, subcommand("export")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The command line after the program's name; by default the process's own.

    Returns:
        Exit code: 0 done, 2 wrong use or unfit data (one line on stderr says what), 130 stopped
        by Ctrl-C.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            command = tyro.cli(
                Command,
                prog="chibi-lab",
                description="Draw chibi avatars, train a GAN or a VAE on them, sample and compare.",
                args=arguments,
            )
        command.run()
    except ChibiError as error:
        print(f"chibi-lab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("chibi-lab: stopped", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as stop:  # tyro's --help (0) or its complaint (2)
        if stop.code:
            print(f"chibi-lab: {_one_line(said.getvalue())}", file=sys.stderr)
        return int(stop.code or 0)
    return 0


def _train(
    loop: Callable[..., Run], config: GANConfig | VAEConfig, out: Path, resume: bool
) -> None:
    # Say what is wrong before an hour of rendering, not after.
    Run.plan(out, config, resume)
    images = open_images(
        config.data, config.size, count=config.count, palette=config.palette
    )
    for skipped in images.manifest.get("skipped", []):
        print(f"left out {skipped['path']}: {skipped['reason']}", file=sys.stderr)
    run = loop(config, out, images=images, resume=resume)
    print(f"{run.images_seen:,} images seen; the run is in {out}")
    if run.images_seen < config.images:
        raise KeyboardInterrupt


def _one_line(box: str) -> str:
    """Title and first paragraph of tyro's complaint, in a frame or between rules of dashes."""
    first, *rows = (row.strip(" │╭╮╰╯") for row in box.splitlines())
    title = first.strip("─ ")
    rows = rows[1:] if rows and not rows[0].strip("-") else rows
    paragraph = " ".join(takewhile(lambda row: row.strip("─-"), rows))
    # A config's own complaint needs no title, nor tyro's name for the place where it was raised.
    own = re.sub(r"^Error parsing __tyro-dummy-inner__\S*: ", "", paragraph)
    return own if own != paragraph or own.startswith(title) else f"{title}: {paragraph}"


def _save_png(picture: Image.Image, out: Path) -> None:
    beside = out.with_name(out.name + ".part")
    try:
        picture.save(beside, format="png")
        beside.replace(out)
    except OSError as error:
        raise ChibiError(f"cannot write {out}: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


def _write_pictures(images: ImageSet, seeds: range, out: Path) -> None:
    beside = out.with_name(out.name + ".part")
    beside.mkdir(parents=True)
    with (beside / "attributes.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", *images.schema.names])
        for seed, pixels, row in zip(
            seeds, images.images, images.attributes, strict=True
        ):
            name = f"{seed:010d}.png"
            Image.fromarray(pixels).save(beside / name)
            table.writerow([name, *images.schema.decode(row).values()])
    (beside / "CREDIT.txt").write_text(images.credit + "\n", encoding="utf-8")
    os.replace(beside, out)


if __name__ == "__main__":
    sys.exit(main())
