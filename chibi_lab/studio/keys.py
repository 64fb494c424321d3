"""The key that signs pictures: made on first use and kept private.

It proves that two pictures were signed with the same key, so that they can be linked with each
other; it names nobody, and nobody vouches for it.
"""

import datetime
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chibi_lab.errors import ChibiError
from chibi_lab.files import explained, open_file, write

if TYPE_CHECKING:
    from cryptography import x509

KEY_FILE = "signing.pem"
MADE_HERE = "Chibi Lab, key made on first use"
MAX_PEM = 1_000_000  # bytes


@dataclass(frozen=True)
class SigningKey:
    """A private key with the certificates of its public one.

    Attributes:
        chain: The certificates in PEM, the key's own first.
        secret: The private key in PEM (PKCS #8), on the curve P-256; never shown.
        serial: The serial number of the key's certificate.
    """

    chain: str = field(repr=False)
    secret: str = field(repr=False)
    serial: int

    @classmethod
    def of_user(cls, folder: Path | None = None) -> "SigningKey":
        """The key that the studio made for this user; made now, if there is none.

        It is never replaced. Its certificate was issued by a key that was thrown away at once.

        Args:
            folder: Where it is kept; by default the user's own, ``config_folder``.
        """
        file = _file(folder)
        with explained(f"cannot keep a signing key in {file.parent}"):
            if not os.path.lexists(file):
                _make_key(file)
        return cls._read(file)

    @classmethod
    def kept(cls, folder: Path | None = None) -> "SigningKey | None":
        """The same, but none is made: None if there is none that can be used."""
        try:
            return cls._read(_file(folder))
        except ChibiError:
            return None

    @classmethod
    def _read(cls, file: Path) -> "SigningKey":
        _check_folder(file.parent)
        with open_file(file) as opened:
            advice = f"read the signing key {file}: make it yours alone, chmod 600"
            _check_own(file, os.fstat(opened.fileno()), 0o077, advice)
            content = opened.read(MAX_PEM)
        # Here, since no picture waits for it that is not signed.
        from cryptography import x509
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization

        try:
            certificates = x509.load_pem_x509_certificates(content)
            secret = serialization.load_pem_private_key(content, None)
            if certificates[0].public_key() != secret.public_key():
                raise ValueError
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ChibiError(
                f"{file} holds no signing key: move it away, and a new one is made"
            ) from error
        serial = certificates[0].serial_number
        return cls(_pem(certificates), _private_pem(secret), serial)


def _check_own(path: Path, about: os.stat_result, others: int, advice: str) -> None:
    """Raise ChibiError if a key or its folder is another user's, or open to others.

    Args:
        path: The key or its folder.
        about: What the system says of it.
        others: What others must not be allowed, as bits of a mode.
        advice: What to do if they are.
    """
    if not hasattr(os, "geteuid"):  # Windows: a user's folders are their own
        return
    if about.st_uid != os.geteuid():
        raise ChibiError(
            f"{path} is another user's, and a signing key is one's own: set XDG_CONFIG_HOME to a "
            "folder of yours"
        )
    if about.st_mode & others:
        raise ChibiError(f"others can {advice}")


def _check_folder(folder: Path) -> None:
    with explained(f"cannot read {folder}"):
        about = folder.stat()
    advice = (
        f"write to {folder}, where the signing key is: make it yours alone, chmod 700"
    )
    _check_own(folder, about, 0o022, advice)


def config_folder() -> Path:
    """Where this user's settings for Chibi Lab are kept.

    Raises:
        ChibiError: If the user has no home.
    """
    # XDG Base Directory Specification: a path that is not absolute counts as not given.
    given = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    if sys.platform != "darwin" and given.is_absolute():
        return given / "chibi-lab"
    try:
        home = Path.home()
    except RuntimeError as error:
        raise ChibiError("no home folder is known: set HOME to one") from error
    customary = "Library/Application Support" if sys.platform == "darwin" else ".config"
    return home / customary / "chibi-lab"


def _make_key(file: Path) -> None:
    """Make a key and its certificates, where no file is: of two that try, one succeeds."""
    folder = file.parent.absolute()
    above = next(each for each in (folder, *folder.parents) if each.exists())
    if hasattr(os, "geteuid") and above.stat().st_uid not in (0, os.geteuid()):
        _check_folder(above)  # root would leave a key in another user's home
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_folder(folder)
    try:
        write(file, _new_key(), replace=False, mode=0o600)
    except ChibiError:
        if not file.exists():
            raise


def _new_key() -> str:
    """A private key, its certificate, and the issuer's, all in PEM.

    The certificate is as C2PA's profile of them asks: for e-mail protection, and not its own
    issuer, whose key is thrown away here. It never ends (RFC 5280, 4.1.2.5), as it vouches for
    nothing.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    secret, issuer = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
    issued_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
    holder = _certificate(secret.public_key(), is_issuer=False)
    holder = holder.add_extension(purpose, False).add_extension(issued_by, False)
    certificates = [
        each.sign(issuer, hashes.SHA256())
        for each in (holder, _certificate(issuer.public_key(), is_issuer=True))
    ]
    return _private_pem(secret) + _pem(certificates)


def _certificate(public: Any, is_issuer: bool) -> "x509.CertificateBuilder":
    """What the holder's certificate and the issuer's have in common."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    def name(common: str) -> x509.Name:
        organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, MADE_HERE)
        return x509.Name(
            [organisation, x509.NameAttribute(NameOID.COMMON_NAME, common)]
        )

    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    usages = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    )
    allowed = dict.fromkeys(usages.split(), False)
    allowed["key_cert_sign" if is_issuer else "digital_signature"] = True
    holder = "issuer" if is_issuer else f"key {identifier.digest[:4].hex()}"
    # No date of today: it would say when the studio was first used.
    first = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    last = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
    return (
        x509.CertificateBuilder(
            name("issuer"), name(holder), public, x509.random_serial_number()
        )
        .not_valid_before(first)
        .not_valid_after(last)
        .add_extension(x509.BasicConstraints(is_issuer, 0 if is_issuer else None), True)
        .add_extension(x509.KeyUsage(**allowed), True)
        .add_extension(identifier, False)
    )


def _pem(certificates: "list[x509.Certificate]") -> str:
    from cryptography.hazmat.primitives import serialization

    pem = serialization.Encoding.PEM
    return "".join(each.public_bytes(pem).decode() for each in certificates)


def _private_pem(secret: Any) -> str:
    from cryptography.hazmat.primitives import serialization

    return secret.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _file(folder: Path | None) -> Path:
    return (config_folder() if folder is None else Path(folder)) / KEY_FILE
