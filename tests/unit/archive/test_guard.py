"""No row that matters changes past the log: not by ORM, not by SQL, not in the database."""

import ast
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management.sql import emit_post_migrate_signal
from django.db import DatabaseError, connection, models, transaction
from django.utils import timezone

from archive.custody import triggers
from archive.custody.log import guarded_tables, recording
from archive.errors import UnrecordedChange
from archive.models import (
    Case,
    CaseGrant,
    Cosignature,
    CustodyEvent,
    Decision,
    Item,
    Note,
    Tag,
    Timestamp,
    User,
)
from archive.models.base import Custodial, LogTable
from tests import cast

ROOT = Path(__file__).parents[3]
CUSTODIAL = [m for m in apps.get_models() if issubclass(m, Custodial)]
LOG = [m for m in apps.get_models() if issubclass(m, LogTable)]
OURS = [p for app in ("archive", "triage", "evidence", "config") for p in sorted((ROOT / app).rglob("*.py"))]


def ids(model: type[models.Model]) -> str:
    return model._meta.label_lower


# --- the table of fields ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", CUSTODIAL, ids=ids)
def test_every_field_is_recorded_private_or_derived_and_only_one_of_them(model):
    named = [*model.recorded, *model.private, *model.derived]
    assert sorted(named) == sorted(f.name for f in model._meta.concrete_fields)


@pytest.mark.parametrize("model", CUSTODIAL, ids=ids)
def test_every_custodial_row_names_its_subject(model):
    assert model.custody_subject is not Custodial.custody_subject


@pytest.mark.parametrize("model", CUSTODIAL, ids=ids)
def test_no_custodial_row_goes_by_cascade(model):
    """A cascade would delete rows without their events."""
    for field in model._meta.concrete_fields:
        if field.is_relation and not model._meta.label_lower == "archive.casegrant":
            assert field.remote_field.on_delete is models.PROTECT, field.name


# --- the guard ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [*CUSTODIAL, *LOG], ids=ids)
@pytest.mark.django_db
def test_orm_writes_past_the_log_are_refused(model):
    name = model._meta.concrete_fields[-1].name
    for write in (
        lambda: model._base_manager.bulk_create([model()]),
        lambda: models.Model.save(model(pk=model()._meta.pk.get_default() or 1), force_insert=True),
        lambda: model._base_manager.update(**{name: models.F(name)}),
        lambda: model._base_manager.all()._raw_delete("default"),
    ):
        with pytest.raises(UnrecordedChange), transaction.atomic():
            write()


STATEMENTS = [
    "UPDATE {} SET id = id",
    'update "{}" set id = id',
    "  \n UPDATE {} SET id = id",
    "DELETE FROM {}",
    'INSERT INTO "{}" DEFAULT VALUES',
    "INSERT OR REPLACE INTO {} DEFAULT VALUES",
    "REPLACE INTO {} VALUES (1)",
    "UPDATE OR IGNORE {} SET id = id",
    "UPDATE ONLY {} SET id = id",
    "WITH x AS (SELECT 1) DELETE FROM {}",
    "/* quietly */ DELETE FROM {}",
    "DELETE /* quietly */ FROM {}",
    "DELETE -- quietly\n FROM {}",
    "SELECT 1; DELETE FROM {}",
    'DELETE FROM public."{}"',
    'DELETE FROM "public"."{}"',
    "TRUNCATE {}",
    "TRUNCATE TABLE ONLY {}",
    "COPY {} FROM STDIN",
    "UPDATE ARCHIVE_DECISION SET id = id",
]


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.django_db
def test_sql_past_the_log_is_refused(statement):
    with connection.cursor() as cursor, pytest.raises(UnrecordedChange):
        cursor.execute(statement.format("archive_decision"))
    with connection.cursor() as cursor, pytest.raises(UnrecordedChange):
        cursor.executemany(statement.format("archive_decision"), [()])


@pytest.mark.parametrize(
    "statement",
    [
        'SELECT * FROM "archive_decision"',
        "UPDATE archive_job SET attempts = attempts",
        "DELETE FROM django_session",
    ],
)
@pytest.mark.django_db
def test_other_sql_passes(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.django_db
def test_roles_are_guarded_although_they_are_rows_of_django():
    person = cast.person()
    assert {"archive_user_groups", "archive_user_user_permissions"} <= guarded_tables()
    for write in (
        lambda: person.groups.clear(),
        lambda: person.groups.add(1),
        lambda: person.user_permissions.add(1),
    ):
        with pytest.raises(UnrecordedChange), transaction.atomic():
            write()


@pytest.mark.django_db
def test_signing_in_may_write_its_time_and_nothing_else_of_a_person():
    person = cast.person()
    person.last_login = timezone.now()
    person.save(update_fields=["last_login"])
    person.set_password("another long pass-phrase")
    person.save(update_fields=["password"])
    for fields in (["is_active"], ["last_login", "is_active"], ["username"], ["is_superuser"], None):
        with pytest.raises(UnrecordedChange), transaction.atomic():
            person.save(update_fields=fields)
    with pytest.raises(UnrecordedChange), transaction.atomic():
        User.objects.update(password="!")


@pytest.mark.django_db
def test_a_refused_write_leaves_the_row_as_it_was():
    case = cast.case(code="KEEP")
    case.code = "CHANGED"
    with pytest.raises(UnrecordedChange, match="custody.write"), transaction.atomic():
        case.save()
    with pytest.raises(UnrecordedChange), transaction.atomic():
        CaseGrant.objects.all().delete()
    with pytest.raises(UnrecordedChange), transaction.atomic():
        Case.objects.filter(code="KEEP").update(code="CHANGED")
    assert Case.objects.get().code == "KEEP"


@pytest.mark.django_db(transaction=True)
def test_a_connection_of_another_thread_is_guarded_too():
    import threading

    raised = []

    def write() -> None:
        try:
            Tag.objects.all()._raw_delete("default")
        except UnrecordedChange as error:
            raised.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    assert len(raised) == 1


# --- who may open the gate ----------------------------------------------------------------------------------------

MAY_RECORD = {
    "archive/custody/anchors.py",
    "archive/custody/batch.py",
    "archive/custody/erasure.py",
    "archive/custody/log.py",
    "archive/custody/map.py",
    "archive/custody/publish.py",
    "archive/custody/sequence.py",
    "archive/custody/tiles.py",
    "archive/custody/checkpoint.py",
    "archive/people.py",
}


@pytest.mark.parametrize("path", OURS, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_log_and_the_roles_of_people_open_the_gate(path):
    relative = str(path.relative_to(ROOT))
    used = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("archive.custody"):
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Attribute):
            used.add(node.attr)
    if relative not in MAY_RECORD:
        assert not used & {"recording", "_recording", "execute_wrappers", "execute_wrapper"}


@pytest.mark.parametrize("path", OURS, ids=lambda p: str(p.relative_to(ROOT)))
def test_nobody_takes_a_connection_of_their_own(path):
    """A driver opened past Django would have no guard."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif (
            isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("psycopg.types.")
        ):
            imported.add(node.module.split(".")[0])  # how values are read opens nothing
    assert not imported & {"sqlite3", "psycopg", "psycopg2"}


# --- the triggers -------------------------------------------------------------------------------------------------


def triggers_there() -> set[str]:
    """Those that refuse; the index of words has some of its own on SQLite."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")
        else:
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        return {name for (name,) in cursor.fetchall() if "_no_" in name}


@pytest.mark.django_db
def test_every_table_that_only_grows_has_its_triggers():
    acts = ["update", "delete"] + (["truncate"] if connection.vendor == "postgresql" else [])
    assert {f"{table}_no_{act}" for table in triggers.APPEND_ONLY for act in acts} <= triggers_there()


@pytest.mark.django_db
def test_triggers_that_a_migration_lost_are_back_after_it():
    before = triggers_there()
    triggers.remove(connection)
    assert not triggers_there() & before
    emit_post_migrate_signal(verbosity=0, interactive=False, db="default")
    assert triggers_there() == before


@pytest.fixture
def rows():
    """One row at least in every table that only grows."""
    from archive import annotate, viewing
    from archive.custody import Actor
    from archive.custody.publish import publish

    researcher = cast.person()
    case = cast.case(owner=researcher)
    item, actor = cast.item(case), cast.signed_in(researcher)
    annotate.note(item=item, text="A bridge", actor=actor)
    viewing.look(item=item, actor=actor)
    checkpoint = publish(actor=Actor.operator())
    with recording():
        now = timezone.now()
        Cosignature.objects.create(checkpoint=checkpoint, witness="w", line="-", stated_at=now)
        Timestamp.objects.create(checkpoint=checkpoint, authority="a", response=b"-", stated_at=now)
    return item


@pytest.mark.parametrize("act", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
@pytest.mark.parametrize("table", triggers.APPEND_ONLY)
@pytest.mark.django_db
def test_the_database_itself_refuses_to_change_history(rows, table, act):
    truncate = act.startswith("TRUNCATE")
    if truncate and connection.vendor != "postgresql":
        pytest.skip("SQLite knows no TRUNCATE")
    connection.check_constraints()  # PostgreSQL truncates nothing that has checks to do
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {table}")
        (count,) = cursor.fetchone()
        if not count and not truncate:
            assert table in {
                "archive_claim",
                "archive_custodyerasure",
                "archive_finding",
                "archive_decision",
                "archive_postponement",
                "evidence_bundlevolume",
                "evidence_consentoverride",
                "evidence_disclosurerecord",
            } or table.startswith("triage_")
            return  # nothing in it for a row trigger to refuse; that the trigger is there is tested above
        column = "event_id" if table == "archive_custodyposition" else "id"
        with (
            pytest.raises(DatabaseError, match="append-only"),
            recording(),
            transaction.atomic(),
        ):
            cursor.execute(act.format(table, column, column))


def test_what_is_written_once_only_is_append_only_in_the_database():
    once = {m._meta.db_table for m in (CustodyEvent, Note, Decision)}
    assert once <= set(triggers.APPEND_ONLY)
    assert not {m._meta.db_table for m in (Item, CaseGrant)} & set(triggers.APPEND_ONLY)
