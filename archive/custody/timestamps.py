"""RFC 3161 timestamps over checkpoints: the imprint is over the bytes of the note as the log signed it."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimeStampRequest,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from archive.errors import BadInput

MAX_RESPONSE = 65_536
GRANTED = 0  # with modifications (1) is no answer to what was asked
HASHES = {
    "2.16.840.1.101.3.4.2.1": hashlib.sha256,
    "2.16.840.1.101.3.4.2.2": hashlib.sha384,
    "2.16.840.1.101.3.4.2.3": hashlib.sha512,
}


class BadTimestamp(BadInput):
    """A timestamp does not hold. `code` names the fault: form, refused, other-file, nonce or untrusted."""


def request(note: str) -> TimeStampRequest:
    """A request over a note: SHA-256, with a nonce, asking for the authority's certificate."""
    builder = TimestampRequestBuilder().data(note.encode()).hash_algorithm(HashAlgorithm.SHA256)
    return builder.nonce(nonce=True).cert_request(cert_request=True).build()


def read(response: bytes, note: str, *, nonce: int | None = None) -> datetime:
    """The time that a response states over this note. Its signature is NOT checked. Raises BadTimestamp."""
    return _read(response, note, nonce)[1]


def verify(
    response: bytes, note: str, roots: Sequence[x509.Certificate], *, nonce: int | None = None
) -> datetime:
    """Check a response over this note against CA certificates, and return the time that it states.

    The certificates must have been valid at that time; whether they were revoked is not asked. Raises BadTimestamp.
    """
    answer, moment = _read(response, note, nonce)
    if not roots:
        raise BadTimestamp("No CA certificate was given to check the timestamp with.", code="untrusted")
    builder = VerifierBuilder()
    for certificate in dict.fromkeys(roots):
        builder = builder.add_root_certificate(certificate)
    try:
        builder.build().verify_message(answer, note.encode())
    except (VerificationError, ValueError) as error:
        raise BadTimestamp(
            f"The timestamp is not signed by a trusted authority: {error}", code="untrusted"
        ) from error
    return moment


def read_certificates(path: Path) -> list[x509.Certificate]:
    """All certificates of a PEM file. Raises BadInput."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise BadInput(f"The authorities' certificates cannot be read ({error.strerror}): {path}") from error
    except ValueError as error:
        raise BadInput(f"This file holds no certificate in PEM: {path}") from error


def _read(response: bytes, note: str, nonce: int | None) -> tuple[TimeStampResponse, datetime]:
    if len(response) > MAX_RESPONSE:
        raise BadTimestamp("A timestamp response has at most 64 KiB.", code="form")
    try:
        answer = decode_timestamp_response(_with_certificates_in_order(response))
        status = answer.status
        if status == GRANTED:
            told = answer.tst_info
            imprint, moment = told.message_imprint, told.gen_time
            algorithm = imprint.hash_algorithm.dotted_string
    except (ValueError, TypeError, IndexError) as error:
        raise BadTimestamp("This is not an RFC 3161 timestamp response.", code="form") from error
    if status != GRANTED:
        why = "; ".join(answer.status_string)
        raise BadTimestamp(f"The authority refused with status {status}: {why}", code="refused")
    if algorithm not in HASHES:
        raise BadTimestamp(f"The timestamp uses the hash {algorithm}; SHA-2 is known.", code="form")
    if HASHES[algorithm](note.encode()).digest() != imprint.message:
        raise BadTimestamp("The timestamp is over another file.", code="other-file")
    if nonce is not None and told.nonce != nonce:
        raise BadTimestamp("The timestamp answers another request.", code="nonce")
    return answer, moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _with_certificates_in_order(response: bytes) -> bytes:
    """The same response with the token's certificates sorted, as DER wants a SET OF to be.

    Many authorities, openssl's among them, send the chain in its own order, which the parser refuses. No signature
    covers that order. Raises ValueError or IndexError where lengths are wrong.
    """
    answer = _inside(response, 0, len(response))[0]
    parts = _inside(response, answer[1], answer[2])
    if len(parts) < 2:
        return response  # refused: no token
    for _ in range(3):  # ContentInfo, its [0], SignedData
        parts = _inside(response, parts[-1][1], parts[-1][2])
    for tag, start, end in parts:
        if tag == 0xA0:
            cut = [0, *(item[2] - start for item in _inside(response, start, end))]
            held = response[start:end]
            ordered = sorted(held[a:b] for a, b in zip(cut, cut[1:], strict=False))
            return response[:start] + b"".join(ordered) + response[end:]
    return response


def _inside(raw: bytes, start: int, end: int) -> list[tuple[int, int, int]]:
    """Tag, beginning and end of the content of each DER element between two places."""
    found = []
    while start < end:
        tag, length, at = raw[start], raw[start + 1], start + 2
        if length & 0x80:
            count = length & 0x7F
            length, at = int.from_bytes(raw[at : at + count], "big"), at + count
        if at + length > end:
            raise ValueError("an element is longer than what holds it")
        found.append((tag, at, at + length))
        start = at + length
    return found
