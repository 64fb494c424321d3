"""What each way to make a training faster brings on this machine, added one at a time.

    python benchmarks/candidates.py

The GAN's step of the usual way gets one change after the other until it is ours; then come changes
that were tried and not taken. All take turns in one process. The figures go to
`benchmarks/results/`.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import report
import torch
import tyro
from throughput import Benchmark, endless, write_png
from torch import Tensor, optim

from chibi_lab.data import BatchLoader, ImageSet, load_avatars
from chibi_lab.losses import discriminator_loss, non_saturating_generator_loss
from chibi_lab.models import Discriminator, Generator


@dataclass(frozen=True)
class Way:
    """One way to run the step."""

    name: str
    resident: bool = False
    read_losses: bool = True
    channels_last: bool = False
    bfloat16: bool = False
    fused: bool = False
    freeze: bool = False
    compiled: bool = False


def ways() -> Iterator[Way]:
    """The usual way, each change on top of those before, and what was not taken."""
    way = Way("the usual way")
    yield way
    for name, change in (
        ("images in memory as bytes, no files and no workers", {"resident": True}),
        ("losses stay tensors, read every 2,000 images", {"read_losses": False}),
        ("channels last", {"channels_last": True}),
        ("bfloat16 in the forward passes", {"bfloat16": True}),
        ("fused Adam", {"fused": True}),
        ("no gradients for D in the step of G", {"freeze": True}),
    ):
        way = replace(way, name=name, **change)
        yield way
    yield replace(way, name="not taken: torch.compile", compiled=True)


def stepper(
    way: Way, settings: Benchmark, images: ImageSet, folder: Path
) -> Callable[[int], None]:
    """A function that runs a number of steps of the GAN in one way."""
    torch.manual_seed(0)
    layout = torch.channels_last if way.channels_last else torch.contiguous_format
    generator = Generator(settings.size, settings.channels, settings.latent_dim)
    discriminator = Discriminator(settings.size, settings.channels)
    generator, discriminator = (
        network.to(memory_format=layout) for network in (generator, discriminator)
    )
    adam = {"lr": 2e-4, "betas": (0.5, 0.999), "fused": way.fused or None}
    optimizer_g = optim.Adam(generator.parameters(), **adam)
    optimizer_d = optim.Adam(discriminator.parameters(), **adam)
    if way.compiled:
        generator.compile()
        discriminator.compile()
    batches = (
        BatchLoader(images, settings.batch, 0)
        if way.resident
        else endless(settings, folder)
    )

    def forward(network: torch.nn.Module, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=way.bfloat16):
            return network(x)

    def run(steps: int) -> None:
        for _ in range(steps):
            real = next(batches).contiguous(memory_format=layout)
            fake = forward(generator, torch.randn(settings.batch, settings.latent_dim))
            real_logits = forward(discriminator, real).float()
            fake_logits = forward(discriminator, fake.detach()).float()
            loss_d = discriminator_loss(real_logits, fake_logits)
            optimizer_d.zero_grad()
            loss_d.backward()
            optimizer_d.step()
            discriminator.requires_grad_(not way.freeze)
            loss_g = non_saturating_generator_loss(forward(discriminator, fake).float())
            optimizer_g.zero_grad()
            loss_g.backward()
            optimizer_g.step()
            discriminator.requires_grad_(True)
            if way.read_losses:
                print(loss_d.item(), loss_g.item(), file=sys.stderr)

    return run


def main() -> None:
    """Measure, print and write."""
    settings = tyro.cli(Benchmark)
    torch.set_num_threads(settings.threads)
    sys.stderr = open(os.devnull, "w", encoding="utf-8")  # where the losses go
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = load_avatars(size=settings.size, cache=folder / "cache")
        write_png(images, folder)
        steppers = {way: stepper(way, settings, images, folder) for way in ways()}
        speeds: dict[Way, list[float]] = {way: [] for way in steppers}
        for number in range(settings.rounds + 1):
            for way, run in steppers.items():
                started = time.perf_counter()
                run(settings.steps)
                seconds = time.perf_counter() - started
                if number:
                    speeds[way].append(settings.steps * settings.batch / seconds)
    rows, first = [], None
    for way, values in speeds.items():
        speed = median(values)
        first = first or speed
        rows.append({"way": way.name, "images_per_second": round(speed, 1)})
        rows[-1]["times_the_usual"] = round(speed / first, 2)
        print(f"{speed:7.1f} images a second, {speed / first:.2f} times  {way.name}")
    chosen = {k: v for k, v in asdict(settings).items() if k != "out"}
    report.write("candidates", settings.out, {"settings": chosen, "rows": rows})


if __name__ == "__main__":
    main()
