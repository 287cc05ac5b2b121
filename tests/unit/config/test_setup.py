"""The set-up scripts, the locks, the containers and their documents agree with each other."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]


def read(name):
    return (ROOT / name).read_text()


@pytest.mark.parametrize("script", ["run", "test", "manage", ".ci/run"])
def test_scripts_can_be_run(script):
    assert os.access(ROOT / script, os.X_OK)
    assert read(script).startswith("#!/usr/bin/env bash\n")


@pytest.mark.parametrize(
    "script", ["run", "test", "manage", ".ci/run", "config/setup.sh", "tests/servers.sh"]
)
def test_scripts_are_bash_without_a_mistake_of_grammar(script):
    subprocess.run(["bash", "-n", ROOT / script], check=True)


@pytest.fixture
def need_packages():
    """Ask for ffmpeg and file as a user without rights, on a machine where the given packages are there."""
    with tempfile.TemporaryDirectory() as folder:
        commands = Path(folder)
        commands.chmod(0o755)

        def ask(*installed):
            answers = "".join(f"echo installed {name};" for name in installed)
            fakes = {"dpkg-query": f"{answers} exit 1", "apt-get": "echo apt ran", "sudo": "exit 1"}
            for name, code in fakes.items():
                (commands / name).write_text(f"#!/bin/sh\n{code}\n")
                (commands / name).chmod(0o755)
            script = f"{read('config/setup.sh')}\nPATH={commands}:/usr/bin:/bin; need_packages ffmpeg file"
            as_nobody = ["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else []
            command = [*as_nobody, "/bin/bash", "-c", script, "setup"]
            return subprocess.run(command, capture_output=True, text=True, cwd="/")

        yield ask


def test_nothing_is_installed_when_nothing_is_missing(need_packages):
    ran = need_packages("ffmpeg", "file", "python3-venv")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_without_rights_the_one_line_to_run_is_printed(need_packages):
    ran = need_packages("file", "python3-venv")
    assert ran.returncode == 1 and "apt ran" not in ran.stdout
    assert (
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends ffmpeg\n" in ran.stderr + "\n"
    )


@pytest.mark.parametrize("lock", ["requirements", "requirements-test"])
def test_locks_are_by_hash_and_for_every_python_from_3_11(lock):
    text = read(f"{lock}.txt")
    assert f"--universal --generate-hashes --python-version 3.11 {lock}.in" in text.replace("\n#    ", "")
    pins = re.findall(r"^\S+==", text, re.M)
    assert len(pins) > 90 and text.count("\n    --hash=sha256:") >= len(pins)


def test_the_tests_run_on_the_versions_that_the_program_runs_on():
    pins = [
        set(re.findall(r"^\S+==[^ \\]+", read(f"{name}.txt"), re.M))
        for name in ("requirements", "requirements-test")
    ]
    assert pins[0] <= pins[1]


def test_the_install_guide_names_every_setting():
    read_there = set(re.findall(r'\b(?:text|flag|number|choice)\(\s*"([A-Z_]+)"', read("config/settings.py")))
    read_there |= set(re.findall(r'environ\.get\("([A-Z_]+)"\)', read("config/settings.py")))
    assert len(read_there) > 12
    table = read("docs/install.md").split("## Settings")[1]
    assert not [name for name in sorted(read_there) if f"`{name}`" not in table]


def test_nothing_but_the_settings_reads_the_environment():
    """Launcher and gunicorn's settings run before Django; they read where the instance is, and pass the rest on."""
    allowed = {"config/settings.py", "config/launch.py"}
    found = {
        str(path.relative_to(ROOT))
        for app in ("archive", "config", "evidence", "triage")
        for path in (ROOT / app).rglob("*.py")
        if re.search(r"os\.environ(\.get\(|\[\"[A-Z_]+\"\](?! =))|os\.getenv", path.read_text())
    }
    assert found <= allowed


def test_the_licences_page_names_every_requirement():
    page = read("docs/licences.md")
    names = re.findall(r"^([A-Za-z0-9-]+)", read("requirements.in"), re.M)
    assert len(names) > 20 and not [name for name in names if not re.search(rf"\b{re.escape(name)}\b", page)]


def test_the_licence_is_whole():
    text = read("LICENSE")
    assert "GNU AFFERO GENERAL PUBLIC LICENSE\n                       Version 3" in text
    assert "END OF TERMS AND CONDITIONS" in text and "13. Remote Network Interaction" in text


# The containers cannot be built by the tests: what can be read is checked


def test_containers_run_without_rights_and_open_one_local_port():
    services = yaml.safe_load(read("compose.yaml"))["services"]
    assert {"database", "broker", "prepare", "web", "worker-media", "worker-analyse"} == set(services)
    assert [name for name, service in services.items() if "ports" in service] == ["web"]
    assert all(port.startswith("127.0.0.1:") for port in services["web"]["ports"])
    for name, service in services.items():
        assert not service.get("privileged") and "inside" in service["networks"]
        if "build" in service:
            assert (
                service["cap_drop"] == ["ALL"] and service["read_only"] and name not in ("database", "broker")
            )


def test_containers_serve_every_queue():
    from archive.jobs import QUEUES

    services = yaml.safe_load(read("compose.yaml"))["services"].values()
    commands = [service["command"] for service in services if "celery" in service.get("command", [])]
    served = {queue for command in commands for queue in command[command.index("-Q") + 1].split(",")}
    assert served == set(QUEUES)


def test_the_launcher_serves_every_queue():
    from archive.jobs import QUEUES
    from config.launch import WORKERS

    assert {queue for queues, *_ in WORKERS.values() for queue in queues.split(",")} == set(QUEUES)


def test_the_image_runs_as_a_user_without_rights():
    lines = [line.split() for line in read("Dockerfile").splitlines() if line and line[0].isupper()]
    assert [words[1] for words in lines if words[0] == "USER"] == ["amparo"]
    assert [words[0] for words in lines].index("USER") > max(
        i for i, words in enumerate(lines) if words[0] == "RUN"
    )


def test_the_image_holds_what_runs_and_no_more():
    kept = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
    assert {"archive", "config", "evidence", "triage", "templates", "static", "locale", "manage.py"} <= kept
    assert not kept & {"instance", ".git", ".venv", "tests"}
