"""Bytes to the browser: renditions, streams and originals, by HTTP range, straight out of the vault.

Veils go to whoever sees the case. Anything sharp goes only to a session whose look at the item was recorded.
No file can run, be framed or be read as another type: nosniff, a sandboxing policy, types from a short list.
"""

import re
from collections.abc import Iterator
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.http import content_disposition_header, url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from archive import vault, viewing
from archive.custody import Actor
from archive.media import formats
from archive.models import Item, Rendition
from archive.views import veil

BLOCK = 256 * 1024
INLINE = frozenset(
    {"image/jpeg", "image/png", "image/webp", "image/gif", "video/mp4", "video/webm", "video/ogg"}
    | {
        "audio/mpeg",
        "audio/mp4",
        "audio/ogg",
        "audio/webm",
        "audio/wav",
        "audio/flac",
        "audio/x-wav",
        "audio/aac",
    }
)
POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")


@require_safe
@login_required
def rendition(request: HttpRequest, rendition_id: UUID) -> HttpResponseBase:
    """One rendition. A veil needs the case only; the rest needs a recorded look, or the choice for thumbnails."""
    found = get_object_or_404(
        Rendition.objects.select_related("item", "blob"),
        pk=rendition_id,
        item__in=Item.objects.visible_to(request.user).held(),
    )
    veiled = found.kind == Rendition.Kind.VEIL
    by_choice = found.kind == Rendition.Kind.THUMBNAIL and veil.thumbnails_shown(request, found.item.case_id)
    if not (veiled or by_choice or veil.looked_at(request, found.item_id)):
        raise Http404
    return serve(request, found.blob_id, found.media_type, keep=veiled)


@require_safe
@login_required
def stream(request: HttpRequest, item_id: UUID) -> HttpResponseBase:
    """What a player plays: the proxy, or the original where browsers play it as it is. Needs a recorded look."""
    item = get_object_or_404(Item.objects.visible_to(request.user), pk=item_id)
    if not veil.looked_at(request, item.pk):
        raise Http404
    playable = playable_bytes(item)
    if playable is None:
        raise Http404
    return serve(request, *playable)


@require_POST
@login_required
def reveal(request: HttpRequest, item_id: UUID) -> HttpResponseBase:
    """Record a look, then say where the sharp picture is (or draw the page with it, without script)."""
    item = get_object_or_404(Item.objects.visible_to(request.user).select_related("case"), pk=item_id)
    viewing.look(item=item, actor=Actor.of(request))
    veil.lift(request, item)
    if request.headers.get("Accept", "").startswith("application/json"):
        sharp, poster = sharp_urls(item)
        answer = JsonResponse({"src": sharp, "poster": poster, "storyboard": storyboard_url(item)})
        answer["Cache-Control"] = "private, no-store"
        return answer
    return back(request, reverse("item", args=[item.pk]))


@require_POST
@login_required
def original(request: HttpRequest, item_id: UUID) -> HttpResponseBase:
    """Take the original out. The download is recorded before the first byte leaves."""
    item = get_object_or_404(Item.objects.visible_to(request.user).select_related("case"), pk=item_id)
    viewing.download(item=item, actor=Actor.of(request))
    response = whole(item.blob_id, "application/octet-stream")
    name = "".join(c for c in item.file_name if c.isprintable()) or item.code.replace("/", "-")
    response["Content-Disposition"] = content_disposition_header(True, name)
    return response


# --- which bytes -----------------------------------------------------------------------------------------------


def playable_bytes(item: Item) -> tuple[str, str] | None:
    """SHA-256 and type of what a browser can play of a video or sound, or None."""
    if item.disposed_at is not None:
        return None
    made = item.renditions.filter(kind=Rendition.Kind.PROXY).order_by("-made_at").first()
    if made:
        return made.blob_id, made.media_type
    facts = item.technical or {}
    as_it_is = item.media_type in INLINE and formats.browser_plays(
        item.media_type,
        facts.get("video_codec") or "",
        facts.get("audio_codec") or "",
        facts.get("pixel_format") or "",
    )
    return (item.blob_id, item.media_type) if as_it_is else None


def sharp_urls(item: Item) -> tuple[str, str]:
    """Where the sharp picture, video or sound of an item is, and a video's poster. Empty where there is none."""
    made = {r.kind: reverse("rendition", args=[r.pk]) for r in item.renditions.all()}
    if item.kind in (Item.Kind.VIDEO, Item.Kind.AUDIO):
        playable = reverse("item-stream", args=[item.pk]) if playable_bytes(item) else ""
        return playable, made.get(Rendition.Kind.POSTER, "")
    return made.get(Rendition.Kind.VIEW, ""), ""


def storyboard_url(item: Item) -> str:
    """Where the storyboard of a video is; empty where there is none."""
    made = item.renditions.filter(kind=Rendition.Kind.STORYBOARD).first()
    return reverse("rendition", args=[made.pk]) if made else ""


# --- how --------------------------------------------------------------------------------------------------------


def serve(request: HttpRequest, sha256: str, media_type: str, *, keep: bool = False) -> HttpResponseBase:
    """A blob, whole or by range. `keep`: the browser may keep it; nothing sharp is ever kept."""
    if media_type not in INLINE:
        raise Http404
    etag = f'"{sha256}"'
    if request.headers.get("If-None-Match") == etag:
        return _guarded(HttpResponse(status=304), etag, keep)
    wanted = _RANGE.match(request.headers.get("Range", ""))
    if wanted and request.headers.get("If-Range", etag) == etag and (wanted[1] or wanted[2]):
        return _guarded(_part(sha256, media_type, wanted[1], wanted[2]), etag, keep)
    return _guarded(whole(sha256, media_type), etag, keep)


def whole(sha256: str, media_type: str) -> StreamingHttpResponse:
    """All bytes of a blob, in constant memory. Raises Missing, Damaged."""
    reader = vault.open(sha256)
    response = StreamingHttpResponse(_blocks(reader, 0, reader.size), content_type=media_type)
    response["Content-Length"] = str(reader.size)
    return _guarded(response, f'"{sha256}"', False)


def _part(sha256: str, media_type: str, first: str, last: str) -> HttpResponseBase:
    reader = vault.open(sha256)
    size = reader.size
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start > end or start >= size:
        reader.close()
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
    response = StreamingHttpResponse(
        _blocks(reader, start, end - start + 1), status=206, content_type=media_type
    )
    response["Content-Length"] = str(end - start + 1)
    response["Content-Range"] = f"bytes {start}-{end}/{size}"
    return response


def _blocks(reader: "vault.VaultReader", start: int, length: int) -> Iterator[bytes]:
    with reader:
        reader.seek(start)
        while length > 0:
            block = reader.read(min(BLOCK, length))
            if not block:
                return
            length -= len(block)
            yield block


def _guarded(response: HttpResponseBase, etag: str, keep: bool) -> HttpResponseBase:
    response["ETag"] = etag
    response["Accept-Ranges"] = "bytes"
    response["Cache-Control"] = "private, max-age=86400, immutable" if keep else "private, no-store"
    response["X-Content-Type-Options"] = "nosniff"
    response["Cross-Origin-Resource-Policy"] = "same-origin"
    response["Content-Security-Policy"] = POLICY
    return response


def back(request: HttpRequest, otherwise: str) -> HttpResponse:
    """To the page of ours that the form named, or else to another."""
    wanted = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return redirect(wanted if safe else otherwise)
