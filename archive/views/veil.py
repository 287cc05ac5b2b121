"""What this session has asked to see. Sharp bytes are served only for that.

`looked_at` says which items may be served sharp (a look holds for an hour, for video that is still playing);
`lifted` is the one item whose page is drawn without its veil: opening another item lowers it again.
"""

import time
from uuid import UUID

from django.http import HttpRequest

from archive.models import Case, Item

LOOK_HOLDS_S = 3600
MOST = 100


def lift(request: HttpRequest, item: Item) -> None:
    """Remember a look that was just recorded."""
    now = int(time.time())
    looks = {k: t for k, t in request.session.get("looks", {}).items() if now - t < LOOK_HOLDS_S}
    looks[str(item.pk)] = now
    request.session["looks"] = dict(sorted(looks.items(), key=lambda pair: -pair[1])[:MOST])
    request.session["lifted"] = str(item.pk)


def lower(request: HttpRequest) -> None:
    """Draw every page with its veil again."""
    if request.session.pop("lifted", None):
        request.session.modified = True


def is_lifted(request: HttpRequest, item: Item) -> bool:
    """Whether this item's page is drawn sharp. Asking for another item lowers the veil of the last one."""
    if request.session.get("lifted") == str(item.pk):
        return looked_at(request, item.pk)
    lower(request)
    return False


def looked_at(request: HttpRequest, item_id: UUID) -> bool:
    """Whether a look at this item was recorded in this session within the hour."""
    seen = request.session.get("looks", {}).get(str(item_id))
    return seen is not None and time.time() - seen < LOOK_HOLDS_S


def show_thumbnails(request: HttpRequest, case: Case, show: bool) -> None:
    """Remember, or forget, the recorded choice to see a case's thumbnails."""
    chosen = set(request.session.get("thumbnails", []))
    chosen = chosen | {str(case.pk)} if show else chosen - {str(case.pk)}
    request.session["thumbnails"] = sorted(chosen)


def thumbnails_shown(request: HttpRequest, case_id: UUID) -> bool:
    """Whether this session chose to see a case's thumbnails."""
    return str(case_id) in request.session.get("thumbnails", [])
