import dataclasses
import json

import pytest

from chibi_lab.errors import ChibiError
from chibi_lab.training import GANConfig, VAEConfig
from chibi_lab.training.config import config_from_json


def test_defaults_are_the_articles_optimisers() -> None:
    assert (GANConfig().learning_rate, GANConfig().betas) == (2e-4, (0.5, 0.999))
    assert VAEConfig().learning_rate == 1e-3
    assert VAEConfig().kl_weight == 1


@pytest.mark.parametrize(
    "config", [GANConfig(size=32, betas=(0.0, 0.9)), VAEConfig(seed=7)]
)
def test_a_config_survives_json(config: GANConfig | VAEConfig) -> None:
    assert config_from_json(json.loads(json.dumps(config.to_json()))) == config


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


def test_unknown_kinds_and_fields_are_named() -> None:
    with pytest.raises(ChibiError, match="kind of model 'diffusion' is unknown"):
        config_from_json({"kind": "diffusion"})
    with pytest.raises(ChibiError, match="unknown fields: depth, heads"):
        config_from_json({"kind": "vae", "heads": 4, "depth": 2})
