"""HTTP: POST <prefix>/add-checkpoint and GET <prefix>/<SHA-256 of the origin, hex>/checkpoint."""

import contextlib
import hashlib
import logging
import re
import socket
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from witness.note import SIZE, Malformed, digest, parse
from witness.store import Conflict, Refused, Store

MAX_BODY = 524_288
MAX_PROOF = 63
MAX_CONNECTIONS = 64
IDLE_S = 20
DEADLINE_S = 60  # for a whole connection: who sends a byte now and then is never idle
TEXT = "text/plain; charset=utf-8"
_OLD = re.compile(f"old ({SIZE})", re.A)
log = logging.getLogger("witness")


def read_request(body: bytes) -> tuple[int, list[bytes], bytes]:
    """Old size, proof and checkpoint of an add-checkpoint request. Raises Malformed."""
    head, separator, checkpoint = body.partition(b"\n\n")
    try:
        first, *proof = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise Malformed("the lines before the checkpoint are not ASCII") from None
    old = _OLD.fullmatch(first)
    if not separator or not old or int(old[1]) >= 2**63:
        raise Malformed("the body is 'old SIZE', the proof, an empty line and the checkpoint")
    if len(proof) > MAX_PROOF:
        raise Malformed(f"a proof has at most {MAX_PROOF} hashes")
    return int(old[1]), [digest(line) for line in proof], checkpoint


class Server(ThreadingHTTPServer):
    """Serves one store. More than MAX_CONNECTIONS at once are closed unheard."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], store: Store, prefix: str = "") -> None:
        self.store, self.prefix = store, "/" + prefix.strip("/") if prefix.strip("/") else ""
        self.room = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self.room.acquire(blocking=False):
            log.warning("too many connections: one was closed")
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        deadline = threading.Timer(DEADLINE_S, _end, [request])
        deadline.daemon = True
        deadline.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            deadline.cancel()
            self.room.release()


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it may have ended by itself
        connection.shutdown(socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "witness"
    sys_version = ""
    timeout = IDLE_S

    def do_POST(self) -> None:
        body = self.body()
        if body is None:
            return
        if self.path != f"{self.server.prefix}/add-checkpoint":
            self.answer(404, "There is nothing here.\n")
            return
        origin = "?"
        try:
            old, proof, raw = read_request(body)
            checkpoint = parse(raw)
            origin = checkpoint.origin
            lines = self.server.store.witness(old, proof, checkpoint)
        except Malformed as error:
            self.answer(400, f"The request is malformed: {error}.\n")
        except Conflict as error:
            if error.forked:  # kept in the operator's log, as below
                log.warning("%r: 409, another tree of %d leaves %r", origin, error.size, body)
            else:
                log.info("%r: 409, is at %d", origin, error.size)
            self.answer(409, error.sentence, "text/x.tlog.size")
        except Refused as error:
            # A signed checkpoint that does not fit is the proof of a fork: it is kept in the operator's log.
            log.warning(
                "%r: %d %s %r", origin, error.status, error.sentence, body if error.status == 422 else b""
            )
            self.answer(error.status, f"{error.sentence}\n")
        except sqlite3.Error as error:
            log.error("%r: %s", origin, error)
            self.answer(503, "The witness cannot write its state. Nothing was cosigned; try again later.\n")
        else:
            log.info("%r: cosigned %d", origin, checkpoint.size)
            self.answer(200, lines)

    def do_GET(self) -> None:
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # what follows is not read, and must not pass for the next request
        try:
            logs = self.server.store.logs()
        except sqlite3.Error as error:
            log.error("%s", error)
            self.answer(503, "The witness cannot read its state; try again later.\n")
            return
        for known in logs:
            name = hashlib.sha256(known.origin.encode()).hexdigest()
            if self.path == f"{self.server.prefix}/{name}/checkpoint" and known.size is not None:
                self.answer(200, known.note.decode())
                return
        self.answer(404, "There is no such checkpoint.\n")

    def body(self) -> bytes | None:
        """The request's body; None once an error was answered."""
        length, *others = self.headers.get_all("Content-Length", [""])
        if "Transfer-Encoding" in self.headers or others or not re.fullmatch("[0-9]{1,12}", length):
            self.refuse(411, "Say the length of the body in one Content-Length.\n")
        elif int(length) > MAX_BODY:
            self.refuse(413, f"A request has at most {MAX_BODY} bytes.\n")
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                return body
            self.close_connection = True
        return None

    def refuse(self, status: int, sentence: str) -> None:
        """Answer without having read the body, and close once the client has had time to read the answer."""
        self.close_connection = True
        self.answer(status, sentence)
        with contextlib.suppress(OSError):  # the client may be gone already
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(1)
            left = MAX_BODY
            while left > 0 and (piece := self.connection.recv(65_536)):
                left -= len(piece)

    def answer(self, status: int, text: str, kind: str = TEXT) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)
