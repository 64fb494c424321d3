import http.server
import io
import json
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
from chibi_lab.studio.credentials import read_signature, shown, sign
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
def visits() -> Iterator[tuple[str, list[str]]]:
    """The address of a server on this machine, and what was asked of it."""
    asked: list[str] = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


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


def test_nothing_is_fetched_that_a_picture_names(
    files: dict[str, bytes], folder: Path, visits: tuple[str, list[str]]
) -> None:
    address, asked = visits
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        'rdf:about="" xmlns:dcterms="http://purl.org/dc/terms/" '
        f'dcterms:provenance="{address}/manifest.c2pa"/></rdf:RDF></x:xmpmeta>'
    )
    text = png_chunk("iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp.encode())
    pieces = split(files["PNG"])[1]
    data = join([*pieces[:2], text, *pieces[2:]])
    with pytest.raises(
        ChibiError, match=f"lies elsewhere, and is not fetched: {address}"
    ):
        read_signature(data, folder)
    assert asked == []


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
        replace(key, algorithm="es384"),
        replace(key, algorithm="rot13"),
        replace(key, chain="nothing"),
        replace(key, secret="nothing"),
    ):
        with pytest.raises(ChibiError, match="the picture cannot be signed") as raised:
            sign(data, wrong)
        assert str(raised.value).isprintable()
        assert key.secret[40:80] not in str(raised.value)


def test_a_person_signs_with_a_chain_and_a_key_of_their_own(
    files: dict[str, bytes], origin: Origin, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("chibi_lab.studio.keys.MADE_HERE", "Ada's studio")
    made = SigningKey.of_user(tmp_path / "elsewhere")
    (tmp_path / "chain.pem").write_text(made.chain)
    (tmp_path / "key.pem").write_text(made.secret)
    own = SigningKey.read(tmp_path / "chain.pem", tmp_path / "key.pem")
    signature = read_signature(sign(embed(files["GIF"], origin), own), tmp_path)
    assert signature.valid and not signature.own
    assert signature.issuer == "Ada's studio"


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
