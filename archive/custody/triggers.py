"""Database triggers that refuse UPDATE, DELETE and TRUNCATE where history is kept (PostgreSQL and SQLite).

They stop mistakes and ordinary accounts. Whoever owns the database can drop them: what such a person changes is
found by `custody verify`, not prevented.

One door is left open, and it is narrow: an opening can be deleted when a row of archive_custodyerasure, which is itself
append-only, says by which certificate event it is destroyed (archive/custody/erasure.py).
"""

from typing import Any

OPENINGS, ERASURES = "archive_custodyopening", "archive_custodyerasure"

APPEND_ONLY = (
    "archive_custodyevent",
    "archive_custodyopening",
    "archive_custodyerasure",
    "archive_custodyposition",
    "archive_checkpoint",
    "archive_cosignature",
    "archive_timestamp",
    "archive_mappage",
    "archive_maphead",
    "archive_acquisition",
    "archive_claim",
    "archive_finding",
    "archive_note",
    "archive_decision",
    "archive_postponement",
    "triage_answer",
    "triage_known",
    "triage_ordering",
    "triage_column",
    "triage_ranking",
    "triage_caseanalysis",
    "triage_draw",
    "triage_secondshare",
    "triage_secondreading",
    "triage_secondlook",
    "evidence_bundlevolume",
    "evidence_consentoverride",
    "evidence_disclosurerecord",
)


def install(connection: Any) -> None:
    """Create the triggers on an open connection, where they are missing, on the tables that are there by now.

    Called after every migration too: SQLite rebuilds a table that a migration changes, and loses its triggers.
    """
    present = set(connection.introspection.table_names())
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "CREATE OR REPLACE FUNCTION amparo_refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'append-only: % on % is refused', TG_OP, TG_TABLE_NAME; END $$"
            )
        for table in (name for name in APPEND_ONLY if name in present):
            for statement in _create(connection.vendor, table):
                cursor.execute(statement)
        if {OPENINGS, ERASURES} <= present:
            for statement in _door(connection.vendor):
                cursor.execute(statement)


def remove(connection: Any) -> None:
    """Drop the triggers (reverse of the migration)."""
    present = set(connection.introspection.table_names())
    with connection.cursor() as cursor:
        for table in (name for name in APPEND_ONLY if name in present):
            for name in _names(connection.vendor, table):
                on = f" ON {table}" if connection.vendor == "postgresql" else ""
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}{on}")


def _names(vendor: str, table: str) -> list[str]:
    acts = ["update", "delete"] + (["truncate"] if vendor == "postgresql" else [])
    return [f"{table}_no_{act}" for act in acts]


def _create(vendor: str, table: str) -> list[str]:
    if vendor == "postgresql":
        return [
            f"CREATE OR REPLACE TRIGGER {table}_no_update BEFORE UPDATE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION amparo_refuse()",
            f"CREATE OR REPLACE TRIGGER {table}_no_delete BEFORE DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION amparo_refuse()",
            f"CREATE OR REPLACE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION amparo_refuse()",
        ]
    return [
        f"CREATE TRIGGER IF NOT EXISTS {table}_no_{act} BEFORE {act.upper()} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, 'append-only: {act} on {table} is refused'); END"
        for act in ("update", "delete")
    ]


def _door(vendor: str) -> list[str]:
    """In place of the trigger that refuses every DELETE of an opening: one that asks for its erasure's row."""
    recorded = f"SELECT 1 FROM {ERASURES} WHERE event_id = OLD.event_id AND pointer = OLD.pointer"
    words = "an opening is deleted only under a recorded erasure"
    name = f"{OPENINGS}_no_delete"
    if vendor == "postgresql":
        return [
            "CREATE OR REPLACE FUNCTION amparo_refuse_opening() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN IF EXISTS ({recorded}) THEN RETURN OLD; END IF; "
            f"RAISE EXCEPTION 'append-only: {words}'; END $$",
            f"CREATE OR REPLACE TRIGGER {name} BEFORE DELETE ON {OPENINGS} "
            "FOR EACH ROW EXECUTE FUNCTION amparo_refuse_opening()",
        ]
    return [
        f"DROP TRIGGER IF EXISTS {name}",
        f"CREATE TRIGGER {name} BEFORE DELETE ON {OPENINGS} WHEN NOT EXISTS ({recorded}) "
        f"BEGIN SELECT RAISE(ABORT, 'append-only: {words}'); END",
    ]
