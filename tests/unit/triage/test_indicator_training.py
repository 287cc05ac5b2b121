"""An indicator learns from labelled pictures, says honestly how often it is wrong, and runs only once a person says so."""

import json
from datetime import date

import numpy as np
import pytest
from PIL import Image

from archive.errors import BadInput, ModelUnavailable
from triage import indicator_model, registry, residuals, trained_indicators
from triage.management import indicating


def two_kinds(apart: float, pairs: int = 60):
    """Pairs of a picture and its changed copy: what the picture shows varies far more than what the change does."""
    rng = np.random.default_rng(0)
    shows, change = rng.normal(size=(pairs, 40)), rng.normal(size=40)
    rows = np.repeat(shows, 2, axis=0) + 0.3 * rng.normal(size=(2 * pairs, 40))
    labels = np.arange(2 * pairs) % 2 == 1
    rows[labels] += apart * change / np.linalg.norm(change) * np.sqrt(40)
    return {"vectors": rows}, labels, [f"{n // 2}" for n in range(2 * pairs)]


def test_what_can_be_learned_is_measured_on_pictures_left_out():
    measured = indicator_model.measure(*two_kinds(0.3), seed=0)
    low, high = measured.auc_interval(0)
    assert low < measured.auc < high and 0.6 < measured.auc < 1
    told = measured.chances >= indicator_model.TOLD_FROM
    assert (told == measured.labels).mean() > 0.6


def test_where_there_is_nothing_to_learn_the_measure_says_so():
    """An original and its copy stand on one side: otherwise the content alone would tell which of them was learned from."""
    measured = indicator_model.measure(*two_kinds(0.0), seed=0)
    low, high = measured.auc_interval(0)
    assert measured.auc < 0.6 and low < 0.5 < high + 0.05


def test_the_same_pictures_and_seed_give_the_same_classifier():
    blocks, labels, groups = two_kinds(1.0)
    made = [
        indicator_model.train(blocks, labels, indicator_model.measure(blocks, labels, groups, 3), 3)
        for _ in "12"
    ]
    assert all((made[0].arrays[name] == made[1].arrays[name]).all() for name in made[0].arrays)
    scores = made[0].scores(blocks)
    assert (made[0].chances(scores)[labels].mean()) > 0.6 > 0.5 > made[0].chances(scores)[~labels].mean()


def test_too_few_pictures_are_refused():
    blocks, labels, groups = two_kinds(1.0, pairs=4)
    with pytest.raises(ValueError, match="both kinds"):
        indicator_model.measure(blocks, labels, groups, 0)


def install(root, name="spliced"):
    blocks, labels, groups = two_kinds(1.0, 20)
    fitted = indicator_model.train(blocks, labels, indicator_model.measure(blocks, labels, groups, 0), 0)
    card = trained_indicators.Card(name, "changed", {}, "0" * 64, 0, {"auc": "0.900"})
    return trained_indicators.install(fitted, card, root)


def test_it_is_a_candidate_until_a_person_promotes_it(tmp_path):
    entry = install(tmp_path)
    assert (entry.name, entry.stage, entry.classes) == (
        "indicator-spliced", registry.CANDIDATE, ("indicator: may be spliced",)
    )  # fmt: skip
    assert registry.in_use(tmp_path) == [] and registry.every(tmp_path)["indicator-spliced"] == entry
    trained_indicators.stage("indicator-spliced", registry.IN_USE, tmp_path)
    (running,) = registry.in_use(tmp_path)
    assert running.sha256 == entry.sha256 and dict(running.measured) == {"auc": "0.900"}
    with pytest.raises(BadInput, match="is in use"):
        install(tmp_path)
    trained_indicators.stage("indicator-spliced", registry.CANDIDATE, tmp_path)
    assert registry.in_use(tmp_path) == [] and install(tmp_path).sha256 == entry.sha256


def test_what_is_not_the_registered_file_is_not_promoted_or_opened(tmp_path):
    entry = install(tmp_path)
    file = tmp_path / entry.name / entry.files[0].name
    data = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BadInput, match="not the registered one"):
        trained_indicators.stage(entry.name, registry.IN_USE, tmp_path)
    file.write_bytes(data[:200])
    with pytest.raises(ModelUnavailable, match="no indicator"):
        trained_indicators.read(file)
    for name in ("", "../x", "Spliced", "x" * 31):
        with pytest.raises(BadInput):
            trained_indicators.check_name(name)


def test_residuals_are_chances_of_one_difference_after_another():
    """A ramp that climbs by 2 each step: after a difference of 2 (along the rows, of 0) always the same."""
    ramp = np.repeat(np.arange(0, 200, 2, dtype=np.uint8)[None, :, None], 50, axis=0).repeat(3, axis=2)
    straight = residuals.spam(ramp)[:81].reshape(9, 9)
    assert straight[residuals.T + 2, residuals.T + 2] == straight[residuals.T - 2, residuals.T - 2] == 0.25
    assert straight[residuals.T, residuals.T] == 0.5 and straight.sum() == 1
    assert residuals.spam(np.zeros((1, 1, 3), np.uint8)).shape == (residuals.WIDTH,)


@pytest.mark.weights
@pytest.mark.slow
def test_a_folder_of_pictures_becomes_a_candidate_with_its_error_told(tmp_path, settings):
    settings.MODELS_DIR, settings.DATA_DIR = tmp_path / "models", tmp_path
    list(registry.pull(indicating.IndicatorTrained.needs, root=settings.MODELS_DIR))
    rng = np.random.default_rng(0)
    for n in range(12):
        noise = Image.fromarray(rng.integers(0, 255, (96, 128, 3), np.uint8))
        for kind, picture in (("plain", noise), ("smooth", noise.resize((32, 24)).resize((128, 96)))):
            (tmp_path / "set" / kind).mkdir(parents=True, exist_ok=True)
            picture.save(tmp_path / "set" / kind / f"{n}.png")
    told = indicating.train(
        dataset=tmp_path / "set",
        positive="smooth",
        name="smooth",
        seed=0,
        today=date(2026, 11, 21),
        progress=lambda *_: None,
    )
    assert told["stage"] == registry.CANDIDATE and told["measured"]["found"].startswith("12 of 12, 1.000")
    assert any("AUC 1.000 (no error seen: no interval)" in line for line in indicating.text(told))
    card = json.loads((settings.MODELS_DIR / "indicator-smooth" / registry.CARD).read_text())
    assert card["measured"]["on"] == "2026-11-21" and card["measured"]["groups"] == "12"
