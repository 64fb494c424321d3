"""The progress bar of a training, whose reader may leave (``2>&1 | head``, a closed window)."""

import sys
from typing import Any, TextIO

from tqdm.auto import tqdm


class Listener:
    """A text stream that raises nothing when it cannot be written to; ``left`` tells of it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.left = stream, False

    def write(self, text: str) -> None:
        """Write, if somebody reads."""
        self._try(self.stream.write, text)

    def flush(self) -> None:
        """Flush, if somebody reads."""
        self._try(self.stream.flush)

    def _try(self, act: Any, *arguments: str) -> None:
        # Within tqdm an error would leave its lock taken for ever.
        try:
            if not self.left:
                act(*arguments)
        except OSError as error:
            self.left = isinstance(error, BrokenPipeError)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def __eq__(self, other: object) -> bool:
        return other in (self.stream, getattr(other, "stream", None))

    __hash__ = object.__hash__


def open_bar(kind: str, images: int, seen: int, shown: bool) -> tuple[tqdm, Listener]:
    """A bar that counts images, and what tells whether anybody looks at it."""
    listener = Listener(sys.stderr)
    # No `disable=None`: an explicit value would overrule TQDM_DISABLE.
    hidden = {} if shown else {"disable": True}
    bar = tqdm(
        total=images, initial=seen, unit="img", unit_scale=True,
        desc=f"training {kind}", file=listener, **hidden,
    )  # fmt: skip
    return bar, listener
