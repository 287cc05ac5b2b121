"""What is unsafe, with an id and what to do. Errors here stop a production start."""

import re
import stat
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register, run_checks
from django.core.exceptions import ImproperlyConfigured


@register("amparo")
def production_is_safe(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Refuse a production start with debug on, a default key, plain HTTP cookies or an embedded database."""
    if not settings.PRODUCTION:
        return []
    rules = [
        (settings.DEBUG, "E001", "Debug is on.", "Unset DEBUG."),
        (
            settings.SECRET_KEY.startswith("insecure") or len(settings.SECRET_KEY) < 40,
            "E002",
            "SECRET_KEY is missing, a default or too short.",
            "Set SECRET_KEY_FILE to a file with 50 or more random characters.",
        ),
        (
            not settings.ORIGIN.startswith("https://"),
            "E003",
            "Cookies would travel over plain HTTP.",
            "Set AMPARO_ORIGIN to the https:// address that people open.",
        ),
        (
            "*" in settings.ALLOWED_HOSTS,
            "E004",
            "Any host name is answered.",
            "Name the hosts in AMPARO_ALLOWED_HOSTS.",
        ),
        (
            settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"),
            "E005",
            "Production runs on PostgreSQL; DATABASE_URL names SQLite.",
            "Set DATABASE_URL=postgres://user:password@host/name.",
        ),
        (
            not settings.CELERY_BROKER_URL,
            "E006",
            "Production needs a broker that several machines can reach.",
            "Set CELERY_BROKER_URL to Redis (rediss://...) or RabbitMQ (amqps://...).",
        ),
    ]
    return [Error(what, hint=hint, id=f"amparo.{number}") for bad, number, what, hint in rules if bad]


@register("amparo")
def keys_are_private(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Key files that others can read are an error everywhere."""
    found: list[CheckMessage] = []
    keys = ("VAULT_KEY_FILE", "MAP_KEY_FILE", "SIGNING_KEY_FILE", "SIGNING_ML_DSA_KEY_FILE")
    for path in (getattr(settings, name) for name in keys):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            found.append(
                Error(f"{path.name} can be read by others.", hint=f"Run: chmod 600 {path}", id="amparo.E010")
            )
    return found


@register("amparo")
def log_name_can_be_signed(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """The log's name is a key name of signed notes, and in a statement that has one byte for its length."""
    name = settings.NAME_IN_LOG
    if re.fullmatch(r"[^\s+\x00-\x1f]+", name) and len(name.encode()) <= 180:
        return []
    return [
        Error(
            "The log's name cannot stand on a signature line.",
            hint="Set AMPARO_LOG_NAME to 1 to 180 bytes without spaces and plus, such as archive.example.org.",
            id="amparo.E013",
        )
    ]


@register("amparo")
def second_copy_is_apart(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """A second copy in the vault itself is none; a store is asked with its own account and no other."""
    address = settings.SECOND_COPY
    if not address:
        return []
    if address.startswith("s3://"):
        _endpoint, _region, key_id, secret = settings.SECOND_COPY_ACCOUNT
        if not (key_id and secret):
            return [
                Error(
                    "The store of the second copy has no account.",
                    hint="Set AMPARO_SECOND_COPY_KEY_ID and AMPARO_SECOND_COPY_SECRET_FILE.",
                    id="amparo.E011",
                )
            ]
        return []
    place, held = Path(address).absolute(), Path(settings.VAULT_DIR).absolute()
    if place == held or held in place.parents or place in held.parents:
        return [
            Error(
                "The second copy lies in the vault's own folder, or around it.",
                hint="Name a folder on another disk in AMPARO_SECOND_COPY.",
                id="amparo.E012",
            )
        ]
    return []


@register("amparo")
def named_analysers_are_there(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """A plug-in that is named and cannot run would leave out what somebody counts on."""
    from triage import plugins

    hint = (
        "See ./manage models list, and docs/triage.md, 'Plug-ins'. Or take the name out of AMPARO_ANALYSERS."
    )
    return [Error(fault, hint=hint, id="amparo.E014") for fault in plugins.faults(settings.ANALYSERS)]


@register("amparo")
def languages_are_known(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Text in a language that nobody reads would be missed without a word."""
    from triage import registry

    unknown = [name for name in settings.TEXT_LANGUAGES if name not in registry.languages()]
    hint = f"Known are {', '.join(registry.languages())}. Empty: no text is read in pictures."
    fault = f"AMPARO_TEXT_LANGUAGES names {', '.join(unknown)}, which no reader here knows."
    return [Error(fault, hint=hint, id="amparo.E015")] if unknown else []


def refuse_unsafe() -> None:
    """Raise ImproperlyConfigured with every fault and its remedy. Commands check by themselves; servers call this."""
    if found := run_checks(tags=["amparo"]):
        faults = "\n".join(f"  {fault.id}  {fault.msg} {fault.hint}" for fault in found)
        raise ImproperlyConfigured(f"Amparo does not start, because this is unsafe:\n{faults}")
