"""The house keeps its shape: imports go down, names are where they are looked for, documents say what the program does."""

import argparse
import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from archive import errors as errors_module
from archive.errors import AmparoError
from archive.events import EVENTS

ROOT = Path(__file__).parents[2]
FLOORS = {
    "archive": {"archive"},
    "triage": {"archive", "triage"},
    "evidence": {"archive", "triage", "evidence"},
}
FLOORS["config"] = {"archive", "triage", "evidence", "config"}
SOURCES = {app: sorted((ROOT / app).rglob("*.py")) for app in FLOORS}
PAGES = [p for folder in ("templates", "static") for p in sorted((ROOT / folder).rglob("*")) if p.is_file()]
HEAVY = {
    "torch",
    "torchvision",
    "cv2",
    "openvino",
    "ultralytics",
    "tensorflow",
    "onnxruntime",
    "scipy",
    "pandas",
}


# --- imports ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("app", "path"),
    [(app, path) for app, paths in SOURCES.items() for path in paths],
    ids=lambda value: str(value.relative_to(ROOT)) if isinstance(value, Path) else value,
)
def test_imports_go_down(app, path):
    """archive knows nothing of models or bundles; triage nothing of bundles; nobody but config knows config."""
    if path == ROOT / "evidence" / "verifier" / "verify_bundle.py":
        allowed: set[str] = set()
    else:
        allowed = FLOORS[app]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = {(node.module or "").split(".")[0]}
        else:
            continue
        assert not names & FLOORS.keys() - allowed, ast.unparse(node)
        assert "tests" not in names


def test_what_evidence_reads_of_triage_is_public():
    for path in SOURCES["evidence"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("triage"):
                assert not any(alias.name.startswith("_") for alias in node.names), ast.unparse(node)


@pytest.mark.parametrize(
    "path", [p for paths in SOURCES.values() for p in paths], ids=lambda p: str(p.relative_to(ROOT))
)
def test_settings_alone_read_the_environment(path):
    """Configuration is read in one place. The sandbox's inside and the launcher run without Django."""
    if path.relative_to(ROOT).as_posix() in ENVIRONMENT_READERS:
        return
    reads = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(path.read_text()))
        if (
            isinstance(node, ast.Attribute)
            and node.attr in ("environ", "getenv")
            and ast.unparse(node.value) == "os"
        )
    ]
    assert not reads, "read it in config/settings.py"


ENVIRONMENT_READERS = {
    "config/settings.py",
    "config/launch.py",
    "config/celery.py",
    "config/asgi.py",
    "config/wsgi.py",
    # what they start gets an environment made for it
    "archive/media/inside/examine.py",
    "archive/media/sandbox.py",
    "triage/runtimes/host.py",
    "triage/runtimes/process.py",
    "triage/runtimes/base.py",
    "triage/analysers/detect_yolo.py",
}


def test_the_web_process_and_ordinary_commands_import_no_model_runtime():
    """Importing torch costs two seconds and half a gigabyte: only the confined process does it."""
    code = (
        "import sys, django; django.setup(); import config.urls, config.wsgi, config.celery, archive.tasks\n"
        "from django.core.management import get_commands, load_command_class\n"
        "[load_command_class(a, n) for n, a in get_commands().items() if a in ('archive', 'triage', 'evidence')]\n"
        "print(*sys.modules)"
    )
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert not HEAVY & {name.split(".")[0] for name in ran.stdout.split()}


# --- names --------------------------------------------------------------------------------------------------------


def test_the_house_has_the_rooms_that_the_documents_name():
    for room in (
        "manage.py run test manage .ci/run Dockerfile compose.yaml LICENSE README.md "
        "config/settings.py config/checks.py archive/errors.py archive/events.py archive/custody archive/vault "
        "archive/ingest.py archive/media archive/jobs.py archive/access.py archive/tasks.py archive/views archive/urls.py "
        "archive/api.py triage/pipeline.py triage/scoring.py triage/queue.py triage/registry.py triage/analysers "
        "triage/runtimes evidence/bundle.py evidence/disclosure.py evidence/verifier/verify_bundle.py templates static "
        "tests/cast.py tests/unit tests/flows tests/faults tests/browser tests/contracts tests/vectors benchmarks docs"
    ).split():
        assert (ROOT / room).exists(), room


@pytest.mark.parametrize("vectors", sorted((ROOT / "tests" / "vectors").iterdir()), ids=lambda p: p.name)
def test_vectors_say_where_they_come_from(vectors):
    words = (vectors / "README.md").read_text()
    assert re.search(r"Apache|BSD|MIT|CC0|public domain|made by|AGPL", words), "origin and licence"


def test_every_benchmark_is_in_the_list():
    listed = (ROOT / "benchmarks" / "README.md").read_text()
    for path in (ROOT / "benchmarks").glob("*.py"):
        assert f"benchmarks/{path.name}" in listed, path.name


# --- nothing from outside -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [p for p in PAGES if p.suffix in (".html", ".css", ".js", ".svg", ".txt")],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_pages_load_nothing_from_elsewhere(path):
    text = path.read_text(errors="replace")
    if "vendor" not in path.parts:
        found = re.findall(
            r"""(?:src|href|action|poster|data|srcset)\s*=\s*["']?(?:https?:)?//[^\s"'>]+""", text
        )
        assert not found
    assert not re.search(r"""url\(\s*["']?(?:https?:)?//""", text)
    assert not re.search(r"""@import\s+["'](?:https?:)?//""", text)


# --- documents ----------------------------------------------------------------------------------------------------


def commands() -> dict[str, str]:
    """Our commands and their parts, with their own words."""
    found = {}
    for name, app in sorted(get_commands().items()):
        if app not in FLOORS or name == "makemessages":  # Django's, told where our words are
            continue
        command = load_command_class(app, name)
        found[name] = " ".join(command.help.split())
        for action in command.create_parser("manage.py", name)._actions:
            if isinstance(action, argparse._SubParsersAction):
                found |= {
                    f"{name} {part.dest}": " ".join(part.help.split()) for part in action._choices_actions
                }
    return found


def errors() -> list[type[AmparoError]]:
    """All our errors that somebody may meet."""
    return [
        kind
        for kind in vars(errors_module).values()
        if isinstance(kind, type) and issubclass(kind, AmparoError) and kind is not AmparoError
    ]


def table(page: str) -> list[list[str]]:
    """The rows of all tables of a page, without their markup."""
    lines = (ROOT / "docs" / page).read_text().splitlines()
    return [
        [cell.strip().strip("`") for cell in line.strip("|").split(" | ")]
        for line in lines
        if line.startswith("| ")
    ]


def test_every_command_is_documented_in_its_own_words():
    documented = {cells[0]: cells[1] for cells in table("reference.md") if len(cells) == 2}
    for name, words in commands().items():
        assert words, f"{name} says nothing of itself"
        assert documented.get(name) == words
    assert not documented.keys() - commands().keys() - {"command", "---"}


def test_every_error_is_documented():
    documented = {cells[3]: cells[:3] for cells in table("reference.md") if len(cells) == 4}
    for kind in errors():
        assert documented.get(kind.__name__) == [kind.code, str(kind.status), "yes" if kind.retry else "no"]
        assert kind.__name__ in (errors_module.__doc__ or ""), "the tree at the top of errors.py shows it"
    assert not documented.keys() - {kind.__name__ for kind in errors()} - {"class", "---"}


def test_every_event_type_is_documented():
    documented = {cells[0]: cells[1:] for cells in table("custody-log.md") if len(cells) == 3}
    for name, kind in EVENTS.items():
        who = (
            "signed-in person or shell operator"
            if kind.operator
            else "signed-in person"
            if kind.human
            else "anyone, workers too"
        )
        assert documented.get(name) == [kind.sentence, who], name
    assert not {name for name in documented if "." in name} - EVENTS.keys()


def settings_variables() -> set[str]:
    """Names that config/settings.py reads from the environment."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / "config" / "settings.py").read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "text",
            "flag",
            "number",
            "choice",
            "os.environ.get",
        ):
            if node.args and isinstance(node.args[0], ast.Constant):
                names.add(node.args[0].value)
    return names


def test_every_setting_is_documented_and_no_other():
    page = (ROOT / "docs" / "install.md").read_text()
    documented = {name for row in table("install.md") for name in re.findall(r"[A-Z][A-Z_]{3,}", row[0])}
    read = settings_variables()
    assert read and not read - documented, f"not in docs/install.md: {sorted(read - documented)}"
    elsewhere = {"AMPARO_REQUIREMENTS"} | {f"{name}_FILE" for name in read}
    unknown = documented - read - elsewhere
    assert not unknown, f"documented, and read by nothing: {sorted(unknown)}"
    assert "AMPARO_DATA" in page


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs").rglob("*.md")) + [ROOT / "README.md"], ids=lambda p: p.name
)
def test_links_between_documents_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target).exists(), target
