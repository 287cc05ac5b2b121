"""Makes bundles from nothing, good and bad, after docs/bundle.md alone: shares no code with the exporter.

A `Forge` holds what a bundle says as plain values; `write` builds the log, its tree and map, and every file of the
bundle anew, hashes, lists and signs. A test spoils the values (who made the log), the values after `published` (who
holds the signing key, but cannot change the log any more) or the written files (a forger without the key).
"""

import base64
import copy
import csv
import hashlib
import io
import json
import shutil
import uuid
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import hashes as hashing
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

VERIFIER = Path(__file__).parents[3] / "evidence" / "verifier" / "verify_bundle.py"
NAMESPACE = uuid.UUID("5a1f7f0c-5e0f-4c62-9d0e-6a0f0b9f1d11")
TIME = "2026-11-21T09:00:00.000000Z"
COLUMNS = {
    "metadata/items": ["id", "code", "path", "file_name", "sha256", "size"],
    "metadata/sources": ["code", "kind"],
    "decisions": ["item", "value", "reason", "actor/id", "time"],
    "detections": ["item", "note", "weights_sha256", "result_sha256", "result"],
}


def canonical(value):
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def sha(data):
    return hashlib.sha256(data).hexdigest()


def raw_sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


@cache
def map_key():
    return rsa.generate_private_key(65537, 2048)


@cache
def key_proof(origin, subject):
    statement = f"amparo-map-key/1\n{origin}\n{subject}".encode()
    return map_key().sign(statement, padding.PKCS1v15(), hashing.SHA256())


# --- tree and map, in the words of RFC 6962 and docs/custody-log.md: slow, plain, not the verifier's code ------------


def tree(leaves):
    if len(leaves) < 2:
        return leaves[0] if leaves else raw_sha()
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return raw_sha(b"\x01", tree(leaves[:k]), tree(leaves[k:]))


def tree_path(m, leaves):
    if len(leaves) == 1:
        return []
    k = 1 << (len(leaves) - 1).bit_length() - 1
    if m < k:
        return [*tree_path(m, leaves[:k]), tree(leaves[k:])]
    return [*tree_path(m - k, leaves[k:]), tree(leaves[:k])]


def tree_growth(m, leaves, whole=True):
    """RFC 6962, 2.1.2: SUBPROOF(m, D[n], b)."""
    if m == len(leaves):
        return [] if whole else [tree(leaves)]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    if m <= k:
        return [*tree_growth(m, leaves[:k], whole), tree(leaves[k:])]
    return [*tree_growth(m - k, leaves[k:], False), tree(leaves[:k])]


def bit(key, depth):
    return key[depth // 8] >> (7 - depth % 8) & 1


def map_tree(entries, depth=0):
    """Root of a map of {key: (number, tip)}."""
    if not entries:
        return bytes(32)
    if len(entries) == 1:
        ((key, (number, tip)),) = entries.items()
        return raw_sha(b"\x02", key, number.to_bytes(8, "big"), tip)
    return raw_sha(b"\x03", *(map_tree(side, depth + 1) for side in sides(entries, depth)))


def sides(entries, depth):
    return [{k: v for k, v in entries.items() if bit(k, depth) == side} for side in (0, 1)]


def map_path(key, entries, depth=0):
    """Siblings of a key, from the root downwards."""
    if len(entries) == 1:
        return []
    split = sides(entries, depth)
    here = bit(key, depth)
    return [map_tree(split[1 - here], depth + 1), *map_path(key, split[here], depth + 1)]


def ident(name):
    return str(uuid.uuid5(NAMESPACE, name))


def as_list(rows):
    return (
        b"[\n"
        + b"".join(canonical(row) + (b",\n" if row is not rows[-1] else b"\n") for row in rows)
        + b"]\n"
    )


def as_csv(rows, columns):
    def cell(row, column):
        for part in column.split("/"):
            row = row[part]
        text = "" if row is None else row if isinstance(row, str) else canonical(row).decode()
        return "'" + text if text.lstrip()[:1] in set("=+-@'") and text else text

    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([cell(row, c) for c in columns] for row in rows)
    return ("\ufeff" + out.getvalue()).encode()


class Forge:
    """A small case of two items, with everything that a bundle can hold."""

    def __init__(self, seed=b"1"):
        self.key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed).digest())
        self.log_key = self.key
        self.bundle, self.case = ident("bundle"), ident("case")
        self.events, self.openings = (
            [],
            [],
        )  # (event without number and chain), (subject, number, pointer, ...)
        self.originals, self.items, self.decisions, self.detections = {}, [], [], []
        self.origin, self.before, self.logged = "archive.example", 5, None
        self.created, self.witnesses, self.stamps = "2026-11-21T09:05:00.000000Z", [], {}
        self.second_key, self.completeness_lies = None, False
        self.files, self.volume, self.volumes = "originals", {"number": 1, "of": 1}, []
        person = {"kind": "person", "id": ident("person"), "role": "researcher"}
        system = {"kind": "system", "id": "", "role": "worker"}
        self.event(f"case:{self.case}", "case.opened", person, {"set": {"code": "H1"}})
        self.event(f"bundle:{self.bundle}", "bundle.requested", person, {"set": {}}, reason="for the court")
        for n, name, data in ((1, "=cmd.jpg", b"\xff\xd8 first"), (2, "صورة ٢.png", b"\x89PNG second" * 9)):
            key = ident(f"item {n}")
            path = f"data/originals/H1-000{n}/{name}"
            self.originals[path] = data
            held = {"blob": sha(data), "size": len(data)}
            self.event(f"item:{key}", "item.stored", person, {"id": key, "set": held})
            got = self.event(f"item:{key}", "item.acquired", person, {"set": {"file_name": ("open", name)}})
            result = [{"at_ms": 0, "box": ["0.10000"] * 4, "label": "person", "score": "0.9421"}]
            ran = self.event(
                f"item:{key}",
                "item.analysed",
                system,
                {"set": {"weights_sha256": "ab" * 32, "result_sha256": sha(canonical(result))}},
            )
            decision = {"value": "relevant", "withdraws": None, "reason": ("open", "seen " + name)}
            made = self.event(f"item:{key}", "item.decided", person, {"id": ident(f"d{n}"), "set": decision})
            self.items.append(
                {
                    "id": key,
                    "code": f"H1/000{n}",
                    "path": path,
                    "file_name": name,
                    "sha256": sha(data),
                    "size": len(data),
                    "acquisitions": [{**got, "file_name": name}],
                }
            )
            self.detections.append(
                {
                    **ran,
                    "item": f"H1/000{n}",
                    "note": "machine suggestion, not a finding",
                    "weights_sha256": "ab" * 32,
                    "result_sha256": sha(canonical(result)),
                    "result": result,
                }
            )
            self.decisions.append(
                {
                    **made,
                    "item": f"H1/000{n}",
                    "id": ident(f"d{n}"),
                    "value": "relevant",
                    "withdraws": None,
                    "reason": "seen " + name,
                    "actor": person,
                    "time": TIME,
                }
            )

        self.asked = "".join(sorted(f"{i['id']}\n" for i in self.items))

    def published(self):
        """From here on the log is under its checkpoint: what is changed, is changed in the bundle alone."""
        self.request()
        self.logged = copy.deepcopy(self.events)
        return self

    def event(self, subject, kind, actor, payload, reason="", time=TIME):
        """Add an event; ("open", value) commits to a value and discloses it, ("hide", value) withholds it."""
        number = sum(e["subject"] == subject for e in self.events) + 1

        def commit(value, pointer):
            if isinstance(value, tuple):
                salt = sha(f"{subject}{number}{pointer}".encode())
                if value[0] == "open":
                    self.openings.append(
                        {
                            "subject": subject,
                            "number": number,
                            "pointer": pointer,
                            "salt": salt,
                            "value": value[1],
                        }
                    )
                return {"commitment": sha(canonical([salt, pointer, value[1]]))}
            if isinstance(value, dict):
                return {k: commit(v, f"{pointer}/{k}") for k, v in value.items()}
            return value

        alike = [at for at, e in enumerate(self.events, 1) if e["subject"] == subject]
        self.events.insert(
            alike[-1] if alike else len(self.events),
            {
                "version": 1,
                "subject": subject,
                "number": number,
                "previous": "",
                "type": kind,
                "time": time,
                "actor": {**actor, "name": commit(("hide", "Ana"), "/actor/name") if actor["id"] else ""},
                "reason": commit(("open", reason), "/reason") if reason else "",
                "software": "amparo 0.1.0",
                "payload": commit(payload, "/payload"),
            },
        )
        return {"subject": subject, "number": number, "event": ""}

    def find(self, kind, which=0):
        return [e for e in self.events if e["type"] == kind][which]

    def drop(self, event):
        """Remove an event and all that is said of it, as somebody with the key would."""
        self.events.remove(event)
        at = (event["subject"], event["number"])
        for rows in (self.openings, self.decisions, self.detections):
            rows[:] = [r for r in rows if (r["subject"], r["number"]) != at]

    # --- building

    def request(self):
        for request in (e for e in self.events if e["type"] == "bundle.requested"):
            request["payload"]["set"] = {"key": self.fingerprint(), "items_sha256": sha(self.asked.encode())}

    @staticmethod
    def chained(events):
        """The lines of events, chained; their hashes by place, and the last of each subject."""
        lines, tips, hashes = [], {}, {}
        for event in events:
            number, tip = tips.get(event["subject"], (0, "0" * 64))
            line = canonical({**event, "previous": tip})
            tips[event["subject"]] = number + 1, sha(b"\x00" + line)
            hashes[event["subject"], event["number"]] = tips[event["subject"]][1]
            lines.append(line)
        return lines, hashes, tips

    def log(self):
        """The whole log: events of others, ours, one that came too late for the map, the map's event."""
        events = self.logged or self.events
        lines, hashes, tips = self.chained(events)
        others = [canonical({"not": "ours", "n": n}) for n in range(self.before)]
        places = {(e["subject"], e["number"]): self.before + at for at, e in enumerate(events)}
        subjects = {**tips, "item:somebody-elses": (7, "ab" * 32), "system:main": (self.before, "cd" * 32)}
        keys = {subject: raw_sha(key_proof(self.origin, subject)) for subject in subjects}
        entries = {keys[s]: (number, bytes.fromhex(tip)) for s, (number, tip) in subjects.items()}
        size = len(others) + len(lines)
        public = map_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        event = {"version": 1, "subject": "system:main", "number": self.before + 1, "previous": "cd" * 32}
        event |= {"type": "system.map_root", "time": TIME, "actor": {"kind": "system"}, "reason": ""}
        root = map_tree(entries).hex()
        said = {"size": size, "entries": len(entries), "root": root, "key": base64.b64encode(public).decode()}
        event = canonical({**event, "software": "amparo 0.1.0", "payload": said})
        leaves = [raw_sha(b"\x00", line) for line in [*others, *lines, canonical({"late": 1}), event]]
        return leaves, places, keys, entries, event, subjects

    def checkpoint(self, leaves):
        text = f"{self.origin}\n{len(leaves)}\n{base64.b64encode(tree(leaves)).decode()}\n"
        public = self.log_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        lines = signature_line(self.origin, 1, public, self.log_key.sign(text.encode()))
        if self.second_key:
            raw = self.second_key.public_key().public_bytes_raw()
            lines += subtree_line(self.second_key, self.origin, raw, 1_795_251_600, self.origin, leaves)
        return f"{text}\n{lines}".encode()

    def cosigned(self, leaves, note=b""):
        """The checkpoint with the lines of `witnesses`: (name, key, time)."""
        note = note or self.checkpoint(leaves)
        text = note[: note.index(b"\n\n") + 1]
        for name, key, time in self.witnesses:
            raw = key.public_key().public_bytes_raw()
            if len(raw) > 32:
                note += subtree_line(key, name, raw, time, self.origin, leaves).encode()
                continue
            signed = time.to_bytes(8, "big") + key.sign(b"cosignature/v1\ntime %d\n" % time + text)
            note += signature_line(name, 4, raw, signed).encode()
        return note

    def data(self):
        """Every file under data/, by name."""
        self.request()
        lines, hashes, tips = self.chained(self.events)
        leaves, places, keys, entries, map_event, subjects = self.log()
        for row in [
            *self.decisions,
            *self.detections,
            *(a for i in self.items for a in [*i["acquisitions"], *i.get("redactions", [])]),
        ]:
            row["event"] = hashes.get((row["subject"], row["number"]), "0" * 64)
        note = self.checkpoint(leaves)
        cosigned = self.cosigned(leaves, note)

        def proof(position):
            return [value.hex() for value in tree_path(position, leaves)]

        inclusion = [
            {
                "event": digest,
                "number": n,
                "position": (at := places.get((s, n), 0)),
                "proof": proof(at),
                "subject": s,
            }
            for (s, n), digest in hashes.items()
        ]
        completeness = [
            {
                "key_proof": base64.b64encode(key_proof(self.origin, s)).decode(),
                "number": (told := tip if self.completeness_lies else subjects.get(s, tip))[0],
                "siblings": [v.hex() for v in (map_path(keys[s], entries) if s in keys else [])],
                "subject": s,
                "tip": told[1],
            }
            for s, tip in tips.items()
        ]
        own = self.before + len(places) + 1  # position of the map's event
        self.checkpointed = {"origin": self.origin, "size": len(leaves), "root": tree(leaves).hex()}
        self.mapped = {"size": self.before + len(places), "root": map_tree(entries).hex()}
        files = {
            "data/report.pdf": b"%PDF-1.7\n%%EOF\n",
            "data/metadata/case.json": canonical({"code": "H1"}) + b"\n",
            "data/custody/events.jsonl": b"".join(line + b"\n" for line in lines),
            "data/custody/openings.jsonl": b"".join(canonical(o) + b"\n" for o in self.openings),
            "data/custody/inclusion.jsonl": b"".join(canonical(row) + b"\n" for row in inclusion),
            "data/custody/completeness.jsonl": b"".join(canonical(row) + b"\n" for row in completeness),
            "data/custody/map.json": canonical(
                {"event": map_event.decode(), "position": own, "proof": proof(own)}
            )
            + b"\n",
            "data/custody/subjects.json": as_list(
                [{"subject": s, "events": number, "tip": tip} for s, (number, tip) in tips.items()]
            ),
            "data/custody/checkpoint.txt": note,
            **({"data/custody/cosigned-checkpoint.txt": cosigned} if self.witnesses else {}),
            **{f"data/custody/timestamps/{name}": raw for name, raw in self.stamps.items()},
            **({"data/volumes.json": as_list(self.volumes)} if self.volumes else {}),
            **self.originals,
        }
        for at in [own, *(places.get((s, number), 0) for s, (number, _) in tips.items())]:
            path = "".join(f"{base64.b64encode(v).decode()}\n" for v in tree_path(at, leaves))
            head = f"c2sp.org/tlog-proof@v1\nindex {at}\n{path}\n".encode()
            files[f"data/custody/proofs/{at}.tlog-proof"] = head + (cosigned if self.witnesses else note)
        tables = {
            "metadata/items": self.items,
            "metadata/sources": [{"code": "S-1", "kind": "witness"}],
            "decisions": self.decisions,
            "detections": self.detections,
        }
        for name, rows in tables.items():
            files[f"data/{name}.json"] = as_list(rows)
            files[f"data/{name}.csv"] = as_csv(rows, COLUMNS[name])
        return files

    def write(self, folder):
        """Write the bundle into an empty folder."""
        for name, data in self.data().items():
            put(folder, name, data)
        shutil.copyfile(VERIFIER, folder / "verify_bundle.py")
        put(folder, "README.txt", b"Check me.\n")
        put(folder, "bagit.txt", b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
        self.seal(folder)
        return folder

    def seal(self, folder):
        """List and sign whatever lies in the folder now."""
        data = sorted(
            f for f in folder.rglob("*") if f.is_file() and f.relative_to(folder).parts[0] == "data"
        )
        oxum = f"{sum(f.stat().st_size for f in data)}.{len(data)}"
        info = (
            f"Bagging-Date: 2026-11-21\nExternal-Identifier: urn:uuid:{self.bundle}\nPayload-Oxum: {oxum}\n"
        )
        put(folder, "bag-info.txt", info.encode())
        tags = ["README.txt", "bag-info.txt", "bagit.txt", "verify_bundle.py"]
        tags = [
            t
            for t in [*tags, "manifest-sha256.txt", "manifest-sha512.txt"]
            if (folder / t).exists() or "man" in t
        ]
        for name in ("sha256", "sha512"):
            put(folder, f"manifest-{name}.txt", manifest(folder, data, name))
        for name in ("sha256", "sha512"):
            put(folder, f"tagmanifest-{name}.txt", manifest(folder, [folder / t for t in tags], name))
        self.sign(folder)

    def sign(self, folder):
        """Sign the tag manifest that lies in the folder."""
        public = self.key.public_key()
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        statement = {
            "format": "amparo-bundle 2",
            "checkpoint": self.checkpointed,
            "map": self.mapped,
            "destination": "court",
            "disclosed": ["case"],
            "files": self.files,
            "volume": self.volume,
            "bundle": self.bundle,
            "case": {"id": self.case, "code": "H1"},
            "created": self.created,
            "software": "amparo 0.1.0",
            "items": len(self.items),
            "events": len(self.events),
            "subjects": len({e["subject"] for e in self.events}),
            "key": sha(raw),
            "tagmanifest_sha256": sha((folder / "tagmanifest-sha256.txt").read_bytes()),
            "tagmanifest_sha512": hashlib.sha512(
                (folder / "tagmanifest-sha512.txt").read_bytes()
            ).hexdigest(),
        }
        line = canonical(statement) + b"\n"
        put(folder, "signature/statement.json", line)
        put(folder, "signature/statement.sig", self.key.sign(line))
        put(
            folder,
            "signature/public-key.pem",
            public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        )

    def fingerprint(self):
        return sha(self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def put(folder, name, data):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def manifest(folder, files, algorithm="sha256"):
    lines = []
    for file in files:
        name = str(file.relative_to(folder)).replace("%", "%25").replace("\n", "%0A").replace("\r", "%0D")
        lines.append(f"{hashlib.new(algorithm, file.read_bytes()).hexdigest()}  {name}\n")
    return "".join(lines).encode()


def signature_line(name, kind, public, signature):
    """A line of a signed note."""
    identity = raw_sha(name.encode(), b"\n", bytes([kind]), public)[:4]
    return f"\u2014 {name} {base64.b64encode(identity + signature).decode()}\n"


def subtree_line(key, name, public, time, origin, leaves):
    """A line of type 0x06, ML-DSA-44, as c2sp.org/tlog-cosignature says."""
    message = b"subtree/v1\n\x00" + bytes([len(name)]) + name.encode() + time.to_bytes(8, "big")
    message += (
        bytes([len(origin)]) + origin.encode() + bytes(8) + len(leaves).to_bytes(8, "big") + tree(leaves)
    )
    return signature_line(name, 6, public, time.to_bytes(8, "big") + key.sign(message))


def vkey(name, kind, key):
    """A public key as signed-note tools write it."""
    public = key.public_key().public_bytes_raw()
    identity = raw_sha(name.encode(), b"\n", bytes([kind]), public)[:4].hex()
    return f"{name}+{identity}+{base64.b64encode(bytes([kind]) + public).decode()}"
