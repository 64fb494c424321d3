"""All of a training's state in one safetensors file: tensors only, never a pickle."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic_core import from_json
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn, optim

from chibi_lab.errors import ChibiError
from chibi_lab.files import open_file, write

FORMAT = 1
# How pickles and PyTorch's own files (zip archives of them) begin.
PICKLES = (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
ADAM = {"step", "exp_avg", "exp_avg_sq"}  # what the optimiser keeps for a weight
Part = nn.Module | optim.Optimizer | torch.Generator


class DamagedError(ChibiError):
    """A file that is no whole checkpoint: cut off, or of another kind."""


def tensors_of(part: Part) -> dict[str, Tensor]:
    """The state of a network, an optimiser or a random generator as named tensors.

    An optimiser's learning rate and the like are not part of it: they come from the config. No copy
    is made.
    """
    if isinstance(part, nn.Module):
        return part.state_dict()
    if isinstance(part, torch.Generator):
        return {"state": part.get_state()}
    return {
        f"{index}.{name}": value
        for index, slots in part.state_dict()["state"].items()
        for name, value in slots.items()
    }


def restore(part: Part, tensors: Mapping[str, Tensor]) -> None:
    """Put the state that :func:`tensors_of` read back in place, if names and shapes fit."""
    try:
        if isinstance(part, nn.Module):
            part.load_state_dict(tensors)
        elif isinstance(part, torch.Generator):
            part.set_state(tensors["state"])
        else:
            state = part.state_dict() | {"state": {}}
            parameters = [p for group in part.param_groups for p in group["params"]]
            for key, value in tensors.items():
                index, name = key.split(".")
                if value.dim():
                    # As its weight lies in memory: a fused step walks both as one.
                    value = torch.empty_like(parameters[int(index)]).copy_(value)
                state["state"].setdefault(int(index), {})[name] = value
            if any(slots.keys() != ADAM for slots in state["state"].values()):
                raise KeyError("the optimiser's state is not whole")
            part.load_state_dict(state)
    except (RuntimeError, LookupError, TypeError, ValueError) as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise ChibiError(f"checkpoint does not fit this config: {first}") from error


def write_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], progress: Mapping[str, Any]
) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: The file to make.
        tensors: All state, by name.
        progress: What is not a tensor, such as the images seen; anything that JSON holds.
    """
    metadata = {"format": str(FORMAT), "progress": json.dumps(progress)}
    whole = {k: v.detach().contiguous() for k, v in tensors.items()}
    write(path, save(whole, metadata))


def read_checkpoint(
    path: Path, prefixes: tuple[str, ...] = ("",)
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint, or the part of it whose names begin as told.

    Args:
        path: The file.
        prefixes: Beginnings of the names to read.

    Returns:
        Tensors by name, and what was given as ``progress``.

    Raises:
        DamagedError: If the file is not a whole checkpoint.
    """
    with _opened(path) as (file, progress):
        names = [key for key in file.keys() if key.startswith(prefixes)]
        return {key: file.get_tensor(key) for key in names}, progress


def read_header(path: Path) -> tuple[dict[str, torch.Size], dict[str, Any]]:
    """Shapes of the tensors by name, and the progress; no tensor is read.

    Raises:
        DamagedError: If the file is not a whole checkpoint.
    """
    with _opened(path) as (file, progress):
        shapes = {k: torch.Size(file.get_slice(k).get_shape()) for k in file.keys()}
        return shapes, progress


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    with open_file(path) as regular:
        pickled = regular.read(2) in PICKLES
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            _check_format(path, metadata.get("format", "none"))
            progress = from_json(metadata.get("progress", ""), allow_inf_nan=False)
            if not isinstance(progress, dict):
                raise ValueError("its progress is no object")
            yield file, progress
    except (SafetensorError, OSError) as error:
        why = "it is a pickle, which may run any program" if pickled else error
        raise DamagedError(f"{path} is not a whole checkpoint: {why}") from error
    except ChibiError:
        raise
    except ValueError as error:
        raise DamagedError(
            f"{path} does not say how far its training was: {error}"
        ) from error


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, its dot included, by the rest of the names."""
    return {
        k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)
    }


def halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Floats as float16, for weights that ship."""
    return {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}


def widened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Floats as float32, to compute with."""
    return {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}


def _check_format(path: Path, found: str) -> None:
    if found == str(FORMAT):
        return
    newer = found.isdecimal() and found > str(FORMAT)
    advice = ": it was written by a newer chibi-lab, update this one" if newer else ""
    found = found[:20]
    raise ChibiError(f"{path} has checkpoint format {found}, not {FORMAT}{advice}")
