"""What made a picture: enough to say so, and to draw it again."""

import base64
import binascii
import hashlib
import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chibi_lab import __version__
from chibi_lab.errors import ChibiError

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
KEYS = (
    "format", "statement", "software", "model", "kind", "weights", "seed",
    "candidate", "latent", "shares", "attributes", "steps", "credit",
)  # fmt: skip


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

    model: str
    kind: str
    weights: str
    latent: tuple[float, ...]
    seed: int | None = None
    candidate: int | None = None
    shares: tuple[float, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    credit: str = ""
    software: str = f"chibi-lab {__version__}"

    def __post_init__(self) -> None:
        """Check each field."""
        _check_text("model", self.model, MAX_TEXT)
        _check_pattern("kind", self.kind, "[a-z][a-z0-9-]{0,39}", "a word such as gan")
        _check_pattern(
            "weights", self.weights, "[0-9a-f]{64}", "a SHA-256 in hexadecimal"
        )
        _check_numbers("latent", self.latent, 1)
        _check_numbers("shares", self.shares, 0)
        _check_number("seed", self.seed, 0)
        _check_number("candidate", self.candidate, 1)
        if not isinstance(self.attributes, Mapping):
            raise ChibiError("the origin's attributes must be values by name")
        _check_count("attributes", self.attributes)
        for name, value in self.attributes.items():
            _check_text("attributes", name, MAX_TEXT)
            _check_text("attributes", value, MAX_TEXT)
        if not isinstance(self.steps, tuple):
            raise ChibiError("the origin's steps must be a list of texts")
        _check_count("steps", self.steps)
        for step in self.steps:
            _check_text("steps", step, MAX_TEXT)
        _check_text("credit", self.credit, MAX_CREDIT, least=0)
        _check_text("software", self.software, MAX_TEXT)

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
        return cls(
            model=model,
            kind=run.config.kind,
            weights=checksum_of(run),
            latent=_listed(z),
            shares=() if shares is None else _listed(shares),
            seed=seed,
            candidate=candidate,
            attributes=dict(attributes or {}),
            steps=(*EARLIER, *steps[1 - MAX_LISTED :])
            if len(steps) > MAX_LISTED
            else tuple(steps),
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
        _check_keys(data)
        kinds = {"latent": str, "shares": str, "attributes": dict, "steps": list}
        for name, kind in kinds.items():
            if not isinstance(data[name], kind):
                raise ChibiError(f"the origin's {name} must be a JSON {kind.__name__}")
        fields = {k: v for k, v in data.items() if k not in ("format", "statement")}
        fields |= {name: _unpacked(name, data[name]) for name in ("latent", "shares")}
        fields["steps"] = tuple(data["steps"])
        return cls(**fields)


def checksum_of(run: "Run") -> str:
    """SHA-256 of the file of a run's weights, in hexadecimal.

    Raises:
        ChibiError: If the run has no checkpoint, or it cannot be read.
    """
    try:
        return hashlib.sha256(run.latest().read_bytes()).hexdigest()
    except OSError as error:
        raise ChibiError(f"cannot read {error.filename}: {error.strerror}") from error


def credit_of(run: "Run") -> str:
    """Whose pictures a run learned from; "" if its folder does not say."""
    try:
        data = json.loads((run.path / "data.json").read_text("utf-8"))
        return str(data.get("credit", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _check_keys(data: Any) -> None:
    """Raise ChibiError unless the JSON has the keys of an origin of the format known here."""
    if not isinstance(data, dict) or "format" not in data:
        raise ChibiError("the origin is no JSON object with a format")
    number = data["format"]
    if type(number) is not int or number < 1:
        raise ChibiError(f"the origin's format must be a whole number, {FORMAT} here")
    if number > FORMAT:
        raise ChibiError(
            f"the origin is of format {number}, and format {FORMAT} is the newest "
            f"that chibi-lab {__version__} reads: install a newer one"
        )
    missing = [key for key in KEYS if key not in data]
    if missing:
        raise ChibiError(f"the origin lacks {', '.join(missing)}")
    if len(data) > len(KEYS):
        raise ChibiError("the origin says things that none of its format says")
    if data["statement"] != STATEMENT:
        raise ChibiError(f"the origin's statement must be {STATEMENT!r}")


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


def _unpacked(name: str, text: str) -> tuple[float, ...]:
    try:
        packed = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ChibiError(f"the origin's {name} is not in base64") from error
    if len(packed) % 4:
        raise ChibiError(
            f"the origin's {name} has {len(packed)} bytes: it must have 4 for each number"
        )
    return struct.unpack(f"<{len(packed) // 4}f", packed)


def _check_numbers(name: str, numbers: Any, least: int) -> None:
    if not isinstance(numbers, tuple) or not all(type(x) is float for x in numbers):
        raise ChibiError(f"the origin's {name} must be a tuple of numbers")
    if not least <= len(numbers) <= MAX_LATENT:
        raise ChibiError(
            f"the origin's {name} has {len(numbers)} numbers: it must have {least} to {MAX_LATENT}"
        )
    if not all(map(math.isfinite, numbers)):
        raise ChibiError(f"the origin's {name} holds what is no finite number")
    try:
        exact = all(struct.unpack("<f", struct.pack("<f", x))[0] == x for x in numbers)
    except OverflowError:
        exact = False
    if not exact:
        raise ChibiError(f"the origin's {name} holds numbers that are no float32")


def _check_number(name: str, value: Any, least: int) -> None:
    if value is None:
        return
    if type(value) is not int or not least <= value <= MAX_NUMBER:
        raise ChibiError(f"the origin's {name} must be a whole number from {least} up")


def _check_text(name: str, value: Any, most: int, least: int = 1) -> None:
    if not isinstance(value, str) or not least <= len(value) <= most:
        raise ChibiError(
            f"the origin's {name} must be text of {least} to {most} characters"
        )
    if not value.isprintable():
        raise ChibiError(
            f"the origin's {name} holds a character that cannot be printed"
        )


def _check_pattern(name: str, value: Any, pattern: str, right: str) -> None:
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ChibiError(f"the origin's {name} must be {right}")


def _check_count(name: str, values: Mapping[str, str] | tuple[str, ...]) -> None:
    if len(values) > MAX_LISTED:
        raise ChibiError(
            f"the origin has {len(values)} {name}: {MAX_LISTED} are the most"
        )
