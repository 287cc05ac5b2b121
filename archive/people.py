"""People and their roles: add, change, sign-in links."""

import hashlib
import secrets
from datetime import timedelta

from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from archive import access, custody
from archive.custody import Actor
from archive.custody.log import recording
from archive.errors import BadInput, NotFound
from archive.models import SignInLink, User

LINK_LIFETIME = timedelta(hours=24)


def add(
    *, username: str, name: str, roles: tuple[str, ...], actor: Actor, password: str | None = None
) -> User:
    """Add a person who can sign in. Without a password they need a sign-in link.

    Raises NotAllowed, or BadInput when the name is taken, a role unknown or the password weak.
    """
    access.require(actor, "manage_people")
    person = User(username=username.strip(), name=name.strip() or username.strip())
    _set_password(person, password)
    if User.objects.filter(username__iexact=person.username).exists():
        raise BadInput("That sign-in name is taken: choose another.")
    try:
        with transaction.atomic(durable=True):
            custody.write(person, event="system.person_added", actor=actor)
            _set_roles(person, roles, actor)
    except (IntegrityError, ValidationError) as error:
        raise BadInput(
            "That sign-in name cannot be used: choose another, of at most 80 characters."
        ) from error
    return person


def set_roles(*, person: User, roles: tuple[str, ...], actor: Actor) -> None:
    """Set exactly which roles a person has."""
    access.require(actor, "manage_people")
    with transaction.atomic(durable=True):
        _set_roles(person, roles, actor)


def set_active(*, person: User, active: bool, actor: Actor) -> None:
    """Let a person sign in, or not any more. Nothing of theirs is deleted."""
    access.require(actor, "manage_people")
    if actor.id == str(person.pk) and not active:
        raise BadInput("You cannot close your own account: ask another administrator.")
    with transaction.atomic(durable=True):
        custody.change(person, event="system.person_changed", actor=actor, is_active=active)


def set_password(*, person: User, password: str, actor: Actor) -> None:
    """Give a person a new password. The event says that it changed, not what it is.

    One that somebody else chose has to be changed at the next sign-in.
    """
    if actor.id != str(person.pk):
        access.require(actor, "manage_people")
    _set_password(person, password)
    with transaction.atomic(durable=True):
        custody.change(
            person,
            event="system.person_changed",
            actor=actor,
            also={"password": "changed"},
            password=person.password,
            must_change_password=actor.id != str(person.pk),
        )


def _set_password(person: User, password: str | None) -> None:
    if password is None:
        person.set_unusable_password()
        return
    try:
        validate_password(password, person)
    except ValidationError as error:
        raise BadInput(" ".join(error.messages)) from error
    person.set_password(password)


def _set_roles(person: User, roles: tuple[str, ...], actor: Actor) -> None:
    unknown = set(roles) - set(access.ROLES)
    if unknown:
        raise BadInput(f"Unknown role {', '.join(sorted(unknown))}: choose from {', '.join(access.ROLES)}.")
    with recording():
        person.groups.set(Group.objects.filter(name__in=roles))
    person.__dict__.pop("_roles", None)
    custody.record(
        person,
        event="system.roles_changed",
        actor=actor,
        payload={"person": str(person.pk), "roles": sorted(roles)},
    )


# --- one-time links -----------------------------------------------------------------------------------------------


def make_sign_in_link(*, person: User, actor: Actor) -> str:
    """Return a token that signs this person in once within 24 hours. Only its hash is stored."""
    access.require(actor, "manage_people")
    token = secrets.token_urlsafe(32)
    with transaction.atomic(durable=True):
        SignInLink.objects.create(
            token_hash=_hash(token), user=person, expires_at=timezone.now() + LINK_LIFETIME
        )
        custody.record(
            person, event="system.sign_in_link_made", actor=actor, payload={"person": str(person.pk)}
        )
    return token


def use_sign_in_link(token: str) -> User:
    """Return the person whom an unused, unexpired link is for, and use it up. Raises NotFound otherwise."""
    now = timezone.now()
    with transaction.atomic(durable=True):
        usable = SignInLink.objects.filter(used_at=None, expires_at__gt=now, user__is_active=True)
        hit = usable.filter(token_hash=_hash(token)).update(used_at=now)
        if hit != 1:
            raise NotFound("This link was used already or has expired. Ask an administrator for a new one.")
        return SignInLink.objects.select_related("user").get(token_hash=_hash(token)).user


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
