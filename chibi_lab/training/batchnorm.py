"""BatchNorm over a batch that is spread over several ranks."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F


def synchronise(network: nn.Module) -> None:
    """Have every BatchNorm of a network use the statistics of the whole batch.

    With those of its own rows alone a network would learn something else the more ranks there are.
    On GPUs this is PyTorch's ``SyncBatchNorm``; there is none for processors, hence this file.

    Args:
        network: Changed in place; parameters, buffers and their names stay.
    """
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm2d):
            if child.weight.device.type == "cuda":
                synced = nn.SyncBatchNorm.convert_sync_batchnorm(child)
            else:
                synced = SyncedBatchNorm(child.num_features, child.eps, child.momentum)
                # The very same tensors: an optimiser or a copy may know them already.
                synced._parameters, synced._buffers = child._parameters, child._buffers
                synced.train(child.training)
            setattr(network, name, synced)
        else:
            synchronise(child)


class SyncedBatchNorm(nn.BatchNorm2d):
    """BatchNorm whose mean and variance are those of all ranks' rows, on processors.

    Every rank must bring equally many rows.

    Source: Ioffe and Szegedy (2015), algorithm 1, with sums over the ranks too.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise: (N, C, H, W) to the same shape. Alone while evaluating."""
        if not self.training:
            return super().forward(x)
        count = x.numel() // x.shape[1] * dist.get_world_size()
        with torch.no_grad():
            mean, var = _moments(x)
            unbiased = var * count / (count - 1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
            self.num_batches_tracked += 1
        return _Normalise.apply(x, self.weight, self.bias, mean, var, self.eps, count)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of every channel over the rows of all ranks, (C,) each."""
    # Given statistics in float32, the kernel sums in float32, whatever x is.
    unused = torch.zeros(2, x.shape[1])
    mean, var = torch.batch_norm_update_stats(x, *unused, 0.0)
    own = torch.stack([mean, var])
    everyone = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(everyone, own)
    means, variances = torch.stack(everyone, dim=1)
    mean = means.mean(0)
    # Not the mean of squares less the squared mean: rounding could make that negative.
    return mean, variances.mean(0) + (means - mean).square().mean(0)


class _Normalise(torch.autograd.Function):
    """y = weight (x - mean) / sqrt(var + eps) + bias, where mean and var depend on x, on all ranks.

    PyTorch's own kernels do the passes over the image; in between, the ranks add up two sums.
    """

    @staticmethod
    def forward(
        context: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        var: Tensor,
        eps: float,
        count: int,
    ) -> Tensor:
        context.save_for_backward(x, weight, mean, var)
        context.eps, context.count = eps, count
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(context: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, var = context.saved_tensors
        # As if mean and var were constants; gives Σ dy·x̂ and Σ dy of this rank's rows too.
        direct, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
            grad, x, weight, mean, var, None, None, False, context.eps, [True] * 3
        )
        sums = torch.stack([grad_weight, grad_bias])
        dist.all_reduce(sums)
        # dx = w/σ (dy - mean(dy) - x̂ mean(dy·x̂)): what mean and var took away, from all ranks.
        scale = weight / (var + context.eps).sqrt() / context.count
        taken = F.batch_norm(
            x, mean, var, scale * sums[0], scale * sums[1], False, 0.0, context.eps
        )
        return direct.sub_(taken), grad_weight, grad_bias, None, None, None, None
