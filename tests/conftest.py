import numpy as np
import pytest

from chibi_lab.data import AttributeSchema, ImageSet

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
