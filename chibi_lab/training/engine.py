"""Where a training computes: on a processor or a GPU, alone or as one of several ranks.

A rank is one process of a training that ``torchrun`` started. All ranks hold the same weights and
draw the same random numbers; each takes its rows of every batch. What is learned then does not
depend on how many there are.
"""

import atexit
import os
from datetime import timedelta

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from chibi_lab.errors import ChibiError
from chibi_lab.training.batchnorm import synchronise

LONGEST_WAIT = timedelta(hours=1)  # the first rank may have to draw the avatars


def is_first_rank() -> bool:
    """Whether this process is the one that writes and speaks, known before ranks are joined."""
    return os.environ.get("RANK", "0") == "0"


class Engine:
    """The device of this process, and all that it does together with the other ranks.

    A training that runs alone pays nothing for it. Under ``torchrun`` Accelerate joins the ranks,
    by gloo on processors and by NCCL on GPUs, and PyTorch averages their gradients.

    Args:
        device: "cpu", "cuda", or "auto" for a GPU where there is one.
        precision: As in ``TrainingConfig.precision``.
        batch: Images in a step, those of all ranks together.

    Attributes:
        device: Where networks and batches belong.
        rank: The number of this process, from 0.
        ranks: How many there are.
    """

    def __init__(self, device: str, precision: str, batch: int) -> None:
        self.ranks = _told("WORLD_SIZE", 1, range(1, 2**20))
        self.rank = _told("RANK", 0, range(self.ranks))
        here = _told("LOCAL_WORLD_SIZE", self.ranks, range(1, self.ranks + 1))
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if device == "cuda" and gpus < here:
            found = f"{gpus} of the {here} GPUs" if gpus else "no GPU"
            raise ChibiError(
                f"device is cuda: PyTorch finds {found} here, choose cpu or auto"
            )
        if batch % self.ranks or batch < 2 * self.ranks:
            raise ChibiError(
                f"batch is {batch}: {self.ranks} ranks need a multiple of {self.ranks}, "
                f"and at least two images each"
            )
        if device == "auto":
            device = "cuda" if gpus >= here else "cpu"
        self.device = torch.device(device)
        self._state = None
        if self.ranks > 1:
            # Only here: a training that runs alone starts sooner without it.
            from accelerate import PartialState

            try:
                self._state = PartialState(cpu=device == "cpu", timeout=LONGEST_WAIT)
            except (RuntimeError, ValueError, KeyError) as error:
                first = str(error).strip().splitlines()[0]
                raise ChibiError(
                    f"the {self.ranks} ranks cannot be joined, start them with torchrun: {first}"
                ) from error
            self.device = self._state.device
            # Not when a training ends: the process may begin another one.
            atexit.register(self._state.destroy_process_group)
        # Shapes never change in a training, so it pays to try out cuDNN's algorithms.
        torch.backends.cudnn.benchmark = True
        self._bfloat16 = (
            has_bf16(self.device) if precision == "auto" else precision == "bfloat16"
        )

    @property
    def is_first(self) -> bool:
        """Whether this rank writes the files and shows the progress."""
        return self.rank == 0

    def mixed_precision(self) -> torch.autocast:
        """A context for the forward passes. Losses are computed outside of it, in float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16)

    def normal(self, generator: torch.Generator, *shape: int) -> Tensor:
        """Standard normal numbers for a whole batch, of which this rank keeps its rows.

        Args:
            generator: On the processor, so that a seed is the same on any device; it moves on
                alike on every rank.
            shape: That of the whole batch.

        Returns:
            Shape (shape[0] / ranks, ...), on this engine's device.
        """
        return self._own_rows(torch.randn(shape, generator=generator))

    def uniform(self, generator: torch.Generator, *shape: int) -> Tensor:
        """The same with numbers from 0 to below 1, each as probable."""
        return self._own_rows(torch.rand(shape, generator=generator))

    def _own_rows(self, whole: Tensor) -> Tensor:
        return whole.chunk(self.ranks)[self.rank].to(self.device)

    def parallel(self, network: nn.Module) -> nn.Module:
        """What a step calls instead of the network, so that gradients become the mean of all ranks.

        BatchNorm inside the network is changed to use the statistics of the whole batch.

        Args:
            network: On this engine's device. It keeps its parameters and its state.

        Returns:
            The network itself if this process is alone.
        """
        if self._state is None:
            return network
        synchronise(network)
        # BatchNorm's buffers agree already. To send them round before each pass would also write to
        # them between the two passes that the discriminator makes before it goes backward.
        return DistributedDataParallel(
            network, forward_sync_buffers=False, gradient_as_bucket_view=True
        )

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the ranks, the same tensor on each."""
        if self._state is None:
            return values
        from accelerate.utils import reduce

        return reduce(values, "mean")

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the ranks, the same tensor on each."""
        if self._state is None:
            return values
        from accelerate.utils import reduce

        return reduce(values, "sum")

    def mean_number(self, number: float) -> float:
        """The same of a plain number."""
        if self._state is None:
            return number
        whole = torch.tensor(number, dtype=torch.float64, device=self.device)
        return self.mean(whole).item()

    def any(self, flag: bool) -> bool:
        """Whether it is so on one rank at least."""
        return self.mean_number(float(flag)) > 0

    def wait(self) -> None:
        """Wait until every rank has come here.

        Raises:
            ChibiError: If one does not.
        """
        if self._state is None:
            return
        try:
            self._state.wait_for_everyone()
        except RuntimeError as error:
            if not self.is_loss_of_rank(error):
                raise
            raise ChibiError("another rank was lost: it says why") from error

    def is_loss_of_rank(self, error: BaseException) -> bool:
        """Whether an error tells that another rank does not answer. PyTorch has no type for it."""
        told = any(name in str(error) for name in ("gloo", "NCCL", "closed by peer"))
        return self.ranks > 1 and isinstance(error, RuntimeError) and told


def _told(name: str, default: int, allowed: range) -> int:
    """A number that torchrun sets."""
    told = os.environ.get(name, str(default))
    if not told.isdecimal() or len(told) > 9 or int(told) not in allowed:
        raise ChibiError(
            f"{name} is {told!r}: torchrun sets it to {allowed[0]} to {allowed[-1]}, "
            f"without torchrun it must not be set"
        )
    return int(told)


def has_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 numbers in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
