"""The golden log: made once by a finished version, never changed. Every later version still reads and verifies it."""

import base64
import hashlib
import json
from datetime import datetime
from pathlib import Path

import pytest

from archive.custody import map, proofs, tiles
from archive.custody.canonical import event_hash
from archive.custody.log import recording
from archive.custody.notes import VerifierKey, parse_note
from archive.custody.publish import file_name
from archive.custody.verify import verify
from archive.models import (
    Checkpoint,
    Cosignature,
    CustodyEvent,
    CustodyOpening,
    CustodyPosition,
    CustodySubject,
    MapEntry,
    MapHead,
    Timestamp,
)

VECTORS = Path(__file__).parents[2] / "vectors"
FOLDER, BESIDE = VECTORS / "golden-log", VECTORS / "golden-bundle"
NOTE = (FOLDER / "published" / "checkpoint").read_text()
KEYS = [VerifierKey.parse(line) for line in (FOLDER / "keys").read_text().split()]
ROWS_OF_TODAY = {"missing row", "altered roles"}  # the vector holds the log, not what it tells of


def rows(name):
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]


def entries():
    """The events in their order, as a tlog-tiles client reads them."""
    head = parse_note(NOTE)
    raw, found = (FOLDER / f"published/tile/entries/000.p/{head.size}").read_bytes(), []
    while raw:
        length = int.from_bytes(raw[:2], "big")
        found.append(raw[2 : 2 + length])
        raw = raw[2 + length :]
    assert len(found) == head.size
    return found


def test_events_tile_and_checkpoint_agree_and_every_key_has_signed():
    head, leaves = parse_note(NOTE), [event_hash(event) for event in entries()]
    assert (FOLDER / f"published/tile/0/000.p/{head.size}").read_bytes() == b"".join(leaves)
    for key in KEYS:
        key.verify(head)
    assert {key.type for key in KEYS} == {1, 6}


def load():
    """Put the log into the database as a superuser would: rows alone, in their order."""
    tips, events = {}, []
    for position, raw in enumerate(entries()):
        said = json.loads(raw)
        event = CustodyEvent(
            subject=said["subject"],
            number=said["number"],
            type=said["type"],
            time=datetime.fromisoformat(said["time"]),
            canonical=raw,
            hash=event_hash(raw).hex(),
        )
        event.save(force_insert=True)
        CustodyPosition(position=position, event=event).save(force_insert=True)
        tips[event.subject] = event
        events.append(event)
    for name, event in tips.items():
        CustodySubject(name=name, length=event.number, tip=event.hash).save(force_insert=True)
    places = {(event.subject, event.number): event for event in events}
    for row in rows("openings"):
        event = places.get((row.pop("subject"), row.pop("number")))
        if event:
            CustodyOpening(event=event, **row).save(force_insert=True)
    return events


def load_map(events):
    """Each version of the map, made anew from the events up to its size with the keys that the vector holds."""
    proofs_of = {row["name"]: base64.b64decode(row["key_proof"]) for row in rows("map")}
    page, done, files = None, 0, {}
    for stating in [event for event in events if event.type == "system.map_root"]:
        said = json.loads(stating.canonical)["payload"]
        tips = {}
        for event in events[done : said["size"]]:
            tips[event.subject] = (event.number, event.hash)
            if event.type == "item.stored":
                name = file_name(bytes(event.canonical))
                files[name] = files.get(name, 0) + 1
                tips[name] = (files[name], event.hash)
        keys = {name: hashlib.sha256(proofs_of[name]).digest() for name in tips}
        leaves = [map.Leaf(keys[name], number, bytes.fromhex(tip)) for name, (number, tip) in tips.items()]
        page, root = map.update(page, leaves)
        assert root.hex() == said["root"], f"the map of {said['size']} events"
        MapHead(
            size=said["size"], entries=said["entries"], root=said["root"], page_id=page, event=stating
        ).save()
        done = said["size"]
    for row in rows("map"):
        proof = base64.b64decode(row.pop("key_proof"))
        MapEntry(key=hashlib.sha256(proof).hexdigest(), key_proof=proof, **row).save(force_insert=True)


def load_checkpoints(below):
    for row in rows("checkpoints"):
        if row["size"] < below:
            head = parse_note(row["note"])
            made = Checkpoint(
                size=head.size,
                root=head.root.hex(),
                note=row["note"],
                signed_at=row["signed_at"],
                map=MapHead.objects.get(size=row["map"]),
            )
            made.save(force_insert=True)
            for one in row["cosignatures"]:
                Cosignature(checkpoint=made, **one).save(force_insert=True)
            for one in row["timestamps"]:
                one["response"] = base64.b64decode(one["response"])
                Timestamp(checkpoint=made, **one).save(force_insert=True)


@pytest.mark.django_db(transaction=True)
def test_the_log_verifier_still_finds_nothing_wrong_with_it(settings):
    settings.NAME_IN_LOG = parse_note(NOTE).origin
    settings.TIMESTAMP_CERTIFICATES = BESIDE / "authority.pem"
    policy = "".join(line for line in (BESIDE / "policy").open() if "greatest-age" not in line)
    with recording():
        events = load()
        load_map(events)
        load_checkpoints(len(events))
    tiles.integrate()
    assert tiles.root(len(events)) == parse_note(NOTE).root
    own = next(key.public for key in KEYS if key.type == 1)
    kept = rows("checkpoints")[0]["note"]
    report = verify(known=kept, public_key=own, policy=policy)
    assert {fault.kind for fault in report.faults} <= ROWS_OF_TODAY, report.faults
    assert report.events == len(events) and report.checkpoints >= 2 and not report.unopened
    event = events[0]
    path = proofs.inclusion(0, len(events))
    proofs.verify_inclusion(bytes.fromhex(event.hash), 0, len(events), path, parse_note(NOTE).root)
