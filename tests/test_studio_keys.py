import datetime
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from chibi_lab.errors import ChibiError
from chibi_lab.studio.keys import SigningKey, config_folder


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
    monkeypatch.setattr(os.path, "lexists", lambda _: False)
    assert SigningKey.of_user(tmp_path) == key


def test_a_folder_that_cannot_be_written_says_so(unprivileged: Path) -> None:
    with pytest.raises(ChibiError, match=r"cannot keep a signing key in .*Permission"):
        SigningKey.of_user(unprivileged / "chibi-lab")
    with pytest.raises(ChibiError, match="is another user's"):
        SigningKey.of_user(unprivileged)
    assert [file.name for file in unprivileged.iterdir()] == ["locked.pem"]


def test_a_file_in_place_of_the_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(ChibiError, match=r"cannot (keep a signing key in|read) "):
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
    with pytest.raises(ChibiError, match=r"signing\.pem holds no signing key: move it"):
        SigningKey.of_user(tmp_path)
    assert file.read_bytes() == damage


def test_a_folder_in_place_of_the_key_says_so(tmp_path: Path) -> None:
    (tmp_path / "signing.pem").mkdir()
    with pytest.raises(ChibiError, match=r"cannot read .*signing\.pem: it is not a"):
        SigningKey.of_user(tmp_path)


def test_a_key_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "signing.pem", 0o600)
    with pytest.raises(ChibiError, match="it is not a regular file"):
        SigningKey.of_user(tmp_path)
    assert SigningKey.kept(tmp_path) is None


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702, 0o1777])
def test_a_folder_that_others_may_write_to_is_refused(
    tmp_path: Path, mode: int
) -> None:
    tmp_path.chmod(mode)
    for _ in range(2):  # where no key is made, and where one is used
        with pytest.raises(ChibiError, match=r"others can write to .*chmod 700"):
            SigningKey.of_user(tmp_path)
        assert SigningKey.kept(tmp_path) is None
        assert not (tmp_path / "signing.pem").exists()
    tmp_path.chmod(0o700)
    SigningKey.of_user(tmp_path)
    tmp_path.chmod(mode)
    with pytest.raises(ChibiError, match=r"others can write to .*chmod 700"):
        SigningKey.of_user(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_nobody_uses_or_makes_another_users_key(tmp_path: Path) -> None:
    folder = tmp_path / "home" / ".config" / "chibi-lab"
    SigningKey.of_user(folder)
    os.chown(folder / "signing.pem", 65534, 65534)
    with pytest.raises(ChibiError, match=r"signing\.pem is another user's"):
        SigningKey.of_user(folder)
    (folder / "signing.pem").unlink()
    for each in (folder, tmp_path / "home"):
        os.chown(each, 65534, 65534)
        with pytest.raises(ChibiError, match=f"{each} is another user's"):
            SigningKey.of_user(folder)
        assert not list(folder.glob("*")) if folder.exists() else True
        shutil.rmtree(tmp_path / "home" / ".config", ignore_errors=True)
    assert not (tmp_path / "home" / ".config").exists()


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
    assert SigningKey.kept() is None


def test_looking_for_ones_own_key_makes_none(tmp_path: Path) -> None:
    assert SigningKey.kept(tmp_path / "none") is None
    assert not (tmp_path / "none").exists()
    key = SigningKey.of_user(tmp_path)
    assert SigningKey.kept(tmp_path) == key
    (tmp_path / "signing.pem").write_text("damaged")
    assert SigningKey.kept(tmp_path) is None
