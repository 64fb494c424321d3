import pytest
import torch

from chibi_lab.errors import ChibiError
from chibi_lab.models.strided import (
    he_init,
    inner_size,
    inner_widths,
    strided_down,
    strided_up,
)

SHAPES = [(32, 32), (64, 64), (64, 48), (128, 96), (48, 80)]


@pytest.mark.parametrize("shape", SHAPES)
def test_up_and_down_go_between_a_sixteenth_and_the_whole(
    shape: tuple[int, int],
) -> None:
    inner = inner_size(shape)
    assert inner == (shape[0] // 16, shape[1] // 16)
    images = strided_up(channels=2)(torch.randn(2, 16, *inner))
    assert images.shape == (2, 3, *shape)
    assert images.abs().max() <= 1
    assert strided_down(channels=2)(images).shape == (2, 16, *inner)


def test_widths_double_at_each_step_inwards() -> None:
    assert inner_widths(32) == [256, 128, 64, 32]


@pytest.mark.parametrize("shape", [(65, 64), (64, 24), (0, 32), (8, 16), (-16, 16)])
def test_sides_that_are_no_multiple_of_16_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ChibiError, match="both must be multiples of 16"):
        inner_size(shape)


def test_networks_without_width_are_refused() -> None:
    with pytest.raises(ChibiError, match="channels is 0: it must be at least 1"):
        strided_up(0)


def test_there_is_no_normalisation() -> None:
    layers = {type(layer).__name__ for layer in [*strided_up(4), *strided_down(4)]}
    assert layers == {"Conv2d", "ConvTranspose2d", "LeakyReLU", "Tanh"}


def test_signals_keep_their_size_from_layer_to_layer() -> None:
    torch.manual_seed(0)
    down = strided_down(channels=16).apply(he_init)
    up = strided_up(channels=16).apply(he_init)
    signal = torch.randn(4, 3, 128, 128)
    for layer in down:
        signal = layer(signal)
        if not isinstance(layer, torch.nn.LeakyReLU):  # borders of zeros take a little
            assert 0.5 < signal.std() < 2 * 1.4
    signal = torch.randn(4, 128, 8, 8)
    for layer in up[:-1]:  # without tanh
        signal = layer(signal)
        if not isinstance(layer, torch.nn.LeakyReLU):
            assert 0.5 < signal.std() < 2 * 1.4
