import base64
import datetime
import io
from collections.abc import Callable
from pathlib import Path

import ipywidgets
import numpy as np
import pytest
import torch
from PIL import Image

from chibi_lab.data import ImageSet, to_uint8
from chibi_lab.studio import Studio, extract
from chibi_lab.studio.findings import examine
from chibi_lab.studio.painter import Painter
from chibi_lab.studio.sections import Start
from chibi_lab.studio.session import Session, open_session
from chibi_lab.training import ModernGANConfig, train_modern_gan

TINY = {"size": 32, "images": 64, "batch": 16, "channels": 2, "latent_dim": 5}


class Reader:
    """In the judge's place: reads red and no disc off any picture."""

    def read(self, images: torch.Tensor) -> np.ndarray:
        return np.tile([0, 0], (len(images), 1))


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory, labelled: ImageSet) -> Painter:
    out = tmp_path_factory.mktemp("runs") / "run"
    run = train_modern_gan(
        ModernGANConfig(**TINY), out, images=labelled, progress=False
    )
    return Painter(run)


@pytest.fixture
def studio(painter: Painter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "mine").mkdir()
    session = Session({"one": painter, "two": painter}, Reader())
    return Studio(tmp_path / "mine", session=session)


def inside(widget: ipywidgets.Widget) -> list[ipywidgets.Widget]:
    """A widget and all in it."""
    return [
        widget,
        *(w for child in getattr(widget, "children", ()) for w in inside(child)),
    ]


def named(studio: Studio, description: str) -> ipywidgets.Widget:
    """The first widget that a person sees under this label."""
    return next(
        w
        for w in inside(studio.panel)
        if getattr(w, "description", None) == description
    )


def button(studio: Studio, tooltip: str) -> ipywidgets.Button:
    """The one button whose tooltip begins so."""
    (found,) = [
        w
        for w in inside(studio.panel)
        if isinstance(w, ipywidgets.Button) and w.tooltip.startswith(tooltip)
    ]
    return found


def said(studio: Studio, part: str) -> bool:
    """Whether a sentence with a part is shown."""
    return any(
        part in w.value
        for w in inside(studio.panel)
        if isinstance(w, ipywidgets.HTML) and "role=" in w.value
    )


def alerts(studio: Studio) -> list[str]:
    return [
        w.value
        for w in inside(studio.panel)
        if isinstance(w, ipywidgets.HTML) and 'role="alert"' in w.value
    ]


def upload(studio: Studio, data: bytes) -> Start:
    """Give the studio a file, and wait for what it finds."""
    (field,) = [w for w in inside(studio.panel) if isinstance(w, ipywidgets.FileUpload)]
    (start,) = [s for s in studio._sections if isinstance(s, Start)]
    field.value = (
        {
            "name": "mine.png",
            "type": "image/png",
            "size": len(data),
            "content": memoryview(data),
            "last_modified": datetime.datetime(2026, 1, 1),
        },
    )
    if start.search is not None:
        start.search.wait()
    return start


def png_of(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def test_each_painter_shows_eight_candidates_and_how_they_match(studio: Studio) -> None:
    for name in ("one", "two"):
        assert button(studio, f"Choose {name} 8 of seed 0").description == "8"
    named(studio, "Disc").value = "white"
    first = button(studio, "Choose two 1 of seed 0")
    assert first.description == "1 misses disc"
    assert first.tooltip.endswith("it misses disc")
    named(studio, "Disc").value = "none"
    assert first.description == "1 ✓"
    named(studio, "Disc").value = ""
    assert first.description == "1"


def test_another_seed_draws_another_sheet_and_the_first_one_comes_back(
    studio: Studio,
) -> None:
    bundle = studio._repr_mimebundle_()["image/png"]
    named(studio, "New sheet").click()
    assert named(studio, "Seed").value == 1
    assert studio._repr_mimebundle_()["image/png"] != bundle
    named(studio, "Seed").value = 0
    assert studio._repr_mimebundle_()["image/png"] == bundle


def test_what_is_chosen_lies_on_the_table_with_a_tick(studio: Studio) -> None:
    button(studio, "Choose two 3 ").click()
    current = studio.session.current
    assert (current.painter, current.number) == ("two", 3)
    assert button(studio, "Choose two 3 ").description == "▸ 3"
    assert said(studio, "Two 3 of seed 0 is on the table")
    assert any(
        'alt="On the table: two 3 of seed 0"' in w.value
        for w in inside(studio.panel)
        if isinstance(w, ipywidgets.HTML)
    )


def test_an_attribute_is_set_taken_back_and_set_again(studio: Studio) -> None:
    button(studio, "Choose one 1 ").click()
    named(studio, "Attribute").value = "disc"
    named(studio, "Value").value = "white"
    named(studio, "Set").click()
    assert studio.session.current.steps == ("disc=white",)
    named(studio, "Undo").click()
    assert studio.session.current.steps == ()
    named(studio, "Undo").click()
    assert "there is nothing to undo" in alerts(studio)[0]
    named(studio, "Redo").click()
    assert studio.session.current.steps == ("disc=white",)
    assert alerts(studio) == []


def test_a_slider_that_is_moved_on_is_one_step(studio: Studio) -> None:
    button(studio, "Choose one 1 ").click()
    chosen = studio.session.current
    button(studio, "Mix with one 2 ").click()
    slider = named(studio, "Mix")
    slider.value = 0.25
    slider.value = 0.5
    second = studio._wish.sheets["one"][1]
    mixed = studio.session.current
    assert mixed.steps == ("mix 0.50 with 2",)
    torch.testing.assert_close(mixed.recipe.z, (chosen.recipe.z + second.recipe.z) / 2)
    named(studio, "Undo").click()
    assert studio.session.current is chosen


def test_a_part_is_drawn_anew_and_the_rest_stays(studio: Studio) -> None:
    button(studio, "Choose one 1 ").click()
    before = studio.session.current
    named(studio, "Top to bottom").value = (8, 16)
    named(studio, "Left to right").value = (4, 28)
    named(studio, "Propose").click()
    assert studio.session.current is before
    button(studio, "Take proposal 4").click()
    after = studio.session.current
    assert after.steps == ("repair",)
    rest = torch.ones(32, 32, dtype=torch.bool)
    rest[8:16, 4:28] = False
    assert torch.equal(after.image[:, rest], before.image[:, rest])
    named(studio, "Top to bottom").value = (8, 8)
    named(studio, "Propose").click()
    assert "the hole is empty" in alerts(studio)[0].lower()


def test_what_was_kept_is_opened_as_it_was(studio: Studio, tmp_path: Path) -> None:
    button(studio, "Choose two 5 ").click()
    kept = studio.session.current
    named(studio, "File name").value = " me.webp "
    named(studio, "Size").value = 64
    named(studio, "Save").click()
    file = tmp_path / "mine" / "me.webp"
    assert said(studio, str(file))
    assert Image.open(file).size == (64, 64)
    findings = examine(file)
    assert findings.signature.valid
    assert findings.origin == extract(file.read_bytes())
    button(studio, "Choose one 1 ").click()
    upload(studio, file.read_bytes())
    assert torch.equal(studio.session.current.image, kept.image)
    assert studio.session.current.number == 5


def test_a_turn_is_an_animation(studio: Studio, tmp_path: Path) -> None:
    button(studio, "Choose two 5 ").click()
    named(studio, "File name").value = "me.gif"
    named(studio, "Size").value = 64
    named(studio, "Animation").value = "turn"
    named(studio, "Save").click()
    assert Image.open(tmp_path / "mine" / "me.gif").n_frames > 10


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("../out.png", "leads out of the folder"),
        ("  ", "needs a name"),
        ("me.jpg", "would be a JPEG"),
        ("<b>.txt", "&lt;b&gt;.txt must end in"),
    ],
)
def test_a_name_that_cannot_be_is_refused_in_place(
    studio: Studio, tmp_path: Path, name: str, part: str
) -> None:
    button(studio, "Choose one 1 ").click()
    named(studio, "File name").value = name
    named(studio, "Save").click()
    assert part in alerts(studio)[0]
    assert list((tmp_path / "mine").iterdir()) == []


def test_nothing_is_overwritten_unasked(studio: Studio, tmp_path: Path) -> None:
    button(studio, "Choose one 1 ").click()
    named(studio, "Size").value = 64
    named(studio, "Save").click()
    file = tmp_path / "mine" / "my-avatar.png"
    before = file.read_bytes()
    button(studio, "Choose one 2 ").click()
    named(studio, "Save").click()
    assert "exists" in alerts(studio)[0]
    assert file.read_bytes() == before
    overwrite = named(studio, "Overwrite the file if it exists")
    overwrite.value = True
    named(studio, "Save").click()
    assert file.read_bytes() != before
    assert overwrite.value is False  # asked for once, done once


def test_a_picture_is_searched_for_by_all_painters(studio: Studio) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    upload(studio, png_of(noise))
    assert said(studio, "This picture is unlike anything the models know")
    assert said(studio, "one ") and said(studio, " dB")
    button(studio, "Go on from what the two draws").click()
    assert studio.session.current.steps == ("from a picture",)
    assert studio.session.current.painter == "two"
    own = to_uint8(studio._wish.sheets["one"][0].image[None])[0]
    upload(studio, png_of(own))
    assert said(studio, "The nearest that the models can draw: one ")


def test_a_search_can_be_stopped(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(search: object, *args: object) -> None:
        named(studio, "Stop").click()

    start = next(s for s in studio._sections if isinstance(s, Start))
    monkeypatch.setattr(start, "_watch", press)
    own = to_uint8(studio._wish.sheets["one"][0].image[None])[0]
    upload(studio, png_of(own))
    assert [found.painter for found in start._found] == ["one", "two"]
    assert named(studio, "Stop").disabled


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: b"", "not an image"),
        (lambda: png_of(np.eye(64, dtype=np.uint8))[:-30], "truncated"),
        (lambda: png_of(np.zeros((8, 8, 3), np.uint8)), "too small"),
    ],
)
def test_a_file_that_is_no_picture_is_refused_in_place(
    studio: Studio, make: Callable[[], bytes], part: str
) -> None:
    upload(studio, make())
    assert part in alerts(studio)[0]


def test_before_anything_was_chosen_each_step_says_so(studio: Studio) -> None:
    for description in ("Set", "Propose", "Save"):
        named(studio, description).click()
    assert len(alerts(studio)) == 3
    assert all("choose a candidate first" in alert for alert in alerts(studio))


def test_one_section_is_shown_at_a_time(studio: Studio) -> None:
    steps = next(
        w for w in inside(studio.panel) if isinstance(w, ipywidgets.ToggleButtons)
    )
    for place in range(5):
        steps.value = place
        shown = [s.box.layout.display != "none" for s in studio._sections]
        assert shown == [p == place for p in range(5)]


def test_everything_to_click_or_fill_in_has_a_name(studio: Studio) -> None:
    button(studio, "Choose one 1 ").click()
    widgets = inside(studio.panel)
    for each in widgets:
        if isinstance(each, ipywidgets.Button):
            assert each.description and each.tooltip
        elif hasattr(each, "value") and not isinstance(
            each, ipywidgets.HTML | ipywidgets.ToggleButtons
        ):
            assert each.description


def test_it_is_a_picture_where_widgets_do_not_live(studio: Studio) -> None:
    bundle = studio._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    picture = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    assert picture.size == (8 * 34 + 2, 2 * 34 + 2)
    assert bundle["text/plain"] == "Studio(one, two, seed 0)"


def test_the_studio_opens_the_models_that_ship() -> None:
    session = open_session()
    assert list(session.painters) == ["GAN", "VAE"]
    sheets = session.sheet({"hair_color": "pink"}, 0, 2)
    assert [len(sheet) for sheet in sheets.values()] == [2, 2]
