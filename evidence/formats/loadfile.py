"""Load files for e-discovery platforms: Concordance DAT, Opticon OPT, and a text file for each item.

DAT: UTF-8 with a byte order mark, lines ended by CR LF, fields between U+00FE and parted by U+0014, a line break within a
field written U+00AE. U+00FE within a field is doubled, U+0014 becomes a space,
and U+00AE "(R)". Paths are relative to the load file, with backslashes.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from evidence.contents import cell
from evidence.disclosure import WITHHELD
from evidence.formats import held
from evidence.formats.facts import BundleFacts
from evidence.formats.held import INTERCHANGE, Given, Held, given
from evidence.formats.words import ABOUT, WITHHELD_WORDS, moment, said, statement, summary

QUOTE, PART, BREAK = "\u00fe", "\u0014", "\u00ae"
COLUMNS = (
    "DOCID BEGDOC ENDDOC BEGATTACH ENDATTACH PARENTID CUSTODIAN ITEM FILENAME FILEEXT FILESIZE MIMETYPE SHA256 "
    "ORIGINALSHA256 REDACTED DATERECEIVED DATECLAIMED DECISION DECISIONREASON CONDITION WITHHELD NATIVELINK TEXTLINK"
).split()


def write(data: Path, about: BundleFacts) -> None:
    """Write interchange/loadfile.dat, loadfile.opt and text/."""
    folder = data / INTERCHANGE
    (folder / "text").mkdir()
    with (
        (folder / "loadfile.dat").open("x", encoding="utf-8-sig", newline="") as dat,
        (folder / "loadfile.opt").open("x", encoding="utf-8", newline="") as opt,
    ):
        dat.write(_line(COLUMNS))
        for one in held.dossiers(data):
            words = _text(one)
            for row, file in _rows(one):
                (folder / "text" / f"{row['DOCID']}.txt").write_text(words, encoding="utf-8", newline="\n")
                dat.write(_line([row[column] for column in COLUMNS]))
                if file:
                    opt.write(f"{row['DOCID']},VOL{about.volume:03d},{_native(file)},Y,,,1\r\n")


def document(code: str) -> str:
    """An item's number among documents, the same in every bundle: HARBOUR-1/0007 is HARBOUR-1-00000007."""
    case, _, number = code.rpartition("/")
    return f"{case}-{int(number):08d}"


def _line(values: list[str] | tuple[str, ...]) -> str:
    return PART.join(f"{QUOTE}{_field(value)}{QUOTE}" for value in values) + "\r\n"


def _field(value: str) -> str:
    """A field as the format can hold it, and as no spreadsheet runs it."""
    value = cell(value).replace(BREAK, "(R)").replace(PART, " ").replace(QUOTE, QUOTE * 2)
    return value.replace("\r\n", BREAK).replace("\r", BREAK).replace("\n", BREAK)


def _native(file: Given) -> str:
    return "..\\" + file.path.replace("/", "\\")


def _rows(one: Held) -> Iterator[tuple[dict[str, str], Given | None]]:
    """The documents of an item: its file, and below it as a family the redactions that are given beside it."""
    files: list[Given | None] = [*one.files] or [None]
    first = document(one.item["code"])
    names = [first, *(f"{first}-R{number}" for number in range(1, len(files)))]
    for name, file in zip(names, files, strict=True):
        family = {"DOCID": name, "BEGDOC": name, "ENDDOC": name, "BEGATTACH": first, "ENDATTACH": names[-1]}
        yield (
            family
            | {"PARENTID": first if name != first else ""}
            | _row(one, file)
            | {"TEXTLINK": f"text\\{name}.txt"},
            file,
        )


def _row(one: Held, file: Given | None) -> dict[str, str]:
    item = one.item
    claimed = [row for row in item["claims"] if row["about"] == "captured_at"]
    decided = next((row for row in one.decisions if row["event"] == _in_force(one)), None)
    sources = dict.fromkeys(
        given(code) for code in (item["source"], *(a["source"] for a in item["acquisitions"]))
    )
    return {
        "CUSTODIAN": "; ".join(filter(None, sources)) or "no source recorded",
        "ITEM": item["code"],
        "FILENAME": given(item["file_name"]),
        "FILEEXT": PurePosixPath(file.path).suffix.lstrip(".").lower() if file else "",
        "FILESIZE": str(file.size if file else item["size"]),
        "MIMETYPE": file.media_type if file else item["media_type"],
        "SHA256": file.sha256 if file else item["sha256"],
        "ORIGINALSHA256": item["sha256"],
        "REDACTED": "Y" if file and file.redaction else "N",
        "DATERECEIVED": item["received_at"],
        "DATECLAIMED": statement(claimed[0]) if claimed else "",
        "DECISION": given(item["decision"]),
        "DECISIONREASON": given(decided["reason"]) if decided else "",
        "CONDITION": item["condition"],
        "WITHHELD": "; ".join(sorted(key for key, value in item.items() if value == WITHHELD)),
        "NATIVELINK": _native(file) if file else "",
    }


def _in_force(one: Held) -> str | None:
    """The event of the last decision that says what is in force."""
    said_so = [row["event"] for row in one.decisions if row["value"] == one.item["decision"]]
    return said_so[-1] if said_so else None


def _text(one: Held) -> str:
    """What is known of an item in words. The archive reads no text out of files, and this says so."""
    item = one.item
    lines = [
        f"Item {item['code']}",
        f"Name that it came with: {said(item['file_name'])}",
        f"Received: {moment(item['received_at'])}",
        f"SHA-256: {item['sha256']}",
        "",
        "No text was extracted from the file itself. What is known of it:",
    ]
    for row in item["claims"]:
        lines.append(f"Claimed ({row['origin']}): {ABOUT.get(row['about'], row['about'])}: {statement(row)}")
    for row in item["findings"]:
        basis = said(row["basis"])
        lines.append(
            f"Established: {ABOUT.get(row['about'], row['about'])}: {statement(row)} (basis: {basis})"
        )
    for row in one.decisions:
        reason = "none given" if row["reason"] == "" else said(row["reason"])
        what = f"Answered by a person to '{said(row['asked'])}'" if row["asked"] else "Decided by a person"
        lines.append(f"{what}, {moment(row['time'])}: {row['value']} (reason: {reason})")
    for row in one.runs:
        seen = ", ".join(f"{c['label']} ({c['count']})" for c in summary(row["result"])) or (
            WITHHELD_WORDS if row["result"] == WITHHELD else "nothing marked"
        )
        lines.append(f"Suggested by {said(row['model'])}, not a finding: {seen}")
        lines += [f"  read: {said(found['text'])}" for found in row["result"] if "text" in found]
        lines += [
            f"  machine caption: {said(found['caption'])}" for found in row["result"] if "caption" in found
        ]
    if len(lines) == 6:
        lines.append("Nothing is claimed about it, and nothing was established, decided or suggested.")
    return "\n".join(lines) + "\n"
