"""Who may see and do what: one table of rules in three forms. Every query for people starts here.

A person may act on a case when a grant of the needed permission, not yet ended, ties them to it, and one of their
roles is listed for the act. Being an administrator or a superuser opens no case that was not shared.

    visible_to(user)         on Case and Item querysets, by `shared_case_ids`
    can(who, act, case)      one answer
    who_can(act, case)       all people who could
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from archive import custody
from archive.custody import Actor
from archive.errors import BadInput, Conflict, NotAllowed
from archive.models import Case, CaseGrant, User

ADMINISTRATOR, RESEARCHER, REVIEWER = "administrator", "researcher", "reviewer"
LEGAL, DATA_SCIENTIST, OBSERVER = "legal", "data_scientist", "observer"
ROLES = (ADMINISTRATOR, RESEARCHER, REVIEWER, LEGAL, DATA_SCIENTIST, OBSERVER)
EVERYONE = frozenset(ROLES)

VIEW, EXPORT, IDENTITY, MANAGE = "view_case", "export_case", "see_identity", "manage_case"
GRANTABLE = (VIEW, EXPORT, IDENTITY, MANAGE)


@dataclass(frozen=True)
class Rule:
    """Roles that may do an act, and the permission on the case that it needs (empty for acts on no case)."""

    roles: frozenset[str]
    permission: str = VIEW


RULES: dict[str, Rule] = {
    "view": Rule(EVERYONE),
    "view_original": Rule(EVERYONE),
    "download": Rule(frozenset({ADMINISTRATOR, RESEARCHER, LEGAL})),
    "add_items": Rule(frozenset({ADMINISTRATOR, RESEARCHER})),
    "edit_sources": Rule(frozenset({ADMINISTRATOR, RESEARCHER})),
    "annotate": Rule(frozenset({ADMINISTRATOR, RESEARCHER, REVIEWER, LEGAL})),
    "assign": Rule(frozenset({ADMINISTRATOR, RESEARCHER})),
    "decide": Rule(frozenset({ADMINISTRATOR, RESEARCHER})),
    "edit_criteria": Rule(frozenset({ADMINISTRATOR, RESEARCHER, DATA_SCIENTIST})),
    "subscribe": Rule(frozenset({ADMINISTRATOR, RESEARCHER, REVIEWER, LEGAL, DATA_SCIENTIST})),
    "redact": Rule(frozenset({ADMINISTRATOR, RESEARCHER, LEGAL})),
    "export": Rule(frozenset({ADMINISTRATOR, RESEARCHER, LEGAL}), EXPORT),
    "see_identity": Rule(frozenset({ADMINISTRATOR, RESEARCHER, LEGAL}), IDENTITY),
    "edit_case": Rule(frozenset({ADMINISTRATOR, RESEARCHER}), MANAGE),
    "share": Rule(frozenset({ADMINISTRATOR, RESEARCHER}), MANAGE),
    "read_log": Rule(frozenset({ADMINISTRATOR, RESEARCHER, LEGAL})),
    "hold": Rule(frozenset({ADMINISTRATOR, LEGAL})),
    "request_disposal": Rule(frozenset({ADMINISTRATOR, RESEARCHER, LEGAL}), MANAGE),
    "approve_disposal": Rule(frozenset({ADMINISTRATOR, LEGAL}), MANAGE),
    # acts on no case
    "create_case": Rule(frozenset({ADMINISTRATOR, RESEARCHER}), ""),
    "manage_people": Rule(frozenset({ADMINISTRATOR}), ""),
    "allow_destinations": Rule(frozenset({ADMINISTRATOR}), ""),
    "see_all_jobs": Rule(frozenset({ADMINISTRATOR}), ""),
    "export_all": Rule(frozenset({ADMINISTRATOR}), ""),  # of the cases that they may export
    "see_system": Rule(frozenset({ADMINISTRATOR}), ""),
}


def _grants(permission: str) -> QuerySet:
    live = Q(ends_at=None) | Q(ends_at__gt=timezone.now())
    return CaseGrant.objects.filter(live, permission__codename=permission)


def shared_case_ids(user: Any, permission: str = VIEW) -> QuerySet:
    """Ids of the cases on which a person holds a permission now, as a subquery."""
    if not getattr(user, "is_authenticated", False) or not user.is_active:
        return CaseGrant.objects.none().values("content_object_id")
    return _grants(permission).filter(user=user).values("content_object_id")


def can(who: "Actor | User", act: str, case: Case | None = None) -> bool:
    """Whether a person may do an act. The shell operator may do what needs no signed-in person."""
    rule = RULES[act]
    if isinstance(who, Actor):
        if who.kind == "operator":
            return True
        who = who.user
    if who is None or not who.is_authenticated or not who.is_active or not (who.roles() & rule.roles):
        return False
    if not rule.permission:
        return True
    if case is None:
        raise ValueError(f"The act {act!r} is done on a case: name it")
    held = shared_case_ids(who, rule.permission).filter(content_object_id=case.pk).exists()
    return held and (rule.permission == VIEW or can(who, "view", case))


def require(who: "Actor | User", act: str, case: Case | None = None) -> None:
    """Raise NotAllowed unless `can`."""
    if not can(who, act, case):
        raise NotAllowed("There is nothing here that you may do this with.")


def who_can(act: str, case: Case | None = None) -> QuerySet:
    """All people who may do an act (on a case)."""
    rule = RULES[act]
    people = User.objects.filter(is_active=True, groups__name__in=rule.roles)
    for permission in {VIEW, rule.permission} if rule.permission else ():
        people = people.filter(pk__in=_grants(permission).filter(content_object=case).values("user_id"))
    return people.distinct()


# --- sharing ----------------------------------------------------------------------------------------------------


def share(
    *,
    case: Case,
    person: User,
    actor: Actor,
    permissions: tuple[str, ...] = (VIEW,),
    ends_at: datetime | None = None,
) -> None:
    """Set exactly which permissions a person holds on a case, and until when. No permission at all ends the access.

    Raises NotAllowed when the actor may not share, BadInput for an unknown permission or an end in the past.
    """
    require(actor, "share", case)
    _require_grantable(permissions, ends_at)
    try:
        with transaction.atomic(durable=True):
            set_grants(case=case, person=person, actor=actor, permissions=permissions, ends_at=ends_at)
    except IntegrityError as error:
        raise Conflict(
            "Somebody else shared this case with the same person at the same time. Look again."
        ) from error


def _require_grantable(permissions: tuple[str, ...], ends_at: datetime | None) -> None:
    unknown = set(permissions) - set(GRANTABLE)
    if unknown:
        raise BadInput(
            f"Unknown permission {', '.join(sorted(unknown))}: choose from {', '.join(GRANTABLE)}."
        )
    if permissions and VIEW not in permissions:
        raise BadInput("Who may do something with a case must also see it: add view_case.")
    if ends_at is not None and ends_at <= timezone.now():
        raise BadInput("The end lies in the past: choose a later day.")


def set_grants(
    *, case: Case, person: User, actor: Actor, permissions: tuple[str, ...], ends_at: datetime | None
) -> None:
    """The inner form of `share`, for a caller that has a transaction open (opening a case)."""
    held = {g.permission.codename: g for g in CaseGrant.objects.filter(user=person, content_object=case)}
    for codename in GRANTABLE:
        grant = held.get(codename)
        if codename not in permissions:
            if grant:
                custody.erase(grant, event="case.unshared", actor=actor)
        elif grant is None:
            custody.write(
                CaseGrant(
                    user=person,
                    permission=_permission(codename),
                    content_object=case,
                    ends_at=ends_at,
                    granted_at=timezone.now(),
                ),
                event="case.shared",
                actor=actor,
                also={"permission": codename},
            )
        elif grant.ends_at != ends_at:
            custody.change(
                grant, event="case.share_changed", actor=actor, ends_at=ends_at, also={"permission": codename}
            )


def _permission(codename: str) -> Permission:
    return Permission.objects.get(content_type=ContentType.objects.get_for_model(Case), codename=codename)
