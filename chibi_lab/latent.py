"""Walking in latent space, and finding the latent of a picture."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from chibi_lab.errors import ChibiError


def interpolate(
    start: Tensor, end: Tensor, steps: int, spherical: bool = True
) -> Tensor:
    r"""Latents on the way from one latent to another.

    Latents of many dimensions lie near a sphere of radius :math:`\sqrt{d}`. A straight line cuts
    through its inside, where a network saw next to nothing while it learned; the great circle
    stays outside:

    .. math::
        z(t) = \frac{\sin((1 - t) \theta)}{\sin \theta} z_0 + \frac{\sin(t \theta)}{\sin \theta} z_1

    with the angle :math:`\theta` between the two. Lengths that differ are passed through in
    between. Opposite or parallel latents are joined by the straight line.

    Source: White (2016), "Sampling generative networks".

    Args:
        start: First latent, (latent_dim,).
        end: Last latent, (latent_dim,).
        steps: How many latents, both ends included; at least 2.
        spherical: Whether to walk along the great circle; otherwise along the straight line.

    Returns:
        Latents, (steps, latent_dim).

    Raises:
        ChibiError: If the shapes differ or steps is less than 2.
    """
    if start.shape != end.shape or start.dim() != 1:
        raise ChibiError(
            f"two latents of one shape (latent_dim,) are needed, not {tuple(start.shape)} and "
            f"{tuple(end.shape)}"
        )
    if steps < 2:
        raise ChibiError(f"steps is {steps}: a walk has at least its 2 ends")
    t = torch.linspace(0, 1, steps, device=start.device)[:, None]
    theta = torch.acos(torch.cosine_similarity(start, end, dim=0).clamp(-1, 1))
    if not spherical or theta.sin() < 1e-4:
        return (1 - t) * start + t * end
    return (((1 - t) * theta).sin() * start + (t * theta).sin() * end) / theta.sin()


def traverse(z: Tensor, dimension: int, values: Tensor) -> Tensor:
    """Copies of a latent in which one dimension takes one value after the other.

    Args:
        z: A latent, (latent_dim,).
        dimension: Which dimension to change.
        values: What it takes, (K,).

    Returns:
        Latents, (K, latent_dim).

    Raises:
        ChibiError: If there is no such dimension.
    """
    if not 0 <= dimension < len(z):
        raise ChibiError(
            f"dimension is {dimension}: this latent has the dimensions 0 to {len(z) - 1}"
        )
    walk = z.repeat(len(values), 1)
    walk[:, dimension] = values
    return walk


@dataclass(frozen=True)
class Inversion:
    """The latents that were found for some pictures.

    Attributes:
        z: For each picture its best latent, (N, latent_dim).
        images: What the network draws from them, (N, 3, H, W) in [-1, 1].
        errors: Mean squared error over the pixels that counted, for each picture, (N,).
        history: Mean error of the best starts after each step, (steps,).
    """

    z: Tensor
    images: Tensor
    errors: Tensor
    history: Tensor


def invert(
    network: nn.Module,
    images: Tensor,
    *,
    mask: Tensor | None = None,
    starts: int = 4,
    steps: int = 200,
    learning_rate: float = 0.05,
    prior_weight: float = 1e-3,
    seed: int = 0,
) -> Inversion:
    r"""Look for the latents whose images come nearest to given ones.

    Adam minimises, for each picture by itself,

    .. math:: \frac{\sum m \, (G(z) - x)^2}{\sum m} + \lambda \frac{\|z\|^2}{d}

    from several random starts, of which the best is kept. The second term keeps the latent
    from running far outside of the prior's sphere.

    Source: Zhu et al. (2016), section 3.1; the mask as in Yeh et al. (2017).

    Args:
        network: Generator or decoder with a ``latent_dim``, in evaluation mode.
        images: What to come near to, (N, 3, H, W) in [-1, 1].
        mask: Pixels that count, (N, 1, H, W) or (1, 1, H, W), 1 for those that are known and 0 for
            those that are not; without it all count.
        starts: Random starts for each picture, at least 1.
        steps: Steps of Adam, at least 1.
        learning_rate: Its step size.
        prior_weight: The weight :math:`\lambda`.
        seed: Seed of the starts.

    Returns:
        The best latents and what they draw.

    Raises:
        ChibiError: If starts or steps is less than 1, or a mask counts no pixel.
    """
    if starts < 1 or steps < 1:
        raise ChibiError(
            f"starts is {starts} and steps {steps}: both must be at least 1"
        )
    mask = torch.ones_like(images[:1, :1]) if mask is None else mask
    known = (
        mask.expand(len(images), 1, *images.shape[2:]).sum((1, 2, 3)) * images.shape[1]
    )
    if (known == 0).any():
        raise ChibiError("a mask that counts no pixel leaves nothing to come near to")
    target, weight, known = (
        tensor.repeat_interleave(starts, dim=0)
        for tensor in (images, mask.expand(len(images), *mask.shape[1:]), known)
    )
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(
        len(target), network.latent_dim, generator=generator
    ).requires_grad_()
    optimizer = torch.optim.Adam([z], lr=learning_rate)
    wanted = [parameter.requires_grad for parameter in network.parameters()]
    network.requires_grad_(False)
    history = []
    try:
        for step in range(steps + 1):
            drawn = network(z)
            errors = (weight * (drawn - target).square()).sum((1, 2, 3)) / known
            if step == steps:
                break
            history.append(errors.detach().view(-1, starts).amin(1).mean())
            loss = (errors + prior_weight * z.square().mean(1)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    finally:
        for parameter, want in zip(network.parameters(), wanted, strict=True):
            parameter.requires_grad_(want)
    best = (
        errors.detach().view(-1, starts).argmin(1) + torch.arange(len(images)) * starts
    )
    return Inversion(
        z.detach()[best],
        drawn.detach()[best],
        errors.detach()[best],
        torch.stack(history),
    )


def inpaint(
    network: nn.Module, images: Tensor, mask: Tensor, **search: float
) -> Tensor:
    """Fill in the unknown part of pictures with what a network would draw there.

    The latent is looked for with the known pixels alone; what it draws is laid into the hole. The
    known pixels stay as they are, to the bit.

    Source: Yeh et al. (2017), without their discriminator term and their blending.

    Args:
        network: Generator or decoder with a ``latent_dim``, in evaluation mode.
        images: Pictures, (N, 3, H, W) in [-1, 1]; what stands in the hole does not matter.
        mask: 1 for known pixels, 0 for the hole, (N, 1, H, W) or (1, 1, H, W).
        **search: Further arguments of :func:`invert`.

    Returns:
        The filled pictures, (N, 3, H, W).

    Raises:
        ChibiError: If :func:`invert` refuses its arguments.
    """
    found = invert(network, images, mask=mask, **search)
    return torch.where(mask.bool(), images, found.images)
