"""`read_file`: files below the root, and every way out of it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from partsong.contracts.errors import InvalidInput, NotFound, PartsongError
from partsong.tools.builtin.jail import Jail, kernel_keeps_paths
from partsong.tools.builtin.read_file import file_tool, read_file

WAYS = [
    pytest.param(
        True,
        id="kernel",
        marks=pytest.mark.skipif(not kernel_keeps_paths(), reason="no openat2 here"),
    ),
    pytest.param(False, id="steps"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "base"
    (root / "sub").mkdir(parents=True)
    (root / "notes.txt").write_text("one\ntwo\nthree\n")
    (root / "sub" / "deep.txt").write_text("deep\n")
    (tmp_path / "secret.txt").write_text("sesame\n")
    (tmp_path / "baseless").mkdir()
    (tmp_path / "baseless" / "near.txt").write_text("sesame\n")
    return root


@pytest.fixture(params=WAYS)
def jail(root: Path, request: pytest.FixtureRequest) -> Jail:
    return Jail(root, kernel=request.param)


def read(jail: Jail, path: str) -> bytes:
    with jail.open(path) as file:
        return file.read()


def refusal(jail: Jail, path: str) -> PartsongError:
    with pytest.raises(PartsongError) as caught:
        read(jail, path)
    assert "sesame" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("path", "expected"),
    [("notes.txt", b"one"), ("sub/deep.txt", b"deep"), ("./sub/./deep.txt", b"deep")],
)
def test_a_file_below_the_root_is_opened(jail: Jail, path: str, expected: bytes) -> None:
    assert read(jail, path).startswith(expected)


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "sub/../../secret.txt",
        "../baseless/near.txt",
        "../base/notes.txt",
        "/etc/passwd",
        "//etc/passwd",
        "..\\secret.txt",
        "notes.txt\0.png",
        "",
        "a" * 5000,
    ],
)
def test_a_path_that_leads_out_is_refused(jail: Jail, path: str) -> None:
    assert refusal(jail, path).problem.code == "file.outside"


def test_a_link_that_leads_out_is_refused(jail: Jail, root: Path) -> None:
    (root / "file").symlink_to(root.parent / "secret.txt")
    (root / "up").symlink_to("..")
    (root / "proc").symlink_to("/proc/self/root")
    for path in ("file", "up/secret.txt", "proc/etc/passwd"):
        assert refusal(jail, path).problem.code == "file.outside"


def test_links_in_a_circle_are_refused(jail: Jail, root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    assert refusal(jail, "a").problem.code == "file.outside"


@pytest.mark.skipif(not kernel_keeps_paths(), reason="no openat2 here")
def test_a_link_within_the_root_is_followed_by_the_kernel(root: Path) -> None:
    (root / "link.txt").symlink_to("sub/deep.txt")
    assert read(Jail(root, kernel=True), "link.txt") == b"deep\n"
    assert refusal(Jail(root, kernel=False), "link.txt").problem.code == "file.outside"


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".ENV",
        ".env.production",
        "sub/.git/config",
        "server.pem",
        "Server.PEM",
        "id_rsa",
        ".ssh/config",
        "sub/../.env",
    ],
)
def test_what_holds_secrets_is_refused(jail: Jail, root: Path, path: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text("sesame")
    assert refusal(jail, path).problem.code == "file.denied"


def test_a_link_to_what_holds_secrets_is_refused(jail: Jail, root: Path) -> None:
    (root / ".env").write_text("KEY=sesame")
    (root / "harmless.txt").symlink_to(".env")
    assert refusal(jail, "harmless.txt").problem.code in ("file.denied", "file.outside")


def test_a_fifo_is_refused_without_waiting_for_its_writer(jail: Jail, root: Path) -> None:
    os.mkfifo(root / "fifo")
    error = refusal(jail, "fifo")
    assert error.problem.code == "file.not_regular"
    assert "FIFO" in error.problem.message


@pytest.mark.parametrize("path", ["sub", ".", "sub/"])
def test_a_directory_is_refused(jail: Jail, path: str) -> None:
    assert "a directory" in refusal(jail, path).problem.message


def test_a_socket_is_refused(jail: Jail, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("sock")
        assert refusal(jail, "sock").problem.code == "file.not_regular"


@pytest.mark.parametrize("path", ["none.txt", "sub/none.txt", "notes.txt/x", "b" * 300])
def test_a_file_that_is_not_there_is_not_found(jail: Jail, path: str) -> None:
    assert isinstance(refusal(jail, path), NotFound)


def test_a_root_that_is_no_directory_is_said(root: Path) -> None:
    assert refusal(Jail(root / "notes.txt"), "x").problem.code == "file.bad_root"


def test_no_descriptor_is_left_open(jail: Jail, root: Path) -> None:
    os.mkfifo(root / "fifo")
    probe = os.dup(0)
    os.close(probe)
    for path in ("notes.txt", "none", "fifo", "../x", "sub", "sub/none/x"):
        try:
            read(jail, path)
        except PartsongError:
            continue
    again = os.dup(0)
    os.close(again)
    assert again == probe


@pytest.fixture
def swapped(root: Path) -> Iterator[None]:
    """A directory that another thread replaces by a link to the outside, over and over."""
    (root / "out").symlink_to(root.parent)
    (root / "in").mkdir()
    (root / "in" / "secret.txt").write_text("harmless\n")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (root / "in").rename(root / "here")
            (root / "here").rename(root / "in")
            (root / "out").rename(root / "here")
            (root / "here").rename(root / "out")

    thread = threading.Thread(target=swap)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.usefixtures("swapped")
def test_a_race_with_a_link_never_leads_out(jail: Jail) -> None:
    got: set[bytes] = set()
    for _ in range(500):
        try:
            got.add(read(jail, "here/secret.txt"))
        except PartsongError as error:
            got.add(error.problem.code.encode())
    assert b"sesame\n" not in got


# The tool


def test_lines_come_with_their_numbers(root: Path) -> None:
    tool = file_tool(root)
    assert tool("notes.txt") == "[notes.txt: lines 1-3 of 3, utf-8]\none\ntwo\nthree"
    part = tool("notes.txt", first_line=2, lines=1)
    assert part == "[notes.txt: lines 2-2 of 3, utf-8]\ntwo\n[go on with first_line=3]"


def test_bytes_come_with_their_numbers(root: Path) -> None:
    part = file_tool(root)("notes.txt", first_byte=4, length=3)
    assert part == "[notes.txt: bytes 4-6 of 14, utf-8]\ntwo\n[go on with first_byte=7]"


def test_an_empty_file_has_no_lines(root: Path) -> None:
    (root / "empty").touch()
    assert file_tool(root)("empty") == "[empty: lines 1-0 of 0, utf-8]"


@pytest.mark.parametrize("place", [{"first_line": 4}, {"first_byte": 14}])
def test_a_place_beyond_the_end_is_refused(root: Path, place: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match=r"file\.past_the_end"):
        file_tool(root)("notes.txt", **place)


def test_fifty_megabytes_are_read_by_bytes_only(root: Path) -> None:
    with (root / "big.log").open("wb") as file:
        file.write(b"begin ")
        file.truncate(50_000_000)
        file.seek(0)
        file.write(b"line\n" * 20_000)
        file.seek(50_000_000 - 5)
        file.write(b"end.\n")
    with pytest.raises(InvalidInput, match="50,000,000 bytes; lines are counted") as caught:
        file_tool(root)("big.log")
    assert "first_byte" in (caught.value.problem.fix or "")
    assert "end." in file_tool(root)("big.log", first_byte=49_999_995)
    with pytest.raises(InvalidInput, match=r"file\.binary"):
        file_tool(root)("big.log", first_byte=25_000_000)


def test_long_lines_and_many_lines_stay_within_what_a_tool_returns(root: Path) -> None:
    (root / "long").write_text("x" * 60_000 + "\nnext\n")
    (root / "many").write_text("word " * 10 + "\n" + ("y" * 999 + "\n") * 400)
    long, many = file_tool(root)("long"), file_tool(root)("many")
    assert "[cut: 60,000 characters]" in long
    assert long.endswith("[go on with first_line=2]")
    assert max(len(long), len(many)) < read_file.output_cap
    assert many.endswith("[go on with first_line=21]")


@pytest.mark.parametrize("data", [b"\x7fELF\x02\x01\0\0", b"PK\x03\x04\x14\0", b"a" * 99 + b"\0"])
def test_binary_is_refused(root: Path, data: bytes) -> None:
    (root / "data").write_bytes(data)
    with pytest.raises(InvalidInput, match=r"file\.binary"):
        file_tool(root)("data")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_other_encodings_are_recognised(root: Path, encoding: str) -> None:
    (root / "text").write_bytes("Grüße\r\nan alle".encode(encoding))
    found = file_tool(root)("text")
    assert found == f"[text: lines 1-2 of 2, {encoding}]\nGrüße\nan alle"


def test_bytes_of_a_wide_encoding_are_refused(root: Path) -> None:
    (root / "wide").write_text("hello", "utf-16")
    with pytest.raises(InvalidInput, match="by lines"):
        file_tool(root)("wide", first_byte=2)


def test_the_built_in_tool_reads_nothing_until_a_root_is_set(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PARTSONG_FILES_ROOT", raising=False)
    with pytest.raises(InvalidInput, match="PARTSONG_FILES_ROOT="):
        read_file("notes.txt")
    monkeypatch.setenv("PARTSONG_FILES_ROOT", str(root))
    assert "two" in read_file("notes.txt")


def test_it_only_reads() -> None:
    assert (read_file.side_effect, read_file.guarded) == ("read", False)
    with pytest.raises(InvalidInput, match=r"args\.lines"):
        read_file.bind({"path": "x", "lines": 0})
