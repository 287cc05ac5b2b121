"""An instance that tests can copy, kill and look into: its own folder, its own database, commands run beside pytest."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

ROOT = Path(__file__).resolve().parent.parent
KILLED = -9
_count = itertools.count(1)


def move_settings(folder: Path) -> dict[str, Path]:
    """The settings that name places inside the instance folder, as they are for an instance in `folder`."""
    from django.conf import settings

    now = settings.DATA_DIR
    places = {name: getattr(settings, name) for name in dir(settings) if name.isupper()}
    return {
        name: folder / place.relative_to(now)
        for name, place in places.items()
        if isinstance(place, Path) and place.is_relative_to(now)
    }


@dataclass
class Ended:
    """How a command ended: its exit status (KILLED when it was), its words, the durable steps it took."""

    status: int
    out: str
    steps: list[str]

    @property
    def killed(self) -> bool:
        return self.status == KILLED

    @property
    def answer(self):
        """What a called function returned."""
        assert self.status == 0, self.out
        return json.loads(self.out.strip().splitlines()[-1])


class Launcher:
    """The process that forks commands off. Start it once for a test module."""

    def __init__(self) -> None:
        command = [sys.executable, str(ROOT / "tests" / "faults" / "launcher.py")]
        # Django is set up here once; each child moves into its own instance.
        nowhere = os.environ | {"AMPARO_DATA": str(ROOT / "no-instance")}  # so that no other's secret is read
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=nowhere
        )
        assert self.process.stdout.readline() == "ready\n"

    def run(self, **request) -> int:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["status"]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


@dataclass
class Home:
    """One instance. `fresh` copies it, database and all."""

    launcher: Launcher
    folder: Path
    database_url: str
    broker_url: str = ""
    more: dict[str, str] = field(default_factory=dict)

    @classmethod
    def prepared(cls, launcher: Launcher, folder: Path, **more: str) -> "Home":
        """A new instance with empty tables, on the database that the tests run on."""
        folder.mkdir(parents=True)
        home = cls(launcher, folder, _new_database(folder), os.environ.get("CELERY_BROKER_URL", ""), more)
        ended = home.run("prepare")
        assert ended.status == 0, ended.out
        return home

    @property
    def env(self) -> dict[str, str]:
        """The environment that makes a process part of this instance."""
        own = {"AMPARO_DATA": str(self.folder), "AMPARO_LOG_LEVEL": "WARNING", **self.more}
        if not self.database_url.startswith("sqlite"):
            own["DATABASE_URL"] = self.database_url
        if self.broker_url:
            own["CELERY_BROKER_URL"] = self.broker_url
        return own

    def fresh(self, folder: Path) -> "Home":
        """A copy of this instance as it is now."""
        shutil.copytree(self.folder, folder, copy_function=_link_sealed)
        return Home(
            self.launcher,
            folder,
            _new_database(folder, template=self.database_url),
            self.broker_url,
            self.more,
        )

    def run(self, *verb: str, kill_before: int | None = None, count: bool = False) -> Ended:
        """Run a verb of the launcher; killed before its nth durable step if asked."""
        number = next(_count)
        out, steps = self.folder.parent / f"{number}.out", self.folder.parent / f"{number}.steps"
        watched = count or kill_before is not None
        status = self.launcher.run(
            env=self.env,
            verb=[str(word) for word in verb],
            kill_before=kill_before,
            out=str(out),
            steps=str(steps) if watched else "",
        )
        taken = steps.read_text().splitlines() if watched and steps.exists() else []
        return Ended(status, out.read_text(errors="replace"), taken)

    def manage(self, *arguments: str, **options) -> Ended:
        """Run a command of the product."""
        return self.run("manage", *arguments, **options)

    def call(self, module: str, function: str, *arguments: str, **options) -> Ended:
        """Run a function of a test module inside the instance."""
        return self.run("call", module, function, *arguments, **options)

    def sql(self, statement: str) -> list[tuple]:
        """Look into the database past everything."""
        if self.database_url.startswith("sqlite"):
            import sqlite3

            with sqlite3.connect(self.folder / "db.sqlite3", timeout=30) as database:
                return database.execute(statement).fetchall()
        import psycopg

        with psycopg.connect(self.database_url) as database:
            return database.execute(statement).fetchall()

    def drop(self) -> None:
        """Remove folder and database. A child of a killed process may still be closing its files meanwhile."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if not self.database_url.startswith("sqlite"):
            _server(f'DROP DATABASE "{urlsplit(self.database_url).path[1:]}" WITH (FORCE)')


def _link_sealed(source: str, target: str) -> str:
    """Blobs are never written again, so a copy can share them."""
    if "/vault/" in source and os.stat(source).st_mode & 0o222 == 0:
        os.link(source, target)
        return target
    return shutil.copy2(source, target)


def _new_database(folder: Path, template: str = "") -> str:
    server = os.environ.get("DATABASE_URL", "")
    if not server.startswith("postgres"):
        return f"sqlite:///{folder / 'db.sqlite3'}"
    name = f"home_{uuid.uuid4().hex[:12]}"
    like = f' TEMPLATE "{urlsplit(template).path[1:]}"' if template else ""
    _server(f'CREATE DATABASE "{name}"{like}')
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


def _server(statement: str) -> None:
    import psycopg

    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
        database.execute(statement)
