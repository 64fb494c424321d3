import dataclasses
import json
import os
import re
from pathlib import Path

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
from chibi_lab.training.config import config_from_json, read_config


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
        ("seed", -1, "seed is -1: it must be at least 0"),
        ("learning_rate", 0.0, "learning_rate is 0.0: it must be above 0"),
        (
            "betas",
            (0.5, 1.0),
            "betas.1 is 1.0: it must be below 1",
        ),
        ("loss", "wgan", "loss is 'wgan': it must be 'non-saturating' or 'minimax'"),
        ("instance_noise", -0.1, "instance_noise is -0.1: it must be at least 0"),
        ("ema_images", 0, "ema_images is 0: it must be at least 1"),
        ("size", "32", "size is '32': it must be a whole number"),
        ("size", 32.0, "size is 32.0: it must be a whole number"),
        ("batch", True, "batch is True: it must be a whole number"),
        ("channels", 10**9, "channels is 1000000000: it must be at most 4096"),
        ("latent_dim", 2 * 10**7, "latent_dim is 20000000: it must be at most 65536"),
        ("count", 10**9, "count is 1000000000: it must be at most 10000000"),
        pytest.param(
            "seed",
            10**5000,
            "seed is a very large number: it must be below",
            id="digits",
        ),
        ("learning_rate", float("inf"), "learning_rate is inf: it must be a finite"),
        ("minutes", float("nan"), "minutes is nan: it must be a finite number"),
        ("minutes", "1", "minutes is '1': it must be a number"),
        ("betas", 0.5, "betas is 0.5: it must be a tuple"),
        ("betas", (0.5,), "betas.1 is missing"),
        ("device", 3, "device is 3: it must be 'auto', 'cpu' or 'cuda'"),
        ("compile", 1, "compile is 1: it must be a boolean"),
        ("data", None, "data is None: it must be a string"),
        ("data", "", "data is '': it must have at least 1 character"),
    ],
)
def test_values_out_of_range_are_named(field: str, value: object, message: str) -> None:
    with pytest.raises(ChibiError, match=message):
        GANConfig(**{field: value})


def test_a_negative_kl_weight_is_refused() -> None:
    with pytest.raises(ChibiError, match="kl_weight is -1: it must be at least 0"):
        VAEConfig(kl_weight=-1)


@pytest.mark.parametrize("config", [ModernGANConfig, ModernVAEConfig])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 16}, "size is 16: it must be a multiple of 16, at least 32"),
        ({"size": 72}, "size is 72: it must be a multiple of 16, at least 32"),
        ({"width": 80}, "width is 80: it must be 64, or 3/4 of it where that is"),
        ({"size": 32, "width": 24}, "width is 24: it must be 32, or 3/4 of it where"),
        ({"penalty": -1.0}, "penalty is -1.0: it must be at least 0"),
        ({"penalty_every": 0}, "penalty_every is 0: it must be at least 1"),
        ({"ema_images": 0}, "ema_images is 0: it must be at least 1"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0: it must be above 0"),
        ({"betas": (1.0, 0.9)}, "betas.0 is 1.0: it must be below 1"),
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
    with pytest.raises(ChibiError, match="adversary is -1: it must be at least 0"):
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "a config is a JSON object of names and values"),
        ('"gan"', "a config is a JSON object"),
        ("{}", "kind of model None is unknown"),
        ('{"kind": ["gan"]}', "is unknown: the kinds are gan"),
        ('{"kind": "gan", "size": "32"}', "size is '32': it must be a whole number"),
        ('{"kind": "gan", "batch": 4.5}', "batch is 4.5: it must be a whole number"),
        ('{"kind": "gan", "betas": 3}', "betas is 3: it must be a tuple"),
        ('{"kind": "gan", "betas": {"0": 1}}', "betas is {'0': 1}: it must be a tuple"),
        ('{"kind": "gan", "learning_rate": 1e999}', "learning_rate is inf: it must be"),
        ('{"kind": "gan", "seed": Infinity}', "cannot be read as JSON"),
        ('{"kind": "gan", "seed": ' + "9" * 5000 + "}", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("", "cannot be read as JSON"),
        ('{"kind": "g\xe4n"}', "cannot be read as JSON"),
    ],
)
def test_a_config_file_that_is_none_is_one_line_with_its_name(
    text: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ChibiError, match=re.escape(message)) as caught:
        read_config(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(file))


def test_only_a_regular_file_is_read_as_a_config(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(GANConfig().to_json()))
    (tmp_path / "link").symlink_to("config.json")
    for name in ("pipe", "folder", "link", "nothing"):
        with pytest.raises(ChibiError, match=f"cannot read .*{name}"):
            read_config(tmp_path / name)
    assert read_config(tmp_path / "link", links=True) == GANConfig()
