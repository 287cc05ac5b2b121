"""Makes bundles from nothing, good and bad, after docs/bundle.md alone: shares no code with the exporter.

A `Forge` holds what a bundle says as plain values; `write` builds every file of it anew, hashes, lists and
signs. A test spoils the values (a forger with the key) or the written files (a forger without it).
"""

import base64
import csv
import hashlib
import io
import json
import shutil
import uuid
from pathlib import Path

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
        self.unhashed_chain = False
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

    def event(self, subject, kind, actor, payload, reason=""):
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

        self.events.append(
            {
                "version": 1,
                "subject": subject,
                "number": number,
                "previous": "",
                "type": kind,
                "time": TIME,
                "actor": {**actor, "name": commit(("hide", "Ana"), "/actor/name") if actor["id"] else ""},
                "reason": commit(("open", reason), "/reason") if reason else "",
                "software": "amparo 0.1.0",
                "payload": commit(payload, "/payload"),
            }
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

    def chain(self):
        """Chain the events; returns their lines, the subjects and the positions."""
        lines, subjects, positions, hashes = [], {}, [], {}
        for request in (e for e in self.events if e["type"] == "bundle.requested"):
            request["payload"]["set"] = {"key": self.fingerprint(), "items_sha256": sha(self.asked.encode())}
        for place, event in enumerate(self.events):
            tip = subjects.get(event["subject"], {"tip": "0" * 64, "events": 0})
            line = canonical({"previous": tip["tip"], **{k: v for k, v in event.items() if k != "previous"}})
            digest = sha(b"\x00" + line)
            subjects[event["subject"]] = {
                "subject": event["subject"],
                "events": tip["events"] + 1,
                "tip": digest,
            }
            at = {"subject": event["subject"], "number": event["number"]}
            hashes[at["subject"], at["number"]] = digest
            positions.append({**at, "event": digest, "position": place + 3 if place else "pending"})
            lines.append(line)
        return lines, list(subjects.values()), positions, hashes

    def checkpoint(self):
        text = f"archive.example\n4096\n{base64.b64encode(bytes(32)).decode()}\n"
        public = self.log_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        key_id = hashlib.sha256(b"archive.example\n\x01" + public).digest()[:4]
        signed = base64.b64encode(key_id + self.log_key.sign(text.encode())).decode()
        return f"{text}\n\u2014 archive.example {signed}\n".encode()

    def data(self):
        """Every file under data/, by name."""
        lines, subjects, positions, hashes = self.chain()
        for row in [*self.decisions, *self.detections, *(a for i in self.items for a in i["acquisitions"])]:
            row["event"] = hashes.get((row["subject"], row["number"]), "0" * 64)
        files = {
            "data/report.pdf": b"%PDF-1.7\n%%EOF\n",
            "data/metadata/case.json": canonical({"code": "H1"}) + b"\n",
            "data/custody/events.jsonl": b"".join(line + b"\n" for line in lines),
            "data/custody/openings.jsonl": b"".join(canonical(o) + b"\n" for o in self.openings),
            "data/custody/positions.json": as_list(positions),
            "data/custody/subjects.json": as_list(subjects),
            "data/custody/checkpoint.txt": self.checkpoint(),
            **self.originals,
        }
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
        put(folder, "manifest-sha256.txt", manifest(folder, data))
        tags = ["README.txt", "bag-info.txt", "bagit.txt", "manifest-sha256.txt", "verify_bundle.py"]
        put(
            folder,
            "tagmanifest-sha256.txt",
            manifest(folder, [folder / t for t in tags if (folder / t).exists()]),
        )
        self.sign(folder)

    def sign(self, folder):
        """Sign the tag manifest that lies in the folder."""
        public = self.key.public_key()
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        statement = {
            "format": "amparo-bundle 1",
            "bundle": self.bundle,
            "case": {"id": self.case, "code": "H1"},
            "created": TIME,
            "software": "amparo 0.1.0",
            "items": len(self.items),
            "events": len(self.events),
            "subjects": len({e["subject"] for e in self.events}),
            "key": sha(raw),
            "tagmanifest_sha256": sha((folder / "tagmanifest-sha256.txt").read_bytes()),
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


def manifest(folder, files):
    lines = []
    for file in files:
        name = str(file.relative_to(folder)).replace("%", "%25").replace("\n", "%0A").replace("\r", "%0D")
        lines.append(f"{sha(file.read_bytes())}  {name}\n")
    return "".join(lines).encode()
