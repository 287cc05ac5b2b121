"""Webhooks: signed, over https alone, to the address that was judged, and to no private network unless allowed."""

import base64
import datetime as dt
import hashlib
import hmac
import http.server
import ipaddress
import json
import socket
import ssl
import threading
import time
import uuid

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from archive import jobs
from archive.errors import NotAllowed, ToolFailed
from archive.models import Job
from tests import cast
from tests.unit.triage.test_alerts import ask, check, destination, scored, told
from triage import sending
from triage.models import Telling

HOST = "hooks.example.org"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of HOST that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder


@pytest.fixture
def hook(certificate, settings, monkeypatch):
    """A receiver on this machine that answers for HOST; `answer` is its status, `calls` what it got."""

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.calls.append((self.path, dict(self.headers), body))
            if server.answer == "slow":
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                while not server.ended.wait(0.05):
                    self.wfile.write(b"X-Drip: 1\r\n")
                return
            self.send_response(server.answer)
            self.send_header("Location", f"https://{HOST}:{server.server_port}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.calls, server.answer, server.ended = [], 204, threading.Event()
    server.handle_error = lambda *_: None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    settings.WEBHOOKS, settings.WEBHOOK_NETWORKS = True, (ipaddress.ip_network("127.0.0.0/8"),)
    real = socket.getaddrinfo
    server.looked_up = []

    def look_up(host, port, *more, **options):
        if host != HOST:
            return real(host, port, *more, **options)
        server.looked_up.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    server.url = f"https://{HOST}:{server.server_port}/in?to=desk"
    yield server
    server.ended.set()
    server.shutdown()
    server.server_close()


def post(hook, **more) -> None:
    sending.post(hook.url, b"{}", {}, **more)


def test_a_call_is_signed_and_goes_to_the_whole_address(hook):
    secret, digest, now = b"s" * 32, uuid.uuid4(), dt.datetime.now(dt.UTC)
    sending.post(hook.url, b'{"a":1}', sending.sign(secret, digest=digest, at=now, body=b'{"a":1}'))
    path, headers, body = hook.calls[0]
    assert path == "/in?to=desk" and headers["Content-Type"] == "application/json"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mark = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{mark}"
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == (str(digest), str(int(now.timestamp())))


def test_the_signature_is_that_of_the_published_example():
    """From the specification's own libraries (standardwebhooks, tests of every language)."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    moment = 1614265330
    mark = hmac.new(
        secret, f"msg_p5jXN8AQM9LWM0D4loKWxJek.{moment}.".encode() + b'{"test": 2432232314}', hashlib.sha256
    )
    assert base64.b64encode(mark.digest()) == b"g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("status", [301, 307, 400, 410, 500])
def test_redirects_are_not_followed_and_every_other_answer_is_a_failure(hook, status):
    hook.answer = status
    with pytest.raises(ToolFailed, match=str(status)):
        post(hook)
    assert len(hook.calls) == 1


def test_an_answer_that_trickles_is_cut_off(hook):
    hook.answer, began = "slow", time.monotonic()
    with pytest.raises(ToolFailed):
        post(hook, limit_s=0.5)
    assert time.monotonic() - began < 5


def test_the_name_is_looked_up_once_and_the_certificate_is_the_names(hook, certificate, monkeypatch):
    post(hook)
    assert hook.looked_up == [HOST]
    with pytest.raises(ToolFailed):
        sending.post(f"https://127.0.0.1:{hook.server_port}/", b"{}", {})
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(ToolFailed):
        post(hook)
    assert len(hook.calls) == 1


def test_private_networks_and_webhooks_altogether_are_off_by_default(hook, settings):
    settings.WEBHOOK_NETWORKS = ()
    with pytest.raises(NotAllowed, match="private network"):
        post(hook)
    settings.WEBHOOKS = False
    with pytest.raises(NotAllowed, match="off"):
        post(hook)
    assert not hook.calls


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - an address to be refused
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("2002:7f00:1::", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::5db8:d822", True),
    ],
)
def test_which_addresses_a_webhook_may_have(address, may, settings):
    settings.WEBHOOK_NETWORKS = ()
    assert sending.may_reach(ipaddress.ip_address(address)) is may


@pytest.mark.django_db
def test_a_webhook_gets_codes_scores_and_links_and_the_log_says_to_whom(hook, settings):
    settings.ORIGIN = "https://archive.example"
    reader = cast.person("researcher")
    case, actor = cast.case(owner=reader), cast.signed_in(reader)
    place = destination("webhook", address=hook.url)
    one = ask(case, actor, name="Bodies at the river", webhook=place)
    item = scored(case, 5)[0]
    check(case)
    hook.answer = 503
    jobs.run_waiting("triage.alert_webhook")
    hook.answer = 200
    Job.objects.filter(name="triage.alert_webhook").update(run_after=one.at)
    jobs.run_waiting("triage.alert_webhook")
    (_, first, _), (_, second, body) = hook.calls
    assert first["webhook-id"] == second["webhook-id"] == str(Telling.objects.get(channel="webhook").pk)
    said = json.loads(body)
    assert said == {
        "type": "amparo.alert",
        "timestamp": said["timestamp"],
        "data": {
            "case": case.code,
            "question": 0,
            "count": 1,
            "items": [
                {"item": item.code, "score": "5.000", "link": f"https://archive.example/review/{item.pk}/"}
            ],
        },
    }
    events = told("case.alert_told")
    assert [event["channel"] for event in events] == ["app", "webhook"]
    assert events[1] == {
        "subscription": str(one.pk),
        "person": str(reader.pk),
        "channel": "webhook",
        "digest": second["webhook-id"],
        "destination": str(place.pk),
        "items": [item.number],
    }
