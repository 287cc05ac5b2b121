"""What our commands share: our errors become a sentence and an exit status, not a traceback."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from archive.errors import AmparoError


class Command(BaseCommand):
    """A command whose `work` may raise AmparoError."""

    def handle(self, *args: Any, **options: Any) -> str | None:
        try:
            return self.work(*args, **options)
        except AmparoError as error:
            raise CommandError(error.sentence, returncode=2) from error
        except KeyboardInterrupt:
            self.stderr.write("Stopped. What was confirmed is kept; the same command goes on from there.")
            sys.exit(130)

    def work(self, *args: Any, **options: Any) -> str | None:
        """Do what the command is for."""
        raise TypeError(f"{type(self).__module__} has no work()")
