"""A flip book: a slider and its pictures, linked in the browser."""

import pytest
import torch
from ipywidgets.embed import dependency_state

from chibi_lab.errors import ChibiError
from chibi_lab.studio import FlipBook

IMAGES = torch.linspace(-1, 1, 3)[:, None, None, None].expand(3, 3, 8, 8)


def test_the_slider_turns_the_pages_without_python() -> None:
    panel = FlipBook(IMAGES, ["short", "mid", "long"], "hair").panel
    slider, stack = panel.children
    assert [name for name, _ in slider.options] == ["short", "mid", "long"]
    assert stack.selected_index == slider.index == 0
    assert len(stack.children) == 3
    # What a page embeds: the link itself, which the browser follows.
    state = dependency_state([panel])
    (link,) = [w["state"] for w in state.values() if w["model_name"] == "LinkModel"]
    assert link["source"] == [f"IPY_MODEL_{slider.model_id}", "index"]
    assert link["target"] == [f"IPY_MODEL_{stack.model_id}", "selected_index"]


def test_each_page_says_what_it_shows() -> None:
    _, stack = FlipBook(IMAGES, ["a", "b", '"<c>'], "longer hair").panel.children
    assert 'alt="longer hair: b"' in stack.children[1].value
    assert 'alt="longer hair: &quot;&lt;c&gt;"' in stack.children[2].value


def test_a_page_without_widgets_gets_all_pictures() -> None:
    bundle = FlipBook(IMAGES, ["a", "b", "c"], "hair")._repr_mimebundle_()
    assert bundle["text/plain"] == "FlipBook(hair, 3 pictures)"
    assert bundle["image/png"]
    assert "application/vnd.jupyter.widget-view+json" in bundle


@pytest.mark.parametrize(("count", "names"), [(1, ["a"]), (3, ["a", "b"])])
def test_too_few_images_or_names(count: int, names: list[str]) -> None:
    with pytest.raises(
        ChibiError, match=f"{count} images and {len(names)} names: a flip"
    ):
        FlipBook(IMAGES[:count], names, "hair")
