import dataclasses
import json

import pytest

from chibi_lab.data import AttributeSchema
from chibi_lab.errors import ChibiError
from chibi_lab.training import (
    GANConfig,
    ModernGANConfig,
    ModernVAEConfig,
    TrainingConfig,
    VAEConfig,
)
from chibi_lab.training.config import config_from_json


def test_defaults_are_the_articles_optimisers() -> None:
    assert (GANConfig().learning_rate, GANConfig().betas) == (2e-4, (0.5, 0.999))
    assert VAEConfig().learning_rate == 1e-3
    assert VAEConfig().kl_weight == 1


@pytest.mark.parametrize(
    "config",
    [
        GANConfig(size=32, betas=(0.0, 0.9)),
        VAEConfig(seed=7),
        ModernGANConfig(size=64, width=48, augment=True, penalty=0.05, minutes=1.5),
        ModernVAEConfig(conditional=False, adversary=2e-4, penalty_every=4),
    ],
)
def test_a_config_survives_json(config: TrainingConfig) -> None:
    again = config_from_json(json.loads(json.dumps(config.to_json())))
    assert type(again) is type(config)
    assert again == config


def test_a_config_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        GANConfig().size = 32  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("size", 50, "size is 50: it must be 32, 64 or 128 pixels"),
        ("images", 0, "images is 0: it must be at least 1"),
        ("batch", 1, "batch is 1: it must be at least 2"),
        ("seed", -1, "seed is -1: it must be a whole number from 0 up"),
        ("learning_rate", 0.0, "learning_rate is 0.0: it must be above 0"),
        (
            "betas",
            (0.5, 1.0),
            "betas is .0.5, 1.0.: it must be two numbers from 0 to below 1",
        ),
        ("loss", "wgan", "loss is wgan: it must be non-saturating or minimax"),
        ("instance_noise", -0.1, "instance_noise is -0.1: it must be 0 or more"),
        ("ema_images", 0, "ema_images is 0: it must be at least 1"),
    ],
)
def test_values_out_of_range_are_named(field: str, value: object, message: str) -> None:
    with pytest.raises(ChibiError, match=message):
        GANConfig(**{field: value})


def test_a_negative_kl_weight_is_refused() -> None:
    with pytest.raises(ChibiError, match="kl_weight is -1: it must be 0 or more"):
        VAEConfig(kl_weight=-1)


@pytest.mark.parametrize("config", [ModernGANConfig, ModernVAEConfig])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 16}, "size is 16: it must be a multiple of 16, at least 32"),
        ({"size": 72}, "size is 72: it must be a multiple of 16, at least 32"),
        ({"width": 80}, "width is 80: it must be 64, or 3/4 of it where that is"),
        ({"size": 32, "width": 24}, "width is 24: it must be 32, or 3/4 of it where"),
        ({"penalty": -1.0}, "penalty is -1.0: it must be 0 or more"),
        ({"penalty_every": 0}, "penalty_every is 0: it must be at least 1"),
        ({"ema_images": 0}, "ema_images is 0: it must be at least 1"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0: it must be above 0"),
        ({"betas": (1.0, 0.9)}, "betas is .1.0, 0.9.: it must be two numbers from 0"),
        ({"batch": 1}, "batch is 1: it must be at least 2"),
        ({"latent_dim": 0}, "latent_dim is 0: it must be at least 1"),
    ],
)
def test_modern_values_out_of_range_are_named(
    config: type[TrainingConfig], changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ChibiError, match=message):
        config(**changes)


def test_an_adversary_is_there_or_not() -> None:
    with pytest.raises(ChibiError, match="adversary is -1: it must be 0 or more"):
        ModernVAEConfig(adversary=-1)
    with pytest.raises(ChibiError, match="augment is True: it must be False where"):
        ModernVAEConfig(augment=True)
    assert ModernVAEConfig(augment=True, adversary=1e-4).augment


@pytest.mark.parametrize(
    ("size", "width", "shape"),
    [
        (64, None, (64, 64)),
        (48, 48, (48, 48)),
        (64, 48, (64, 48)),
        (128, 96, (128, 96)),
    ],
)
def test_shape_is_height_and_width(
    size: int, width: int | None, shape: tuple[int, int]
) -> None:
    assert ModernGANConfig(size=size, width=width).shape == shape
    assert GANConfig(size=128).shape == (128, 128)


def test_images_that_a_model_cannot_learn_from_are_refused() -> None:
    three = AttributeSchema(("a", "b", "c"), (("x",),) * 3)
    for config in (VAEConfig(), ModernVAEConfig()):
        config.check_images((64, 64), None)
        with pytest.raises(
            ChibiError, match=r"have 32 x 32 pixels .*, the config says"
        ):
            config.check_images((32, 32), None)
    with pytest.raises(ChibiError, match=r"64 x 48 pixels .* config says 64 x 64"):
        GANConfig().check_images((64, 48), three)
    with pytest.raises(ChibiError, match="latent_dim is 2: it must be at least 3"):
        ModernGANConfig(latent_dim=2).check_images((64, 64), three)
    ModernGANConfig(latent_dim=2, conditional=False).check_images((64, 64), three)
    GANConfig(latent_dim=2).check_images((64, 64), three)


def test_the_title_of_a_kind_is_how_one_writes_it() -> None:
    kinds = (GANConfig, VAEConfig, ModernGANConfig, ModernVAEConfig)
    titles = [kind().title for kind in kinds]
    assert titles == ["GAN", "VAE", "modern GAN", "modern VAE"]


def test_unknown_kinds_and_fields_are_named() -> None:
    with pytest.raises(ChibiError, match="kind of model 'diffusion' is unknown"):
        config_from_json({"kind": "diffusion"})
    with pytest.raises(ChibiError, match="unknown fields: depth, heads"):
        config_from_json({"kind": "vae", "heads": 4, "depth": 2})
