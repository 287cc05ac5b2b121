"""A folder of pictures becomes vectors with the real weights, once, and its review is replayed."""

import json

import cv2
import numpy as np
import pytest
from django.core.management import call_command

from triage import embedding, registry


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
    (tmp_path / "set" / "grid" / "broken.jpg").write_bytes(b"\xff\xd8 not a picture")
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
    assert (told["items"], told["relevant"], told["unread"]) == (24, 6, 1)
    assert told["embedders"] == ["mobilenet-v1", "mobilenet-v2", "yolo11n"]
    assert told["orders"][0]["wss95"]["mean"] > told["random"]["mean"] + 0.3 and "25 of 25" in noise
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
