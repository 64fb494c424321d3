"""The key that signs pictures: made on first use and kept private, or a person's own.

A key made on first use proves that two pictures were signed with the same key, so that they can be
linked with each other; it names nobody, and nobody vouches for it.
"""

import contextlib
import datetime
import os
import stat
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chibi_lab.errors import ChibiError

if TYPE_CHECKING:
    from cryptography import x509

KEY_FILE = "signing.pem"
MADE_HERE = "Chibi Lab, key made on first use"
MAX_PEM = 1_000_000  # bytes


@dataclass(frozen=True)
class SigningKey:
    """A private key with the certificates that name its holder.

    Attributes:
        chain: The certificates in PEM, the holder's first.
        secret: The private key in PEM (PKCS #8); never shown.
        algorithm: How it signs, in C2PA's words, such as "es256".
    """

    chain: str = field(repr=False)
    secret: str = field(repr=False)
    algorithm: str

    @classmethod
    def of_user(cls, folder: Path | None = None) -> "SigningKey":
        """The key that the studio made for this user; made now, if there is none.

        It is never replaced. Its certificate was issued by a key that was thrown away at once.

        Args:
            folder: Where it is kept; by default the user's own, ``config_folder``.

        Returns:
            The key.

        Raises:
            ChibiError: If it cannot be made or read, is damaged, or others can read it.
        """
        file = _file(folder)
        try:
            if not file.exists():
                _make_key(file)
            mode = file.stat().st_mode
        except OSError as error:
            raise ChibiError(
                f"cannot keep a signing key in {file.parent}: {error.strerror}"
            ) from error
        if stat.S_ISREG(mode) and mode & 0o077:
            raise ChibiError(
                f"others can read the signing key {file}: make it yours alone, chmod 600"
            )
        return cls.read(file, file)

    @classmethod
    def read(cls, chain: Path | str, key: Path | str) -> "SigningKey":
        """A person's own certificates and key.

        Args:
            chain: File of the certificates in PEM, the holder's first.
            key: File of the private key in PEM, without a password: on a curve P-256, P-384 or
                P-521, Ed25519, or RSA.

        Returns:
            The key.

        Raises:
            ChibiError: If a file cannot be read, is no PEM, or the two do not belong together, or
                the certificate is not valid today.
        """
        # Here, since no picture waits for it that is not signed.
        from cryptography import x509
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization

        named, kept = _read(chain), _read(key)
        try:
            certificates = x509.load_pem_x509_certificates(named)
            public = certificates[0].public_key()
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ChibiError(f"{chain} holds no certificates in PEM") from error
        try:
            secret = serialization.load_pem_private_key(kept, None)
        except TypeError as error:
            raise ChibiError(
                f"the key {key} has a password: give one without"
            ) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ChibiError(f"{key} holds no private key in PEM") from error
        if public != secret.public_key():
            raise ChibiError(f"the key {key} is not that of the certificate {chain}")
        now = datetime.datetime.now(datetime.UTC)
        first = certificates[0].not_valid_before_utc
        last = certificates[0].not_valid_after_utc
        if not first <= now <= last:
            raise ChibiError(
                f"the certificate {chain} is not valid today, but from "
                f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
            )
        return cls(_pem(certificates), _private_pem(secret), _algorithm(secret, key))


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


def own_chain(folder: Path | None = None) -> str | None:
    """The certificates of this user's key in PEM; None if there is no key that can be read.

    Args:
        folder: Where it is kept; by default ``config_folder``. None is made.
    """
    # Here, since no picture waits for it that is not signed.
    from cryptography import x509

    try:
        return _pem(x509.load_pem_x509_certificates(_read(_file(folder))))
    except ValueError:  # no PEM, or a ChibiError: no file
        return None


def _make_key(file: Path) -> None:
    """Make a key and its certificates, where no file is: of two that try, one succeeds."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(
        ".part", f"{KEY_FILE}.", file.parent
    )  # mode 0600
    try:
        with open(descriptor, "wb") as part:
            part.write(_new_key().encode())
            part.flush()
            os.fsync(part.fileno())
        # A link, since renaming would replace a key that another process made meanwhile.
        with contextlib.suppress(FileExistsError):
            os.link(beside, file)
    finally:
        os.unlink(beside)


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


def _algorithm(secret: Any, key: Path | str) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(secret, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(secret, rsa.RSAPrivateKey):
        return "ps256"
    curves = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
    if isinstance(secret, ec.EllipticCurvePrivateKey) and secret.curve.name in curves:
        return curves[secret.curve.name]
    raise ChibiError(
        f"{key} is a key of a kind that C2PA does not sign with: take P-256, P-384, "
        "P-521, Ed25519 or RSA"
    )


def _read(file: Path | str) -> bytes:
    try:
        with Path(file).open("rb") as opened:
            return opened.read(MAX_PEM)
    except OSError as error:
        raise ChibiError(f"cannot read {file}: {error.strerror}") from error


def _file(folder: Path | None) -> Path:
    return (config_folder() if folder is None else Path(folder)) / KEY_FILE
