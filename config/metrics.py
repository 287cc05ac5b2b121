"""/metrics in the Prometheus text form, for whoever has the token. Nothing in it names a person, case or item."""

import secrets

from django.conf import settings
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from archive import alarms, jobs, schedule
from archive.custody.publish import stages
from archive.models import Job


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Counts and ages as they are now. Without AMPARO_METRICS_TOKEN, or with another token, there is no such page."""
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not settings.METRICS_TOKEN or not secrets.compare_digest(
        given.encode(), settings.METRICS_TOKEN.encode()
    ):
        raise Http404
    return HttpResponse(generate_latest(collect()), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def collect() -> CollectorRegistry:
    """All gauges, filled."""
    registry = CollectorRegistry()

    def gauge(name: str, words: str, *labels: str) -> Gauge:
        return Gauge(f"amparo_{name}", words, labels, registry=registry)

    events = gauge("events", "Events of the custody log that have come to a stage", "stage")
    lag = gauge("event_lag_seconds", "Age of the oldest event that has not come to a stage", "stage")
    for stage in stages():
        events.labels(stage.name).set(stage.events)
        lag.labels(stage.name).set(stage.lag_s)
    alarm = gauge("alarms", "Alarms that last, by kind", "kind")
    for kind in alarms.KINDS:
        alarm.labels(kind).set(0)
    for condition in alarms.open_now():
        alarm.labels(condition.kind).inc()
    done = gauge("duty_done_timestamp_seconds", "When a periodic duty was last done; 0 for never", "duty")
    overdue = gauge("duty_overdue", "1 when a periodic duty did not run in its time", "duty")
    for standing in schedule.standings():
        done.labels(standing.name).set(standing.done_at.timestamp() if standing.done_at else 0)
        overdue.labels(standing.name).set(standing.overdue)
    waiting = gauge("jobs", "Jobs by queue and state", "queue", "state")
    for row in Job.objects.exclude(state="done").values("queue", "state").order_by().annotate(n=Count("pk")):
        waiting.labels(row["queue"], row["state"]).set(row["n"])
    gauge("unserved_queues", "Queues that no living worker serves").set(len(jobs.unserved_queues()))
    return registry
