"""How an alert leaves this archive: by mail, or by one call of a webhook. Nothing else of this floor does.

A webhook is called over https only, at an address that was looked up, judged and then used as it is; redirects and
proxies are not followed. Its body is signed as Standard Webhooks 1.0 (standardwebhooks.com) says:

    webhook-id          the digest's id, the same at each attempt
    webhook-timestamp   seconds since 1970, of this attempt
    webhook-signature   "v1," and base64 of HMAC-SHA256 over id "." timestamp "." body
"""

import base64
import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import threading
from datetime import datetime
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email
from django.utils.crypto import salted_hmac

from archive.errors import BadInput, NotAllowed, ToolFailed

LIMIT_S = 15.0
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


# --- addresses --------------------------------------------------------------------------------------------------


def require_mail(address: str) -> None:
    """Raise BadInput unless this is one mail address."""
    try:
        validate_email(address)
    except ValidationError as error:
        raise BadInput("This is not a mail address. Nothing was saved.") from error


def require_url(address: str) -> SplitResult:
    """The parts of a webhook's address. Raises BadInput unless it is a plain https one."""
    try:
        parts = urlsplit(address)
        port = parts.port or 443
    except ValueError as error:
        raise BadInput("This is not an https address. Nothing was saved.") from error
    plain = address.isascii() and address.isprintable() and " " not in address
    if parts.scheme != "https" or not parts.hostname or not port or not plain:
        raise BadInput("A webhook has an https address. Nothing was saved.")
    if parts.username or parts.password or parts.fragment:
        raise BadInput("A webhook's address has no user, password or fragment. Nothing was saved.")
    return parts


def may_reach(address: Address) -> bool:
    """Whether a webhook may lie there: a public address, or one in a network that the settings name."""
    if any(address in network for network in settings.WEBHOOK_NETWORKS):
        return True
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if address in _NAT64:
            inside = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inside:
            return may_reach(inside)
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _look_up(host: str, port: int) -> str:
    """An address of the host. Raises ToolFailed where it has none, NotAllowed where any is not to be reached."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ToolFailed("The webhook's host has no address that could be found.") from error
    told = [str(entry[4][0]) for entry in found]
    if not all(may_reach(ipaddress.ip_address(one.partition("%")[0])) for one in told):
        raise NotAllowed("The webhook lies in a private network that the settings do not allow.")
    return told[0]


# --- sending ----------------------------------------------------------------------------------------------------


def mail(address: str, *, subject: str, body: str) -> None:
    """Send one mail by the archive's mail settings. Raises ToolFailed."""
    try:
        EmailMessage(subject=subject, body=body, to=[address]).send()
    except OSError as error:  # smtplib's errors are OSErrors too
        raise ToolFailed(f"The mail was not taken: {type(error).__name__}.") from error


def secret_of(destination: UUID) -> bytes:
    """What the calls of a webhook are signed with: 32 bytes, made from the archive's own secret and kept nowhere."""
    return salted_hmac("amparo webhook", str(destination), algorithm="sha256").digest()


def secret_words(destination: UUID) -> str:
    """The secret as receivers take it."""
    return "whsec_" + base64.b64encode(secret_of(destination)).decode()


def sign(secret: bytes, *, digest: UUID, at: datetime, body: bytes) -> dict[str, str]:
    """The headers that prove where a body comes from and when it was sent."""
    moment = str(int(at.timestamp()))
    signed = b".".join((str(digest).encode(), moment.encode(), body))
    mark = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    return {"webhook-id": str(digest), "webhook-timestamp": moment, "webhook-signature": f"v1,{mark}"}


def post(address: str, body: bytes, headers: dict[str, str], *, limit_s: float = LIMIT_S) -> None:
    """Call a webhook once. Raises ToolFailed unless it answers 2xx in time, NotAllowed for where it lies.

    Of the answer only the status is read.
    """
    if not settings.WEBHOOKS:
        raise NotAllowed("Webhooks are off in the settings of this archive.")
    parts = require_url(address)
    host, port = str(parts.hostname), parts.port or 443
    call = _Call(host, port, _look_up(host, port), limit_s)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    clock = threading.Timer(limit_s, call.cut)
    clock.daemon = True
    clock.start()
    try:
        call.request(
            "POST",
            path,
            body,
            {
                "Content-Type": "application/json",
                "User-Agent": settings.SOFTWARE.replace(" ", "/"),
                **headers,
            },
        )
        status = call.getresponse().status
    except (OSError, http.client.HTTPException) as error:  # ssl.SSLError is an OSError
        raise ToolFailed(f"The webhook did not answer: {type(error).__name__}.") from error
    finally:
        clock.cancel()
        call.close()
    if call.was_cut:
        raise ToolFailed(f"The webhook took longer than {limit_s:g} s to answer.")
    if not 200 <= status < 300:
        raise ToolFailed(f"The webhook answered with status {status}.")


class _Call(http.client.HTTPSConnection):
    """A connection to the address that was judged; the certificate is that of the host's name."""

    def __init__(self, host: str, port: int, address: str, limit_s: float) -> None:
        super().__init__(host, port, timeout=limit_s)
        self._address, self._trust = address, ssl.create_default_context()
        self.was_cut = False

    def connect(self) -> None:
        """Dial the address, not the name: what a second look-up would say does not count."""
        raw = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = raw
        self.sock = self._trust.wrap_socket(raw, server_hostname=self.host)

    def cut(self) -> None:
        """End a call that takes too long, whatever trickles in."""
        self.was_cut = True
        if self.sock is not None:
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended by itself
                return
