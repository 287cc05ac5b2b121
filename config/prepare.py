"""What an instance needs before its first request, and what the person who starts it needs to know.

    python -m config.prepare translations    the .mo files (also when an image is built)
    python -m config.prepare instance        folder, keys, database, translations, static files, and the weights that
                                             MODEL_MIRROR holds, where it is set
    python -m config.prepare welcome URL     the demo, once; prints where to go and how to sign in

Each is safe to repeat: what is there stays as it is.
"""

import io
import sys
from collections.abc import Callable

import django
from django.conf import settings
from django.core.management import CommandError, call_command

from archive.errors import AmparoError


def main() -> int:
    """Do one step. The exit status is 0, or 1 with a sentence on stderr."""
    step, *address = sys.argv[1:]
    django.setup()
    steps: dict[str, Callable[..., None]] = {
        "translations": compile_translations,
        "instance": prepare,
        "welcome": welcome,
    }
    try:
        steps[step](*address)
    except (AmparoError, CommandError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # what was not finished is done again by the next start
        return 130
    return 0


def prepare() -> None:
    """Everything that the web server and the workers expect to find."""
    from config import instance

    instance.create()
    call_command("migrate", interactive=False, verbosity=0)
    compile_translations()
    call_command("collectstatic", interactive=False, verbosity=0)
    if settings.MODEL_MIRROR:
        fetch_weights()


def fetch_weights() -> None:
    """Install the weights that the named mirror holds. Without them the detectors inside OpenCV work."""
    try:
        call_command("models", "pull", stdout=sys.stderr)
    except CommandError as error:
        print(f"{error} Amparo starts without them.", file=sys.stderr)


def compile_translations() -> None:
    """Make each .mo file that is older than its .po file, without gettext's programs."""
    from babel.messages import mofile, pofile

    for source in sorted((settings.ROOT / "locale").glob("*/LC_MESSAGES/*.po")):
        compiled = source.with_suffix(".mo")
        if compiled.exists() and compiled.stat().st_mtime >= source.stat().st_mtime:
            continue
        part = compiled.with_suffix(".part")
        with source.open("rb") as po, part.open("wb") as mo:
            mofile.write_mo(mo, pofile.read_po(po))
        part.replace(compiled)


def welcome(url: str) -> None:
    """Load the demo and say where to go and how to sign in: once for an instance."""
    from config.instance import write_private

    kept, printed, link = settings.DATA_DIR / "sign-ins.txt", io.StringIO(), io.StringIO()
    call_command("demo", stdout=printed)
    call_command("signin_link", stdout=link)
    if passwords := printed.getvalue().rstrip():
        kept.unlink(missing_ok=True)
        write_private(kept, f"{passwords}\n".encode())
    print(f"""
  Amparo     {url}
  Sign in    {url.rstrip("/")}{link.getvalue().strip()}
             (the first administrator; works once, within 24 hours)

  It holds a demonstration. One sign-in for each role, with its password:

{passwords or "  (made by an earlier start; ./manage signin_link NAME lets one of them in)"}

  The passwords are shown this once and kept in {kept};
  delete that file when you know them.
  Any command on this instance:  AMPARO_DATA={settings.DATA_DIR} .venv/bin/python manage.py COMMAND
""")


if __name__ == "__main__":
    sys.exit(main())
