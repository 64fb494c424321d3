"""The outermost layer of picture files: their chunks, read and joined without touching a pixel.

Each file comes apart into pieces whose bytes, joined, are the file again. What a file says of
lengths is believed only as far as it has bytes.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from chibi_lab import files
from chibi_lab.errors import ChibiError

MAX_BYTES = 64_000_000  # of a file
# What reads a file takes time and memory by its parts: few small ones are all that a picture needs.
MAX_PIECES = 20_000
MAX_SMALL_BLOCKS = 10_000  # of a GIF, beside one for 128 bytes of it
MAX_SEGMENTS = 10_000  # of a JPEG, before its pixels
MIME = {"PNG": "png", "WebP": "webp", "GIF": "gif", "JPEG": "jpeg"}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_FLAG, ALPHA_FLAG = 0x04, 0x10


class Piece(NamedTuple):
    """A part of a file.

    Attributes:
        kind: What it is: "header", the type of a chunk, of a GIF "comment", "XMP", the name of an
            application, "extension" (another), "image" or "end". After a picture's end that is
            not the file's comes "what follows".
        raw: All of its bytes.
        body: What it carries; of a GIF's image nothing is taken out.
    """

    kind: str
    raw: bytes
    body: bytes = b""


def split(data: bytes) -> tuple[str, list[Piece]]:
    """Take a picture file apart: "PNG", "WebP", "GIF" or "JPEG", and the pieces in their order.

    A JPEG is one piece. What is no such picture, is cut off, damaged or too large is refused.
    """
    if not data:
        raise ChibiError("the file is empty: it has 0 bytes")
    if len(data) > MAX_BYTES:
        raise ChibiError(
            f"the file has {len(data):,} bytes: {MAX_BYTES:,} are the most"
        )
    if data.startswith(PNG_SIGNATURE):
        return "PNG", _png_pieces(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP", _webp_pieces(data)
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF", _gif_pieces(data)
    if data[:3] == b"\xff\xd8\xff":
        _check_segments(data)
        return "JPEG", [Piece("picture", data)]
    raise ChibiError("this is no PNG, WebP, GIF or JPEG picture, whatever its name")


def join(pieces: list[Piece]) -> bytes:
    """The file that the pieces are, the inverse of :func:`split`."""
    return b"".join(piece.raw for piece in pieces)


def is_signed(pieces: list[Piece]) -> bool:
    """Whether there is room taken by a C2PA manifest, of any content (JPEGs are not looked at)."""
    return any(piece.kind in ("caBX", "C2PA", "C2PA_GIF") for piece in pieces)


def png_chunk(kind: str, body: bytes) -> Piece:
    """A chunk of a PNG file (PNG, third edition, 5.3)."""
    name = kind.encode("ascii")
    crc = zlib.crc32(name + body).to_bytes(4, "big")
    return Piece(kind, len(body).to_bytes(4, "big") + name + body + crc, body)


def webp_chunk(kind: str, body: bytes) -> Piece:
    """A chunk of a WebP file, padded to an even length (RFC 9649, 2.3)."""
    raw = kind.encode("ascii") + len(body).to_bytes(4, "little") + body
    return Piece(kind, raw + b"\0" * (len(body) % 2), body)


def gif_comment(body: bytes) -> Piece:
    """A comment extension (GIF89a, 24), its text in blocks of 255 bytes."""
    return Piece("comment", b"\x21\xfe" + _sub_blocks(body), body)


def gif_xmp(packet: bytes) -> Piece:
    """XMP in an application extension (XMP specification, part 3, 1.1.2).

    The packet stands there as it is. A reader that takes its bytes for lengths is led to the end by
    the 258 bytes after it, which count down.
    """
    trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\x00"
    return Piece("XMP", b"\x21\xff\x0bXMP DataXMP" + packet + trailer, packet)


def with_xmp_flag(pieces: list[Piece]) -> list[Piece]:
    """A WebP's header and chunks, with the extended header that announces XMP (RFC 9649, 2.7).

    Args:
        pieces: A WebP file's, the XMP chunk among them.

    Returns:
        The same with the extended header, made if there was none, and the length of all set right.

    Raises:
        ChibiError: If the picture's size cannot be read.
    """
    chunks = [piece for piece in pieces[1:] if piece.kind != "what follows"]
    rest = [piece for piece in pieces[1:] if piece.kind == "what follows"]
    first = chunks[0]
    if first.kind == "VP8X":
        body = bytes([first.body[0] | XMP_FLAG]) + first.body[1:]
        chunks[0] = webp_chunk("VP8X", body)
    else:
        width, height, alpha = _webp_size(first)
        flags = XMP_FLAG | (ALPHA_FLAG if alpha else 0)
        sides = b"".join((side - 1).to_bytes(3, "little") for side in (width, height))
        chunks.insert(0, webp_chunk("VP8X", bytes([flags, 0, 0, 0]) + sides))
    length = (4 + len(join(chunks))).to_bytes(4, "little")
    return [Piece("header", b"RIFF" + length + b"WEBP"), *chunks, *rest]


def _png_pieces(data: bytes) -> list[Piece]:
    pieces = [Piece("header", data[:8])]
    at = 8
    while pieces[-1].kind != "IEND":
        name = data[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if len(name) < 4 or end > len(data):
            raise ChibiError(f"the PNG is cut off or damaged after {at:,} bytes")
        if not name.isalpha():
            raise ChibiError(f"the PNG is damaged: no chunk starts at byte {at:,}")
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise ChibiError(
                f"the PNG is damaged: the checksum of its chunk {name.decode()} "
                f"at byte {at:,} is wrong"
            )
        _append(pieces, Piece(name.decode(), data[at:end], data[at + 8 : end - 4]))
        at = end
    if pieces[1].kind != "IHDR" or len(pieces[1].body) != 13:
        raise ChibiError("the PNG is damaged: it does not start with its header")
    return _with_rest(pieces, data, at)


def _webp_pieces(data: bytes) -> list[Piece]:
    stop = 8 + int.from_bytes(data[4:8], "little")
    if stop > len(data):
        raise ChibiError(
            f"the WebP is cut off: it says {stop:,} bytes and has {len(data):,}"
        )
    pieces = [Piece("header", data[:12])]
    at = 12
    while at < stop:
        name = data[at : at + 4]
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + length + length % 2
        if at + 8 > stop or end > stop:
            raise ChibiError(f"the WebP is cut off or damaged after {at:,} bytes")
        if not (name.isascii() and name.decode("latin-1").isprintable()):
            raise ChibiError(f"the WebP is damaged: no chunk starts at byte {at:,}")
        body = data[at + 8 : at + 8 + length]
        _append(pieces, Piece(name.decode(), data[at:end], body))
        at = end
    first = pieces[1] if len(pieces) > 1 else pieces[0]
    if first.kind not in ("VP8 ", "VP8L", "VP8X"):
        raise ChibiError("the WebP is damaged: it does not start with a picture")
    if first.kind == "VP8X" and len(first.body) != 10:
        raise ChibiError("the WebP is damaged: its extended header has a wrong length")
    return _with_rest(pieces, data, at)


def _gif_pieces(data: bytes) -> list[Piece]:
    at = _after_palette(data, 10, 13)
    pieces = [Piece("header", data[:at])]
    blocks = iter(
        range(MAX_SMALL_BLOCKS + len(data) // 128)
    )  # they count down together
    while pieces[-1].kind != "end":
        start, code = at, data[at : at + 1]
        if code == b"\x3b":
            at, kind, body = start + 1, "end", b""
        elif code == b"\x2c":
            at = _after_sub_blocks(
                data, _after_palette(data, start + 9, start + 10) + 1, blocks
            )
            kind, body = "image", b""
        elif code == b"\x21":
            at, kind, body = _gif_extension(data, start, blocks)
        else:
            raise ChibiError(f"the GIF is cut off or damaged after {start:,} bytes")
        _append(pieces, Piece(kind, data[start:at], body))
    return _with_rest(pieces, data, at)


def _gif_extension(
    data: bytes, start: int, blocks: Iterator[int]
) -> tuple[int, str, bytes]:
    """Where an extension ends, what it is, and for a comment or XMP what it says."""
    at = _after_sub_blocks(data, start + 2, blocks)
    raw = data[start:at]
    if raw[1] == 0xFE:
        return at, "comment", _joined(raw[2:])
    if raw[1] != 0xFF:
        return at, "extension", b""
    if raw[2:14] == b"\x0bXMP DataXMP":
        return at, "XMP", raw[14:-258]
    return at, raw[3:11].decode("latin-1"), b""


def _check_segments(data: bytes) -> None:
    """Raise ChibiError if a JPEG has more in front of its pixels than one has (T.81, B.1.1)."""
    at = 2
    for _ in range(MAX_SEGMENTS):
        marker = data[at : at + 2]
        if len(marker) < 2 or marker[0] != 0xFF:
            raise ChibiError(f"the JPEG is cut off or damaged after {at:,} bytes")
        if marker[1] == 0xDA:  # the pixels follow
            return
        filling = marker[1] == 0xFF
        at += 1 if filling else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise ChibiError(f"the JPEG has more than {MAX_SEGMENTS:,} parts: no picture does")


def _after_palette(data: bytes, flags: int, at: int) -> int:
    """The place after a colour table that starts at `at`, if the flags say that there is one."""
    if at > len(data):
        raise ChibiError(f"the GIF is cut off after {len(data):,} bytes")
    packed = data[flags]
    return at + (3 << (packed & 7) + 1 if packed & 0x80 else 0)


def _after_sub_blocks(data: bytes, at: int, blocks: Iterator[int]) -> int:
    """The place after blocks that start with their lengths, the last of length 0."""
    for _ in blocks:
        if at >= len(data):
            raise ChibiError(f"the GIF is cut off after {len(data):,} bytes")
        length = data[at]
        at += 1 + length
        if length == 0:
            return at
    raise ChibiError("the GIF is in more and smaller blocks than any picture")


def _joined(blocks: bytes) -> bytes:
    parts, at = [], 0
    while blocks[at]:
        parts.append(blocks[at + 1 : at + 1 + blocks[at]])
        at += 1 + blocks[at]
    return b"".join(parts)


def _sub_blocks(body: bytes) -> bytes:
    parts = [body[at : at + 255] for at in range(0, len(body), 255)]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def _webp_size(first: Piece) -> tuple[int, int, bool]:
    """Width, height, and whether there is transparency, of a WebP without extended header."""
    if first.kind == "VP8L" and len(first.body) >= 5:  # RFC 9649, 3.4
        bits = int.from_bytes(first.body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    if first.kind == "VP8 " and first.body[3:6] == b"\x9d\x01\x2a":  # RFC 6386, 9.1
        width, height = (
            int.from_bytes(first.body[at : at + 2], "little") & 0x3FFF for at in (6, 8)
        )
        if width and height:
            return width, height, False
    raise ChibiError("the WebP is damaged: it does not say how large it is")


def _append(pieces: list[Piece], piece: Piece) -> None:
    if len(pieces) >= MAX_PIECES:
        raise ChibiError(
            f"the file has more than {MAX_PIECES:,} parts: no picture does"
        )
    pieces.append(piece)


def _with_rest(pieces: list[Piece], data: bytes, at: int) -> list[Piece]:
    return [*pieces, Piece("what follows", data[at:])] if at < len(data) else pieces


def shown(text: str, most: int = 200) -> str:
    """A stranger's text as one line that does nothing to a terminal."""
    line = " ".join(text.split())
    safe = "".join(each if each.isprintable() else "\ufffd" for each in line)
    return safe if len(safe) <= most else safe[: most - 1] + "…"


def read_file(path: Path) -> bytes:
    """The bytes of a file that lies on a disk and is not too large for a picture."""
    return files.read(path, MAX_BYTES)
