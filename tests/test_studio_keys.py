import datetime
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from chibi_lab.errors import ChibiError
from chibi_lab.studio import keys
from chibi_lab.studio.keys import SigningKey, config_folder, own_chain

PEM = serialization.Encoding.PEM
TODAY = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder that takes no file, and one file in it that cannot be read, for root too."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "locked.pem").touch(0o000)
        folder.chmod(0o555)
        if root:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o755)


def pem(secret: object, password: bytes | None = None) -> bytes:
    encryption = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return secret.private_bytes(PEM, serialization.PrivateFormat.PKCS8, encryption)


def certificate(
    secret: object, first: datetime.datetime = TODAY - DAY, days: int = 9
) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Someone")])
    made = x509.CertificateBuilder(name, name, secret.public_key(), 1)
    made = made.not_valid_before(first).not_valid_after(first + days * DAY)
    algorithm = (
        None if isinstance(secret, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    )
    return made.sign(secret, algorithm).public_bytes(PEM)


@pytest.fixture
def own(tmp_path: Path) -> tuple[Path, Path]:
    """A person's own certificate and key."""
    secret = ec.generate_private_key(ec.SECP256R1())
    chain, key = tmp_path / "my chain.pem", tmp_path / "my 'key'.pem"
    chain.write_bytes(certificate(secret))
    key.write_bytes(pem(secret))
    return chain, key


def test_a_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet"
    key = SigningKey.of_user(folder)
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    before = file.read_bytes()
    assert SigningKey.of_user(folder) == key
    assert file.read_bytes() == before
    assert SigningKey.of_user(tmp_path / "another") != key


def test_a_key_does_not_show_its_secret_by_chance(tmp_path: Path) -> None:
    key = SigningKey.of_user(tmp_path)
    assert "PRIVATE" in key.secret
    assert "PRIVATE" not in f"{key} {key!r}"
    assert "PRIVATE" not in key.chain


def test_a_certificate_names_nobody_and_no_day(tmp_path: Path) -> None:
    chain = SigningKey.of_user(tmp_path).chain.encode()
    leaf, root = x509.load_pem_x509_certificates(chain)
    assert leaf.issuer == root.subject
    (organisation,) = leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert organisation.value == "Chibi Lab, key made on first use"
    for each in (leaf, root):
        assert each.not_valid_before_utc.date() == datetime.date(2020, 1, 1)
        assert each.not_valid_after_utc.year == 9999


def test_of_many_that_make_a_key_at_once_all_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(SigningKey.of_user, [tmp_path] * 16))
    assert len({key.secret for key in made}) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["signing.pem"]


def test_a_key_that_came_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = SigningKey.of_user(tmp_path)
    monkeypatch.setattr(Path, "exists", lambda _: False)
    assert SigningKey.of_user(tmp_path) == key


def test_a_folder_that_cannot_be_written_says_so(unprivileged: Path) -> None:
    with pytest.raises(ChibiError, match=r"cannot keep a signing key in .*Permission"):
        SigningKey.of_user(unprivileged / "chibi-lab")
    with pytest.raises(ChibiError, match=r"cannot keep a signing key in .*Permission"):
        SigningKey.of_user(unprivileged)
    assert [file.name for file in unprivileged.iterdir()] == ["locked.pem"]


def test_a_file_in_place_of_the_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(ChibiError, match="cannot keep a signing key in"):
        SigningKey.of_user(tmp_path / "file")


def test_a_disk_that_is_full_leaves_no_half_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ChibiError, match="No space left on device"):
        SigningKey.of_user(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    SigningKey.of_user(tmp_path)
    (tmp_path / "signing.pem").chmod(mode)
    with pytest.raises(
        ChibiError, match=r"others can read the signing key .*chmod 600"
    ):
        SigningKey.of_user(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"text", b"-----BEGIN CERTIFICATE-----\nAA"])
def test_a_damaged_key_is_named_and_left_alone(tmp_path: Path, damage: bytes) -> None:
    file = tmp_path / "signing.pem"
    file.write_bytes(damage)
    file.chmod(0o600)
    with pytest.raises(ChibiError, match=r"signing\.pem holds no certificates"):
        SigningKey.of_user(tmp_path)
    assert file.read_bytes() == damage


def test_a_folder_in_place_of_the_key_says_so(tmp_path: Path) -> None:
    (tmp_path / "signing.pem").mkdir()
    with pytest.raises(ChibiError, match=r"cannot read .*signing\.pem: Is a directory"):
        SigningKey.of_user(tmp_path)


def test_an_unreadable_key_says_so(unprivileged: Path) -> None:
    locked = unprivileged / "locked.pem"
    with pytest.raises(ChibiError, match=r"cannot read .*locked\.pem: Permission"):
        SigningKey.read(locked, locked)


def test_a_key_of_ones_own_is_read(own: tuple[Path, Path]) -> None:
    key = SigningKey.read(*own)
    assert key.algorithm == "es256"
    assert key.chain == own[0].read_text()
    assert key.secret == own[1].read_text()


@pytest.mark.parametrize(
    ("make", "algorithm"),
    [
        (lambda: ec.generate_private_key(ec.SECP384R1()), "es384"),
        (lambda: ec.generate_private_key(ec.SECP521R1()), "es512"),
        (ed25519.Ed25519PrivateKey.generate, "ed25519"),
        (lambda: rsa.generate_private_key(65537, 2048), "ps256"),
        (lambda: ec.generate_private_key(ec.SECP256K1()), None),
        (lambda: dsa.generate_private_key(1024), None),
    ],
)
def test_the_kind_of_key_decides_how_it_signs(
    tmp_path: Path, make: object, algorithm: str | None
) -> None:
    secret = make()
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(certificate(secret))
    key.write_bytes(pem(secret))
    if algorithm is None:
        with pytest.raises(ChibiError, match="a kind that C2PA does not sign with"):
            SigningKey.read(chain, key)
    else:
        assert SigningKey.read(chain, key).algorithm == algorithm


def test_what_does_not_fit_together_is_named(own: tuple[Path, Path]) -> None:
    chain, key = own
    secret = serialization.load_pem_private_key(key.read_bytes(), None)
    for file, content, said in (
        (key, pem(ec.generate_private_key(ec.SECP256R1())), "is not that of the"),
        (key, pem(ed25519.Ed25519PrivateKey.generate()), "is not that of the"),
        (key, pem(secret, b"password"), "has a password: give one without"),
        (key, b"", "holds no private key in PEM"),
        (key, chain.read_bytes(), "holds no private key in PEM"),
        (chain, b"\x89PNG", "holds no certificates in PEM"),
        (chain, key.read_bytes(), "holds no certificates in PEM"),
        (chain, certificate(secret, TODAY - 9 * DAY, 1), "is not valid today, but"),
        (chain, certificate(secret, TODAY + DAY, 1), "is not valid today, but"),
    ):
        before = file.read_bytes()
        file.write_bytes(content)
        with pytest.raises(ChibiError, match=said):
            SigningKey.read(chain, key)
        file.write_bytes(before)
    with pytest.raises(ChibiError, match="cannot read nowhere: No such file"):
        SigningKey.read("nowhere", key)


def test_settings_lie_where_each_system_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    assert config_folder() == tmp_path / "settings" / "chibi-lab"
    for relative in ("", "settings"):
        monkeypatch.setenv("XDG_CONFIG_HOME", relative)
        assert config_folder() == tmp_path / ".config" / "chibi-lab"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert config_folder() == tmp_path / "Library/Application Support/chibi-lab"


def test_who_has_no_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ChibiError, match="no home folder is known"):
        config_folder()
    assert own_chain() is None


def test_looking_for_ones_own_key_makes_none(tmp_path: Path) -> None:
    assert own_chain(tmp_path / "none") is None
    assert not (tmp_path / "none").exists()
    key = SigningKey.of_user(tmp_path)
    assert own_chain(tmp_path) == key.chain
    (tmp_path / keys.KEY_FILE).write_text("damaged")
    assert own_chain(tmp_path) is None
