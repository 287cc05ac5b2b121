"""What custody-relevant rows have in common."""

from django.db import models


class Custodial(models.Model):
    """A row whose every change leaves an event on `custody_subject()`.

    `recorded` names the fields that the event states openly, `private` those that it only commits to,
    `derived` those that can be rebuilt and are not in the log. Together they name every field.
    """

    recorded: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()

    class Meta:
        abstract = True

    def custody_subject(self) -> str:
        """The chain ("type:id") that this row's events belong to."""
        raise TypeError(f"{type(self).__name__} names no custody subject")


class LogTable(models.Model):
    """A table of the log itself: written by archive.custody alone, append-only where a trigger says so."""

    class Meta:
        abstract = True
