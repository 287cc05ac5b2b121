"""Runs inside the sandbox, in a process of its own: reads and checks the C2PA record (signed provenance) of /in/original.

argv: the folder of packages, the media type. Writes one JSON object. Nothing is fetched: no manifest that lies elsewhere, no
list of revoked certificates. Where /in/anchors.pem is, signers under its certificates are trusted; else none is. Imports
nothing of ours, and our side believes none of it. docs/media.md says what the object means.
"""

from __future__ import annotations

import json
import os
import sys

ORIGINAL, ANCHORS = "/in/original", "/in/anchors.pem"
MOST = 20


def main() -> None:
    packages, media_type = sys.argv[1:]
    sys.path.append(packages)
    import c2pa

    if media_type not in c2pa.Reader.get_supported_mime_types():
        return
    wanted: dict[str, dict[str, object]] = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
    if os.path.exists(ANCHORS):
        with open(ANCHORS, encoding="ascii") as stream:
            wanted["trust"] = {"trust_anchors": stream.read()}
    told: dict[str, object] = {"library": c2pa.sdk_version()}
    try:
        context = c2pa.Context(c2pa.Settings.from_dict(wanted))
        with open(ORIGINAL, "rb") as stream, c2pa.Reader(media_type, stream, context=context) as reader:
            told |= summed(json.loads(reader.json()))
    except c2pa.C2paError.ManifestNotFound:
        return
    except c2pa.C2paError as problem:
        told |= {"state": "unreadable", "said": f"{type(problem).__name__}: {problem}"[:300]}
    print(json.dumps(told))


def summed(found: dict) -> dict[str, object]:
    """Of what the library tells, what is kept: the state, the failed checks, who signed, what was said to be done."""
    manifests = found.get("manifests") or {}
    active = manifests.get(found.get("active_manifest")) or {}
    signed = active.get("signature_info") or {}
    results = (found.get("validation_results") or {}).get("activeManifest") or {}
    acts = [act for manifest in manifests.values() for act in actions(manifest)]
    generators = active.get("claim_generator_info") or [{"name": active.get("claim_generator")}]
    return {
        "state": str(found.get("validation_state")).lower(),
        "failed": [str(one.get("code")) for one in results.get("failure") or []][:MOST],
        "manifests": len(manifests),
        "generators": [f"{one.get('name')} {one.get('version') or ''}".strip() for one in generators][:MOST],
        "signer": {name: signed.get(name) for name in ("issuer", "common_name", "time", "alg")},
        "actions": list(dict.fromkeys(str(act.get("action")) for act in acts))[:MOST],
        "source_types": list(dict.fromkeys(str(kind) for act in acts if (kind := act.get("digitalSourceType"))))[:MOST],
    }  # fmt: skip


def actions(manifest: dict) -> list[dict]:
    """What a manifest says that was done."""
    said = [
        one for one in manifest.get("assertions") or [] if str(one.get("label")).startswith("c2pa.actions")
    ]
    return [act for one in said for act in (one.get("data") or {}).get("actions") or []]


if __name__ == "__main__":
    main()
