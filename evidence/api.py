"""The REST API of bundles: thin doors to the same queries and verbs as the screens."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.generics import GenericAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from archive.api import CASE, OfCase
from archive.custody import Actor
from archive.models import Case
from evidence import bundle as verbs
from evidence import register, terms, views
from evidence.disclosure import DEFAULT, GROUPS
from evidence.models import Bundle, BundleVolume, BundleWork, DisclosureRecord

BUNDLE = OpenApiParameter(
    "bundle_id", OpenApiTypes.UUID, OpenApiParameter.PATH, description="Id of the bundle"
)

# --- what is said -----------------------------------------------------------------------------------------------


class VolumeOut(serializers.ModelSerializer):
    """A finished part of a bundle; most have one. `sha256` is that of the file that is downloaded."""

    sha256 = serializers.CharField(source="blob_id", read_only=True, allow_null=True)

    class Meta:
        model = BundleVolume
        fields = ("number", "of", "name", "item_count", "size", "sha256", "statement_sha256", "built_at")


class ProgressOut(serializers.ModelSerializer):
    """How far it is: publish, gather (items), describe, write (bytes), report."""

    class Meta:
        model = BundleWork
        fields = ("step", "done", "total", "volume", "volumes", "beat_at")


class BundleOut(serializers.ModelSerializer):
    """One bundle. `key` is the fingerprint that its recipient checks it with."""

    case = serializers.CharField(source="case.code", read_only=True)
    name = serializers.CharField(read_only=True)
    recipients = serializers.SerializerMethodField()
    volumes = VolumeOut(many=True, read_only=True)
    progress = serializers.SerializerMethodField()

    class Meta:
        model = Bundle
        fields = (
            "id",
            "name",
            "case",
            "state",
            "problem",
            "item_count",
            "items_sha256",
            "disclosed",
            "destination",
            "files",
            "pictures",
            "recipient",
            "basis",
            "approved_by",
            "recipients",
            "volume_size",
            "key",
            "kept",
            "requested_at",
            "finished_at",
            "size",
            "volumes",
            "progress",
        )

    def get_recipients(self, bundle: Bundle) -> list[str]:
        """`NAME=age1...` of each key that it is encrypted to."""
        return [f"{name}={key}" for name, key in bundle.keys]

    def get_progress(self, bundle: Bundle) -> dict | None:
        """As ProgressOut, while it is being made."""
        work = getattr(bundle, "work", None)
        return ProgressOut(work).data if work and bundle.state == Bundle.State.REQUESTED else None


class BundleIn(serializers.Serializer):
    """What to ask for. Without `items`: the whole case."""

    items = serializers.ListField(child=serializers.UUIDField(), required=False, max_length=100_000)
    reason = serializers.CharField(max_length=1000)
    destination = serializers.ChoiceField(
        choices=Bundle.Destination.choices, default=Bundle.Destination.INTERNAL
    )
    files = serializers.ChoiceField(choices=Bundle.Files.choices, default=Bundle.Files.ORIGINALS)
    pictures = serializers.BooleanField(default=True, help_text="small ones in the report")
    disclosed = serializers.MultipleChoiceField(choices=list(GROUPS), default=list(DEFAULT))
    recipient = serializers.CharField(max_length=400, default="", allow_blank=True)
    basis = serializers.CharField(max_length=1000, default="", allow_blank=True)
    approved_by = serializers.CharField(max_length=400, default="", allow_blank=True)
    recipients = serializers.ListField(
        child=serializers.CharField(max_length=600), required=False, help_text="NAME=age1... of each"
    )
    volume_size = serializers.IntegerField(min_value=0, default=0, help_text="bytes; 0: one volume")
    override_consent = serializers.CharField(
        max_length=1000, default="", allow_blank=True, help_text="why, although consent stands against it"
    )


class DisclosureOut(serializers.ModelSerializer):
    """Who got what, when, under which mandate, with what withheld."""

    bundle = serializers.UUIDField(source="bundle_id", read_only=True)
    by = serializers.CharField(source="by.name", read_only=True, allow_null=True, default=None)

    class Meta:
        model = DisclosureRecord
        fields = (
            "id",
            "bundle",
            "volume",
            "way",
            "recipient",
            "basis",
            "approved_by",
            "withheld",
            "recipient_keys",
            "by",
            "at",
        )


# --- doors ------------------------------------------------------------------------------------------------------


class Bundles(OfCase):
    """Of a case, the newest first."""

    serializer_class, order = BundleOut, ("-requested_at", "-id")
    queryset = Bundle.objects.none()

    def get_queryset(self) -> QuerySet[Bundle]:
        rows = Bundle.objects.filter(case=self.case())
        return rows.select_related("case", "work").prefetch_related("volumes")

    @extend_schema(
        operation_id="bundles_list", summary="Bundles of a case, the newest first", parameters=[CASE]
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="bundles_request",
        summary="Ask for a bundle",
        parameters=[CASE],
        request=BundleIn,
        responses={201: BundleOut},
    )
    def post(self, request: Request, code: str) -> Response:
        """A worker builds it: follow its state. Refused (`consent-conflict`) where a source's consent stands against
        the destination, unless that is overridden with a reason."""
        case: Case = self.case()
        given = BundleIn(data=request.data)
        given.is_valid(raise_exception=True)
        said = given.validated_data
        made = verbs.request(
            case=case,
            actor=Actor.of(request),
            items=said.get("items"),
            reason=said["reason"],
            disclosed=tuple(said["disclosed"]),
            keys=tuple(terms.key_of(text) for text in said.get("recipients", ())),
            override=said["override_consent"],
            **{
                name: said[name]
                for name in (
                    "destination",
                    "files",
                    "pictures",
                    "recipient",
                    "basis",
                    "approved_by",
                    "volume_size",
                )
            },
        )
        return Response(BundleOut(made).data, status=201)


class _OfBundle:
    def bundle(self) -> Bundle:
        """The bundle that the address names. Raises Http404."""
        rows = Bundle.objects.visible_to(self.request.user).select_related("case")
        return get_object_or_404(rows, pk=self.kwargs["bundle_id"])


@extend_schema_view(get=extend_schema(summary="One bundle, and how far it is", parameters=[BUNDLE]))
class OneBundle(RetrieveAPIView):
    """State, terms, volumes."""

    serializer_class, lookup_url_kwarg = BundleOut, "bundle_id"
    queryset = Bundle.objects.none()

    def get_queryset(self) -> QuerySet[Bundle]:
        rows = Bundle.objects.visible_to(self.request.user)
        return rows.select_related("case", "work").prefetch_related("volumes")


class Cancel(_OfBundle, GenericAPIView):
    """Stopping one."""

    serializer_class, queryset = BundleOut, Bundle.objects.none()

    @extend_schema(
        summary="Cancel a bundle that is not finished",
        parameters=[BUNDLE],
        request=None,
        responses={200: BundleOut},
    )
    def post(self, request: Request, bundle_id: UUID) -> Response:
        """What was written of it is removed."""
        found = self.bundle()
        verbs.cancel(bundle=found, actor=Actor.of(request))
        return Response(BundleOut(found).data)


class Download(_OfBundle, GenericAPIView):
    """Taking one out."""

    serializer_class, queryset = BundleOut, Bundle.objects.none()

    @extend_schema(
        summary="Download a volume (logged, and a disclosure)",
        parameters=[BUNDLE, OpenApiParameter("volume", int, OpenApiParameter.QUERY, description="default 1")],
        request=None,
        responses={(200, "application/octet-stream"): OpenApiResponse(OpenApiTypes.BINARY)},
    )
    def post(self, request: Request, bundle_id: UUID) -> HttpResponseBase:
        """The .zip, or .zip.age for the holders of its keys."""
        number = request.query_params.get("volume", "1")
        number = int(number) if number.isdecimal() and len(number) < 9 else 0
        return views.taken_out(self.bundle(), Actor.of(request), number)


@extend_schema_view(
    get=extend_schema(
        operation_id="disclosures_list",
        summary="A case's register of disclosures, the newest first",
        parameters=[CASE],
    )
)
class Disclosures(OfCase):
    """Who got what, when, under which mandate."""

    serializer_class, order = DisclosureOut, ("-at", "-id")
    queryset = DisclosureRecord.objects.none()

    def get_queryset(self) -> QuerySet[DisclosureRecord]:
        return register.of_case(self.case())


urlpatterns = [
    path("cases/<str:code>/bundles/", Bundles.as_view(), name="api-bundles"),
    path("cases/<str:code>/disclosures/", Disclosures.as_view(), name="api-disclosures"),
    path("bundles/<uuid:bundle_id>/", OneBundle.as_view(), name="api-bundle"),
    path("bundles/<uuid:bundle_id>/cancel", Cancel.as_view(), name="api-bundle-cancel"),
    path("bundles/<uuid:bundle_id>/download", Download.as_view(), name="api-bundle-download"),
]
