"""The page of a comparison: a table, and pictures side by side, in one file of HTML."""

import base64
import io
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from PIL import Image

KINDS = {"gan": "GAN", "vae": "VAE"}

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem;
  color: light-dark(#1a1a1a, #e8e8e8); background: light-dark(#fff, #16181b); }
h1, h2 { line-height: 1.2; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: .4rem .8rem; text-align: right; vertical-align: top;
  border-bottom: 1px solid light-dark(#ddd, #3a3d42); }
th:first-child { text-align: left; font-weight: 600; max-width: 26rem; }
small { display: block; font-weight: 400; color: light-dark(#555, #aaa); }
td { font-variant-numeric: tabular-nums; white-space: nowrap; }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: 1.5rem; }
figure { margin: 0 0 1.5rem; }
img { width: 100%; max-width: 40rem; height: auto; image-rendering: pixelated; background: #fff; }
figcaption, footer { color: light-dark(#555, #aaa); }
"""


def page(result: dict[str, Any], pictures: Mapping[str, Image.Image]) -> str:
    """Lay a comparison out as HTML that needs no other file and no network.

    Args:
        result: What ``compare`` returns.
        pictures: "real", and "samples-NAME", "nearest-NAME", for a VAE "reconstructions-NAME".

    Returns:
        The page.
    """
    data, models = result["data"], result["models"]
    names = [model["name"] for model in models]
    title = "Comparison: " + ", ".join(names)
    intro = (
        f"{result['count']:,} images drawn by each model from seed {result['seed']}, beside "
        f"{data['held_out']:,} real images that no model has seen. All learned from "
        f"{data['name']} at {data['size']} pixels. The pictures shown are the first ones of the "
        "seed, not chosen ones."
    )
    sections = [
        f"<h1>{escape(title)}</h1><p>{escape(intro)}</p>",
        _table(result),
        "<h2>Side by side</h2>",
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
    ]
    rebuilt = [name for name in names if f"reconstructions-{name}" in pictures]
    if rebuilt:
        sections.append("<h2>Reconstruction</h2>")
    for name in rebuilt:
        caption = f"Above real images, below what {name} makes of them by encoding and decoding"
        sections.append(_figure(pictures[f"reconstructions-{name}"], caption, caption))
    sections.append("<h2>Most like copies</h2>")
    for name in names:
        caption = (
            f"Above images drawn by {name}, below the nearest training image of each"
        )
        sections.append(_figure(pictures[f"nearest-{name}"], caption, caption))
    sections.append(_attributes(result))
    credit = f"Training images: {data['credit']}" if data["credit"] else ""
    drawn = "The images of the models are AI-generated."
    sections.append(f"<footer><p>{escape(f'{drawn} {credit}'.strip())}</p></footer>")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def _table(result: dict[str, Any]) -> str:
    columns = [result["real"], *result["models"]]
    rows: list[tuple[str, str, Callable[[dict[str, Any]], str]]] = [
        ("Model", "", lambda c: KINDS.get(c.get("kind", ""), "")),
        (
            "Sharpness",
            "steepness of the edges; real images are 1",
            lambda c: f"{c['relative_sharpness']:.2f}",
        ),
    ]
    for name in _main_attributes(result):
        title = name.replace("_", " ").replace("color", "colour").capitalize()
        rows += [
            (
                f"{title}: values drawn",
                "in brackets: how many equally frequent values would be as diverse",
                lambda c, name=name: _diversity(c["diversity"][name]),
            ),
            (
                f"{title}: recognised",
                "share of the images in which one value can be told from all others",
                lambda c, name=name: f"{c['diversity'][name]['recognised']:.0%}",
            ),
        ]
    rows += [
        (
            "Reconstruction",
            "PSNR in dB on real images; a GAN cannot encode",
            lambda c: _number(c.get("psnr"), "{:.1f}"),
        ),
        (
            "Distance to training images",
            "of the nearest one, against that of real held-out images; near 0: copies",
            lambda c: _number(c.get("memorisation", {}).get("ratio"), "{:.2f}"),
        ),
        (
            "Like copies",
            "of real held-out images 1% count as such",
            lambda c: _number(c.get("memorisation", {}).get("copied"), "{:.1%}"),
        ),
        ("Images seen", "in training", lambda c: _number(c.get("images_seen"), "{:,}")),
        ("Training", "in minutes", lambda c: _number(c.get("minutes"), "{:,.0f}")),
        (
            "Parameters",
            "of the network that draws",
            lambda c: _number(c.get("parameters"), "{:,}"),
        ),
        (
            "Speed",
            "images drawn in a second, on the machine that made this page",
            lambda c: _number(c.get("images_per_second"), "{:,.0f}"),
        ),
    ]
    head = "".join(f'<th scope="col">{escape(c["name"])}</th>' for c in columns)
    body = "\n".join(
        f'<tr><th scope="row">{escape(label)}<small>{escape(note)}</small></th>'
        + "".join(f"<td>{escape(value(c))}</td>" for c in columns)
        + "</tr>"
        for label, note, value in rows
    )
    return (
        '<div class="scroll"><table><thead><tr><th scope="col">Measure</th>'
        f"{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _attributes(result: dict[str, Any]) -> str:
    """All attributes, with how far each can be read; "" for pictures without."""
    accuracy = result["reading_accuracy"]
    if accuracy is None:
        return ""
    columns = [result["real"], *result["models"]]
    head = "".join(f'<th scope="col">{escape(c["name"])}</th>' for c in columns)
    body = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{share:.1%}</td>'
        + "".join(
            f"<td>{escape(_diversity(c['diversity'][name]))}"
            f"<small>{c['diversity'][name]['recognised']:.0%}</small></td>"
            for c in columns
        )
        + "</tr>"
        for name, share in accuracy.items()
    )
    return (
        "<h2>All attributes</h2>\n<p>Values drawn, with the effective number in brackets, and "
        "below them the share of the images in which a value can be recognised. The values are "
        "read by comparison with labelled pictures; the second column says how often that is "
        "right on real images. A value counts as drawn if its share is at least a tenth of its "
        "share among real images.</p>\n"
        '<div class="scroll"><table><thead><tr><th scope="col">Attribute</th>'
        f'<th scope="col">read right</th>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>'
        "</div>"
    )


def _main_attributes(result: dict[str, Any]) -> list[str]:
    """The attributes for the first table: hair and its colour, or else the first two."""
    names = list(result["reading_accuracy"] or ())
    return [name for name in ("hair", "hair_color") if name in names] or names[:2]


def _diversity(figures: dict[str, float]) -> str:
    return f"{figures['covered']} of {figures['values']} ({figures['effective']:.1f})"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def _figure(picture: Image.Image, caption: str, description: str) -> str:
    file = io.BytesIO()
    picture.save(file, format="png")
    source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return (
        f'<figure><img src="{source}" width="{picture.width}" height="{picture.height}" '
        f'alt="{escape(description)}"><figcaption>{escape(caption)}</figcaption></figure>'
    )
