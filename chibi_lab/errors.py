"""The one error of this package that is meant for the person who uses it."""

from __future__ import annotations


class ChibiError(ValueError):
    """Input that cannot be used.

    Its message is one line for a person: what was wrong, and what would be right. The command
    line prints that line and ends with exit code 2; a traceback is kept for errors of ours.
    """
