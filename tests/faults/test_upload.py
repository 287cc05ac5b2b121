"""Killed at each durable step of an upload, the web process loses no confirmed byte and doubles nothing."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from tests import cast
from tests.home import ROOT

pytestmark = [pytest.mark.fault, pytest.mark.timeout(400)]
SOUND, WEB = "tests.faults.sound", "tests.faults.web_upload"


@pytest.fixture(scope="module")
def with_person(prepared, tmp_path_factory):
    home = prepared.fresh(tmp_path_factory.mktemp("web") / "home")
    assert home.call(WEB, "prepare").answer == "W1"
    yield home
    home.drop()


@pytest.mark.parametrize(
    ("piece", "direct", "at_most"), [("100000", "100000", 6), ("900", "100", 8)], ids=["whole", "pieces"]
)
def test_an_upload_survives_a_kill_before_each_durable_step(
    with_person, photo, tmp_path, piece, direct, at_most
):
    """A browser whose server dies goes on where it stood: one item, one acquisition, nothing left lying about."""
    whole = with_person.fresh(tmp_path / "whole")
    ended = whole.call(WEB, "upload", photo, piece, direct, count=True)
    assert ended.answer == {"item": "W1/0001"}, ended.out
    assert len(photo.read_bytes()) > 2 * 900, "it comes in pieces"
    steps = len(ended.steps)
    whole.drop()
    chosen = sorted({*range(1, steps + 1, max(1, -(-steps // at_most))), steps})
    assert len(chosen) >= 5
    for step in chosen:
        home = with_person.fresh(tmp_path / f"home{step}")
        killed = home.call(WEB, "upload", photo, piece, direct, kill_before=step)
        assert killed.killed, killed.out
        again = home.call(WEB, "upload", photo, piece, direct)
        assert again.answer == {"item": "W1/0001"}, f"step {step} of {steps}: {ended.steps[step - 1]}"
        left = home.call(WEB, "tidy").answer
        assert left["left"] == []
        assert left["unfinished"] <= 1, "at most the announcement whose answer never came"
        home.call("archive.vault", "clean")
        found = home.call(SOUND, "facts").answer
        assert found["faults"] == [] and found["parts"] == 0
        assert (found["items"], found["stored"], found["acquisitions"]) == (1, 1, 1)
        home.drop()


def test_gunicorn_killed_in_the_middle_of_a_request_keeps_what_it_confirmed(with_person, tmp_path):
    """SIGKILL to the real server, while it receives a piece."""
    home = with_person.fresh(tmp_path / "home")
    data = cast.jpeg(400, 300, seed=9) * 200
    file = tmp_path / "large.jpg"
    file.write_bytes(data)
    server = Server(home)
    try:
        url = server.announce(len(data))
        assert server.send(url, data[:50_000], 0) == 50_000
        broken = server.open_request(url, at=50_000, length=len(data) - 50_000)
        broken.sendall(data[50_000:200_000])
        time.sleep(0.3)
        server.kill()
        broken.close()
        server = Server(home)
        at = server.offset(url)
        assert at >= 50_000, "confirmed bytes were lost"
        assert server.send(url, data[at:], at) == len(data)
    finally:
        server.kill()
    home.call("archive.vault", "clean")
    found = home.call(SOUND, "facts").answer
    assert found["faults"] == [] and (found["items"], found["stored"], found["acquisitions"]) == (1, 1, 1)
    assert home.call(WEB, "tidy").answer["left"] == []
    home.drop()


class Server:
    """gunicorn as ./run starts it, on a free port."""

    def __init__(self, home) -> None:
        self.cookie = "amparo_session=" + (home.folder / "cookie").read_text()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        environment = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "CELERY_BROKER_URL")}
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "-c",
            "python:config.serve",
            "--bind",
            f"127.0.0.1:{self.port}",
        ]
        with (home.folder / "web.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment | home.env, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                break
            except OSError:
                assert self.process.poll() is None and time.monotonic() < end, (
                    home.folder / "web.log"
                ).read_text()
                time.sleep(0.1)
        self.token = secrets.token_hex(16)

    def ask(self, method: str, path: str, data: bytes | None = None, **headers: str):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, method=method)
        for name, value in {"Cookie": self.cookie, **headers}.items():
            request.add_header(name.replace("_", "-"), value)
        return urllib.request.urlopen(request, timeout=60)

    def _signed(self) -> dict[str, str]:
        cookie = f"{self.cookie}; csrftoken={self.token}"
        return {"Cookie": cookie, "X_CSRFToken": self.token, "Tus_Resumable": "1.0.0"}

    def announce(self, length: int) -> str:
        told = {"Upload_Length": str(length), "Upload_Metadata": "filename bGFyZ2UuanBn"}
        return self.ask("POST", "/cases/W1/add/files/", b"", **self._signed(), **told).headers["Location"]

    def send(self, url: str, data: bytes, at: int) -> int:
        told = {"Upload_Offset": str(at), "Content_Type": "application/offset+octet-stream"}
        return int(self.ask("PATCH", url, data, **self._signed(), **told).headers["Upload-Offset"])

    def offset(self, url: str) -> int:
        return int(self.ask("HEAD", url, **self._signed()).headers["Upload-Offset"])

    def open_request(self, url: str, *, at: int, length: int) -> socket.socket:
        told = self._signed() | {
            "Host": f"127.0.0.1:{self.port}",
            "Upload_Offset": str(at),
            "Content_Type": "application/offset+octet-stream",
            "Content_Length": str(length),
        }
        lines = [
            f"PATCH {url} HTTP/1.1",
            *(f"{name.replace('_', '-')}: {value}" for name, value in told.items()),
        ]
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return connection

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
