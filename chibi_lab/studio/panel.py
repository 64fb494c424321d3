"""The studio: an avatar of one's own, from a wish or a picture to a file."""

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from chibi_lab.errors import ChibiError
from chibi_lab.studio.buttons import mimebundle, picture_url
from chibi_lab.studio.enlarging import enlarge
from chibi_lab.studio.pictures import grid
from chibi_lab.studio.session import Candidate, Session, open_session

if TYPE_CHECKING:
    import ipywidgets as widgets

ON_TABLE = 192  # pixels on the screen
DRAWN = 256  # what the enlarger makes of 64 in one go, in 0.1 s; the next takes 3 s
NOTHING = (
    "Nothing is on the table yet: choose a candidate below, or start from a picture."
)
# The names of colours are JupyterLab's, which follow its theme.
STYLE = """
.SCOPE { text-align: start; } .SCOPE h3, .SCOPE h4 { color: inherit; }  /* not as in a book */
.SCOPE h3 { margin: 8px 0 4px; font-size: 1.15em; }
.SCOPE h4 { margin: 6px 0 2px; font-size: 1em; line-height: 1.5; }
.SCOPE p { margin: 4px 0; line-height: 1.5; max-width: 46em; white-space: normal; }
.SCOPE [role=alert] { border-left: 4px solid var(--jp-error-color1, #d32f2f); padding-left: 8px; }
.SCOPE figure { margin: 4px 0; } .SCOPE img { display: block; }
.SCOPE .chibi-steps button { height: 34px; line-height: 32px; }
.SCOPE .chibi-steps button.mod-active { font-weight: bold; text-decoration: underline; }
.SCOPE .chibi-upload { font-size: 0; }  /* it would count the files */
.SCOPE .chibi-upload i { font-size: var(--jp-widgets-font-size, 13px); }
.SCOPE .chibi-upload::after { content: "Choose a picture";
  font-size: var(--jp-widgets-font-size, 13px); }
.SCOPE .chibi-framed img { image-rendering: pixelated; }
.SCOPE .chibi-framed { position: relative; display: inline-block; }
.SCOPE .chibi-framed span { position: absolute; box-sizing: border-box;
  border: 2px dashed #000; outline: 2px solid #fff; }
"""


class Studio:
    """A panel: wish, start from a picture, shape, repair, keep.

    As the last line of a cell it shows itself.

    Args:
        folder: Where files are kept; none is written outside of it.
        seed: Seed of the first candidates.
        session: Who draws and who judges; by default the models that come with the package.

    Attributes:
        session: The state: who draws, and what lies on the table.
        panel: The widget.

    Raises:
        ChibiError: If the models that come with the package are not whole.
    """

    def __init__(
        self, folder: Path | str = ".", seed: int = 0, session: Session | None = None
    ) -> None:
        # Here, since the rest of the studio should not wait for it.
        import ipywidgets as widgets

        from chibi_lab.studio.sections import Keep, Repair, Section, Shape, Start, Wish

        self.session = open_session() if session is None else session
        self._picture, self._words = widgets.HTML(), widgets.HTML()
        self._message = widgets.HTML()
        self._undo = self._button("Undo", "Take back the last step")
        self._redo = self._button("Redo", "Do again what was taken back last")
        self._wish = Wish(self.session, self._show, seed)
        self._sections: list[Section] = [
            self._wish,
            Start(self.session, self._show),
            Shape(self.session, self._show, self._wish),
            Repair(self.session, self._show),
            Keep(self.session, self._show, self._wish, Path(folder)),
        ]
        titles = [
            (f"{number} {section.title}", place)
            for place, (number, section) in enumerate(
                zip("12345", self._sections, strict=True)
            )
        ]
        self._steps = widgets.ToggleButtons(
            options=titles,
            tooltips=[f"Go to: {title}" for title, _ in titles],
            style={"button_width": "auto"},
        ).add_class("chibi-steps")
        self._steps.observe(lambda _: self._open(), names="value")
        about = widgets.VBox(
            [self._words, widgets.HBox([self._undo, self._redo]), self._message],
            layout={"flex": "1 1 260px", "overflow": "visible"},
        )
        style = widgets.HTML()
        self.panel = widgets.VBox(
            [
                style,
                widgets.HBox(
                    [self._picture, about],
                    layout={"flex_flow": "row wrap", "grid_gap": "16px"},
                ),
                self._steps,
                *(section.box for section in self._sections),
            ],
            layout={"overflow": "visible"},
        )
        scope = f"chibi-studio-{self.panel.model_id}"
        self.panel.add_class(scope)
        style.value = f"<style>{STYLE.replace('SCOPE', scope)}</style>"
        self._wish.say(self._wish.draw())
        self._open()
        self._show()

    def __repr__(self) -> str:
        return (
            f"Studio({', '.join(self.session.painters)}, seed {self._wish.seed.value})"
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """The live panel, and the sheets as a picture for pages that cannot show widgets."""
        images = [c.image for sheet in self._wish.sheets.values() for c in sheet]
        return mimebundle(self.panel, repr(self), grid(torch.stack(images)), **kwargs)

    def _button(self, title: str, tooltip: str) -> "widgets.Button":
        import ipywidgets as widgets

        button = widgets.Button(
            description=title, tooltip=tooltip, layout={"width": "80px"}
        )
        button.on_click(lambda _: self._go(title))
        return button

    def _go(self, title: str) -> None:
        """Take a step back, or do it again."""
        self._message.value = ""
        try:
            self.session.undo() if title == "Undo" else self.session.redo()
            self._show()
        except ChibiError as error:
            self._message.value = f'<p role="alert">{escape(str(error))}.</p>'

    def _open(self) -> None:
        """Show the section that was chosen, and no other."""
        for place, section in enumerate(self._sections):
            shown = place == self._steps.value
            section.box.layout.display = "flex" if shown else "none"

    def _show(self) -> None:
        """Bring all up to date with the picture on the table."""
        from chibi_lab.studio.sections import describe

        now: Candidate | None = self.session.table
        self._message.value = ""
        if now is None:
            self._words.value = f"<p>{NOTHING}</p>"
        else:
            said = describe(now)
            steps = f"<p>{escape(', '.join(now.steps))}</p>" if now.steps else ""
            self._words.value = f"<h3>{escape(said)}</h3>{steps}"
            # As it will be kept.
            large = enlarge(now.image[None], DRAWN)[0]
            self._picture.value = (
                f'<img src="{picture_url(large)}" height="{ON_TABLE}" '
                f'alt="On the table: {escape(said)}">'
            )
        for button in (self._undo, self._redo):
            button.layout.display = "none" if now is None else ""
        for section in self._sections:
            section.show()
