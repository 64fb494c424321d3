"""The five parts of the studio's panel. What they do is in :class:`Session` and beside it."""

import math
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import torch

from chibi_lab.data.styles import PALETTES
from chibi_lab.errors import ChibiError
from chibi_lab.studio.animation import blink, turn
from chibi_lab.studio.buttons import PictureButtons, picture_url
from chibi_lab.studio.checks import place_in
from chibi_lab.studio.keeping import keep
from chibi_lab.studio.opening import nearness, open_uploaded
from chibi_lab.studio.painter import Painter, Recipe
from chibi_lab.studio.searching import Found, Search
from chibi_lab.studio.session import Candidate, Session, place_of
from chibi_lab.studio.sliders import (
    Slider,
    each_value,
    fits,
    mix,
    place_on,
    slide,
    sliders,
)

COUNT = 8  # candidates of each painter
PROPOSALS = 4
MAX_SEED = 2**31 - 1
LEAST_STEPS = 40  # of a slider
SIZES = (64, 128, 256, 512, 1024)
BLINK_FRAMES, TURN_FRAMES = 24, 24
TURN_STOPS = 3
LARGE, SMALL, SWATCH = 92, 44, 62  # pixels on the screen
WIDE = {"width": "290px"}
LABELLED = {"description_width": "110px"}
SWATCHES = {
    "hair_color": "hair",
    "skin_color": "skin",
    "background_color": "background",
}


class Section:
    """A heading, controls, and a line that says what was done or why not.

    Attributes:
        title: The heading.
        box: The widget.
        message: What was done last.

    Args:
        title: The heading.
        session: What it works on.
        changed: Called when another picture lies on the table.
    """

    def __init__(
        self, title: str, session: Session, changed: Callable[[], None]
    ) -> None:
        self.title, self.session, self.changed = title, session, changed
        self.box = widgets.VBox(layout={"overflow": "visible"})
        self.message = widgets.HTML()
        self.message.add_class("chibi-message")

    def lay_out(self, *rows: widgets.Widget) -> None:
        """Show the heading, the controls and the message, from top to bottom."""
        heading = widgets.HTML(f"<h3>{escape(self.title)}</h3>")
        self.box.children = [heading, *rows, self.message]

    def show(self) -> None:
        """Bring the controls up to date with the picture on the table."""

    def told(
        self, action: Callable[[], str | None], busy: str = ""
    ) -> Callable[[Any], None]:
        """Run an action of a widget; say in place what it did, or why it could not.

        Args:
            action: Returns what is said; None if it says so itself.
            busy: What is said as long as it runs, for what takes a while.
        """

        def act(_: Any) -> None:
            if busy:
                self.message.value = working(busy)
            try:
                text = action()
                if text is not None:
                    self.say(text)
            except ChibiError as error:
                self.say(f"{error}.", "alert")

        return act

    def say(self, text: str, role: str = "status") -> None:
        """Say something; with the role "alert" a screen reader says it at once."""
        self.message.value = f'<p role="{role}">{escape(_sentence(text))}</p>'

    def put(self, candidate: Candidate) -> str:
        """Put a candidate on the table."""
        self.session.put(candidate)
        self.changed()
        return f"{describe(candidate)} is on the table."

    def tick(self, buttons: PictureButtons, candidates: list[Candidate]) -> None:
        """Tick the one of some candidates that lies on the table as it was drawn."""
        now = self.session.table
        places = [place for place, each in enumerate(candidates) if each is now]
        buttons.mark(places[0] if places else None)


class Wish(Section):
    """What the avatar should be, and sheets of candidates.

    Attributes:
        sheets: The candidates of each painter.
    """

    def __init__(
        self, session: Session, changed: Callable[[], None], seed: int
    ) -> None:
        super().__init__("Wish", session, changed)
        painter = next(iter(session.painters.values()))
        self.sheets: dict[str, list[Candidate]] = {}
        self._wish: dict[str, str] = {}
        self._choices: dict[str, PictureButtons] = {}
        self._dropdowns: dict[str, widgets.Dropdown] = {}
        swatches, pictures = [], []
        for name, values in zip(
            painter.schema.names, painter.schema.values, strict=True
        ):
            if name == "hair":
                images = each_value(painter, name)
                pictures.append(self._pictures(name, values, images, SMALL, 52))
            elif name in SWATCHES:
                swatches.append(
                    self._pictures(name, values, _colours(name, values), 24, SWATCH)
                )
            else:
                self._dropdowns[name] = self._dropdown(name, values)
        self.seed = widgets.BoundedIntText(
            seed,
            min=0,
            max=MAX_SEED,
            description="Seed",
            layout={"width": "180px"},
            style={"description_width": "40px"},
        )
        new = widgets.Button(
            description="New sheet",
            button_style="primary",
            tooltip="Draw candidates for this wish",
        )
        new.on_click(self.told(self._next_sheet, "Drawing candidates …"))
        self.seed.observe(self.told(self.draw, "Drawing candidates …"), names="value")
        self._blocks = {
            name: PictureButtons(
                lambda place, name=name: self.told(
                    lambda: self.put(self.sheets[name][place]), "One moment …"
                )(None),
                LARGE,
                mark="▸",  # a tick says that the wish is met
            )
            for name in session.painters
        }
        blocks = [
            widgets.VBox(
                [widgets.HTML(f"<h4>{escape(name)}</h4>"), block.style, block.sheet],
                layout={"flex": "1 1 400px", "overflow": "visible"},
            )
            for name, block in self._blocks.items()
        ]
        self.lay_out(
            *pictures,
            _wrapped(swatches, "16px"),
            _wrapped(list(self._dropdowns.values())),
            _wrapped([self.seed, new]),
            _wrapped(blocks, "16px"),
        )

    def draw(self) -> str:
        """Draw the sheets of the wish."""
        self.sheets = self.session.sheet(self._wish, self.seed.value, COUNT)
        for name, block in self._blocks.items():
            sheet = self.sheets[name]
            block.show(
                [candidate.image for candidate in sheet],
                [f"{c.number}" + _matches(c) for c in sheet],
                [_told_match(c) for c in sheet],
                None,
            )
        self.show()
        return f"Seed {self.seed.value}: {COUNT} candidates each. Choose one to go on."

    def show(self) -> None:
        """Tick the candidate that lies on the table as it was drawn."""
        for name, block in self._blocks.items():
            self.tick(block, self.sheets[name])

    def _next_sheet(self) -> str:
        """The next seed; setting it draws."""
        if self.seed.value < MAX_SEED:
            self.seed.value += 1
        return f"Seed {self.seed.value}: {COUNT} candidates each. Choose one to go on."

    def _ask(self, name: str, value: str) -> str:
        self._wish.pop(name, None)
        if value:
            self._wish[name] = value
        return self.draw()

    def _pictures(
        self,
        name: str,
        values: tuple[str, ...],
        images: torch.Tensor,
        side: int,
        width: int,
    ) -> widgets.Widget:
        """Values as pictures, after one that stands for any of them."""

        def choose(place: int) -> None:
            self._choices[name].mark(place)
            value = values[place - 1] if place else ""
            self.told(lambda: self._ask(name, value), "Drawing candidates …")(None)

        buttons = self._choices[name] = PictureButtons(choose, side, width)
        anything = images.mean(0, keepdim=True)
        buttons.show(
            torch.cat([anything, images]),
            ["any", *values],
            [f"{words(name)}: {value}" for value in ("any", *values)],
            0,
        )
        title = widgets.HTML(f"<h4>{escape(words(name)).capitalize()}</h4>")
        few = len(values) < 12
        layout = {
            "flex": f"0 1 {(len(values) + 1) * (SWATCH + 4)}px" if few else "1 1 100%",
            "overflow": "visible",
        }
        if not few:
            buttons.sheet.layout.max_height = "176px"
            buttons.sheet.layout.overflow = "auto"
        return widgets.VBox([title, buttons.style, buttons.sheet], layout=layout)

    def _dropdown(self, name: str, values: tuple[str, ...]) -> widgets.Dropdown:
        dropdown = widgets.Dropdown(
            options=[("any", ""), *((value, value) for value in values)],
            value="",
            description=words(name).capitalize(),
            layout={"width": "230px"},
            style={"description_width": "80px"},
        )
        dropdown.observe(
            self.told(lambda: self._ask(name, dropdown.value), "Drawing candidates …"),
            names="value",
        )
        return dropdown


class Start(Section):
    """A person's own picture, and the nearest to it that each painter can draw."""

    def __init__(self, session: Session, changed: Callable[[], None]) -> None:
        super().__init__("Start from a picture", session, changed)
        self._upload = widgets.FileUpload(
            accept="image/*",
            description="Choose a picture",
            tooltip="Open a picture from this computer",
            layout={"width": "200px"},
        ).add_class("chibi-upload")
        opened = self.told(self._open, "Opening …")
        # When a file was read, the field is emptied, so that the same one can be given again.
        self._upload.observe(
            lambda change: change["new"] and opened(change), names="value"
        )
        self._stop = widgets.Button(
            description="Stop",
            tooltip="End the search with what was found",
            disabled=True,
        )
        self._stop.on_click(lambda _: self.search and self.search.stop())
        self._progress = widgets.FloatProgress(
            0, max=1, description="Search", layout={"width": "300px"}
        )
        self._given = widgets.HTML()
        self._found: list[Candidate] = []
        self._buttons = PictureButtons(
            lambda place: self.told(
                lambda: self.put(self._found[place]), "One moment …"
            )(None),
            128,
        )
        self._buttons.sheet.layout.flex = "1 1 320px"
        self.search: Search | None = None
        self.lay_out(
            widgets.HTML(
                "<p>A file that the studio kept is opened as it was. For any other picture, "
                "the nearest that the models can draw is searched for.</p>"
            ),
            _wrapped([self._upload, self._progress, self._stop]),
            self._buttons.style,
            _wrapped([self._given, self._buttons.sheet], "16px"),
        )

    def show(self) -> None:
        """Tick what was chosen."""
        self.tick(self._buttons, self._found)

    def _open(self) -> str | None:
        if self.search is not None:
            self.search.stop()
            self.search.wait()
        data = bytes(self._upload.value[0]["content"])
        self._upload.value = ()
        self._given.value, self._found = "", []
        self._buttons.show([], [], [], None)
        self._progress.value = 0
        why = ""
        try:
            kept = self.session.reopen_file(data)
        except ChibiError as error:
            kept, why = None, f"Not opened as it was kept, {error}. "
        if kept is not None:
            self.put(kept)
            return (
                f"{describe(kept)} was kept by the studio, and is on the table again."
            )
        shape = next(iter(self.session.painters.values())).run.config.shape
        image = open_uploaded(data, shape)
        self._given.value = (
            f'<figure><img src="{picture_url(image)}" height="128" alt="The picture that was '
            'given"><figcaption>given</figcaption></figure>'
        )
        self._stop.disabled = False
        self.search = Search(self.session, image, self._watch, self._end)
        self.say(f"{why}Searching …")
        self.search.start()
        return None  # the search says what it found

    def _watch(self, found: Found) -> None:
        # Not each step: a browser would be busy with them alone.
        if found.done - self._progress.value > 0.02:
            self._progress.value = found.done

    def _end(self, found: Found) -> None:
        self._stop.disabled = True
        self._progress.value = 1
        self._found = list(found.candidates)
        names = [candidate.painter for candidate in self._found]
        self._buttons.show(
            [candidate.image for candidate in self._found],
            names,
            [f"Go on from what the {name} draws" for name in names],
            None,
        )
        if found.problem:
            self.say(f"{found.problem}.", "alert")
        else:
            self.say(f"{nearness(dict(found.errors))} Choose one to go on.")


class Shape(Section):
    """Sliders, any attribute, and mixtures."""

    def __init__(
        self, session: Session, changed: Callable[[], None], wish: Wish
    ) -> None:
        super().__init__("Shape", session, changed)
        self._wish_section = wish
        self._known: dict[str, list[Slider]] = {}
        self._sliders: dict[str, widgets.FloatSlider] = {}
        self._places: dict[str, float] = {}  # where they stand
        self._showing = False
        self._painter_shown = ""
        self._slider_box = _wrapped([])
        schema = next(iter(session.painters.values())).schema
        self._attribute = widgets.Dropdown(
            options=[(words(name), name) for name in schema.names],
            description="Attribute",
            layout=WIDE,
            style=LABELLED,
        )
        self._value = widgets.Dropdown(
            options=schema.values[0], description="Value", layout=WIDE, style=LABELLED
        )
        self._attribute.observe(self._list_values, names="value")
        set_ = widgets.Button(
            description="Set", tooltip="Give the picture this value of the attribute"
        )
        set_.on_click(self.told(self._set, "Drawing …"))
        self._others: list[Candidate] = []
        self._other: Candidate | None = None
        self._mixable = PictureButtons(self._choose_other, SMALL + 8)
        self._much = widgets.FloatSlider(
            0,
            min=0,
            max=1,
            step=0.05,
            description="Mix",
            layout={"width": "360px"},
            style=LABELLED,
            disabled=True,
        )
        self._much.observe(self._mix, names="value")
        self.lay_out(
            self._slider_box,
            widgets.HTML("<h4>Any attribute</h4>"),
            _wrapped([self._attribute, self._value, set_]),
            widgets.HTML("<h4>Mix with another candidate</h4>"),
            self._mixable.style,
            self._mixable.sheet,
            self._much,
        )

    def show(self) -> None:
        """Sliders of the painter, where the picture on the table has them."""
        now = self.session.table
        if now is None:
            return
        painter = self.session.painters[now.painter]
        if now.painter not in self._known:
            self._known[now.painter] = sliders(painter)
        self._showing = True
        if self._painter_shown != now.painter:
            self._sliders = {
                slider.label: self._slider(slider)
                for slider in self._known[now.painter]
            }
            self._slider_box.children = list(self._sliders.values())
            self._painter_shown = now.painter
        for slider in self._known[now.painter]:
            place = place_on(painter, now.recipe, slider)
            self._places[slider.label] = place
            self._sliders[slider.label].value = place
        others = self._wish_section.sheets.get(now.painter, [])
        if others is not self._others:
            self._others, self._other = others, None
            self._mixable.show(
                [candidate.image for candidate in others],
                [str(candidate.number) for candidate in others],
                [f"Mix with {describe(candidate)}" for candidate in others],
                None,
            )
        if not now.steps or not now.steps[-1].startswith("mix"):
            self._much.value = 0
        self._much.disabled = self._other is None
        self._showing = False

    def _slider(self, slider: Slider) -> widgets.FloatSlider:
        gaps = len(slider.stops) - 1
        # The sliders meet each stop.
        widget = widgets.FloatSlider(
            0,
            min=0,
            max=1,
            step=1 / (gaps * math.ceil(LEAST_STEPS / gaps)),
            description=slider.label.capitalize(),
            layout={"width": "360px"},
            style=LABELLED,
        )

        def moved(change: Mapping[str, Any]) -> None:
            # The page sends back a value that it was given, rounded in its way.
            far = abs(change["new"] - self._places[slider.label]) > widget.step / 2
            if far and not self._showing:
                self.told(lambda: self._slide(slider, change["new"]))(None)

        widget.observe(moved, names="value")
        return widget

    def _slide(self, slider: Slider, place: float) -> str:
        painter = self._painter()
        self.session.move(
            slider.label,
            lambda recipe: slide(painter, recipe, slider, place),
            f"{slider.label} {place:.2f}",
        )
        self.changed()
        if fits(painter, self.session.current.recipe, slider, place):
            return f"{slider.label}: {place:.2f}."
        return (
            f"{slider.label}: {place:.2f}. The {self.session.current.painter} never saw this "
            "together with the rest of the picture: the slider may move nothing, or too much."
        )

    def _list_values(self, _: Any) -> None:
        schema = self.session.painters[next(iter(self.session.painters))].schema
        self._value.options = schema.values[schema.index(self._attribute.value)]

    def _set(self) -> str:
        painter, name, value = self._painter(), self._attribute.value, self._value.value
        recipe = painter.with_value(self.session.current.recipe, name, value)
        self.session.shape(recipe, f"{name}={value}")
        self.changed()
        if painter.was_seen(recipe):
            return f"{words(name)} is {value}."
        return (
            f"{words(name)} is {value}. The {self.session.current.painter} never saw this "
            "together with the rest of the picture: it may show nothing of it."
        )

    def _choose_other(self, place: int) -> None:
        self._other = self._others[place]
        self._mixable.mark(place)
        self._showing = True
        self._much.value = 0
        self._much.disabled = False
        self._showing = False
        self.say(f"Move the slider towards {describe(self._other)}.")

    def _mix(self, change: Mapping[str, Any]) -> None:
        if not self._showing:
            self.told(lambda: self._mixed(change["new"]))(None)

    def _mixed(self, much: float) -> str:
        other = self._other
        if other is None:
            raise ChibiError("choose a candidate to mix with first")
        self.session.move(
            f"mix {id(other)}",
            lambda recipe: mix(recipe, other.recipe, much),
            f"mix {much:.2f} with {other.number}",
        )
        self.changed()
        return f"{much:.0%} of the way to {describe(other)}."

    def _painter(self) -> Painter:
        return self.session.painters[self.session.current.painter]


class Repair(Section):
    """A part of the picture, drawn anew in several ways."""

    def __init__(self, session: Session, changed: Callable[[], None]) -> None:
        super().__init__("Repair", session, changed)
        painter = next(iter(session.painters.values()))
        height, width = painter.run.config.shape
        self._frame = widgets.HTML()
        style = {"description_width": "100px"}
        self._rows = widgets.IntRangeSlider(
            value=(height // 3, 2 * height // 3),
            min=0,
            max=height,
            description="Top to bottom",
            layout={"width": "360px"},
            style=style,
        )
        self._columns = widgets.IntRangeSlider(
            value=(width // 3, 2 * width // 3),
            min=0,
            max=width,
            description="Left to right",
            layout={"width": "360px"},
            style=style,
        )
        for slider in (self._rows, self._columns):
            slider.observe(lambda _: self.show(), names="value")
        presets = []
        for name in ("eyes", "mouth", "hair"):
            if name in painter.schema.names:
                button = widgets.Button(
                    description=name.capitalize(),
                    tooltip=f"Frame the {name}",
                    layout={"width": "80px"},
                )
                button.on_click(self.told(lambda name=name: self._preset(name), "…"))
                presets.append(button)
        propose = widgets.Button(
            description="Propose",
            button_style="primary",
            tooltip="Fill the frame in several ways",
        )
        propose.on_click(self.told(self._propose, "Searching for what fits the rest …"))
        self._seed = widgets.BoundedIntText(
            0,
            min=0,
            max=MAX_SEED,
            description="Seed",
            layout={"width": "180px"},
            style={"description_width": "40px"},
        )
        self._proposals: list[Candidate] = []
        self._buttons = PictureButtons(
            lambda place: self.told(
                lambda: self.put(self._proposals[place]), "One moment …"
            )(None),
            128,
        )
        controls = widgets.VBox(
            [
                _wrapped(presets),
                self._rows,
                self._columns,
                _wrapped([self._seed, propose]),
            ],
            layout={"flex": "1 1 380px", "overflow": "visible"},
        )
        self.lay_out(
            _wrapped([self._frame, controls], "20px"),
            self._buttons.style,
            self._buttons.sheet,
        )
        self.show()

    def show(self) -> None:
        """The picture on the table, with a frame around what is to be drawn anew."""
        self.tick(self._buttons, self._proposals)
        now = self.session.table
        if now is None:
            self._frame.value = "<p>Choose a candidate first.</p>"
            return
        _, height, width = now.image.shape
        (top, bottom), (left, right) = self._rows.value, self._columns.value
        self._frame.value = (
            '<div class="chibi-framed">'
            f'<img src="{picture_url(now.image)}" height="256" alt="{escape(describe(now))}">'
            f'<span style="top: {top / height:.2%}; left: {left / width:.2%}; '
            f"width: {(right - left) / width:.2%}; height: {(bottom - top) / height:.2%}"
            '"></span></div>'
        )

    def _preset(self, name: str) -> str:
        now = self.session.current
        painter = self.session.painters[now.painter]
        top, bottom, left, right = place_of(painter, now.recipe, name)
        self._rows.value, self._columns.value = (top, bottom), (left, right)
        return f"The frame is where the {name} may be."

    def _propose(self) -> str:
        hole = torch.zeros(self.session.current.image.shape[1:], dtype=torch.bool)
        (top, bottom), (left, right) = self._rows.value, self._columns.value
        hole[top:bottom, left:right] = True
        self._proposals = self.session.repair(hole, PROPOSALS, self._seed.value)
        numbers = [str(number) for number in range(1, PROPOSALS + 1)]
        self._buttons.show(
            [proposal.image for proposal in self._proposals],
            numbers,
            [f"Take proposal {number}" for number in numbers],
            None,
        )
        return (
            "Outside the frame nothing was changed. Choose a proposal, or another seed."
        )


class Keep(Section):
    """The file of the avatar."""

    def __init__(
        self,
        session: Session,
        changed: Callable[[], None],
        wish: Wish,
        folder: Path,
    ) -> None:
        super().__init__("Keep", session, changed)
        self._wish_section, self._folder = wish, folder
        self._file = widgets.Text(
            "my-avatar.png", description="File name", layout=WIDE, style=LABELLED
        )
        self._size = widgets.Dropdown(
            options=[(f"{size} pixels high", size) for size in SIZES],
            value=512,
            description="Size",
            layout=WIDE,
            style=LABELLED,
        )
        self._animation = widgets.Dropdown(
            options=[
                ("none", "none"),
                ("blink: the eyes close once", "blink"),
                ("turn: through three candidates and back", "turn"),
            ],
            description="Animation",
            layout=WIDE,
            style=LABELLED,
        )
        self._transparent = widgets.Checkbox(
            False, description="Transparent background", indent=False
        )
        self._overwrite = widgets.Checkbox(
            False, description="Overwrite the file if it exists", indent=False
        )
        save = widgets.Button(
            description="Save",
            button_style="primary",
            tooltip="Save the picture on the table",
        )
        save.on_click(self.told(self._save, "Drawing it large and saving …"))
        self.lay_out(
            widgets.HTML(
                "<p>The name ends in .png, .webp or .gif. The file says what drew it, is signed, "
                "and can be opened here again.</p>"
            ),
            _wrapped([self._file, self._size, self._animation]),
            _wrapped([self._transparent, self._overwrite], "20px"),
            save,
        )

    def _save(self) -> str:
        now = self.session.current
        path = place_in(self._folder, self._file.value)
        if self._animation.value == "none":
            images = now.image[None]
        else:
            images = self.session.painters[now.painter].draw(self._frames(now))
        saved = keep(
            images,
            path,
            self.session.origin(now),
            self._size.value,
            self._transparent.value,
            self._overwrite.value,
        )
        self._overwrite.value = False
        return f"Saved as {saved.resolve()}, {self._size.value} pixels high."

    def _frames(self, now: Candidate) -> list[Recipe]:
        painter = self.session.painters[now.painter]
        if self._animation.value == "blink":
            return blink(painter, now.recipe, BLINK_FRAMES)
        sheet = self._wish_section.sheets[now.painter]
        others = [c.recipe for c in sheet if c.number != now.number]
        return turn([now.recipe, *others[: TURN_STOPS - 1]], TURN_FRAMES)


def describe(candidate: Candidate) -> str:
    """A candidate in a few words."""
    if candidate.number is None:
        return f"What the {candidate.painter} draws"
    return f"{candidate.painter} {candidate.number} of seed {candidate.seed}"


def words(name: str) -> str:
    """The name of an attribute as a person reads it."""
    return name.replace("_", " ").replace("color", "colour")


def working(text: str) -> str:
    """HTML that says that something is being done."""
    return (
        f'<p role="status"><progress aria-label="{escape(text)}"></progress> '
        f"{escape(text)}</p>"
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _matches(candidate: Candidate) -> str:
    if not candidate.wish:
        return ""
    if not candidate.missed:
        return " ✓"
    return f" misses {', '.join(map(words, candidate.missed))}"


def _told_match(candidate: Candidate) -> str:
    told = f"Choose {describe(candidate)}"
    if candidate.missed:
        return f"{told}; it misses {', '.join(map(words, candidate.missed))}"
    return f"{told}; it matches the wish" if candidate.wish else told


def _colours(name: str, values: tuple[str, ...]) -> torch.Tensor:
    """A picture of each colour, (N, 3, 1, 1); white for what the palette does not name."""
    codes = dict(PALETTES["pastel"].colors[SWATCHES[name]])
    rgb = [bytes.fromhex(codes.get(value, "#ffffff")[1:]) for value in values]
    return torch.tensor([list(each) for each in rgb])[..., None, None] / 127.5 - 1


def _wrapped(children: list[widgets.Widget], gap: str = "8px") -> widgets.HBox:
    return widgets.HBox(
        children,
        layout={
            "flex_flow": "row wrap",
            "grid_gap": gap,
            "align_items": "flex-start",
            "overflow": "visible",
        },
    )
