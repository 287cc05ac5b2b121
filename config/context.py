"""What every page knows about its surroundings."""

from django.conf import settings
from django.http import HttpRequest

from archive import access
from archive.jobs import unserved_queues
from archive.keys import KEYS


def surroundings(request: HttpRequest) -> dict:
    """Version, keys, whether this is a right-to-left page, and queues that nobody serves (signed-in people only)."""
    user = getattr(request, "user", None)
    signed_in = bool(user and user.is_authenticated)
    return {
        "version": settings.VERSION,
        "keys": KEYS,
        "unserved_queues": unserved_queues() if signed_in else [],
        "may_manage_people": signed_in and access.can(user, "manage_people"),
    }
