"""Tasks over ranges, done here or by several processes that all read the same state; answers in the order of tasks."""

import contextlib
import json
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Queue
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

from archive.custody.verify.reader import Reader, one_moment
from archive.custody.verify.report import log
from archive.custody.verify.worker import work

Answer = dict[str, Any]
START = "import django; django.setup(); from archive.custody.verify.worker import main; main()"


class Gone(Exception):
    """A process that checked a range ended before its answer."""


class Pool:
    """Does tasks here, or in the processes that `opened` started."""

    def __init__(self, reader: Reader, processes: list[subprocess.Popen]) -> None:
        self.reader, self.processes = reader, processes
        self.free: Queue[subprocess.Popen] = Queue()
        for process in processes:
            self.free.put(process)

    def answers(self, tasks: list[Answer]) -> Iterator[Answer | None]:
        """The answer to each task, in their order; None for one whose process ended before it answered."""
        if not self.processes:
            for task in tasks:
                yield self._here(task)
            return
        with ThreadPoolExecutor(len(self.processes)) as threads:
            begun: deque[Future[Answer | None]] = deque()
            for task in tasks:
                begun.append(threads.submit(self._ask, task))
                if len(begun) > 2 * len(self.processes):  # so that few answers wait in memory
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()

    def _here(self, task: Answer) -> Answer | None:
        try:
            return work(self.reader, task)
        except Exception:  # noqa: BLE001 - as when a process ends: could not check
            log.exception("a part of the log could not be checked")
            return None

    def _ask(self, task: Answer) -> Answer | None:
        process = self.free.get()
        try:
            return _exchange(process, task)
        except Gone:
            return None
        finally:
            self.free.put(process)


def _exchange(process: subprocess.Popen, message: Answer) -> Answer:
    _tell(process, message)
    return _hear(process)


def _tell(process: subprocess.Popen, message: Answer) -> None:
    try:
        process.stdin.write(json.dumps(message) + "\n")  # type: ignore[union-attr] # it is a pipe
        process.stdin.flush()  # type: ignore[union-attr]
    except OSError as error:
        raise Gone from error


def _hear(process: subprocess.Popen) -> Answer:
    line = process.stdout.readline()  # type: ignore[union-attr]
    if not line.endswith("\n"):
        raise Gone
    return json.loads(line)


@contextlib.contextmanager
def opened(jobs: int) -> Iterator[Pool]:
    """A pool of `jobs` processes, and this one, in one state of the database. Raises OSError when none can be started.

    Inside of a transaction, and with one job, there are no other processes: they could not see what is not committed.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    if jobs == 1 or connection.in_atomic_block:
        with one_moment():
            yield Pool(Reader(), [])
        return
    connection.ensure_connection()
    processes = [_start(connection) for _ in range(jobs)]
    try:
        for process in processes:
            _hear(process)
        with _all_in_one_moment(connection, processes):
            yield Pool(Reader(), processes)
    except Gone as error:
        raise OSError(
            "A process to check the log with could not be started; see the messages above."
        ) from error
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()


def _start(connection: Any) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", START],
        cwd=settings.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # the keyboard stops this process alone, which then ends the others
    )
    database = {
        name: str(connection.settings_dict[name]) for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT")
    }
    _tell(process, {"database": database})
    return process


@contextlib.contextmanager
def _all_in_one_moment(connection: Any, processes: list[subprocess.Popen]) -> Iterator[None]:
    """PostgreSQL exports its snapshot. On SQLite writers wait for the moment in which all begin to read."""
    with contextlib.ExitStack() as stack:
        if connection.vendor == "postgresql":
            stack.enter_context(one_moment())
            snapshot = Reader().one("SELECT pg_export_snapshot()")
            for process in processes:
                _exchange(process, {"snapshot": snapshot})
        else:
            held = connection.copy()
            try:
                with held.cursor() as cursor:
                    cursor.execute("BEGIN IMMEDIATE")
                stack.enter_context(one_moment())
                Reader().one("SELECT COUNT(*) FROM archive_checkpoint")
                for process in processes:
                    _exchange(process, {"snapshot": ""})
            finally:
                held.close()
        yield
