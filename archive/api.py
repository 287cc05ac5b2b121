"""The REST API of the ground floor: thin doors to the same queries and verbs as the screens.

Everything is filtered by what was shared with the person; what is absent and what is not shared look alike (404).
Lists page by key: follow `next`. Identities of sources are never given out here. Files come in by tus 1.0 at
/cases/CODE/add/files/ (see docs/install.md).
"""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.generics import GenericAPIView, ListAPIView, RetrieveAPIView
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response

from archive import annotate
from archive.api_log import CheckpointNow, Consistency, EventProof, ItemHistory
from archive.custody import Actor
from archive.models import (
    Acquisition,
    Case,
    Claim,
    CustodyEvent,
    Decision,
    Finding,
    Item,
    ItemTag,
    Job,
    Note,
    Rendition,
    Source,
)
from archive.models.items import STATEMENT_FIELDS
from archive.views import reading

# --- what is said -----------------------------------------------------------------------------------------------


class CaseOut(serializers.ModelSerializer):
    """An investigation."""

    class Meta:
        model = Case
        fields = (
            "code",
            "title",
            "mandate",
            "status",
            "sensitivity",
            "retention",
            "retain_until",
            "is_demo",
            "created_at",
        )


class SourceOut(serializers.ModelSerializer):
    """Who or where material came from, by pseudonym."""

    class Meta:
        model = Source
        fields = (
            "code",
            "pseudonym",
            "kind",
            "reliability",
            "consent_informed",
            "consent_scope",
            "consent_date",
            "consent_ends",
            "may_be_public",
            "may_go_to_courts",
            "legal_basis",
            "created_at",
        )


class ItemOut(serializers.ModelSerializer):
    """One original file. `decision` is what a person decided and is in force, or null; with `disposed_at` its bytes
    were destroyed then, and its history is here."""

    code = serializers.CharField(read_only=True)
    case = serializers.CharField(source="case.code", read_only=True)
    sha256 = serializers.CharField(source="blob_id", read_only=True)
    source = serializers.CharField(source="source.code", read_only=True, allow_null=True, default=None)
    decision = serializers.CharField(source="decision.value", read_only=True, allow_null=True, default=None)

    class Meta:
        model = Item
        fields = (
            "id",
            "code",
            "case",
            "number",
            "file_name",
            "sha256",
            "size",
            "kind",
            "media_type",
            "condition",
            "condition_detail",
            "width",
            "height",
            "duration_ms",
            "source",
            "received_at",
            "examined_at",
            "read_back_at",
            "decision",
            "disposed_at",
        )


class AcquisitionOut(serializers.ModelSerializer):
    """One time that the bytes came in."""

    source = serializers.CharField(source="source.code", read_only=True, allow_null=True, default=None)

    class Meta:
        model = Acquisition
        fields = ("at", "by", "method", "tool", "file_name", "path", "url", "source")


class ClaimOut(serializers.ModelSerializer):
    """What the file or its source says; never merged with what was established."""

    class Meta:
        model = Claim
        fields = ("about", "origin", *STATEMENT_FIELDS, "at")


class FindingOut(serializers.ModelSerializer):
    """What an analyst established, and on which basis."""

    by = serializers.CharField(source="by.name", read_only=True)

    class Meta:
        model = Finding
        fields = ("about", *STATEMENT_FIELDS, "basis", "by", "at")


class RenditionOut(serializers.ModelSerializer):
    """A picture or video made from the original."""

    sha256 = serializers.CharField(source="blob_id", read_only=True)

    class Meta:
        model = Rendition
        fields = (
            "id",
            "kind",
            "recipe",
            "sha256",
            "original_sha256",
            "media_type",
            "width",
            "height",
            "made_at",
        )


class DecisionOut(serializers.ModelSerializer):
    """What a person decided. A withdrawal names what it withdraws."""

    by = serializers.CharField(source="by.name", read_only=True)

    class Meta:
        model = Decision
        fields = ("id", "value", "reason", "by", "at", "withdraws")


class TagOut(serializers.ModelSerializer):
    """A tag on an item."""

    name = serializers.CharField(source="tag.name", max_length=80)
    by = serializers.CharField(source="by.name", read_only=True)

    class Meta:
        model = ItemTag
        fields = ("name", "by", "at")
        read_only_fields = ("at",)


class NoteOut(serializers.ModelSerializer):
    """A note on an item; `frame_ms` is the moment of a video that it is about."""

    by = serializers.CharField(source="by.name", read_only=True)

    class Meta:
        model = Note
        fields = ("text", "frame_ms", "by", "at")
        read_only_fields = ("at",)


class ItemDetailOut(ItemOut):
    """One item with everything that is recorded of it."""

    acquisitions = AcquisitionOut(many=True, read_only=True)
    claims = ClaimOut(many=True, read_only=True)
    findings = FindingOut(many=True, read_only=True)
    renditions = RenditionOut(many=True, read_only=True)
    decisions = DecisionOut(many=True, read_only=True)
    tags = TagOut(source="item_tags", many=True, read_only=True)
    notes = NoteOut(many=True, read_only=True)

    class Meta(ItemOut.Meta):
        fields = (
            *ItemOut.Meta.fields,
            "acquisitions",
            "claims",
            "findings",
            "renditions",
            "decisions",
            "tags",
            "notes",
        )


class EventOut(serializers.ModelSerializer):
    """One custody event. `canonical` is the event itself, byte for byte; `position` is null while it is pending."""

    canonical = serializers.SerializerMethodField()
    position = serializers.SerializerMethodField()

    class Meta:
        model = CustodyEvent
        fields = ("subject", "number", "type", "time", "position", "hash", "canonical")

    def get_canonical(self, event: CustodyEvent) -> str:
        """UTF-8 text of the canonical bytes."""
        return bytes(event.canonical).decode()

    def get_position(self, event: CustodyEvent) -> int | None:
        """Place in the global order."""
        place = getattr(event, "position", None)
        return place.position if place else None


class JobOut(serializers.ModelSerializer):
    """One piece of work."""

    item = serializers.CharField(source="item.code", read_only=True, allow_null=True, default=None)

    class Meta:
        model = Job
        fields = (
            "id",
            "name",
            "queue",
            "state",
            "attempts",
            "error",
            "item",
            "run_after",
            "created_at",
            "started_at",
            "finished_at",
        )


# --- how lists page ---------------------------------------------------------------------------------------------


class Page(CursorPagination):
    """By key, in the order that the view names."""

    page_size = 100
    page_size_query_param = "limit"
    max_page_size = 1000

    def get_ordering(self, request: Request, queryset: QuerySet, view: Any) -> tuple[str, ...]:
        return view.order


# --- doors ------------------------------------------------------------------------------------------------------


CASE = OpenApiParameter("code", str, OpenApiParameter.PATH, description="Code of the case")
ITEM = OpenApiParameter("item_id", OpenApiTypes.UUID, OpenApiParameter.PATH, description="Id of the item")


def _filter(name: str, words: str) -> OpenApiParameter:
    return OpenApiParameter(name, str, OpenApiParameter.QUERY, description=words)


class OfCase(ListAPIView):
    """A list of what belongs to one case."""

    pagination_class = Page
    order: tuple[str, ...] = ("code",)

    def case(self) -> Case:
        """The case that the address names. Raises Http404."""
        return get_object_or_404(Case.objects.visible_to(self.request.user), code=self.kwargs["code"])


@extend_schema_view(get=extend_schema(operation_id="cases_list", summary="Cases that were shared with you"))
class Cases(ListAPIView):
    """By code."""

    serializer_class, pagination_class, order = CaseOut, Page, ("code",)
    queryset = Case.objects.none()

    def get_queryset(self) -> QuerySet[Case]:
        return Case.objects.visible_to(self.request.user)


@extend_schema_view(get=extend_schema(summary="One case", parameters=[CASE]))
class OneCase(RetrieveAPIView):
    """Title, mandate, status, retention."""

    serializer_class, lookup_field = CaseOut, "code"
    queryset = Case.objects.none()

    def get_queryset(self) -> QuerySet[Case]:
        return Case.objects.visible_to(self.request.user)


@extend_schema_view(
    get=extend_schema(
        operation_id="items_list",
        summary="Items of a case, in the order they came",
        parameters=[
            CASE,
            _filter("kind", "image, video, audio, document, other, unknown"),
            _filter("decision", "relevant, not_relevant, second_look, escalate; none: not decided yet"),
            _filter("condition", "ok, damaged, cannot decode ...; none: not yet examined"),
            _filter("source", "code of a source; none: unknown"),
            _filter("tag", "a tag"),
            _filter("q", "words to be found in names, claims, notes, tags, findings, suggestions; or a hash"),
            _filter(
                "in",
                "look for q only in words by people, of the file, by a machine, or in its captions: "
                "people, file, machine, caption",
            ),
        ],
    )
)
class Items(OfCase):
    """With filters; every filter has to hold."""

    serializer_class, order = ItemOut, ("number",)
    queryset = Item.objects.none()

    def get_queryset(self) -> QuerySet[Item]:
        from archive.views.library import FILTERS, searched

        given = self.request.query_params
        q = given.get("q", "").strip()[:200]
        rows = searched(Item.objects.filter(case=self.case()), q, given.get("in", ""))
        for name in ("kind", "decision", "condition", "source", "tag"):
            if given.get(name):
                rows = FILTERS[name](rows, given[name][:200])
        return rows.select_related("case", "source", "decision")


class _OfItem:
    def item(self) -> Item:
        """The item that the address names. Raises Http404."""
        rows = Item.objects.visible_to(self.request.user).select_related("case")
        return get_object_or_404(rows, pk=self.kwargs["item_id"])


@extend_schema_view(get=extend_schema(summary="One item with all that is recorded of it", parameters=[ITEM]))
class OneItem(RetrieveAPIView):
    """Claims and findings are kept apart."""

    serializer_class, lookup_url_kwarg = ItemDetailOut, "item_id"
    queryset = Item.objects.none()

    def get_queryset(self) -> QuerySet[Item]:
        rows = Item.objects.visible_to(self.request.user).select_related("case", "source", "decision")
        return rows.prefetch_related(
            "acquisitions__source",
            "claims",
            "findings__by",
            "renditions",
            "decisions__by",
            "item_tags__by",
            "item_tags__tag",
            "notes__by",
        )


@extend_schema_view(
    get=extend_schema(operation_id="events_list", summary="Custody events of an item", parameters=[ITEM])
)
class Events(_OfItem, ListAPIView):
    """In the order of their numbers, each with its canonical bytes. That they were read is an event of the item."""

    serializer_class, pagination_class, order = EventOut, Page, ("number",)
    queryset = CustodyEvent.objects.none()

    def get_queryset(self) -> QuerySet[CustodyEvent]:
        item = self.item()
        reading.record(self.request, item)
        return CustodyEvent.objects.filter(subject=item.custody_subject()).select_related("position")


class Tags(_OfItem, GenericAPIView):
    """Tags on an item."""

    serializer_class, queryset = TagOut, ItemTag.objects.none()

    @extend_schema(summary="Put a tag on", parameters=[ITEM], responses={201: TagOut})
    def post(self, request: Request, item_id: UUID) -> Response:
        """Twice the same tag is one. Recorded in the custody log."""
        item = self.item()
        given = self.get_serializer(data=request.data)
        given.is_valid(raise_exception=True)
        name = given.validated_data["tag"]["name"]
        made = annotate.tag(item=item, name=name, actor=Actor.of(request))
        return Response(TagOut(made).data, status=201)


class OneTag(_OfItem, GenericAPIView):
    """One tag on an item."""

    serializer_class, queryset = TagOut, ItemTag.objects.none()

    @extend_schema(
        summary="Take a tag off",
        parameters=[ITEM, OpenApiParameter("name", str, OpenApiParameter.PATH)],
        responses={204: None},
    )
    def delete(self, request: Request, item_id: UUID, name: str) -> Response:
        """Recorded in the custody log."""
        rows = ItemTag.objects.select_related("item__case").filter(item=self.item())
        annotate.untag(item_tag=get_object_or_404(rows, tag__name=name), actor=Actor.of(request))
        return Response(status=204)


class Notes(_OfItem, GenericAPIView):
    """Notes on an item."""

    serializer_class, queryset = NoteOut, Note.objects.none()

    @extend_schema(summary="Write a note", parameters=[ITEM], responses={201: NoteOut})
    def post(self, request: Request, item_id: UUID) -> Response:
        """Notes are not changed; a correction is a further note. Recorded in the custody log."""
        item = self.item()
        given = self.get_serializer(data=request.data)
        given.is_valid(raise_exception=True)
        made = annotate.note(
            item=item,
            text=given.validated_data["text"],
            frame_ms=given.validated_data.get("frame_ms"),
            actor=Actor.of(request),
        )
        return Response(NoteOut(made).data, status=201)


@extend_schema_view(
    get=extend_schema(
        operation_id="sources_list", summary="Sources of a case, without identities", parameters=[CASE]
    )
)
class Sources(OfCase):
    """By code."""

    serializer_class, queryset = SourceOut, Source.objects.none()

    def get_queryset(self) -> QuerySet[Source]:
        return Source.objects.filter(case=self.case())


@extend_schema_view(
    get=extend_schema(
        operation_id="jobs_list",
        summary="Jobs of a case, the newest first",
        parameters=[CASE, _filter("state", "queued, running, done, failed")],
    )
)
class Jobs(OfCase):
    """With their errors."""

    serializer_class, order = JobOut, ("-created_at", "-id")
    queryset = Job.objects.none()

    def get_queryset(self) -> QuerySet[Job]:
        rows = Job.objects.filter(case=self.case()).select_related("item__case")
        state = self.request.query_params.get("state")
        return rows.filter(state=state) if state else rows


urlpatterns = [
    path("cases/", Cases.as_view(), name="api-cases"),
    path("cases/<str:code>/", OneCase.as_view(), name="api-case"),
    path("cases/<str:code>/items/", Items.as_view(), name="api-items"),
    path("cases/<str:code>/sources/", Sources.as_view(), name="api-sources"),
    path("cases/<str:code>/jobs/", Jobs.as_view(), name="api-jobs"),
    path("items/<uuid:item_id>/", OneItem.as_view(), name="api-item"),
    path("items/<uuid:item_id>/events/", Events.as_view(), name="api-events"),
    path("items/<uuid:item_id>/events/<int:number>/proof/", EventProof.as_view(), name="api-event-proof"),
    path("items/<uuid:item_id>/history/", ItemHistory.as_view(), name="api-history"),
    path("log/checkpoint/", CheckpointNow.as_view(), name="api-checkpoint"),
    path("log/consistency/", Consistency.as_view(), name="api-consistency"),
    path("items/<uuid:item_id>/tags/", Tags.as_view(), name="api-tags"),
    path("items/<uuid:item_id>/tags/<str:name>/", OneTag.as_view(), name="api-tag"),
    path("items/<uuid:item_id>/notes/", Notes.as_view(), name="api-notes"),
]
