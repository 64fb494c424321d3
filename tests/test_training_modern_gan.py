from pathlib import Path

import numpy as np
import pytest
import torch

from chibi_lab.data import ImageSet
from chibi_lab.errors import ChibiError
from chibi_lab.models import ModernDiscriminator
from chibi_lab.training import ModernGANConfig, Run, load_generator, train_modern_gan
from chibi_lab.training.checkpoint import read_checkpoint, with_prefix

TINY = {"size": 32, "channels": 4, "latent_dim": 5, "batch": 8, "images": 64}
TINY |= {"log_every": 16, "sample_every": 32, "checkpoint_every": 32}
TINY |= {"penalty_every": 3, "precision": "float32"}
CHANGES = [{}, {"augment": True}, {"conditional": False}]


def train(
    out: Path, pictures: ImageSet, resume: bool = False, **changes: object
) -> Run:
    config = ModernGANConfig(**TINY | changes)
    return train_modern_gan(config, out, images=pictures, resume=resume, progress=False)


def tensors(run: Run, part: str) -> dict[str, torch.Tensor]:
    return with_prefix(read_checkpoint(run.latest())[0], f"{part}.")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, labelled: ImageSet) -> Run:
    return train(tmp_path_factory.mktemp("runs") / "run", labelled)


def test_a_run_tells_how_the_game_went(run: Run) -> None:
    assert [row["images_seen"] for row in run.stats()] == [16, 32, 48, 64]
    for row in run.stats():
        assert row.keys() >= {"loss_d", "loss_g", "penalty", "right"}
        assert 0 <= row["right"] <= 1
    # Steps 0, 3 and 6 of eight, two a row.
    assert [row["penalty"] > 0 for row in run.stats()] == [True, True, False, True]
    assert [path.stem for path in run.samples()] == [
        "000000000", "000000032", "000000064",
    ]  # fmt: skip


@pytest.mark.parametrize("changes", CHANGES)
def test_the_same_seed_gives_the_same_bytes(
    changes: dict[str, object], tmp_path: Path, labelled: ImageSet
) -> None:
    first, again, other = (
        train(tmp_path / name, labelled, seed=seed, **changes)
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    files = [read_checkpoint(run.latest())[0] for run in (first, again, other)]
    assert files[0].keys() == files[1].keys()
    assert all(torch.equal(files[0][name], files[1][name]) for name in files[0])
    assert (first.path / "samples/000000064.png").read_bytes() == (
        again.path / "samples/000000064.png"
    ).read_bytes()
    name = "generator.mix.0.weight"
    assert not torch.equal(files[0][name], files[2][name])


@pytest.mark.parametrize("changes", CHANGES)
def test_a_resumed_training_ends_as_one_without_a_stop(
    changes: dict[str, object], tmp_path: Path, labelled: ImageSet
) -> None:
    whole = train(tmp_path / "whole", labelled, **changes)
    # At no multiple of anything: the next penalty is due at step 6.
    train(tmp_path / "half", labelled, images=40, **changes)
    resumed = train(tmp_path / "half", labelled, resume=True, **changes)
    first, second = (read_checkpoint(run.latest())[0] for run in (whole, resumed))
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def test_the_wishes_count_what_the_training_images_showed(
    run: Run, tmp_path: Path, labelled: ImageSet
) -> None:
    # One pass over all 48 pictures, in any order.
    once = train(tmp_path / "run", labelled, images=48, checkpoint_every=48)
    seen = tensors(once, "generator")["wishes.seen"]
    pairs = np.zeros((5, 5))
    for around, disc in labelled.attributes:
        shown = [around, 3 + disc]
        pairs[np.ix_(shown, shown)] += 1
    assert seen.tolist() == pairs.tolist()
    assert torch.equal(seen, load_generator(once).wishes.seen)


def test_like_is_compared_with_like(
    tmp_path: Path, labelled: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[tuple[torch.Tensor, torch.Tensor]] = []
    forward = ModernDiscriminator.forward

    def spy(
        self: ModernDiscriminator, images: torch.Tensor, shown: torch.Tensor
    ) -> torch.Tensor:
        judged.append((images.detach().clone(), shown))
        return forward(self, images, shown)

    monkeypatch.setattr(ModernDiscriminator, "forward", spy)
    train(tmp_path / "run", labelled, images=8)
    (real, first), (_, second), (_, third) = judged  # real, generated, generated again
    assert torch.equal(first, second)
    assert torch.equal(second, third)
    reddest = real[:, :, 0, 0].argmax(1)  # the corner is red, green or blue
    assert torch.equal(reddest, first[:, 0])


def test_the_optimiser_is_the_configs_for_both_players(
    tmp_path: Path, labelled: ImageSet
) -> None:
    once = train(tmp_path / "run", labelled, images=8, betas=(0.6, 0.84))
    for player in ("g", "d"):
        state = tensors(once, f"optimizer_{player}")
        # After one step the first moment is 0.4 g, the second 0.16 g².
        largest = max(v.abs().max() for k, v in state.items() if k.endswith("exp_avg"))
        assert largest > 0
        for index in range(4):
            first, second = (state[f"{index}.exp_avg{end}"] for end in ("", "_sq"))
            torch.testing.assert_close(first.square(), second)


def test_pictures_that_say_nothing_make_an_unconditional_model(
    tmp_path: Path, labelled: ImageSet
) -> None:
    plain = train(tmp_path / "plain", ImageSet(labelled.images))
    asked_not_to = train(tmp_path / "not", labelled, conditional=False)
    for run in (plain, asked_not_to):
        assert run.schema() is None
        assert load_generator(run).wishes.counts == ()
        assert len(tensors(run, "generator")["wishes.seen"]) == 0
    first, second = (tensors(run, "generator") for run in (plain, asked_not_to))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_can_be_asked_for_is_written_down(run: Run, labelled: ImageSet) -> None:
    assert Run.open(run.path).schema() == labelled.schema


def test_images_of_three_to_four_are_learned(tmp_path: Path, narrow: ImageSet) -> None:
    run = train(tmp_path / "run", narrow, size=64, width=48, augment=True, images=16)
    assert Run.open(run.path).config.shape == (64, 48)
    assert load_generator(run)(torch.zeros(1, 5)).shape == (1, 3, 64, 48)


def test_what_cannot_be_learned_from_is_refused_before_anything_is_written(
    tmp_path: Path, labelled: ImageSet
) -> None:
    with pytest.raises(ChibiError, match="the images have 32 x 32 pixels"):
        train(tmp_path / "run", labelled, size=48)
    with pytest.raises(ChibiError, match="latent_dim is 1: it must be at least 2"):
        train(tmp_path / "run", labelled, latent_dim=1)
    assert not (tmp_path / "run").exists()
