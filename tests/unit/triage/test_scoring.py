"""Scores: the same rules and facts, the same value and reasons; every fault in the rules is named."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.errors import BadInput
from triage.facts import Place, Tracked, Written
from triage.scoring import DEFAULT_RULES, Facts, known_classes, score, validate

D = Decimal


def rules(*criteria):
    return validate({"format": 1, "criteria": list(criteria)})


def seen(label, weight="2", **more):
    return {"name": f"{label} seen", "kind": "seen", "any_of": [label], "weight": weight, **more}


def lines(reasons):
    return [f"{r.criterion}: {r.contribution} ({r.why})" for r in reasons]


def test_a_class_counts_once_however_often_it_is_seen():
    facts = Facts({0: {"person": (D("0.9000"), D("0.5000"))}, 1000: {"person": (D("0.9500"),)}})
    assert score(rules(seen("person")), facts)[0] == D("2.000")
    assert lines(score(rules(seen("person")), facts)[1]) == ["person seen: 2.000 (person 0.95 at 0:01)"]


def test_below_its_confidence_a_suggestion_does_not_count():
    facts = Facts({0: {"person": (D("0.3900"),)}})
    assert score(rules(seen("person")), facts) == (D("0.000"), [])
    assert score(rules(seen("person", from_confidence="0.39")), facts)[0] == D("2.000")


def test_together_means_in_one_frame():
    both = {"name": "both", "kind": "together", "all_of": [["person"], ["knife", "scissors"]], "weight": "4"}
    apart = Facts({0: {"person": (D("0.9"),)}, 1000: {"knife": (D("0.9"),)}})
    one_frame = Facts({0: {"dog": (D("0.9"),)}, 65_000: {"person": (D("0.9"),), "scissors": (D("0.7"),)}})
    assert score(rules(both), apart) == (D("0.000"), [])
    value, reasons = score(rules(both), one_frame)
    assert (value, reasons[0].why) == (D("4.000"), "person 0.90 and scissors 0.70 at 1:05")


def test_a_count_looks_at_the_fullest_frame_and_is_bounded():
    crowd = {
        "name": "crowd",
        "kind": "count",
        "any_of": ["person"],
        "each": "0.5",
        "beyond": 1,
        "at_most": "2",
    }
    many = Facts({0: {"person": (D("0.9"),) * 2}, 500: {"person": (D("0.9"),) * 40}})
    assert score(rules(crowd), many)[0] == D("2.000")
    three = Facts({0: {"person": (D("0.9"),) * 3}})
    assert score(rules(crowd), three)[0] == D("1.000")
    assert score(rules(crowd), Facts({0: {"person": (D("0.9"),)}}))[1] == []


def test_what_is_not_known_of_the_source_is_said_and_counts_nothing():
    of_source = {"name": "reliability", "kind": "source", "weight": "2"}
    assert score(rules(of_source), Facts(reliability=75))[0] == D("1.500")
    value, reasons = score(rules(of_source), Facts())
    assert value == 0 and reasons[0].why == "the source's reliability is not stated"


def test_recency_halves_and_rests_on_a_fixed_day():
    recent = {"name": "recent", "kind": "recency", "weight": "1", "half_life_days": 10, "as_of": "2026-11-21"}
    value, reasons = score(rules(recent), Facts(captured_on=date(2026, 11, 1)))
    assert value == D("0.250") and reasons[0].why == "captured 2026-11-01, 20 days before 2026-11-21"
    assert score(rules(recent), Facts(captured_on=date(2030, 1, 1)))[0] == D("1.000")
    del recent["as_of"]
    assert score(rules(recent), Facts(captured_on=date(2026, 11, 11), opened_on=date(2026, 11, 21)))[0] == D(
        "0.500"
    )


confidences = st.lists(st.integers(0, 10_000).map(lambda n: D(n).scaleb(-4)), min_size=1, max_size=4).map(
    tuple
)
frames = st.dictionaries(
    st.integers(0, 10_000),
    st.dictionaries(st.sampled_from(["person", "knife", "car", "face"]), confidences),
    max_size=6,
)


@given(frames, st.none() | st.integers(0, 100), st.none() | st.dates())
def test_the_value_is_the_sum_of_its_reasons_and_does_not_depend_on_the_order_of_facts(
    looked, reliability, captured
):
    facts = Facts(looked, reliability, captured, date(2026, 1, 1))
    value, reasons = score(DEFAULT_RULES, facts)
    assert value == sum((r.contribution for r in reasons), D(0))
    turned = Facts(
        {
            at: {k: v[::-1] for k, v in reversed(list(row.items()))}
            for at, row in reversed(list(looked.items()))
        },
        reliability,
        captured,
        date(2026, 1, 1),
    )
    assert score(DEFAULT_RULES, turned) == (value, reasons)


def test_the_built_in_rules_are_valid():
    assert validate(DEFAULT_RULES) is DEFAULT_RULES
    assert {"person", "knife", "face"} <= set(known_classes())


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([], "object"),
        ({"format": 2, "criteria": []}, '"format": 1'),
        ({"format": 1, "criteria": []}, "1 to 50"),
        ({"format": 1, "criteria": [{"kind": "vibes"}]}, "kind is one of"),
        ({"format": 1, "criteria": [seen("gun")]}, "'gun'"),
        ({"format": 1, "criteria": [seen("person", weight=2.0)]}, "weight is a number"),
        ({"format": 1, "criteria": [seen("person", weight="101")]}, "weight is a number"),
        ({"format": 1, "criteria": [seen("person", weight="NaN")]}, "weight is a number"),
        ({"format": 1, "criteria": [seen("person", weight="0.0001")]}, "three decimals"),
        ({"format": 1, "criteria": [seen("person", colour="red")]}, "colour is not known"),
        ({"format": 1, "criteria": [seen("person"), seen("person")]}, "name of its own"),
        ({"format": 1, "criteria": [seen("person", from_confidence="2")]}, "from_confidence"),
        (
            {
                "format": 1,
                "criteria": [{"name": "x", "kind": "together", "all_of": [["person"]], "weight": "1"}],
            },
            "2 to 10",
        ),
        (
            {"format": 1, "criteria": [{"name": "x", "kind": "recency", "weight": "1", "half_life_days": 0}]},
            "half_life",
        ),
        (
            {
                "format": 1,
                "criteria": [
                    {"name": "x", "kind": "recency", "weight": "1", "half_life_days": 1, "as_of": "soon"}
                ],
            },
            "as_of",
        ),
    ],
)
def test_rules_that_cannot_be_used_are_refused_with_the_place_and_the_reason(bad, words):
    with pytest.raises(BadInput) as caught:
        validate(bad)
    assert words in caught.value.sentence and "nothing was changed" in caught.value.sentence


def test_every_fault_is_named_at_once():
    with pytest.raises(BadInput) as caught:
        validate({"format": 1, "criteria": [seen("gun", weight="x"), {"name": "", "kind": "source"}]})
    assert all(
        words in caught.value.sentence
        for words in ("Criterion 1: weight", "'gun'", "Criterion 2: weight is missing")
    )


def test_objects_that_were_followed_long_enough_count_together():
    convoy = {
        "name": "convoy",
        "kind": "tracked",
        "any_of": ["truck"],
        "at_least": 2,
        "seconds": 10,
        "weight": "3",
    }
    long, short = Tracked("truck", 12_000, 48_000), Tracked("truck", 0, 9_000)
    assert score(rules(convoy), Facts(tracks=(long, short)))[1] == []
    both = Facts(tracks=(long, Tracked("truck", 5_000, 15_000), Tracked("car", 0, 60_000)))
    assert lines(score(rules(convoy), both)[1]) == ["convoy: 3.000 (2 followed, 0:05 to 0:48)"]


def test_a_tag_counts_by_whoever_set_it():
    fire = {"name": "fire", "kind": "tagged", "any_of": ["fire"], "weight": "2"}
    by_model, by_person = Facts(tags={"fire": D("0.7")}), Facts(marked=("Fire",))
    assert lines(score(rules(fire), by_model)[1]) == ["fire: 2.000 (fire 0.70)"]
    assert [r.machine for r in score(rules(fire), by_person)[1]] == [False]
    assert score(rules(fire | {"by": "people"}), by_model)[1] == []
    assert score(rules(fire | {"by": "models"}), by_person)[1] == []
    assert score(rules(fire | {"from_confidence": "0.8"}), by_model)[1] == []
    assert score(rules(seen("fire") | {"any_of": ["person"]}), Facts(tags={"person": D("0.7")}))[0] == D(
        "2.000"
    )


def test_words_are_found_in_pictures_and_notes_in_any_writing():
    clinic = {"name": "clinic", "kind": "written", "words": ["HOSPITAL", "مستشفى"], "weight": "3"}
    read = Facts(texts=(Written("Al-Ｈospital gate", True, 0, D("0.9")),))
    noted = Facts(texts=(Written("قرب المستشفى", False),))
    assert lines(score(rules(clinic), read)[1]) == ["clinic: 3.000 (read in it: HOSPITAL)"]
    assert [(r.why, r.machine) for r in score(rules(clinic), noted)[1]] == [("noted: مستشفى", False)]
    for said in ("مُسْتَشْفَى الأمل", "مستشفي", "مســتشفى"):
        assert score(rules(clinic), Facts(texts=(Written(said, False),)))[0] == D("3.000"), said
    dated = clinic | {"words": ["أم 2026", "مدرسه"]}
    for said in ("ام ٢٠٢٦", "المدرسة"):
        assert score(rules(dated), Facts(texts=(Written(said, False),)))[0] == D("3.000"), said
    assert score(rules(clinic | {"where": "notes"}), read)[1] == []
    assert score(rules(clinic | {"where": "pictures"}), noted)[1] == []
    assert score(rules(clinic), Facts(texts=(Written("hospital", True, 0, D("0.1")),)))[1] == []


def test_where_it_was_captured_is_in_a_box_or_near_enough():
    bridge = {"name": "bridge", "kind": "place", "near": ["33.5", "36.3"], "km": "2", "weight": "2"}
    here = Facts(places=(Place(D("33.51"), D("36.3"), established=True),))
    assert lines(score(rules(bridge), here)[1]) == ["bridge: 2.000 (established 1.1 km away)"]
    assert score(rules(bridge | {"km": "1"}), here)[1] == [] and score(rules(bridge), Facts())[1] == []
    strait = {"name": "strait", "kind": "place", "box": ["-20", "170", "-10", "-170"], "weight": "1"}
    for longitude, inside in (("175", True), ("-175", True), ("0", False)):
        found = score(rules(strait), Facts(places=(Place(D("-15"), D(longitude), established=False),)))[1]
        assert [r.why for r in found] == ["claimed inside the box"] * inside


def test_a_source_and_a_span_of_days_count_as_they_are_stated():
    heron = {"name": "heron", "kind": "from_source", "sources": ["S-01"], "weight": "1"}
    assert score(rules(heron), Facts(source="S-01"))[0] == D("1.000")
    assert score(rules(heron), Facts(source="S-02"))[1] == score(rules(heron), Facts())[1] == []
    week = {"name": "week", "kind": "captured", "since": "2026-05-01", "until": "2026-05-07", "weight": "1"}
    for day, inside in ((date(2026, 4, 30), 0), (date(2026, 5, 1), 1), (date(2026, 5, 7), 1), (None, 0)):
        assert score(rules(week), Facts(captured_on=day))[0] == inside


@pytest.mark.parametrize(
    ("criterion", "words"),
    [
        ({"kind": "tracked", "any_of": ["truck"], "weight": "1", "seconds": -1}, "seconds is a whole number"),
        ({"kind": "tracked", "any_of": ["leviathan"], "weight": "1"}, "'leviathan'"),
        ({"kind": "tagged", "any_of": ["x"], "weight": "1", "by": "ghosts"}, "by is one of models, people"),
        ({"kind": "written", "words": [], "weight": "1"}, "words is a list"),
        ({"kind": "written", "words": ["x"], "weight": "1", "where": "sky"}, "where is one of"),
        ({"kind": "written", "words": ["x", "ــ"], "weight": "1"}, "no letter or digit"),
        ({"kind": "from_source", "sources": "S-01", "weight": "1"}, "sources is a list"),
        ({"kind": "place", "weight": "1"}, "either a box, or near and km"),
        ({"kind": "place", "weight": "1", "near": ["91", "0"], "km": "1"}, "near is latitude and longitude"),
        ({"kind": "place", "weight": "1", "near": ["1", "0"], "km": "0"}, "km is a number"),
        ({"kind": "place", "weight": "1", "box": ["2", "0", "1", "1"]}, "box is south"),
        ({"kind": "captured", "weight": "1"}, "since or until"),
        ({"kind": "captured", "weight": "1", "since": "2026-5-1"}, "since is a day"),
        ({"kind": "captured", "weight": "1", "since": "2026-05-02", "until": "2026-05-01"}, "lies after"),
    ],
)
def test_every_new_kind_of_criterion_names_its_faults(criterion, words):
    with pytest.raises(BadInput, match=words):
        rules({"name": "x"} | criterion)
