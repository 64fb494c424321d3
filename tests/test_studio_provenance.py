import dataclasses
import io
from collections.abc import Callable

import pytest
from PIL import Image

from chibi_lab.errors import ChibiError
from chibi_lab.studio import Origin, embed, extract
from chibi_lab.studio.containers import (
    Piece,
    gif_comment,
    join,
    png_chunk,
    split,
    webp_chunk,
)
from chibi_lab.studio.provenance import COMMENT, MAX_XMP, source_type

FORMATS = (
    "PNG", "APNG", "WebP", "lossless WebP", "animated WebP", "GIF", "animated GIF",
)  # fmt: skip
Pieces = list[Piece]


def frames(data: bytes) -> list[tuple[bytes, object]]:
    picture = Image.open(io.BytesIO(data))
    shown = []
    for number in range(getattr(picture, "n_frames", 1)):
        picture.seek(number)
        shown.append((picture.convert("RGBA").tobytes(), picture.info.get("duration")))
    return shown


def changed(data: bytes, change: Callable[[Pieces], Pieces]) -> bytes:
    return join(change(split(data)[1]))


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_embedded_is_extracted(
    files: dict[str, bytes], origin: Origin, name: str
) -> None:
    data = embed(files[name], origin)
    assert extract(data) == origin
    assert source_type(data) == "trainedAlgorithmicMedia"
    assert extract(files[name]) is None
    assert source_type(files[name]) is None


@pytest.mark.parametrize("name", FORMATS)
def test_every_frame_keeps_its_pixels_and_its_time(
    files: dict[str, bytes], origin: Origin, name: str
) -> None:
    data = embed(files[name], origin)
    assert frames(data) == frames(files[name])
    before, after = (Image.open(io.BytesIO(each)) for each in (files[name], data))
    assert after.size == before.size
    if "animated" in name or name == "APNG":
        assert after.n_frames == 3
        assert after.info["loop"] == before.info["loop"] == 0
    pixels = {"IDAT", "fdAT", "VP8 ", "VP8L", "ALPH", "ANMF", "image", "extension"}
    kept = [
        [p for p in split(each)[1] if p.kind in pixels] for each in (files[name], data)
    ]
    assert kept[0] == kept[1]
    assert kept[0]


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_picture_and_origin_give_the_same_bytes(
    files: dict[str, bytes], origin: Origin, name: str
) -> None:
    data = embed(files[name], origin)
    assert embed(files[name], origin) == data
    assert embed(data, origin) == data


@pytest.mark.parametrize("name", FORMATS)
def test_a_later_origin_replaces_an_earlier_one(
    files: dict[str, bytes], origin: Origin, name: str
) -> None:
    later = dataclasses.replace(origin, seed=None, candidate=None, credit="", steps=())
    data = embed(embed(files[name], origin), later)
    assert data == embed(files[name], later)
    assert extract(data) == later


def test_a_png_tells_a_person_under_the_keys_of_its_standard(
    files: dict[str, bytes], origin: Origin
) -> None:
    notes = Image.open(io.BytesIO(embed(files["PNG"], origin))).text
    assert "AI-generated" in notes["Description"]
    assert notes["Software"].startswith("chibi-lab ")
    assert "modern-gan" in notes["Model"]
    assert (notes["Seed"], notes["Candidate"]) == ("7", "3")
    assert notes["Source"] == "Learned from: Avatars by “Ä” <a@b> & others"


@pytest.mark.parametrize("name", FORMATS)
def test_other_programs_find_the_digital_source_type(
    files: dict[str, bytes], origin: Origin, name: str
) -> None:
    data = embed(files[name], origin)
    # Pillow reads the XMP of a GIF as an extension without its content.
    info = Image.open(io.BytesIO(data)).info
    xmp = data if info.get("extension", [0])[0] == b"XMP DataXMP" else info["xmp"]
    word = b"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    assert word in xmp


@pytest.mark.parametrize("name", ["GIF", "animated GIF"])
def test_other_programs_find_the_comment_of_a_gif(
    files: dict[str, bytes], origin: Origin, name: str
) -> None:
    picture = Image.open(io.BytesIO(embed(files[name], origin)))
    assert picture.info["comment"].startswith(b"AI-generated picture.")


@pytest.mark.parametrize("name", FORMATS)
def test_a_cut_off_file_is_neither_written_nor_read(
    files: dict[str, bytes], origin: Origin, name: str
) -> None:
    pieces = split(embed(files[name], origin))[1]
    for count in range(len(pieces)):
        data = join(pieces[:count])
        for work in (extract, source_type, lambda cut: embed(cut, origin)):
            with pytest.raises(ChibiError, match=r"cut off|damaged|is empty"):
                work(data)


def test_a_signed_file_takes_no_origin(files: dict[str, bytes], origin: Origin) -> None:
    data = changed(files["PNG"], lambda p: [*p[:2], png_chunk("caBX", b"?"), *p[2:]])
    with pytest.raises(ChibiError, match="embed first, sign last"):
        embed(data, origin)


def test_a_jpeg_takes_no_origin(origin: Origin) -> None:
    opened = io.BytesIO()
    Image.new("RGB", (8, 8)).save(opened, "JPEG")
    assert extract(opened.getvalue()) is None
    with pytest.raises(ChibiError, match="choose PNG, WebP or GIF"):
        embed(opened.getvalue(), origin)


def png_text(kind: str, body: bytes) -> Callable[[Pieces], Pieces]:
    return lambda p: [*p[:2], png_chunk(kind, body), *p[2:]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (png_text("iTXt", b"chibi-lab-origin\0\0\0\0\0{}"), "no JSON object"),
        (png_text("iTXt", b"chibi-lab-origin\0\0\0\0\0\xff"), "not in UTF-8"),
        (png_text("iTXt", b"chibi-lab-origin\0\1\0\0\0x"), "written as it should be"),
        (png_text("iTXt", b"chibi-lab-origin\0\0\0"), "written as it should be"),
        (png_text("iTXt", b"chibi-lab-origin"), "written as it should be"),
        (png_text("tEXt", b"chibi-lab-origin\0{}"), "written as it should be"),
        (png_text("zTXt", b"chibi-lab-origin\0\0x"), "written as it should be"),
    ],
)
def test_forged_texts_in_a_png_are_named(
    files: dict[str, bytes], change: Callable[[Pieces], Pieces], said: str
) -> None:
    with pytest.raises(ChibiError, match=said):
        extract(changed(files["PNG"], change))


def test_two_origins_in_one_file_are_one_too_many(
    files: dict[str, bytes], origin: Origin
) -> None:
    png = changed(embed(files["PNG"], origin), lambda p: [*p[:3], *p[2:]])
    assert extract(png) == origin  # its title twice does no harm
    png = changed(
        embed(files["PNG"], origin),
        png_text("iTXt", b"chibi-lab-origin\0\0\0\0\0" + origin.to_text().encode()),
    )
    comment = gif_comment(COMMENT.encode() + b"{}")
    gif = changed(embed(files["GIF"], origin), lambda p: [p[0], comment, *p[1:]])
    for data in (png, gif):
        with pytest.raises(ChibiError, match="more than one origin"):
            extract(data)
    webp = changed(embed(files["WebP"], origin), lambda p: [*p, p[-1]])
    grown = (len(webp) - 8).to_bytes(4, "little")
    with pytest.raises(ChibiError, match="XMP more than once"):
        extract(webp[:4] + grown + webp[8:])


def webp_with_xmp(data: bytes, xmp: bytes) -> bytes:
    grown = join([*split(data)[1], webp_chunk("XMP ", xmp)])
    return grown[:4] + (len(grown) - 8).to_bytes(4, "little") + grown[8:]


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>'


@pytest.mark.parametrize(
    ("xmp", "said"),
    [
        (b"", "is no XML"),
        (b"no XML", "is no XML"),
        (b"<x>", "is no XML"),
        (b"\xff\xfe<\0x\0/\0>\0", "not in UTF-8"),
        (BOMB, "has a document type"),
        (b"<x>" + b" " * MAX_XMP + b"</x>", "more than 1,000,000 characters"),
    ],
)
def test_xmp_made_to_do_harm_is_refused(
    files: dict[str, bytes], xmp: bytes, said: str
) -> None:
    data = webp_with_xmp(files["WebP"], xmp)
    for look in (extract, source_type):
        with pytest.raises(ChibiError, match=said) as raised:
            look(data)
        assert "\n" not in str(raised.value)


def test_xmp_of_any_depth_is_read(files: dict[str, bytes]) -> None:
    deep = 100_000
    data = webp_with_xmp(files["WebP"], b"<x>" * deep + b"</x>" * deep)
    assert extract(data) is None
    assert source_type(data) is None


SPACE = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
WORDS = "cv.iptc.org/newscodes/digitalsourcetype/"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (f"http://{WORDS}digitalArt", "digitalArt"),
        (f"https://{WORDS}digitalArt/", "digitalArt"),
        (f"\n http://{WORDS}digitalArt \n", "digitalArt"),
        ("digitalArt", "digitalArt"),
        ("http://evil.example/digitalArt", '"http://evil.example/digitalArt"'),
        (f"http://{WORDS}a/b", f'"http://{WORDS}a/b"'),
        (f"x/http://{WORDS}digitalArt", f'"x/http://{WORDS}digitalArt"'),
        ("http://x/\x9b2J", '"http://x/\ufffd2J"'),
    ],
)
@pytest.mark.parametrize(
    "form",
    [
        "<i:DigitalSourceType>{}</i:DigitalSourceType>",
        '<i:DigitalSourceType r:resource="{}"/>',
        '<i:DigitalSourceType r:resource="{}">\n</i:DigitalSourceType>',
        '<x i:DigitalSourceType="{}"/>',
    ],
)
def test_a_source_type_is_found_in_each_form_of_rdf(
    files: dict[str, bytes], form: str, value: str, found: str
) -> None:
    rdf = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    xmp = f'<r xmlns:i="{SPACE}" xmlns:r="{rdf}">{form.format(value)}</r>'
    assert source_type(webp_with_xmp(files["WebP"], xmp.encode())) == found


def test_a_source_type_in_a_jpeg_is_found() -> None:
    opened = io.BytesIO()
    xmp = f'<r xmlns:i="{SPACE}" i:DigitalSourceType="http://{WORDS}digitalArt"/>'
    Image.new("RGB", (8, 8)).save(opened, "JPEG", xmp=xmp.encode())
    assert source_type(opened.getvalue()) == "digitalArt"


@pytest.mark.parametrize("value", ["", "a b", "\x9b2J", "x" * 81])
def test_a_source_type_that_is_none_is_refused(
    files: dict[str, bytes], value: str
) -> None:
    space = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmp = f'<r xmlns:i="{space}" i:DigitalSourceType="{value}"/>'
    data = webp_with_xmp(files["WebP"], xmp.encode())
    with pytest.raises(ChibiError, match="no digital source type that is one"):
        source_type(data)


def test_a_webp_that_does_not_say_its_size_takes_no_origin(origin: Origin) -> None:
    data = join([Piece("", b"RIFF\x0c\0\0\0WEBP"), webp_chunk("VP8 ", b"")])
    with pytest.raises(ChibiError, match="does not say how large it is"):
        embed(data, origin)


@pytest.mark.parametrize("name", ["GIF", "animated GIF"])
def test_nothing_comes_between_a_gifs_picture_and_what_belongs_to_it(
    files: dict[str, bytes], origin: Origin, name: str
) -> None:
    before, after = (
        split(each)[1] for each in (files[name], embed(files[name], origin))
    )
    for pieces in (before, after):
        place = next(i for i, piece in enumerate(pieces) if piece.kind == "image")
        assert pieces[place - 1].raw.startswith(b"!\xf9")  # GIF89a, 23: how it is shown
    if (
        name == "animated GIF"
    ):  # the loop's count stays first, where browsers look for it
        assert before[1] == after[1] and after[1].kind == "NETSCAPE"


def test_a_gif_of_the_first_version_becomes_one_that_has_comments(
    files: dict[str, bytes], origin: Origin
) -> None:
    data = embed(b"GIF87a" + files["GIF"][6:], origin)
    assert data.startswith(b"GIF89a")
    assert extract(data) == origin


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_webp_keeps_saying_whether_it_is_transparent(
    origin: Origin, mode: str
) -> None:
    opened = io.BytesIO()
    Image.new(mode, (300, 200)).save(opened, "WEBP", lossless=True)
    assert split(opened.getvalue())[1][1].kind == "VP8L"
    header = split(embed(opened.getvalue(), origin))[1][1]
    # RFC 9649, 2.7: flags (transparent 0x10, XMP 0x04), 3 reserved bytes, the sides less one.
    assert header.body[0] == (0x14 if mode == "RGBA" else 0x04)
    assert header.body[4:] == b"\x2b\x01\0\xc7\0\0"
