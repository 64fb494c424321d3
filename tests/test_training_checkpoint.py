import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn, optim

from chibi_lab.errors import ChibiError
from chibi_lab.training.checkpoint import (
    DamagedError,
    read_checkpoint,
    read_header,
    restore,
    tensors_of,
    with_prefix,
    write_checkpoint,
)


def stepped() -> tuple[nn.Linear, optim.Adam]:
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    optimizer = optim.Adam(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return network, optimizer


def test_networks_optimisers_and_generators_come_back(tmp_path: Path) -> None:
    network, optimizer = stepped()
    noise = torch.Generator().manual_seed(4)
    torch.randn(5, generator=noise)
    parts = {"network": network, "optimizer": optimizer, "noise": noise}
    file = tmp_path / "a.safetensors"
    tensors = {
        f"{n}.{k}": v for n, part in parts.items() for k, v in tensors_of(part).items()
    }
    write_checkpoint(file, tensors, {"images_seen": 12})

    other = nn.Linear(3, 2)
    adam = optim.Adam(other.parameters())
    fresh = {"network": other, "optimizer": adam, "noise": torch.Generator()}
    read, progress = read_checkpoint(file)
    for name, part in fresh.items():
        restore(part, with_prefix(read, f"{name}."))
    assert progress == {"images_seen": 12}
    assert torch.equal(
        torch.randn(5, generator=noise), torch.randn(5, generator=fresh["noise"])
    )
    for net, opt in ((network, optimizer), (other, adam)):  # one more step each
        opt.zero_grad()
        net(torch.ones(1, 3)).square().sum().backward()
        opt.step()
    assert torch.equal(network.weight, other.weight)


def test_only_the_asked_for_names_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    write_checkpoint(file, {"ema.w": torch.ones(1), "noise.state": torch.ones(1)}, {})
    assert set(read_checkpoint(file, ("ema.",))[0]) == {"ema.w"}


def test_nothing_is_left_beside_a_checkpoint(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a.safetensors", {"w": torch.ones(1)}, {})
    with pytest.raises(TypeError):
        write_checkpoint(
            tmp_path / "b.safetensors", {"w": torch.ones(1)}, {"bad": object()}
        )
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_damaged_foreign_and_newer_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    write_checkpoint(file, {"w": torch.ones(100)}, {})
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(ChibiError, match="is not a whole checkpoint"):
        read_checkpoint(file)
    file.write_bytes(pickle.dumps({"w": [1.0]}))
    with pytest.raises(ChibiError, match="is not a whole checkpoint"):
        read_checkpoint(file)
    save_file({"w": torch.ones(1)}, file, {"format": "99"})
    with pytest.raises(ChibiError, match="has checkpoint format 99, not 1"):
        read_checkpoint(file)


def test_a_checkpoint_of_another_network_is_refused() -> None:
    with pytest.raises(ChibiError, match="checkpoint does not fit this config"):
        restore(nn.Linear(3, 2), tensors_of(nn.Linear(4, 2)))


def test_a_checkpoint_has_the_mode_that_other_files_have(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write_checkpoint(tmp_path / "a.safetensors", {"w": torch.ones(1)}, {})
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_header_tells_shapes_and_progress(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    write_checkpoint(file, {"w": torch.ones(3, 2)}, {"images_seen": 8})
    assert read_header(file) == ({"w": torch.Size([3, 2])}, {"images_seen": 8})


@pytest.mark.parametrize("progress", ["[]", "{", '{"a": NaN}', '"8"'])
def test_progress_that_is_no_object_is_damage(progress: str, tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    save_file({"w": torch.ones(1)}, file, {"format": "1", "progress": progress})
    with pytest.raises(DamagedError, match="does not say how far its training was"):
        read_checkpoint(file)


def test_an_optimiser_that_is_not_whole_is_refused() -> None:
    network, optimizer = stepped()
    tensors = tensors_of(optimizer)
    tensors.pop("0.exp_avg")
    with pytest.raises(ChibiError, match="checkpoint does not fit this config"):
        restore(optim.Adam(network.parameters()), tensors)
