"""What a picture file says of where it comes from, and how far that can be believed."""

import io
import textwrap
import warnings
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from chibi_lab import __version__, pretrained
from chibi_lab.data.decode import MAX_PIXELS
from chibi_lab.errors import ChibiError
from chibi_lab.files import explained
from chibi_lab.studio.containers import MIME, read_file, shown, split
from chibi_lab.studio.credentials import Signature, read_signature
from chibi_lab.studio.origin import STATEMENT, Origin
from chibi_lab.studio.provenance import extract, source_type
from chibi_lab.studio.watermark import FALSE_POSITIVES, Detection, detect

WIDTH, COLUMN, LISTED = 80, 13, 20  # of a report, its names, its problems at most
SEARCHED = 1024  # pixels of the longer side: larger pictures are reduced to it first
Line = str | tuple[str, str]  # of a report: a sentence, or a name and its value


@dataclass(frozen=True)
class Findings:
    """What was found in a picture file. What is None was not found, or could not be read.

    Attributes:
        file: Its path, as it was given.
        format: "PNG", "WebP", "GIF" or "JPEG".
        origin: What made the picture, as the file says.
        origin_problem: Why an origin that is there cannot be used.
        ships_as: The weights in :mod:`chibi_lab.pretrained` whose checksum the origin gives.
        source_type: The IPTC digital source type in the file's XMP.
        source_type_problem: Why XMP that is there cannot be read.
        watermark: How well the pixels, of an animation the first ones, agree with the watermark.
        watermark_problem: Why no watermark could be looked for.
        signature: What its C2PA manifest says.
        signature_problem: Why a manifest that is there cannot be read.
    """

    file: str
    format: str
    origin: Origin | None = None
    origin_problem: str | None = None
    ships_as: str | None = None
    source_type: str | None = None
    source_type_problem: str | None = None
    watermark: Detection | None = None
    watermark_problem: str | None = None
    signature: Signature | None = None
    signature_problem: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The findings as plain JSON; the keys are those of the attributes."""
        data = {**vars(self)}
        data["origin"] = self.origin and self.origin.to_json()
        data["watermark"] = self.watermark and asdict(self.watermark)
        data["signature"] = self.signature and asdict(self.signature)
        return data

    def report(self) -> str:
        """The findings in sentences, what was not found, and what both mean."""
        lines = [
            f"{shown(self.file)}: {self.format}",
            "",
            *self._origin_lines(),
            *self._source_type_lines(),
            *self._watermark_lines(),
            *self._signature_lines(),
            "",
            "What this means:",
            *self._meaning(),
        ]
        return "\n".join(map(_laid_out, lines))

    def _origin_lines(self) -> list[Line]:
        if self.origin_problem:
            return [f"Origin: one is there and cannot be used: {self.origin_problem}."]
        origin = self.origin
        if origin is None:
            return ["Origin: not found."]
        if self.ships_as is None:
            known = f"not those of a model that ships with chibi-lab {__version__}"
        else:
            known = f"those of {self.ships_as} that ship with chibi-lab {__version__}"
        asked = ", ".join(
            f"{name}={value}" for name, value in origin.attributes.items()
        )
        rows = {
            "written by": origin.software,
            "model": f"{origin.model} ({origin.kind})",
            "weights": f"{origin.weights[:12]}…, {known}",
            "seed": "none" if origin.seed is None else str(origin.seed),
            "candidate": origin.candidate,
            "latent": f"{len(origin.latent)} numbers",
            "asked for": asked,
            "steps": ", ".join(origin.steps),
            "learned from": origin.credit,
        }
        return [
            f"Origin: {STATEMENT}, as the file says.",
            *((name, str(value)) for name, value in rows.items() if value),
        ]

    def _source_type_lines(self) -> list[str]:
        if self.source_type_problem:
            return [f"Digital source type: not readable: {self.source_type_problem}."]
        if self.source_type is None:
            return ["Digital source type: not found."]
        means = {"trainedAlgorithmicMedia": ", made by a trained model"}
        word = self.source_type
        said = (
            f"{means.get(word, '')} (IPTC)"
            if word.isalnum()
            else ", none of the IPTC's"
        )
        return [f"Digital source type: {word}{said}."]

    def _watermark_lines(self) -> list[str]:
        if self.watermark_problem:
            return [f"Watermark: not looked for: {self.watermark_problem}."]
        found = self.watermark
        if found is None or not found.present:
            return ["Watermark: not found."]
        return [
            f"Watermark: found in the pixels: they score {found.score:.1f}, and from "
            f"{found.threshold:.1f} on it counts. Of pictures without one, fewer than 1 in 1,000 "
            "score so high: none of 2,000 avatars did, and by theory "
            f"{FALSE_POSITIVES * 1e5:.0f} in 100,000 would."
        ]

    def _signature_lines(self) -> list[Line]:
        if self.signature_problem:
            return [f"C2PA manifest: {self.signature_problem}."]
        signature = self.signature
        if signature is None:
            return ["C2PA manifest: not found."]
        state = "valid" if signature.valid else "NOT valid"
        lines: list[Line] = [f"C2PA manifest: found, its signature is {state}."]
        if signature.changed:
            lines.append("  The file was CHANGED after that: pixels, metadata or both.")
        elif signature.valid and signature.changed is None:
            lines.append("  It does not tell whether the file was changed since.")
        elif signature.valid:
            lines.append("  Pixels and metadata are as they were when it was signed.")
        named = filter(None, (signature.issuer, signature.holder))
        names = ['"{}"'.format(each.replace('"', "'")) for each in named]
        lines += [("signed as", "; ".join(names) or "nobody")]
        lines += [("written by", signature.software)]
        if signature.source_type:
            lines.append(("source type", signature.source_type))
        lines += [("problem", _explained(code)) for code in signature.problems[:LISTED]]
        if signature.own:
            lines.append("  It was signed with the key that you keep on this computer.")
        elif signature.valid and not signature.expired:
            lines.append(
                "  The key is not known as your own here. Whether anybody vouches for its name is "
                "not checked: anyone can choose one."
            )
        else:
            lines.append("  Whose key it was is not known: anyone can choose a name.")
        return lines

    def _meaning(self) -> list[Line]:
        lines: list[Line] = []
        signature = self.signature
        if signature and signature.valid and signature.changed:
            lines.append(
                "  Someone who holds the key signed another state of this file. What is written "
                "in this one may have been written by anyone since."
            )
        elif signature and signature.valid and signature.changed is None:
            lines.append("  The signature says nothing of the pixels: they may be any.")
        elif signature and signature.valid:
            lines.append(
                "  The signature shows that nothing was changed since the holder of the key "
                "signed. It does not show who that is, nor that what is written is true."
            )
        elif signature:
            lines.append("  A manifest whose signature is not valid proves nothing.")
        marked = self.watermark is not None and self.watermark.present
        if marked:
            lines.append(
                "  The watermark says that chibi-lab drew the picture. It outlasts JPEG, half the "
                "size and a small crop, in which metadata are lost; but anyone who has this "
                "package can put it into any picture, or take it out."
            )
        if not (self.origin or self.source_type or marked or signature):
            lines.append(
                "  Nothing here says where the picture comes from. A model may have made it all "
                "the same."
            )
        lines.append(
            "  Anyone can remove such metadata, and anyone can write them: their absence proves "
            "nothing, and without a signature by someone you know neither does their presence."
        )
        return lines


def examine(path: Path | str, folder: Path | None = None) -> Findings:
    """Look through a picture file for what says where it comes from. Nothing is fetched.

    Damaged metadata in a whole picture are a finding, not an error.

    Args:
        path: The file.
        folder: Where this user's signing key is kept; by default ``config_folder``.
    """
    data = read_file(Path(path))
    name = shown(str(path))
    try:
        kind, _ = split(data)
    except ChibiError as error:
        raise ChibiError(f"{name}: {error}") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is unfit becomes a finding
        origin, origin_problem = _tried(extract, data)
        source, source_problem = _tried(source_type, data)
        watermark, watermark_problem = _tried(_watermark, data)
        signature, signature_problem = _tried(read_signature, data, folder)
    return Findings(
        file=str(path),
        format=kind,
        origin=origin,
        origin_problem=origin_problem,
        ships_as=None if origin is None else shipped_as(origin.weights),
        source_type=source,
        source_type_problem=source_problem,
        watermark=watermark,
        watermark_problem=watermark_problem,
        signature=signature,
        signature_problem=signature_problem,
    )


def shipped_as(weights: str) -> str | None:
    """The name of the weights in :mod:`chibi_lab.pretrained` with this SHA-256; None if none."""
    file = pretrained.FOLDER / "SHA256SUMS"
    with explained(f"cannot read {file}"):
        lines = file.read_text(encoding="utf-8").splitlines()
    sums = dict(line.split("  ", 1) for line in lines)
    return sums[weights].partition("/")[0] if weights in sums else None


def _watermark(data: bytes) -> Detection:
    try:
        with Image.open(io.BytesIO(data), formats=tuple(MIME)) as image:
            # Only the header was read so far: a bomb is never decoded.
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            picture = image.convert("RGBA" if image.has_transparency_data else "RGB")
            picture.thumbnail((SEARCHED, SEARCHED))
    except Image.DecompressionBombError as error:
        raise ChibiError(f"it has more than {MAX_PIXELS:,} pixels") from error
    except Exception as error:
        # Pillow's decoders raise nearly every kind on a damaged file.
        raise ChibiError("its pixels cannot be read") from error
    return detect(np.asarray(picture))


def _explained(code: str) -> str:
    """One of C2PA's codes, and which part it is about."""
    parts = {
        "signingCredential.expired": "its certificate does not hold on the day that the clock of "
        f"this computer shows, {date.today()}",
        "signingCredential": "about its certificate",
        "claimSignature": "about the signature itself",
        "timeStamp": "about its time stamp",
        "assertion": "about what it says, or what it says it of",
        "claim": "about what it says",
        "ingredient": "about another picture that this one was made from",
    }
    about = (words for part, words in parts.items() if code.startswith(part))
    return f"{code}: {next(about, 'a code that is not known here')}"


def _tried(look: Any, *given: Any) -> tuple[Any, str | None]:
    """What was found, and why it cannot be used."""
    try:
        return look(*given), None
    except ChibiError as error:
        return None, shown(str(error))


def _laid_out(line: Line) -> str:
    """A sentence, or a name with its value, in no more than `WIDTH` columns."""
    if isinstance(line, tuple):
        line, hang = f"  {line[0]:<{COLUMN}}{line[1]}", 2 + COLUMN
    else:  # deeper than where lines begin, so that no text of the file's can look like one
        hang = len(line) - len(line.lstrip()) + 4
    return textwrap.fill(
        line, WIDTH, subsequent_indent=" " * hang, break_on_hyphens=False
    )
