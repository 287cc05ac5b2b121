"""manage.py person add NAME --role ROLE... | list | roles NAME ROLE... | password NAME"""

import secrets
from argparse import ArgumentParser
from typing import Any

from archive import access, people
from archive.custody import Actor
from archive.errors import NotFound
from archive.management.base import Command as Base
from archive.models import User


class Command(Base):
    """People from the shell."""

    help = "Add a person, set their roles, list people, or set a new password."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="act", required=True)
        add = commands.add_parser("add", help="add a person and print a random password")
        add.add_argument("username")
        add.add_argument("--name", default="")
        add.add_argument("--role", action="append", choices=access.ROLES, required=True)
        roles = commands.add_parser("roles", help="set exactly these roles")
        roles.add_argument("username")
        roles.add_argument("roles", nargs="*", choices=access.ROLES)
        commands.add_parser("list", help="sign-in names, roles, whether active")
        password = commands.add_parser("password", help="set and print a new random password")
        password.add_argument("username")

    def work(self, *, act: str, **options: Any) -> None:
        getattr(self, act)(**options)

    def add(self, *, username: str, name: str, role: list[str], **_: Any) -> None:
        """Add a person."""
        password = secrets.token_urlsafe(12)
        people.add(username=username, name=name, roles=tuple(role), actor=Actor.operator(), password=password)
        self.stdout.write(f"{username}  {password}")

    def roles(self, *, username: str, roles: list[str], **_: Any) -> None:
        """Set roles."""
        people.set_roles(person=_find(username), roles=tuple(roles), actor=Actor.operator())
        self.stdout.write(f"{username}: {', '.join(roles) or 'no role'}")

    def list(self, **_: Any) -> None:
        """List people."""
        for person in User.objects.order_by("username"):
            self.stdout.write(
                f"{person.username}\t{person.role_names()}\t{'active' if person.is_active else 'closed'}"
            )

    def password(self, *, username: str, **_: Any) -> None:
        """Set a new password."""
        password = secrets.token_urlsafe(12)
        people.set_password(person=_find(username), password=password, actor=Actor.operator())
        self.stdout.write(f"{username}  {password}")


def _find(username: str) -> User:
    found = User.objects.filter(username__iexact=username).first()
    if found is None:
        raise NotFound(f"Nobody signs in as {username}.")
    return found
