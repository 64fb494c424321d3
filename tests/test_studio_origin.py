import base64
import dataclasses
import hashlib
import json
import struct
from typing import Any

import pytest
import torch

from chibi_lab import pretrained
from chibi_lab.errors import ChibiError
from chibi_lab.studio import Origin
from chibi_lab.training import latents


def forged(origin: Origin, **changes: Any) -> str:
    return json.dumps({**origin.to_json(), **changes})


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def test_what_is_written_is_read_again(origin: Origin) -> None:
    text = origin.to_text()
    assert Origin.from_text(text) == origin
    assert text.isascii() and "\n" not in text
    assert json.loads(text)["statement"] == "AI-generated"
    assert json.loads(text)["format"] == 1


def test_a_latent_comes_back_to_the_bit() -> None:
    z = latents(1, 100, seed=5) / 3
    made = Origin("gan", "gan", "0" * 64, tuple(z[0].tolist()))
    again = Origin.from_text(made.to_text())
    assert again.z.shape == (1, 100)
    assert again.z.dtype == torch.float32
    assert torch.equal(again.z, z)


def test_the_same_origin_is_the_same_text(origin: Origin) -> None:
    assert dataclasses.replace(origin).to_text() == origin.to_text()


def test_a_run_knows_kind_weights_and_credit() -> None:
    run = pretrained.open_run("gan")
    z = latents(2, run.config.latent_dim, seed=1)[1]
    origin = Origin.of_run(run, "GAN", z, seed=1, candidate=2)
    assert origin.kind == "gan"
    assert origin.weights == hashlib.sha256(run.latest().read_bytes()).hexdigest()
    assert "Lisa Wischofsky" in origin.credit
    assert torch.equal(origin.z[0], z)
    assert (origin.seed, origin.candidate, origin.steps) == (1, 2, ())


@pytest.mark.parametrize("cut", [0, 1, 20, -1, -100])
def test_a_text_that_was_cut_off_is_no_origin(origin: Origin, cut: int) -> None:
    with pytest.raises(ChibiError, match="the origin is no whole JSON"):
        Origin.from_text(origin.to_text()[:cut])


@pytest.mark.parametrize(
    "key", ["statement", "model", "latent", "shares", "seed", "credit"]
)
def test_a_text_without_one_of_its_keys_names_it(origin: Origin, key: str) -> None:
    data = origin.to_json()
    del data[key]
    with pytest.raises(ChibiError, match=rf"must have .*{key}|{key} must be"):
        Origin.from_text(json.dumps(data))


def test_a_newer_format_asks_for_a_newer_version(origin: Origin) -> None:
    text = forged(origin, format=2, hologram="yes")
    with pytest.raises(ChibiError, match=r"is of format 2, .*install a newer one"):
        Origin.from_text(text)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "1"}, "no JSON object with a format"),
        ({"format": True}, "no JSON object with a format"),
        ({"format": 0}, "is of format 0, and"),
        ({"statement": "drawn by hand"}, "statement must be 'AI-generated'"),
        ({"model": ""}, "model is '': it must have at least 1 char"),
        ({"model": 3}, "model is 3: it must be a string"),
        ({"model": "m" * 201}, "it must have at most 200 characters"),
        ({"model": "\x1b[2J"}, "model is .*: it must hold what can be printed alone"),
        ({"credit": "\u202eevil"}, "it must hold what can be printed alone"),
        ({"credit": "\ud800"}, "credit is .*: it must be a string"),
        ({"kind": "GAN; rm"}, "kind is 'GAN; rm': String should match"),
        ({"weights": "12"}, "weights is '12': String should match"),
        ({"weights": None}, "weights is None: it must be"),
        ({"seed": -1}, "seed is -1: it must be at least 0"),
        ({"seed": 1.0}, "seed is 1.0: it must be a whole number"),
        ({"seed": True}, "seed is True: it must be a whole number"),
        ({"seed": 2**63}, "seed is .*: it must be at most"),
        ({"candidate": 0}, "candidate is 0: it must be at least 1"),
        ({"latent": [0.5]}, "latent is not in base64"),
        ({"latent": "?"}, "latent is not in base64"),
        ({"latent": "ä"}, "latent is not in base64"),
        ({"latent": ""}, "latent is .*: Tuple should have at least 1"),
        ({"latent": "AAAAAAA="}, "latent is not in base64, 4 bytes"),
        ({"latent": packed(*[0.0] * 4097)}, "Tuple should have at most 4096 items"),
        (
            {"latent": packed(0, float("nan"))},
            "latent.* is .*: it must be a finite number",
        ),
        (
            {"latent": packed(float("inf"))},
            "latent.* is .*: it must be a finite number",
        ),
        ({"attributes": ["pink"]}, "attributes is .*: it must be a dictionary"),
        ({"attributes": {"hair": 3}}, "attributes.hair is 3: it must be a string"),
        (
            {"attributes": {str(i): "x" for i in range(101)}},
            "should have at most 100 items",
        ),
        ({"steps": "repair"}, "steps is 'repair': it must be a list"),
        ({"steps": [["repair"]]}, "steps.0 is .*: it must be a string"),
        ({"steps": ["repair"] * 101}, "should have at most 100 items"),
        ({"also": "this"}, "must have model, .* alone"),
    ],
)
def test_what_is_not_as_it_should_be_is_named(
    origin: Origin, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ChibiError, match=said) as raised:
        Origin.from_text(forged(origin, **changes))
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("null", "no JSON object with a format"),
        ("[]", "no JSON object with a format"),
        ("{}", "no JSON object with a format"),
        ('{"format": 1, "format": 1}', "says something twice"),
        ('{"format": NaN}', "holds NaN"),
        ('{"format": ' + "9" * 5000 + "}", "a number that none has"),
        ("[" * 50_000, "a depth"),
        (" " * 100_001, "100,001 characters"),
    ],
)
def test_json_made_to_do_harm_is_refused(text: str, said: str) -> None:
    with pytest.raises(ChibiError, match=said):
        Origin.from_text(text)


@pytest.mark.parametrize(
    ("latent", "said"),
    [
        ((), "at least 1 item"),
        ([0.5], "it must be a tuple"),
        (("1",), "it must be a number"),
        ((0.1,), "it must be a float32"),
        ((1e300,), "it must be a float32"),
    ],
)
def test_only_a_latent_that_can_be_written_exactly_is_taken(
    latent: Any, said: str
) -> None:
    with pytest.raises(ChibiError, match=said):
        Origin("gan", "gan", "0" * 64, latent)


def test_of_very_many_steps_the_newest_are_listed() -> None:
    run = pretrained.open_run("gan")
    steps = [str(number) for number in range(150)]
    origin = Origin.of_run(run, "GAN", torch.zeros(100), steps=steps)
    assert origin.steps == ("earlier steps", *steps[51:])
    assert Origin.from_text(origin.to_text()) == origin
