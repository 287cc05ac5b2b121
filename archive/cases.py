"""Cases and sources: open, change, record, seal an identity."""

import secrets
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from archive import access, custody, holds, sealing
from archive.custody import Actor
from archive.custody.canonical import commitment
from archive.errors import BadInput, NotFound
from archive.models import Case, CaseCounter, Source, User

CHANGEABLE = ("title", "mandate", "status", "sensitivity", "retention", "retain_until")
SOURCE_FIELDS = (
    "pseudonym",
    "kind",
    "reliability",
    "consent_informed",
    "consent_scope",
    "consent_date",
    "consent_ends",
    "may_be_public",
    "may_go_to_courts",
    "legal_basis",
)


def open_case(*, code: str, title: str, actor: Actor, owner: User | None = None, **fields: Any) -> Case:
    """Open a case and share it with its owner (the signed-in person, or the one named at the shell).

    The owner may see and share it; exporting and seeing identities are granted apart. Raises NotAllowed, BadInput.
    """
    access.require(actor, "create_case")
    owner = owner or actor.user
    case = Case(code=code, title=title, created_at=timezone.now(), **fields)
    try:
        with transaction.atomic(durable=True):
            custody.write(case, event="case.opened", actor=actor)
            CaseCounter.objects.create(case=case)
            if owner is not None:
                access.set_grants(
                    case=case,
                    person=owner,
                    actor=actor,
                    permissions=(access.VIEW, access.MANAGE),
                    ends_at=None,
                )
    except ValidationError as error:
        raise BadInput(_words(error)) from error
    except IntegrityError as error:
        raise BadInput(f"The code {code} is taken: choose another.") from error
    return case


def change_case(*, case: Case, actor: Actor, reason: str = "", **fields: Any) -> Case:
    """Change a case's title, mandate, status, sensitivity or retention."""
    access.require(actor, "edit_case", case)
    unknown = set(fields) - set(CHANGEABLE)
    if unknown:
        raise BadInput(f"These cannot be changed: {', '.join(sorted(unknown))}.")
    changed = {name: value for name, value in fields.items() if getattr(case, name) != value}
    if not changed:
        return case
    try:
        with transaction.atomic(durable=True):
            if shortened(case, changed):
                holds.lock(case)
                holds.require_none(holds.on_items(case, ()))
            return custody.change(case, event="case.changed", actor=actor, reason=reason, **changed)
    except ValidationError as error:
        raise BadInput(_words(error)) from error


def shortened(case: Case, changed: dict[str, Any]) -> bool:
    """Whether a change lets a case's retention end sooner."""
    until = changed.get("retain_until", case.retain_until)
    return case.retain_until is not None and (until is None or until < case.retain_until)


def add_source(*, case: Case, code: str, actor: Actor, **fields: Any) -> Source:
    """Record who or where material comes from, by pseudonym."""
    access.require(actor, "edit_sources", case)
    try:
        with transaction.atomic(durable=True):
            return custody.write(
                Source(case=case, code=code, created_at=timezone.now(), **fields),
                event="source.recorded",
                actor=actor,
            )
    except ValidationError as error:
        raise BadInput(_words(error)) from error
    except IntegrityError as error:
        raise BadInput(f"The code {code} is taken in this case: choose another.") from error


def change_source(*, source: Source, actor: Actor, reason: str = "", **fields: Any) -> Source:
    """Change what is known of a source: consent, reliability, pseudonym."""
    access.require(actor, "edit_sources", source.case)
    changed = {n: v for n, v in fields.items() if n in SOURCE_FIELDS and getattr(source, n) != v}
    if not changed:
        return source
    try:
        with transaction.atomic(durable=True):
            return custody.change(source, event="source.changed", actor=actor, reason=reason, **changed)
    except ValidationError as error:
        raise BadInput(_words(error)) from error


def set_identity(*, source: Source, identity: str, actor: Actor, reason: str = "") -> Source:
    """Seal a source's real identity. The event commits to it; the salt is sealed with it, nowhere else."""
    access.require(actor, "edit_sources", source.case)
    if not identity.strip():
        raise BadInput("Write the identity that is to be sealed.")
    salt = secrets.token_hex(32)
    key, sealed = sealing.seal({"identity": identity, "salt": salt}, context=source.custody_subject())
    with transaction.atomic(durable=True):
        return custody.change(
            source,
            event="source.identity_set",
            actor=actor,
            reason=reason,
            expect={"identity_version": source.identity_version},
            also={"identity": {"commitment": commitment(salt, "/payload/identity", identity)}},
            identity_key=key,
            identity_sealed=sealed,
            identity_version=source.identity_version + 1,
            identity_destroyed_at=None,
        )


def see_identity(*, source: Source, actor: Actor, reason: str) -> str:
    """Return a source's real identity; that it was seen, by whom and why, is an event."""
    access.require(actor, "see_identity", source.case)
    if not reason.strip():
        raise BadInput("Say why you need to see it: the reason goes into the custody log.")
    if source.identity_destroyed_at is not None:
        raise NotFound("The identity was destroyed: nobody can read it again, not even this archive.")
    if source.identity_sealed is None:
        raise NotFound("No identity was recorded for this source.")
    opened = sealing.unseal(source.identity_key, source.identity_sealed, context=source.custody_subject())
    with transaction.atomic(durable=True):
        custody.record(source, event="source.identity_seen", actor=actor, reason=reason)
    return opened["identity"]


def rewrap_identities(*, actor: Actor) -> int:
    """After a rotation of the vault's key: wrap the keys of sealed identities anew. Returns how many."""
    renewed = 0
    for source in Source.objects.exclude(identity_key=None).iterator():
        key = sealing.rewrap(source.identity_key, context=source.custody_subject())
        if key is None:
            continue
        with transaction.atomic(durable=True):
            custody.change(
                source,
                event="source.identity_rewrapped",
                actor=actor,
                expect={"identity_version": source.identity_version, "identity_destroyed_at": None},
                identity_key=key,
            )
        renewed += 1
    return renewed


def _words(error: ValidationError) -> str:
    if hasattr(error, "message_dict"):
        return " ".join(f"{name}: {' '.join(words)}" for name, words in error.message_dict.items())
    return " ".join(error.messages)
