"""Leaving: the whole archive in one go, a bundle a case, and an index that says which."""

import json
from pathlib import Path
from typing import Any

from archive import access
from archive.custody import Actor
from archive.errors import BadInput
from archive.models import Case, User
from archive.vault import Progress, silent
from evidence import bag, bundle
from evidence.draft import Draft
from evidence.models import Bundle

INDEX = "index.json"
ALREADY = "index.json.partial"


def export(
    *,
    out: Path,
    actor: Actor,
    resume: bool = False,
    reason: str = "",
    as_zip: bool = False,
    progress: Progress = silent,
    **terms: Any,
) -> list[dict[str, Any]]:
    """Write a bundle of every case into a new folder, and index.json last; return what that says.

    Each case is whole under its code, or not there. With `resume` it goes on in a folder that has no index yet. Raises
    as `bundle.export`; what was written of earlier cases stays.
    """
    out = out.absolute()
    if (out / INDEX).exists() or (out.exists() and not resume) or not out.parent.is_dir():
        raise BadInput(
            f"{out} exists already, or its folder does not. Nothing was exported: name another path, or add --resume to "
            "go on."
        )
    out.mkdir(mode=0o700, exist_ok=True)
    begun = out / ALREADY
    rows = (
        {row["case"]: row for row in map(json.loads, begun.read_text().splitlines())}
        if begun.exists()
        else {}
    )
    with begun.open("a", encoding="utf-8") as journal:
        for case in Case.objects.order_by("code"):
            if case.code in rows:
                continue
            rows[case.code] = row = _one(case, out, actor, resume, reason, as_zip, progress, terms)
            journal.write(json.dumps(row) + "\n")
            journal.flush()
            bag.sync(begun)
    index = [rows[code] for code in sorted(rows)]
    text = "[\n" + ",\n".join(json.dumps(row, sort_keys=True) for row in index) + "\n]\n"
    bag.write_file([text.encode()], out / INDEX)
    begun.unlink()
    bag.sync(out)
    return index


def _one(
    case: Case,
    out: Path,
    actor: Actor,
    resume: bool,
    reason: str,
    as_zip: bool,
    progress: Progress,
    terms: dict[str, Any],
) -> dict[str, Any]:
    """Export one case, unless it is there already, or has no item."""
    if not case.items.exists():
        return {"case": case.code, "items": 0, "bundle": None, "path": None, "volumes": []}
    ending = ".zip.age" if terms.get("keys") else ".zip" if as_zip else ""
    name = case.code + ("" if terms.get("volume_size") else ending)
    place = out / name
    if place.exists():  # the last one before a kill
        made = Bundle.objects.filter(case=case, kept=Bundle.Kept.SHELL, state=Bundle.State.BUILT).first()
    elif resume and Draft.left(place):
        made = bundle.resume(out=place, actor=actor, as_zip=as_zip, progress=progress)
    else:
        made = bundle.export(
            case=case, out=place, actor=actor, reason=reason, as_zip=as_zip, progress=progress, **terms
        )
    if made is None:
        raise BadInput(f"{place} is in the way. Nothing was written there: move it, and add --resume.")
    volumes = [{"name": v.name, "statement_sha256": v.statement_sha256} for v in made.volumes.all()]
    return {
        "case": case.code,
        "items": made.item_count,
        "bundle": str(made.pk),
        "path": name,
        "key": made.key,
        "volumes": volumes,
    }


def request_all(
    *, user: User, actor: Actor, reason: str = "", **terms: Any
) -> tuple[list[Bundle], list[str]]:
    """Ask for a bundle of each case that this person may export; what stands against one is told and stops no other.

    Raises NotAllowed for whoever may not.
    """
    access.require(actor, "export_all")
    made, refused = [], []
    for case in Case.objects.visible_to(user).order_by("code"):
        if not access.can(actor, "export", case) or not case.items.exists():
            continue
        try:
            made.append(bundle.request(case=case, actor=actor, reason=reason, **terms))
        except BadInput as error:
            refused.append(f"{case.code}: {error.sentence}")
    return made, refused
