"""The search for a person's own picture, in a thread, so that it can be watched and stopped."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from chibi_lab.errors import ChibiError
from chibi_lab.studio.painter import Approach
from chibi_lab.studio.session import Candidate, Session

STEPS = 100  # of each painter


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Attributes:
        candidates: The nearest that each painter draws; those who have begun.
        errors: Their mean squared errors, by the name of the painter.
        done: Share of the work that is done, 0 to 1.
        problem: Why the search could not go on.
    """

    candidates: tuple[Candidate, ...] = ()
    errors: tuple[tuple[str, float], ...] = ()
    done: float = 0.0
    problem: str | None = None


class Search:
    """All painters of a session look, one after the other, for what comes near to a picture.

    Args:
        session: The session; nothing is put on its table.
        image: (3, H, W) in [-1, 1].
        tell: Called, in the thread, with what was found so far after each step.
        end: Called, in the thread, with what was found in the end.
        steps: Steps of each painter.
    """

    def __init__(
        self,
        session: Session,
        image: Tensor,
        tell: Callable[[Found], None],
        end: Callable[[Found], None],
        steps: int = STEPS,
    ) -> None:
        self._session, self._image, self._steps = session, image, steps
        self._tell, self._end = tell, end
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End soon, with what was found by then; each painter has at least its first guess."""
        self._stopped.set()

    def wait(self) -> None:
        """Wait until it has ended."""
        self._thread.join()

    def _run(self) -> None:
        nearest: dict[str, Approach] = {}
        problem = None
        try:
            for name in self._session.painters:
                for approach in self._session.approach(name, self._image, self._steps):
                    nearest[name] = approach
                    self._tell(self._found(nearest))
                    if self._stopped.is_set():
                        break
        except ChibiError as error:
            problem = str(error)
        self._end(self._found(nearest, problem))

    def _found(self, nearest: dict[str, Approach], problem: str | None = None) -> Found:
        steps = sum(approach.step for approach in nearest.values())
        return Found(
            tuple(
                Candidate(name, near.recipe, near.image, steps=("from a picture",))
                for name, near in nearest.items()
            ),
            tuple((name, near.error) for name, near in nearest.items()),
            steps / (self._steps * len(self._session.painters)),
            problem,
        )
