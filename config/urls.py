"""All routes. Each app names its own."""

from django.urls import include, path

from config.health import healthz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("", include("archive.urls")),
    path("", include("triage.urls")),
    path("", include("evidence.urls")),
]
