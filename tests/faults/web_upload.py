"""A browser that uploads a file in pieces, inside an instance: what it was told is kept in a file, as a browser would."""

import base64
from pathlib import Path

from django.conf import settings
from django.test import Client

from archive import tus
from archive.models import Case, Upload
from tests import cast


def prepare() -> str:
    """A researcher who owns case W1, signed in; returns nothing that the tests need to know."""
    researcher = cast.person("researcher")
    cast.case(owner=researcher, code="W1")
    (settings.DATA_DIR / "cookie").write_text(
        cast.browser(researcher).cookies[settings.SESSION_COOKIE_NAME].value
    )
    return Case.objects.get(code="W1").code


def upload(path: str, piece: str, staged: str) -> dict:
    """Send a file from where the server says it stands. `staged` is how small a file goes straight in, in bytes."""
    tus.DIRECT = int(staged)
    web, kept = (
        Client(raise_request_exception=False, SERVER_NAME="localhost"),
        settings.DATA_DIR / "upload-url",
    )
    web.cookies[settings.SESSION_COOKIE_NAME] = (settings.DATA_DIR / "cookie").read_text()
    data, version = Path(path).read_bytes(), {"tus-resumable": "1.0.0"}
    if not kept.exists():
        name = base64.b64encode(b"photo.jpg").decode()
        announced = version | {"upload-length": str(len(data)), "upload-metadata": f"filename {name}"}
        kept.write_text(web.post("/cases/W1/add/files/", headers=announced)["Location"])
    url = kept.read_text()
    answer = web.head(url, headers=version)
    at = int(answer["Upload-Offset"])
    confirmed = settings.DATA_DIR / "confirmed"
    assert at >= (int(confirmed.read_text()) if confirmed.exists() else 0), "confirmed bytes were lost"
    while at < len(data):
        answer = web.generic(
            "PATCH",
            url,
            data[at : at + int(piece)],
            "application/offset+octet-stream",
            headers=version | {"upload-offset": str(at)},
        )
        assert answer.status_code == 204, (answer.status_code, answer.content)
        at = int(answer["Upload-Offset"])
        confirmed.write_text(str(at))
    return {"item": answer.headers.get("Amparo-Item", "")}


def tidy() -> dict:
    """What the next request clears away, and what is left then."""
    tus.sweep()
    staging = Path(settings.STAGING_DIR)
    left = [path.name for path in staging.iterdir()] if staging.exists() else []
    return {"left": left, "unfinished": Upload.objects.filter(finished_at=None).count()}
