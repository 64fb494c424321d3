"""The avatar chooser: widgets over :class:`AvatarChoice`."""

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from chibi_lab.errors import ChibiError
from chibi_lab.studio.buttons import PictureButtons, mimebundle, picture_url
from chibi_lab.studio.choice import MAX_CANDIDATES, AvatarChoice
from chibi_lab.studio.pictures import grid
from chibi_lab.training import Run

SIZES = (128, 256, 512, 1024)
MAX_SEED = 2**31 - 1
NUMBER_WIDTH = "180px"

SIDE = 96  # pixels of a candidate on the screen
STYLE = ".SCOPE button, .SCOPE img { image-rendering: pixelated; } .SCOPE img { display: block; }"


class AvatarChooser:
    """A panel for choosing an avatar: model, seed, a sheet of candidates, and a button that saves.

    As the last line of a cell it shows itself.

    Args:
        runs: Runs of either kind, by the name that is shown, such as ``{"GAN": run}``.
        folder: Where the avatar is saved.
        seed: Seed of the first candidates.
        count: How many of them.

    Attributes:
        choice: The state: which candidates there are, and which is chosen.
        panel: The widget.

    Raises:
        ChibiError: If there is no run, or the first one cannot draw.
    """

    def __init__(
        self,
        runs: Mapping[str, Run],
        folder: Path | str = ".",
        seed: int = 0,
        count: int = 16,
    ) -> None:
        # Here, since the rest of the studio should not wait for it.
        import ipywidgets as widgets

        self.choice = AvatarChoice(runs)
        self.choice.candidates(next(iter(self.choice.runs)), seed, count)
        self._folder = Path(folder)
        self._model = widgets.Dropdown(
            options=list(self.choice.runs),
            description="Model",
            layout={"width": NUMBER_WIDTH},
        )
        self._seed = widgets.BoundedIntText(
            seed,
            min=0,
            max=MAX_SEED,
            description="Seed",
            layout={"width": NUMBER_WIDTH},
        )
        self._count = widgets.BoundedIntText(
            count,
            min=1,
            max=MAX_CANDIDATES,
            description="Candidates",
            layout={"width": NUMBER_WIDTH},
        )
        self._style = widgets.HTML()
        self._pictures = PictureButtons(
            lambda place: self._told(lambda: self._choose(place))(None), SIDE
        )
        self._preview = widgets.HTML()
        self._file = widgets.Text(
            "my-avatar.png", description="File", continuous_update=False
        )
        self._size = widgets.Dropdown(
            options=[(f"{side} pixels high", side) for side in SIZES],
            value=512,
            description="Size",
        )
        self._overwrite = widgets.Checkbox(
            False, description="Overwrite the file if it exists"
        )
        self._save = widgets.Button(
            description="Save avatar",
            button_style="primary",
            tooltip="Save the chosen avatar",
        )
        self._message = widgets.HTML()
        for control in (self._model, self._seed, self._count):
            control.observe(self._told(self._draw), names="value")
        self._save.on_click(self._told(self._write))
        chosen = widgets.VBox(
            [
                self._preview,
                self._size,
                self._file,
                self._overwrite,
                self._save,
                self._message,
            ]
        )
        self._pictures.sheet.layout.flex = "1 1 460px"
        chosen.layout.flex = "0 0 320px"
        self.panel = widgets.VBox(
            [
                self._style,
                self._pictures.style,
                widgets.HBox(
                    [self._model, self._seed, self._count], layout={"flex_flow": "wrap"}
                ),
                widgets.HBox(
                    [self._pictures.sheet, chosen], layout={"flex_flow": "wrap"}
                ),
            ]
        )
        scope = f"chibi-chooser-{self.panel.model_id}"
        self.panel.add_class(scope)
        self._style.value = f"<style>{STYLE.replace('SCOPE', scope)}</style>"
        self._show()

    def __repr__(self) -> str:
        choice = self.choice
        return f"AvatarChooser({choice.model}, seed {choice.seed}, {len(choice.images)} candidates)"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """The live panel, and the sheet as a picture for pages that cannot show widgets."""
        return mimebundle(self.panel, repr(self), grid(self.choice.images), **kwargs)

    def _told(self, action: Callable[[], str]) -> Callable[[Any], None]:
        """Run an action of a widget; say beside the sheet what it did, or why it could not."""

        def act(_: Any) -> None:
            try:
                text, role = action(), "status"
            except ChibiError as error:
                text, role = f"{error}.", "alert"
            self._message.value = f'<p role="{role}">{escape(text)}</p>'

        return act

    def _draw(self) -> str:
        self.choice.candidates(self._model.value, self._seed.value, self._count.value)
        return self._show()

    def _choose(self, index: int) -> str:
        self.choice.choose(index)
        return self._show()

    def _write(self) -> str:
        path = self._folder / self._file.value.strip()
        saved = self.choice.save(path, self._size.value, self._overwrite.value)
        self._overwrite.value = False
        return f"Saved as {saved}, {self._size.value} pixels high."

    def _show(self) -> str:
        """Bring sheet and preview up to date with the choice."""
        choice = self.choice
        places = range(1, len(choice.images) + 1)
        self._pictures.show(
            choice.images,
            [f"{place}" for place in places],
            [f"Choose avatar {place}" for place in places],
            choice.index,
        )
        words = f"Avatar {choice.index + 1}, {choice.model}, seed {choice.seed}"
        self._preview.value = (
            f'<img src="{picture_url(choice.images[choice.index])}" '
            f'height="256" alt="{escape(words)}">{escape(words)}'
        )
        return f"{words} is chosen."
