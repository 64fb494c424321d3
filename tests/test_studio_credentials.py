import io
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import c2pa
import numpy as np
import pytest
from PIL import Image

from chibi_lab.errors import ChibiError
from chibi_lab.studio import Origin, embed, extract
from chibi_lab.studio.containers import join, png_chunk, split
from chibi_lab.studio.credentials import (
    OFFLINE,
    Signature,
    _judged,
    read_signature,
    shown,
    sign,
)
from chibi_lab.studio.keys import MADE_HERE, SigningKey

FORMATS = (
    "PNG", "APNG", "WebP", "lossless WebP", "animated WebP", "GIF", "animated GIF",
)  # fmt: skip
MANIFESTS = ("caBX", "C2PA", "C2PA_GIF")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings")


@pytest.fixture(scope="module")
def key(folder: Path) -> SigningKey:
    return SigningKey.of_user(folder)


@pytest.fixture(scope="module")
def signed(
    files: dict[str, bytes], origin: Origin, key: SigningKey
) -> dict[str, bytes]:
    return {name: sign(embed(data, origin), key) for name, data in files.items()}


@pytest.fixture
def visits() -> Iterator[tuple[int, list[int]]]:
    """A port of this machine, and who connected to it."""
    came: list[int] = []

    def answer() -> None:
        while True:
            try:
                visitor, address = server.accept()
            except OSError:  # closed
                return
            came.append(address[1])
            visitor.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1], came
        server.shutdown(socket.SHUT_RDWR)


def pixels(data: bytes) -> list[bytes]:
    picture = Image.open(io.BytesIO(data))
    shots = []
    for number in range(getattr(picture, "n_frames", 1)):
        picture.seek(number)
        shots.append(picture.convert("RGBA").tobytes())
    return shots


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_signed_is_valid_and_ones_own(
    signed: dict[str, bytes], folder: Path, tmp_path: Path, name: str
) -> None:
    signature = read_signature(signed[name], folder)
    assert signature.valid and not signature.changed and signature.own
    assert signature.issuer == MADE_HERE
    assert signature.holder.startswith("key ")
    assert signature.software.startswith("chibi-lab ")
    assert signature.source_type == "trainedAlgorithmicMedia"
    assert signature.problems == ()
    # Who keeps another key, or none, sees the same, but for whose it is.
    assert read_signature(signed[name], tmp_path) == replace(signature, own=False)
    SigningKey.of_user(tmp_path)
    assert read_signature(signed[name], tmp_path) == replace(signature, own=False)


@pytest.mark.parametrize("name", FORMATS)
def test_signing_adds_a_manifest_and_changes_nothing_else(
    files: dict[str, bytes], signed: dict[str, bytes], origin: Origin, name: str
) -> None:
    before = split(embed(files[name], origin))[1]
    after = split(signed[name])[1]
    added = [piece for piece in after if piece.kind in MANIFESTS]
    assert len(added) == 1 and len(added[0].raw) < 5000
    # A WebP's header says how long all of it is.
    assert [p for p in after if p not in added][1:] == before[1:]
    assert extract(signed[name]) == origin
    assert pixels(signed[name]) == pixels(files[name])


def test_the_manifest_says_that_a_model_made_it_and_which(
    signed: dict[str, bytes], origin: Origin
) -> None:
    with c2pa.Reader("image/png", io.BytesIO(signed["PNG"])) as reader:
        manifest = json.loads(reader.json())
    text = json.dumps(manifest)
    (active,) = manifest["manifests"].values()
    (assertion,) = active["assertions"]
    (action,) = assertion["data"]["actions"]
    assert action["action"] == "c2pa.created"
    assert action["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert action["softwareAgent"]["name"] == "chibi-lab"
    assert "modern-gan" in action["description"]
    assert origin.weights in text
    assert "thumbnail" not in text
    assert "time" not in active["signature_info"]


@pytest.mark.parametrize("name", ["PNG", "WebP", "GIF"])
def test_a_changed_byte_is_noticed_wherever_it_is(
    signed: dict[str, bytes], folder: Path, name: str
) -> None:
    data, at, noticed = signed[name], 0, 0
    for piece in split(data)[1]:
        places = range(at, at + len(piece.raw), 7)
        at += len(piece.raw)
        for place in () if piece.kind in MANIFESTS else places:
            other = bytearray(data)
            other[place] ^= 1
            try:
                signature = read_signature(bytes(other), folder)
            except ChibiError:  # no picture any more, or a PNG's checksum
                continue
            assert signature is None or signature.changed or not signature.valid, place
            noticed += signature is not None and signature.changed
    assert noticed or name == "PNG"


def test_changed_pixels_with_a_right_checksum_are_noticed(
    signed: dict[str, bytes], folder: Path
) -> None:
    white = io.BytesIO()
    Image.new("RGBA", (7, 9), "white").save(white, "PNG")
    (other,) = (p for p in split(white.getvalue())[1] if p.kind == "IDAT")
    pieces = [other if p.kind == "IDAT" else p for p in split(signed["PNG"])[1]]
    signature = read_signature(join(pieces), folder)
    assert signature.changed and signature.valid and signature.own
    assert signature.problems == ("assertion.dataHash.mismatch",)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_added_behind_the_end_is_noticed(
    signed: dict[str, bytes], folder: Path, name: str
) -> None:
    assert read_signature(signed[name] + b"more", folder).changed


def test_a_changed_manifest_is_not_valid(
    signed: dict[str, bytes], folder: Path
) -> None:
    pieces = split(signed["PNG"])[1]
    (manifest,) = (p for p in pieces if p.kind == "caBX")
    body = manifest.body.replace(b"modern-gan", b"modern-art")
    assert body != manifest.body
    forged = [png_chunk("caBX", body) if p is manifest else p for p in pieces]
    signature = read_signature(join(forged), folder)
    assert not signature.valid and not signature.own
    assert "assertion.hashedURI.mismatch" in signature.problems


@pytest.mark.parametrize("length", [1, 8, 100, 1000, 3000])
def test_a_manifest_cut_off_is_named(
    signed: dict[str, bytes], folder: Path, length: int
) -> None:
    pieces = [
        png_chunk("caBX", p.body[:length]) if p.kind == "caBX" else p
        for p in split(signed["PNG"])[1]
    ]
    with pytest.raises(ChibiError, match="the C2PA manifest cannot be read") as raised:
        read_signature(join(pieces), folder)
    assert str(raised.value).isprintable()


def test_a_manifest_of_another_picture_does_not_fit(
    signed: dict[str, bytes], files: dict[str, bytes], origin: Origin, folder: Path
) -> None:
    (manifest,) = (p for p in split(signed["PNG"])[1] if p.kind == "caBX")
    pixels = np.zeros((9, 7, 3), dtype=np.uint8)
    opened = io.BytesIO()
    Image.fromarray(pixels).save(opened, "PNG")
    pieces = split(embed(opened.getvalue(), origin))[1]
    signature = read_signature(join([*pieces[:2], manifest, *pieces[2:]]), folder)
    assert signature.changed


def test_two_manifests_are_one_too_many(signed: dict[str, bytes], folder: Path) -> None:
    pieces = split(signed["PNG"])[1]
    twice = [p for p in pieces for _ in range(1 + (p.kind == "caBX"))]
    with pytest.raises(ChibiError, match="more than one manifest"):
        read_signature(join(twice), folder)


@pytest.mark.parametrize("name", FORMATS)
def test_a_picture_without_manifest_has_none(
    files: dict[str, bytes], folder: Path, name: str
) -> None:
    assert read_signature(files[name], folder) is None


def test_saving_again_loses_the_manifest(
    signed: dict[str, bytes], folder: Path
) -> None:
    opened = io.BytesIO()
    Image.open(io.BytesIO(signed["PNG"])).save(opened, "PNG")
    assert read_signature(opened.getvalue(), folder) is None


def asked(data: bytes, settings: dict[str, object]) -> dict[str, object]:
    """What C2PA's library says of a PNG."""
    with (
        c2pa.Context.from_dict(settings) as context,
        c2pa.Reader("image/png", io.BytesIO(data), context=context) as reader,
    ):
        return json.loads(reader.json())


def png_elsewhere(data: bytes, address: str) -> bytes:
    """A PNG that says that its manifest lies at an address."""
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        'rdf:about="" xmlns:dcterms="http://purl.org/dc/terms/" '
        f'dcterms:provenance="{address}"/></rdf:RDF></x:xmpmeta>'
    )
    text = png_chunk("iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp.encode())
    pieces = split(data)[1]
    return join([*pieces[:2], text, *pieces[2:]])


def test_a_manifest_that_lies_elsewhere_is_not_fetched(
    files: dict[str, bytes], folder: Path, visits: tuple[int, list[int]]
) -> None:
    port, came = visits
    address = f"http://127.0.0.1:{port}/manifest.c2pa"
    data = png_elsewhere(files["PNG"], address)
    with pytest.raises(ChibiError, match="lies elsewhere, and is not fetched") as error:
        read_signature(data, folder)
    assert address in str(error.value)
    assert came == []
    # The library alone would: what was seen above is not that it cannot.
    with pytest.raises(c2pa.C2paError):
        asked(data, {})
    assert came


def cbor(value: object) -> bytes:
    """The little of CBOR (RFC 8949, 3) that a signature needs."""
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value)) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    pairs = (cbor(key) + cbor(each) for key, each in value.items())
    return head(5, len(value)) + b"".join(pairs)


def head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    return bytes([major << 5 | 25]) + number.to_bytes(2, "big")


def signed_with_identity(data: bytes, key: SigningKey, issuer: str) -> bytes:
    """A PNG with a claim of an identity (CAWG) that somebody with a web address made."""
    kind = "cawg.identity_claims_aggregation"
    claim = {
        "@context": ["https://www.w3.org/ns/credentials/v2"],
        "type": ["VerifiableCredential", "IdentityClaimsAggregationCredential"],
        "issuer": issuer,
        "validFrom": "2025-01-01T00:00:00Z",
        "credentialSubject": {
            "verifiedIdentities": [
                {
                    "type": "cawg.social_media",
                    "username": "x",
                    "uri": "https://example.com/x",
                    "verifiedAt": "2025-01-01T00:00:00Z",
                    "provider": {"id": "https://example.com", "name": "x"},
                }
            ],
            "c2paAsset": {"referenced_assertions": [], "sig_type": kind},
        },
    }
    protected = cbor({1: -8, 3: "application/vc"})
    signature = cbor([protected, {}, json.dumps(claim).encode(), bytes(64)])
    bound = {"url": "self#jumbf=c2pa.assertions/c2pa.hash.data", "hash": [0] * 32}
    identity = {
        "signer_payload": {"referenced_assertions": [bound], "sig_type": kind},
        "signature": list(b"\xd2" + signature),
        "pad1": [0],
    }
    action = {
        "action": "c2pa.created",
        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/digitalArt",
    }
    assertions = [
        {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
        {"label": "cawg.identity", "data": identity},
    ]
    manifest = {"claim_generator_info": [{"name": "x"}], "assertions": assertions}
    pem = (each.encode() for each in (key.chain, key.secret))
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", *pem, None))
    out = io.BytesIO()
    with (
        c2pa.Context.from_dict(OFFLINE) as context,
        c2pa.Builder(manifest, context=context) as builder,
    ):
        builder.sign(signer, "image/png", io.BytesIO(data), out)
    return out.getvalue()


def test_who_vouches_for_an_identity_is_not_asked(
    files: dict[str, bytes],
    key: SigningKey,
    folder: Path,
    visits: tuple[int, list[int]],
) -> None:
    port, came = visits
    issuer = f"did:web:127.1%3A{port}"  # another way to write this machine's address
    data = signed_with_identity(files["PNG"], key, issuer)
    signature = read_signature(data, folder)
    assert came == []
    assert signature.valid and signature.own and signature.changed is False
    asked(data, {"verify": OFFLINE["verify"]})  # not enough, as it turned out
    assert came


@pytest.mark.parametrize("setting", [("core", "decode_identity_assertions"),
    ("verify", "remote_manifest_fetch"), ("core", "allowed_network_hosts"),
])  # fmt: skip
def test_one_setting_that_the_library_loses_lets_nothing_out(
    files: dict[str, bytes], key: SigningKey, folder: Path, setting: tuple[str, str],
    visits: tuple[int, list[int]], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    port, came = visits
    monkeypatch.delitem(OFFLINE[setting[0]], setting[1])
    read_signature(
        signed_with_identity(files["PNG"], key, f"did:web:127.1%3A{port}"), folder
    )
    with pytest.raises(ChibiError):
        read_signature(
            png_elsewhere(files["PNG"], f"http://127.0.0.1:{port}/m"), folder
        )
    assert came == []


def test_signing_fetches_nothing(
    files: dict[str, bytes], origin: Origin, key: SigningKey,
    visits: tuple[int, list[int]],
) -> None:  # fmt: skip
    port, came = visits
    named = replace(origin, model=f"http://127.0.0.1:{port}/")
    data = png_elsewhere(
        files["PNG"], f"http://127.0.0.1:{port}/m"
    )  # its XMP is replaced
    sign(embed(data, named), key)
    assert came == []


def judged(data: bytes, key: SigningKey, *failures: str, lost: str = "") -> Signature:
    """The signature if C2PA's library had reported something more, or not reported it."""
    found = asked(data, OFFLINE | {"trust": {"trust_anchors": key.chain}})
    results = found["validation_results"]["activeManifest"]
    results["failure"] += [{"code": code} for code in failures]
    results["success"] = [each for each in results["success"] if each["code"] != lost]
    return _judged(found, key)


@pytest.mark.parametrize("code", ["signingCredential.expired", "timeStamp.mismatch",
    "com.example.new", "algorithm.deprecated", "cawg.identity.new", ""])  # fmt: skip
def test_what_fails_beside_the_signature_leaves_it_valid(
    signed: dict[str, bytes], key: SigningKey, code: str
) -> None:
    signature = judged(signed["PNG"], key, code)
    assert signature.valid and signature.changed is False
    assert signature.problems == (code,)


@pytest.mark.parametrize("code", ["claimSignature.mismatch", "claim.missing",
    "assertion.hashedURI.mismatch", "claim.hardBindings.missing"])  # fmt: skip
def test_what_breaks_the_manifest_makes_it_not_valid(
    signed: dict[str, bytes], key: SigningKey, code: str
) -> None:
    signature = judged(signed["PNG"], key, code)
    assert not signature.valid and not signature.own


def test_only_what_was_compared_is_called_unchanged(
    signed: dict[str, bytes], key: SigningKey
) -> None:
    signature = judged(signed["PNG"], key, lost="assertion.dataHash.match")
    assert signature.valid and signature.changed is None
    assert not judged(signed["PNG"], key, lost="claimSignature.validated").valid


def test_signing_needs_an_origin_and_comes_last(
    files: dict[str, bytes], signed: dict[str, bytes], origin: Origin, key: SigningKey
) -> None:
    with pytest.raises(ChibiError, match="embed first, sign last"):
        sign(files["PNG"], key)
    for data in signed.values():
        with pytest.raises(ChibiError, match="is signed already"):
            sign(data, key)
        with pytest.raises(ChibiError, match="embed first, sign last"):
            embed(data, origin)


def test_a_key_that_does_not_fit_is_refused_in_one_line(
    files: dict[str, bytes], origin: Origin, key: SigningKey, tmp_path: Path
) -> None:
    other = SigningKey.of_user(tmp_path)
    data = embed(files["PNG"], origin)
    for wrong in (
        replace(key, secret=other.secret),
        replace(key, chain="nothing"),
        replace(key, secret="nothing"),
    ):
        with pytest.raises(ChibiError, match="the picture cannot be signed") as raised:
            sign(data, wrong)
        assert str(raised.value).isprintable()
        assert key.secret[40:80] not in str(raised.value)


def test_a_manifest_of_another_program_in_a_jpeg_is_read(
    key: SigningKey, tmp_path: Path
) -> None:
    opened, out = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (8, 8)).save(opened, "JPEG")
    pem = (each.encode() for each in (key.chain, key.secret))
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", *pem, None))
    manifest = {
        "claim_generator_info": [{"name": "Camera\x1b[2J", "version": "1"}],
        "assertions": [
            {"label": "org.example.odd", "data": {"actions": "none"}},
            {
                "label": "c2pa.actions.v2",
                "data": {"actions": [{"action": "c2pa.created", "digitalSourceType":
                    "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"}]},
            },
        ],
    }  # fmt: skip
    with c2pa.Builder(manifest) as builder:
        builder.sign(signer, "image/jpeg", opened, out)
    signature = read_signature(out.getvalue(), tmp_path)
    assert signature.valid and not signature.own
    assert signature.source_type == "digitalCapture"
    assert signature.software == "Camera\ufffd[2J 1"


def test_a_strangers_text_is_one_line_that_does_nothing() -> None:
    assert shown("a\nb\r\n c") == "a b c"
    assert shown("\x1b]0;x\x07 \u202eä") == "\ufffd]0;x\ufffd \ufffdä"
    assert len(shown("x" * 999)) == 200
    assert shown("\ud800").encode()


def test_no_picture_is_refused_before_anything_is_signed(key: SigningKey) -> None:
    for data in (b"", b"text", b"GIF89a"):
        with pytest.raises(ChibiError):
            sign(data, key)
        with pytest.raises(ChibiError):
            read_signature(data)
