"""What made a picture: enough to say so, and to draw it again."""

import base64
import binascii
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from pydantic import AfterValidator, Field, TypeAdapter
from pydantic_core import PydanticCustomError

from chibi_lab import __version__
from chibi_lab.errors import ChibiError
from chibi_lab.files import open_file
from chibi_lab.reading import STRICT, checked

if TYPE_CHECKING:  # reading an origin waits for none of these
    from torch import Tensor

    from chibi_lab.training.run import Run

FORMAT = 1
STATEMENT = "AI-generated"
MAX_JSON = 100_000  # characters; an origin of the models here has about a thousand
MAX_LATENT = 4096
MAX_NUMBER = 2**63 - 1
MAX_LISTED = 100  # attributes, and steps
EARLIER = ("earlier steps",)  # stands for those that are not listed any more
MAX_TEXT, MAX_CREDIT = 200, 2000


def _printable(text: str) -> str:
    if not text.isprintable():
        raise PydanticCustomError("printable", "it must hold what can be printed alone")
    return text


def _exact(number: float) -> float:
    try:
        if struct.unpack("<f", struct.pack("<f", number))[0] == number:
            return number
    except OverflowError:
        pass
    raise PydanticCustomError("float32", "it must be a float32")


Credit = Annotated[str, Field(max_length=MAX_CREDIT), AfterValidator(_printable)]
Text = Annotated[
    str, Field(min_length=1, max_length=MAX_TEXT), AfterValidator(_printable)
]
Numbers = Annotated[
    tuple[Annotated[float, AfterValidator(_exact)], ...], Field(max_length=MAX_LATENT)
]


@dataclass(frozen=True)
class Origin:
    """What made a picture. Two with the same fields are written with the same bytes.

    Texts hold printable characters only, so that whoever prints one, from a file of a stranger's,
    prints no command to a terminal.

    Attributes:
        model: Name of the model, as a person sees it; 1 to 200 characters.
        kind: Its kind, such as "modern-gan".
        weights: SHA-256 of the file of its weights, 64 hexadecimal digits.
        latent: The latent z that was drawn, 1 to 4096 numbers, each exactly a float32. Of an
            animation the one of its first picture.
        shares: How much of each value of each attribute was drawn, exactly float32 too; empty
            where the model takes no wishes.
        seed: Seed of the latent, at least 0; None if it did not come from a seed.
        candidate: Which latent of the seed it was, from 1; None if it did not come from a seed.
        attributes: What was asked for, value by name; what is missing was left open.
        steps: What was done since, in order, such as "hair_color=pink" or "repair".
        credit: Whose pictures the model learned from; "" if that is not known.
        software: What wrote this, with its version.

    Raises:
        ChibiError: If a field is of another type, too long, or out of its range.
    """

    model: Text
    kind: Annotated[str, Field(pattern="^[a-z][a-z0-9-]{0,39}$")]
    weights: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    latent: Annotated[Numbers, Field(min_length=1)]
    seed: Annotated[int, Field(ge=0, le=MAX_NUMBER)] | None = None
    candidate: Annotated[int, Field(ge=1, le=MAX_NUMBER)] | None = None
    shares: Numbers = ()
    attributes: Annotated[Mapping[Text, Text], Field(max_length=MAX_LISTED)] = field(
        default_factory=dict
    )
    steps: Annotated[tuple[Text, ...], Field(max_length=MAX_LISTED)] = ()
    credit: Credit = ""
    software: Text = f"chibi-lab {__version__}"

    def __post_init__(self) -> None:
        """Check each field."""
        for name, schema in _schemas().items():
            with checked(f"the origin's {name}"):
                schema.validate_python(getattr(self, name))

    @classmethod
    def of_run(
        cls,
        run: "Run",
        model: str,
        z: "Tensor",
        seed: int | None = None,
        candidate: int | None = None,
        shares: "Tensor | None" = None,
        attributes: Mapping[str, str] | None = None,
        steps: Sequence[str] = (),
    ) -> "Origin":
        """The origin of what a run drew: kind, weights and credit are taken from it.

        Args:
            run: The run.
            model: Its name, as a person sees it.
            z: The latent that was drawn, (latent_dim,) or (1, latent_dim).
            seed: Its seed, if it has one.
            candidate: Which latent of the seed it is, from 1.
            shares: How much of each value of each attribute was drawn, (sum of counts,).
            attributes: What was asked for, value by name.
            steps: What was done since.

        Returns:
            The origin.

        Raises:
            ChibiError: If the run has no checkpoint, or a field is not as it should be.
        """
        if len(steps) > MAX_LISTED:
            steps = (*EARLIER, *steps[1 - MAX_LISTED :])
        return cls(
            model=model,
            kind=run.config.kind,
            weights=checksum_of(run),
            latent=_listed(z),
            shares=() if shares is None else _listed(shares),
            seed=seed,
            candidate=candidate,
            attributes=dict(attributes or {}),
            steps=tuple(steps),
            credit=credit_of(run),
        )

    @property
    def z(self) -> "Tensor":
        """The latent as networks take it, float32 (1, latent_dim)."""
        import torch

        return torch.tensor([self.latent], dtype=torch.float32)

    def to_json(self) -> dict[str, Any]:
        """The origin as plain JSON; its numbers as float32, little-endian, in base64."""
        return {
            "format": FORMAT,
            "statement": STATEMENT,
            "software": self.software,
            "model": self.model,
            "kind": self.kind,
            "weights": self.weights,
            "seed": self.seed,
            "candidate": self.candidate,
            "latent": _packed(self.latent),
            "shares": _packed(self.shares),
            "attributes": dict(self.attributes),
            "steps": list(self.steps),
            "credit": self.credit,
        }

    def to_text(self) -> str:
        """The JSON in one line of ASCII, which every container can hold."""
        return json.dumps(self.to_json(), separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> "Origin":
        """Read what :meth:`to_text` wrote, and trust none of it.

        Args:
            text: The JSON.

        Returns:
            The origin.

        Raises:
            ChibiError: If it is cut off, of a newer format, or not as an origin is.
        """
        if len(text) > MAX_JSON:
            raise ChibiError(
                f"the origin has {len(text):,} characters: {MAX_JSON:,} are the most"
            )
        try:
            data = json.loads(
                text, object_pairs_hook=_once, parse_constant=_no_constant
            )
        except json.JSONDecodeError as error:
            raise ChibiError(
                f"the origin is no whole JSON: {error.msg} at character {error.pos + 1}"
            ) from error
        except (RecursionError, ValueError) as error:
            if isinstance(error, ChibiError):
                raise
            raise ChibiError(
                "the origin is JSON of a depth or a number that none has"
            ) from error
        if not isinstance(data, dict) or type(data.get("format")) is not int:
            raise ChibiError("the origin is no JSON object with a format")
        number = data.pop("format")
        if number != FORMAT:
            advice = ": install a newer one" if number > FORMAT else ""
            raise ChibiError(
                f"the origin is of format {number}, and chibi-lab {__version__} reads format "
                f"{FORMAT}{advice}"
            )
        if data.pop("statement", None) != STATEMENT:
            raise ChibiError(f"the origin's statement must be {STATEMENT!r}")
        if data.keys() != _schemas().keys():
            raise ChibiError(f"the origin must have {', '.join(_schemas())} alone")
        data |= {name: _unpacked(name, data[name]) for name in ("latent", "shares")}
        with checked("the origin's steps"):
            data["steps"] = tuple(_STEPS.validate_python(data["steps"]))
        return cls(**data)


_STEPS = TypeAdapter(list[Any], config=STRICT)


@cache
def _schemas() -> dict[str, TypeAdapter[Any]]:
    """What the type of each field allows."""
    hints = get_type_hints(Origin, include_extras=True)
    return {name: TypeAdapter(hint, config=STRICT) for name, hint in hints.items()}


def checksum_of(run: "Run") -> str:
    """SHA-256 of the file of a run's weights, in hexadecimal."""
    with open_file(run.latest()) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def credit_of(run: "Run") -> str:
    """Whose pictures a run learned from; "" if its folder does not say."""
    try:
        return run.data().get("credit", "")
    except ChibiError:
        return ""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; JSON itself would let the last of two values win."""
    if len(dict(pairs)) != len(pairs):
        raise ChibiError("the origin says something twice")
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise ChibiError(f"the origin holds {name}, which is no number")


def _listed(numbers: "Tensor") -> tuple[float, ...]:
    return tuple(numbers.detach().float().cpu().reshape(-1).tolist())


def _packed(numbers: tuple[float, ...]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def _unpacked(name: str, text: Any) -> tuple[float, ...]:
    try:
        packed = base64.b64decode(text, validate=True)
        return struct.unpack(f"<{len(packed) // 4}f", packed)
    except (binascii.Error, struct.error, TypeError, ValueError) as error:
        raise ChibiError(
            f"the origin's {name} is not in base64, 4 bytes a number"
        ) from error
