"""Routes of the evidence screens."""

from django.urls import path

from evidence import views

urlpatterns = [
    path("cases/<str:code>/bundles/", views.bundles, name="bundles"),
    path("bundles/<uuid:bundle_id>/", views.bundle, name="bundle"),
    path("bundles/<uuid:bundle_id>/download", views.download, name="bundle-download"),
]
