"""An avatar without its background: cut along the flat colour that it stands on."""

import numpy as np
import torch
from torch import Tensor

from chibi_lab.data import to_uint8
from chibi_lab.errors import ChibiError

# All colours here are levels, 0 to 255, and distances are Euclidean in RGB.
NEAR = 30.0  # what a network's noise may be away from the background's colour
VERY_NEAR = (
    10.0  # what the pixels of a hole may be; porcelain skin is 15 from a cream ground
)
FLAT = 0.35  # share of the border that the background takes at least
HOLE = 3  # side of the smallest hole that is seen, at 64 pixels
LINE = 10.0  # how well outline on background has to explain a thin line
NATIVE = 64  # pixels a side; in larger pictures holes and edges are wider
NEIGHBOURS = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0))


def cut_out(images: Tensor) -> Tensor:
    r"""Cut pictures out of the flat background that they stand on.

    The background's colour is the one that most of the border has. Background is what has this
    colour and hangs together with the border. So white eyes stay, whatever the background, and so
    do skin and hair of nearly its colour behind an outline. A hole, such as a loop of hair, is
    background if it is large enough to hold 3 × 3 pixels of the very colour.

    At the edge, a pixel is a mixture of the background B, of the drawing's darkest colour K (its
    outline), and of the colour C that lies farther in:

    .. math:: I = (1 - k - c) B + k K + c C, \qquad k, c \ge 0, \quad k + c \le 1.

    Its alpha is k + c, and its colour is what is left without the background, so that no pastel
    fringe stays on a dark ground. Of the colours farther in that a pixel may mix with, the one
    that explains it best is taken.

    Args:
        images: Pictures on a flat background, which may be a little noisy, (N, 3, H, W) in
            [-1, 1], of at least 8 x 8 pixels.

    Returns:
        (N, 4, H, W): red, green and blue in [-1, 1], not multiplied by alpha, and -1 where
        nothing is; then alpha in [0, 1].

    Raises:
        ChibiError: If a picture has no flat background, is background all over, or is too small.
    """
    cut = []
    for number, pixels in enumerate(to_uint8(images)):
        if min(pixels.shape[:2]) < 8:
            raise ChibiError(
                f"a picture of {pixels.shape[1]} x {pixels.shape[0]} pixels cannot be cut out: "
                "at least 8 x 8 are needed"
            )
        cut.append(_cut(pixels.astype(np.float32), number))
    if not cut:
        raise ChibiError("there is no picture to cut out")
    return torch.from_numpy(np.stack(cut))


def _cut(pixels: np.ndarray, number: int) -> np.ndarray:
    """One picture, levels (H, W, 3), as float32 (4, H, W); `number` is for the error."""
    ground = _find_ground(pixels, number)
    outside = _outside(pixels, ground)
    if outside.all():
        raise ChibiError(f"picture {number + 1} is background all over: nothing stays")
    alpha, colours = _unmix(pixels, outside, ground)
    colours = np.where(alpha[..., None] > 0, colours / 127.5 - 1, -1)
    cut = np.concatenate([colours, alpha[..., None]], axis=2)
    return cut.transpose(2, 0, 1).astype(np.float32)


def _find_ground(pixels: np.ndarray, number: int) -> np.ndarray:
    """The colour that most of the border has, (3,)."""
    rows = np.concatenate([pixels[:2], pixels[-2:]]).reshape(-1, 3)
    columns = np.concatenate([pixels[2:-2, :2], pixels[2:-2, -2:]], axis=1)
    border = np.concatenate([rows, columns.reshape(-1, 3)])
    # Some hundred pixels, evenly taken, tell as much as all of them.
    some = border[:: max(1, len(border) // 512)]
    alike = np.linalg.norm(some[:, None] - some, axis=2) < NEAR
    colour = np.median(some[alike[alike.sum(1).argmax()]], axis=0)
    share = np.mean(np.linalg.norm(border - colour, axis=1) < NEAR)
    if share < FLAT:
        raise ChibiError(
            f"picture {number + 1} has no flat background to cut along: {share:.0%} of its "
            f"border are of one colour, at least {FLAT:.0%} are needed"
        )
    return colour


def _outside(pixels: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """What is background, bool (H, W)."""
    away = np.linalg.norm(pixels - ground, axis=2)
    near = away < NEAR
    border = np.ones_like(near)
    border[1:-1, 1:-1] = False
    side = HOLE * max(1, min(near.shape) // NATIVE)
    outside = _flood(near, border | _blocks(away < VERY_NEAR, side))
    # Noise leaves specks in the background. A part of the drawing is clearly of another colour.
    outside = ~_flood(~outside, away > 2 * NEAR)
    # Enlarging leaves light spots beside dark lines, which no drawing has outside of its outline.
    lighter = pixels.sum(2) > ground.sum()
    for _ in range(2 * (max(1, min(near.shape) // NATIVE) - 1)):
        outside |= lighter & (_depth(outside, 2) == 1)
    return outside


def _blocks(mask: np.ndarray, side: int) -> np.ndarray:
    """The upper left corners of all squares of a side that lie within the mask."""
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    sums[1:, 1:] = mask.cumsum(0).cumsum(1)
    full = (
        sums[side:, side:]
        - sums[:-side, side:]
        - sums[side:, :-side]
        + sums[:-side, :-side]
    ) == side * side
    corners = np.zeros_like(mask)
    corners[: full.shape[0], : full.shape[1]] = full
    return corners


def _flood(mask: np.ndarray, start: np.ndarray) -> np.ndarray:
    """What of a mask hangs together, over the sides of pixels, with where the flood starts.

    It runs along whole rows, then whole columns, and again until nothing changes.
    """
    filled = mask & start
    while True:
        before = filled.sum()
        filled = _run_along(mask, filled)
        filled = _run_along(mask.T, filled.T).T
        if filled.sum() == before:
            return filled


def _run_along(mask: np.ndarray, filled: np.ndarray) -> np.ndarray:
    """Fill each stretch of a row of the mask in which something is filled."""
    # Every pixel that is not of the mask begins a stretch, and so does every row.
    starts = ~mask
    starts[:, 0] = True
    stretch = starts.ravel().cumsum() - 1
    # Such a pixel is counted with the stretch behind it; it is never filled itself.
    wet = np.bincount(stretch, weights=filled.ravel()) > 0
    return wet[stretch].reshape(mask.shape) & mask


def _unmix(
    pixels: np.ndarray, outside: np.ndarray, ground: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Alpha (H, W) in [0, 1], and levels (H, W, 3) without the background."""
    width = max(1, min(outside.shape) // NATIVE // 2)
    depth = _depth(outside, width + 1)
    alpha = (~outside).astype(np.float32)
    colours, inner = pixels.copy(), pixels.copy()
    darkest = _darkest(pixels[~outside])
    height, breadth = outside.shape
    for level in range(width, 0, -1):
        rows, columns = np.nonzero(depth == level)
        best = np.full(len(rows), np.inf, np.float32)
        for down, right in NEIGHBOURS:
            y = np.clip(rows + down, 0, height - 1)
            x = np.clip(columns + right, 0, breadth - 1)
            deeper = depth[y, x] > level
            candidate = inner[y, x]
            share, colour, error = _mixture(
                pixels[rows, columns], ground, darkest, candidate
            )
            better = deeper & (error < best)
            best[better] = error[better]
            at = rows[better], columns[better]
            alpha[at], colours[at] = share[better], colour[better]
            inner[at] = candidate[better]
        # A tip, or a line too thin to have an inside: outline on the background, if that explains
        # it. Otherwise it counts the more, the farther it is from the background's colour, since
        # noise beside an edge looks like a tip too.
        tip = np.isinf(best)
        at = rows[tip], columns[tip]
        share, colour, error = _mixture(pixels[at], ground, darkest, darkest[None])
        line = error < LINE
        away = np.linalg.norm(pixels[at] - ground, axis=1)
        alpha[at] = np.where(line, share, np.clip(away / NEAR - 1, 0, 1))
        colours[at] = np.where(line[:, None], colour, pixels[at])
    return alpha, colours


def _depth(outside: np.ndarray, deepest: int) -> np.ndarray:
    """How many steps a pixel is from the background, diagonal ones too; at most `deepest`."""
    depth = np.where(outside, 0, deepest)
    reached = outside
    for level in range(1, deepest):
        padded = np.pad(reached, 1)
        grown = reached.copy()
        for y, x in NEIGHBOURS:
            grown |= padded[1 + y : 1 + y + len(reached), 1 + x :][
                :, : reached.shape[1]
            ]
        depth[grown & ~reached] = level
        reached = grown
    return depth


def _darkest(colours: np.ndarray) -> np.ndarray:
    """The mean of the darkest hundredth of some colours, (3,)."""
    order = np.argsort(colours.sum(1), kind="stable")
    return colours[order[: max(1, len(order) // 100)]].mean(0)


def _mixture(
    seen: np.ndarray, ground: np.ndarray, line: np.ndarray, inner: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How background, outline and inside are mixed in some pixels.

    Args:
        seen: Their levels, (n, 3).
        ground: The background, (3,).
        line: The outline, (3,).
        inner: The inside, (n, 3) or (1, 3).

    Returns:
        How much of a pixel is not background, (n,); its colour without the background, (n, 3);
        and how far the best mixture is from the pixel, (n,).
    """
    target, dark, light = seen - ground, line - ground, inner - ground
    dd, ll = dark @ dark, (light * light).sum(1)
    dl, td, tl = light @ dark, target @ dark, (target * light).sum(1)
    # Both shares free, each alone, or no background at all: the best of those that are allowed.
    determinant = np.maximum(dd * ll - dl * dl, 1e-3)
    both = ((td * ll - tl * dl) / determinant, (tl * dd - td * dl) / determinant)
    only_dark = np.clip(td / max(dd, 1e-3), 0, 1), np.zeros_like(tl)
    only_light = np.zeros_like(tl), np.clip(tl / np.maximum(ll, 1e-3), 0, 1)
    apart = dark - light
    whole = ((target - light) * apart).sum(1) / np.maximum((apart**2).sum(1), 1e-3)
    whole = np.clip(whole, 0, 1)
    shape = np.broadcast_shapes(both[0].shape, whole.shape)
    best = np.full(shape, np.inf, np.float32)
    k, c = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for dark_share, light_share in (both, only_dark, only_light, (whole, 1 - whole)):
        error = np.linalg.norm(
            target - dark_share[:, None] * dark - light_share[:, None] * light, axis=1
        )
        allowed = (
            (dark_share >= 0) & (light_share >= 0) & (dark_share + light_share <= 1.001)
        )
        better = allowed & (error < best)
        best = np.where(better, error, best)
        k, c = np.where(better, dark_share, k), np.where(better, light_share, c)
    share = np.clip(k + c, 0, 1)
    colour = (k[:, None] * line + c[:, None] * inner) / np.maximum(k + c, 1e-6)[:, None]
    return share, colour, best
