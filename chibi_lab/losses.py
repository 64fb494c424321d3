"""The formulas of the Math chapter, one function each.

Every function takes tensors and returns a scalar that can be differentiated. The
discriminator's answers come in as *logits*, the numbers before the sigmoid: with
``D(x) = sigmoid(l)`` both logarithms of the GAN's value have a form that never takes the
logarithm of zero,

    log D(x)       = -softplus(-l)
    log(1 - D(x))  = -softplus(l)

so the values are those of ``nn.BCELoss`` on probabilities, without its overflow.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    r"""The loss that the discriminator minimises: :math:`-V(D, G)`.

    .. math::
        -\mathbb{E}_{x \sim p_{data}}[\log D(x)] - \mathbb{E}_{z \sim p_z}[\log(1 - D(G(z)))]

    It is ``BCELoss`` with target 1 on real images plus ``BCELoss`` with target 0 on generated
    ones. Where D cannot tell them apart it is log 4, about 1.386.

    Source: Goodfellow et al. (2014), equation 1.

    Args:
        real_logits: D's logits for real images, any shape.
        fake_logits: D's logits for generated images, any shape.

    Returns:
        Scalar in nats, at least 0: the sum of the two means.
    """
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def minimax_generator_loss(fake_logits: Tensor) -> Tensor:
    r"""The generator's share of :math:`V(D, G)`, which the formula says to minimise.

    .. math:: \mathbb{E}_{z \sim p_z}[\log(1 - D(G(z)))]

    Its gradient vanishes where D recognises the generated images: it *saturates*.

    Source: Goodfellow et al. (2014), equation 1.

    Args:
        fake_logits: D's logits for generated images, any shape.

    Returns:
        Scalar in nats, at most 0.
    """
    return -F.softplus(fake_logits).mean()


def non_saturating_generator_loss(fake_logits: Tensor) -> Tensor:
    r"""The generator's loss in practice: ``BCELoss`` with target 1 on generated images.

    .. math:: -\mathbb{E}_{z \sim p_z}[\log D(G(z))]

    It has the same fixed point as :func:`minimax_generator_loss`, and a strong gradient where
    that one has none.

    Source: Goodfellow et al. (2014), section 3.

    Args:
        fake_logits: D's logits for generated images, any shape.

    Returns:
        Scalar in nats, at least 0.
    """
    return F.softplus(-fake_logits).mean()


def relativistic_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    r"""The discriminator's loss where it compares: is this image *more real* than that one?

    .. math:: -\mathbb{E}_{x, z}[\log \operatorname{sigmoid}(l(x) - l(G(z)))]

    Each real image is compared with one generated image. Only differences count, so moving all
    generated images to one spot that looks real no longer pays.

    Source: Jolicoeur-Martineau (2019), section 4.3; as a modern baseline, Huang et al. (2024),
    equation 2.

    Args:
        real_logits: D's logits for real images, any shape.
        fake_logits: D's logits for as many generated ones, the same shape.

    Returns:
        Scalar in nats, at least 0.
    """
    return F.softplus(fake_logits - real_logits).mean()


def relativistic_generator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    r"""The generator's loss in the same comparison: the two change places.

    .. math:: -\mathbb{E}_{x, z}[\log \operatorname{sigmoid}(l(G(z)) - l(x))]

    Source: Huang et al. (2024), equation 2, with the roles exchanged.

    Args:
        real_logits: D's logits for real images, any shape.
        fake_logits: D's logits for as many generated ones, the same shape.

    Returns:
        Scalar in nats, at least 0.
    """
    return F.softplus(real_logits - fake_logits).mean()


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    r"""How steep the discriminator is at some images: the mean squared length of its slope.

    .. math:: \mathbb{E}_x\big[\|\nabla_x l(x)\|^2\big]

    On real images it is R1, on generated ones R2. A flat discriminator near the data is what
    makes the game of a GAN converge.

    Source: Mescheder et al. (2018), equations 9 and 10.

    Args:
        logits: D's logits, (N,), computed from ``images``.
        images: What they were computed from, (N, 3, H, W), with ``requires_grad``.

    Returns:
        Scalar, at least 0, that can be differentiated again.
    """
    (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return slope.square().sum((1, 2, 3)).mean()


def squared_error(reconstruction: Tensor, images: Tensor) -> Tensor:
    r"""The reconstruction term of the article: ``MSELoss(reduction="sum")``.

    .. math:: \sum_i (\hat{x}_i - x_i)^2

    Up to a constant this is :math:`-\log p_\theta(x|z)` in nats for a Gaussian whose variance
    is fixed at 1/2. That variance is a choice, and it sets the weight between this term and
    :func:`kl_divergence`.

    Source: Kingma and Welling (2014), appendix C.2, with the variance held fixed.

    Args:
        reconstruction: The decoder's output, (N, 3, H, W).
        images: The images that were encoded, the same shape.

    Returns:
        Scalar, at least 0: the sum over pixels, channels and the batch.
    """
    return F.mse_loss(reconstruction, images, reduction="sum")


def gaussian_nll(reconstruction: Tensor, images: Tensor, variance: Tensor) -> Tensor:
    r"""Negative logarithm of a Gaussian likelihood whose variance is given.

    .. math::
        -\log p(x|z) = \frac{1}{2 \sigma^2} \sum_i (\hat{x}_i - x_i)^2
        + \frac{D}{2} \log(2 \pi \sigma^2)

    For given reconstructions it is least where the variance is the mean squared error: then no
    weight is left to choose between this term and :func:`kl_divergence`.

    Source: Rybkin et al. (2021), "Simple and effective VAE training with calibrated decoders",
    equations 2 and 5.

    Args:
        reconstruction: The decoder's output, (N, 3, H, W).
        images: The images that were encoded, the same shape.
        variance: One number for all pixels, a scalar tensor above 0.

    Returns:
        Scalar in nats: the sum over pixels, channels and the batch. It can be below 0.
    """
    constant = images.numel() / 2 * (2 * math.pi * variance).log()
    return squared_error(reconstruction, images) / (2 * variance) + constant


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence from the posterior to the prior, in closed form.

    .. math::
        KL(\mathcal{N}(\mu, \sigma^2) \,\|\, \mathcal{N}(0, 1))
        = -\frac{1}{2} \sum_j (1 + \log \sigma_j^2 - \mu_j^2 - \sigma_j^2)

    Source: Kingma and Welling (2014), appendix B.

    Args:
        mu: Means of the posterior, (N, latent_dim).
        logvar: Logarithms of its variances, the same shape.

    Returns:
        Scalar in nats, at least 0: the sum over latent dimensions and the batch.
    """
    return -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum()
