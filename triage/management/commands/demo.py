"""manage.py demo: load the demonstration once. Running it again changes nothing."""

import importlib.util
import secrets
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from django.conf import settings

from archive import access, cases, ingest, people, vault
from archive.custody import Actor
from archive.errors import ToolFailed
from archive.management.base import Command as Base
from archive.models import Case, Item, Source, User

CODE = "DEMO-01"
TITLE = "Demonstration: two photographs and three clips made from them"
MANDATE = (
    "This case is a demonstration. Its photographs come with the ultralytics package, its clips were made from them "
    "on this machine. Nothing here documents a real event, and its sources are invented."
)

# role: name, and what the person may do on the demo beside seeing it
PEOPLE: dict[str, tuple[str, tuple[str, ...]]] = {
    "administrator": ("Demo administrator", (access.MANAGE,)),
    "researcher": ("Demo researcher", (access.MANAGE, access.EXPORT)),
    "reviewer": ("Demo ethics reviewer", ()),
    "legal": ("Demo lawyer", (access.EXPORT, access.IDENTITY)),
    "data_scientist": ("Demo data scientist", ()),
    "observer": ("Demo observer", ()),
}

SOURCES: dict[str, dict[str, Any]] = {
    "S-01": {
        "pseudonym": "Heron",
        "kind": Source.Kind.COLLECTOR,
        "reliability": 80,
        "consent_informed": "yes",
        "consent_scope": "Review within the team, and evidence before courts.",
        "consent_date": date(2026, 9, 1),
        "may_be_public": "no",
        "may_go_to_courts": "yes",
        "legal_basis": "Consent",
    },
    "S-02": {
        "pseudonym": "Open web page",
        "kind": Source.Kind.ONLINE,
        "reliability": 40,
        "consent_informed": "unknown",
        "may_be_public": "unknown",
        "may_go_to_courts": "unknown",
    },
    "S-03": {
        "pseudonym": "Passer-by",
        "kind": Source.Kind.WITNESS,
        "consent_informed": "no",
        "may_be_public": "no",
        "may_go_to_courts": "no",
    },
}

_PAN = "scale=640:-2,crop=640:360:x=0:y='(ih-360)*t/8',fps=25,format=yuv420p"
_ZOOM = "zoompan=z='1+0.004*on':x='iw/2-iw/zoom/2':y='ih/4-ih/zoom/4':d=200:s=640x360:fps=25,format=yuv420p"
_CUT = (
    "[0:v]scale=640:360:force_original_aspect_ratio=increase,crop=640:360,setsar=1,fps=25,format=yuv420p,"
    "split=2[a][c];[1:v]scale=640:360,setsar=1,fps=25,format=yuv420p[b];"
    "[a]trim=duration=2.5[a1];[b]trim=duration=2.5[b1];[c]trim=duration=2[c1];[a1][b1][c1]concat=n=3:v=1[out]"
)


class Command(Base):
    """The demonstration."""

    help = (
        "Load the demonstration once: a case that says it is one, two photographs, three clips made from them, a "
        "damaged file, and one sign-in for each role. Prints the passwords, once."
    )

    def work(self, **_: Any) -> None:
        operator = Actor.operator()
        case = Case.objects.filter(code=CODE).first() or cases.open_case(
            code=CODE, title=TITLE, mandate=MANDATE, actor=operator, is_demo=True, sensitivity="ordinary"
        )
        sources = self._sources(case, operator)
        with vault.scratch() as folder:
            self._files(case, sources, operator, folder)
        signed_in = self._people(operator)  # last: nothing after it can fail and take the passwords with it
        self._share(case, operator)
        for username, password in signed_in.items():
            self.stdout.write(f"  {username:<16}{password}")

    def _people(self, operator: Actor) -> dict[str, str]:
        """One person for each role; returns the passwords of those that are new."""
        made = {}
        for role, (name, _) in PEOPLE.items():
            if User.objects.filter(username=role).exists():
                continue
            made[role] = "-".join(secrets.token_hex(3) for _ in range(4))
            people.add(username=role, name=name, roles=(role,), actor=operator, password=made[role])
        return made

    def _share(self, case: Case, operator: Actor) -> None:
        for role, (_, more) in PEOPLE.items():
            person = User.objects.get(username=role)
            if not access.can(person, "view", case):
                access.share(case=case, person=person, actor=operator, permissions=(access.VIEW, *more))

    def _sources(self, case: Case, operator: Actor) -> dict[str, Source]:
        have = {source.code: source for source in case.sources.all()}
        for code, fields in SOURCES.items():
            if code not in have:
                have[code] = cases.add_source(case=case, code=code, actor=operator, **fields)
        return have

    def _files(self, case: Case, sources: dict[str, Source], operator: Actor, folder: Path) -> None:
        have = set(Item.objects.filter(case=case).values_list("file_name", flat=True))
        for name, source, path in material(folder, have):
            ingest.acquire_file(
                case=case,
                actor=operator,
                found=ingest.Found(path, f"demo/{name}"),
                tool=f"{settings.SOFTWARE} demo",
                source=sources[source],
            )


def material(folder: Path, have: set[str]) -> Iterator[tuple[str, str, Path]]:
    """File name, source and path of what the case does not hold yet; clips are made when their turn comes.

    Raises ToolFailed when ffmpeg fails, or the ultralytics package has no photographs.
    """
    package = importlib.util.find_spec("ultralytics")  # finds it without importing it
    if package is None or package.origin is None:
        raise ToolFailed(
            "The ultralytics package is not installed, and the demo's photographs come with it: ./run"
        )
    bus, zidane = (Path(package.origin).parent / "assets" / name for name in ("bus.jpg", "zidane.jpg"))
    clip = [
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-crf",
        "26",
        "-threads",
        "1",
        "-movflags",
        "+faststart",
    ]
    recipes: list[tuple[str, str, list[str]]] = [
        ("street-pan.mp4", "S-01", ["-loop", "1", "-t", "8", "-i", str(bus), "-vf", _PAN]),
        ("two-men-closer.mp4", "S-02", ["-i", str(zidane), "-vf", _ZOOM]),
        (
            "three-shots.mp4",
            "S-03",
            ["-loop", "1", "-t", "8", "-i", str(bus), "-loop", "1", "-t", "8", "-i", str(zidane)]
            + ["-filter_complex", _CUT, "-map", "[out]"],
        ),
    ]
    for path, source in ((bus, "S-01"), (zidane, "S-02")):
        if path.name not in have:
            yield path.name, source, path
    for name, source, arguments in recipes:
        if name not in have:
            _ffmpeg([*arguments, *clip, str(folder / name)])
            yield name, source, folder / name
    if "damaged.jpg" not in have:
        # the first bytes of a photograph, then nothing that belongs there
        (folder / "damaged.jpg").write_bytes(bus.read_bytes()[:20] + b"\0" * 4000)
        yield "damaged.jpg", "S-03", folder / "damaged.jpg"


def _ffmpeg(arguments: list[str]) -> None:
    """Make a clip from our own photographs: nothing a stranger sent is decoded here."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments[:-1]]
    command += [
        "-metadata",
        "comment=Amparo demonstration: made from a photograph",
        "-bitexact",
        arguments[-1],
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    except FileNotFoundError as error:
        raise ToolFailed("ffmpeg is not installed: apt-get install ffmpeg, then run this again.") from error
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = (error.stderr or b"").decode("utf-8", "replace").strip()[-300:]
        raise ToolFailed(
            f"ffmpeg could not make a clip for the demo ({said}). Nothing was lost; run it again."
        ) from error
