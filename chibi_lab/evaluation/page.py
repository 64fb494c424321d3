"""The page of a comparison: tables, plots and pictures side by side, in one file of HTML."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from PIL import Image

from chibi_lab.evaluation.plot import Point, plot
from chibi_lab.evaluation.table import (
    READINGS,
    between,
    figure_rows,
    number,
    reading,
)

GENERATOR = "chibi-lab compare"  # by which a page of ours is known
FLOOR = 0.01  # of the kernel distance: below it, 32 pictures are as good as real ones

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #555; --rule: #ddd; --paper: #fff;
  --line0: #0b62a4; --line1: #c4470b; --line2: #1b7a43; --line3: #8a3a9c; --line4: #8a6a00;
  --line5: #a81c4c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --soft: #aaa; --rule: #3a3d42;
  --paper: #16181b; --line0: #6cb6f5; --line1: #ff9c6b; --line2: #6fd39a; --line3: #d59be6;
  --line4: #e0c050; --line5: #ff8fb0; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem;
  color: var(--ink); background: var(--paper); }
h1, h2 { line-height: 1.2; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: .4rem .8rem; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--rule); }
th:first-child { text-align: left; font-weight: 600; max-width: 26rem; }
small { display: block; font-weight: 400; color: var(--soft); }
td { font-variant-numeric: tabular-nums; white-space: nowrap; }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: 1.5rem; }
.plots { grid-template-columns: repeat(auto-fit, minmax(min(28rem, 100%), 1fr)); }
figure { margin: 0 0 1.5rem; }
img { width: 100%; max-width: 40rem; height: auto; image-rendering: pixelated; background: #fff; }
svg { width: 100%; max-width: 44rem; height: auto; font-size: 14px; fill: var(--ink); }
svg path { fill: none; stroke: currentColor; stroke-width: 2; }
svg path.bars { stroke-width: 1; opacity: .7; }
svg path.rule { stroke: var(--rule); stroke-width: 1; }
.line0 { color: var(--line0); fill: var(--line0); }
.line1 { color: var(--line1); fill: var(--line1); }
.line2 { color: var(--line2); fill: var(--line2); }
.line3 { color: var(--line3); fill: var(--line3); }
.line4 { color: var(--line4); fill: var(--line4); }
.line5 { color: var(--line5); fill: var(--line5); }
figcaption, footer { color: var(--soft); }
"""

MEANING = {
    "frechet": ("Fréchet distance", "between samples and real images as sets; lower is better"),
    "kernel": ("Kernel distance", "the same, and does not depend on their number; lower is better"),
    "precision": ("Precision", "share of the samples that lie among real images"),
    "recall": ("Recall", "share of the real images that lie among samples"),
    "density": ("Density", "how many real surroundings a sample lies in; of real images 1"),
    "coverage": ("Coverage", "share of the real images with a sample near"),
    "memorisation": ("Distance to training images", "pixels, against real ones'; near 0: copies"),
    "copied": ("Like copies", "share of the samples; of real images 0.01"),
    "read back": ("Read back", "what was asked for is read off the drawing; higher is better"),
    "psnr": ("PSNR", "of reconstructions, in decibels; higher is better"),
    "ssim": ("Structural similarity", "of reconstructions; equal pictures have 1"),
    "kl": ("KL divergence", "from the posterior to the prior, in nats an image"),
    "active units": ("Active units", "dimensions of the latent that carry something"),
    "neutral frechet": ("Fréchet distance, neutral", "in the features of EfficientNet-lite0"),
    "neutral kernel": ("Kernel distance, neutral", "in the features of EfficientNet-lite0"),
}  # fmt: skip


def page(result: dict[str, Any], pictures: Mapping[str, Image.Image]) -> str:
    """Lay a comparison out as HTML that needs no other file and no network.

    Args:
        result: What ``compare`` returns.
        pictures: "real", and "samples-NAME", "nearest-NAME", with an encoder also
            "reconstructions-NAME".

    Returns:
        The page.
    """
    data, models = result["data"], result["models"]
    names = [model["name"] for model in models]
    title = "Comparison: " + ", ".join(names)
    sets = models[0]["sets"]
    intro = (
        f"Each model drew {sets} sets of {result['count']:,} images from seed {result['seed']}; "
        f"they are compared with {data['held_out']:,} real images that no model has seen. All "
        f"learned from {data['name']} at {data['size']} pixels. The pictures shown are the first "
        "ones of the seed, not chosen ones."
    )
    sections = [
        f"<h1>{escape(title)}</h1><p>{escape(intro)}</p>",
        '<div class="side">',
        _figure(pictures["real"], "Real images, held out", "A sheet of real images"),
        *(
            _figure(
                pictures[f"samples-{name}"],
                f"Drawn by {name}",
                f"A sheet drawn by {name}",
            )
            for name in names
        ),
        "</div>",
        "<h2>Figures</h2>",
        _figures(models),
        *(f"<p>{escape(note[0].upper() + note[1:])}.</p>" for note in models[0]["notes"]),
        _plots(models),
        _attributes(models),
    ]  # fmt: skip
    rebuilt = [name for name in names if f"reconstructions-{name}" in pictures]
    if rebuilt:
        sections.append("<h2>Reconstruction</h2>")
    for name in rebuilt:
        caption = f"Above real images, below what {name} makes of them by encoding and decoding"
        sections.append(_figure(pictures[f"reconstructions-{name}"], caption, caption))
    sections.append("<h2>Most like copies</h2>")
    for name in names:
        caption = (
            f"Above, of the images shown of {name}, those most like copies; "
            "below, the nearest training image of each"
        )
        sections.append(_figure(pictures[f"nearest-{name}"], caption, caption))
    credit = f"Training images: {data['credit']}" if data["credit"] else ""
    drawn = "The images of the models are AI-generated."
    sections.append(f"<footer><p>{escape(f'{drawn} {credit}'.strip())}</p></footer>")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="generator" content="{GENERATOR}">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def _figures(models: Sequence[dict[str, Any]]) -> str:
    """All figures; a model without an encoder has none of the reconstructions."""
    columns = [{row[0]: row[1:] for row in figure_rows(model)} for model in models]
    titles = list(dict.fromkeys(title for column in columns for title in column))
    rows = []
    for title in titles:
        best, interval = next(c[title][1:] for c in columns if title in c)
        cells = [_cell(number(best) if best is not None else "", interval)]
        for column in columns:
            figure = column[title][0] if title in column else None
            cells.append(_cell(number(figure and figure["value"]), figure))
        rows.append((*MEANING[title], cells))
    for key, title, meaning, form in (
        ("images_seen", "Images seen", "in training", "{:,}"),
        ("minutes", "Training", "in minutes", "{:,.0f}"),
        ("parameters", "Parameters", "of the network that draws", "{:,}"),
        ("images_per_second", "Speed", "images drawn in a second, on the machine that made "
         "this page", "{:,.0f}"),
    ):  # fmt: skip
        values = (model[key] for model in models)
        cells = [_cell("–" if v is None else form.format(v)) for v in values]
        rows.append((title, meaning, [_cell(""), *cells]))
    note = (
        "<p>Below each figure the lowest and the highest of the sets; for real images, what "
        "other images might have given (two standard errors to either side). Reconstructions: "
        "in fifths of the images. Sets are compared in the features of the judge, a network that "
        "was trained to read avatars, where nothing else is said.</p>"
    )
    names = ["real images", *(model["name"] for model in models)]
    return note + _table(["Measure", *names], rows)


def _plots(models: Sequence[dict[str, Any]]) -> str:
    """Quality against images seen and against minutes; "" for runs without sample grids."""
    if not any(model["history"] for model in models):
        return ""
    plots = []
    for key, across, unit in (
        ("images_seen", "thousands of images seen", 1000),
        ("minutes", "minutes of training", 1),
    ):
        lines = [
            (
                model["name"],
                [
                    Point(e[key] / unit, e["kernel"], e["low"], e["high"])
                    for e in model["history"]
                    if e[key] is not None
                ],
            )
            for model in models
        ]
        plots.append(
            f"<figure>{plot(lines, across, 'kernel distance', FLOOR)}</figure>"
        )
    counts = sorted({e["pictures"] for model in models for e in model["history"]})
    rests = " or ".join(map(str, counts))
    return (
        "<h2>Quality over the training</h2>\n"
        f"<p>Each point is one of the sample grids that the training left, and rests on {rests} "
        "images only, of the same latents each: the bars reach two standard errors to either "
        "side, and wiggles within them mean nothing. The scale is logarithmic; what is below "
        f"{FLOOR:g} stands at its lower end. Runs share minutes only if they were trained on the "
        f'same machine.</p>\n<div class="side plots">{"".join(plots)}</div>'
    )


def _attributes(models: Sequence[dict[str, Any]]) -> str:
    """How the values of each attribute are spread; "" for pictures that the judge cannot read."""
    if models[0]["attributes"] is None:
        return ""
    rows = []
    for name, first in models[0]["attributes"].items():
        real = first["real"]
        cells = [
            f"<td>{real['covered']} of {first['values']}"
            f"<small>{real['effective']:.3g}</small><small>{real['distance']:.3f}</small></td>"
        ]
        for model in models:
            row = model["attributes"][name]
            parts = (reading(row, key) for key in READINGS)
            cells.append("<td>{}<small>{}</small><small>{}</small></td>".format(*parts))
        rows.append((name.replace("_", " ").replace("color", "colour"), "", cells))
    return (
        "<h2>Attributes</h2>\n<p>What the judge reads off the samples. Of three lines, the first "
        "says how many of the values that real images show appear, each at least a tenth as often "
        "as there; the second, how many equally frequent values would be as diverse; the third, "
        "how far the shares are from those of real images (total variation, 0 to 1). They are of "
        "the first set, in brackets the lowest and highest of all.</p>\n"
        + _table(["Attribute", "real images", *(m["name"] for m in models)], rows)
    )


def _table(head: Sequence[str], rows: Sequence[tuple[str, str, Sequence[str]]]) -> str:
    """A table of rows: title, meaning, cells as HTML."""
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "\n".join(
        f'<tr><th scope="row">{escape(title)}<small>{escape(meaning)}</small></th>'
        + "".join(cells)
        + "</tr>"
        for title, meaning, cells in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{columns}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _cell(value: str, interval: dict[str, float] | None = None) -> str:
    below = f"<small>{escape(between(interval))}</small>" if interval else ""
    return f"<td>{escape(value)}{below}</td>"


def _figure(picture: Image.Image, caption: str, description: str) -> str:
    file = io.BytesIO()
    picture.save(file, format="png")
    source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return (
        f'<figure><img src="{source}" width="{picture.width}" height="{picture.height}" '
        f'alt="{escape(description)}"><figcaption>{escape(caption)}</figcaption></figure>'
    )
