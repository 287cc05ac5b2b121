"""Bringing material in by the web: the page, the question what is held already, and a tus 1.0 server."""

import base64
import binascii
import json
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from archive import access, tus
from archive.custody import Actor
from archive.errors import BadInput
from archive.models import Case, Source, Upload
from archive.views.cases import visible

MOST_ASKED = 500


@require_safe
@login_required
def page(request: HttpRequest, code: str) -> HttpResponse:
    """Choose or drop files and folders; what of mine is not finished yet."""
    case = visible(request, code)
    access.require(request.user, "add_items", case)
    endpoint = reverse("tus", args=[case.code])
    return render(
        request,
        "archive/upload.html",
        {
            "case": case,
            "here": "upload",
            "closed": case.status == Case.Status.CLOSED,
            "sources": Source.objects.filter(case=case).order_by("code"),
            "unfinished": tus.unfinished(case, request.user).order_by("created_at")[:200],
            "limit": settings.UPLOAD_LIMIT,
            "settings": {
                "endpoint": endpoint,
                "held": reverse("upload-held", args=[case.code]),
                "chunk": tus.CHUNK,
                "limit": settings.UPLOAD_LIMIT,
                "words": _words(),
            },
        },
    )


def _words() -> dict[str, str]:
    """What the page's script says."""
    return {
        "waiting": _("waiting"),
        "hashing": _("hashing here, to see whether it is held already"),
        "sending": _("sending"),
        "resuming": _("going on where it stopped"),
        "storing": _("all sent; being stored"),
        "stored": _("confirmed stored"),
        "again": _("confirmed: a further acquisition of"),
        "held": _("not sent: the case holds it already as"),
        "failed": _("not stored:"),
        "stopped": _("stopped; what was confirmed is kept"),
        "signed_out": _signed_out(),
        "offline": _("The connection broke. What was confirmed is kept."),
        "unreadable": _("The browser could not read it. Was it moved or changed? Add it again."),
        "too_large": _("It is larger than the limit. Nothing of it was sent."),
        "summary": _("{stored} of {all} confirmed stored"),
        "summary_held": _("{n} held already"),
        "summary_failed": _("{n} not stored"),
        "left": _("{done} of {all}, about {time} left"),
        "seconds": _("{n} s"),
        "minutes": _("{n} min"),
        "hours": _("{n} h"),
        "leave": _("Files are still being sent."),
        "no_files": _("That folder holds no files."),
    }


@require_POST
@login_required
def held(request: HttpRequest, code: str) -> HttpResponse:
    """Which of these files this case holds already, and which of my own unfinished uploads they go on with."""
    case = visible(request, code)
    access.require(request.user, "add_items", case)
    try:
        asked = json.loads(request.body)["files"]
        hashes = [str(f.get("sha256", "")) for f in asked]
        prints = [str(f.get("fingerprint", "")) for f in asked]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput('Send {"files": [{"sha256": "...", "fingerprint": "..."}]}.') from error
    if len(asked) > MOST_ASKED:
        raise BadInput(f"Ask about at most {MOST_ASKED} files at once.")
    found = tus.held(case, hashes)
    mine = tus.unfinished(case, request.user).filter(fingerprint__in=[p for p in prints if p])
    going = {u.fingerprint: reverse("tus-file", args=[case.code, u.pk]) for u in mine}
    answer = []
    for sha256, fingerprint in zip(hashes, prints, strict=True):
        item = found.get(sha256)
        answer.append(
            {
                "item": {"code": item.code, "url": reverse("item", args=[item.pk])} if item else None,
                "upload": going.pop(fingerprint, None),
            }
        )
    return _fresh(JsonResponse({"files": answer}))


@require_POST
@login_required
def discard(request: HttpRequest, code: str, upload_id: UUID) -> HttpResponse:
    """Give up an unfinished upload of mine (for the page; a tus client sends DELETE)."""
    case = visible(request, code)
    access.require(request.user, "add_items", case)
    tus.discard(upload=get_object_or_404(tus.unfinished(case, request.user), pk=upload_id))
    return redirect("upload", case.code)


# --- tus 1.0 ----------------------------------------------------------------------------------------------------


@require_http_methods(["OPTIONS", "POST"])
def files(request: HttpRequest, code: str) -> HttpResponse:
    """POST announces a file (creation); OPTIONS says what this server can."""
    refusal = _refusal(request)
    if refusal is not None:
        return refusal
    case = visible(request, code)
    access.require(request.user, "add_items", case)
    if request.method == "OPTIONS":
        response = HttpResponse(status=204)
        response["Tus-Version"] = tus.VERSION
        response["Tus-Extension"] = "creation,termination"
        response["Tus-Max-Size"] = str(settings.UPLOAD_LIMIT)
        return _tus(response)
    told = _metadata(request.headers.get("Upload-Metadata", ""))
    announced = tus.Announced(
        length=_number(request.headers.get("Upload-Length", ""), "Upload-Length"),
        file_name=told.get("filename", ""),
        path=told.get("path", ""),
        url=told.get("url", ""),
        source=told.get("source", ""),
        sha256=told.get("sha256", ""),
        fingerprint=told.get("fingerprint", ""),
    )
    upload = tus.begin(case=case, actor=Actor.of(request), announced=announced)
    response = HttpResponse(status=201)
    response["Location"] = reverse("tus-file", args=[case.code, upload.pk])
    return _standing(response, upload)


@require_http_methods(["HEAD", "PATCH", "DELETE"])
def file(request: HttpRequest, code: str, upload_id: UUID) -> HttpResponse:
    """HEAD asks how far it is, PATCH brings the next piece, DELETE gives it up. Only for who began it."""
    refusal = _refusal(request)
    if refusal is not None:
        return refusal
    case = visible(request, code)
    access.require(request.user, "add_items", case)
    mine = Upload.objects.filter(case=case, by=request.user).exclude(finished_at__isnull=False, item=None)
    upload = get_object_or_404(mine.select_related("case", "source", "item__case"), pk=upload_id)
    if request.method == "HEAD":
        response = HttpResponse(status=200)
        response["Upload-Length"] = str(upload.length)
        return _standing(response, upload)
    if request.method == "DELETE":
        tus.discard(upload=upload)
        return _tus(HttpResponse(status=204))
    if request.content_type != "application/offset+octet-stream":
        return _tus(_told(415, "content-type", "A piece comes as application/offset+octet-stream."))
    upload = tus.append(
        upload=upload,
        actor=Actor.of(request),
        start=_number(request.headers.get("Upload-Offset", ""), "Upload-Offset"),
        size=_number(request.headers.get("Content-Length", ""), "Content-Length"),
        stream=request,
    )
    return _standing(HttpResponse(status=204), upload)


def _refusal(request: HttpRequest) -> HttpResponse | None:
    if not request.user.is_authenticated:
        return _tus(_told(401, "signed-out", _signed_out()))
    if request.method != "OPTIONS" and request.headers.get("Tus-Resumable") != tus.VERSION:
        response = _told(412, "tus-version", f"This server speaks tus {tus.VERSION}.")
        response["Tus-Version"] = tus.VERSION
        return _tus(response)
    return None


def _signed_out() -> str:
    return _("You are signed out. What was confirmed is kept: sign in, and add the same files again.")


def _told(status: int, code: str, sentence: str) -> HttpResponse:
    return JsonResponse({"code": code, "detail": sentence, "retry": False}, status=status)


def _standing(response: HttpResponse, upload: Upload) -> HttpResponse:
    """How far an upload is, and what item it became."""
    response["Upload-Offset"] = str(upload.offset)
    if upload.item_id:
        response["Amparo-Item"] = upload.item.code
        response["Amparo-Item-Location"] = reverse("item", args=[upload.item_id])
        response["Amparo-Already-Held"] = "1" if upload.already_held else "0"
    return _tus(response)


def _tus(response: HttpResponse) -> HttpResponse:
    response["Tus-Resumable"] = tus.VERSION
    return _fresh(response)


def _fresh(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    return response


def _number(text: str, name: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise BadInput(f"{name} has to be a whole number of bytes.")
    return int(text)


def _metadata(header: str) -> dict[str, str]:
    """Upload-Metadata: pairs of a key and a base64 value, by commas."""
    told = {}
    for pair in filter(None, (p.strip() for p in header.split(","))):
        key, _space, value = pair.partition(" ")
        try:
            told[key] = base64.b64decode(value, validate=True).decode("utf-8", "replace")
        except binascii.Error as error:
            raise BadInput("Upload-Metadata is not in the form that tus 1.0 asks for.") from error
    return told
