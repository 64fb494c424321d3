"""The modern GAN and VAE: conditions, resume, other shapes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chibi_lab.data import AttributeSchema, ImageSet, to_float
from chibi_lab.errors import ChibiError
from chibi_lab.training import (
    Engine,
    ModernGANConfig,
    ModernVAEConfig,
    Run,
    export_run,
    has_encoder,
    latents,
    load_drawer,
    reconstruct,
    sample,
    train_modern_gan,
    train_modern_vae,
)
from chibi_lab.training.augment import Augmentation
from chibi_lab.training.checkpoint import read_checkpoint

TINY = {"size": 32, "channels": 4, "latent_dim": 5, "batch": 8, "log_every": 16}
TINY |= {"sample_every": 32, "checkpoint_every": 32, "penalty_every": 2}
TINY |= {"precision": "float32"}
SCHEMA = AttributeSchema(
    ("ground", "disc"), (("red", "blue"), ("red", "green", "blue"))
)
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
LOOPS = {
    "modern-gan": (ModernGANConfig, train_modern_gan),
    "modern-vae": (ModernVAEConfig, train_modern_vae),
}
KINDS = [
    ("modern-gan", {}),
    ("modern-gan", {"augment": True}),
    ("modern-vae", {}),
    ("modern-vae", {"adversary": 1e-3}),
]


@pytest.fixture(scope="module")
def discs() -> ImageSet:
    """Coloured discs on coloured grounds."""
    rows = np.random.default_rng(0).integers(0, [2, 3], (40, 2))
    y, x = np.mgrid[:32, :32]
    disc = ((x - 16) ** 2 + (y - 16) ** 2 < 64)[..., None]
    images = [
        np.where(disc, *(COLOURS[SCHEMA.decode(row)[n]] for n in ("disc", "ground")))
        for row in rows
    ]
    return ImageSet(
        np.array(images, dtype=np.uint8), rows, SCHEMA, {"schema": SCHEMA.to_json()}
    )


def train(
    kind: str, out: Path, images: ImageSet, seen: int = 64, **changes: Any
) -> Run:
    config, loop = LOOPS[kind]
    choices = config(images=seen, **(TINY | changes))
    return loop(choices, out, images=images, resume=out.exists(), progress=False)


@pytest.mark.parametrize(("kind", "changes"), KINDS)
def test_resumed_training_is_the_training_without_a_stop(
    kind: str, changes: dict[str, Any], tmp_path: Path, discs: ImageSet
) -> None:
    whole = train(kind, tmp_path / "whole", discs, 96, **changes)
    train(kind, tmp_path / "parts", discs, 32, **changes)
    parts = train(kind, tmp_path / "parts", discs, 96, **changes)
    other = train(kind, tmp_path / "other", discs, 96, seed=1, **changes)
    left, right, third = (read_checkpoint(r.latest())[0] for r in (whole, parts, other))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert not all(torch.equal(left[name], third[name]) for name in left)


@pytest.mark.parametrize("kind", LOOPS)
def test_a_conditional_run_takes_wishes_and_refuses_others(
    kind: str, tmp_path: Path, discs: ImageSet
) -> None:
    run = train(kind, tmp_path / "run", discs)
    assert run.schema() == SCHEMA
    wished = sample(run, 3, seed=1, wish={"disc": "green"})
    row = torch.tensor(SCHEMA.ask({"disc": "green"})).expand(3, -1)
    network, z = load_drawer(run), latents(3, 5, 1)
    with torch.no_grad():
        torch.testing.assert_close(network(z, row), wished, rtol=1e-4, atol=1e-5)
    with pytest.raises(ChibiError, match="no attribute 'hat'"):
        sample(run, 3, wish={"hat": "red"})
    with pytest.raises(
        ChibiError, match=r"no value 'pink'; its values are: red, green"
    ):
        sample(run, 3, wish={"disc": "pink"})


@pytest.mark.parametrize("kind", LOOPS)
def test_without_attributes_a_run_is_unconditional(
    kind: str, tmp_path: Path, discs: ImageSet
) -> None:
    bare = train(kind, tmp_path / "bare", ImageSet(discs.images))
    refused = train(kind, tmp_path / "refused", discs, conditional=False)
    for run in (bare, refused):
        assert run.schema() is None
        assert sample(run, 2).shape == (2, 3, 32, 32)
        with pytest.raises(ChibiError, match="takes no wishes"):
            sample(run, 2, wish={"disc": "green"})


@pytest.mark.parametrize("kind", LOOPS)
def test_three_to_four_images_are_learned_exported_and_drawn(
    kind: str, tmp_path: Path, discs: ImageSet
) -> None:
    tall = ImageSet(
        discs.images.repeat(2, 1).repeat(2, 2)[:, :, 8:56], discs.attributes, SCHEMA,
        discs.manifest,
    )  # fmt: skip
    run = train(kind, tmp_path / "run", tall, size=64, width=48)
    small = export_run(run, tmp_path / "small")
    drawn = sample(run, 2)
    assert drawn.shape == (2, 3, 64, 48)
    torch.testing.assert_close(sample(small, 2), drawn, rtol=0, atol=0.02)
    assert small.latest().stat().st_size < run.latest().stat().st_size / 3


def test_only_the_vae_reconstructs(tmp_path: Path, discs: ImageSet) -> None:
    vae = train("modern-vae", tmp_path / "vae", discs, 640)
    assert has_encoder(vae)
    originals = to_float(discs.images[:8])
    rebuilt, mu, logvar = reconstruct(vae, originals)
    assert mu.shape == logvar.shape == (8, 5)
    flat = originals.mean(0, keepdim=True)
    assert (rebuilt - originals).square().mean() < (flat - originals).square().mean()
    gan = train("modern-gan", tmp_path / "gan", discs)
    assert not has_encoder(gan)
    with pytest.raises(ChibiError, match="a modern-vae is needed here"):
        reconstruct(gan, originals)


def test_the_penalty_counts_for_the_steps_without(
    tmp_path: Path, discs: ImageSet
) -> None:
    def logged(every: int) -> list[float]:
        out = tmp_path / str(every)
        run = train("modern-gan", out, discs, 16, penalty_every=every, log_every=8)
        return [row["penalty"] for row in run.stats()]

    always, lazy = logged(1), logged(2)
    assert lazy[0] == pytest.approx(2 * always[0], rel=1e-4)
    assert lazy[1] == 0 < always[1]


def test_augmentation_changes_each_image_and_passes_gradients() -> None:
    engine = Engine("cpu", "float32", 6)
    images = torch.rand(6, 3, 64, 48, requires_grad=True)

    def changed(seed: int) -> torch.Tensor:
        return Augmentation(engine, torch.Generator().manual_seed(seed), 6)(images)

    once = changed(0)
    assert once.shape == images.shape
    assert torch.equal(once, changed(0))
    assert not torch.equal(once, changed(1))
    assert all(not torch.equal(a, b) for a, b in zip(once, images, strict=True))
    once.sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 40}, "size is 40: it must be a multiple of 16, at least 32"),
        ({"width": 50}, "width is 50: it must be a multiple of 16"),
        ({"penalty": -1.0}, "penalty is -1.0: it must be 0 or more"),
        ({"penalty_every": 0}, "penalty_every is 0: it must be at least 1"),
    ],
)
def test_values_out_of_range_are_named(changes: dict[str, Any], message: str) -> None:
    for config, _ in LOOPS.values():
        with pytest.raises(ChibiError, match=message):
            config(**changes)


def test_configs_say_what_they_are(tmp_path: Path, discs: ImageSet) -> None:
    run = train("modern-vae", tmp_path / "run", discs)
    stored = json.loads((run.path / "config.json").read_text())
    assert stored["kind"] == "modern-vae"
    assert Run.open(run.path).config == run.config
    assert run.config.title == "modern VAE"
