"""Nothing automatic: no code but a signed-in human's request decides, shares, exports, notifies or deletes.

Every Celery task, every job and every receiver of a signal is walked: what it reaches is read (no module that it can
call names a human's act), and it is run where it can be run, under a spy that sees every statement and every socket.
"""

import ast
import importlib
import inspect
import re
import socket
from pathlib import Path

import pytest
from django.core import mail
from django.db import connection, transaction

from archive import custody, jobs
from archive.custody import Actor
from archive.errors import NotAllowed
from archive.events import EVENTS
from archive.models import CaseGrant, Item, Job
from archive.views.cases import JOB_WORDS
from tests import cast

ROOT = Path(__file__).parents[2]
APPS = ("archive", "triage", "evidence", "config")
SOURCES = [
    path for app in APPS for path in sorted((ROOT / app).rglob("*.py")) if "migrations" not in path.parts
]
# What only a person may bring about, as tables that only grow or change by a person's hand.
HUMAN_TABLES = (
    "archive_decision",
    "archive_casegrant",
    "archive_case",
    "archive_source",
    "archive_finding",
    "archive_note",
    "archive_itemtag",
    "archive_tag",
    "archive_assignment",
    "archive_postponement",
    "archive_user",
    "archive_user_groups",
    "archive_signinlink",
    "archive_hold",
    "archive_disposal",
    "archive_disposalitem",
    "archive_custodyerasure",
    "evidence_bundleitem",
    "evidence_redactionlook",
    "triage_criteria",
    "triage_destination",
    "triage_answer",
    "triage_ordering",
    "triage_example",
    "triage_draw",
    "triage_secondshare",
    "triage_secondreading",
    "triage_secondlook",
)
OUTSIDE = {
    "smtplib",
    "http.client",
    "urllib.request",
    "requests",
    "boto3",
    "httpx",
    "ftplib",
    "telnetlib",
    "xmlrpc",
    "django.core.mail",
}


# --- what there is to walk ----------------------------------------------------------------------------------------


def tasks() -> dict:
    from config.celery import app

    assert app.conf.task_queues  # configured first, as a worker does, so that tasks are discovered
    app.loader.import_default_modules()
    app.finalize()
    return {name: task for name, task in app.tasks.items() if not name.startswith("celery.")}


def test_there_is_one_celery_task_and_it_runs_jobs():
    """Whoever adds a task is asked here what it may do."""
    assert set(tasks()) == {"archive.work"}


def test_screens_have_words_for_every_job():
    assert set(jobs.KINDS) <= set(JOB_WORDS)


def test_every_job_is_on_the_list():
    """Whoever adds a job is asked here what it may do."""
    assert (
        {n for n in jobs.KINDS if not n.startswith("test.")}
        == {
            "archive.read_back",
            "archive.examine",
            "archive.examine_again",  # after an upgrade, by command: what is claimed and read in the file
            "archive.proxy",
            "archive.storyboard",
            "archive.copy",
            "archive.copies",
            "archive.fixity",
            "archive.restore",
            "archive.restore_bad",
            "archive.dispose",  # what two persons decided, and nothing else: tests/unit/archive/test_disposal.py
            "archive.tidy",
            "alarms",  # says what is wrong with the archive; tells addresses that the settings name
            "custody.publish",
            "custody.verify",
            "triage.analyse",
            "triage.doubtful",  # points out answers for a second look
            "triage.rescore",
            "triage.rank",  # puts items in order; whoever reads decides
            "triage.rank_again",
            "triage.know_again",  # applies the rules to what people said of an item
            "triage.know_source",  # and to what they changed of its source
            "triage.index",  # likeness and text of what was analysed can be found
            "triage.index_again",  # and of what came in again
            "triage.unindex",  # and of what was disposed of no longer
            "triage.look_at_part",
            "triage.look_at_picture",
            "triage.small_picture",
            "triage.look_for_words",  # the same of words: what fits them is shown to who asked, or teaches the order
            "triage.alerts",  # notes who is to be told of which item; says 'please look' and touches no item
            "triage.alert_mail",  # to an address that an administrator allowed and a person chose
            "triage.alert_webhook",  # the same, off unless the settings allow it: tests/unit/triage/test_sending.py
            "triage.alert_round",
            "triage.unusual",  # says which items are least like the rest of their case
            "triage.near",  # fingerprints and groups; deciding for a group is a person's act
            "evidence.build",
            "evidence.redact",
        }
    )


def receivers() -> list[tuple[str, object]]:
    """Every receiver of a Django or Celery signal whose code is ours."""
    from celery import signals as celery_signals
    from django.contrib.auth import signals as auth_signals
    from django.core import signals as core_signals
    from django.db.backends.signals import connection_created
    from django.db.models import signals as model_signals

    found = []
    places = [celery_signals, auth_signals, core_signals, model_signals]
    signals = {name: s for place in places for name, s in vars(place).items() if hasattr(s, "receivers")}
    signals["connection_created"] = connection_created
    for name, signal in signals.items():
        for entry in signal.receivers or ():
            receiver = entry[1]
            receiver = (
                receiver()
                if type(receiver).__name__ in ("weakref", "ReferenceType", "WeakMethod")
                else receiver
            )
            module = getattr(inspect.unwrap(receiver), "__module__", "") if receiver else ""
            if module.split(".")[0] in APPS:
                found.append((name, receiver))
    return found


def test_every_receiver_of_a_signal_is_on_the_list():
    """Signals are where automatic things hide: each of ours is named here, and none is about rows."""
    importlib.import_module("config.celery")
    names = sorted({(name, receiver.__name__) for name, receiver in receivers()})
    assert names == [
        ("connection_created", "install_guard"),
        ("post_migrate", "keep_triggers"),
        ("worker_init", "check_settings"),
        ("worker_ready", "start_clocks"),
        ("worker_shutdown", "stop_clocks"),
    ]


# --- reading it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_person_as_actor_is_made_from_a_request_and_nowhere_else(path):
    """`Actor(kind="person")` stands in one place, which wants a signed-in session."""
    tree = ast.parse(path.read_text())
    made = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (getattr(node.func, "id", "") in ("Actor", "cls") or getattr(node.func, "attr", "") == "Actor")
        and any(isinstance(value, ast.Constant) and value.value == "person" for value in ast.walk(node))
    ]
    assert not made or path == ROOT / "archive" / "custody" / "actor.py"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_requests_become_actors_in_views_only(path):
    tree = ast.parse(path.read_text())
    uses = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr == "of"
        and isinstance(node.value, ast.Name)
        and node.value.id == "Actor"
    ]
    doors = ("views", "api")
    relative = path.relative_to(ROOT)
    assert not uses or any(door in relative.with_suffix("").as_posix() for door in doors)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_of_ours_can_send_anything_anywhere(path):
    """No module speaks to the network, but `models pull`, which a person starts at the shell, ./run's own check, and
    what goes to places that the settings name: a second copy, still encrypted; hashes to witnesses and timestamp
    authorities; alarms by mail, which name no person, case or file; and alerts, to destinations that an administrator
    allowed and a person of the case chose, which name codes, scores and links.
    """
    allowed = {
        "triage/registry.py",
        "config/launch.py",
        "archive/vault/bucket.py",
        "archive/custody/outside.py",
        "archive/alarms.py",
        "triage/sending.py",
    }
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    assert not imported & OUTSIDE or str(path.relative_to(ROOT)) in allowed


def test_alerts_leave_by_one_door_that_one_module_opens():
    """Only triage/telling.py, which looks up who may still see the case and records what went, sends anything."""
    senders = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "sending":
                senders |= (
                    {(str(path.relative_to(ROOT)), node.attr)} if node.attr in ("mail", "post") else set()
                )
            if isinstance(node, ast.ImportFrom):
                assert node.module != "triage.sending", (
                    f"{path}: import the module, so that this test sees its use"
                )
    assert senders == {("triage/telling.py", "mail"), ("triage/telling.py", "post")}


@pytest.mark.parametrize("name", sorted(n for n, kind in EVENTS.items() if kind.human))
@pytest.mark.django_db
def test_no_worker_can_write_what_needs_a_human(name):
    """Whoever is named as actor, even a person who is signed in at this moment."""
    person = cast.signed_in(cast.person("administrator"))
    for actor in (person, Actor.operator(), Actor.system("worker")):
        with custody.unattended(), pytest.raises(NotAllowed), transaction.atomic():
            custody.log.record("case:any", event=name, actor=actor)


@pytest.mark.django_db
def test_the_events_of_deciding_sharing_and_exporting_need_a_human():
    for name in (
        "item.decided",
        "item.decision_in_force",
        "item.decision_withdrawn",
        "case.shared",
        "case.share_changed",
        "bundle.requested",
        "bundle.downloaded",
        "item.downloaded",
        "case.list_exported",
        "system.roles_changed",
        "system.person_added",
        "source.identity_seen",
        "source.identity_destroyed",
        "case.disposal_requested",
        "case.disposal_approved",
        "item.disposal_approved",
        "case.hold_placed",
        "case.alert_subscribed",
        "system.alert_destination_allowed",
        "case.hold_lifted",
        "item.hold_lifted",
    ):
        assert EVENTS[name].human, name


# --- running it ---------------------------------------------------------------------------------------------------


class Spy:
    """Sees every statement and every attempt to leave this machine."""

    WRITES = re.compile(r'\s*(INSERT(?:\s+OR\s+\w+)?\s+INTO|UPDATE|DELETE\s+FROM)\s+"?(\w+)', re.I)

    def __init__(self) -> None:
        self.written: set[tuple[str, str]] = set()
        self.called: list = []

    def __call__(self, execute, sql, params, many, context):
        if found := self.WRITES.match(sql):
            self.written.add((found[1].split()[0].upper(), found[2]))
        return execute(sql, params, many, context)


@pytest.fixture
def spy(monkeypatch):
    spy = Spy()
    real = socket.socket.connect

    def connect(self, address):
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            spy.called.append(address)
        return real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    with connection.execute_wrapper(spy):
        yield spy


# These need more than a subject; the two that send are run in tests/unit/triage/test_alerts.py and test_sending.py
AFTER_A_PERSON = (
    "triage.analyse",
    "triage.look_at_part",
    "triage.look_at_picture",
    "triage.small_picture",
    "triage.know_source",
    "triage.alert_mail",
    "triage.alert_webhook",
    "evidence.build",
    "archive.dispose",
)


def scene() -> Item:
    """An item with jobs of every kind waiting for it, and criteria, a grant and a person beside it."""
    researcher = cast.person()
    case = cast.case(owner=researcher)
    item = cast.item(case, cast.jpeg(160, 120, seed=5))
    for name in jobs.KINDS:
        if not name.startswith("test.") and name not in AFTER_A_PERSON:
            subject = (
                case
                if name in ("triage.rescore", "triage.rank", "triage.doubtful", "triage.alerts")
                else item
            )
            jobs.enqueue(name, subject=subject, payload={"sha256": item.sha256})
    return item


@pytest.mark.slow
@pytest.mark.django_db
def test_running_every_job_decides_shares_exports_and_deletes_nothing(spy):
    """The jobs do run (their own rows are there afterwards), and touch no table of a human's acts."""
    item = scene()
    spy.written.clear()
    for name in sorted(jobs.KINDS):
        for _ in range(3):
            tasks()["archive.work"].run(name)
    touched = {table for _, table in spy.written}
    assert touched & {"archive_custodyevent", "archive_rendition"}, "the jobs ran"
    assert not touched & set(HUMAN_TABLES)
    assert not any(
        act == "DELETE"
        for act, table in spy.written
        if table.startswith(("archive_", "evidence_"))
        # a duty's own earlier rows; words are made again with what they repeat
        and table not in ("archive_custodypending", "archive_job", "archive_words")
    )
    assert not spy.called and not getattr(mail, "outbox", [])
    item.refresh_from_db()
    assert item.decision_id is None
    failed = Job.objects.filter(state="failed").exclude(name="archive.proxy").values_list("name", "error")
    assert not failed, list(failed)


@pytest.mark.django_db
def test_the_sweeper_and_the_sequencer_touch_their_own_tables_only(spy):
    from archive.custody.sequence import sequence

    scene()
    spy.written.clear()
    jobs.sweep()
    jobs.beat_worker("w", "default")
    sequence()
    assert {table for _, table in spy.written} <= {
        "archive_job",
        "archive_workerbeat",
        "archive_custodyposition",
        "archive_custodypending",
    }


@pytest.mark.django_db
def test_a_job_that_tried_to_decide_or_share_would_be_stopped(monkeypatch):
    """The wall, tried from inside: even with a signed-in person's actor in hand."""
    monkeypatch.setattr(jobs, "KINDS", dict(jobs.KINDS))
    person = cast.person()
    actor, case = cast.signed_in(person), cast.case(owner=person)
    item, grants = cast.item(case), CaseGrant.objects.count()

    def overreach(row, subject) -> None:
        from archive import access
        from triage import review

        for attempt in (
            lambda: access.share(case=case, person=cast.person(), actor=actor),
            lambda: review.decide(item=item, actor=actor, value="relevant", reason=""),
            lambda: Actor.of(type("R", (), {"user": person, "session": type("S", (), {"session_key": "k"})})),
        ):
            with pytest.raises(NotAllowed):
                attempt()

    jobs.job("test.overreach", attempts=1)(overreach)
    with transaction.atomic():
        jobs.enqueue("test.overreach", subject=case)
    jobs.run_waiting("test.overreach")
    row = Job.objects.get(name="test.overreach")
    assert (row.state, row.error) == ("done", "")
    assert CaseGrant.objects.count() == grants
    assert Item.objects.get(pk=item.pk).decision_id is None


def test_no_model_of_ours_does_something_when_it_is_saved():
    """No overridden save or delete, and no column that changes by itself."""
    from django.apps import apps

    for model in apps.get_models():
        if model.__module__.split(".")[0] in APPS:
            for name in ("save", "delete"):
                owner = next(c for c in model.__mro__ if name in vars(c))
                assert owner.__module__.split(".")[0] not in APPS, f"{model.__name__}.{name}"
            for field in model._meta.concrete_fields:
                assert not getattr(field, "auto_now", False), f"{model.__name__}.{field.name}"
