"""manage.py signin_link [NAME]: a one-time link for the first administrator, or for the person named."""

from argparse import ArgumentParser
from typing import Any

from archive import people
from archive.custody import Actor
from archive.errors import NotFound
from archive.management.base import Command as Base
from archive.models import User


class Command(Base):
    """Print a path that signs somebody in once."""

    help = (
        "Print a path that signs a person in once within 24 hours; without a name, the first administrator."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", nargs="?")

    def work(self, *, username: str | None, **_: Any) -> None:
        wanted = User.objects.filter(is_active=True)
        wanted = (
            wanted.filter(username__iexact=username)
            if username
            else wanted.filter(groups__name="administrator")
        )
        person = wanted.order_by("created_at").first()
        if person is None:
            raise NotFound("There is no such person. Add one: ./manage person add NAME --role administrator")
        token = people.make_sign_in_link(person=person, actor=Actor.operator())
        self.stdout.write(f"/signin/once/{token}")
