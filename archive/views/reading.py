"""That a person reads a chain of the custody log is an event too, in that chain: once for each session and hour.

Without that bound, a page that is looked at again and again would bury what it shows.
"""

import time

from django.http import HttpRequest

from archive import access, viewing
from archive.custody import Actor
from archive.models import Case, Item, Source

HOLDS_S = 3600
MOST = 200


def record(request: HttpRequest, subject: Case | Item | Source) -> None:
    """Record that this session reads this chain, unless it did so within the hour. Raises NotAllowed."""
    access.require(request.user, "read_log", subject if isinstance(subject, Case) else subject.case)
    now, name = int(time.time()), subject.custody_subject()
    reads = {k: t for k, t in request.session.get("log_reads", {}).items() if 0 <= now - t < HOLDS_S}
    if name in reads:
        return
    viewing.read_log(subject=subject, actor=Actor.of(request))
    reads[name] = now
    request.session["log_reads"] = dict(sorted(reads.items(), key=lambda pair: -pair[1])[:MOST])
