"""Files are written whole or not at all, and nothing is read but regular files."""

import os
import socket
import stat
from pathlib import Path

import pytest

from chibi_lab.errors import ChibiError
from chibi_lab.files import (
    check_new_folder,
    hold,
    open_file,
    place,
    printable,
    read,
    whole_folder,
    write,
    writing,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_written_file_is_whole_and_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write(file, "ä")
    write(file, b"second")
    assert file.read_bytes() == b"second"
    assert names(tmp_path) == ["a.txt"]


def test_a_written_file_has_the_mode_that_others_have(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write(tmp_path / "a.txt", "")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_written_file_can_be_the_users_alone(tmp_path: Path) -> None:
    write(tmp_path / "key", "secret", mode=0o600)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_file_stays_as_it_was_when_writing_fails(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write(file, "first")
    with pytest.raises(ZeroDivisionError), writing(file) as part:
        part.write(b"half")
        raise ZeroDivisionError
    assert file.read_text() == "first"
    assert names(tmp_path) == ["a.txt"]


def test_a_file_is_replaced_only_if_asked(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write(file, "first")
    with pytest.raises(ChibiError, match="exists"):
        write(file, "second", replace=False)
    assert file.read_text() == "first"
    write(tmp_path / "b.txt", "new", replace=False)
    assert (tmp_path / "b.txt").read_text() == "new"


def test_without_hard_links_a_file_is_whole_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refused)
    file = tmp_path / "a.txt"
    write(file, "first", replace=False)
    with pytest.raises(ChibiError, match="exists"):
        write(file, "second", replace=False)
    assert file.read_text() == "first"
    assert names(tmp_path) == ["a.txt"]


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "a.txt").symlink_to("precious")
    write(tmp_path / "a.txt", "new")
    assert (tmp_path / "precious").read_text() == "mine"
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.parametrize("where", ["missing/a", "file/a", "x" * 300, "folder"])
def test_what_cannot_be_written_is_one_line(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(ChibiError, match="cannot write") as caught:
        write(tmp_path / where, "text")
    assert "\n" not in str(caught.value)


def test_only_regular_files_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path)
        listener.bind("socket")
        for name in ("pipe", "folder", "socket", "missing", "/dev/zero"):
            with pytest.raises(ChibiError, match="cannot read"):
                read(tmp_path / name, 10)


def test_a_file_larger_than_asked_for_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read(tmp_path / "a", 5) == b"12345"
    with pytest.raises(ChibiError, match="larger"):
        read(tmp_path / "a", 4)


def test_links_are_followed_only_where_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    (tmp_path / "link").symlink_to("a")
    assert read(tmp_path / "link", 9) == b"text"
    with pytest.raises(ChibiError, match="cannot read"):
        open_file(tmp_path / "link", links=False)


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with whole_folder(out) as folder:
        (folder / "a").touch()
        assert not out.exists()
    assert names(out) == ["a"]
    assert names(out.parent) == ["out"]


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "out") as folder:
        (folder / "a").touch()
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_an_empty_folder_or_a_link_to_one_is_filled(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    check_new_folder(tmp_path / "link")
    with whole_folder(tmp_path / "link") as folder:
        (folder / "a").touch()
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "real") == ["a"]


def test_the_current_folder_is_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_new_folder(Path())
    with whole_folder(Path()) as folder:
        (folder / "a").touch()
    assert names(tmp_path) == ["a"]


def test_what_a_kill_left_is_removed_but_not_what_is_at_work(tmp_path: Path) -> None:
    out = tmp_path / "out"
    killed = tmp_path / ".out.0.part"
    killed.mkdir()
    with whole_folder(out) as first:
        with whole_folder(out) as second:
            (second / "b").touch()
            assert first.exists()
            assert not killed.exists()
        (out / "b").rename(first / "b")
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("where", ["file", "file/a", "dangling", "full", "x" * 300])
def test_a_place_where_no_folder_can_be_is_said_beforehand(
    tmp_path: Path, where: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(ChibiError):
        check_new_folder(tmp_path / where)


def test_a_place_that_is_not_ones_own_is_said_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(ChibiError, match="not yours"):
        check_new_folder(tmp_path / "new")


def test_a_lock_keeps_others_out_until_it_is_released(tmp_path: Path) -> None:
    release = hold(tmp_path)
    with pytest.raises(BlockingIOError):
        hold(tmp_path)
    release()
    hold(tmp_path)()


def test_a_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert place("~/a") == Path("/home/me/a")
    for text in ("", "~nosuchuser/a", "a\0b"):
        with pytest.raises(ChibiError):
            place(text)


def test_what_strangers_wrote_is_shown_without_codes() -> None:
    assert printable("ä b.png") == "ä b.png"
    assert printable("\x1b[31mred\n") == r"\x1b[31mred\n"
    assert printable(os.fsdecode(b"latin-\xe9")) == r"latin-\udce9"


def test_a_name_that_cannot_be_written_down_is_refused() -> None:
    with pytest.raises(ChibiError, match="rename it"):
        place(os.fsdecode(b"latin-\xe9"))


def test_a_folder_is_refused_before_it_is_filled(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "gone").symlink_to("nowhere")
    for out in ("file", "gone", "file/a", "gone/a", "b" * 300):
        with pytest.raises(ChibiError), whole_folder(tmp_path / out):
            pytest.fail("nothing can be filled here")
    assert names(tmp_path) == ["file", "gone"]


@pytest.mark.parametrize("name", ["a", "a[1]", "*", "ä" * 127])
def test_what_a_kill_left_is_told_by_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / ".b.0.part").mkdir()
    with whole_folder(tmp_path / name) as beside:
        killed = beside.with_name(f"{beside.name[:-8]}0.part")
    killed.mkdir()
    (tmp_path / name).rmdir()
    with whole_folder(tmp_path / name):
        assert not killed.exists()
    assert names(tmp_path) == sorted([".b.0.part", name])


def test_without_locks_nothing_is_taken_for_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def refused(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refused)
    (tmp_path / ".out.0.part").mkdir()
    with whole_folder(tmp_path / "out"):
        pass
    assert names(tmp_path) == [".out.0.part", "out"]
