"""./run after the set-up: prepare the instance, start web and workers, keep them alive, stop them together.

Needs the standard library alone, so that options are read before anything is installed. What it starts does
the rest: `config.prepare` (database, assets, demo, sign-ins), gunicorn, and two Celery workers.
"""

import argparse
import contextlib
import ctypes
import fcntl
import hashlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
HOST, FIRST_PORT, PORTS_TRIED = "127.0.0.1", 8000, 100
PATIENCE_S = 15  # a child that was asked to end has this long before it is killed
STEADY_S = 60  # a child that lived this long may fail again from the start
STARTS_OF_WEB = (
    4  # so often in a row before anybody was answered: something is wrong that a further start will not mend
)
LOG_LIMIT = 20 * 1024**2
NEEDED = ("keys/secret", "keys/vault.key", "keys/signing.key", "static")
FILES_AT_A_TIME = str(min(os.cpu_count() or 2, 4))
WORKERS = {  # name: queues, then celery's options
    "worker-media": ["default,media", "-c", FILES_AT_A_TIME],
    "worker-analyse": ["analyse", "-c", "1"],  # one model process takes all cores that it needs
}
PR_SET_PDEATHSIG = 1


class Trouble(Exception):
    """Something that the person at the terminal can mend; its text says how."""


def main() -> int:
    options = read_options()
    if options.options:
        return 0
    os.umask(0o077)
    data = Path(options.data or os.environ.get("AMPARO_DATA") or ROOT / "instance").absolute()
    os.chdir(ROOT)
    try:
        lock = claim(data)
        listener = listen(options.port)
        Amparo(data, listener, lock).serve()
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 1
    return 0


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./run", description="Start Amparo on this machine. Ctrl-C stops it."
    )
    parser.add_argument(
        "--port",
        type=port_number,
        metavar="N",
        help="exactly this port (otherwise 8000, or the next free one)",
    )
    parser.add_argument(
        "--data", metavar="DIR", help="instance folder (otherwise AMPARO_DATA, or ./instance)"
    )
    parser.add_argument(
        "--options", action="store_true", help=argparse.SUPPRESS
    )  # only read them: ./run asks first
    return parser.parse_args()


def port_number(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (1 to 65535)")
    return int(text)


def claim(data: Path) -> IO[str]:
    """Make the instance folder private and hold its lock as long as this process lives."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    data.chmod(0o700)
    lock = (data / "run.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        raise Trouble(
            f"Amparo already serves this instance folder: {lock.read().strip() or data}\n"
            "Open that address, stop it with Ctrl-C where it runs, or name another folder with --data DIR."
        ) from None
    return lock


def listen(wanted: int | None) -> socket.socket:
    """Take the port now, so that nobody else can between the choice and the start of the web server."""
    for port in [wanted] if wanted else range(FIRST_PORT, FIRST_PORT + PORTS_TRIED):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            listener.close()
            reason = error.strerror
            continue
        listener.listen(256)
        listener.set_inheritable(True)
        return listener
    where = f"Port {wanted}" if wanted else f"Each port from {FIRST_PORT} to {FIRST_PORT + PORTS_TRIED - 1}"
    raise Trouble(f"{where} cannot be used ({reason}). Name a free one with --port N.")


class Child:
    """One process that is to live as long as Amparo does. A new one replaces it, later each time in a row."""

    def __init__(
        self, name: str, command: list[str], *, log: Path, env: dict[str, str], fds: tuple[int, ...] = ()
    ):
        self.name, self.command, self.log, self.env, self.fds = name, command, log, env, fds
        self.process: subprocess.Popen[bytes] | None = None
        self.started = self.due = 0.0
        self.failures = 0

    def start(self) -> None:
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.env,
                pass_fds=self.fds,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        self.started = time.monotonic()

    def look(self) -> str:
        """Start it when its pause is over. Returns a sentence when it has just ended by itself."""
        if self.process is None:
            if time.monotonic() >= self.due:
                self.start()
            return ""
        if self.lives():
            return ""
        status = self.process.returncode
        self.end()
        self.failures = self.failures + 1 if time.monotonic() - self.started < STEADY_S else 1
        pause = min(2 ** (self.failures - 1), 30)
        self.due = time.monotonic() + pause
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return f"{self.name} ended ({how}) and starts again in {pause} s. Its output: {self.log}"

    def lives(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        if self.process is not None and self.lives():
            self.process.send_signal(number)

    def end(self) -> None:
        """Kill what is left of it and of all that it started, and reap it."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):  # nothing is left
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def end_with_parent() -> None:
    """Linux: a child gets SIGTERM when this process dies, even by SIGKILL."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Amparo:
    """One instance folder, one port, and the processes that serve them."""

    def __init__(self, data: Path, listener: socket.socket, lock: IO[str]) -> None:
        self.data, self.listener, self.lock = data, listener, lock
        self.port = listener.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}/"
        self.env = os.environ | {"AMPARO_DATA": str(data), "PYTHONUNBUFFERED": "1"}
        self.stopping = self.reached = self.ready = False
        self.next_look = 0.0
        self.children = [self.web(), *self.workers()]
        self.greeter: subprocess.Popen[str] | None = None

    def serve(self) -> None:
        """Until somebody asks to stop. Raises Trouble when instance or web server cannot be started."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.ask_to_stop)
        self.lock.truncate(0)
        self.lock.write(f"{self.url} (process {os.getpid()}, folder {self.data})")
        self.lock.flush()
        try:
            self.prepare()
            while not self.stopping:
                for child in self.children if self.reached else self.children[:1]:
                    if sentence := child.look():
                        say(sentence)
                self.greet()
                time.sleep(0.05)
        finally:
            self.stop()

    def ask_to_stop(self, _number: int, _frame: object) -> None:
        if self.stopping:  # asked twice: do not wait for anybody
            for child in self.children:
                child.signal(signal.SIGKILL)
        self.stopping = True

    def web(self) -> Child:
        """gunicorn on the port that this process holds: requests wait in its queue while web starts again."""
        command = ["gunicorn", "-c", "python:config.serve", "--bind", f"fd://{self.listener.fileno()}"]
        return self.child("web", command, fds=(self.listener.fileno(),))

    def workers(self) -> list[Child]:
        """Two Celery workers, so that a model that leaks or dies of memory takes no other work down."""
        rest = ["--loglevel", "WARNING", "--without-gossip", "--without-mingle"]
        return [
            self.child(
                name, ["celery", "-A", "config", "worker", "-n", f"{name}@%h", "-Q", queues, *more, *rest]
            )
            for name, (queues, *more) in WORKERS.items()
        ]

    def child(self, name: str, command: list[str], fds: tuple[int, ...] = ()) -> Child:
        log = self.data / "logs" / f"{name}.log"
        return Child(name, [sys.executable, "-m", *command], log=log, env=self.env, fds=fds)

    def prepare(self) -> None:
        """Keys, database and assets: only when they, or the program, differ from the last time."""
        done, now = self.data / "prepared", self.fingerprint()
        missing = [name for name in NEEDED if not (self.data / name).exists()]
        if "DATABASE_URL" not in self.env and not (self.data / "db.sqlite3").exists():
            missing.append("db.sqlite3")
        if missing or not done.exists() or done.read_text() != now:
            say("Preparing the instance folder (keys, database, assets)")
            if self.step("instance").wait() and not self.stopping:
                raise Trouble(
                    f"That did not work (see above), so nothing was started. Instance folder: {self.data}"
                )
            done.write_text(now)

    def fingerprint(self) -> str:
        """What the prepared state is made from: code, assets, translations, the addresses of database and weights."""
        given = [self.env.get(name, "") for name in ("DATABASE_URL", "MODEL_MIRROR", "AMPARO_TEXT_LANGUAGES")]
        digest = hashlib.sha256("\0".join(given).encode())
        sources = [ROOT / "requirements.txt", *ROOT.glob("*/migrations/*.py"), *ROOT.glob("config/*.py")]
        sources += [path for path in ROOT.glob("static/**/*") if path.is_file()]
        sources += ROOT.glob("locale/**/*.po")
        for path in sorted(sources):
            state = path.stat()
            digest.update(f"{path}\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
        return digest.hexdigest()

    def step(self, name: str, *arguments: str, stdout: int | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "config.prepare", name, *arguments]
        return subprocess.Popen(command, env=self.env, stdout=stdout, text=True, preexec_fn=end_with_parent)

    def greet(self) -> None:
        """Once the web server answers, start the rest and say where to go; later say when all is ready."""
        if not self.reached:
            self.reached = self.health() is not None
            if self.reached:
                self.meet()
            elif self.children[0].failures >= STARTS_OF_WEB:
                tail = self.children[0].log.read_text(errors="replace").splitlines()[-15:]
                raise Trouble("\n".join(["The web server does not start. The end of its output:", *tail]))
        elif self.greeter:
            if self.greeter.poll() is None:
                return
            words, failed, self.greeter = self.greeter.communicate()[0], self.greeter.returncode, None
            if failed and not self.stopping:
                raise Trouble("The demo or the sign-ins could not be prepared (see above).")
            print(words, flush=True)
            (self.data / "met").touch()
        elif not self.ready and time.monotonic() > self.next_look:
            self.next_look = time.monotonic() + 0.5
            self.ready = self.health() == 200
            if self.ready:
                say("  Web, workers and database work. Ctrl-C stops them.")

    def meet(self) -> None:
        """The first time, demo and sign-ins are made; after that nothing is, and only the address is said."""
        if not (self.data / "met").exists():
            say("Loading the demo")
            self.greeter = self.step("welcome", self.url, stdout=subprocess.PIPE)
            return
        kept, inside = (
            self.data / "sign-ins.txt",
            "" if self.data == ROOT / "instance" else f"--data {self.data} ",
        )
        print(f"\n  Amparo     {self.url}")
        if kept.exists():
            print(f"  Sign-ins   {kept}")
        print(f"             ./manage {inside}signin_link  makes a new one-time link", flush=True)

    def health(self) -> int | None:
        """The status of /healthz, or None while nothing answers."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=2)
        try:
            connection.request("GET", "/healthz", headers={"X-Forwarded-Proto": "https"})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def stop(self) -> None:
        """Ask all to end, wait, kill what is left. A kill loses nothing confirmed: the next start goes on."""
        say("Stopping")
        self.listener.close()
        for child in self.children:
            child.signal(signal.SIGTERM)
        if self.greeter:
            self.greeter.terminate()
            self.greeter.wait()
        limit = time.monotonic() + PATIENCE_S
        while time.monotonic() < limit and any(child.lives() for child in self.children):
            time.sleep(0.05)
        for child in self.children:
            child.end()
        say("Stopped")


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
