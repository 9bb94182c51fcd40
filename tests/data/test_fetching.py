"""Official archives are fetched whole and verified, from a server of this machine here, or refused in one sentence."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
from data_files import cifar10_python, load, pack

from neurosim_ep.cli import main
from neurosim_ep.data import fetching
from neurosim_ep.data.sources.base import Download
from neurosim_ep.data.sources.cifar import Cifar10, Cifar100

NAME = "cifar-10-python.tar.gz"
PART = f".{NAME}.part"


@dataclass
class Server:
    """Sends ``content`` under any path; ``asked``: the ranges it was asked for."""

    content: bytes
    address: str = ""
    status: int = 200
    sends: int | None = None  # bytes after which it hangs up
    ranges: bool = True
    says_length: bool = True
    asked: list[str | None] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers["Range"]
        self.asked.append(wanted)
        if self.status != 200:
            request.send_error(self.status)
            return
        begin = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        body = self.content[begin:]
        request.send_response(206 if begin else 200)
        if self.says_length:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: self.sends])


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of a small CIFAR-10, which counts as the official one."""
    pack(cifar10_python(tmp_path / "made"), tmp_path / "made" / NAME)
    told = Server((tmp_path / "made" / NAME).read_bytes())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.answer(self)

        def log_message(self, *said: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        told.address = f"http://127.0.0.1:{running.server_port}/{NAME}"
        digest = hashlib.sha256(told.content).hexdigest()
        monkeypatch.setattr(Cifar10, "download", Download("PAGE", told.address, len(told.content), digest))
        monkeypatch.setattr(fetching, "PART", 1000)
        yield told
        running.shutdown()


Told = tuple[int, str, str]
Ask = Callable[..., Told]


@pytest.fixture
def ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """`neurosim-ep data cifar10 --to here`: exit code, stdout and stderr."""

    def data(*more: str) -> Told:
        code = main(["data", "cifar10", "--to", str(tmp_path / "here"), *more])
        return code, *capsys.readouterr()

    return data


def test_an_archive_is_fetched_verified_and_read(server: Server, ask: Ask, tmp_path: Path) -> None:
    code, out, err = ask()
    here = tmp_path / "here"
    assert code == 0 and list(here.iterdir()) == [here / NAME]
    assert err.splitlines()[0] == f"{NAME} ({len(server.content) / 1000:.0f} kB) from {server.address}"
    assert err.splitlines()[1:] == [f"{NAME}: {percent} %" for percent in range(10, 101, 10)]
    assert out.splitlines()[0] == str(here / NAME)
    assert f"--set data.kind=cifar10 --set data.root={here}\n" in out
    assert f"export NEUROSIM_EP_DATA={here}\n" in out
    assert load("cifar10", here).num_classes == 10
    assert ask()[0] == 0 and len(server.asked) == 1  # it is there


def test_what_was_cut_off_goes_on_from_there(server: Server, ask: Ask, tmp_path: Path) -> None:
    server.sends = 5000
    code, out, err = ask()
    assert code == 2 and not out
    assert f"stopped after 5,000 of {len(server.content):,} bytes" in err and "goes on from there" in err
    assert (tmp_path / "here" / PART).read_bytes() == server.content[:5000]
    server.sends = None
    assert ask()[0] == 0
    assert server.asked == [None, "bytes=5000-"]
    assert (tmp_path / "here" / NAME).read_bytes() == server.content


def test_a_server_without_ranges_begins_anew(server: Server, ask: Ask, tmp_path: Path) -> None:
    server.sends, server.says_length = 5000, False
    assert ask()[0] == 2
    server.sends, server.ranges = None, False
    assert ask()[0] == 0
    assert (tmp_path / "here" / NAME).read_bytes() == server.content


@pytest.mark.parametrize("says_length", [True, False])
@pytest.mark.parametrize("bad", [lambda good: good[:-1] + b"x", lambda good: good + b"x", lambda good: b"log in first"])
def test_something_else_is_not_kept(
    server: Server, ask: Ask, tmp_path: Path, bad: Callable[[bytes], bytes], says_length: bool
) -> None:
    server.content, server.says_length = bad(server.content), says_length
    code, out, err = ask()
    assert code == 2 and not out
    if len(server.content) > 100 or says_length:
        assert "sends something else than" in err and "browser" in err and "--from FILE" in err
        assert not (tmp_path / "here").exists()
    else:
        assert "stopped after 12 of" in err


def test_a_part_that_is_of_something_else_is_fetched_anew(server: Server, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / PART).write_bytes(b"x" * 5000)
    code, _, err = ask()
    assert code == 2 and "sends something else" in err and not any((tmp_path / "here").iterdir())
    (tmp_path / "here" / PART).write_bytes(b"x" * (len(server.content) + 1))
    assert ask()[0] == 0


def test_an_address_that_is_gone(server: Server, ask: Ask, tmp_path: Path) -> None:
    server.status = 404
    code, out, err = ask()
    assert code == 2 and not out and "answers 404 Not Found; try later, or get" in err
    assert not (tmp_path / "here").exists()


def test_without_a_network(server: Server, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cifar10, "download", Cifar10.download._replace(address=f"http://127.0.0.1:1/{NAME}"))
    code, out, err = ask()
    assert code == 2 and not out and "cannot be reached (Connection refused); where there is a network, get" in err
    assert len(err.splitlines()) == 2 and not (tmp_path / "here").exists()


def test_a_full_disk(server: Server, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
        code, _, err = ask()
    assert code == 2 and "has room for 1.00 kB" in err and "make room" in err and not server.asked
    full = Path("/dev/full")
    if full.exists():  # a disk that fills up halfway
        (tmp_path / "here").mkdir()
        (tmp_path / "here" / PART).symlink_to(full)
        code, _, err = ask()
        assert code == 2 and f"{PART}: {os.strerror(errno.ENOSPC)}; make room on the disk" in err
        assert not (tmp_path / "here" / NAME).exists()


def test_an_archive_that_is_here_already(server: Server, ask: Ask, tmp_path: Path) -> None:
    given = tmp_path / "made" / NAME
    assert ask("--from", str(given))[0] == 0
    assert (tmp_path / "here" / NAME).read_bytes() == given.read_bytes() == server.content and not server.asked
    assert ask("--from", str(tmp_path / "here" / NAME))[0] == 0


def test_a_given_file_must_be_the_archive(server: Server, ask: Ask, tmp_path: Path) -> None:
    code, _, err = ask("--from", str(tmp_path / "no"))
    assert code == 2 and f"--from {tmp_path / 'no'}: no such file; it must be {NAME}" in err
    (tmp_path / "other").write_bytes(server.content[:-1] + b"x")
    code, _, err = ask("--from", str(tmp_path / "other"))
    assert code == 2 and f"is not {NAME} as PAGE has it" in err and not (tmp_path / "here").exists()


def test_nothing_is_overwritten(server: Server, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / NAME).write_text("mine")
    code, _, err = ask()
    assert code == 2 and "move it away" in err and (tmp_path / "here" / NAME).read_text() == "mine"
    (tmp_path / "file").write_text("")
    assert main(["data", "cifar10", "--to", str(tmp_path / "file")]) == 2


def test_official_archives_are_those_that_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert fetching.official() == {"cifar10": Cifar10.download, "cifar100": Cifar100.download}
    assert (Cifar10.download.name, Cifar100.download.name) == (NAME, "cifar-100-python.tar.gz")
    assert main(["data", "cifar11", "--to", "x"]) == 2
    assert "nobody offers these for fetching; did you mean cifar10?" in capsys.readouterr().err
