"""manage.py case open CODE --title TITLE [--owner NAME] | list | share CODE NAME [--may-export] ..."""

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.utils.timezone import make_aware

from archive import access, cases
from archive.custody import Actor
from archive.errors import BadInput, NotFound
from archive.management.base import Command as Base
from archive.models import Case, User


class Command(Base):
    """Cases from the shell."""

    help = "Open a case, list cases, or share one with a person."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="act", required=True)
        new = commands.add_parser("open", help="open a case")
        new.add_argument("code")
        new.add_argument("--title", required=True)
        new.add_argument("--mandate", default="")
        new.add_argument("--owner", help="sign-in name of the person who can see and share it at first")
        commands.add_parser("list", help="codes and statuses of all cases")
        share = commands.add_parser("share", help="let a person see a case")
        share.add_argument("code")
        share.add_argument("person", help="sign-in name")
        share.add_argument("--may-export", action="store_true")
        share.add_argument("--may-see-identities", action="store_true")
        share.add_argument("--may-manage", action="store_true")
        share.add_argument("--until", help="last moment of the access, ISO 8601 (2027-01-31T18:00)")

    def work(self, *, act: str, **options: Any) -> None:
        getattr(self, act)(**options)

    def open(self, *, code: str, title: str, mandate: str, owner: str | None, **_: Any) -> None:
        """Open a case."""
        person = _person(owner) if owner else None
        cases.open_case(code=code, title=title, mandate=mandate, actor=Actor.operator(), owner=person)
        self.stdout.write(f"Case {code} is open.")
        if person is None:
            self.stdout.write(
                f"Nobody sees it yet. Share it: ./manage case share {code} SIGN-IN-NAME --may-manage"
            )

    def list(self, **_: Any) -> None:
        """List all cases."""
        for code, status in Case.objects.values_list("code", "status"):
            self.stdout.write(f"{code}\t{status}")

    def share(self, *, code: str, person: str, until: str | None, **options: Any) -> None:
        """Set what a person may do on a case."""
        case = Case.objects.filter(code=code).first()
        if case is None:
            raise NotFound(f"There is no case {code}.")
        wanted = [access.VIEW]
        for option, permission in (
            ("may_export", access.EXPORT),
            ("may_see_identities", access.IDENTITY),
            ("may_manage", access.MANAGE),
        ):
            if options[option]:
                wanted.append(permission)
        access.share(
            case=case,
            person=_person(person),
            actor=Actor.operator(),
            permissions=tuple(wanted),
            ends_at=_moment(until) if until else None,
        )
        self.stdout.write(f"{person} on {code}: {', '.join(wanted)}.")


def _person(username: str) -> User:
    found = User.objects.filter(username__iexact=username).first()
    if found is None:
        raise NotFound(
            f"Nobody signs in as {username}. Add them: ./manage person add {username} --role researcher"
        )
    return found


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput("Write the end as 2027-01-31T18:00 (UTC, or with a zone).") from error
    return moment if moment.tzinfo else make_aware(moment)
