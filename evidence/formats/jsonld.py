"""A JSON-LD graph written entity by entity, one a line, so that memory stays the same."""

import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any


class Graph:
    """An open file: a context and a graph. Keys keep their order, so that the same calls give the same bytes."""

    def __init__(self, file: Path, context: Any) -> None:
        self._file, self._first = file.open("x", encoding="utf-8", newline="\n"), True
        self._file.write(f'{{"@context":{_text(context)},"@graph":[\n')

    def add(self, entity: dict[str, Any]) -> None:
        """Add an entity without its empty properties."""
        self._begin()
        self._file.write(_text({key: value for key, value in entity.items() if value not in ("", None, [])}))

    def add_long(self, entity: dict[str, Any], key: str, values: Iterable[Any]) -> None:
        """Add an entity with one more property, a list that need not fit into memory."""
        self._begin()
        self._file.write(f"{_text(entity)[:-1]},{_text(key)}:[")
        for index, value in enumerate(values):
            self._file.write(f"{',' if index else ''}{_text(value)}")
        self._file.write("]}")

    def _begin(self) -> None:
        self._file.write("" if self._first else ",\n")
        self._first = False

    def __enter__(self) -> "Graph":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._file.write("\n]}\n")
        self._file.close()


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def ref(name: str) -> dict[str, str]:
    """A reference to another entity."""
    return {"@id": name}
