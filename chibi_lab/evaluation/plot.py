"""One kind of plot, drawn as SVG, so that it follows the light or dark theme of its page."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 62, 150, 12, 46
SYMBOLS = "●■▲◆▼★"  # as well as colours, which not everybody can tell apart

Place = Callable[[float, float], tuple[float, float]]  # where a value stands


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes:
        x: How far the training was, at least 0.
        y: The figure.
        low: The lower end of its interval.
        high: The upper end.
    """

    x: float
    y: float
    low: float
    high: float


def plot(
    lines: Sequence[tuple[str, Sequence[Point]]],
    across: str,
    up: str,
    floor: float,
) -> str:
    """Lines with intervals over a linear axis, on a logarithmic one.

    Colours are the classes ``line0`` to ``line5`` of the page.

    Args:
        lines: Names, and points in order.
        across: What is on the horizontal axis.
        up: What is on the vertical axis.
        floor: Where the vertical axis begins, above 0; what is lower is drawn there.

    Returns:
        An ``svg`` element.
    """
    points = [point for _, own in lines for point in own]
    end = max((point.x for point in points), default=0) or 1
    top = max((point.high for point in points), default=floor)
    decades = max(1, math.ceil(math.log10(max(top, floor) / floor)))

    def place(x: float, y: float) -> tuple[float, float]:
        over = math.log10(max(y, floor) / floor) / decades
        return (
            LEFT + (WIDTH - LEFT - RIGHT) * x / end,
            HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * over,
        )

    parts = [_axes(place, end, floor, decades, across, up)]
    for number, (name, own) in enumerate(lines):
        parts.append(_line(place, number % len(SYMBOLS), own))
        y = TOP + 16 + 22 * number
        parts.append(
            f'<text class="line{number % len(SYMBOLS)}" x="{WIDTH - RIGHT + 18}" y="{y}">'
            f"{SYMBOLS[number % len(SYMBOLS)]} {escape(name[:16])}</text>"
        )
    described = escape(f"{up} against {across}, a line a run")
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{described}">'
        + "".join(parts)
        + "</svg>"
    )


def _axes(
    place: Place, end: float, floor: float, decades: int, across: str, up: str
) -> str:
    parts = []
    for decade in range(decades + 1):
        value = floor * 10**decade
        x, y = place(0, value)
        parts.append(
            f'<path class="rule" d="M{x:.1f} {y:.1f}H{WIDTH - RIGHT}"/>'
            f'<text x="{x - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    step = _round_step(end / 4)
    for index in range(int(end / step + 1e-9) + 1):
        x, y = place(index * step, floor)
        label = f"{index * step:,.10g}"
        parts.append(
            f'<path class="rule" d="M{x:.1f} {y:.1f}v5"/>'
            f'<text x="{x:.1f}" y="{y + 19:.1f}" text-anchor="middle">{label}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(across)}</text>'
        f'<text transform="translate(14 {HEIGHT / 2 - 16}) rotate(-90)" '
        f'text-anchor="middle">{escape(up)}</text>'
    )
    return "".join(parts)


def _line(place: Place, number: int, points: Sequence[Point]) -> str:
    spots = [place(point.x, point.y) for point in points]
    bars = "".join(
        "M{:.1f} {:.1f}V{:.1f}".format(
            *place(point.x, point.low), place(point.x, point.high)[1]
        )
        for point in points
    )
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in spots) if spots else ""
    symbols = "".join(
        f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{SYMBOLS[number]}</text>'
        for x, y in spots
    )
    return (
        f'<g class="line{number}"><path class="bars" d="{bars}"/><path d="{path}"/>'
        f"{symbols}</g>"
    )


def _round_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is no smaller."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * times for times in (1, 2, 5, 10) if power * times >= least)
