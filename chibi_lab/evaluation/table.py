"""The figures of a run in words, for a terminal and for a page."""

from typing import Any

READINGS = ("covered", "effective", "distance")  # figures of an attribute


def table(result: dict[str, Any]) -> str:
    """The result of :func:`evaluate` as lines to read."""
    lines = [
        f"{result['run']}: a {result['kind']} after {result['images_seen']:,} images seen, "
        f"{result['sets']} sets of {result['count']:,} from seed {result['seed']} "
        f"against {result['held_out']:,} real images",
        f"{'':>20} {'mean':>9} {'lowest and highest set':>24} {'real images':>33}",
    ]
    for title, figure, best, interval in figure_rows(result):
        lines.append(
            f"{title:>20} {number(figure and figure['value']):>9} {between(figure):>24} "
            f"{'' if best is None else f'{best:.3f}':>12} "
            f"{between(interval) if interval else '':>20}".rstrip()
        )
    asked = "read_back" in result["figures"]
    if result["attributes"]:
        lines.append(
            f"{'':>20} {'values':>9} "
            + " ".join(f"{name:>24}" for name in READINGS)
            + f"{'real images':>13}"
            + (f"{'read back':>11}" if asked else "")
        )
    for name, row in (result["attributes"] or {}).items():
        lines.append(
            f"{name:>20} {row['values']:>9} "
            + " ".join(f"{reading(row, key):>24}" for key in READINGS)
            + f"{row['real']['distance']:>13.3f}"
            + (f"{number(row['read_back']):>11}" if asked else "")
        )
    lines += (f"note: {note}" for note in result["notes"])
    return "\n".join(lines)


def figure_rows(
    result: dict[str, Any],
) -> list[tuple[str, dict | None, float | None, dict | None]]:
    """All figures of a result: title, figure, that of real images, and its interval."""
    rows = [
        (name.replace("_", " "), figure, result["real"].get(name),
         result["real_interval"].get(name))
        for name, figure in result["figures"].items()
    ]  # fmt: skip
    part = result["neutral"] or {"figures": {}}
    for name, figure in part["figures"].items():
        best, interval = part["real"][name], part["real_interval"][name]
        rows.append((f"neutral {name}", figure, best, interval))
    return rows


def number(value: float | None) -> str:
    """A figure in words; "–" for one that images were too few for."""
    return "–" if value is None else f"{value:.3f}"


def between(interval: dict[str, float] | None) -> str:
    """An interval in words."""
    if interval is None or None in interval.values():
        return "–"
    return f"{interval['low']:.3f} to {interval['high']:.3f}"


def reading(row: dict[str, Any], key: str) -> str:
    """One of the figures of an attribute in words, with its interval."""
    return f"{row[key]:.3g} ({row['low'][key]:.3g} to {row['high'][key]:.3g})"
