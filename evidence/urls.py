"""Routes of the evidence screens."""

from django.urls import include, path

from evidence import views
from evidence.redaction import views as redaction

urlpatterns = [
    path("bundles/", views.everything, name="bundles-all"),
    path("cases/<str:code>/bundles/", views.bundles, name="bundles"),
    path("cases/<str:code>/bundles/register", views.register, name="disclosures"),
    path("cases/<str:code>/bundles/register.csv", views.register_csv, name="disclosures-csv"),
    path("bundles/<uuid:bundle_id>/", views.bundle, name="bundle"),
    path("bundles/<uuid:bundle_id>/progress", views.progress, name="bundle-progress"),
    path("bundles/<uuid:bundle_id>/cancel", views.cancel, name="bundle-cancel"),
    path("bundles/<uuid:bundle_id>/download", views.download, name="bundle-download"),
    path("bundles/<uuid:bundle_id>/hand-on", views.hand_on, name="bundle-hand-on"),
    path("items/<uuid:item_id>/redact/", redaction.page, name="redact"),
    path("items/<uuid:item_id>/redact/begin", redaction.begin, name="redact-begin"),
    path("items/<uuid:item_id>/redact/save", redaction.save, name="redact-save"),
    path("items/<uuid:item_id>/redact/look", redaction.look, name="redact-look"),
    path("items/<uuid:item_id>/redact/approve", redaction.approve, name="redact-approve"),
    path("items/<uuid:item_id>/redact/end", redaction.end, name="redact-end"),
    path("items/<uuid:item_id>/redact/state", redaction.state, name="redact-state"),
    path("api/", include("evidence.api")),
]
