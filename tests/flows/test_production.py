"""A server as docs/install.md sets it up: PostgreSQL, Redis, gunicorn and Celery, and what it refuses to start with."""

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
import uuid
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.running import ROOT

pytestmark = [pytest.mark.server, pytest.mark.embedded, pytest.mark.timeout(300)]
PYTHON = [sys.executable, "-m"]


@pytest.fixture
def environment(tmp_path):
    """The variables of /etc/amparo.env, with a database of its own on the private server."""
    if "TEST_POSTGRES_URL" not in os.environ or "TEST_REDIS_URL" not in os.environ:
        pytest.skip("TEST_POSTGRES_URL and TEST_REDIS_URL name no servers: ./test starts them")
    server, name = urlsplit(os.environ["TEST_POSTGRES_URL"]), f"production_{uuid.uuid4().hex}"
    with psycopg.connect(os.environ["TEST_POSTGRES_URL"], autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
    yield {
        "PATH": os.environ["PATH"],
        "AMPARO_PRODUCTION": "1",
        "AMPARO_ORIGIN": "https://archive.example.org",
        "AMPARO_BEHIND_PROXY": "1",
        "AMPARO_DATA": str(tmp_path / "data"),
        "DATABASE_URL": urlunsplit(server._replace(path=f"/{name}")),
        "CELERY_BROKER_URL": os.environ["TEST_REDIS_URL"].rsplit("/", 1)[0] + "/7",
    }
    with psycopg.connect(os.environ["TEST_POSTGRES_URL"], autocommit=True) as admin:
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def start(environment, tmp_path):
    """Start one of the services; all are stopped at the end."""
    with contextlib.ExitStack() as stopping:

        def begin(*command):
            log = stopping.enter_context((tmp_path / f"{command[0]}.log").open("ab"))
            process = subprocess.Popen([*PYTHON, *command], cwd=ROOT, env=environment, stdout=log, stderr=log)
            stopping.callback(process.wait)
            stopping.callback(process.kill)
            return process

        yield begin


def ask(port, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers={"Host": "archive.example.org", **headers})
        answer = connection.getresponse()
        answer.read()
        return answer
    except ConnectionError:
        return None
    finally:
        connection.close()


def test_the_server_of_the_install_guide_works(environment, start):
    subprocess.run([*PYTHON, "config.prepare", "instance"], cwd=ROOT, env=environment, check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start("gunicorn", "-c", "python:config.serve", "--bind", f"127.0.0.1:{port}")
    for name, queues in (("media", "default,media"), ("analyse", "analyse")):
        start(
            "celery",
            "-A",
            "config",
            "worker",
            "-Q",
            queues,
            "-n",
            f"{name}@%h",
            "-c",
            "1",
            "--loglevel",
            "WARNING",
        )
    end = time.monotonic() + 90
    while not (answer := ask(port, "/healthz")) or answer.status != 200:
        assert time.monotonic() < end, answer and answer.status
        time.sleep(0.2)
    door = ask(port, "/signin/", **{"X-Forwarded-Proto": "https"})
    assert door.status == 200
    assert door.headers["Strict-Transport-Security"].startswith("max-age=31536000")
    assert all("Secure" in cookie for cookie in door.headers.get_all("Set-Cookie", []))
    assert "default-src 'none'" in door.headers["Content-Security-Policy"]
    assert ask(port, "/signin/", Host="elsewhere.example.org").status == 400


@pytest.mark.parametrize(
    ("unsafe", "fault"),
    [
        ({"DEBUG": "1"}, "E001"),
        ({"SECRET_KEY": "short"}, "E002"),
        ({"AMPARO_ORIGIN": "http://archive.example.org"}, "E003"),
        ({"AMPARO_ALLOWED_HOSTS": "*"}, "E004"),
        ({"DATABASE_URL": "sqlite:////tmp/nothing.sqlite3"}, "E005"),
        ({"CELERY_BROKER_URL": ""}, "E006"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ("gunicorn", "-c", "python:config.serve", "--bind", "127.0.0.1:0"),
        ("celery", "-A", "config", "worker"),
    ],
    ids=["web", "worker"],
)
def test_an_unsafe_server_does_not_start_and_says_why(unsafe, fault, command, environment, tmp_path):
    environment |= {"SECRET_KEY": "x" * 64} | unsafe
    ran = subprocess.run(
        [*PYTHON, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode != 0
    assert f"amparo.{fault}" in ran.stdout + ran.stderr
    assert (ran.stdout + ran.stderr).count("amparo.E0") == 1, "it names this fault and no other"
