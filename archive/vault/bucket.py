"""An S3-compatible store as the place of a second copy: the vault's files as objects under a prefix."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from archive.vault.storage import BLOB, KEY, Copied, Source, Unreachable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PART = 16 * 1024 * 1024  # larger objects travel in parts of this size, and appear when the last one is there
_GONE = {"NoSuchKey", "404", "NotFound"}


@dataclass(frozen=True)
class Account:
    """How to reach a store. An empty endpoint is AWS."""

    endpoint: str
    region: str
    key_id: str
    secret: str


class Bucket:
    """Objects `<prefix>/vault.json` and `<prefix>/aa/<name>`."""

    def __init__(self, bucket: str, prefix: str, account: Account) -> None:
        self.where = f"s3://{bucket}/{prefix}".rstrip("/")
        self._bucket, self._prefix, self._account = bucket, prefix.strip("/"), account

    def prepare(self) -> None:
        """Nothing: a prefix needs no making, and whose bucket it is the account decides."""

    def open(self, name: str, *, from_disk: bool = False) -> "BucketSource":
        with self._asking():
            return BucketSource(self, self._key(name))

    def write(self, name: str, source: Source, *, progress: Copied) -> None:
        from boto3.s3.transfer import TransferConfig

        config = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART, use_threads=False)
        with self._asking():
            self.client.upload_fileobj(
                _Stream(source, progress), self._bucket, self._key(name), Config=config
            )

    def names(self) -> Iterator[str]:
        return (name for name in self._listed() if BLOB.fullmatch(name))

    def key_names(self) -> Iterator[str]:
        return (name for name in self._listed() if KEY.fullmatch(name))

    def read_small(self, name: str) -> bytes:
        with self._asking():
            return self.client.get_object(Bucket=self._bucket, Key=self._key(name))["Body"].read()

    def replace_small(self, name: str, data: bytes) -> None:
        with self._asking():
            self.client.put_object(Bucket=self._bucket, Key=self._key(name), Body=data)

    def remove(self, name: str) -> bool:
        """In a bucket with versions, earlier ones stay until its own rules remove them."""
        with self._asking():
            listed = self.client.list_objects_v2(Bucket=self._bucket, Prefix=self._key(name))
            keys = [entry["Key"] for entry in listed.get("Contents", ())]
            for key in keys:
                self.client.delete_object(Bucket=self._bucket, Key=key)
        return self._key(name) in keys

    def get(self, key: str, **options: str) -> dict[str, Any]:
        """One answer to GetObject."""
        return self.client.get_object(Bucket=self._bucket, Key=key, **options)

    @cached_property
    def client(self) -> Any:
        """Made at first use: a connection must not be shared by a process and its children."""
        import boto3
        from botocore.config import Config

        account = self._account
        return boto3.session.Session().client(
            "s3",
            endpoint_url=account.endpoint or None,
            region_name=account.region,
            aws_access_key_id=account.key_id,
            aws_secret_access_key=account.secret,
            config=Config(
                connect_timeout=5,
                read_timeout=60,
                retries={"mode": "standard", "max_attempts": 3},
                s3={"addressing_style": "path" if account.endpoint else "auto"},
                request_checksum_calculation="when_required",  # not every store knows them; all is read back
                response_checksum_validation="when_required",
            ),
        )

    def _key(self, name: str) -> str:
        inside = name if name == "vault.json" else f"{name[:2]}/{name}"
        return f"{self._prefix}/{inside}".lstrip("/")

    def _listed(self) -> Iterator[str]:
        pages = self.client.get_paginator("list_objects_v2")
        prefix = f"{self._prefix}/" if self._prefix else ""
        with self._asking():
            for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
                yield from (entry["Key"].rsplit("/", 1)[-1] for entry in page.get("Contents", ()))

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Whatever a store answers is either 'no such file' or 'nothing is known'."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in _GONE:
                raise FileNotFoundError(f"{self.where} has no such object") from error
            raise Unreachable(
                f"{self.where} refused: {code or error}. Nothing is known of it now."
            ) from error
        except (BotoCoreError, Boto3Error) as error:
            raise Unreachable(
                f"{self.where} cannot be reached ({type(error).__name__}). Nothing is known of it now."
            ) from error


class BucketSource:
    """One version of an object. What is read in order comes from one answer; other places cost a request each."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket, self._key = bucket, key
        answer = bucket.get(key)
        self.size, self._tag = int(answer["ContentLength"]), answer["ETag"]
        self._body, self._at = answer["Body"], 0

    def read_into(self, offset: int, view: memoryview) -> int:
        """Fill `view` from `offset`; return fewer bytes only at the end. Raises Unreachable."""
        wanted = min(len(view), max(0, self.size - offset))
        if not wanted:
            return 0
        with self._bucket._asking():
            if offset == self._at:
                done = _fill(self._body, view[:wanted])
                self._at += done
            else:
                span = f"bytes={offset}-{offset + wanted - 1}"
                done = _fill(
                    self._bucket.get(self._key, Range=span, IfMatch=self._tag)["Body"], view[:wanted]
                )
        if done != wanted:
            raise Unreachable(f"{self._bucket.where} stopped in the middle of an answer.")
        return done

    def close(self) -> None:
        self._body.close()


class _Stream(io.RawIOBase):
    """A source as the file that an upload reads."""

    def __init__(self, source: Source, progress: Copied) -> None:
        self._source, self._progress, self._done = source, progress, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        count = self._source.read_into(self._done, memoryview(buffer).cast("B"))
        self._done += count
        self._progress("copy", self._done, self._source.size)
        return count


def _fill(body: Any, view: memoryview) -> int:
    done = 0
    while done < len(view) and (data := body.read(len(view) - done)):
        view[done : done + len(data)] = data
        done += len(data)
    return done
