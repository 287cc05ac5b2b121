"""A review of several versions, its ranks made again: the same order, the same reasons."""

import io

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from archive.models import Decision
from tests import cast
from tests.unit.triage import looked
from triage import pipeline, questions, queue, ranking, review, versions
from triage.models import Ranking

pytestmark = [pytest.mark.django_db, pytest.mark.embedded]  # a minute; tests/unit replays on every database
RULES = {
    "format": 1,
    "criteria": [
        {"name": "The bridge", "kind": "tagged", "any_of": ["bridge"], "weight": "1"},
        {"name": "Source reliability", "kind": "source", "weight": "1"},
    ],
}


def test_a_thousand_stored_ranks_are_made_again_to_the_digit():
    """Every rank that a person was shown, over many versions, a change of rules and items that came in meanwhile."""
    ranking.forget()
    versions._open.clear()
    person = cast.person("researcher")
    case, actor = cast.case(owner=person), cast.signed_in(person)
    looked.two_kinds(case, 1000, yes_every=10)
    question = questions.main(case)
    ranking.make(question, seed=1)
    rng = np.random.default_rng(0)
    for read in range(1000):
        item = queue.next_item(case, person, question=question)
        yes = (item.number % 10 == 1) != (rng.random() < 0.03)
        review.decide(
            item=item,
            actor=actor,
            value="relevant" if yes else "not_relevant",
            shown=queue.shown(item, question),
        )
        if read == 300:
            pipeline.set_criteria(case=case, actor=actor, name="Bridge", rules=RULES)
        if read == 500:
            looked.two_kinds(case, 50, seed=2)
        if read % 25 == 24:
            ranking.make(question, seed=read)
    assert Ranking.objects.count() == 41
    came = [shown["came"] for shown in Decision.objects.values_list("shown", flat=True)]
    assert 20 < came.count("lot") < 90, "about one in twenty"
    out = io.StringIO()
    ranking.forget()
    call_command("triage", "replay", "--last", "1000", stdout=out)
    assert "1000 stored ranks made again: the same order, scores and reasons" in out.getvalue()
    decision = Decision.objects.order_by("-at").first()
    stale = {**decision.shown, "score": "9.999"}
    review.decide(item=decision.item, actor=actor, value="relevant", shown=stale)
    with pytest.raises(CommandError, match="1 differences"):
        call_command("triage", "replay", "--last", "1", stdout=out)
    assert "its score in version" in out.getvalue()
