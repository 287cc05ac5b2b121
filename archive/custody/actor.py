"""Who acts. Always an argument of a verb, never found in a thread."""

import contextlib
import getpass
import hashlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from archive.errors import NotAllowed

if TYPE_CHECKING:
    from django.http import HttpRequest

    from archive.models import User

_unattended: ContextVar[bool] = ContextVar("unattended", default=False)


@contextlib.contextmanager
def unattended() -> Iterator[None]:
    """Mark everything inside as done by a worker: no event that needs a human can be written here."""
    token = _unattended.set(True)
    try:
        yield
    finally:
        _unattended.reset(token)


def is_unattended() -> bool:
    """Whether a worker, not a request or a shell, is running this code."""
    return _unattended.get()


@dataclass(frozen=True)
class Actor:
    """A signed-in person, the instance's shell operator, or a part of the system.

    `session` is a hash of the web session: only `Actor.of` sets it, and only an actor that has it is signed in.
    """

    kind: Literal["person", "operator", "system"]
    id: str = ""
    name: str = ""
    role: str = ""
    session: str = field(default="", repr=False)
    user: "User | None" = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, request: "HttpRequest") -> "Actor":
        """The signed-in person who sent this request. Raises NotAllowed when nobody is signed in."""
        user = request.user
        key = getattr(getattr(request, "session", None), "session_key", None)
        if not user.is_authenticated or not key or is_unattended():
            raise NotAllowed("Sign in first.")
        session = hashlib.sha256(b"amparo session" + key.encode()).hexdigest()[:16]
        return cls("person", str(user.pk), user.name, user.role_names(), session, user)

    @classmethod
    def operator(cls) -> "Actor":
        """The person at the instance's own shell, by operating-system name."""
        return cls("operator", name=getpass.getuser(), role="operator")

    @classmethod
    def system(cls, part: str = "worker") -> "Actor":
        """A part of Amparo acting by itself. It can decide nothing."""
        return cls("system", role=part)

    @property
    def signed_in(self) -> bool:
        """Whether this is a person in a web session."""
        return self.kind == "person" and bool(self.session)
