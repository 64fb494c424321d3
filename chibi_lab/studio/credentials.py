"""Signing a picture: a C2PA manifest that shows whether the file was changed since.

The manifest (C2PA Technical Specification, version 2) says that a trained model made the picture,
and which one.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chibi_lab import __version__
from chibi_lab.errors import ChibiError
from chibi_lab.studio.containers import MIME, is_signed, shown, split
from chibi_lab.studio.keys import SigningKey
from chibi_lab.studio.origin import STATEMENT
from chibi_lab.studio.provenance import SOURCE_TYPE, SOURCE_TYPES, extract

# All that C2PA's library can fetch, off, since a stranger's picture would choose the address: the
# documents of identities, manifests that lie elsewhere, whether a certificate was revoked, time
# stamps. No host is allowed either, for what a later version learns to fetch.
OFFLINE: dict[str, Any] = {
    "core": {
        "decode_identity_assertions": False,
        "allowed_network_hosts": [],
        "allow_redirects": False,
    },
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {
        "certificate_status_fetch": None,
        "auto_timestamp_assertion": {"enabled": False},
        "thumbnail": {"enabled": False},
    },
}
UNTRUSTED, TRUSTED = "signingCredential.untrusted", "signingCredential.trusted"
# Failures after which the manifest is not what was signed (C2PA, 15.2.2). What else fails, an
# expired certificate or a code that is not known here, leaves the signature one.
BROKEN = (
    "claimSignature.mismatch", "claimSignature.missing", "claim.", "manifest.",
    "assertion.hashedURI.", "assertion.missing", "assertion.undeclared",
    "assertion.outsideManifest", "assertion.multipleHardBindings", "hashedURI.",
)  # fmt: skip


@dataclass(frozen=True)
class Signature:
    """What a C2PA manifest says, and how far it can be believed. All texts are the file's.

    Attributes:
        valid: Whether the manifest is whole and the signature that of its certificate.
        changed: Whether the file, its pixels or its metadata, was changed after it was signed; None
            if nothing in the manifest tells.
        own: Whether it was signed with the key that this user keeps.
        issuer: Whom the certificate names as the holder's organisation, "" if nobody.
        holder: The certificate's name for the holder, "" if it has none.
        software: What made the manifest.
        source_type: The digital source type that it gives, such as "trainedAlgorithmicMedia".
        problems: What was found wrong, in C2PA's codes, that nobody vouches for the key apart.
    """

    valid: bool
    changed: bool | None
    own: bool
    issuer: str
    holder: str
    software: str
    source_type: str | None
    problems: tuple[str, ...]

    @property
    def expired(self) -> bool:
        """Whether its certificate does not hold today, by this computer's clock."""
        return "signingCredential.expired" in self.problems


def sign(data: bytes, key: SigningKey) -> bytes:
    """Add a signed C2PA manifest, as the last thing that is done to a file.

    Two signings differ in some bytes, since the standard asks for salt. There is no time in it.

    Args:
        data: A PNG, APNG, WebP or GIF file with its origin embedded.
        key: With what it is signed.

    Returns:
        The signed file, some 4 kB larger.

    Raises:
        ChibiError: If the file has no origin, is signed already, or C2PA refuses the key.
    """
    import c2pa

    kind, pieces = split(data)
    if is_signed(pieces):
        raise ChibiError("the picture is signed already: sign a file once, as it is")
    origin = extract(data)
    if origin is None:
        raise ChibiError("the picture has no origin to sign: embed first, sign last")
    name, _, version = origin.software.partition(" ")
    software = {"name": name, "version": version or __version__}
    action = {
        "action": "c2pa.created",
        "digitalSourceType": SOURCE_TYPE,
        "softwareAgent": software,
        "description": f"{STATEMENT}, drawn by the model {origin.model}",
        "parameters": {
            "chibi-lab.model": origin.model,
            "chibi-lab.weights": origin.weights,
        },
    }
    manifest = {
        "claim_generator_info": [software],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }
    signed = io.BytesIO()
    try:
        # An address for time stamps that is missing is None: "" would be one.
        signer = c2pa.Signer.from_info(
            c2pa.C2paSignerInfo(b"es256", key.chain.encode(), key.secret.encode(), None)
        )
        with (
            signer,
            c2pa.Context.from_dict(OFFLINE) as context,
            c2pa.Builder(manifest, context=context) as builder,
        ):
            builder.sign(signer, f"image/{MIME[kind]}", io.BytesIO(data), signed)
    except c2pa.C2paError as error:
        raise ChibiError(
            f"the picture cannot be signed: {shown(str(error))}"
        ) from error
    return signed.getvalue()


def read_signature(data: bytes, folder: Path | None = None) -> Signature | None:
    """Read and check a picture's C2PA manifest. Nothing is fetched.

    Args:
        data: A picture file, JPEG too.
        folder: Where this user's key is kept, which is recognised; by default
            ``config_folder``. None is made.

    Returns:
        What the manifest says; None if there is none.

    Raises:
        ChibiError: If the file is no picture, or its manifest cannot be read.
    """
    import c2pa

    kind, pieces = split(data)
    own = SigningKey.kept(folder) if kind == "JPEG" or is_signed(pieces) else None
    trust = {} if own is None else {"trust": {"trust_anchors": own.chain}}
    try:
        with (
            c2pa.Context.from_dict(OFFLINE | trust) as context,
            c2pa.Reader(f"image/{MIME[kind]}", io.BytesIO(data), context=context) as reader,
        ):  # fmt: skip
            found = json.loads(reader.json())
    except c2pa.C2paError as error:
        if isinstance(error, c2pa.C2paError.ManifestNotFound):
            return None
        if str(error).startswith("Remote:"):
            where = str(error).rpartition("from url ")[2]
            raise ChibiError(
                f"the C2PA manifest lies elsewhere, and is not fetched: {shown(where)}"
            ) from error
        raise ChibiError(
            f"the C2PA manifest cannot be read: {shown(str(error))}"
        ) from error
    return _judged(found, own)


def _judged(found: dict[str, Any], own: SigningKey | None) -> Signature:
    manifest = found.get("manifests", {}).get(found.get("active_manifest"), {})
    results = found.get("validation_results", {}).get("activeManifest", {})
    failed, passed = (
        {str(each.get("code")) for each in results.get(part, [])}
        for part in ("failure", "success")
    )
    problems = failed - {UNTRUSTED}
    valid = "claimSignature.validated" in passed
    valid = valid and not any(code.startswith(BROKEN) for code in problems)
    changed = any(code.endswith("Hash.mismatch") for code in problems)
    compared = changed or any(code.endswith("Hash.match") for code in passed)
    info = manifest.get("signature_info") or {}
    # The key that issued its certificate issued no other, and is gone: only it is trusted.
    trusted = own is not None and valid and TRUSTED in passed
    made_by = next(iter(manifest.get("claim_generator_info") or []), {})
    return Signature(
        valid=valid,
        changed=changed if compared else None,
        own=trusted and info.get("cert_serial_number") == str(own.serial),
        issuer=shown(str(info.get("issuer") or "")),
        holder=shown(str(info.get("common_name") or "")),
        software=shown(f"{made_by.get('name', '')} {made_by.get('version', '')}"),
        source_type=_source_type(manifest),
        problems=tuple(sorted(shown(code) for code in problems)),
    )


def _source_type(manifest: dict[str, Any]) -> str | None:
    """What the manifest's actions say that the picture's source was."""
    for assertion in manifest.get("assertions") or []:
        data = assertion.get("data")
        if not isinstance(data, dict) or not isinstance(data.get("actions"), list):
            continue
        for action in data["actions"]:
            given = (
                action.get("digitalSourceType") if isinstance(action, dict) else None
            )
            if isinstance(given, str):
                return shown(given.removeprefix(SOURCE_TYPES))
    return None
