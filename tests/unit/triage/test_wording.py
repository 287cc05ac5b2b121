"""Reasons that stand in events, as screens say them."""

from datetime import date
from decimal import Decimal

from django.utils import translation

from triage import scoring, versions, wording


def plain(line) -> str:
    return str(wording.reason(line)).replace("<bdi>", "").replace("</bdi>", "")


def reasons() -> list[dict]:
    facts = scoring.Facts(
        frames={
            0: {"person": (Decimal("0.9"),) * 3},
            65_000: {"person": (Decimal("0.5"),), "face": (Decimal("0.8"),)},
        },
        reliability=70,
        captured_on=date(2026, 5, 3),
        opened_on=date(2026, 5, 5),
    )
    return [reason.as_json() for reason in scoring.score(scoring.DEFAULT_RULES, facts)[1]]


def test_reasons_are_said_in_plain_english():
    said = [plain(line) for line in reasons()]
    assert "People seen: person 0.90 at 0:00" in said
    assert "Face seen: face 0.80 at 1:05" in said
    assert "Several people in one frame: 3 at once at 0:00" in said
    assert "Source reliability: 70 of 100" in said
    assert "Captured recently: captured 3 May 2026, 2 days before 5 May 2026" in said


def test_every_built_in_reason_is_said_in_arabic():
    with translation.override("ar"):
        for line in reasons():
            assert line["criterion"] not in plain(line), "the name of a built-in criterion is not translated"
        assert "of 100" not in plain(next(r for r in reasons() if "of 100" in r["why"]))
    own = {versions.LEARNED, versions.WAITED, versions.NO_MODEL}
    assert {c["name"] for c in scoring.DEFAULT_RULES["criteria"]} | own == set(wording.BUILT_IN)


def test_names_and_words_of_analysts_stay_as_they_are_and_cannot_be_markup():
    line = {"criterion": "<b>Uniforms</b> at 3:00", "why": "a <i>new</i> sentence"}
    with translation.override("ar"):
        assert plain(line) == "&lt;b&gt;Uniforms&lt;/b&gt; at 3:00: a &lt;i&gt;new&lt;/i&gt; sentence"
