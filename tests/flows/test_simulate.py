"""A folder of pictures becomes vectors with the real weights, once, and its review is replayed."""

import importlib.util
import json
import re

import cv2
import numpy as np
import pytest
from django.core.management import call_command

from tests.unit.triage.test_learning import pool
from triage import embedding, registry, simulation
from triage.learning import joined
from triage.management import peers


def picture(kind: str, seed: int) -> np.ndarray:
    """A disc or a grid, somewhere, on noise."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(90, 160, (120, 160, 3), np.uint8)
    x, y = (int(v) for v in rng.integers(30, 90, 2))
    if kind == "disc":
        cv2.circle(pixels, (x, y), 25, (0, 0, 255), -1)
    else:
        for step in range(0, 50, 10):
            cv2.line(pixels, (x, y + step - 25), (x + 50, y + step - 25), (255, 255, 255), 2)
    return pixels


@pytest.fixture
def dataset(tmp_path):
    for kind, count in (("disc", 6), ("grid", 18)):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for seed in range(count):
            cv2.imwrite(str(tmp_path / "set" / kind / f"{seed}.png"), picture(kind, seed))
    nested = tmp_path / "set" / "grid" / "Ωther, deeper"
    nested.mkdir()
    (tmp_path / "set" / "grid" / "0.png").rename(nested / "a picture (1).png")
    (nested / "broken.jpg").write_bytes(b"\xff\xd8 not a picture")
    (nested / "clip.mp4").write_bytes(b"a video is not replayed")
    (tmp_path / "set" / ".thumbnails").mkdir()
    (tmp_path / "set" / ".thumbnails" / "0.png").write_bytes(b"hidden")
    return tmp_path / "set"


def test_simulate_with_the_real_embedders(settings, tmp_path, dataset, capsys):
    if not settings.MODEL_MIRROR:
        pytest.skip("set MODEL_MIRROR to the folder with the real weights")
    settings.MODELS_DIR, settings.DATA_DIR = tmp_path / "models", tmp_path / "instance"
    states = [
        r.state for r in registry.pull([e.weights for e in embedding.EMBEDDERS], root=settings.MODELS_DIR)
    ]
    assert states == ["installed"] * 3
    options = {"dataset": dataset, "positive": "disc", "seeds": 2, "json": True}
    call_command("triage", "simulate", **options)
    first, noise = capsys.readouterr()
    told = json.loads(first)
    assert (told["items"], told["relevant"], told["unread"], told["videos"]) == (24, 6, 1, 1)
    assert told["embedders"] == ["mobilenet-v1", "mobilenet-v2", "yolo11n"]
    assert "25 of 25" in noise
    wss = {order["name"]: order["wss95"]["mean"] for order in told["orders"]}
    assert wss["amparo"] > wss["random order"] + 0.3
    assert set(told["absent"]) <= {"ASReview"}
    call_command("triage", "simulate", **options)
    assert capsys.readouterr() == (first, "")  # every vector came from the cache

    found = embedding.embed_files(
        sorted((dataset / "disc").iterdir())[:1],
        embedders=embedding.EMBEDDERS,
        weights=settings.MODELS_DIR,
        cache=tmp_path / "fresh",
    )
    kept = settings.DATA_DIR / "cache" / "embeddings"
    for one in embedding.EMBEDDERS:
        vector = np.frombuffer((kept / one.recipe / found.digests[0]).read_bytes(), "<f4")
        assert np.allclose(vector, found.blocks[one.name][0], atol=1e-3) and vector.std() > 0


def test_asreview_takes_part_in_its_own_loop():
    if importlib.util.find_spec("asreview") is None:  # importing it would leave its cache file here
        pytest.skip("asreview is optional")
    blocks, labels = pool(60, 10)
    peer = peers.asreview(joined(blocks), labels, seeds=1, examples=1)
    assert re.fullmatch(r"ASReview \d+\..*", peer.name) and not peer.absent
    for seed, order in enumerate(peer.orders):
        given, lot = simulation.start(labels, seed=seed, examples=1)
        assert sorted(order) == sorted(lot.tolist()) and not set(given) & set(order)
    assert simulation.judged(peer.name, peer.orders, labels)["wss95"]["mean"] > 0.5
