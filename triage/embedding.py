"""Pictures as vectors, for ranking and for similarity. One network gives one block; blocks are never mixed here.

For folders of files that a replayed review orders (triage.simulation); an archive's items get their vectors from the
same networks in the pipeline, brought to length 1 (triage.pool). The vector is a registered layer's mean (for a
detector: its greatest value) over the picture's area, as 32-bit floats. It is kept by the picture's SHA-256 under the
embedder's recipe (name, version, hash of the weights): the same bytes are looked at once.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from triage import registry
from triage.analysers.embed import MobileNetV1, MobileNetV2, Yolo11n
from triage.registry import ModelEntry

if TYPE_CHECKING:
    from triage.runtimes.base import Runtime

Vector = NDArray[np.float32]
MAX_FILE = 256 << 20  # bytes of one picture


@dataclass(frozen=True)
class Embedder:
    """How one network makes a vector of a picture: the embedding analyser of that name (triage.analysers.embed)."""

    name: str
    version: int
    weights: str

    @property
    def entry(self) -> ModelEntry:
        """The registered model that it runs on."""
        return registry.get(self.weights)

    @property
    def recipe(self) -> str:
        """What determines the vector, as a name for a folder."""
        return f"{self.name}-{self.version}-{self.entry.sha256[:16]}"


EMBEDDERS = tuple(Embedder(cls.name, cls.version, cls.weights) for cls in (MobileNetV1, MobileNetV2, Yolo11n))


@dataclass(frozen=True)
class Embedded:
    """The vectors of some pictures: `blocks` by embedder, each with one row for each of `kept`, in that order.

    `kept` and `unread` are places in what was asked for; an unread one could not be decoded.
    """

    blocks: dict[str, Vector]
    kept: list[int]
    unread: list[int]
    digests: list[str]


def installed(root: Path | None = None) -> list[Embedder]:
    """The embedders whose weights are here."""
    return [e for e in EMBEDDERS if registry.is_installed(e.entry, root)]


def embed_files(
    paths: Sequence[Path],
    *,
    embedders: Iterable[Embedder],
    weights: Path,
    cache: Path,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Embedded:
    """Vectors of picture files, from `cache` where it has them; `progress(embedder, done, of)` counts the rest.

    At most one decoded picture for each network request is in memory. It decodes here, in this process: for files that
    the operator names, not for a stranger's originals (the pipeline's process is for those). Raises ModelUnavailable.
    """
    from triage.runtimes.base import Runtime

    digests = [_digest(path) for path in paths]
    found: dict[str, dict[str, Vector | None]] = {}
    with tempfile.TemporaryDirectory(prefix="amparo-embedding-") as scratch:
        runtime = Runtime(weights, lanes=os.cpu_count() or 1, scratch=Path(scratch))
        try:
            for embedder in embedders:
                home = cache / embedder.recipe
                home.mkdir(parents=True, exist_ok=True)
                have = {d: _read(home / d) for d in set(digests) if (home / d).exists()}
                missing = {d: path for d, path in zip(digests, paths, strict=True) if d not in have}
                if missing:
                    for done, (digest, vector) in enumerate(_run(embedder, missing, runtime), 1):
                        have[digest] = vector
                        _write(home / digest, vector)
                        progress(embedder.name, done, len(missing))
                found[embedder.name] = have
        finally:
            runtime.close()
    good = [all(have[d] is not None for have in found.values()) for d in digests]
    kept = [i for i, whole in enumerate(good) if whole]
    return Embedded(
        {
            name: np.array([have[digests[i]] for i in kept], np.float32).reshape(len(kept), -1)
            for name, have in found.items()
        },
        kept,
        [i for i, whole in enumerate(good) if not whole],
        digests,
    )


def _run(
    embedder: Embedder, missing: dict[str, Path], runtime: "Runtime"
) -> Iterator[tuple[str, Vector | None]]:
    """Decode and look at each picture; as many requests are under way as the machine has cores."""
    from triage.runtimes import decode

    network = Network(embedder, runtime)
    for digest, path in missing.items():
        try:
            pixels = decode.image(path.read_bytes())
        except decode.Undecodable:
            yield digest, None
            continue
        yield from network.give(digest, pixels)
    yield from network.rest()


class Network:
    """One embedder's network, opened from a verified copy. Give it pictures; vectors come out when they are ready."""

    def __init__(self, embedder: Embedder, runtime: "Runtime") -> None:
        """Raises ModelUnavailable when the weights are absent, not the pinned ones, or without the layer."""
        import openvino

        from triage.runtimes import networks

        entry = embedder.entry
        copy = runtime.scratch / f"embed-{embedder.name}"
        registry.verified_copy(entry, runtime.weights / entry.name, copy)
        ready = networks.ready(entry, copy, runtime.lanes)
        self._fitted = partial(
            networks.fitted, side=entry.input_size, whole=entry.framework.startswith("ultralytics")
        )
        self._pooled = partial(networks.pooled, entry)
        self._queue = openvino.AsyncInferQueue(ready, runtime.lanes + 1)
        self._queue.set_callback(self._done)
        self._ready: list[tuple[str, Vector]] = []

    def _done(self, request: Any, name: str) -> None:
        self._ready.append((name, self._pooled(request.get_output_tensor(1).data)))

    def give(self, name: str, pixels: Any) -> list[tuple[str, Vector]]:
        """Start on a picture (8-bit BGR); returns the vectors that are ready, by the names they were given under."""
        self._queue.start_async({0: self._fitted(pixels)[None]}, name)
        return self._take()

    def rest(self) -> list[tuple[str, Vector]]:
        """Wait for all that were given, and return the vectors not yet returned."""
        self._queue.wait_all()
        return self._take()

    def _take(self) -> list[tuple[str, Vector]]:
        return [self._ready.pop(0) for _ in range(len(self._ready))]


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(path: Path) -> Vector | None:
    """A kept vector; None where the picture could not be decoded."""
    data = path.read_bytes()
    return np.frombuffer(data, "<f4") if data else None


def _write(path: Path, vector: Vector | None) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".incoming-", delete=False) as out:
        out.write(b"" if vector is None else vector.astype("<f4").tobytes())
    os.replace(out.name, path)
