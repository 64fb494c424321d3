"""What the integers in an attribute table mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chibi_lab.errors import ChibiError


@dataclass(frozen=True)
class AttributeSchema:
    """Names the columns of an attribute table and the values in each column.

    An image with attributes carries one row of integers (int64, shape (A,)). Column `a` is called
    `names[a]`; the integer `v` in it stands for `values[a][v]`. Something that is absent, such as
    glasses, is the value "none", so every image has a value in every column.

    Attributes:
        names: Column names, all different, length A.
        values: For each column its values, all different, at least one.

    Raises:
        ChibiError: If names and values do not fit together.
    """

    names: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        """Check that the two tuples describe a table."""
        if len(self.names) != len(self.values):
            raise ChibiError(
                f"a schema needs one list of values for each name: "
                f"{len(self.names)} names, {len(self.values)} lists of values"
            )
        if len(set(self.names)) != len(self.names):
            raise ChibiError(
                f"attribute names must be different: {', '.join(self.names)}"
            )
        for name, values in zip(self.names, self.values, strict=True):
            if not values or len(set(values)) != len(values):
                raise ChibiError(
                    f"attribute {name!r} needs at least one value, none of them twice"
                )

    def __len__(self) -> int:
        """Number of columns A."""
        return len(self.names)

    def index(self, name: str) -> int:
        """Column number of an attribute.

        Raises:
            ChibiError: If there is no attribute of this name.
        """
        if name not in self.names:
            known = ", ".join(self.names) or "none at all"
            raise ChibiError(f"no attribute {name!r}; the attributes are: {known}")
        return self.names.index(name)

    def count(self, name: str) -> int:
        """How many different values the attribute `name` can take."""
        return len(self.values[self.index(name)])

    def decode(self, row: Sequence[int]) -> dict[str, str]:
        """Turn one row of integers into words.

        Args:
            row: A integers, one for each column (a list, a numpy row or a tensor row).

        Returns:
            Value by attribute name, for example `{"hair": "long03", "glasses": "none"}`.

        Raises:
            ChibiError: If the row has another length, or an integer that stands for no value.
        """
        if len(row) != len(self.names):
            raise ChibiError(
                f"a row needs {len(self.names)} integers, this one has {len(row)}"
            )
        decoded = {}
        for name, values, number in zip(self.names, self.values, row, strict=True):
            if not 0 <= int(number) < len(values):
                raise ChibiError(
                    f"attribute {name!r} has the values 0 to {len(values) - 1}, not {int(number)}"
                )
            decoded[name] = values[int(number)]
        return decoded

    def ask(self, wish: Mapping[str, str]) -> tuple[int, ...]:
        """Turn a wish into one row of integers; what it does not mention is left open, as -1.

        Args:
            wish: Value by attribute name, for any part of the attributes.

        Raises:
            ChibiError: If an attribute or a value is unknown, or the wish is no mapping.
        """
        if not isinstance(wish, Mapping):
            raise ChibiError(f"attributes go by name, they are not {wish!r}")
        row = [-1] * len(self)
        for name, value in wish.items():
            column = self.index(name)
            if value not in self.values[column]:
                raise ChibiError(
                    f"attribute {name!r} has no value {value!r}; "
                    f"its values are: {', '.join(self.values[column])}"
                )
            row[column] = self.values[column].index(value)
        return tuple(row)

    def encode(self, attributes: Mapping[str, str]) -> tuple[int, ...]:
        """Turn words into one row of integers; the inverse of `decode`.

        Args:
            attributes: A value for every column. Other keys are not allowed.

        Raises:
            ChibiError: If an attribute is missing, unknown, or has an unknown value.
        """
        row = self.ask(attributes)
        for name, number in zip(self.names, row, strict=True):
            if number < 0:
                raise ChibiError(f"attribute {name!r} is missing")
        return row

    def to_json(self) -> dict[str, list[str]]:
        """The schema as plain JSON: a list of values by attribute name, in column order."""
        return {
            name: list(values)
            for name, values in zip(self.names, self.values, strict=True)
        }

    @classmethod
    def from_json(cls, data: Any) -> AttributeSchema:
        """Read what `to_json` wrote.

        Raises:
            ChibiError: If `data` is not an object of lists of strings.
        """
        if not isinstance(data, Mapping) or not all(
            isinstance(values, list) and all(isinstance(value, str) for value in values)
            for values in data.values()
        ):
            raise ChibiError("an attribute schema is a JSON object of lists of strings")
        return cls(tuple(data), tuple(tuple(values) for values in data.values()))
