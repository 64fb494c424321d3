"""Pictures to choose from: each a real button, for the mouse, the keyboard and a screen reader."""

import base64
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image
from torch import Tensor

from chibi_lab.studio.pictures import grid

if TYPE_CHECKING:
    import ipywidgets as widgets

WORDS = 24  # pixels below a picture, for its label

# Every button has its picture as background. What is chosen is marked by a sign, not by colour
# alone.
STYLE = """
.SCOPE button.chibi-candidate { width: WIDTHpx; height: HEIGHTpx; padding: TOPpx 0 0; margin: 0;
  line-height: 24px; background-repeat: no-repeat; background-position: 50% 4px;
  background-size: auto SIDEpx; border: 2px solid transparent; }
.SCOPE button.chibi-candidate.chibi-chosen { border-color: currentColor; font-weight: bold; }
.SCOPE button.chibi-candidate:focus-visible { outline: 2px solid; outline-offset: 1px; }
"""


class PictureButtons:
    """Buttons in rows, each with a picture and a label below it.

    Args:
        choose: Called with the place of a button that was pressed.
        side: Height of the pictures on the screen, in pixels.
        width: Width of a button, in pixels; by default a little more than the height.
        mark: What stands before the label of the one that is chosen.

    Attributes:
        sheet: The buttons, as a widget.
        style: Their pictures, as a widget without an extent; it must be shown, too.
    """

    def __init__(
        self,
        choose: Callable[[int], None],
        side: int,
        width: int | None = None,
        mark: str = "✓",
    ) -> None:
        import ipywidgets as widgets

        self._choose, self._mark = choose, mark
        self._buttons: list[widgets.Button] = []
        self._labels: list[str] = []
        width = side + 12 if width is None else width
        self.sheet = widgets.GridBox(
            layout={
                "grid_template_columns": f"repeat(auto-fill, {width}px)",
                "grid_gap": "4px",
                "align_content": "flex-start",
            }
        )
        self.style = widgets.HTML()
        self._scope = f"chibi-pictures-{self.sheet.model_id}"
        self.sheet.add_class(self._scope)
        extents = {
            "SCOPE": self._scope,
            "WIDTH": f"{width}",
            "HEIGHT": f"{side + WORDS + 8}",
            "TOP": f"{side + 6}",
            "SIDE": f"{side}",
        }
        self._rules = STYLE
        for word, value in extents.items():
            self._rules = self._rules.replace(word, value)

    def show(
        self,
        images: Sequence[Tensor] | Tensor,
        labels: Sequence[str],
        tooltips: Sequence[str],
        chosen: int | None,
    ) -> None:
        """Show other pictures.

        Args:
            images: N of them, (3, H, W) in [-1, 1].
            labels: What stands below each.
            tooltips: What pressing each does, as a sentence.
            chosen: Which one is chosen; None if none is.
        """
        while len(self._buttons) < len(images):
            self._buttons.append(self._button(len(self._buttons)))
        rules = [self._rules]
        for place, image in enumerate(images):
            button = self._buttons[place]
            button.tooltip = tooltips[place]
            rules.append(
                f".{self._scope} button.chibi-candidate-{place} "
                f'{{ background-image: url("{picture_url(image)}"); }}'
            )
        self.style.value = f"<style>{''.join(rules)}</style>"
        self.sheet.children = self._buttons[: len(images)]
        self._labels = list(labels)
        self.mark(chosen)

    def mark(self, chosen: int | None) -> None:
        """Put the tick on one of the buttons, or on none."""
        for place, label in enumerate(self._labels):
            button = self._buttons[place]
            button.description = f"{self._mark} {label}" if place == chosen else label
            act = button.add_class if place == chosen else button.remove_class
            act("chibi-chosen")

    def _button(self, place: int) -> "widgets.Button":
        import ipywidgets as widgets

        button = widgets.Button()
        button.add_class("chibi-candidate").add_class(f"chibi-candidate-{place}")
        button.on_click(lambda _: self._choose(place))
        return button


def picture_url(image: Tensor) -> str:
    """A picture (3, H, W) in [-1, 1] as the address of an image that holds it all."""
    return f"data:image/png;base64,{_png(grid(image[None], gap=0))}"


def mimebundle(
    panel: "widgets.Widget", words: str, picture: Image.Image, **kwargs: Any
) -> dict[str, Any]:
    """A live panel, and words and a picture for where no widgets are shown.

    Args:
        panel: The widget.
        words: What stands for it in a terminal.
        picture: What stands for it in a page without widgets.
        kwargs: What IPython asks of a bundle.

    Returns:
        MIME types with what to show, as IPython's ``_repr_mimebundle_`` gives them.
    """
    return {
        **(panel._repr_mimebundle_(**kwargs) or {}),
        "text/plain": words,
        "image/png": _png(picture),
    }


def _png(picture: Image.Image) -> str:
    """A picture as PNG in base64."""
    file = io.BytesIO()
    picture.save(file, format="png")
    return base64.b64encode(file.getvalue()).decode()
