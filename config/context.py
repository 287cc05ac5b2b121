"""What every page knows about its surroundings."""

from django.conf import settings
from django.http import HttpRequest

from archive import access, alarms
from archive.jobs import unserved_queues
from triage.alerts import unseen


def surroundings(request: HttpRequest) -> dict:
    """Version, light or dark, lines of the side list without use; to signed-in people, queues that nobody serves and
    what is wrong: what may harm evidence to everybody, the rest to administrators. How many digests of alerts wait."""
    user = getattr(request, "user", None)
    signed_in = bool(user and user.is_authenticated)
    may_manage_people = user is not None and signed_in and access.can(user, "manage_people")
    wrong = alarms.open_now() if signed_in else []
    return {
        "version": settings.VERSION,
        "theme": request.session.get("theme", "") if hasattr(request, "session") else "",
        "hidden_lines": () if may_manage_people else ("accounts", "system", "bundles-all"),
        "unserved_queues": unserved_queues() if signed_in else [],
        "may_manage_people": may_manage_people,
        "alerts_unseen": unseen(user) if user is not None and signed_in else 0,
        "alarms": [alarm for alarm in wrong if alarm.grave or may_manage_people],
    }
