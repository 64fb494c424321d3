"""How many images a second the trainings learn from, beside the way it is usually done.

    python benchmarks/throughput.py

Both train the same networks on the same images with the same batch. *Usual* is how published
examples of PyTorch do it: float32, images in PNG files that two workers read through `ImageFolder`
and `DataLoader`, plain Adam, every loss read and printed at every step. *Ours* is `train_gan` and
`train_vae`. Each lives in a process of its own, and they take turns, so that both meet the same
other work on the machine. The figures go to `benchmarks/results/`.
"""

import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, Literal

import report
import torch
import tyro
from PIL import Image
from torch import nn, optim
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms
from torchvision.datasets import ImageFolder

from chibi_lab.data import ImageSet, load_avatars
from chibi_lab.models import Decoder, Discriminator, Encoder, Generator, reparametrise
from chibi_lab.training import GANConfig, VAEConfig, train_gan, train_vae
from chibi_lab.training.engine import has_bf16


@dataclass(frozen=True)
class Benchmark:
    """Images a second, ours beside the usual way."""

    kinds: tuple[str, ...] = ("gan", "vae")
    """Which trainings, gan and vae."""
    size: int = 64
    """Side of the images in pixels."""
    batch: int = 128
    """Images in one step."""
    channels: int = 64
    """Width of the networks."""
    latent_dim: int = 100
    """Dimensions of the latent."""
    steps: int = 10
    """Steps in one round of either."""
    rounds: int = 5
    """Rounds that count; one before them does not."""
    threads: int = os.cpu_count() or 1
    """Threads of torch."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Numbers of our forward passes; the usual way is float32."""
    out: Path = report.RESULTS
    """Folder for the figures."""


def usual_gan(settings: Benchmark, folder: Path) -> Callable[[int], None]:
    """The GAN as published examples train it; the result runs a number of steps."""
    generator = Generator(settings.size, settings.channels, settings.latent_dim)
    discriminator = Discriminator(settings.size, settings.channels)
    criterion = nn.BCELoss()
    optimizer_d = optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_g = optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    batches = endless(settings, folder)

    def run(steps: int) -> None:
        for step in range(steps):
            real = next(batches)
            label = torch.ones(len(real))
            discriminator.zero_grad()
            output = discriminator(real).sigmoid()
            error_real = criterion(output, label)
            error_real.backward()
            d_real = output.mean().item()
            fake = generator(torch.randn(len(real), settings.latent_dim))
            output = discriminator(fake.detach()).sigmoid()
            error_fake = criterion(output, torch.zeros(len(real)))
            error_fake.backward()
            d_fake = output.mean().item()
            error_d = error_real + error_fake
            optimizer_d.step()
            generator.zero_grad()
            output = discriminator(fake).sigmoid()
            error_g = criterion(output, label)
            error_g.backward()
            optimizer_g.step()
            print(
                f"{step} Loss_D {error_d.item():.4f} Loss_G {error_g.item():.4f} "
                f"D(x) {d_real:.4f} D(G(z)) {d_fake:.4f} / {output.mean().item():.4f}",
                file=sys.stderr,
            )

    return run


def usual_vae(settings: Benchmark, folder: Path) -> Callable[[int], None]:
    """The VAE as published examples train it; the result runs a number of steps."""
    encoder = Encoder(settings.size, settings.channels, settings.latent_dim)
    decoder = Decoder(settings.size, settings.channels, settings.latent_dim)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = optim.Adam(parameters, lr=1e-3)
    batches = endless(settings, folder)

    def run(steps: int) -> None:
        for step in range(steps):
            images = next(batches)
            optimizer.zero_grad()
            mu, logvar = encoder(images)
            z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
            error = nn.functional.mse_loss(decoder(z), images, reduction="sum")
            kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
            loss = error + kl
            loss.backward()
            optimizer.step()
            print(f"{step} Loss {loss.item() / len(images):.4f}", file=sys.stderr)

    return run


def endless(settings: Benchmark, folder: Path) -> Any:
    """Batches from PNG files, read by two workers, for ever."""
    data = ImageFolder(
        str(folder / "png"),
        transforms.Compose(
            [
                transforms.Resize(settings.size),
                transforms.CenterCrop(settings.size),
                transforms.ToTensor(),
                transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
            ]
        ),
    )
    loader = DataLoader(
        data, settings.batch, shuffle=True, num_workers=2, drop_last=True
    )
    while True:
        for images, _ in loader:
            yield images


def usual(kind: str, settings: Benchmark, folder: Path) -> Callable[[], float]:
    """One round of the usual way: it returns images a second."""
    torch.manual_seed(0)
    run = {"gan": usual_gan, "vae": usual_vae}[kind](settings, folder)

    def one_round() -> float:
        started = time.perf_counter()
        run(settings.steps)
        return settings.steps * settings.batch / (time.perf_counter() - started)

    return one_round


def ours(kind: str, settings: Benchmark, folder: Path) -> Callable[[], float]:
    """One round of ours: a short training, of which the second half is timed."""
    images = load_avatars(size=settings.size, cache=folder / "cache", progress=False)
    half = settings.steps * settings.batch
    config, train = {"gan": (GANConfig, train_gan), "vae": (VAEConfig, train_vae)}[kind]
    config = config(
        size=settings.size,
        batch=settings.batch,
        channels=settings.channels,
        latent_dim=settings.latent_dim,
        precision=settings.precision,
        images=2 * half,
        log_every=half,
        sample_every=2 * half + 1,
        checkpoint_every=2 * half + 1,
    )

    def one_round() -> float:
        out = Path(tempfile.mkdtemp(dir=folder)) / "run"
        run = train(config, out, images=images, progress=False)
        speed = run.stats()[-1]["images_per_second"]
        shutil.rmtree(out.parent)
        return speed

    return one_round


def serve(
    way: Callable[[str, Benchmark, Path], Callable[[], float]],
    kind: str,
    settings: Benchmark,
    folder: Path,
    pipe: Connection,
) -> None:
    """Run rounds when told to, in a process of its own."""
    torch.set_num_threads(settings.threads)
    sys.stderr = open(os.devnull, "w", encoding="utf-8")  # where the losses go
    one_round = way(kind, settings, folder)
    while pipe.recv():
        speed = one_round()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pipe.send((speed, peak * (1 if sys.platform == "darwin" else 1024)))


def flops_of_a_step(kind: str, settings: Benchmark) -> float:
    """Floating-point operations of the convolutions and products of one step."""
    z = torch.randn(settings.batch, settings.latent_dim)
    images = torch.randn(settings.batch, 3, settings.size, settings.size)
    with FlopCounterMode(display=False) as counter:
        if kind == "gan":
            generator = Generator(settings.size, settings.channels, settings.latent_dim)
            discriminator = Discriminator(settings.size, settings.channels)
            fake = generator(z)
            (discriminator(images) + discriminator(fake.detach())).sum().backward()
            discriminator.requires_grad_(False)
            discriminator(fake).sum().backward()
        else:
            encoder = Encoder(settings.size, settings.channels, settings.latent_dim)
            decoder = Decoder(settings.size, settings.channels, settings.latent_dim)
            decoder(reparametrise(*encoder(images))).sum().backward()
    return float(counter.get_total_flops())


def matmul_peak(dtype: torch.dtype, seconds: float = 2.0) -> float:
    """Operations a second of a large matrix product, the best of many."""
    n = 2048
    a, b = torch.randn(n, n).to(dtype), torch.randn(n, n).to(dtype)
    best, stop = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < stop:
        started = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - started)
    return 2 * n**3 / best


def write_png(images: ImageSet, folder: Path) -> None:
    """The images as files, as `ImageFolder` wants them."""
    (folder / "png" / "avatars").mkdir(parents=True)
    for number, pixels in enumerate(images.images):
        Image.fromarray(pixels).save(folder / "png" / "avatars" / f"{number:05d}.png")


def measure(kind: str, settings: Benchmark, folder: Path) -> dict[str, Any]:
    """Ours and the usual way in turn."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name, way in (("usual", usual), ("ours", ours)):
        pipes[name], theirs = context.Pipe()
        arguments = (way, kind, settings, folder, theirs)
        # Ours does not let threads spin; whoever has not heard of that has PyTorch's default.
        os.environ.pop("OMP_WAIT_POLICY", None)
        if name == "ours":
            os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        processes.append(context.Process(target=serve, args=arguments))
        processes[-1].start()
    speeds: dict[str, list[float]] = {name: [] for name in pipes}
    memory = {}
    for number in range(settings.rounds + 1):
        for name, pipe in pipes.items():
            pipe.send(True)
            speed, memory[name] = pipe.recv()
            if number:
                speeds[name].append(speed)
    for pipe, process in zip(pipes.values(), processes, strict=True):
        pipe.send(False)
        process.join()
    halves = settings.precision == "auto" and has_bf16(torch.device("cpu"))
    halves = halves or settings.precision == "bfloat16"
    dtype = torch.bfloat16 if halves else torch.float32
    used = (
        median(speeds["ours"])
        / settings.batch
        * flops_of_a_step(kind, settings)
        / matmul_peak(dtype)
    )
    ratios = [a / b for a, b in zip(speeds["ours"], speeds["usual"], strict=True)]
    return {
        "images_per_second": {n: round(median(v), 1) for n, v in speeds.items()},
        "rounds": {n: [round(x, 1) for x in v] for n, v in speeds.items()},
        "ratio": round(median(ratios), 2),
        "share_of_matmul_peak": round(used, 3),
        "matmul_dtype": str(dtype).removeprefix("torch."),
        "peak_memory_mib": {n: round(m / 2**20) for n, m in memory.items()},
    }


def main() -> None:
    """Measure, print and write."""
    settings = tyro.cli(Benchmark)
    torch.set_num_threads(settings.threads)
    result: dict[str, Any] = {
        "settings": {k: v for k, v in asdict(settings).items() if k != "out"}
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = load_avatars(size=settings.size, cache=folder / "cache")
        write_png(images, folder)
        for kind in settings.kinds:
            found = result[kind] = measure(kind, settings, folder)
            speed, memory = found["images_per_second"], found["peak_memory_mib"]
            print(
                f"{kind}: {speed['ours']:.0f} images a second, the usual way "
                f"{speed['usual']:.0f}: {found['ratio']:.2f} times as many; "
                f"{found['share_of_matmul_peak']:.0%} of the {found['matmul_dtype']} peak; "
                f"{memory['ours']} MiB, the usual way {memory['usual']} MiB"
            )
    name = f"throughput_{settings.precision}".removesuffix("_auto")
    report.write(name, settings.out, result)


if __name__ == "__main__":
    main()
