import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.distributions.kl import kl_divergence as reference_kl

from chibi_lab.losses import (
    discriminator_loss,
    gaussian_nll,
    gradient_penalty,
    kl_divergence,
    minimax_generator_loss,
    non_saturating_generator_loss,
    relativistic_discriminator_loss,
    relativistic_generator_loss,
    squared_error,
)


@pytest.fixture
def logits() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(64, generator=generator) * 3, torch.randn(
        64, generator=generator
    ) * 3


def test_gan_losses_are_bce_on_probabilities(
    logits: tuple[torch.Tensor, torch.Tensor],
) -> None:
    real, fake = logits
    bce = nn.BCELoss()
    ones, zeros = torch.ones(64), torch.zeros(64)
    expected = bce(real.sigmoid(), ones) + bce(fake.sigmoid(), zeros)
    torch.testing.assert_close(discriminator_loss(real, fake), expected)
    torch.testing.assert_close(
        non_saturating_generator_loss(fake), bce(fake.sigmoid(), ones)
    )
    torch.testing.assert_close(
        minimax_generator_loss(fake), (1 - fake.sigmoid()).log().mean()
    )


def test_discriminator_loss_is_log_four_where_d_cannot_tell() -> None:
    undecided = torch.zeros(8)
    assert discriminator_loss(undecided, undecided).item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_gan_losses_stay_finite_where_probabilities_round_to_zero_or_one(
    logit: float,
) -> None:
    far = torch.full((4,), logit, requires_grad=True)
    for loss in (
        discriminator_loss(far, far),
        minimax_generator_loss(far),
        non_saturating_generator_loss(far),
        relativistic_discriminator_loss(far, -far),
        relativistic_generator_loss(far, -far),
    ):
        (gradient,) = torch.autograd.grad(loss, far)
        assert loss.isfinite()
        assert gradient.isfinite().all()


def test_minimax_saturates_where_the_other_does_not() -> None:
    # D is sure that it is generated.
    recognised = torch.tensor([-10.0], requires_grad=True)
    (saturating,) = torch.autograd.grad(minimax_generator_loss(recognised), recognised)
    (strong,) = torch.autograd.grad(
        non_saturating_generator_loss(recognised), recognised
    )
    assert abs(saturating.item()) < 1e-4
    assert strong.item() == pytest.approx(-1, abs=1e-4)


def test_both_generator_losses_push_the_same_way() -> None:
    logit = torch.tensor([-1.3, 0.0, 2.1], requires_grad=True)
    for loss in (minimax_generator_loss, non_saturating_generator_loss):
        (gradient,) = torch.autograd.grad(loss(logit), logit)
        assert (gradient < 0).all()  # a step downhill raises D's answer


def test_the_best_discriminator_answers_p_over_p_plus_q() -> None:
    # Two distributions over five points; D is a free logit for each of them.
    p = torch.tensor([0.5, 0.2, 0.2, 0.1, 0.0], dtype=torch.float64)
    q = torch.tensor([0.1, 0.2, 0.3, 0.2, 0.2], dtype=torch.float64)
    counts_p, counts_q = (10 * p).long(), (10 * q).long()
    points = torch.arange(5)
    logits = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        real = logits[points.repeat_interleave(counts_p)]
        fake = logits[points.repeat_interleave(counts_q)]
        loss = discriminator_loss(real, fake)
        loss.backward()
        return loss

    optimizer.step(closure)
    loss = closure()
    best = p / (p + q)
    torch.testing.assert_close(logits.detach().sigmoid(), best, atol=1e-4, rtol=0)
    # At the optimum V = 2 JSD(p, q) - log 4 (Goodfellow et al. 2014, theorem 1).
    middle = (p + q) / 2
    jsd = 0.5 * (torch.xlogy(p, p / middle) + torch.xlogy(q, q / middle)).sum()
    assert -loss.item() == pytest.approx(2 * jsd.item() - math.log(4), abs=1e-4)


def test_squared_error_is_the_gaussian_log_likelihood_of_variance_one_half() -> None:
    generator = torch.Generator().manual_seed(1)
    x, mean = torch.rand(2, 4, 3, 8, 8, generator=generator, dtype=torch.float64)
    log_likelihood = Normal(mean, math.sqrt(0.5)).log_prob(x).sum()
    constant = x.numel() * 0.5 * math.log(math.pi)
    torch.testing.assert_close(squared_error(mean, x), -log_likelihood - constant)


def test_kl_agrees_with_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(2)
    mu, logvar = torch.randn(2, 16, 10, generator=generator)
    expected = reference_kl(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum()
    torch.testing.assert_close(kl_divergence(mu, logvar), expected)
    assert kl_divergence(torch.zeros(3, 4), torch.zeros(3, 4)).item() == 0


def test_kl_agrees_with_monte_carlo() -> None:
    generator = torch.Generator().manual_seed(3)
    mu, logvar = torch.tensor([0.7, -1.2]), torch.tensor([0.3, -0.8])
    posterior, prior = Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)
    z = mu + (logvar / 2).exp() * torch.randn(200_000, 2, generator=generator)
    terms = (posterior.log_prob(z) - prior.log_prob(z)).sum(1)
    error = terms.std().item() / math.sqrt(len(terms))
    assert kl_divergence(mu, logvar).item() == pytest.approx(
        terms.mean().item(), abs=4 * error
    )


def test_relativistic_losses_are_bce_on_the_difference(
    logits: tuple[torch.Tensor, torch.Tensor],
) -> None:
    real, fake = (each.double() for each in logits)  # else 1 - sigmoid rounds
    more_real = (real - fake).sigmoid()
    bce, ones = nn.BCELoss(), torch.ones(64, dtype=torch.float64)
    torch.testing.assert_close(
        relativistic_discriminator_loss(real, fake), bce(more_real, ones)
    )
    torch.testing.assert_close(
        relativistic_generator_loss(real, fake), bce(more_real, 0 * ones)
    )


def test_relativistic_players_trade_places(
    logits: tuple[torch.Tensor, torch.Tensor],
) -> None:
    real, fake = logits
    mirrored = relativistic_generator_loss(fake, real)
    assert torch.equal(relativistic_discriminator_loss(real, fake), mirrored)
    # The difference of the two losses is how much more real the generated images look.
    lead = relativistic_discriminator_loss(real, fake) - relativistic_generator_loss(
        real, fake
    )
    torch.testing.assert_close(lead, (fake - real).mean())


def test_relativistic_losses_know_differences_only() -> None:
    level = torch.tensor([-3.0, 0.0, 8.0])
    for loss in (relativistic_discriminator_loss, relativistic_generator_loss):
        assert loss(level, level).item() == pytest.approx(math.log(2))
        apart = loss(level + 1, level)
        torch.testing.assert_close(loss(level + 101, level + 100), apart)


def test_gradient_penalty_of_a_linear_function_is_its_squared_slope() -> None:
    generator = torch.Generator().manual_seed(4)
    weight = torch.randn(3, 8, 6, generator=generator)
    images = torch.randn(5, 3, 8, 6, generator=generator, requires_grad=True)
    penalty = gradient_penalty((weight * images).sum((1, 2, 3)), images)
    torch.testing.assert_close(penalty, weight.square().sum())


def test_gradient_penalty_agrees_with_finite_differences() -> None:
    generator = torch.Generator().manual_seed(5)
    matrix = torch.randn(12, 12, generator=generator, dtype=torch.float64)
    images = torch.randn(2, 3, 2, 2, generator=generator, dtype=torch.float64)

    def judge(images: torch.Tensor) -> torch.Tensor:
        flat = images.flatten(1)
        return ((flat @ matrix) * flat).sum(1)

    squares = 0.0
    for pixel in range(12):
        step = torch.zeros(12, dtype=torch.float64)
        step[pixel] = 1e-4
        step = step.view(3, 2, 2)
        slope = (judge(images + step) - judge(images - step)) / 2e-4
        squares += slope.square().mean().item()
    images.requires_grad_()
    penalty = gradient_penalty(judge(images), images)
    assert penalty.item() == pytest.approx(squares, rel=1e-6)


def test_gradient_penalty_can_be_differentiated_again() -> None:
    scale = torch.tensor(3.0, requires_grad=True)
    images = torch.ones(4, 3, 2, 2, requires_grad=True)
    penalty = gradient_penalty(scale * images.sum((1, 2, 3)), images)
    penalty.backward()
    assert penalty.item() == pytest.approx(12 * 3**2)  # twelve pixels
    assert scale.grad.item() == pytest.approx(12 * 2 * 3)


def test_gaussian_nll_agrees_with_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(6)
    x, mean = torch.rand(2, 4, 3, 8, 6, generator=generator, dtype=torch.float64)
    for variance in (0.001, 0.5, 3.0):
        expected = -Normal(mean, math.sqrt(variance)).log_prob(x).sum()
        found = gaussian_nll(mean, x, torch.tensor(variance, dtype=torch.float64))
        torch.testing.assert_close(found, expected)


def test_gaussian_nll_is_least_where_the_variance_is_the_mean_squared_error() -> None:
    generator = torch.Generator().manual_seed(7)
    x, mean = torch.rand(2, 4, 3, 8, 8, generator=generator, dtype=torch.float64)
    variance = (x - mean).square().mean().requires_grad_()
    best = gaussian_nll(mean, x, variance)
    (slope,) = torch.autograd.grad(best, variance)
    assert slope.item() == pytest.approx(0, abs=1e-9)
    for factor in (0.9, 1.1):
        assert gaussian_nll(mean, x, factor * variance) > best
