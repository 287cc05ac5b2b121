"""The people, cases and files that tests are about. All are made by the product's own verbs, with their events."""

import io
import itertools
import subprocess
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client
from PIL import Image, ImageDraw

from archive import access, cases, ingest, people
from archive.custody import Actor
from archive.models import Acquisition, Case, Item, Source, User

_count = itertools.count(1)

NAMES = {
    "administrator": "Ada Orozco",
    "researcher": "Rania Haddad",
    "reviewer": "Emeka Obi",
    "legal": "Lucía Ferrer",
    "data_scientist": "Dilnoza Karimova",
    "observer": "Oyelaran Bello",
}
PASSWORD = "a long enough pass-phrase"  # noqa: S105 - of people who exist in tests alone


# --- people -----------------------------------------------------------------------------------------------------


def person(role: str = "researcher", *more: str, username: str = "") -> User:
    """A person in this role. Nobody has shared a case with them."""
    roles = tuple(r for r in (role, *more) if r)
    return people.add(
        username=username or f"{role or 'nobody'}{next(_count)}",
        name=NAMES.get(role, "Nadia Nobody"),
        roles=roles,
        actor=Actor.operator(),
        password=PASSWORD,
    )


def signed_in(user: User) -> Actor:
    """This person as an actor in a web session."""
    session = SessionStore()
    session.create()
    return Actor.of(SimpleNamespace(user=user, session=session))


def browser(user: User) -> Client:
    """This person's browser, signed in."""
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


# --- cases and items ----------------------------------------------------------------------------------------------


def case(*seen_by: User, owner: User | None = None, code: str = "", **fields) -> Case:
    """A case, owned by `owner` and shown to others."""
    made = cases.open_case(
        code=code or f"C{next(_count)}",
        title=fields.pop("title", "River crossing, 3 May"),
        actor=Actor.operator(),
        owner=owner,
        **fields,
    )
    for user in seen_by:
        share(made, user)
    return made


def share(shared: Case, user: User, *permissions: str, ends_at=None) -> None:
    """Let a person see a case, and do more on it where permissions are named."""
    access.share(
        case=shared,
        person=user,
        actor=Actor.operator(),
        permissions=(access.VIEW, *permissions),
        ends_at=ends_at,
    )


def source(of: Case, **fields) -> Source:
    """A source of a case."""
    code = fields.pop("code", f"S{next(_count)}")
    return cases.add_source(case=of, code=code, actor=Actor.operator(), **fields)


def item(
    of: Case | None = None, data: bytes | None = None, *, name: str = "photo.jpg", actor: Actor | None = None
) -> Item:
    """An original in a case: a small photograph unlike all others unless bytes are given."""
    data = jpeg(seed=next(_count)) if data is None else data
    return acquire(of or case(), data, name=name, actor=actor).item


def acquire(
    of: Case,
    data: bytes,
    *,
    name: str = "photo.jpg",
    actor: Actor | None = None,
    source: Source | None = None,
) -> ingest.Acquired:
    """Take bytes into a case."""
    return ingest.acquire(
        case=of,
        actor=actor or Actor.operator(),
        stream=io.BytesIO(data),
        origin=ingest.Origin(Acquisition.Method.COMMAND, f"{settings.SOFTWARE} ingest", name, source=source),
    )


# --- real files -----------------------------------------------------------------------------------------------------


def jpeg(width: int = 64, height: int = 48, *, seed: int = 0) -> bytes:
    """A small JPEG; another seed gives other bytes."""
    picture = Image.new("RGB", (width, height), (seed * 37 % 256, seed * 11 % 256, seed // 256 % 256))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((width // 4, height // 4, width // 2, height // 2), fill=(200, 40, 40))
    out = io.BytesIO()
    picture.save(out, "JPEG", comment=f"seed {seed}".encode())
    return out.getvalue()


@cache
def mp4(seconds: float = 1, codec: str = "libx264") -> bytes:
    """A small real video. `mpeg4` is a codec that browsers do not play."""
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        f"testsrc2=size=160x120:rate=10:duration={seconds}",
    ]
    command += [
        "-c:v",
        codec,
        "-pix_fmt",
        "yuv420p",
        "-movflags",
        "frag_keyframe+empty_moov",
        "-f",
        "mp4",
        "-",
    ]
    return subprocess.run(command, check=True, capture_output=True).stdout


def media_folder(folder: Path) -> Path:
    """A folder of real files, some of them honest and some not."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "photo.jpg").write_bytes(jpeg(seed=1))
    (folder / "clip.mp4").write_bytes(mp4())
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "corrupt.jpg").write_bytes(jpeg(seed=2)[:200])
    (folder / "disguised.jpg").write_bytes(b"%PDF-1.4\n%not a picture\n")
    return folder
