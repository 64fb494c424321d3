"""What a training writes to and reads from is made ready, and let go of whatever its end."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from torch import nn
from tqdm.auto import tqdm

from chibi_lab.data import BatchLoader, ImageSet, open_images
from chibi_lab.data.folder import changes
from chibi_lab.data.open import last_place
from chibi_lab.errors import ChibiError
from chibi_lab.training.claim import claimed, write_down
from chibi_lab.training.config import TrainingConfig
from chibi_lab.training.drawing import check_fits
from chibi_lab.training.engine import Engine
from chibi_lab.training.run import Run, say


@contextmanager
def begin(
    engine: Engine,
    config: TrainingConfig,
    out: Path | str,
    images: ImageSet | None,
    resume: bool,
) -> Iterator[tuple[Run, BatchLoader]]:
    """Take the run's folder, and open the images; at the end the folder is let go.

    The first rank goes ahead: the others must not draw the same avatars at the same time, nor take
    the folder that it makes for an older run. None ends before all is written.

    Args:
        engine: Says which rank this is.
        config: The choices of the training.
        out: The run's folder.
        images: Training images; without them ``config.data`` is opened.
        resume: Whether to go on with a run that is there.

    Yields:
        The run, and the batches of this rank.
    """
    own = claimed(out, config, resume) if engine.is_first else None
    # Before all else: what follows takes time in which another training might begin.
    with _memory(config), own or nullcontext(Run(out, config)) as run:
        if not engine.is_first:
            engine.wait()
        if run.checkpoints():
            check_fits(run, run.latest())
        yield run, _open(engine, run, images)
        engine.wait()


def _open(engine: Engine, run: Run, images: ImageSet | None) -> BatchLoader:
    config, first = run.config, engine.is_first
    if images is None:
        before = run.data()
        images = open_images(
            last_place(config.data, before),
            config.size,
            count=config.count,
            palette=config.palette,
            progress=first,
            width=config.shape[1],
        )
        if first:
            for skipped in images.manifest.get("skipped", []):
                say(f"left out {skipped['path']}: {skipped['reason']}")
            if changed := changes(before, images.manifest):
                say(changed)
    config.check_images((images.size, images.width), images.schema)
    share = engine.rank, engine.ranks
    loader = BatchLoader(images, config.batch, config.seed, engine.device, share)
    if first:
        known = {} if images.schema is None else {"schema": images.schema.to_json()}
        write_down(run, {**images.manifest, **known, "data": config.data})
        engine.wait()
    return loader


@contextmanager
def _memory(config: TrainingConfig) -> Iterator[None]:
    """Say in one line that memory was short, for which PyTorch has a type on a GPU only."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        told = ("out of memory", "allocate memory", "ALLOC_FAILED", "overflowed")
        short = isinstance(error, MemoryError) or any(t in str(error) for t in told)
        if not short:
            raise
        height, width = config.shape
        raise ChibiError(
            f"out of memory: train with less of --batch (now {config.batch}), --channels "
            f"({config.channels}) or --size ({height} x {width} pixels)"
        ) from error


def compile_networks(*networks: nn.Module) -> None:
    """Have networks compiled when they are first used; without a C++ compiler say so in a line."""
    compilers = (os.environ.get("CXX", "c++"), "g++", "clang++")
    if not any(map(shutil.which, compilers)):
        tqdm.write("no C++ compiler was found: the training goes on without --compile")
        return
    for network in networks:
        network.compile()
