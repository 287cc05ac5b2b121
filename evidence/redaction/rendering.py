"""From a confirmed recipe to a rendition that waits for a person: one job, all decoding in the sandbox.

render    inside/render.py decodes, covers and encodes anew
check     inside/check.py decodes the result and compares every frame with the recipe; archive.media looks at what it is
keep      rendition, thumbnail (made of the result) and events in one transaction

What does not pass the check is thrown away. Nothing here can approve anything: that needs a signed-in person.
"""

from __future__ import annotations

import contextlib
import json
import os
import sysconfig
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from archive import custody, ingest, jobs, vault
from archive.custody import Actor
from archive.errors import AmparoError, MediaError, SandboxUnavailable
from archive.jobs import job
from archive.media import clean, formats, probe, renditions, sandbox
from archive.media.renditions import Rendered
from archive.models import Item, Job, Rendition
from evidence.redaction import document
from evidence.redaction.models import Redaction

INSIDE = Path(__file__).parent / "inside"
ATTEMPTS = 2
# What exiftool may say of a result: how it is built. Anything else could come from the original.
GROUPS_OF_BUILD = ("File:", "JFIF:", "Composite:", "QuickTime:")
NEVER_SAID = (
    "GPS",
    "Make",
    "Model",
    "Software",
    "Comment",
    "Title",
    "Artist",
    "Author",
    "Copyright",
    "Location",
)


@dataclass(frozen=True)
class Made:
    """A result that passed its check, its thumbnail, and what is to be written down about both."""

    result: Rendered
    thumbnail: Rendered
    report: dict[str, Any]


@job("evidence.redact", queue="media", attempts=ATTEMPTS, limit_s=24 * 3600)
def redact(row: Job, item: Item) -> None:
    """Render what was confirmed of this item and not yet rendered. A second run finds nothing to do."""
    for redaction in Redaction.objects.filter(item=item, state=Redaction.State.CONFIRMED):
        if document.sha256(redaction.recipe) != redaction.recipe_sha256:
            _fail(redaction, "The stored recipe is not the one that was confirmed. Nothing was rendered.")
            continue
        try:
            with ingest.plaintext(item) as source, vault.scratch(need=2 * item.size) as folder:
                with _told(row, folder):
                    made = render(redaction.recipe, source, folder, seconds=_seconds(item))
                stored = [(one, ingest.store(one)) for one in (made.result, made.thumbnail)]
        except AmparoError as error:
            if error.retry and row.attempts < ATTEMPTS:
                raise
            _fail(redaction, error.sentence)
            continue
        _keep(redaction, stored, made.report)


def _seconds(item: Item) -> float:
    """How long it lasts; an hour where a video does not say."""
    return 0.0 if item.kind == Item.Kind.IMAGE else (item.duration_ms or 3_600_000) / 1000


def _keep(redaction: Redaction, stored: list[tuple[Rendered, Any]], report: dict[str, Any]) -> None:
    actor = Actor.system("worker")
    with transaction.atomic(durable=True):
        rendition, thumbnail = (
            ingest.keep_rendition(redaction.item, one, bytes_, actor) for one, bytes_ in stored
        )
        custody.change(
            redaction,
            event="item.redaction_rendered",
            actor=actor,
            expect={"state": Redaction.State.CONFIRMED},
            also={
                "recipe_sha256": redaction.recipe_sha256,
                "sha256": rendition.blob_id,
                "original": redaction.item.sha256,
            },
            state=Redaction.State.RENDERED,
            rendition=rendition,
            thumbnail=thumbnail,
            report=report,
            report_sha256=document.sha256(report),
        )


def _fail(redaction: Redaction, sentence: str) -> None:
    with transaction.atomic(durable=True):
        custody.change(
            redaction,
            event="item.redaction_failed",
            actor=Actor.system("worker"),
            expect={"state": Redaction.State.CONFIRMED},
            also={"fault": sentence[:1000]},
            state=Redaction.State.FAILED,
            problem=sentence[:1000],
        )


# --- rendering ------------------------------------------------------------------------------------------------------


def render(recipe: dict[str, Any], source: Path | int, folder: Path, *, seconds: float = 0) -> Made:
    """Make the redacted file of an original in a private, empty folder, and check it.

    Raises MediaError where it cannot be made or does not pass (the original is kept), SandboxUnavailable.
    """
    limits = _limits(seconds)
    name = "redacted.jpg" if recipe["kind"] == Item.Kind.IMAGE else "redacted.mp4"
    plan = (
        recipe
        | recipe["encoding"]
        | {"av_formats": ",".join(formats.AV_DEMUXERS), "max_pixels": probe.MAX_PIXELS}
    )
    told = _inside("render.py", plan, {"original": source}, limits, folder)
    made = clean.mapping(told.get("rendered"))
    if not made:
        raise MediaError(
            f"It could not be rendered: {clean.text(told.get('problem'), 300) or told['ended']}. The original is kept."
        )
    size = sandbox.check_plain(folder / name, limit=limits.output_mb << 20)
    checked = _inside("check.py", plan | {"rendered": made}, {"redacted": folder / name}, limits, None)
    if not clean.mapping(checked.get("checked")):
        reason = clean.text(checked.get("wrong"), 300) or checked["ended"]
        raise MediaError(
            f"The rendered file did not pass its own check and was thrown away: {reason}. Nothing was released."
        )
    width, height = (clean.whole(made.get(side), 1 << 20) for side in ("width", "height"))
    if name.endswith("jpg") and renditions.jpeg_size((folder / name).read_bytes()) != (width, height):
        raise MediaError(
            "The rendered picture is not a plain JPEG and was thrown away. Nothing was released."
        )
    result = Rendered(
        Rendition.Kind.REDACTED,
        f"{recipe['format'].replace(' ', '/')} {document.sha256(recipe)}",
        "image/jpeg" if name.endswith("jpg") else "video/mp4",
        width,
        height,
        size=size,
        path=folder / name,
    )
    thumbnail = _thumbnail(result)
    report = {
        "format": "amparo-redaction-report 1",
        "recipe_sha256": document.sha256(recipe),
        "original_sha256": recipe["original_sha256"],
        "result_sha256": result.sha256,
        "thumbnail_sha256": thumbnail.sha256,
        "software": {"amparo": settings.SOFTWARE} | _texts(told.get("software")),
        "rendered": {
            key: clean.whole(made.get(key), 1 << 40) or 0
            for key in ("width", "height", "frames", "dropped", "faults", "samples")
        },
        "check": _texts(checked["checked"]),
    }
    return Made(result, thumbnail, report)


def _thumbnail(result: Rendered) -> Rendered:
    """A small picture of the result itself; and a last look whether the result carries what it must not."""
    assert result.path is not None
    seen = renditions.examine(result.path)
    about = seen.probe
    small = next((one for one in seen.renditions if one.kind == Rendition.Kind.THUMBNAIL), None)
    if about.condition is not probe.Condition.OK or about.media_type != result.media_type or small is None:
        raise MediaError(
            f"The rendered file cannot be opened and was thrown away: {about.condition}. Nothing was released."
        )
    if said := foreign(clean.mapping(about.untrusted_metadata.get("exiftool"))):
        raise MediaError(
            f"The rendered file carries metadata and was thrown away: {', '.join(said)}. Nothing was released."
        )
    return replace(small, kind=Rendition.Kind.REDACTED_THUMBNAIL, recipe=f"{small.recipe} of {result.sha256}")


def foreign(exif: dict[str, Any]) -> list[str]:
    """Names of metadata that say more than how a file is built."""
    return sorted(
        name
        for name in exif
        if not name.startswith(GROUPS_OF_BUILD) or name.partition(":")[2].startswith(NEVER_SAID)
    )


def _limits(seconds: float) -> sandbox.Limits:
    return sandbox.Limits(
        cpu_s=int(300 + 40 * seconds),
        wall_s=300 + 20 * seconds,
        memory_mb=3072,
        address_mb=0,  # numpy and ffmpeg reserve much and use little
        output_mb=int(256 + 12 * seconds),
        processes=96,
        tmp_mb=64,
    )


def _inside(
    script: str,
    plan: dict[str, Any],
    inputs: dict[str, Path | int],
    limits: sandbox.Limits,
    outputs: Path | None,
) -> dict[str, Any]:
    """Run one of the two scripts in the sandbox; what it told, by name, and under "ended" how it ended."""
    asked = {"packages": sysconfig.get_path("platlib"), "image_decoders": formats.IMAGE_DECODERS}
    descriptor = renditions.in_memory(json.dumps(plan).encode())
    try:
        done = sandbox.run(
            [sandbox.python(), "-I", "-S", f"/in/{script}", json.dumps(asked)],
            inputs={
                **inputs,
                "plan.json": descriptor,
                "examine.py": probe.INSIDE,
                **{name: INSIDE / name for name in (script, "covering.py", "sound.py")},
            },
            outputs=outputs,
            limits=limits,
            env={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            python=True,
        )
    finally:
        os.close(descriptor)
    if done.returncode in (-9, 137) and not done.stopped:
        raise SandboxUnavailable(
            "The system ended the rendering, most likely for want of memory. The original is kept."
        )
    told: dict[str, Any] = {record.name: record.value for record in probe.records(done.untrusted_stdout)}
    ended = (
        f"it used more {done.stopped.value} than it may"
        if done.stopped
        else f"it ended with {done.returncode}"
    )
    return told | {"ended": ended}


def _texts(untrusted: object) -> dict[str, str]:
    """Names and short texts of what a sandbox told."""
    return {
        clean.text(name, 40): clean.text(value, 60)
        for name, value in list(clean.mapping(untrusted).items())[:40]
    }


# --- how far it is -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _told(row: Job, folder: Path) -> Iterator[None]:
    """While something is rendered, write now and then on its job how many milliseconds of it are done."""
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(2):
            with contextlib.suppress(
                OSError, ValueError, IndexError, AmparoError
            ):  # not there yet, or half written
                done = int(sandbox.collect(folder, "progress", limit=100).split()[1])
                Job.objects.filter(pk=row.pk).update(payload={"done_ms": done})
        connection.close()

    thread = threading.Thread(target=tell, name="redaction progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=5)


def progress(item: Item) -> tuple[Job | None, float]:
    """The item's newest job of rendering, and which share of it is done."""
    row = Job.objects.filter(name="evidence.redact", item=item).order_by("-created_at").first()
    done = (row.payload or {}).get("done_ms", 0) if row else 0
    return row, min(1.0, done / item.duration_ms) if item.duration_ms else 0.0


def ask(item: Item) -> None:
    """Queue the rendering in the caller's transaction."""
    jobs.enqueue("evidence.redact", subject=item)
