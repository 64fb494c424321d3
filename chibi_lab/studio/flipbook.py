"""A slider that leafs through pictures, in a notebook and in a page without Python behind it."""

from collections.abc import Sequence
from html import escape
from typing import Any

from torch import Tensor

from chibi_lab.errors import ChibiError
from chibi_lab.studio.buttons import mimebundle, picture_url
from chibi_lab.studio.pictures import grid

ROW = 8  # square pictures side by side where there is no slider
SHARP = "image-rendering: pixelated; max-width: 100%"


class FlipBook:
    """A slider, and the picture that belongs to its place.

    All pictures are in the page from the beginning, and the link from the slider to them is the
    browser's. So it also works where a page is only read.

    Args:
        images: float (N, 3, H, W) in [-1, 1], at least two.
        names: What to call each; the slider shows it.
        label: What stands before the slider.
        scale: Screen pixels for a pixel of an image.

    Attributes:
        panel: Slider and picture, an ``ipywidgets.VBox``.

    Raises:
        ChibiError: If there are fewer than two images, or not one name for each.
    """

    def __init__(
        self, images: Tensor, names: Sequence[str], label: str, scale: int = 4
    ) -> None:
        import ipywidgets as widgets

        if len(images) < 2 or len(names) != len(images):
            raise ChibiError(
                f"{len(images)} images and {len(names)} names: "
                "a flip book takes two images or more, and a name for each"
            )
        self._images, self._label = images, label
        width = images.shape[-1] * scale
        pages = [
            widgets.HTML(
                f'<img src="{picture_url(image)}" width="{width}" style="{SHARP}" '
                f'alt="{escape(label)}: {escape(name)}">'
            )
            for image, name in zip(images, names, strict=True)
        ]
        slider = widgets.SelectionSlider(
            options=[(name, place) for place, name in enumerate(names)],
            description=label,
            style={"description_width": "initial"},
            layout={"width": "420px", "max_width": "100%"},
        )
        stack = widgets.Stack(pages, selected_index=0)
        widgets.jslink((slider, "index"), (stack, "selected_index"))
        self.panel = widgets.VBox([slider, stack])

    def __repr__(self) -> str:
        return f"FlipBook({self._label}, {len(self._images)} pictures)"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """The slider, and its pictures side by side for pages that cannot show widgets."""
        height, width = self._images.shape[2:]
        columns = max(1, ROW * height // width)
        sheet = grid(self._images, columns)
        return mimebundle(self.panel, repr(self), sheet, **kwargs)
