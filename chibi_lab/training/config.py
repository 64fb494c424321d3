"""Every choice of a training, in one frozen dataclass for each kind of model.

The fields are the flags of ``chibi-lab train``; their docstrings are its help.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal

from chibi_lab.data import AttributeSchema
from chibi_lab.errors import ChibiError


@dataclass(frozen=True)
class TrainingConfig:
    """What the trainings of both kinds share. Lengths are counted in images seen."""

    kind: ClassVar[str]

    data: str = "adventurer"
    """The name of a DiceBear style to learn from, or a folder of pictures."""
    palette: str = "pastel"
    """Colours of a DiceBear style, pastel or original (the style's own)."""
    count: int = 10_000
    """Number of training avatars to render. Of a folder 90 % are trained on, whatever this says."""
    size: int = 64
    """Side of the images, 32, 64 or 128 pixels."""
    images: int = 200_000
    """Length of the training in images seen."""
    minutes: float | None = None
    """Longest time to train, in minutes; without it only --images counts."""
    seed: int = 0
    """Seed of everything random (first weights, order of the images, latents)."""
    batch: int = 32
    """Images in one step, of all ranks together."""
    channels: int = 32
    """Width of the networks at half the full resolution."""
    latent_dim: int = 100
    """Dimensions of the latent."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto is a GPU (cuda) where there is one, else the processor (cpu)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Numbers of the forward passes; auto is bfloat16 where the device multiplies it fast."""
    compile: bool = False
    """Compile the networks first: a minute or two that long trainings win back."""
    log_every: int = 2_000
    """Images seen between two rows of stats.jsonl."""
    sample_every: int = 10_000
    """Images seen between two sample grids."""
    checkpoint_every: int = 50_000
    """Images seen between two checkpoints."""
    tensorboard: bool = False
    """Also write the rows of stats.jsonl for TensorBoard, which has to be installed."""

    def __post_init__(self) -> None:
        """Refuse values that no training can run with.

        Raises:
            ChibiError: Names the field, its value and the range it must be in.
        """
        for name in (
            "count",
            "images",
            "channels",
            "latent_dim",
            "log_every",
            "sample_every",
        ):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _require(
            self.checkpoint_every >= 1,
            "checkpoint_every",
            self.checkpoint_every,
            "at least 1",
        )
        _require(
            self.minutes is None or self.minutes > 0,
            "minutes",
            self.minutes,
            "above 0",
        )
        _require(
            self.device in ("auto", "cpu", "cuda"),
            "device",
            self.device,
            "auto, cpu or cuda",
        )
        _require(
            self.precision in ("auto", "float32", "bfloat16"),
            "precision",
            self.precision,
            "auto, float32 or bfloat16",
        )
        self._check_size()
        _require(
            self.batch >= 2,
            "batch",
            self.batch,
            "at least 2, since BatchNorm compares images",
        )
        _require(0 <= self.seed < 2**63, "seed", self.seed, "a whole number from 0 up")

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

        Raises:
            ChibiError: If they have another shape, or more attributes than the latent dimensions.
        """
        if shape != self.shape:
            here, asked = ("{} x {}".format(*pixels) for pixels in (shape, self.shape))
            raise ChibiError(
                f"the images have {here} pixels (height x width), the config says {asked}"
            )

    def _check_size(self) -> None:
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
    learning_rate: float = 2e-4
    """Step size of Adam, for both players."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's decay rates for the first and second moment of the gradient."""
    instance_noise: float = 0.0
    """Deviation of the noise on all images that the discriminator sees; 0 is the article's."""
    ema_images: int = 10_000
    """Half-life of the generator's averaged weights, in images seen."""

    def __post_init__(self) -> None:
        """Check the GAN's own fields too.

        Raises:
            ChibiError: Names the field, its value and the range it must be in.
        """
        super().__post_init__()
        _require(
            self.loss in ("non-saturating", "minimax"),
            "loss",
            self.loss,
            "non-saturating or minimax",
        )
        _check_adam(self.learning_rate, self.betas)
        _require(
            self.instance_noise >= 0, "instance_noise", self.instance_noise, "0 or more"
        )
        _require(self.ema_images >= 1, "ema_images", self.ema_images, "at least 1")


@dataclass(frozen=True)
class VAEConfig(TrainingConfig):
    """Training of a VAE with the article's loss and optimiser."""

    kind: ClassVar[str] = "vae"

    kl_weight: float = 1.0
    """Weight of the KL term against the summed squared error; 1 is the article's."""
    learning_rate: float = 1e-3
    """Step size of Adam."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's decay rates for the first and second moment of the gradient."""

    def __post_init__(self) -> None:
        """Check the VAE's own fields too.

        Raises:
            ChibiError: Names the field, its value and the range it must be in.
        """
        super().__post_init__()
        _require(self.kl_weight >= 0, "kl_weight", self.kl_weight, "0 or more")
        _check_adam(self.learning_rate, self.betas)


@dataclass(frozen=True)
class ModernConfig(TrainingConfig):
    """What the modern models share: other shapes, attributes to ask for, and the adversary."""

    size: int = 64
    """Height of the images in pixels, a multiple of 16."""
    width: int | None = None
    """Width of the images; without it they are square. The other choice is 3/4 of the height."""
    conditional: bool = True
    """Learn to draw what is asked for, where the data says what its images show."""
    penalty: float = 1.0
    """Weight of the discriminator's two gradient penalties; larger images need more."""
    penalty_every: int = 16
    """Steps from one penalty to the next, which then counts as often."""
    augment: bool = False
    """Change what the discriminator sees at random, for few pictures; compare without."""
    ema_images: int = 10_000
    """Half-life of the averaged weights, in images seen."""

    def __post_init__(self) -> None:
        """Check the modern models' own fields too.

        Raises:
            ChibiError: Names the field, its value and the range it must be in.
        """
        super().__post_init__()
        _require(self.penalty >= 0, "penalty", self.penalty, "0 or more")
        for name in ("penalty_every", "ema_images"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return self.size, self.size if self.width is None else self.width

    def check_images(
        self, shape: tuple[int, int], schema: AttributeSchema | None
    ) -> None:
        """As for all; and each attribute that is left open needs a dimension of its own.

        Raises:
            ChibiError: As for all.
        """
        super().check_images(shape, schema)
        if self.conditional and schema is not None:
            right = f"at least {len(schema)}, one dimension an attribute"
            enough = self.latent_dim >= len(schema)
            _require(enough, "latent_dim", self.latent_dim, right)

    def _check_size(self) -> None:
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

    learning_rate: float = 4e-4
    """Step size of Adam, for both players."""
    betas: tuple[float, float] = (0.0, 0.99)
    """Adam's decay rates for the first and second moment of the gradient."""

    def __post_init__(self) -> None:
        """Check the modern GAN's own fields too.

        Raises:
            ChibiError: Names the field, its value and the range it must be in.
        """
        super().__post_init__()
        _check_adam(self.learning_rate, self.betas)


@dataclass(frozen=True)
class ModernVAEConfig(ModernConfig):
    """Training of a modern VAE: a variance that fits, a density of its latents, attributes."""

    kind: ClassVar[str] = "modern-vae"

    learning_rate: float = 2e-3
    """Step size of Adam."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's decay rates for the first and second moment of the gradient."""
    adversary: float = 0.0
    """Step size of the decoder against a discriminator that wants it sharp; 0 is without."""

    def __post_init__(self) -> None:
        """Check the modern VAE's own fields too.

        Raises:
            ChibiError: Names the field, its value and the range it must be in.
        """
        super().__post_init__()
        _check_adam(self.learning_rate, self.betas)
        _require(self.adversary >= 0, "adversary", self.adversary, "0 or more")
        alone = self.augment and not self.adversary
        _require(
            not alone, "augment", True, "False where there is no adversary to see it"
        )


CONFIGS: dict[str, type[TrainingConfig]] = {
    config.kind: config
    for config in (GANConfig, VAEConfig, ModernGANConfig, ModernVAEConfig)
}


def config_from_json(values: dict[str, Any]) -> TrainingConfig:
    """The config that :meth:`TrainingConfig.to_json` wrote.

    Args:
        values: Field names and values, with ``kind`` among them.

    Returns:
        The config, checked.

    Raises:
        ChibiError: If the kind or a field is unknown, or a value out of range.
    """
    values = dict(values)
    kind = values.pop("kind", None)
    if kind not in CONFIGS:
        known = ", ".join(CONFIGS)
        raise ChibiError(f"kind of model {kind!r} is unknown: the kinds are {known}")
    unknown = values.keys() - {field.name for field in fields(CONFIGS[kind])}
    if unknown:
        raise ChibiError(
            f"config of a {kind} has unknown fields: {', '.join(sorted(unknown))}"
        )
    if "betas" in values:
        values["betas"] = tuple(values["betas"])
    return CONFIGS[kind](**values)


def _require(holds: bool, name: str, value: object, right: str) -> None:
    if not holds:
        raise ChibiError(f"{name} is {value}: it must be {right}")


def _check_adam(learning_rate: float, betas: tuple[float, float]) -> None:
    _require(learning_rate > 0, "learning_rate", learning_rate, "above 0")
    _require(
        all(0 <= beta < 1 for beta in betas),
        "betas",
        betas,
        "two numbers from 0 to below 1",
    )
