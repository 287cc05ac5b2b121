"""What our commands share: our errors become a sentence and an exit status, not a traceback."""

import sys
import traceback
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from archive.errors import AmparoError

CRASHED = 70  # EX_SOFTWARE of sysexits.h


class Command(BaseCommand):
    """A command whose `work` may raise AmparoError. Exit status 2: it could not be done; 70: the program is at fault."""

    def run_from_argv(self, argv: list[str]) -> None:
        """As Django, but a crash never ends with a status that a command uses for an answer."""
        try:
            super().run_from_argv(argv)
        except Exception:  # noqa: BLE001 - shown whole, and given a status of its own
            traceback.print_exc()
            sys.exit(CRASHED)

    def handle(self, *args: Any, **options: Any) -> str | None:
        try:
            return self.work(*args, **options)
        except AmparoError as error:
            raise CommandError(error.sentence, returncode=2) from error
        except DatabaseError as error:
            raise CommandError(
                f"The database cannot be used: {error}. Is this instance set up? ./run makes one; AMPARO_DATA and "
                "DATABASE_URL name another.",
                returncode=2,
            ) from error
        except KeyboardInterrupt:
            self.stderr.write("Stopped. What was confirmed is kept; the same command goes on from there.")
            sys.exit(130)

    def work(self, *args: Any, **options: Any) -> str | None:
        """Do what the command is for."""
        raise TypeError(f"{type(self).__module__} has no work()")
