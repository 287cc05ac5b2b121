"""Whether a folder or zip is a BagIt bag, version 0.97 or 1.0, by the rules of RFC 8493; docs/bundle.md, "Reading a bag back".

Everything in it is taken for an enemy's work: nothing is fetched, unpacked or executed, no link and no path that leads
out is followed. All faults are gathered; each names its file and has a code.
"""

import contextlib
import hashlib
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from archive.errors import BadInput
from archive.vault import Progress, silent

ALGORITHMS = {
    "md5": 32,
    "sha1": 40,
    "sha224": 56,
    "sha256": 64,
    "sha384": 96,
    "sha512": 128,
}  # and hex digits
VERSIONS = ("0.97", "1.0")
ENCODINGS = re.compile(
    r"(?i)utf-?(8|16|32)|us-ascii|ascii|iso-8859-\d{1,2}|windows-125\d|koi8-r|shift_jis|euc-jp|euc-kr|big5|gb18030"
)
PIECE, MAX_MANIFEST, MAX_TAG_FILE = 2**20, 2**28, 2**24
MAX_FAULTS = 1_000  # of one kind that are listed
BOM = b"\xef\xbb\xbf"
_MANIFEST = re.compile(r"(tag)?manifest-([a-z0-9]+)\.txt")
_DECLARATION = re.compile(
    r"BagIt-Version: (\d+\.\d+)(?:\r\n|\n|\r)Tag-File-Character-Encoding: ([\w.:-]+)(?:\r\n|\n|\r)?"
)
_BREAK = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True)
class Fault:
    """Something that is wrong, or strange: which rule, in which file."""

    code: str
    file: str
    sentence: str


@dataclass
class Report:
    """What a check came to. `hashes` holds, by path, the hashes that the file has, SHA-256 always among them."""

    version: str = ""
    faults: list[Fault] = field(default_factory=list)
    unknown: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    info: list[tuple[str, str]] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    hashes: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def answer(self) -> str:
        """good, bad, or could not check."""
        return "bad" if self.faults else "could not check" if self.unknown else "good"

    @property
    def payload(self) -> list[str]:
        """The files under data/, in order."""
        return sorted(name for name in self.hashes if name.startswith("data/"))


# --- reading: names in a folder or a zip ----------------------------------------------------------------------


class Folder:
    """A bag in a folder. `files` are its plain files by path with size and a mark that changes when they change."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        self.files: dict[str, tuple[int, str]] = {}
        self.folders: set[str] = set()
        self.faults: list[Fault] = []
        waiting = [""]
        while waiting:
            here = waiting.pop()
            with os.scandir(path / here) as entries:
                for entry in entries:
                    name, about = here + entry.name, entry.stat(follow_symlinks=False)
                    if not _is_text(name):
                        self.faults.append(Fault("name", repr(name), "The name is not UTF-8."))
                    elif stat.S_ISDIR(about.st_mode):
                        self.folders.add(name)
                        waiting.append(name + "/")
                    elif stat.S_ISREG(about.st_mode):
                        self.files[name] = (
                            about.st_size,
                            f"{about.st_mtime_ns}-{about.st_size}-{about.st_ino}",
                        )
                    else:
                        self.faults.append(
                            Fault("link", name, "It is a link or a device. It was not followed.")
                        )

    def open(self, name: str) -> IO[bytes]:
        """Open a file that was found, refusing a link at any part of its path. Raises OSError."""
        *folders, last = name.split("/")
        here = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in folders:
                below = os.open(
                    part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here
                )
                os.close(here)
                here = below
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            return os.fdopen(os.open(last, flags, dir_fd=here), "rb")
        finally:
            os.close(here)

    def close(self) -> None:
        """Nothing is held open."""


class Zip:
    """A bag in a zip with one folder at its top, read in place."""

    def __init__(self, path: Path) -> None:
        try:
            self.zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError, struct.error) as error:
            raise BadInput(
                f"{path.name} is no folder, and no whole zip: {error}. Nothing was imported."
            ) from error
        self.name = path.stem
        self.files: dict[str, tuple[int, str]] = {}
        self.folders: set[str] = set()
        self.faults: list[Fault] = []
        self._real: dict[str, zipfile.ZipInfo] = {}
        tops, end = set(), 0
        for info in sorted(self.zip.infolist(), key=lambda each: each.header_offset):
            top, _, name = info.filename.partition("/")
            tops.add(top)
            overlaps, end = info.header_offset < end, info.header_offset + 30 + info.compress_size
            if why := self._why_not(info, name, overlaps or end > self.zip.start_dir):
                self.faults.append(Fault("zip", info.filename, why))
            elif info.is_dir():
                self.folders.add(name.rstrip("/"))
            else:
                self.files[name] = info.file_size, f"{info.CRC}-{info.file_size}-{info.header_offset}"
                self._real[name] = info
        self.folders |= {name[:at] for name in self.files for at in range(len(name)) if name[at] == "/"}
        if len(tops) != 1:
            self.faults.append(
                Fault("zip", path.name, f"It has {len(tops)} entries at its top; a bag is one folder.")
            )

    def _why_not(self, info: zipfile.ZipInfo, name: str, overlaps: bool) -> str:
        if overlaps:
            return "It overlaps another file inside the zip."
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            return "It is a link or a device. It was not followed."
        if info.flag_bits & 0x61 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return "It is encrypted, or packed in a way that is not read."
        if info.file_size > 1100 * info.compress_size + PIECE:
            return "It claims to unpack to more than any honest file can."
        if info.filename != info.orig_filename or (name.rstrip("/") and _leads_out(name.rstrip("/"))):
            return "Its name leads out of the bag, or has a hidden part."
        if name in self._real:
            return "It is there twice."
        return ""

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        return self.zip.open(self._real[name])

    def close(self) -> None:
        """Close the zip."""
        self.zip.close()


Bag = Folder | Zip


def open_bag(path: Path) -> Bag:
    """A folder or zip as a bag to be checked. Raises BadInput where it is neither or cannot be read."""
    try:
        if path.suffix == ".age":
            raise BadInput(
                f"{path.name} is encrypted: open it first (age -d -i KEY-FILE -o NAME.zip {path.name})."
            )
        return Folder(path) if path.is_dir() else Zip(path)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}. Nothing was imported.") from error


def _is_text(name: str) -> bool:
    with contextlib.suppress(UnicodeEncodeError):
        name.encode()
        return True
    return False


def _leads_out(path: str) -> bool:
    """Whether a path is absolute, leads out, or would on another system than this one."""
    parts = path.split("/")
    return (
        any(part in ("", ".", "..") for part in parts)
        or path[0] == "~"
        or "\\" in path
        or re.match("[A-Za-z]:", path) is not None
        or "\x00" in path
    )


# --- the check --------------------------------------------------------------------------------------------------


class Check:
    """One run over one bag, in order: declaration, manifests, completeness, hashes, bag-info.txt, fetch.txt."""

    def __init__(
        self,
        bag: Bag,
        *,
        known: dict[str, Any] | None = None,
        tell: Callable[[str, dict], None] | None = None,
    ) -> None:
        self.bag, self.known, self.tell = bag, known or {}, tell
        self.report = Report(sizes={name: size for name, (size, _) in bag.files.items()})
        self.manifests: dict[str, dict[str, str]] = {}  # by file name: hash by path
        self.encoding = "utf-8"
        self.read: set[str] = set()  # tag files whose faults are told
        self.told: Counter[str] = Counter()  # faults by code
        self.normal: dict[str, list[str]] | None = None  # files by the NFC form of their names, once needed

    def run(self, progress: Progress = silent) -> Report:
        """All of it, whatever is found on the way. Hashes in `known`, whose mark still fits, are not made again."""
        self.report.faults += self.bag.faults
        if not self._declaration():
            return self.report
        if "data" not in self.bag.folders:
            self._bad("no-payload-folder", "data/", "There is no folder data/.")
        for name in sorted(self.bag.files):
            if match := _MANIFEST.fullmatch(name):
                self._manifest(name, match[2], tag=bool(match[1]))
        self._complete()
        self._hash(progress)
        self._info()
        self._fetch()
        return self.report

    @property
    def _strict(self) -> bool:
        return self.report.version == "1.0"

    def _bad(self, code: str, file: str, sentence: str) -> None:
        self._tell(self.report.faults, Fault(code, file, sentence))

    def _tell(self, faults: list[Fault], fault: Fault) -> None:
        self.told[fault.code] += 1
        if self.told[fault.code] < MAX_FAULTS:
            faults.append(fault)
        elif self.told[fault.code] == MAX_FAULTS:
            more = f"{fault.sentence} Others of this kind are not listed."
            faults.append(Fault(fault.code, fault.file, more))

    def _strange(self, code: str, file: str, sentence: str, *, bad: bool = False) -> None:
        """A fault where the version forbids it, else a warning."""
        self._tell(self.report.faults if bad else self.report.warnings, Fault(code, file, sentence))

    def _unknown(self, code: str, file: str, sentence: str) -> None:
        self._tell(self.report.unknown, Fault(code, file, sentence))

    def _text(self, name: str) -> str | None:
        """A tag file's text in the declared encoding; None when it cannot be read, which is then noted once."""
        new, most = name not in self.read, MAX_MANIFEST if _MANIFEST.fullmatch(name) else MAX_TAG_FILE
        self.read.add(name)
        try:
            with self.bag.open(name) as stream:
                raw = stream.read(most + 1)
            if len(raw) > most:
                if new:
                    self._unknown("too-large", name, f"It is larger than {most:,} bytes.")
                return None
            if raw.startswith(BOM) and self.encoding == "utf-8":
                if new:
                    self._bad("byte-order-mark", name, "It begins with a byte-order mark.")
                raw = raw.removeprefix(BOM)
            return raw.decode(self.encoding)
        except (UnicodeError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            if new:
                self._bad("encoding", name, f"It is damaged, or not in {self.encoding}: {error}")
        except OSError as error:
            if new:
                self._unknown("unreadable", name, f"It cannot be read: {error.strerror}")
        return None

    def _lines(self, name: str) -> Iterator[tuple[int, str]]:
        text, at, number = self._text(name) or "", 0, 0
        for number, end in enumerate(_BREAK.finditer(text), 1):
            yield number, text[at : end.start()]
            at = end.end()
            if (
                self.told["manifest-line"] + self.told["bag-info-line"] + self.told["fetch-line"]
                >= MAX_FAULTS
            ):
                return  # it is none: what follows is not worth the time
        if at < len(text):
            yield number + 1, text[at:]

    def _declaration(self) -> bool:
        name = "bagit.txt"
        if name not in self.bag.files:
            self._bad("no-declaration", name, "It is missing: this is no bag.")
            return False
        text = self._text(name)
        match = _DECLARATION.fullmatch(text or "")
        if match is None:
            self._bad(
                "declaration",
                name,
                "It is not exactly the two lines 'BagIt-Version: M.N' and 'Tag-File-Character-Encoding: NAME'.",
            )
            return False
        self.report.version, encoding = match[1], match[2]
        if self.report.version not in VERSIONS:
            self._unknown(
                "version", name, f"BagIt {self.report.version} is not known; {' and '.join(VERSIONS)} are."
            )
            return False
        if not ENCODINGS.fullmatch(encoding):
            self._unknown("encoding-unknown", name, f"The encoding {encoding} is not known.")
            return False
        self.encoding = "utf-8" if encoding.lower() in ("utf-8", "utf8") else encoding.lower()
        return True

    def _path(self, where: str, written: str) -> str | None:
        """A path of a manifest or fetch.txt, decoded. None, and a fault, where it leads out of the bag."""
        path = written
        if self._strict:
            if re.search("%(?!0[AaDd]|25)", path):
                self._bad("percent", where, f"{path!r} has a percent sign that is not encoded as %25.")
                return None
            path = re.sub("%0[Aa]", "\n", re.sub("%0[Dd]", "\r", path)).replace("%25", "%")
        else:
            if path.startswith("*"):
                self._strange("asterisk", where, f"{path!r} has an asterisk before it, as md5sum writes.")
                path = path[1:]
            if path.startswith("./"):
                self._strange("dot-slash", where, f"{path!r} begins with './'.")
                path = path[2:]
            path = re.sub("%0[Aa]", "\n", re.sub("%0[Dd]", "\r", path))
        if not path or _leads_out(path):
            self._bad(
                "leads-out",
                where,
                f"{written!r} is absolute, leads out of the bag, or would on another system.",
            )
            return None
        return path

    def _find(self, where: str, path: str) -> str:
        """The name in the bag that a path means: some file systems change the Unicode form of names."""
        if path in self.bag.files:
            return path
        if path.isascii():
            return path
        if self.normal is None:
            self.normal = {}
            for name in self.bag.files:
                self.normal.setdefault(unicodedata.normalize("NFC", name), []).append(name)
        alike = self.normal.get(unicodedata.normalize("NFC", path), [])
        if len(alike) == 1:
            self._strange("normalization", where, f"{path!r} is there in another Unicode form.")
            return alike[0]
        return path

    def _manifest(self, name: str, algorithm: str, *, tag: bool) -> None:
        if algorithm not in ALGORITHMS:
            self._unknown("algorithm", name, f"The algorithm {algorithm} is not known.")
            return
        seen: dict[str, str] = {}
        folded: dict[str, str] = {}
        form = re.compile(rf"([0-9A-Fa-f]{{{ALGORITHMS[algorithm]}}})[ \t]+(.+)")
        for number, line in self._lines(name):
            where = f"{name}, line {number}"
            match = form.fullmatch(line)
            if match is None:
                self._bad(
                    "manifest-line", where, f"It is not a {algorithm} in hex digits, white space, and a path."
                )
                continue
            path = self._path(where, match[2])
            if path is None:
                continue
            digest = match[1].lower()
            if tag and path.startswith("data/"):
                self._bad(
                    "tag-lists-payload",
                    where,
                    f"A tag manifest lists no payload files, but this one lists {path!r}.",
                )
            elif tag and path.startswith("tagmanifest-"):
                self._strange(
                    "tag-lists-itself",
                    where,
                    f"{path!r} is a tag manifest and may not be listed.",
                    bad=self._strict,
                )
            elif not tag and not path.startswith("data/"):
                self._bad("not-payload", where, f"{path!r} does not lie under data/.")
                continue
            path = self._find(where, path)
            if path in seen:
                bad = self._strict or seen[path] != digest
                self._strange("listed-twice", where, f"{path!r} is listed a second time.", bad=bad)
                continue
            other = folded.setdefault(unicodedata.normalize("NFC", path).casefold(), path)
            if other != path:
                self._strange("alike", where, f"{path!r} and {other!r} are one name on some systems.")
            seen[path] = digest
        self.manifests[name] = seen

    def _complete(self) -> None:
        payload = {name: listed for name, listed in self.manifests.items() if not name.startswith("tag")}
        if not payload and not any(fault.code == "algorithm" for fault in self.report.unknown):
            self._bad("no-manifest", "manifest-<algorithm>.txt", "There is no payload manifest.")
        there = {name for name in self.bag.files if name.startswith("data/")}
        fetched = self._fetchable()
        for name, listed in self.manifests.items():
            for path in sorted(listed.keys() - self.bag.files.keys()):
                if path in fetched:
                    self._bad(
                        "not-fetched",
                        path,
                        f"{name} lists it, and fetch.txt says where it was to be had. Nothing is fetched: put it there.",
                    )
                else:
                    self._bad("missing", path, f"{name} lists it, but it is not there.")
            if name.startswith("tag") and self._strict:
                for manifest in sorted(payload.keys() - listed.keys()):
                    self._bad("tag-omits-manifest", name, f"It does not list {manifest}.")
        every = [set(listed) for listed in payload.values()]
        if every:
            enough = set.intersection(*every) if self._strict else set.union(*every)
            for path in sorted(there - enough):
                self._bad(
                    "unlisted",
                    path,
                    "It lies under data/, but not every manifest lists it."
                    if self._strict
                    else "It lies under data/, but no manifest lists it.",
                )

    def _hash(self, progress: Progress) -> None:
        stated: dict[str, dict[str, set[str]]] = {}
        for name, listed in self.manifests.items():
            algorithm = name.removesuffix(".txt").rpartition("-")[2]
            for path, digest in listed.items():
                stated.setdefault(path, {}).setdefault(algorithm, set()).add(digest)
        names = sorted(self.bag.files.keys() & (stated.keys() | {n for n in self.bag.files if "/" not in n}))
        total, done = sum(self.bag.files[name][0] for name in names), 0
        for name in names:
            found = self._hashes(name, {*stated.get(name, {}), "sha256"}, progress, done, total)
            done += self.bag.files[name][0]
            if found is None:
                continue
            self.report.hashes[name] = found
            for algorithm, digests in stated.get(name, {}).items():
                if digests != {found[algorithm]}:
                    self._bad(
                        "hash",
                        name,
                        f"Its {algorithm} is not the one in the manifest: it was changed or damaged.",
                    )
        progress("check", total, total)

    def _hashes(
        self, name: str, algorithms: set[str], progress: Progress, done: int, total: int
    ) -> dict[str, str] | None:
        size, mark = self.bag.files[name]
        kept = self.known.get(name, {})
        if kept.get("mark") == mark and algorithms <= kept["hashes"].keys():
            return kept["hashes"]
        digests, length = {each: hashlib.new(each, usedforsecurity=False) for each in sorted(algorithms)}, 0
        try:
            with self.bag.open(name) as stream:
                while piece := stream.read(PIECE):
                    for digest in digests.values():
                        digest.update(piece)
                    length += len(piece)
                    progress("check", done + length, total)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            self._bad("damaged", name, f"It is damaged inside the zip: {error}")
            return None
        except OSError as error:
            self._unknown("unreadable", name, f"It cannot be read: {error.strerror}")
            return None
        if length != size:
            self._bad("changed", name, "It changed while it was read.")
            return None
        found = {each: digest.hexdigest() for each, digest in digests.items()}
        if self.tell:
            self.tell(name, {"mark": mark, "hashes": found})
        return found

    def _info(self) -> None:
        name = "bag-info.txt"
        if name not in self.bag.files:
            return
        before, after = ("", "[ \\t]") if self._strict else ("[ \\t]*", "[ \\t]*")
        form = re.compile(rf"([^:\s](?:[^:]*[^:\s])?){before}:{after}(.*)")
        said: list[tuple[str, list[str]]] = []
        for number, line in self._lines(name):
            where = f"{name}, line {number}"
            if line[:1] in (" ", "\t") and said:
                said[-1][1].append(line.strip())
            elif match := form.fullmatch(line):
                said.append((match[1], [match[2].strip()]))
            else:
                self._bad(
                    "bag-info-line", where, "It is not 'Label: value', nor the continuation of such a line."
                )
        self.report.info = [(label, " ".join(values)) for label, values in said]
        sums = [value for label, value in self.report.info if label.lower() == "payload-oxum"]
        if len(sums) > 1:
            self._strange("oxum-twice", name, "Payload-Oxum stands there more than once.", bad=self._strict)
        there = [size for path, (size, _) in self.bag.files.items() if path.startswith("data/")]
        if sums and sums[0] != f"{sum(there)}.{len(there)}":
            self._bad(
                "oxum",
                name,
                f"Payload-Oxum is {sums[0]!r}, but there are {sum(there)}.{len(there)} bytes and files.",
            )

    def _fetchable(self) -> set[str]:
        if "fetch.txt" not in self.bag.files:
            return set()
        return {
            line.split(None, 2)[2] for _, line in self._lines("fetch.txt") if len(line.split(None, 2)) == 3
        }

    def _fetch(self) -> None:
        """Rules of fetch.txt. Nothing in it is ever fetched."""
        name = "fetch.txt"
        if name not in self.bag.files:
            return
        payload = [listed for manifest, listed in self.manifests.items() if not manifest.startswith("tag")]
        for number, line in self._lines(name):
            where = f"{name}, line {number}"
            match = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]*:\S+)[ \t]+(\d+|-)[ \t]+(.+)", line)
            if match is None:
                self._bad("fetch-line", where, "It is not an absolute URI, a length or '-', and a path.")
                continue
            path = self._path(where, match[3])
            if path is None:
                continue
            if not path.startswith("data/"):
                self._bad("fetch-tag-file", where, f"{path!r} does not lie under data/.")
            elif not all(self._find(where, path) in listed for listed in payload):
                self._strange(
                    "fetch-unlisted", where, f"{path!r} is not in every manifest.", bad=self._strict
                )
            elif match[2] != "-" and path in self.bag.files and self.bag.files[path][0] != int(match[2]):
                self._strange("fetch-length", where, f"{path!r} has another length than fetch.txt states.")


def check(
    bag: Bag,
    *,
    progress: Progress = silent,
    known: dict | None = None,
    tell: Callable[[str, dict], None] | None = None,
) -> Report:
    """Check a bag. `tell` is given each file's hashes once made; given back as `known` they are not made again."""
    return Check(bag, known=known, tell=tell).run(progress)


def write_record(bag: Bag, names: list[str], out: IO[bytes]) -> None:
    """Write these files of a bag as a zip, the same bytes for the same files."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in sorted(names):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.external_attr, info.compress_type = 0o100644 << 16, zipfile.ZIP_DEFLATED
            with bag.open(name) as source, packed.open(info, "w", force_zip64=True) as target:
                while piece := source.read(PIECE):
                    target.write(piece)
