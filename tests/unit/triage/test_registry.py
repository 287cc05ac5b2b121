"""Weights: only pinned bytes get in, nothing else is asked, and they are hashed again where they are opened."""

import functools
import http.server
import threading

import pytest

from archive.errors import BadInput, ModelUnavailable
from triage import registry

ENTRY = registry.models()["yunet-2026may"]


@pytest.fixture
def small(monkeypatch):
    """A registered model of two small files."""
    import hashlib

    content = {"a.bin": b"weights " * 1000, "a.xml": b"<net/>"}
    files = tuple(
        registry.ModelFile(
            name,
            f"https://models.invalid/{name}",
            f"folder/{name}",
            len(data),
            hashlib.sha256(data).hexdigest(),
        )
        for name, data in content.items()
    )
    entry = registry.ModelEntry(
        "small",
        "Small",
        "detect",
        "ultralytics-openvino",
        "https://models.invalid",
        "MIT",
        ("person",),
        64,
        {},
        registry.IN_USE,
        files,
    )
    monkeypatch.setattr(registry, "models", lambda: {"small": entry})
    return entry, content


@pytest.fixture
def mirror(small, tmp_path):
    folder = tmp_path / "mirror"
    (folder / "folder").mkdir(parents=True)
    for name, data in small[1].items():
        (folder / "folder" / name).write_bytes(data)
    return folder


def pull(tmp_path, mirror, names=()):
    return [(r.state, r.fault) for r in registry.pull(names, root=tmp_path / "models", mirror=str(mirror))]


def test_every_registered_model_says_all_that_a_reader_needs():
    for entry in registry.models().values():
        assert entry.source.startswith("https://") and entry.licence and entry.title
        assert bool(entry.classes) == (entry.task not in ("embed", "text"))
        wanted = {"embed": set(), "classify": {"score"}, "text": {"score"}}.get(
            entry.task, {"score", "overlap"}
        )
        assert entry.input_size > 0 and set(entry.thresholds) == wanted
        for file in entry.files:
            assert len(file.sha256) == 64 and int(file.sha256, 16) and file.size > 0
            assert (
                file.url.startswith("https://")
                and not file.mirror.startswith("/")
                and ".." not in file.mirror
            )


def test_pull_takes_from_a_folder_and_a_second_pull_takes_nothing(small, mirror, tmp_path):
    assert pull(tmp_path, mirror) == [("installed", "")]
    assert pull(tmp_path, mirror / "gone") == [("here already", "")]
    installed = tmp_path / "models" / "small"
    assert {p.name: p.read_bytes() for p in installed.iterdir()} == small[1]
    assert [p.name for p in (tmp_path / "models").iterdir()] == ["small"], "no temporary file is left"


def test_pull_takes_from_a_mirror_by_http(small, mirror, tmp_path):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(mirror))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert pull(tmp_path, f"http://127.0.0.1:{server.server_port}/") == [("installed", "")]
        server.shutdown()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1] + b"!",
        lambda data: data + b"more",
        lambda data: data[:-1],
        lambda data: b"",
    ],
    ids=["one_byte_changed", "longer", "shorter", "empty"],
)
def test_pull_throws_away_what_is_not_the_pinned_file(small, mirror, tmp_path, spoil):
    path = mirror / "folder" / "a.bin"
    path.write_bytes(spoil(path.read_bytes()))
    ((state, fault),) = pull(tmp_path, mirror)
    assert state == "refused" and "thrown away unopened" in fault and "https://models.invalid/a.bin" in fault
    assert not registry.is_installed(small[0], tmp_path / "models")
    assert [p for p in (tmp_path / "models").rglob("*") if p.is_file()] == []


def test_pull_with_a_mirror_asks_nobody_else(small, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(registry.urllib.request, "urlopen", lambda *a, **k: asked.append(a))
    ((state, fault),) = pull(tmp_path, tmp_path / "no-such-folder")
    assert state == "refused" and "unset MODEL_MIRROR" in fault and asked == []


def test_pull_of_an_unknown_name_fails_before_anything_is_fetched(small, mirror, tmp_path):
    with pytest.raises(BadInput, match="small"):
        pull(tmp_path, mirror, ["small", "other"])
    assert not (tmp_path / "models").exists()


def test_verify_names_the_file_that_was_changed(small, mirror, tmp_path):
    pull(tmp_path, mirror)
    root = tmp_path / "models"
    assert [r.state for r in registry.verify(root=root)] == ["verified"]
    path = root / "small" / "a.bin"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"w", b"v"))
    (report,) = registry.verify(root=root)
    assert report.state == "wrong" and "a.bin" in report.fault
    assert registry.is_installed(small[0], root), (
        "the size alone does not tell: bytes are hashed where they are opened"
    )


def test_only_a_verified_copy_can_be_opened(small, mirror, tmp_path):
    pull(tmp_path, mirror)
    source = tmp_path / "models" / "small"
    registry.verified_copy(small[0], source, tmp_path / "copy")
    assert {p.name: p.read_bytes() for p in (tmp_path / "copy").iterdir()} == small[1]
    (source / "a.xml").chmod(0o600)
    (source / "a.xml").write_bytes(b"<bad/>")
    with pytest.raises(ModelUnavailable, match="not opened"):
        registry.verified_copy(small[0], source, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_notice_says_which_detectors_ran(settings, tmp_path):
    settings.MODELS_DIR = tmp_path
    assert (
        registry.notice()
        == "No model weights installed: only OpenCV's built-in people and face detectors ran."
    )
    for entry in registry.models().values():
        if entry.stage == registry.IN_USE:
            (tmp_path / entry.name).mkdir()
            for file in entry.files:
                (tmp_path / entry.name / file.name).write_bytes(b"x" * file.size)
    assert registry.notice() == ""
