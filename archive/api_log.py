"""The REST API of the custody log: checkpoints and proofs, for what was shared with the person who asks.

Whether the archive holds a file that nobody shared with them is told to nobody: that proof is for the shell alone.
"""

from uuid import UUID

from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from archive.custody import proofs, showing
from archive.custody.anchors import cosigned_note
from archive.errors import NotFound
from archive.models import CustodyEvent, Item

ITEM = OpenApiParameter("item_id", OpenApiTypes.UUID, OpenApiParameter.PATH, description="Id of the item")
AT = OpenApiParameter(
    "at", int, OpenApiParameter.QUERY, description="Against the checkpoint of this size, else the newest"
)


class CheckpointOut(serializers.Serializer):
    """A signed head of the log."""

    checkpoint = serializers.CharField(help_text="C2SP signed note, with its cosignatures")
    map = serializers.DictField(help_text="The event that states the map's root, and its inclusion")


class ConsistencyIn(serializers.Serializer):
    """Two sizes of the log."""

    old = serializers.IntegerField(min_value=0)
    new = serializers.IntegerField(min_value=0)


class ConsistencyOut(ConsistencyIn):
    """RFC 6962, 2.1.2; hashes in base64."""

    old_root = serializers.CharField()
    new_root = serializers.CharField()
    proof = serializers.ListField(child=serializers.CharField())


class HistoryOut(serializers.Serializer):
    """Every event of an item under a checkpoint, and that there are no more: docs/custody-log.md, Proofs."""

    checkpoint = serializers.CharField()
    map = serializers.DictField()
    speaks_of_events_before_position = serializers.IntegerField()
    entry = serializers.DictField()
    events = serializers.ListField(child=serializers.DictField())


class EventProofOut(serializers.Serializer):
    """c2sp.org/tlog-proof@v1, whole."""

    tlog_proof = serializers.CharField()


class _At(serializers.Serializer):
    at = serializers.IntegerField(min_value=0, required=False)


def _at(request: Request) -> int | None:
    asked = _At(data=request.query_params)
    asked.is_valid(raise_exception=True)
    return asked.validated_data.get("at")


def _item(request: Request, item_id: UUID) -> Item:
    return get_object_or_404(Item.objects.visible_to(request.user), pk=item_id)


class CheckpointNow(APIView):
    """The log's signed head."""

    @extend_schema(summary="A checkpoint of the custody log", parameters=[AT], responses=CheckpointOut)
    def get(self, request: Request) -> Response:
        """Keep it: it is what any later log can be compared with."""
        row = showing.checkpoint(_at(request))
        return Response({"checkpoint": cosigned_note(row), "map": showing.pinned_map(row)})


class Consistency(APIView):
    """That the log was only added to."""

    @extend_schema(
        summary="Proof that the log of `new` events continues that of `old` events",
        parameters=[ConsistencyIn],
        responses=ConsistencyOut,
    )
    def get(self, request: Request) -> Response:
        """RFC 6962, 2.1.2."""
        asked = ConsistencyIn(data=request.query_params)
        asked.is_valid(raise_exception=True)
        return Response(showing.consistency(**asked.validated_data))


class ItemHistory(APIView):
    """Completeness of an item's history."""

    @extend_schema(
        operation_id="items_history",
        summary="Proof of an item's whole history",
        parameters=[ITEM, AT],
        responses=HistoryOut,
    )
    def get(self, request: Request, item_id: UUID) -> Response:
        """Hashes and proofs; the events themselves are at /api/items/ID/events/."""
        item = _item(request, item_id)
        return Response(showing.history(item.custody_subject(), showing.checkpoint(_at(request))))


class EventProof(APIView):
    """Inclusion of one event."""

    @extend_schema(
        operation_id="items_event_proof",
        summary="Proof that an event of an item is in the log",
        parameters=[ITEM, OpenApiParameter("number", int, OpenApiParameter.PATH), AT],
        responses=EventProofOut,
    )
    def get(self, request: Request, item_id: UUID, number: int) -> Response:
        """As any reader of tlog-proof files takes it."""
        subject = _item(request, item_id).custody_subject()
        event = get_object_or_404(
            CustodyEvent.objects.select_related("position"), subject=subject, number=number
        )
        if not hasattr(event, "position"):
            raise NotFound("This event has no place in the log yet. Ask again in a few seconds.")
        position = event.position.position
        row = showing.checkpoint(_at(request), covering=position)
        return Response({"tlog_proof": proofs.tlog_proof(position, cosigned_note(row))})
