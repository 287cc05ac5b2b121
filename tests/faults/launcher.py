"""Runs the product's own commands in processes that can be killed before any durable step. Belongs to the tests.

A durable step is an fsync, a rename, a link, a COMMIT, or a statement that commits by itself: what must be true after
a crash depends on which of them happened. They are counted where Python calls them, so a new step of the product is a
new kill point by itself. SIGKILL keeps the page cache; the recorded order of steps is what power loss is judged by.

This process sets Django up once and forks a child for each request: one JSON object a line on stdin
({"env": {...}, "verb": [...], "kill_before": 3, "out": path, "steps": path}), one on stdout when the child has ended.
"""

import importlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


class Steps:
    """Counts durable steps, writes each down, and kills this process before the one that was asked for."""

    def __init__(self, path: str, kill_before: int | None) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.kill_before, self.count, self.lock = kill_before, 0, threading.Lock()

    def take(self, kind: str, what: str) -> None:
        with self.lock:
            self.count += 1
            if self.count == self.kill_before:
                os.write(self.file, b"KILLED\n")
                os.kill(os.getpid(), signal.SIGKILL)
                threading.Event().wait()
            os.write(self.file, f"{kind} {what}\n".encode(errors="backslashreplace"))

    def watch(self) -> None:
        """Stand in the way of every durable step."""
        real = {name: getattr(os, name) for name in ("fsync", "fdatasync", "rename", "replace", "link")}

        def sync(name: str) -> Callable:
            def step(fd: int) -> None:
                self.take("fsync", os.readlink(f"/proc/self/fd/{fd}"))
                real[name](fd)

            return step

        def place(name: str) -> Callable:
            def step(source, target, **options) -> None:
                self.take("rename", f"{source} {target}")
                real[name](source, target, **options)

            return step

        for name in ("fsync", "fdatasync"):
            setattr(os, name, sync(name))
        for name in ("rename", "replace", "link"):
            setattr(os, name, place(name))

        from django.db.backends.base.base import BaseDatabaseWrapper
        from django.db.backends.utils import CursorWrapper

        commit, execute = BaseDatabaseWrapper._commit, CursorWrapper.execute

        def counted_commit(connection) -> None:
            self.take("commit", "")
            commit(connection)

        def counted_execute(cursor, sql, params=None):
            if not cursor.db.in_atomic_block and sql.lstrip()[:6].upper() in ("INSERT", "UPDATE", "DELETE"):
                self.take("commit", sql.split(" SET ")[0][:60])
            return execute(cursor, sql, params)

        BaseDatabaseWrapper._commit = counted_commit
        CursorWrapper.execute = counted_execute


# --- what a child does --------------------------------------------------------------------------------------------


def prepare() -> None:
    """Keys, folders and tables of a new instance."""
    from django.core.management import call_command

    from config import instance

    instance.create()
    call_command("migrate", interactive=False, verbosity=0)


def manage(*arguments: str) -> None:
    """Any command, without the system checks that the whole suite runs once."""
    from django.core.management import CommandError, call_command

    try:
        call_command(*arguments)
    except CommandError as error:
        print(error)
        sys.exit(error.returncode)


def call(module: str, function: str, *arguments: str) -> None:
    """A function of a test module. What it returns is printed as JSON."""
    answer = getattr(importlib.import_module(module), function)(*arguments)
    print(json.dumps(answer), flush=True)


VERBS = {"prepare": prepare, "manage": manage, "call": call}


def move_into(env: dict[str, str]) -> None:
    """Make this process part of an instance."""
    import dj_database_url
    from django.conf import settings

    from tests.home import move_settings

    folder = Path(env["AMPARO_DATA"])
    for name, value in move_settings(folder).items():
        setattr(settings, name, value)
    secret = folder / "keys" / "secret"
    if secret.exists():
        settings.SECRET_KEY = secret.read_text().strip()
    os.environ.update(env)
    os.environ["YOLO_CONFIG_DIR"] = str(settings.SCRATCH_DIR / "ultralytics")
    url = env.get("DATABASE_URL", f"sqlite:///{folder / 'db.sqlite3'}")
    settings.DATABASES["default"] |= {"NAME": dj_database_url.parse(url)["NAME"]}
    settings.CELERY_BROKER_URL = env.get("CELERY_BROKER_URL", "")
    settings.MODEL_MIRROR = env.get("MODEL_MIRROR", settings.MODEL_MIRROR)


def child(request: dict) -> int:
    out = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    try:
        move_into(request["env"])
        if request.get("steps"):
            Steps(request["steps"], request.get("kill_before")).watch()
        verb, *arguments = request["verb"]
        VERBS[verb](*arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - the test reads it
        traceback.print_exc()
        return 70
    return 0


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.chdir(ROOT)
    import django

    django.setup()
    for name in (
        "archive.media.renditions",
        "archive.custody.verify",
        "archive.custody.sequence",
        "PIL.Image",
    ):
        importlib.import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            status = child(request)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        _, ended = os.waitpid(pid, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(ended)}), flush=True)


if __name__ == "__main__":
    main()
