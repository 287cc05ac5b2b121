"""How far the making of a bundle is: told to the row that screens read, and to whoever asked for it at the shell."""

import time

from django.conf import settings
from django.utils import timezone

from archive.custody import Actor
from archive.custody.anchors import cosigned_note
from archive.custody.policy import evaluate, read_policy
from archive.custody.publish import publish
from archive.errors import Conflict
from archive.models import Checkpoint
from archive.vault import Progress, silent
from evidence.models import Bundle, BundleWork

EVERY_S = 1.0


class NotWitnessed(Conflict):
    """The checkpoint lacks what the policy asks for."""

    code = "not-witnessed"


class Stopped(Exception):
    """Somebody cancelled the bundle while it was being made."""


class Work:
    """One attempt at making a bundle. Call it as any progress; it raises Stopped once the bundle was cancelled."""

    def __init__(self, bundle: Bundle, also: Progress = silent) -> None:
        self.bundle, self._also, self._told, self._step = bundle, also, 0.0, ""
        self.row, _ = BundleWork.objects.get_or_create(bundle=bundle, defaults={"beat_at": timezone.now()})

    def __call__(self, step: str, done: int, total: int | None = None) -> None:
        self._also(step, done, total)
        now = time.monotonic()
        if step == self._step and now - self._told < EVERY_S and done != total:
            return
        self._told, self._step = now, step
        self._tell(step=step, done=done, total=total)
        if not Bundle.objects.filter(pk=self.bundle.pk, state__in=UNFINISHED).exists():
            raise Stopped

    def volume(self, number: int, of: int) -> None:
        """Say which volume comes next."""
        self._tell(volume=number, volumes=of)

    def checkpoint(self, actor: Actor) -> Checkpoint:
        """The checkpoint that all of the bundle is cut at: made by the first attempt, kept by later ones.

        Raises NotWitnessed where it does not meet the policy that the settings name.
        """
        if self.row.checkpoint_id is None:
            self("publish", 0)
            made = publish(actor=actor)
            _require_witnessed(made)
            self._tell(checkpoint=made)
        return Checkpoint.objects.select_related("map__event__position").get(pk=self.row.checkpoint_id)

    def _tell(self, **fields: object) -> None:
        for name, value in fields.items():
            setattr(self.row, name, value)
        BundleWork.objects.filter(pk=self.row.pk).update(beat_at=timezone.now(), **fields)


def _require_witnessed(checkpoint: Checkpoint) -> None:
    if settings.POLICY_FILE is None:
        return
    verdict = evaluate(read_policy(settings.POLICY_FILE), cosigned_note(checkpoint), timezone.now())
    if not verdict.satisfied:
        raise NotWitnessed(
            f"The bundle is not signed: its checkpoint does not meet the policy. {' '.join(verdict.reasons)} Nothing was "
            "exported: see that these witnesses answer, and try again."
        )


UNFINISHED = (Bundle.State.REQUESTED, Bundle.State.FAILED)  # a failed one may be tried again
