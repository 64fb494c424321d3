from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from chibi_lab.data import ImageSet
from chibi_lab.errors import ChibiError
from chibi_lab.models.enlarger import Enlarger
from chibi_lab.training.enlarger import load_enlarger, save_enlarger, train_enlarger


def pictures() -> tuple[np.ndarray, ImageSet]:
    """Discs of 128 pixels on plain grounds, and the same at 32: the mean of each sixteen pixels."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:128, :128]
    discs = []
    for _ in range(24):
        centre, radius = random.uniform(40, 88, 2), random.uniform(15, 35)
        disc = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2
        discs.append(
            np.where(disc[..., None], np.uint8(20), np.uint8(230)).repeat(3, 2)
        )
    large = np.stack(discs)
    small = large.reshape(24, 32, 4, 32, 4, 3).mean((2, 4)).round().astype(np.uint8)
    return small, ImageSet(large)


def test_untrained_it_is_bicubic() -> None:
    images = torch.rand(2, 3, 9, 7) * 2 - 1
    enlarged = Enlarger(4, 1).eval()(images)
    assert enlarged.shape == (2, 3, 36, 28)
    plain = F.interpolate(images, scale_factor=4, mode="bicubic", align_corners=False)
    torch.testing.assert_close(enlarged, plain.clamp(-1, 1))


def test_it_learns_what_interpolation_lacks() -> None:
    small, large = pictures()
    trained = train_enlarger([small], large, 250, channels=16, depth=2)
    untrained = Enlarger(16, 2).eval()
    x = torch.from_numpy(small[:8]).permute(0, 3, 1, 2) / 127.5 - 1
    y = torch.from_numpy(large.images[:8]).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        errors = [(net(x) - y).square().mean() for net in (trained, untrained)]
    assert errors[0] < 0.7 * errors[1]
    assert trained(x).abs().max() <= 1


def test_the_same_seed_gives_the_same_network() -> None:
    small, large = pictures()
    first, again, other = (
        train_enlarger([small], large, 3, channels=4, depth=1, seed=seed)
        for seed in (0, 0, 1)
    )
    assert torch.equal(first.layers[0].weight, again.layers[0].weight)
    assert not torch.equal(first.layers[0].weight, other.layers[0].weight)


def test_it_is_kept_and_read(tmp_path: Path) -> None:
    network = Enlarger(4, 2)
    torch.nn.init.normal_(network.last.weight, 0.0, 0.05)
    save_enlarger(network, tmp_path / "enlarger.safetensors")
    read = load_enlarger(tmp_path / "enlarger.safetensors")
    x = torch.rand(1, 3, 8, 8) * 2 - 1
    torch.testing.assert_close(read(x), network.eval()(x), atol=1e-2, rtol=0)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    small, large = pictures()
    with pytest.raises(ChibiError, match=r"are not 4 times those of"):
        train_enlarger([small[:, :16]], large, 1)
    with pytest.raises(ChibiError, match="16 x 16 pixels are smaller than a patch"):
        train_enlarger(
            [small[:, :16, :16]], ImageSet(large.images[:, :64, :64].copy()), 1
        )
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(ChibiError, match="does not enlarge"):
        load_enlarger(tmp_path / "text.safetensors")
    with pytest.raises(ChibiError, match="both must be at least 1"):
        Enlarger(0, 1)
