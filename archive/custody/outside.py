"""Asking a server of somebody else: one POST, bounded in time and size, redirects not followed."""

import http.client
import ssl
import time
import urllib.error
import urllib.request
from typing import Any

from archive.errors import ToolFailed

LIMIT_S = 15.0
MAX_ANSWER = 131_072


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def post(url: str, body: bytes, content_type: str, *, limit_s: float = LIMIT_S) -> tuple[int, str, bytes]:
    """Send a body; return status, content type and the answer's body. Raises ToolFailed when there is no answer."""
    if not url.startswith(("https://", "http://")):
        raise ToolFailed(f"{url} is not an http or https address.")
    request = urllib.request.Request(url, body, {"Content-Type": content_type}, method="POST")
    opener = urllib.request.build_opener(_NoRedirects)
    deadline = time.monotonic() + limit_s
    try:
        try:
            answer = opener.open(request, timeout=limit_s)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            content = b""
            while piece := answer.read1(16_384):
                content += piece
                if len(content) > MAX_ANSWER:
                    raise ToolFailed(f"The answer is longer than {MAX_ANSWER:,} bytes.")
                if time.monotonic() > deadline:
                    raise ToolFailed(f"The answer took longer than {limit_s:g} s.")
            return answer.status, answer.headers.get("Content-Type", ""), content
    except urllib.error.URLError as error:
        raise ToolFailed(f"No answer: {error.reason}.") from error
    except (OSError, ssl.SSLError, http.client.HTTPException, ValueError) as error:
        raise ToolFailed(f"No answer: {error or type(error).__name__}.") from error
