"""What a run learned: its networks, the images that they draw, and a small copy of both."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from chibi_lab.errors import ChibiError
from chibi_lab.files import check_new_folder, place, read, whole_folder, write
from chibi_lab.models import (
    Decoder,
    Encoder,
    Generator,
    ModernGenerator,
    ModernVAE,
)
from chibi_lab.training.checkpoint import (
    halved,
    read_checkpoint,
    read_header,
    widened,
    with_prefix,
    write_checkpoint,
)
from chibi_lab.training.run import FILES, LARGEST, Run

SEEDS = 2**63  # torch takes no larger ones
CHUNK = 64  # images drawn at once; always a full chunk, so that a count never changes a sample


def load_generator(run: Run) -> Generator | ModernGenerator:
    """The generator of a GAN's run, the article's or a modern one, with its averaged weights.

    It is on the CPU, in float32, in evaluation mode; so are all networks that are loaded.
    """
    _require_kind(run, "gan", "modern-gan")
    return _load(run)[-1]


def load_vae(run: Run) -> tuple[Encoder, Decoder]:
    """Encoder and decoder of the article's VAE."""
    _require_kind(run, "vae")
    encoder, decoder = _load(run)
    return encoder, decoder


def load_modern_vae(run: Run) -> ModernVAE:
    """The modern VAE of a run, with its averaged weights."""
    _require_kind(run, "modern-vae")
    return _load(run)[-1]


def load_drawer(run: Run) -> nn.Module:
    """The network of a run of any kind that turns latents into images: generator or decoder."""
    return _load(run)[-1]


def has_encoder(run: Run) -> bool:
    """Whether a run's model can encode images, so that :func:`reconstruct` works."""
    return run.config.kind in ("vae", "modern-vae")


@torch.no_grad()
def reconstruct(run: Run, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Encode images to the mean of their posteriors, and decode these.

    Args:
        run: A run with an encoder.
        images: (N, 3, H, W) in [-1, 1].

    Returns:
        The reconstructions, (N, 3, H, W); mean and logarithm of the variance of the posteriors,
        each (N, latent_dim).

    Raises:
        ChibiError: If the run has no encoder or no checkpoint.
    """
    _require_kind(run, "vae", "modern-vae")
    if run.config.kind == "vae":
        encoder, decoder = load_vae(run)
        coded = [encoder(chunk) for chunk in images.split(CHUNK)]
        attributes = None
    else:
        vae = load_modern_vae(run)
        decoder = vae.decoder
        coded = [vae.encode(chunk) for chunk in images.split(CHUNK)]
        attributes = torch.cat([parts[2] for parts in coded])
    mu, logvar = (torch.cat([parts[i] for parts in coded]) for i in range(2))
    return draw(decoder, mu, attributes), mu, logvar


def value_counts(run: Run) -> tuple[int, ...]:
    """For each attribute that the model can be asked for the number of its values."""
    schema = run.schema()
    return () if schema is None else tuple(map(len, schema.values))


def latents(count: int, latent_dim: int, seed: int) -> Tensor:
    """The first latents of a seed: latent k is the same whatever the count.

    Args:
        count: How many.
        latent_dim: Dimensions of each.
        seed: Seed of the generator that draws them.

    Returns:
        Standard normal latents, (count, latent_dim).

    Raises:
        ChibiError: If count is less than 1, or the seed out of range.
    """
    if count < 1:
        raise ChibiError(f"count is {count}: it must be at least 1")
    if not 0 <= seed < SEEDS:
        raise ChibiError(f"seed is {seed}: it must be 0 or more, and less than 2**63")
    generator = torch.Generator().manual_seed(seed)
    # One at a time: a single large draw ends differently than a small one.
    return torch.stack(
        [torch.randn(latent_dim, generator=generator) for _ in range(count)]
    )


@torch.no_grad()
def draw(network: nn.Module, z: Tensor, attributes: Tensor | None = None) -> Tensor:
    """Images of latents, computed in chunks of fixed size.

    Args:
        network: What draws; put into evaluation mode while it does.
        z: Latents, (N, latent_dim).
        attributes: For a conditional network what to show, int64 (N, A), -1 where it is left
            open; None leaves all open.

    Returns:
        Images, (N, 3, H, W) in [-1, 1], float32 on the CPU.
    """
    training = network.training
    network.eval()
    device = next(network.parameters()).device
    images = []
    for start in range(0, len(z), CHUNK):
        given = [z] if attributes is None else [z, attributes]
        chunks = [_padded(rows[start : start + CHUNK]).to(device) for rows in given]
        images.append(network(*chunks)[: len(z) - start].float().cpu().contiguous())
    network.train(training)
    return torch.cat(images)


def sample(
    run: Run, count: int, seed: int = 0, wish: Mapping[str, str] | None = None
) -> Tensor:
    """The first images that a run draws from a seed.

    Args:
        run: A run of any kind.
        count: How many images.
        seed: Seed of the latents.
        wish: For a conditional model the value of each attribute that is asked for; the others
            are left open.

    Returns:
        Images, (count, 3, H, W) in [-1, 1].

    Raises:
        ChibiError: If the run has no checkpoint, count or seed is out of range, or the model
            cannot be asked for this.
    """
    network = load_drawer(run)
    z = latents(count, run.config.latent_dim, seed)
    if not wish:
        return draw(network, z)
    schema = run.schema()
    if schema is None:
        raise ChibiError(
            f"{run.path} is a model that draws what it likes: it takes no wishes"
        )
    row = torch.tensor(schema.ask(wish))
    return draw(network, z, row.expand(count, -1))


def export_run(run: Run, out: Path | str) -> Run:
    """Copy what it takes to draw and to read a run, and leave out what only training needs.

    The networks are stored in float16, which moves a pixel by less than 1 of 255. Of the sample
    grids the first and the last are kept, and between them one for each doubling of images seen.

    Args:
        run: The run to copy.
        out: The folder to make, or an empty one.

    Returns:
        The small run. It can be sampled and compared, not resumed.
    """
    out, run = place(out), Run.open(run.path)  # again: it may have come to hold a link
    check_new_folder(out)
    latest = run.latest()
    check_fits(run, latest)
    tensors, progress = read_checkpoint(latest, tuple(_networks(run)))
    files = [run.path / name for name in FILES if (run.path / name).exists()]
    with whole_folder(out) as beside:
        for file in (*files, *_doublings(run.samples())):
            copy = beside / file.relative_to(run.path)
            copy.parent.mkdir(exist_ok=True)
            write(copy, read(file, LARGEST, links=False))
        (beside / "checkpoints").mkdir()
        write_checkpoint(
            beside / "checkpoints" / latest.name, halved(tensors), progress
        )
    return Run.open(out)


def check_fits(run: Run, checkpoint: Path) -> None:
    """Hold the sizes of a config against the shapes in a checkpoint; takes no memory for either."""
    shapes, _ = read_header(checkpoint)
    for prefix, build in _networks(run).items():
        with torch.device("meta"), _OnlyShapes():
            wanted = {prefix + k: v.shape for k, v in build().state_dict().items()}
        found = {k: shape for k, shape in shapes.items() if k.startswith(prefix)}
        for name in sorted(wanted.keys() | found.keys()):
            if wanted.get(name) != found.get(name):
                here, said = (
                    "none" if each is None else f"of shape {tuple(each)}"
                    for each in (found.get(name), wanted.get(name))
                )
                raise ChibiError(
                    f"{checkpoint} does not fit the run's config: {name} is {here}, not {said}"
                )


class _OnlyShapes(TorchFunctionMode):
    """Leaves out what PyTorch takes seconds to get ready for on the device that holds nothing."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func.__name__ in ("normal_", "uniform_"):
            return args[0] if args else kwargs["tensor"]
        if func is torch.eye:
            return torch.zeros(args[0], args[0])
        return func(*args, **kwargs or {})


def _doublings(grids: list[Path]) -> list[Path]:
    kept: list[Path] = []
    for grid in grids:
        if not kept or grid is grids[-1] or int(grid.stem) >= 2 * int(kept[-1].stem):
            kept.append(grid)
    return kept


def _require_kind(run: Run, *kinds: str) -> None:
    if run.config.kind not in kinds:
        raise ChibiError(
            f"{run.path} is a run of a {run.config.kind}: a {' or '.join(kinds)} is needed here"
        )


def _padded(rows: Tensor) -> Tensor:
    return torch.cat([rows, rows.new_zeros(CHUNK - len(rows), rows.shape[1])])


def _networks(run: Run) -> dict[str, Callable[[], nn.Module]]:
    """How to build what it takes to draw and to read; how its names begin in a checkpoint.

    The averaged generator or all of a VAE; what draws comes last.
    """
    config: Any = run.config
    widths = config.channels, config.latent_dim
    if config.kind == "gan":
        return {"ema.module.": partial(Generator, config.size, *widths)}
    if config.kind == "vae":
        coding = {"encoder.": Encoder, "decoder.": Decoder}
        return {k: partial(each, config.size, *widths) for k, each in coding.items()}
    kind = ModernGenerator if config.kind == "modern-gan" else ModernVAE
    return {"ema.module.": partial(kind, config.shape, *widths, value_counts(run))}


def _load(run: Run) -> list[nn.Module]:
    checkpoint = run.latest()
    check_fits(run, checkpoint)
    networks = []
    for prefix, build in _networks(run).items():
        tensors = with_prefix(read_checkpoint(checkpoint, (prefix,))[0], prefix)
        networks.append(build())
        networks[-1].load_state_dict(widened(tensors))
        networks[-1].eval()
    return networks
