"""How a question's queue is put together, when its order is made again, and when alerts are looked for.

Nobody waits for either: a job does it.
"""

from dataclasses import asdict, dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from archive import access, custody, jobs
from archive.custody import Actor
from archive.errors import BadInput, NotAllowed
from archive.models import Case, Decision, Job
from triage.models import Answer, Ordering, Question, Ranking, Subscription


@dataclass(frozen=True)
class Settings:
    """How a queue is put together: percent drawn by lot, answers to the next version, days of waiting for one point."""

    audit_percent: int = 5
    refit_after: int = 5
    waiting_days: int = 10

    def as_json(self) -> dict[str, int]:
        """For storage."""
        return asdict(self)


def settings_of(question: Question) -> Settings:
    """Those in force."""
    row = Ordering.objects.filter(question=question).order_by("-at", "-pk").first()
    return Settings(row.audit_percent, row.refit_after, row.waiting_days) if row else Settings()


def set_settings(
    *,
    question: Question,
    actor: Actor,
    audit_percent: int,
    refit_after: int = 5,
    waiting_days: int = 10,
    reason: str = "",
) -> Ordering:
    """Change how a question's queue is put together, from now on. Raises NotAllowed, BadInput; then nothing changed."""
    _require_person(actor, question.case)
    if not (0 <= audit_percent <= 50 and 1 <= refit_after <= 1000 and 1 <= waiting_days <= 3650):
        raise BadInput(
            "The share by lot is 0 to 50 percent, a new order comes after 1 to 1000 answers, and a point after 1 to 3650 "
            "days of waiting. Nothing was changed."
        )
    with transaction.atomic(durable=True):
        row = custody.write(
            Ordering(
                question=question,
                audit_percent=audit_percent,
                refit_after=refit_after,
                waiting_days=waiting_days,
                by=actor.user,
                at=timezone.now(),
            ),
            event="case.ordering_changed",
            actor=actor,
            reason=reason,
        )
        ask(question)
    return row


def _require_person(actor: Actor, case: Case) -> None:
    if not actor.signed_in or actor.user is None:
        raise NotAllowed("Only a signed-in person can do this.")
    access.require(actor, "edit_criteria", case)


# --- asking for a new order --------------------------------------------------------------------------------------


def newest(question: Question) -> Ranking | None:
    """The version of a question's order that counts; None until the first is made."""
    return Ranking.objects.filter(question=question).order_by("-number").first()


def ask(question: Question) -> None:
    """Ask for a new version of a question's order. In the caller's transaction."""
    jobs.enqueue("triage.rank", subject=question, once=True, payload={"question": question.number})


def answered(question: Question) -> None:
    """An answer came in: ask for a new version if it is time for one. In the caller's transaction."""
    version = newest(question)
    if version is None or answers_since(question, version.at) >= settings_of(question).refit_after:
        ask(question)


def answers_since(question: Question, at: datetime) -> int:
    """How many answers were given after a moment, those taken back too."""
    if question.number == Question.MAIN:
        return Decision.objects.filter(item__case_id=question.case_id, at__gt=at).count()
    return Answer.objects.filter(question=question, at__gt=at).count()


# --- asking for alerts --------------------------------------------------------------------------------------------


def compare(case: Case) -> None:
    """Have a case's items compared soon with what people want to be told of. In the caller's transaction."""
    if not Subscription.objects.filter(case=case, ended_at=None).exists():
        return
    if jobs.enqueue("triage.alerts", subject=case, once=True) is None:
        waiting = Job.objects.filter(name="triage.alerts", case=case, state=Job.State.QUEUED)
        if not waiting.exists():  # the one that runs may have looked already
            jobs.enqueue("triage.alerts", subject=case)
