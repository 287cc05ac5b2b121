"""All routes. Each app names its own."""

from django.urls import include, path

from config.health import healthz
from config.metrics import metrics

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("metrics", metrics, name="metrics"),
    path("", include("archive.urls")),
    path("", include("triage.urls")),
    path("", include("evidence.urls")),
]
