import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from chibi_lab.cli import main
from chibi_lab.data import AttributeSchema, ImageSet
from chibi_lab.studio import Origin

COLOURS = {"red": (220, 60, 60), "green": (60, 200, 80), "blue": (60, 80, 220)}


@pytest.fixture(scope="session")
def labelled() -> ImageSet:
    """Pictures of 32 pixels that say what they show: the colour around, and a disc or none."""
    random = np.random.default_rng(0)
    schema = AttributeSchema(("around", "disc"), (tuple(COLOURS), ("none", "white")))
    attributes = np.stack(
        [random.integers(0, 3, 48), random.choice(2, 48, p=(0.75, 0.25))], axis=1
    )
    y, x = np.mgrid[:32, :32]
    disc = (x - 16) ** 2 + (y - 16) ** 2 < 64
    around = np.array(list(COLOURS.values()), dtype=np.uint8)[attributes[:, 0]]
    shown = disc & (attributes[:, 1, None, None] == 1)
    images = np.where(shown[..., None], np.uint8(250), around[:, None, None])
    return ImageSet(images, attributes, schema)


@pytest.fixture(scope="session")
def narrow(labelled: ImageSet) -> ImageSet:
    """The same at 64 x 48 pixels."""
    large = labelled.images.repeat(2, axis=1).repeat(2, axis=2)
    return ImageSet(large, labelled.attributes, labelled.schema).crop(48)


@pytest.fixture(scope="session")
def files() -> dict[str, bytes]:
    """Small picture files in each format that an avatar is saved in, still and animated."""
    random = np.random.default_rng(0)
    frames = [
        Image.fromarray(random.integers(0, 256, (9, 7, 4), dtype=np.uint8))
        for _ in range(3)
    ]

    def file(kind: str, count: int, **options: object) -> bytes:
        if count > 1:
            options |= {"save_all": True, "append_images": frames[1:], "loop": 0}
        opened = io.BytesIO()
        frames[0].save(opened, kind, **options)
        return opened.getvalue()

    return {
        "PNG": file("PNG", 1),
        "APNG": file("PNG", 3, duration=100),
        "WebP": file("WEBP", 1),
        "lossless WebP": file("WEBP", 1, lossless=True),
        "animated WebP": file("WEBP", 3, duration=100),
        "GIF": file("GIF", 1),
        "animated GIF": file("GIF", 3, duration=100),
    }


@pytest.fixture(scope="session")
def origin() -> Origin:
    """An origin in which every field says something."""
    return Origin(
        model="modern-gan",
        kind="modern-gan",
        weights="0123456789abcdef" * 4,
        latent=(0.5, -1.25, 3.0),
        seed=7,
        candidate=3,
        attributes={"hair_color": "pink"},
        steps=("hair_color=pink", "repair"),
        credit="Avatars by “Ä” <a@b> & others",
    )


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], str]:
    """The one line that a refused command prints."""

    def refused(arguments: list[str]) -> str:
        capsys.readouterr()
        assert main(arguments) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1, said.err
        assert said.err.startswith("chibi-lab: ")
        return said.err

    return refused
