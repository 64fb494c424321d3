"""What is measured on one picture alone, and the form in which pictures come in."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from chibi_lab.data import ImageSet, to_float
from chibi_lab.errors import ChibiError

Pictures = Tensor | np.ndarray | ImageSet
"""Images as this package stores them: float (N, 3, H, W) in [-1, 1], or uint8 (N, H, W, 3)."""


def as_images(pictures: Pictures) -> Tensor:
    """Bring either form of picture to float images.

    Args:
        pictures: A float tensor (N, 3, H, W) in [-1, 1], a uint8 array (N, H, W, 3), or an
            image set.

    Returns:
        Images, (N, 3, H, W) in [-1, 1], float32 on the CPU, without a gradient.

    Raises:
        ChibiError: If there are no pictures or they have another shape or type.
    """
    if isinstance(pictures, ImageSet):
        pictures = pictures.images
    if isinstance(pictures, np.ndarray):
        images = to_float(pictures)
    elif pictures.ndim == 4 and pictures.shape[1] == 3 and pictures.is_floating_point():
        images = pictures.detach().to("cpu", torch.float32)
    else:
        raise ChibiError(
            "expected float images of shape (N, 3, H, W), "
            f"not {pictures.dtype} of shape {tuple(pictures.shape)}"
        )
    if not len(images):
        raise ChibiError("there are no images: at least one is needed")
    return images


def chunks(pictures: Pictures, count: int) -> Iterator[Tensor]:
    """Pictures as images, ``count`` at a time, so that memory stays small."""
    if isinstance(pictures, ImageSet):
        pictures = pictures.images
    for start in range(0, max(len(pictures), 1), count):
        yield as_images(pictures[start : start + count])


def check_square(height: int, width: int) -> None:
    """Refuse what would be squeezed before it is read or compared.

    Args:
        height: Of the images in pixels.
        width: Likewise.

    Raises:
        ChibiError: If the images are not square.
    """
    if height != width:
        raise ChibiError(
            f"only square images can be judged and compared, not {width} x {height} pixels"
        )


def shrink(pictures: Pictures, size: int) -> Tensor:
    """Average the pixels down to ``size``, a chunk at a time, so that memory stays small.

    Images that are smaller than ``size`` are left as they are.

    Args:
        pictures: Images of either form, square.
        size: Side of the result in pixels.

    Returns:
        Images, (N, 3, size, size) in [-1, 1].

    Raises:
        ChibiError: If there are no images, or they are not square.
    """
    images = list(chunks(pictures, 512))
    check_square(*images[0].shape[-2:])
    if images[0].shape[-1] <= size:
        return torch.cat(images)
    return torch.cat([F.adaptive_avg_pool2d(chunk, size) for chunk in images])


def sharpness(pictures: Pictures) -> Tensor:
    r"""How steep the edges of each picture are.

    It is the 95th percentile of the gradient's magnitude

    .. math:: |\nabla x| = \sqrt{(\partial_u x)^2 + (\partial_v x)^2}

    of the grey picture, by central differences. Blur makes edges less steep; noise hardly counts,
    because it is weaker than a drawn line. The variance of a Laplacian filter, with which
    Tolstikhin et al. (2018) compare autoencoders, takes noise for sharpness: noise of deviation
    0.3 raises it by three quarters, and this measure by less than a hundredth.

    Source: the gradient-based family of focus measures in Pertuz et al. (2013).

    Args:
        pictures: Images of either form, at least 3 pixels wide.

    Returns:
        One number an image, (N,), in units of the image range per pixel. It has a meaning only
        beside the value of real images of the same size and kind.
    """
    grey = as_images(pictures).mean(1)
    if grey.shape[-1] < 3:
        raise ChibiError(
            f"images are {grey.shape[-1]} pixels wide: sharpness needs at least 3"
        )
    across = (grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2]) / 2
    down = (grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]) / 2
    return torch.hypot(across, down).flatten(1).quantile(0.95, dim=1)


def psnr(pictures: Pictures, originals: Pictures) -> Tensor:
    r"""Peak signal-to-noise ratio of each picture against its original.

    .. math:: 10 \log_{10} \frac{2^2}{\frac{1}{n} \sum_i (x_i - y_i)^2}

    where 2 is the width of the range [-1, 1].

    Args:
        pictures: Images of either form.
        originals: As many images of the same size.

    Returns:
        Decibels, (N,); higher is closer, infinite for equal pictures.

    Raises:
        ChibiError: If the two do not have the same shape.
    """
    first, second = as_images(pictures), as_images(originals)
    _check_shapes(first, second)
    return 10 * torch.log10(4 / (first - second).square().flatten(1).mean(1))


def ssim(pictures: Pictures, originals: Pictures) -> Tensor:
    """Structural similarity of each picture to its original.

    Means, variances and covariance are compared in a Gaussian window of 11 pixels. It punishes lost
    structure where PSNR counts pixels, so blur costs more than a shift in brightness. Computed by
    torchmetrics.

    Source: Wang et al. (2004), equation 13.

    Args:
        pictures: Images of either form, at least 11 pixels wide.
        originals: As many images of the same size.

    Returns:
        From -1 to 1, (N,); 1 for equal pictures.

    Raises:
        ChibiError: If the two do not have the same shape, or are too small.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    first, second = as_images(pictures), as_images(originals)
    _check_shapes(first, second)
    if min(first.shape[-2:]) < 11:
        raise ChibiError(
            f"images are {min(first.shape[-2:])} pixels wide: their similarity needs 11"
        )
    return structural_similarity_index_measure(
        first, second, data_range=2.0, reduction="none"
    )


def _check_shapes(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape:
        raise ChibiError(
            f"images of shape {tuple(first.shape)} and {tuple(second.shape)} cannot be compared"
        )
