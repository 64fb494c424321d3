"""All of a training's state in one safetensors file: tensors only, never a pickle."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn, optim

from chibi_lab.errors import ChibiError

FORMAT = 1
Part = nn.Module | optim.Optimizer | torch.Generator


def tensors_of(part: Part) -> dict[str, Tensor]:
    """The state of a network, an optimiser or a random generator as named tensors.

    An optimiser's learning rate and the like are not part of it: they come from the config.

    Args:
        part: What to read.

    Returns:
        Tensors by name, without a copy.
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
    """Put the state that :func:`tensors_of` read back in place.

    Args:
        part: What to fill.
        tensors: Its state.

    Raises:
        ChibiError: If names or shapes do not fit.
    """
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
            part.load_state_dict(state)
    except (RuntimeError, KeyError, ValueError, IndexError) as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise ChibiError(f"checkpoint does not fit this config: {first}") from error


def write_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], progress: Mapping[str, Any]
) -> None:
    """Write a checkpoint beside its place, then rename it into place.

    Args:
        path: The file to make.
        tensors: All state, by name.
        progress: What is not a tensor, such as the images seen; anything that JSON holds.

    Raises:
        ChibiError: If the file cannot be written, for example because the disk is full.
    """
    beside = path.with_name(path.name + ".part")
    metadata = {"format": str(FORMAT), "progress": json.dumps(progress)}
    try:
        save_file(
            {k: v.detach().contiguous() for k, v in tensors.items()}, beside, metadata
        )
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except (OSError, SafetensorError) as error:
        raise ChibiError(f"cannot write {path}: {error}") from error
    finally:
        beside.unlink(missing_ok=True)


def read_checkpoint(
    path: Path, prefixes: tuple[str, ...] = ("",)
) -> tuple[dict[str, Tensor], dict]:
    """Read a checkpoint, or the part of it whose names begin as told.

    Args:
        path: The file.
        prefixes: Beginnings of the names to read.

    Returns:
        Tensors by name, and what was given as ``progress``.

    Raises:
        ChibiError: If the file is not a whole checkpoint of this format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            _check_format(path, metadata.get("format", "none"))
            tensors = {
                key: file.get_tensor(key)
                for key in file.keys()
                if key.startswith(prefixes)
            }
        progress = json.loads(metadata["progress"])
    except (SafetensorError, OSError) as error:
        pickled = (
            ": it is a pickle, which may run any program" if _is_pickle(path) else ""
        )
        raise ChibiError(
            f"{path} is not a whole checkpoint{pickled or f': {error}'}"
        ) from error
    except (KeyError, json.JSONDecodeError) as error:
        raise ChibiError(f"{path} does not say how far its training was") from error
    return tensors, progress


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, with it cut off.

    Args:
        tensors: Tensors by name.
        prefix: Beginning of the names to keep, its dot included.

    Returns:
        The matching tensors under what is left of their names.
    """
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
    newer = found.isdecimal() and int(found) > FORMAT
    advice = ": it was written by a newer chibi-lab, update this one" if newer else ""
    raise ChibiError(f"{path} has checkpoint format {found}, not {FORMAT}{advice}")


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as pickles and PyTorch's own files (zip archives of them) do."""
    try:
        with path.open("rb") as file:
            return file.read(2) in (
                b"PK",
                b"\x80\x02",
                b"\x80\x03",
                b"\x80\x04",
                b"\x80\x05",
            )
    except OSError:
        return False
