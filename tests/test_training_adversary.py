"""The discriminator's turn: what it learns, how steep it may be, and what it tells a generator."""

import pytest
import torch
from torch import optim

from chibi_lab.losses import gradient_penalty
from chibi_lab.models import ModernDiscriminator
from chibi_lab.training import Engine, ModernGANConfig
from chibi_lab.training.adversary import Adversary

COUNTS = (3, 2)
SHOWN = torch.tensor([[0, 1], [1, 0], [2, 1], [0, 0]])
REAL = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
FAKE = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)) - 1


def adversary(
    learning_rate: float = 0.0, **changes: object
) -> tuple[Adversary, ModernDiscriminator]:
    """With a step size of 0 the discriminator stays as it is."""
    config = ModernGANConfig(size=32, batch=4, channels=4, **changes)
    torch.manual_seed(0)
    discriminator = ModernDiscriminator((32, 32), 4, COUNTS)
    optimizer = optim.Adam(discriminator.parameters(), learning_rate, (0.0, 0.99))
    noise = torch.Generator().manual_seed(0)
    engine = Engine("cpu", "float32", 4)
    return Adversary(engine, config, discriminator, optimizer, noise), discriminator


def penalties(steps: int, **changes: object) -> list[float]:
    unmoved, _ = adversary(**changes)
    return [
        unmoved.learn(REAL, FAKE, SHOWN, step)[1]["penalty"].item()
        for step in range(steps)
    ]


def test_it_learns_which_images_are_real() -> None:
    learner, discriminator = adversary(1e-3)
    rows = [learner.learn(REAL, FAKE, SHOWN, step)[1] for step in range(30)]
    assert rows[-1]["loss_d"] < rows[0]["loss_d"]
    assert rows[-1]["right"] == 1
    assert (discriminator(REAL, SHOWN) > discriminator(FAKE, SHOWN)).all()


def test_the_penalty_is_half_its_weight_on_both_kinds_of_images() -> None:
    unmoved, discriminator = adversary(penalty=3.0, penalty_every=1)
    figures = unmoved.learn(REAL, FAKE, SHOWN, 0)[1]
    both = 0.0
    for images in (REAL, FAKE):
        images = images.clone().requires_grad_()
        both += gradient_penalty(discriminator(images, SHOWN), images).item()
    assert figures["penalty"].item() == pytest.approx(3 / 2 * both, rel=1e-5)


def test_lazy_penalties_have_the_mean_of_those_of_every_step() -> None:
    always, lazy = penalties(8, penalty_every=1), penalties(8, penalty_every=4)
    assert [penalty > 0 for penalty in lazy] == [True, False, False, False] * 2
    assert sum(lazy) == pytest.approx(sum(always), rel=1e-5)


def test_without_a_weight_there_is_no_penalty() -> None:
    assert penalties(2, penalty=0.0, penalty_every=1) == [0.0, 0.0]


def test_a_penalty_keeps_the_discriminator_flat() -> None:
    slopes = []
    for penalty in (0.0, 10.0):
        learner, discriminator = adversary(1e-3, penalty=penalty, penalty_every=1)
        for step in range(30):
            learner.learn(REAL, FAKE, SHOWN, step)
        images = REAL.clone().requires_grad_()
        slopes.append(gradient_penalty(discriminator(images, SHOWN), images).item())
    assert slopes[1] < slopes[0] / 2


def test_the_logits_that_it_gives_carry_no_graph() -> None:
    unmoved, discriminator = adversary()
    logits, _ = unmoved.learn(REAL, FAKE, SHOWN, 0)
    assert not logits.requires_grad
    torch.testing.assert_close(logits, discriminator(REAL, SHOWN).detach())


def test_the_generator_is_told_how_and_the_discriminator_left_alone() -> None:
    learner, discriminator = adversary(1e-3)
    real_logits, _ = learner.learn(REAL, FAKE, SHOWN, 0)
    before = [p.grad.clone() for p in discriminator.parameters()]
    drawn = FAKE.clone().requires_grad_()
    loss = learner.generator_loss(real_logits, drawn, SHOWN)
    loss.backward()
    for parameter, gradient in zip(discriminator.parameters(), before, strict=True):
        assert parameter.requires_grad
        assert torch.equal(parameter.grad, gradient)
    better = drawn.detach() - 0.1 * drawn.grad / drawn.grad.abs().max()
    assert learner.generator_loss(real_logits, better, SHOWN) < loss


def test_augmentation_changes_what_is_judged_and_nothing_else() -> None:
    # Real and generated images are the same: only the changes tell them apart.
    plain, _ = adversary()
    changed, _ = adversary(augment=True)
    for each, alike in ((plain, True), (changed, False)):
        logits, figures = each.learn(REAL, REAL, SHOWN, 1)
        assert (figures["loss_d"].item() == pytest.approx(0.693147)) is alike
        assert logits.shape == (4,)
    assert changed.learn(REAL, FAKE, SHOWN, 0)[1]["penalty"] > 0


def test_compiled_networks_are_penalised_too() -> None:
    learner, discriminator = adversary(1e-3, compile=True, penalty_every=2)
    discriminator.compile(backend="aot_eager")  # what compiles need not be fast
    figures = [learner.learn(REAL, FAKE, SHOWN, step)[1] for step in range(4)]
    assert [row["penalty"].item() > 0 for row in figures] == [True, False] * 2
    torch.compiler.reset()
