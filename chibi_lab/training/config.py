"""Every choice of a training, in one frozen dataclass for each kind of model.

The fields are the flags of ``chibi-lab train``; their docstrings are its help, their types say
what they may be.
"""

from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_type_hints

from pydantic import Field, TypeAdapter

from chibi_lab.data import AttributeSchema
from chibi_lab.errors import ChibiError
from chibi_lab.reading import STRICT, checked, naming, read_json

Seen = Annotated[int, Field(ge=1, le=10**12)]  # images
Weight = Annotated[float, Field(ge=0, le=10**9)]
StepSize = Annotated[float, Field(gt=0, le=1_000)]
Beta = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class TrainingConfig:
    """What the trainings of both kinds share. Lengths are counted in images seen."""

    kind: ClassVar[str]

    data: Annotated[str, Field(min_length=1, max_length=4_096)] = "adventurer"
    """The name of a DiceBear style to learn from, or a folder of pictures."""
    palette: Annotated[str, Field(min_length=1, max_length=100)] = "pastel"
    """Colours of a DiceBear style, pastel or original (the style's own)."""
    count: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    """Number of training avatars to render. Of a folder 90 % are trained on, whatever this says."""
    size: Annotated[int, Field(ge=1, le=2_048)] = 64
    """Side of the images, 32, 64 or 128 pixels."""
    images: Seen = 200_000
    """Length of the training in images seen."""
    minutes: Annotated[float, Field(gt=0, le=10**7)] | None = None
    """Longest time to train, in minutes; as many again on --resume. Without it --images counts."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of everything random (first weights, order of the images, latents)."""
    batch: Annotated[int, Field(ge=2, le=65_536)] = 32
    """Images in one step, of all ranks together."""
    channels: Annotated[int, Field(ge=1, le=4_096)] = 32
    """Width of the networks at half the full resolution."""
    latent_dim: Annotated[int, Field(ge=1, le=65_536)] = 100
    """Dimensions of the latent."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto is a GPU (cuda) where there is one, else the processor (cpu)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Numbers of the forward passes; auto is bfloat16 where the device multiplies it fast."""
    compile: bool = False
    """Compile the networks first: a minute or two that long trainings win back."""
    log_every: Seen = 2_000
    """Images seen between two rows of stats.jsonl."""
    sample_every: Seen = 10_000
    """Images seen between two sample grids."""
    checkpoint_every: Seen = 50_000
    """Images seen between two checkpoints."""
    tensorboard: bool = False
    """Also write the rows of stats.jsonl for TensorBoard, which has to be installed."""

    def __post_init__(self) -> None:
        """Refuse values that no training can run with; the line names field, value and range."""
        for name, schema in _schemas(type(self)).items():
            with checked(name):
                schema.validate_python(getattr(self, name))
        self._check_together()

    @property
    def title(self) -> str:
        """The kind as one writes it in a sentence, such as "modern GAN"."""
        return self.kind.replace("-", " ").replace("gan", "GAN").replace("vae", "VAE")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return self.size, self.size

    def check_images(
        self, shape: tuple[int, int], schema: AttributeSchema | None
    ) -> None:
        """Refuse images that these networks cannot learn from.

        Args:
            shape: Their height and width in pixels.
            schema: What is known of what they show.
        """
        if shape != self.shape:
            here, asked = ("{} x {}".format(*pixels) for pixels in (shape, self.shape))
            raise ChibiError(
                f"the images have {here} pixels (height x width), the config says {asked}"
            )

    def _check_together(self) -> None:
        """Check what no field says alone."""
        _require(self.size in (32, 64, 128), "size", self.size, "32, 64 or 128 pixels")

    def to_json(self) -> dict[str, Any]:
        """The config with its kind, ready for ``json.dump``."""
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True)
class GANConfig(TrainingConfig):
    """Training of a GAN: a DCGAN with the article's optimiser."""

    kind: ClassVar[str] = "gan"

    loss: Literal["non-saturating", "minimax"] = "non-saturating"
    """Loss of the generator."""
    learning_rate: StepSize = 2e-4
    """Step size of Adam, for both players."""
    betas: tuple[Beta, Beta] = (0.5, 0.999)
    """Adam's decay rates for the first and second moment of the gradient."""
    instance_noise: Weight = 0.0
    """Deviation of the noise on all images that the discriminator sees; 0 is the article's."""
    ema_images: Seen = 10_000
    """Half-life of the generator's averaged weights, in images seen."""


@dataclass(frozen=True)
class VAEConfig(TrainingConfig):
    """Training of a VAE with the article's loss and optimiser."""

    kind: ClassVar[str] = "vae"

    kl_weight: Weight = 1.0
    """Weight of the KL term against the summed squared error; 1 is the article's."""
    learning_rate: StepSize = 1e-3
    """Step size of Adam."""
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Adam's decay rates for the first and second moment of the gradient."""


@dataclass(frozen=True)
class ModernConfig(TrainingConfig):
    """What the modern models share: other shapes, attributes to ask for, and the adversary."""

    size: Annotated[int, Field(ge=1, le=2_048)] = 64
    """Height of the images in pixels, a multiple of 16."""
    width: Annotated[int, Field(ge=1, le=2_048)] | None = None
    """Width of the images; without it they are square. The other choice is 3/4 of the height."""
    conditional: bool = True
    """Learn to draw what is asked for, where the data says what its images show."""
    penalty: Weight = 1.0
    """Weight of the discriminator's two gradient penalties; larger images need more."""
    penalty_every: Annotated[int, Field(ge=1, le=10**6)] = 16
    """Steps from one penalty to the next, which then counts as often."""
    augment: bool = False
    """Change what the discriminator sees at random, for few pictures; compare without."""
    ema_images: Seen = 10_000
    """Half-life of the averaged weights, in images seen."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return self.size, self.size if self.width is None else self.width

    def check_images(
        self, shape: tuple[int, int], schema: AttributeSchema | None
    ) -> None:
        """As for all; and each attribute that is left open needs a dimension of its own."""
        super().check_images(shape, schema)
        if self.conditional and schema is not None:
            right = f"at least {len(schema)}, one dimension an attribute"
            enough = self.latent_dim >= len(schema)
            _require(enough, "latent_dim", self.latent_dim, right)

    def _check_together(self) -> None:
        height, width = self.shape
        whole = height >= 32 and height % 16 == 0
        _require(whole, "size", height, "a multiple of 16, at least 32")
        narrow = 4 * width == 3 * height and width % 16 == 0
        right = f"{height}, or 3/4 of it where that is a multiple of 16"
        _require(width == height or narrow, "width", width, right)


@dataclass(frozen=True)
class ModernGANConfig(ModernConfig):
    """Training of a modern GAN: relativistic loss, two gradient penalties, no normalisation."""

    kind: ClassVar[str] = "modern-gan"

    learning_rate: StepSize = 4e-4
    """Step size of Adam, for both players."""
    betas: tuple[Beta, Beta] = (0.0, 0.99)
    """Adam's decay rates for the first and second moment of the gradient."""


@dataclass(frozen=True)
class ModernVAEConfig(ModernConfig):
    """Training of a modern VAE: a variance that fits, a density of its latents, attributes."""

    kind: ClassVar[str] = "modern-vae"

    learning_rate: StepSize = 2e-3
    """Step size of Adam."""
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Adam's decay rates for the first and second moment of the gradient."""
    adversary: Annotated[float, Field(ge=0, le=1_000)] = 0.0
    """Step size of the decoder against a discriminator that wants it sharp; 0 is without."""

    def _check_together(self) -> None:
        super()._check_together()
        alone = self.augment and not self.adversary
        _require(
            not alone, "augment", True, "False where there is no adversary to see it"
        )


CONFIGS: dict[str, type[TrainingConfig]] = {
    config.kind: config
    for config in (GANConfig, VAEConfig, ModernGANConfig, ModernVAEConfig)
}


def config_from_json(values: Any) -> TrainingConfig:
    """The config that :meth:`TrainingConfig.to_json` wrote, checked."""
    if not isinstance(values, dict):
        raise ChibiError("a config is a JSON object of names and values")
    # JSON has lists only.
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in CONFIGS:
        known = ", ".join(CONFIGS)
        raise ChibiError(f"kind of model {kind!r} is unknown: the kinds are {known}")
    unknown = values.keys() - {field.name for field in fields(CONFIGS[kind])}
    if unknown:
        raise ChibiError(
            f"config of a {kind} has unknown fields: {', '.join(sorted(unknown))}"
        )
    return CONFIGS[kind](**values)


def read_config(file: Path, *, links: bool = False) -> TrainingConfig:
    """Read the ``config.json`` of a run; it may be a link only if that is said."""
    values = read_json(file, 10**6, links=links)
    with naming(file):
        return config_from_json(values)


@cache
def _schemas(config: type[TrainingConfig]) -> dict[str, TypeAdapter]:
    """What the type of each field allows."""
    hints = get_type_hints(config, include_extras=True)
    return {f.name: TypeAdapter(hints[f.name], config=STRICT) for f in fields(config)}


def _require(holds: bool, name: str, value: object, right: str) -> None:
    if not holds:
        raise ChibiError(f"{name} is {value}: it must be {right}")
