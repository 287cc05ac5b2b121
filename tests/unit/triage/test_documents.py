"""docs/triage.md says what is registered, and no more."""

import re
from pathlib import Path

from triage import registry, scoring

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "triage.md").read_text()


def rows(title: str) -> list[list[str]]:
    part = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\| `.*$", part, re.M)
    ]


def test_every_registered_model_stands_on_the_page():
    written = {row[0].strip("`"): (row[2], row[3]) for row in rows("Models")}
    assert written == {entry.name: (entry.licence, entry.stage) for entry in registry.models().values()}


def test_every_kind_of_criterion_stands_on_the_page_with_its_fields():
    written = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in rows("Criteria")}
    fields = {kind: must | may for kind, (must, may) in scoring.FIELDS.items()}
    assert set(written) == set(fields)
    for kind, named in written.items():
        assert named <= fields[kind] and fields[kind] - named <= {"from_confidence", "any_of"}, kind


def test_every_kind_of_criterion_shows_its_own_fields_in_the_form():
    sheet = (Path(__file__).resolve().parents[3] / "static" / "css" / "criteria.css").read_text()
    for kind in scoring.FIELDS.keys() - {"source"}:  # which has none of its own
        assert f'.rule:has([value="{kind}"]:checked) .of.{kind}' in sheet, kind


def test_the_confidence_used_by_default_is_the_one_on_the_page():
    assert f"({scoring.DEFAULT_CONFIDENCE})" in PAGE


def test_the_numbers_of_sampling_are_those_on_the_page():
    from triage.runtimes.decode import Sampling
    from triage.runtimes.process import MAX_LANES

    sampling = Sampling()
    assert (
        (sampling.every_ms, MAX_LANES) == (1000, 4)
        and "one in every second" in PAGE
        and "at most four" in PAGE
    )
    assert f"{sampling.per_minute} a minute" in PAGE and f"{sampling.frames:,}" in PAGE
