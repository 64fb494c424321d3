"""Draw many avatars with several processes.

Processes, not threads, since resvg holds the interpreter lock while it draws.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
from tqdm.auto import tqdm

from chibi_lab.data.layers import render_avatars
from chibi_lab.data.styles import drawing
from chibi_lab.errors import ChibiError

# Pixels that a worker draws at a time, well under a second: 97 avatars at 64 px.
_BLOCK = 400_000
# Forked processes start at once, with the style already loaded. macOS allows only spawned ones,
# which import the package, and the program that runs, afresh.
_START_METHOD = "fork" if sys.platform == "linux" else "spawn"
_DRAWING = "CHIBI_LAB_DRAWING"


def draw_blocks(
    style: str, seeds: range, size: int, palette: str, workers: int | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw the avatars of a range of seeds, block by block, in the order of the seeds.

    Args:
        style: A style of DiceBear.
        seeds: One avatar each.
        size: Height and width in pixels.
        palette: "pastel" or "original".
        workers: Processes that draw; by default one for each core, or none beside this one where
            there is little to draw.

    Yields:
        Images, uint8 (n, size, size, 3), and attributes, int64 (n, A), of the next n seeds.

    Raises:
        ChibiError: If a process dies.
    """
    length = max(1, _BLOCK // size**2)
    parts = [seeds[i : i + length] for i in range(0, len(seeds), length)]
    draw = functools.partial(render_avatars, style, size=size, palette=palette)
    # A few parts are drawn sooner than other processes start.
    workers = min(workers or min(_cores(), 1 + len(parts) // 2), len(parts))
    with contextlib.ExitStack() as stack:
        blocks = map(draw, parts)
        if workers > 1:
            # Forked processes share it; the manifest will ask for it, too.
            drawing(style)
            try:
                blocks = stack.enter_context(_processes(workers)).map(draw, parts)
            except (OSError, ImportError, NotImplementedError) as error:
                # A container without /dev/shm, or one that allows no more processes.
                tqdm.write(f"drawing with one process: {error}", file=sys.stderr)
        try:
            yield from blocks
        except BrokenProcessPool:
            raise ChibiError(
                "a process that drew avatars died: is the memory full, or is load_avatars called "
                "outside `if __name__ == '__main__':`? workers=1 draws without other processes"
            ) from None


@contextlib.contextmanager
def _processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that draw, and end with this one."""
    context = multiprocessing.get_context(_START_METHOD)
    executor = ProcessPoolExecutor(count, context, _begin_worker)
    os.environ[_DRAWING] = str(os.getpid())
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)
        os.environ.pop(_DRAWING, None)


def refuse_inside_worker() -> None:
    """Stop a worker that would draw what it was started to help with, and wait for ever.

    A spawned process imports the program that started it; without the usual guard, that program
    asks for its avatars once more.

    Raises:
        ChibiError: If this process was started by one that is drawing.
    """
    if os.environ.get(_DRAWING, str(os.getpid())) != str(os.getpid()):
        raise ChibiError(
            "load_avatars was called again while its own worker started: in a program, "
            "put the call under `if __name__ == '__main__':`"
        )


def _begin_worker() -> None:
    """Ctrl-C reaches every process of a terminal: a worker ends at once, without a traceback.

    And however the process that started it ends, it ends too: else it would wait for ever, and
    hold the locks that a forked process inherits.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
