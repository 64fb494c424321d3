import json

import numpy as np
import pytest

from chibi_lab.data import AttributeSchema
from chibi_lab.errors import ChibiError

SCHEMA = AttributeSchema(
    ("hair", "glasses"), (("long", "short", "bun"), ("none", "round"))
)


def test_rows_and_words_are_inverse() -> None:
    for row in [(0, 0), (2, 1), (1, 0)]:
        assert SCHEMA.encode(SCHEMA.decode(row)) == row
    assert SCHEMA.decode((2, 0)) == {"hair": "bun", "glasses": "none"}


def test_decode_reads_rows_of_an_attribute_table() -> None:
    table = np.array([[1, 1]], dtype=np.int64)
    assert SCHEMA.decode(table[0]) == {"hair": "short", "glasses": "round"}


def test_index_and_count_go_by_name() -> None:
    assert [SCHEMA.index(name) for name in SCHEMA.names] == [0, 1]
    assert [SCHEMA.count(name) for name in SCHEMA.names] == [3, 2]
    assert len(SCHEMA) == 2


@pytest.mark.parametrize("row", [(3, 0), (-1, 0), (0,), (0, 0, 0)])
def test_decode_refuses_what_stands_for_nothing(row: tuple[int, ...]) -> None:
    with pytest.raises(ChibiError):
        SCHEMA.decode(row)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ({"hair": "bun"}, "glasses"),
        ({"hair": "bun", "glasses": "square"}, "none, round"),
        ({"hair": "bun", "glasses": "none", "hat": "none"}, "hat"),
    ],
)
def test_encode_names_what_does_not_fit(words: dict[str, str], named: str) -> None:
    with pytest.raises(ChibiError, match=named):
        SCHEMA.encode(words)


def test_ask_leaves_open_what_is_not_mentioned() -> None:
    assert SCHEMA.ask({}) == (-1, -1)
    assert SCHEMA.ask({"glasses": "round"}) == (-1, 1)
    assert SCHEMA.ask({"glasses": "none", "hair": "bun"}) == (2, 0)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"hat": "round"}, "no attribute 'hat'; the attributes are: hair, glasses"),
        (
            {"glasses": "square"},
            "attribute 'glasses' has no value 'square'; its values are: none, round",
        ),
    ],
)
def test_ask_names_what_cannot_be_asked_for(wish: dict[str, str], message: str) -> None:
    with pytest.raises(ChibiError, match=message):
        SCHEMA.ask(wish)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ChibiError, match=r"'hat'.*hair, glasses"):
        SCHEMA.index("hat")


@pytest.mark.parametrize(
    ("names", "values"),
    [
        (("hair",), ()),
        (("hair", "hair"), (("a",), ("b",))),
        (("hair",), ((),)),
        (("hair",), (("long", "long"),)),
    ],
)
def test_a_schema_that_describes_no_table_is_refused(
    names: tuple[str, ...], values: tuple[tuple[str, ...], ...]
) -> None:
    with pytest.raises(ChibiError):
        AttributeSchema(names, values)


def test_json_brings_back_the_same_schema() -> None:
    assert AttributeSchema.from_json(json.loads(json.dumps(SCHEMA.to_json()))) == SCHEMA


@pytest.mark.parametrize(
    "data", [None, [], {"hair": "long"}, {"hair": [1]}, {"hair": []}]
)
def test_json_of_something_else_is_refused(data: object) -> None:
    with pytest.raises(ChibiError):
        AttributeSchema.from_json(data)
