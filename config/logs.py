"""Structured logs, one JSON object a line on stderr. They hold ids, never names, file names or metadata."""

import logging
import logging.config
from typing import Any

import structlog

ALLOWED = frozenset(
    "event level logger timestamp method route status ms person job id attempt count error_type code queue "
    "worker exception model pid port size".split()
)


def only_known_fields(logger: Any, method: str, event: dict) -> dict:
    """Drop every field that is not on the list: what we did not think of may be a name."""
    return {key: value for key, value in event.items() if key in ALLOWED}


def type_and_place_only(logger: Any, method: str, event: dict) -> dict:
    """Reduce an exception to its type and the places in the code; its message may quote a file name."""
    info = event.pop("exc_info", None)
    if info is True:
        import sys

        info = sys.exc_info()
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if info and info[0] is not None:
        places, trace = [], info[2]
        while trace is not None:
            code = trace.tb_frame.f_code
            places.append(f"{code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}")
            trace = trace.tb_next
        event["exception"] = f"{info[0].__name__} at {' > '.join(places[-8:])}"
        event["error_type"] = info[0].__name__
    return event


def from_libraries(logger: Any, method: str, event: dict) -> dict:
    """Keep a library's constant message, not the values that it was formatted with."""
    record = event.get("_record")
    if record is not None:
        for name in ALLOWED & set(vars(record)):
            event.setdefault(name, getattr(record, name))
        if not record.name.startswith("amparo"):
            event["event"] = (
                str(record.msg)[:200] if record.args or record.name.startswith("django") else event["event"]
            )
        elif isinstance(record.msg, str):
            event["event"] = record.msg
    return event


def configure(settings: dict[str, Any]) -> None:
    """Set up logging for web, worker and commands."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    tail = [type_and_place_only, only_known_fields, structlog.processors.JSONRenderer()]
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "json": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": [*shared, from_libraries],
                    "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail],
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
            "root": {"handlers": ["stderr"], "level": settings["level"]},
            "loggers": {
                "django.request": {"level": "ERROR"},
                "django.server": {"level": "ERROR"},
                "axes": {"level": "WARNING"},
                "kombu": {"level": "ERROR"},
                "faiss": {"level": "WARNING"},
                "fontTools": {"level": "WARNING"},
                "weasyprint": {"level": "ERROR"},
            },
        }
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
