import base64
import io
import re
from pathlib import Path

import ipywidgets
import numpy as np
import pytest
import torch
from PIL import Image

from chibi_lab.data import ImageSet, to_uint8
from chibi_lab.studio import AvatarChooser, grid
from chibi_lab.studio.findings import examine
from chibi_lab.training import GANConfig, Run, VAEConfig, train_gan, train_vae

TINY = {"size": 32, "channels": 4, "latent_dim": 4, "batch": 8, "images": 16}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("runs")
    images = ImageSet(torch.randint(0, 256, (16, 32, 32, 3), dtype=torch.uint8).numpy())
    return {
        "GAN": train_gan(
            GANConfig(**TINY), folder / "gan", images=images, progress=False
        ),
        "VAE": train_vae(
            VAEConfig(**TINY), folder / "vae", images=images, progress=False
        ),
    }


@pytest.fixture
def chooser(
    runs: dict[str, Run],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> AvatarChooser:
    settings = tmp_path_factory.mktemp("settings")
    monkeypatch.setattr("chibi_lab.studio.keys.config_folder", lambda: settings)
    return AvatarChooser(runs, tmp_path, count=4)


def inside(widget: ipywidgets.Widget) -> list[ipywidgets.Widget]:
    """A widget and all in it."""
    return [
        widget,
        *(w for child in getattr(widget, "children", ()) for w in inside(child)),
    ]


def labelled(chooser: AvatarChooser, description: str) -> ipywidgets.Widget:
    """The one widget that a person sees under this label."""
    (found,) = [
        w
        for w in inside(chooser.panel)
        if getattr(w, "description", None) == description
    ]
    return found


def message(chooser: AvatarChooser) -> str:
    (found,) = [
        w for w in inside(chooser.panel) if "role=" in str(getattr(w, "value", ""))
    ]
    return found.value


def candidates(chooser: AvatarChooser) -> list[ipywidgets.Button]:
    (sheet,) = [w for w in inside(chooser.panel) if isinstance(w, ipywidgets.GridBox)]
    return list(sheet.children)


def pictures(text: str) -> list[np.ndarray]:
    found = re.findall(r"data:image/png;base64,([\w+/=]+)", text)
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found
    ]


def sheet_pictures(chooser: AvatarChooser) -> list[np.ndarray]:
    (style,) = [
        w
        for w in inside(chooser.panel)
        if "background-image" in str(getattr(w, "value", ""))
    ]
    return pictures(style.value)


def test_the_sheet_shows_the_candidates(chooser: AvatarChooser) -> None:
    shown = sheet_pictures(chooser)
    assert np.array_equal(np.stack(shown), to_uint8(chooser.choice.images))
    assert [button.description for button in candidates(chooser)] == [
        "✓ 1",
        "2",
        "3",
        "4",
    ]


def test_a_click_chooses(chooser: AvatarChooser) -> None:
    candidates(chooser)[2].click()
    assert chooser.choice.index == 2
    assert [button.description for button in candidates(chooser)] == [
        "1",
        "2",
        "✓ 3",
        "4",
    ]
    (preview,) = [
        w for w in inside(chooser.panel) if "<img" in str(getattr(w, "value", ""))
    ]
    assert np.array_equal(
        pictures(preview.value)[0], to_uint8(chooser.choice.images)[2]
    )
    assert 'alt="Avatar 3, GAN, seed 0"' in preview.value
    assert 'role="status"' in message(chooser)
    assert "Avatar 3" in message(chooser)


def test_other_settings_draw_other_candidates(chooser: AvatarChooser) -> None:
    labelled(chooser, "Model").value = "VAE"
    labelled(chooser, "Seed").value = 9
    labelled(chooser, "Candidates").value = 6
    assert (chooser.choice.model, chooser.choice.seed) == ("VAE", 9)
    assert len(candidates(chooser)) == len(sheet_pictures(chooser)) == 6
    labelled(chooser, "Candidates").value = 2
    assert len(candidates(chooser)) == 2
    assert np.array_equal(
        np.stack(sheet_pictures(chooser)), to_uint8(chooser.choice.images)
    )


def test_the_chosen_avatar_is_saved_in_the_folder(
    chooser: AvatarChooser, tmp_path: Path
) -> None:
    candidates(chooser)[1].click()
    labelled(chooser, "File").value = " mine.png "
    labelled(chooser, "Size").value = 128
    labelled(chooser, "Save avatar").click()
    picture = Image.open(tmp_path / "mine.png")
    assert picture.size == (128, 128)
    assert examine(tmp_path / "mine.png").origin.candidate == 2
    assert str(tmp_path / "mine.png") in message(chooser)


def test_an_error_is_said_in_place(chooser: AvatarChooser, tmp_path: Path) -> None:
    save = labelled(chooser, "Save avatar")
    labelled(chooser, "Size").value = 128
    save.click()
    before = (tmp_path / "my-avatar.png").read_bytes()
    candidates(chooser)[3].click()
    save.click()
    assert 'role="alert"' in message(chooser)
    assert "exists" in message(chooser)
    assert (tmp_path / "my-avatar.png").read_bytes() == before
    overwrite = labelled(chooser, "Overwrite the file if it exists")
    overwrite.value = True
    save.click()
    assert 'role="status"' in message(chooser)
    assert (tmp_path / "my-avatar.png").read_bytes() != before
    assert overwrite.value is False  # asked for once, done once


def test_what_a_person_types_is_shown_as_text(chooser: AvatarChooser) -> None:
    labelled(chooser, "File").value = "<b>.jpg"
    labelled(chooser, "Save avatar").click()
    assert "&lt;b&gt;.jpg would be a JPEG" in message(chooser)


def test_everything_to_click_or_fill_in_has_a_name(chooser: AvatarChooser) -> None:
    controls = [w for w in inside(chooser.panel) if isinstance(w, ipywidgets.Button)]
    assert all(button.description and button.tooltip for button in controls)
    kinds = (
        ipywidgets.Dropdown,
        ipywidgets.BoundedIntText,
        ipywidgets.Text,
        ipywidgets.Checkbox,
    )
    assert all(w.description for w in inside(chooser.panel) if isinstance(w, kinds))


def test_two_choosers_do_not_share_their_pictures(
    runs: dict[str, Run], tmp_path: Path
) -> None:
    one, two = AvatarChooser(runs, tmp_path), AvatarChooser(runs, tmp_path, seed=1)
    assert not set(one.panel._dom_classes) & set(two.panel._dom_classes)


def test_it_is_a_picture_where_widgets_do_not_live(chooser: AvatarChooser) -> None:
    bundle = chooser._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    picture = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    assert picture.tobytes() == grid(chooser.choice.images).tobytes()
    assert bundle["text/plain"] == "AvatarChooser(GAN, seed 0, 4 candidates)"
