import pytest
import torch

from chibi_lab.errors import ChibiError
from chibi_lab.models import ModernDiscriminator, ModernGenerator

COUNTS = (3, 2)
SHAPES = [(32, 32), (64, 64), (64, 48), (128, 96), (48, 48)]


def noise(count: int) -> torch.Tensor:
    return torch.randn(count, 7, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def generator() -> ModernGenerator:
    torch.manual_seed(0)
    return ModernGenerator((32, 32), channels=4, latent_dim=7, counts=COUNTS)


@pytest.fixture
def discriminator() -> ModernDiscriminator:
    torch.manual_seed(1)
    return ModernDiscriminator((32, 32), channels=4, counts=COUNTS)


@pytest.mark.parametrize("counts", [(), COUNTS])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_and_ranges_at_each_size(
    shape: tuple[int, int], counts: tuple[int, ...]
) -> None:
    images = ModernGenerator(shape, 2, 7, counts)(noise(3))
    assert images.shape == (3, 3, *shape)
    assert images.abs().max() <= 1
    shown = torch.zeros(3, len(counts), dtype=torch.int64) if counts else None
    logits = ModernDiscriminator(shape, 2, counts)(images, shown)
    assert logits.shape == (3,)


@pytest.mark.parametrize("training", [True, False])
def test_an_image_does_not_depend_on_its_neighbours(
    training: bool, generator: ModernGenerator, discriminator: ModernDiscriminator
) -> None:
    z = noise(9)
    shown = torch.tensor([[1, 0]] * 9)
    generator.train(training)
    discriminator.train(training)
    together = generator(z, shown)
    alone = generator(z[4:5], shown[4:5])
    torch.testing.assert_close(together[4:5], alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        discriminator(together, shown)[4:5],
        discriminator(alone, shown[4:5]),
        atol=1e-4,
        rtol=1e-4,
    )


def test_the_image_follows_latent_and_wish(generator: ModernGenerator) -> None:
    z = noise(1)
    drawn = [generator(z, torch.tensor([[value, 0]])) for value in range(3)]
    assert (drawn[0] - drawn[1]).abs().max() > 0.01
    assert (drawn[1] - drawn[2]).abs().max() > 0.01
    other = generator(noise(2)[1:], torch.tensor([[0, 0]]))
    assert (drawn[0] - other).abs().max() > 0.01


def test_what_is_open_is_what_the_latent_chooses(generator: ModernGenerator) -> None:
    z = noise(5)
    chosen = generator.wishes.choose(z)
    assert torch.equal(generator(z), generator(z, chosen))
    assert torch.equal(generator(z), generator(z, torch.full((5, 2), -1)))


def test_the_logit_depends_on_what_is_asked_for(
    discriminator: ModernDiscriminator,
) -> None:
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    images = images.expand(6, -1, -1, -1) * 2 - 1
    asked = torch.tensor([[hair, glasses] for hair in range(3) for glasses in range(2)])
    logits = discriminator(images, asked).detach().view(3, 2)
    assert logits.unique().numel() == 6
    # A sum with a term for each attribute: what glasses add does not depend on the hair.
    torch.testing.assert_close(
        logits[:, 1] - logits[:, 0],
        (logits[0, 1] - logits[0, 0]).expand(3),
        atol=1e-4,
        rtol=1e-4,
    )


def test_without_attributes_the_discriminator_projects_nothing() -> None:
    judge = ModernDiscriminator((32, 32), channels=4)
    assert not any("project" in name for name in judge.state_dict())


@pytest.mark.parametrize("build", [ModernGenerator, ModernDiscriminator])
def test_what_is_out_of_range_is_refused(build: type) -> None:
    with pytest.raises(ChibiError, match=r"64 x 40 pixels .* multiples of 16"):
        build((64, 40))
    with pytest.raises(ChibiError, match="channels is 0: it must be at least 1"):
        build(channels=0)


def test_each_attribute_needs_a_dimension_of_the_latent() -> None:
    with pytest.raises(ChibiError, match="latent_dim is 1: it must be at least 2"):
        ModernGenerator(latent_dim=1, counts=COUNTS)
