"""The origin of a picture inside its file, as text, with the pixels untouched.

PNG holds it in text chunks (PNG, third edition, 11.3.3), WebP in XMP, GIF in a comment. The digital
source type is the IPTC's word for a picture that a trained model made (Photo Metadata Standard,
Iptc4xmpExt:DigitalSourceType). No time is written: the same picture and origin give the same bytes.
"""

import io
from html import escape  # xml.sax would import much
from xml.etree import ElementTree

from PIL import Image

from chibi_lab.errors import ChibiError
from chibi_lab.studio.containers import (
    Piece,
    gif_comment,
    gif_xmp,
    is_signed,
    join,
    png_chunk,
    shown,
    split,
    webp_chunk,
    with_xmp_flag,
)
from chibi_lab.studio.origin import STATEMENT, Origin

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SOURCE_TYPE = SOURCE_TYPES + "trainedAlgorithmicMedia"
PNG_KEY = "chibi-lab-origin"
COMMENT = f"{STATEMENT} picture. chibi-lab-origin: "
XMP_KEY = "XML:com.adobe.xmp"
MAX_XMP = 1_000_000  # bytes
MAX_WORD = 80  # characters
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
OURS = "https://github.com/chibi-lab/chibi-lab/xmp/"


def embed(data: bytes, origin: Origin) -> bytes:
    """Write the origin into a picture file; the pixels stay as they are, to the byte.

    An origin and XMP that were there are replaced.

    Args:
        data: A PNG, APNG, WebP or GIF file, animated or not.
        origin: What made it.

    Returns:
        The file with its origin.

    Raises:
        ChibiError: If it is no such file, or a damaged one, or signed already.
    """
    kind, pieces = split(data)
    if is_signed(pieces):
        raise ChibiError(
            "the picture is signed: an origin would break that; embed first, sign last"
        )
    if kind == "PNG":
        return join(_with_texts(pieces, origin))
    if kind == "WebP":
        xmp = webp_chunk("XMP ", _packet(origin, origin.to_text()))
        kept = [piece for piece in pieces if piece.kind != "XMP "]
        end = next((i for i, p in enumerate(kept) if p.kind == "what follows"), None)
        kept.insert(len(kept) if end is None else end, xmp)
        return join(with_xmp_flag(kept))
    if kind == "GIF":
        return join(_with_comment(pieces, origin))
    raise ChibiError("a JPEG cannot hold an origin here: choose PNG, WebP or GIF")


def extract(data: bytes) -> Origin | None:
    """Read the origin out of a picture file. Anyone could have written it.

    Args:
        data: A picture file.

    Returns:
        The origin; None if the file holds none.

    Raises:
        ChibiError: If it is no picture, or a damaged one, or its origin is not as one should be.
    """
    kind, pieces = split(data)
    if kind == "PNG":
        found = [_text(p) for p in pieces if _keyword(p) == PNG_KEY]
    elif kind == "GIF":
        start = COMMENT.encode()
        found = [
            _decoded(piece.body.removeprefix(start))
            for piece in pieces
            if piece.kind == "comment" and piece.body.startswith(start)
        ]
    else:
        found = _properties(_xmp(kind, pieces), f"{{{OURS}}}Origin")
    if len(found) > 1:
        raise ChibiError("the file holds more than one origin: one of them is forged")
    return Origin.from_text(found[0]) if found else None


def source_type(data: bytes) -> str | None:
    """The digital source type that the XMP of a picture file gives.

    Returns:
        A word of the IPTC's, such as "trainedAlgorithmicMedia"; what else is given in quotes, as it
        is; None if nothing is.
    """
    kind, pieces = split(data)
    found = _properties(_xmp(kind, pieces), f"{{{IPTC}}}DigitalSourceType")
    if len(set(found)) > 1:
        raise ChibiError("the picture's XMP gives more than one digital source type")
    if not found:
        return None
    value = found[0].rstrip("/")
    word = value.replace("https:", "http:", 1).removeprefix(SOURCE_TYPES)
    if word.isascii() and word.isalnum() and len(word) <= MAX_WORD:
        return word
    if "/" not in value:
        raise ChibiError("the picture's XMP gives no digital source type that is one")
    return f'"{shown(value)}"'


def texts(origin: Origin) -> dict[str, str]:
    """What a person reads of the origin, by keys that the PNG specification names where it has one.

    Args:
        origin: The origin.

    Returns:
        Text by key.
    """
    notes = {
        "Title": "Chibi avatar",
        "Description": f"{STATEMENT} image, drawn by {origin.model}",
        "Software": origin.software,
        "Model": f"{origin.model} ({origin.kind}), weights {origin.weights[:12]}",
    }
    if origin.seed is not None:
        notes["Seed"] = str(origin.seed)
    if origin.candidate is not None:
        notes["Candidate"] = str(origin.candidate)
    if origin.credit:
        notes["Source"] = f"Learned from: {origin.credit}"
    return notes


def _with_texts(pieces: list[Piece], origin: Origin) -> list[Piece]:
    """A PNG's pieces with the texts before the pixels, where they are found first."""
    notes = {**texts(origin), PNG_KEY: origin.to_text()}
    written = [
        *(_itxt(key, text.encode()) for key, text in notes.items()),
        _itxt(XMP_KEY, _packet(origin)),
    ]
    # "Seed" may have been there, and not come again.
    ours = {*notes, "Seed", "Candidate", "Source", XMP_KEY}
    kept = [piece for piece in pieces if _keyword(piece) not in ours]
    return [*kept[:2], *written, *kept[2:]]


def _with_comment(pieces: list[Piece], origin: Origin) -> list[Piece]:
    """A GIF's pieces with a comment and XMP before the first picture, after a loop's count."""
    start = COMMENT.encode()
    written = [
        gif_comment(start + origin.to_text().encode()),
        gif_xmp(_packet(origin)),
    ]
    # The first version of GIF, 87a, has no extensions.
    header = Piece("header", b"GIF89a" + pieces[0].raw[6:])
    kept = [
        piece
        for piece in pieces[1:]
        if piece.kind != "XMP"
        and not (piece.kind == "comment" and piece.body.startswith(start))
    ]
    # An extension may belong to the picture that follows it: nothing must come between.
    first = ("extension", "image", "end")
    place = next(i for i, piece in enumerate(kept) if piece.kind in first)
    return [header, *kept[:place], *written, *kept[place:]]


def _itxt(key: str, text: bytes) -> Piece:
    # Not compressed, in no language, and with no translated keyword.
    return png_chunk("iTXt", key.encode("latin-1") + b"\0\0\0\0\0" + text)


def _keyword(piece: Piece) -> str | None:
    """The keyword of a PNG's text chunk; None for other pieces."""
    if piece.kind not in ("tEXt", "zTXt", "iTXt"):
        return None
    return piece.body.partition(b"\0")[0].decode("latin-1")


def _text(piece: Piece) -> str:
    """The text of an iTXt chunk."""
    key, _, rest = piece.body.partition(b"\0")
    # Compression flag and method, then language and translated keyword, each up to a 0.
    parts = rest[2:].split(b"\0", 2)
    if piece.kind != "iTXt" or rest[:1] != b"\0" or len(parts) < 3:
        raise ChibiError(
            f"the text {key.decode('latin-1')!r} in the PNG is not written as it should be"
        )
    return _decoded(parts[2])


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ChibiError("the picture's metadata are not in UTF-8") from error


def _packet(origin: Origin, text: str | None = None) -> bytes:
    """XMP that says what made the picture; with `text`, the whole origin."""
    notes = texts(origin)
    whole = (
        ""
        if text is None
        else f"\n   <chibi:Origin>{escape(text, quote=False)}</chibi:Origin>"
    )
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="{RDF}">
  <rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:Iptc4xmpExt="{IPTC}"
    xmlns:chibi="{OURS}"
    xmp:CreatorTool="{escape(origin.software)}"
    Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}">
   <dc:description><rdf:Alt>
    <rdf:li xml:lang="x-default">{escape(notes["Description"], quote=False)}</rdf:li>
   </rdf:Alt></dc:description>{whole}
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()


def _xmp(kind: str, pieces: list[Piece]) -> str | None:
    """The XMP of a file; None if it has none."""
    if kind == "PNG":
        found = [_text(piece) for piece in pieces if _keyword(piece) == XMP_KEY]
    elif kind == "JPEG":
        found = _jpeg_xmp(pieces[0].raw)
    else:
        found = [_decoded(p.body) for p in pieces if p.kind in ("XMP ", "XMP")]
    if len(found) > 1:
        raise ChibiError("the file holds XMP more than once: one of them is forged")
    return found[0] if found else None


def _jpeg_xmp(data: bytes) -> list[str]:
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
            found = picture.info.get("xmp")
    except Exception as error:  # Pillow raises nearly every kind on a damaged file
        raise ChibiError("the JPEG's metadata cannot be read") from error
    return [] if found is None else [_decoded(found)]


def _properties(xmp: str | None, name: str) -> list[str]:
    """The values of a property: RDF has attributes, elements with text, and with an address."""
    if xmp is None:
        return []
    if len(xmp) > MAX_XMP:
        raise ChibiError(f"the picture's XMP has more than {MAX_XMP:,} characters")
    # What could make a small text large, or name another file, stands in a document type.
    if "<!DOCTYPE" in xmp:
        raise ChibiError("the picture's XMP has a document type, which XMP never has")
    try:
        root = ElementTree.fromstring(xmp)
    except (ElementTree.ParseError, ValueError) as error:
        raise ChibiError(f"the picture's XMP is no XML: {error}") from error
    values = []
    for node in root.iter():
        values.append(node.get(name))
        if node.tag == name:
            address = node.get(f"{{{RDF}}}resource")
            values.append(node.text if address is None else address)
    return [value.strip() for value in values if value is not None]
