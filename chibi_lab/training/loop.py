"""What surrounds a training step: counting, logging, samples, checkpoints, Ctrl-C, resume.

The trainings (``gan.py``, ``vae.py`` and the modern ones) hold the steps themselves.
"""

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Annotated, Any

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn
from tqdm.auto import tqdm

from chibi_lab.data import BatchLoader
from chibi_lab.errors import ChibiError
from chibi_lab.files import explained, write, writing
from chibi_lab.reading import STRICT, checked, naming
from chibi_lab.training.checkpoint import (
    Part,
    read_checkpoint,
    restore,
    tensors_of,
    with_prefix,
    write_checkpoint,
)
from chibi_lab.training.drawing import draw, latents
from chibi_lab.training.engine import Engine
from chibi_lab.training.film import write_timelapse
from chibi_lab.training.progress import open_bar
from chibi_lab.training.run import Run

KEPT_CHECKPOINTS = 2
ASK_EVERY = 16  # steps after which several ranks ask one another whether to stop
SAMPLE_COUNT = 32  # latents of the fixed grid
SAMPLE_SEED = 0
# A window that is closed and a connection that is lost send SIGHUP, a cluster SIGTERM.
SIGNALS = [getattr(signal, n, None) for n in ("SIGINT", "SIGTERM", "SIGHUP")]


class TrainingDivergedError(ChibiError):
    """A loss or a weight is no longer a finite number."""


class Best(BaseModel):
    """The checkpoint with the lowest mean of the figure that judges."""

    model_config = STRICT

    images_seen: Annotated[int, Field(ge=0)]
    figure: float


class Progress(BaseModel):
    """How far a training is: what its checkpoint holds beside the tensors."""

    model_config = STRICT

    images_seen: Annotated[int, Field(ge=0, le=10**13)]
    seconds: Annotated[float, Field(ge=0)]
    """Of training, over all its resumed stretches."""
    loader: dict[str, Annotated[int, Field(ge=0, lt=2**63)]]
    best: Best | None = None


def seeded(
    seed: int, build: Callable[[], nn.Module], device: torch.device
) -> nn.Module:
    """Build a network whose first weights come from a seed, laid out for fast convolutions.

    Args:
        seed: Seed of the weights; torch's global generator is left as it was.
        build: Makes the network, on the processor: its weights are the same on any device.
        device: Where it is to go.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().to(device, memory_format=torch.channels_last)


def open_board(folder: Path) -> Any:
    """A writer for TensorBoard, which is no dependency of this package.

    Raises:
        ChibiError: If TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ChibiError(
            "TensorBoard is not installed: pip install tensorboard, or leave --tensorboard out"
        ) from error
    return SummaryWriter(folder / "tensorboard")


class Loop(AbstractContextManager):
    """Runs the steps of a training and keeps its run folder.

    Used as ``with Loop(...) as loop: for real in loop: ...; loop.log(...)``. Each turn gives a
    batch. Ctrl-C, a signal to end, or a reader of the progress that leaves ends the loop after the
    step under way, with a checkpoint; a second Ctrl-C interrupts at once. Several ranks end
    together, up to 16 steps later, and the first one writes.

    Args:
        engine: What it has to agree on with other ranks.
        run: Where to write.
        loader: Gives the batches.
        parts: All that has state, by name: networks, optimisers, random generators.
        drawer: The network that draws the sample grid.
        resume: Whether to go on from the newest checkpoint, if there is one.
        progress: Whether to show a progress bar.
        judged_by: The logged figure whose lowest mean makes the best checkpoint, which is kept
            beside the newest ones. None where no loss tells how good a model is, as in a GAN.

    Attributes:
        images_seen: Training images that went through the step so far.
    """

    def __init__(
        self,
        engine: Engine,
        run: Run,
        loader: BatchLoader,
        parts: Mapping[str, Part],
        drawer: nn.Module,
        *,
        resume: bool,
        progress: bool,
        judged_by: str | None = None,
    ) -> None:
        self.engine, self.run, self.loader = engine, run, loader
        self.parts, self.drawer = parts, drawer
        self.images_seen = 0
        self._seconds = 0.0  # of training, over all its resumed stretches
        self._sums: dict[str, Tensor] = {}
        self._steps = 0
        self._stopped = False
        # The mean since the last checkpoint of the figure that says which checkpoint is best.
        self._judged_by, self._judged = judged_by, (0.0, 0)
        self._best: Best | None = None
        if resume:
            self._restore()
        self._logged, self._logged_seconds = self.images_seen, self._seconds
        self._began = self._sampled = self._saved = self.images_seen
        self._show_progress = progress and engine.is_first
        board = run.config.tensorboard and engine.is_first
        self._board = open_board(run.path) if board else None

    def __enter__(self) -> "Loop":
        """Take over Ctrl-C and start the clock."""
        self._previous_handlers = {}
        if threading.current_thread() is threading.main_thread():
            for number in filter(None, SIGNALS):
                # Under nohup a lost connection is to be ignored.
                ignored = signal.getsignal(number) is signal.SIG_IGN
                if number == signal.SIGINT or not ignored:
                    self._previous_handlers[number] = signal.signal(number, self._stop)
        config = self.run.config
        self._bar, self._listener = open_bar(
            config.kind, config.images, self.images_seen, self._show_progress
        )
        self._entered = time.perf_counter()
        self._started = self._entered - self._seconds
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Save what was reached and give Ctrl-C back. After an error nothing is saved."""
        try:
            if kind is None and self.images_seen > self._began:
                self._flush()
                if self.images_seen > self._sampled:
                    self._sample()
                if self.images_seen > self._saved:
                    self._save()
                if self.engine.is_first:
                    with self._writing():
                        write_timelapse(self.run)
        finally:
            if self._board is not None:
                self._board.close()
            self._bar.close()
            self._give_back_signals()
        if error is not None and self.engine.is_loss_of_rank(error):
            raise ChibiError(
                f"another rank was lost at {self.images_seen:,} images seen; {self._last_good()}"
            ) from error
        if self._stopped and self.engine.is_first:
            tqdm.write(
                f"stopped at {self.images_seen:,} images seen, saved in {self.run.path}"
            )

    def __iter__(self) -> Iterator[Tensor]:
        """Batches until enough images were seen, (batch, 3, size, size) in [-1, 1]."""
        config = self.run.config
        if self.images_seen == 0:
            self._sample()
        while self.images_seen < config.images and not self._must_stop():
            before = self.images_seen
            yield next(self.loader).contiguous(memory_format=torch.channels_last)
            self.images_seen += config.batch
            self._bar.update(config.batch)
            if self._passed(before, config.log_every):
                self._flush()
            if self._passed(before, config.sample_every):
                self._sample()
            if self._passed(before, config.checkpoint_every):
                self._flush()
                self._save()

    def log(self, **values: Tensor) -> None:
        """Add a step's figures to the next row. They stay tensors: reading one would wait for it.

        Args:
            values: Scalars by name.
        """
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach().double()
        self._steps += 1

    @property
    def step(self) -> int:
        """Steps that are behind, also those before a resume."""
        return self.images_seen // self.run.config.batch

    def _must_stop(self) -> bool:
        minutes = self.run.config.minutes or math.inf
        late = time.perf_counter() - self._entered >= 60 * minutes
        late = late and self.images_seen > self._began  # each stretch brings it on
        # Ranks must stop after the same step. To ask each time would cost a wait a step.
        if self.engine.ranks > 1 and self.step % ASK_EVERY:
            return False
        self._stopped |= self._listener.left
        return self.engine.any(self._stopped or late)

    def _passed(self, before: int, every: int) -> bool:
        return before // every != self.images_seen // every

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopped = True
        # A window that is closed sends more than one; torchrun passes on what each rank has had.
        if self.engine.ranks == 1 and number in (signal.SIGINT, signal.SIGTERM):
            self._give_back_signals()

    def _give_back_signals(self) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def _flush(self) -> None:
        """Append the means since the last row to stats.jsonl."""
        if not self._steps:
            return
        sums = self.engine.mean(torch.stack(list(self._sums.values()))) / self._steps
        means = dict(zip(self._sums, sums.tolist(), strict=True))
        count, self._sums, self._steps = self._steps, {}, 0
        broken = [name for name, mean in means.items() if not math.isfinite(mean)]
        if broken:
            self._diverged(f"{broken[0]} is {means[broken[0]]}")
        self._check_finite(self._tensors())  # what a gradient that is not finite leaves
        if self._judged_by is not None:
            total, steps = self._judged
            self._judged = total + means[self._judged_by] * count, steps + count
        self._seconds = time.perf_counter() - self._started
        speed = (self.images_seen - self._logged) / (
            self._seconds - self._logged_seconds
        )
        row = {"images_seen": self.images_seen, "seconds": round(self._seconds, 3)}
        row |= {"images_per_second": round(speed, 1)}
        row |= {name: float(f"{mean:.6g}") for name, mean in means.items()}
        if self.engine.is_first:
            file = self.run.path / "stats.jsonl"
            with self._writing(), explained(f"cannot write {file}"):
                with file.open("a", encoding="utf-8") as rows:
                    rows.write(json.dumps(row) + "\n")
        if self._board is not None:
            for name, mean in means.items():
                self._board.add_scalar(name, mean, self.images_seen)
        self._bar.set_postfix(
            {name: f"{mean:.3g}" for name, mean in means.items()}, refresh=False
        )
        self._logged, self._logged_seconds = self.images_seen, self._seconds

    def _sample(self) -> None:
        self._sampled = self.images_seen
        if not self.engine.is_first:
            return
        # Here, since it takes a second, and whoever only draws from a run should not wait for it.
        from torchvision.utils import save_image

        path = self.run.path / "samples" / f"{self.images_seen:09d}.png"
        z = latents(SAMPLE_COUNT, self.run.config.latent_dim, SAMPLE_SEED)
        images = (draw(self.drawer, z) + 1) / 2
        with self._writing(), writing(path) as file:
            save_image(images, file, format="png", nrow=8, pad_value=1.0)

    def _tensors(self) -> dict[str, Tensor]:
        """All state, by name."""
        return {
            f"{name}.{key}": value
            for name, part in self.parts.items()
            for key, value in tensors_of(part).items()
        }

    def _check_finite(self, tensors: Mapping[str, Tensor]) -> None:
        for key, value in tensors.items():
            if not value.isfinite().all():
                self._diverged(f"{key} is not finite")

    def _save(self) -> None:
        tensors = self._tensors()
        self._check_finite(tensors)
        if self._judged[1]:
            figure = self._judged[0] / self._judged[1]
            self._judged = (0.0, 0)
            if self._best is None or figure < self._best.figure:
                self._best = Best(images_seen=self.images_seen, figure=figure)
        progress = Progress(
            images_seen=self.images_seen,
            seconds=self._seconds,
            loader=self.loader.state_dict(),
            best=self._best,
        )
        self._saved = self.images_seen
        if not self.engine.is_first:
            return
        path = self.run.path / "checkpoints" / f"{self.images_seen:09d}.safetensors"
        with self._writing():
            write_checkpoint(path, tensors, progress.model_dump())
        for old in self.run.checkpoints()[:-KEPT_CHECKPOINTS]:
            if self._best is None or int(old.stem) != self._best.images_seen:
                old.unlink()

    def _restore(self) -> None:
        if self.run.checkpoints():
            latest = self.run.latest()
            tensors, known = read_checkpoint(latest)
            with naming(latest), checked():
                progress = Progress.model_validate(known)
                for name, part in self.parts.items():
                    restore(part, with_prefix(tensors, f"{name}."))
                self.loader.load_state_dict(progress.loader)
            self.images_seen, self._seconds = progress.images_seen, progress.seconds
            self._best = progress.best
        if self.engine.any(
            self.engine.mean_number(self.images_seen) != self.images_seen
        ):
            raise ChibiError(
                f"the ranks find different checkpoints in {self.run.path}: it must lie on a file "
                f"system that all machines share"
            )
        if self.engine.is_first:
            with self._writing():
                self._forget_later()

    def _forget_later(self) -> None:
        """Put away what lies after the checkpoint: those steps will be taken again."""
        for path in self.run.checkpoints():
            if int(path.stem) > self.images_seen:  # damaged, or it would be the newest
                path.rename(path.with_suffix(".damaged"))
        rows = [r for r in self.run.stats() if r["images_seen"] <= self.images_seen]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write(self.run.path / "stats.jsonl", text)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Add to what could not be written what is still good."""
        try:
            with explained(f"cannot write {self.run.path}"):
                yield
        except ChibiError as error:
            raise ChibiError(f"{error}; {self._last_good()}") from error

    def _last_good(self) -> str:
        checkpoints = self.run.checkpoints()
        if not checkpoints:
            return "there is no checkpoint yet"
        return f"the last good checkpoint is {checkpoints[-1]}"

    def _diverged(self, what: str) -> None:
        raise TrainingDivergedError(
            f"training stopped: {what} between {self._logged:,} and {self.images_seen:,} images "
            f"seen; {self._last_good()}"
        )
