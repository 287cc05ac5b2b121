"""The REST API of triage: thin doors to the same verbs as the screens. What it gives is a machine's suggestion."""

from typing import Any
from uuid import UUID

from django.shortcuts import get_object_or_404
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from archive.api import ITEM, ItemOut
from archive.errors import Conflict
from archive.models import Case, Item
from triage import parts, similar
from triage.models import Part

PART = OpenApiParameter("part_id", OpenApiTypes.UUID, OpenApiParameter.PATH, description="Id of the part")


class ModelOut(serializers.Serializer):
    """The embedder whose vectors are compared."""

    analyser = serializers.CharField()
    version = serializers.IntegerField()
    model = serializers.CharField()
    weights_sha256 = serializers.CharField()


class MatchOut(serializers.Serializer):
    """An item that looks alike. `likeness` is the cosine of two vectors, up to 1, and not calibrated; `at_ms` is the frame."""

    item = ItemOut()
    at_ms = serializers.IntegerField()
    likeness = serializers.FloatField()


class SimilarOut(serializers.Serializer):
    """The likest first. A suggestion of this model, and no finding."""

    model = ModelOut()
    matches = MatchOut(many=True)


class SimilarIn(serializers.Serializer):
    """What of the item is compared, and with what."""

    at_ms = serializers.IntegerField(required=False, min_value=0)
    part = serializers.UUIDField(required=False)
    case = serializers.CharField(required=False)
    limit = serializers.IntegerField(required=False, min_value=1, max_value=similar.MOST, default=24)


class PartOut(serializers.ModelSerializer):
    """A part of a picture that a model is asked to look at. `waiting` until it has; `trouble` says why it cannot."""

    waiting = serializers.SerializerMethodField()

    class Meta:
        model = Part
        fields = ("id", "at_ms", "x", "y", "width", "height", "waiting", "trouble")

    def get_waiting(self, part: Part) -> bool:
        """Whether a model has still to look at it."""
        return parts.is_awaited(part)


class PartIn(serializers.Serializer):
    """`box`: left, top, width and height as shares of the picture; `at_ms`: the moment of a video."""

    box = serializers.ListField(child=serializers.FloatField(), min_length=4, max_length=4)
    at_ms = serializers.IntegerField(required=False, min_value=0, default=0)


class _OfItem(GenericAPIView):
    queryset = Item.objects.none()

    def item(self) -> Item:
        """The item that the address names. Raises Http404."""
        rows = Item.objects.visible_to(self.request.user).select_related("case")
        return get_object_or_404(rows, pk=self.kwargs["item_id"])


class Similar(_OfItem):
    """Likeness to an item, a frame or a part of it."""

    serializer_class = SimilarOut

    @extend_schema(
        summary="Items that look like one, among those that you may see",
        parameters=[
            ITEM,
            OpenApiParameter("at_ms", int, description="the frame of a video nearest to this moment"),
            OpenApiParameter("part", OpenApiTypes.UUID, description="a part that a model has looked at"),
            OpenApiParameter("case", str, description="only items of the case with this code"),
            OpenApiParameter("limit", int, description=f"how many, up to {similar.MOST}; otherwise 24"),
        ],
        responses={200: SimilarOut},
    )
    def get(self, request: Request, item_id: UUID) -> Response:
        """Refused (`nothing-to-compare`) where there is no vector of it, or no index."""
        item, given = self.item(), SimilarIn(data=request.query_params)
        given.is_valid(raise_exception=True)
        said: dict[str, Any] = given.validated_data
        case = None
        if "case" in said:
            case = get_object_or_404(Case.objects.visible_to(request.user), code=said["case"])
        if "part" in said:
            part = get_object_or_404(Part, pk=said["part"], item=item)
            vector = parts.vector_of_part(part)
            if vector is None:
                raise Conflict(
                    part.trouble or "A model has still to look at this part: ask again in a moment."
                )
        else:
            vector = similar.vector_of(item, said.get("at_ms"))
        matches = similar.search_like(vector, user=request.user, case=case, but=item, count=said["limit"])
        rows = Item.objects.visible_to(request.user).select_related("case", "source", "decision")
        found = rows.in_bulk([match.item for match in matches])
        told = [
            {"item": found[m.item], "at_ms": m.at_ms, "likeness": round(m.likeness, 4)}
            for m in matches
            if m.item in found
        ]
        return Response(SimilarOut({"model": similar.embedder(), "matches": told}).data)


class Parts(_OfItem):
    """Parts of an item to look for."""

    serializer_class = PartOut

    @extend_schema(
        summary="Ask a model to look at a part of a picture",
        parameters=[ITEM],
        request=PartIn,
        responses={201: PartOut},
    )
    def post(self, request: Request, item_id: UUID) -> Response:
        """The same part again is the same row. Follow `waiting`, then ask for what looks like it."""
        item, given = self.item(), PartIn(data=request.data)
        given.is_valid(raise_exception=True)
        part = parts.look_for(item=item, **given.validated_data)
        return Response(PartOut(part).data, status=201)


class OnePart(_OfItem):
    """One part of an item."""

    serializer_class = PartOut

    @extend_schema(
        summary="Whether a model has looked at a part", parameters=[ITEM, PART], responses={200: PartOut}
    )
    def get(self, request: Request, item_id: UUID, part_id: UUID) -> Response:
        """`waiting` until it has."""
        return Response(PartOut(get_object_or_404(Part, pk=part_id, item=self.item())).data)


urlpatterns = [
    path("items/<uuid:item_id>/similar/", Similar.as_view(), name="api-similar"),
    path("items/<uuid:item_id>/parts/", Parts.as_view(), name="api-parts"),
    path("items/<uuid:item_id>/parts/<uuid:part_id>/", OnePart.as_view(), name="api-part"),
]
