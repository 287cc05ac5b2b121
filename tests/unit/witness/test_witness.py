"""The witness as another organisation runs it: a process of its own, spoken to over HTTP as C2SP tlog-witness says."""

import ast
import contextlib
import hashlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from base64 import b64decode, b64encode
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from archive.custody.notes import ED25519, VerifierKey, parse_note
from tests.outside import RunningWitness
from witness import merkle
from witness.note import Key, parse
from witness.server import read_request
from witness.store import Refused, Store, Unusable

ROOT = Path(__file__).parents[3]
LOG = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
ORIGIN = "archive.example/log"
KEY = VerifierKey(ORIGIN, ED25519, LOG.public_key().public_bytes_raw())
PUBLISHED = json.loads((ROOT / "tests" / "vectors" / "merkle" / "consistency.json").read_text())
pytestmark = pytest.mark.embedded


class Tree:
    """A small log whose leaves are what the test says, with proofs by the definition (RFC 6962, 2.1)."""

    def __init__(self, *leaves: bytes):
        self.leaves = [hashlib.sha256(b"\0" + leaf).digest() for leaf in leaves]

    def root(self, start=0, end=None):
        end = len(self.leaves) if end is None else end
        if end - start == 1:
            return self.leaves[start]
        if end == start:
            return merkle.EMPTY
        split = start + (1 << (end - start - 1).bit_length() - 1)
        return merkle.node(self.root(start, split), self.root(split, end))

    def proof(self, old, new, start=0, whole=True):
        if old == new:
            return [] if whole else [self.root(start, start + new)]
        split = 1 << (new - 1).bit_length() - 1
        if old <= split:
            return [*self.proof(old, split, start, whole), self.root(start + split, start + new)]
        return [*self.proof(old - split, new - split, start + split, False), self.root(start, start + split)]

    def note(self, size, key=LOG, origin=ORIGIN):
        text = f"{origin}\n{size}\n{b64encode(self.root(0, size)).decode()}\n"
        vkey = VerifierKey(origin, ED25519, key.public_key().public_bytes_raw())
        return f"{text}\n{vkey.line(key.sign(text.encode()))}"

    def request(self, old, size, proof=None, **how):
        hashes = proof if proof is not None else self.proof(old, size) if old else []
        lines = "".join(f"{b64encode(h).decode()}\n" for h in hashes)
        return f"old {old}\n{lines}\n{self.note(size, **how)}"


TREE = Tree(*(bytes([i]) for i in range(40)))
FORK = Tree(*(bytes([i]) for i in range(9)), *(bytes([200 + i]) for i in range(31)))


@pytest.fixture
def folder(tmp_path):
    store = Store.create(tmp_path / "w", "witness.example/w1")
    store.add_log(ORIGIN, (_theirs(KEY),))
    return tmp_path / "w"


@pytest.fixture
def running(folder):
    witness = RunningWitness(folder)
    yield witness
    witness.stop()


def _theirs(key):
    return Key.parse(str(key))


def cosigned(folder):
    return Store(folder).log(ORIGIN).size


def test_it_cosigns_what_continues_and_refuses_the_rest_as_the_protocol_says(folder, running):
    keys = [VerifierKey.parse(str(key)) for key in Store(folder).keys()]
    assert [key.type for key in keys] == [4, 6]
    path = f"/{hashlib.sha256(ORIGIN.encode()).hexdigest()}/checkpoint"
    assert running.status(None, "GET", path) == 404
    # 200: first sight, then a continuation, then the same again
    for old, size in [(0, 9), (9, 30), (30, 30)]:
        status, lines, _ = running.ask(TREE.request(old, size))
        assert status == 200
        for key in keys:
            assert abs(key.verify(parse_note(TREE.note(size) + lines)) - time.time()) < 20
    # 409: any other old size, and what it says is the size
    for old, size in [(0, 30), (9, 30), (30 - 1, 31)]:
        assert running.ask(TREE.request(old, size)) == (409, "30\n", "text/x.tlog.size")
    # 404, 403: the log is unknown, the signature is another's or altered
    assert running.status(TREE.request(30, 31, origin="other.example")) == 404
    assert running.status(TREE.request(30, 31, key=OTHER)) == 403
    assert running.status(TREE.request(30, 31).replace("\n31\n", "\n32\n")) == 403
    # 409: the same size with another root
    assert running.ask(FORK.request(30, 30)) == (409, "30\n", "text/x.tlog.size")
    # 422: forks, wrong proofs
    assert running.status(FORK.request(30, 31)) == 422
    assert running.status(TREE.request(30, 31, proof=[])) == 422
    assert running.status(TREE.request(30, 31, proof=[*TREE.proof(30, 31), b"x" * 32])) == 422
    assert running.status(TREE.request(30, 30, proof=[b"x" * 32])) == 422
    # 400: an older checkpoint than the old size, and what is malformed
    good = TREE.request(30, 31)
    assert running.status(TREE.request(30, 29, proof=[])) == 400
    for bad in (
        b"",
        good.replace("old 30", "old 030"),
        good.replace("old 30", "old -1"),
        good.replace("old 30", "old 30 "),
        good.replace("old 30\n", f"old {2**63}\n"),
        good.replace("old 30\n", "old 30\nAAAA\n"),
        good.replace("old 30\n", "old 30\n" + f"{b64encode(b'x' * 32).decode()}\n" * 60),
        good.replace("\n\n", "\n", 1),
        good.replace("\n31\n", "\n031\n"),
        good.rstrip("\n"),
        good.replace("\N{EM DASH}", "-"),
        good.encode() + b"\xff",
    ):
        assert running.status(bad) == 400, bad
    # bounded
    assert running.status(b"", headers={"Content-Length": "9999999"}) == 413
    assert running.status(iter([b"x"])) == 411
    assert running.status(good, path="/elsewhere") == 404
    # nothing of that moved it; what it signed last can be had
    assert cosigned(folder) == 30
    _, note, _ = running.ask(None, "GET", path)
    assert note.startswith(TREE.note(30)) and [key.verify(parse_note(note)) for key in keys]


def test_it_answers_as_another_implementations_witness_does(tmp_path):
    """The published exchanges of litewitness, in order."""
    said = json.loads((ROOT / "tests" / "vectors" / "tlog-witness" / "litewitness.json").read_text())
    origin = said["exchanges"][0]["request"].split("\n")[2]
    key = VerifierKey(origin, ED25519, bytes.fromhex(said["log_public_key"]))
    store = Store.create(tmp_path / "w", "example.com/witness")
    store.add_log(origin, (_theirs(key),))
    answers = []
    for exchange in said["exchanges"]:
        try:
            old, proof, note = read_request(exchange["request"].encode())
            lines = store.witness(old, proof, parse(note))
            assert lines.startswith("\N{EM DASH} example.com/witness ")
            answers.append(200)
        except Refused as refused:
            answers.append(refused.status)
    wanted = [404 if origin not in one["request"] else one["status"] for one in said["exchanges"]]
    assert answers == wanted and {200, 403, 404, 409, 422} == set(wanted)


def test_an_empty_log_is_cosigned_only_with_the_empty_root(folder, running):
    assert running.status(TREE.request(0, 0).replace(b64encode(merkle.EMPTY).decode(), "A" * 43 + "=")) == 403
    assert running.status(TREE.request(0, 0)) == 200
    wrong = Tree()
    wrong.root = lambda *_: b"\0" * 32
    assert running.status(wrong.request(0, 0)) == 409
    assert running.status(TREE.request(0, 4, proof=[b"x" * 32])) == 422
    assert running.status(TREE.request(0, 4)) == 200


def test_signatures_of_strangers_beside_the_logs_are_passed_over(running):
    stranger = VerifierKey("stranger.example", ED25519, OTHER.public_key().public_bytes_raw())
    line = stranger.line(b"s" * 64)
    assert running.status(TREE.request(0, 3) + line) == 200
    assert (
        running.status(TREE.request(3, 4) + KEY.line(b"s" * 64)) == 403
    )  # in the log's own name it must hold


def test_what_it_saw_outlives_a_restart_and_a_rolled_back_log_is_refused(folder):
    first = RunningWitness(folder)
    assert first.status(TREE.request(0, 20)) == 200
    first.stop()
    second = RunningWitness(folder)
    try:
        assert second.status(TREE.request(0, 12)) == 409  # last week's backup, which knows of no witness
        assert second.status(TREE.request(12, 14)) == 409
        assert second.status(FORK.request(20, 25)) == 422  # went on from the backup in another way
        assert second.status(TREE.request(20, 25)) == 200
    finally:
        second.stop()


def test_of_two_heads_sent_at_once_one_wins(folder):
    """Two processes on one folder, as behind a load balancer: check and update are one step for both."""
    witnesses = [RunningWitness(folder), RunningWitness(folder)]
    try:
        for old in (0, 10, 14):  # 10 leaves in common are enough to fork the first time
            answers = []
            requests = [TREE.request(old, old + 4), Tree(*FORK_FROM[old]).request(old, old + 4)]
            start = threading.Barrier(2)

            def send(witness, request, start=start, answers=answers):
                start.wait()
                answers.append(witness.status(request))

            threads = [
                threading.Thread(target=send, args=pair) for pair in zip(witnesses, requests, strict=True)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(answers) == [200, 409]
            Store(folder)  # readable meanwhile
            _reset(folder, old)
    finally:
        for witness in witnesses:
            witness.stop()


FORK_FROM = {
    old: [*(bytes([i]) for i in range(old)), *(bytes([100 + i]) for i in range(8))] for old in (0, 10, 14)
}


def _reset(folder, old):
    """Put the witness where the next round begins (10, then 14 leaves of TREE)."""
    import sqlite3

    size = {0: 10, 10: 14}.get(old)
    if size:
        with sqlite3.connect(folder / "witness.sqlite") as database:
            database.execute("UPDATE log SET size=?, root=?", (size, TREE.root(0, size)))


@pytest.mark.fault
@pytest.mark.parametrize(
    ("moment", "patch", "size"),
    [
        (
            "before it is stored",
            "import witness.store as s, os; s.cosign = lambda *a: os.kill(os.getpid(), 9)",
            None,
        ),
        (
            "between storing and answering",
            "import witness.server as s, os; s.Handler.answer = lambda *a: os.kill(os.getpid(), 9)",
            7,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value and "import" not in value else "",
)
def test_killed_it_either_remembers_or_has_not_signed(folder, moment, patch, size):
    dying = RunningWitness(folder, patch)
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        dying.ask(TREE.request(0, 7))
    assert dying.process.wait(10) == -signal.SIGKILL
    dying.process.stdout.close()
    assert cosigned(folder) == size
    again = RunningWitness(folder)
    try:
        assert again.status(FORK.request(0, 30)) == (409 if size else 200)
        if size:  # the log asks again and gets the signature that was lost
            assert again.status(TREE.request(7, 7)) == 200
    finally:
        again.stop()


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", "Content-Length: 0\r\nContent-Length: {}"),
        ("POST", "Transfer-Encoding:\r\nContent-Length: 0"),
        ("GET", "Content-Length: {}"),
    ],
)
def test_no_second_request_hides_in_a_body(running, method, headers):
    """Where a server before it and the witness disagree on where a request ends."""
    hidden = f"GET /{hashlib.sha256(ORIGIN.encode()).hexdigest()}/checkpoint HTTP/1.1\r\n\r\n"
    head = f"{method} /add-checkpoint HTTP/1.1\r\n{headers.format(len(hidden))}\r\n\r\n"
    assert spoken(running, head + hidden).count(b"HTTP/1.1 ") == 1


def test_who_sends_a_byte_now_and_then_holds_no_place_for_ever(folder):
    witness = RunningWitness(folder, "import witness.server as s; s.DEADLINE_S = 1")
    try:
        address = urlsplit(witness.url)
        with socket.create_connection((address.hostname, address.port), timeout=0.1) as slow:
            ended, start = False, time.monotonic()
            while not ended and time.monotonic() < start + 10:
                with contextlib.suppress(TimeoutError):
                    try:
                        slow.sendall(b"G")
                        ended = slow.recv(1) == b""
                    except ConnectionError:
                        ended = True
        assert ended
    finally:
        witness.stop()


def spoken(witness, request: str) -> bytes:
    """All that it answers to raw bytes until it ends the connection."""
    address = urlsplit(witness.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(request.encode())
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_with_a_state_that_is_damaged_it_signs_nothing_and_says_so(folder):
    process = RunningWitness(folder)
    try:
        (folder / "witness.sqlite").write_bytes(b"no database " * 1000)
        assert process.status(TREE.request(0, 9)) == 503
        assert process.status(None, "GET", "/00/checkpoint") == 503
    finally:
        process.stop()


def test_a_clock_that_went_back_signs_nothing(folder):
    now = [1_000_000.0]
    store = Store(folder, clock=lambda: now[0])
    store.witness(0, [], parse(TREE.note(5).encode()))
    now[0] -= 10
    with pytest.raises(Refused, match="clock") as refused:
        store.witness(5, TREE.proof(5, 6), parse(TREE.note(6).encode()))
    assert refused.value.status == 503 and cosigned(folder) == 5


def test_a_log_that_changes_its_key_goes_on_where_it_was(folder):
    store = Store(folder)
    store.witness(0, [], parse(TREE.note(5).encode()))
    new = VerifierKey(ORIGIN, ED25519, OTHER.public_key().public_bytes_raw())
    store.add_log(ORIGIN, (_theirs(new),), replace=True)
    with pytest.raises(Refused):
        store.witness(5, TREE.proof(5, 6), parse(TREE.note(6).encode()))
    store.witness(5, TREE.proof(5, 6), parse(TREE.note(6, key=OTHER).encode()))


def test_the_commands_make_and_show_a_witness(tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "witness", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
        )

    folder = tmp_path / "w"
    made = run("new-key", folder, "witness.example/w2")
    assert [VerifierKey.parse(line).type for line in made.stdout.splitlines()] == [4, 6]
    assert run("new-key", folder, "witness.example/w2").returncode == 2  # keys are never overwritten
    assert "nothing cosigned yet" in run("add-log", folder, KEY).stdout
    shown = run("show", folder).stdout
    assert shown.startswith(made.stdout) and f"log {ORIGIN}" in shown
    assert run("add-log", folder, "nonsense").returncode == 2
    (folder / "ed25519.pem").chmod(0o644)
    refused = run("show", folder)
    assert refused.returncode == 2 and "chmod 600" in refused.stderr


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "x" * 181])
def test_a_name_that_cannot_stand_on_a_signature_line_is_refused(tmp_path, name):
    with pytest.raises(Unusable):
        Store.create(tmp_path / "w", name)


def test_it_needs_python_and_cryptography_alone():
    for path in (ROOT / "witness").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                top = name.split(".")[0]
                assert top in sys.stdlib_module_names or top in ("cryptography", "witness"), (path.name, name)


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: case["file"])
def test_a_published_consistency_proof_is_judged_as_it_should_be(case):
    old, new = case["size1"], case["size2"]
    roots = [b64decode(case[name] or "") for name in ("root1", "root2")]
    proof = [b64decode(line) for line in case["proof"] or []]
    if old == 0 < new:
        # That library proves nothing from an empty tree; tlog-witness says that every tree continues it.
        assert merkle.consistent(old, merkle.EMPTY, new, roots[1], []) and case["wantErr"]
        return
    assert (old <= new and merkle.consistent(old, roots[0], new, roots[1], proof)) is not case["wantErr"]
