"""This archive: what is wrong, how far the log has come, who vouches for it, what runs by itself."""

import json
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from archive import access, alarms, fixity, schedule
from archive.custody import Actor, anchors
from archive.custody.publish import publish as publish_log
from archive.custody.publish import stages
from archive.models import Alarm, Checkpoint, CustodyEvent
from archive.views.thread import STAGE_WORDS

PAST = 10
DUTY_WORDS = {
    "alarms": gettext_lazy("Looking for what is wrong"),
    "custody.publish": gettext_lazy("Publishing the log"),
    "custody.verify": gettext_lazy("Verifying the whole log"),
    "archive.fixity": gettext_lazy("Reading stored files back"),
    "archive.copies": gettext_lazy("Bringing the second copy up to date"),
    "archive.restore_bad": gettext_lazy("Restoring damaged files"),
    "archive.tidy": gettext_lazy("Emptying scratch space"),
}


@require_safe
@login_required
def system(request: HttpRequest) -> HttpResponse:
    """For administrators."""
    access.require(request.user, "see_system")
    return render(
        request,
        "archive/system.html",
        {
            "here": "system",
            "alarms": alarms.open_now(),
            "past": [
                (alarms.Condition(row.kind, row.about), row)
                for row in Alarm.objects.exclude(ended_at=None)[:PAST]
                if row.kind in alarms.KINDS
            ],
            "stages": [(*STAGE_WORDS[stage.name], stage) for stage in stages()],
            "checkpoint": Checkpoint.objects.first(),
            "parties": anchors.status(),
            "verified": _verified(),
            "duties": [(DUTY_WORDS.get(s.name, s.name), s) for s in schedule.standings()],
            "fixity": fixity.summary(),
        },
    )


@require_POST
@login_required
def publish(request: HttpRequest) -> HttpResponse:
    """Sign a checkpoint now."""
    access.require(request.user, "see_system")
    row = publish_log(actor=Actor.of(request))
    messages.success(
        request,
        _("A checkpoint covers the first %(size)s events. Send it to somebody outside.") % {"size": row.size},
    )
    return redirect("system")


@require_POST
@login_required
def verify(request: HttpRequest) -> HttpResponse:
    """Ask for a verification of the whole log; a worker does it."""
    access.require(request.user, "see_system")
    schedule.ask("custody.verify")
    messages.success(request, _("The whole log is being verified. The answer appears here."))
    return redirect("system")


def _verified() -> dict[str, Any] | None:
    """What the last verification of the whole log found."""
    last = CustodyEvent.objects.filter(type="system.custody_verified").order_by("-pk").first()
    if last is None:
        return None
    at: datetime = last.time
    return {"at": at, **json.loads(bytes(last.canonical))["payload"]}
