"""Analysers that other packages bring. Found through entry points; off until an administrator names them.

A package offers one by an entry point of the group `amparo.analysers` whose value is the name of a Python package with a
file `amparo.toml`. That file declares what in Amparo is declared by class attributes and models.toml (docs/triage.md).
Only the file is read here. The code behind it is imported in the confined model process and nowhere else.
"""

import importlib
import importlib.metadata
import importlib.util
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any

from archive.errors import ModelUnavailable
from triage import registry
from triage.analysers.base import Analyser, Frames, Task
from triage.registry import ModelEntry

GROUP = "amparo.analysers"
FILE = "amparo.toml"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,59}\Z")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*\Z", re.ASCII)
_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*\Z", re.ASCII)


class PluginUnusable(ModelUnavailable):
    """The code of a plug-in cannot be opened."""


@dataclass(frozen=True)
class Declared:
    """What a package's file says: its models by name, and its analysers as classes without code."""

    models: dict[str, ModelEntry]
    analysers: dict[str, type[Analyser]]


@dataclass(frozen=True)
class Plugin:
    """An installed package that offers analysers. `fault` says why it cannot be used; empty when it can."""

    name: str
    package: str
    file: Path | None
    fault: str = ""


def installed() -> list[Plugin]:
    """Every installed plug-in by name, whether named in the settings or not. Nothing of theirs is imported."""
    found: dict[str, Plugin] = {}
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda p: (p.name, p.value)):
        held = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
        spec = importlib.util.find_spec(point.value) if point.value.isidentifier() else None
        folders = list(spec.submodule_search_locations or []) if spec else []
        if not folders:
            found[point.name] = Plugin(point.name, held, None, f"{point.value} is no top-level package.")
            continue
        file = Path(folders[0]) / FILE
        try:
            read(file)
        except (OSError, ValueError, KeyError, TypeError, InvalidOperation) as error:
            found[point.name] = Plugin(point.name, held, None, f"{file} is not as it must be: {error!r}.")
        else:
            found[point.name] = Plugin(point.name, held, file)
    return list(found.values())


_given: tuple[Path, ...] | None = None


def files() -> tuple[Path, ...]:
    """The files of the plug-ins that are on: those that settings name, or in the model process those it was told."""
    if _given is not None:
        return _given
    from django.conf import settings

    return _named(tuple(settings.ANALYSERS))


@cache
def _named(names: tuple[str, ...]) -> tuple[Path, ...]:
    return tuple(p.file for p in installed() if p.name in names and p.file) if names else ()


def faults(names: Iterable[str]) -> list[str]:
    """Why plug-ins that settings name cannot run, one sentence each."""
    known = {plugin.name: plugin for plugin in installed()} if names else {}
    return [
        known[name].fault if name in known else f"No installed package offers analysers as {name!r}."
        for name in names
        if name not in known or known[name].fault
    ]


def models() -> dict[str, ModelEntry]:
    """The models that plug-ins which are on bring with them."""
    return {name: entry for file in files() for name, entry in read(file).models.items()}


def analysers() -> dict[str, type[Analyser]]:
    """Their analysers: declarations here, with their code in the model process."""
    return {name: cls for file in files() for name, cls in read(file).analysers.items()}


def take(given: Iterable[str]) -> None:
    """In the model process: these are on, and their code may be imported when it is needed."""
    global _given
    _given = tuple(Path(file) for file in given)


@cache
def read(file: Path) -> Declared:
    """What a file declares. Raises OSError, ValueError, KeyError, TypeError for one that is not as it must be."""
    data = tomllib.loads(file.read_text(encoding="utf-8"))
    entries = registry.entries(data, file)
    found: dict[str, type[Analyser]] = {}
    for row in data["analyser"]:
        cls = _declare(row, file, data.get("classes", {}))
        if cls.weights and cls.weights not in entries and cls.weights not in registry.own():
            raise ValueError(f"{cls.name} wants weights that are not registered")
        found[cls.name] = cls
    return Declared(entries, found)


def _declare(row: dict[str, Any], file: Path, classes: dict[str, Any]) -> type[Analyser]:
    """A class with the attributes that a row says, and code that is fetched when it is opened."""
    name, code = row["name"], row["class"]
    if not _NAME.match(name) or not _CLASS.match(code) or type(row["version"]) is not int:
        raise ValueError(f"name, version or class of {name!r}")
    if bool(row.get("weights")) == bool(row.get("built_in")):
        raise ValueError(f"{name} names either its weights or what it comes inside")
    own = {
        "name": name,
        "version": row["version"],
        "task": Task(row["task"]),
        "takes": Frames(**row["frames"]) if "frames" in row else None,
        "weights": row.get("weights", ""),
        "built_in": row.get("built_in", ""),
        "licence": row.get("licence", ""),
        "width": row.get("width", 0),
        "reads_facts": row.get("reads_facts", False) is True,
        "tower_languages": _languages(row),
        "classes": registry.classes_of(classes[row["classes"]], file) if "classes" in row else (),
        "thresholds": {key: str(value) for key, value in row.get("thresholds", {}).items()},
        "package": file.parent,
        "code": code,
        "__doc__": row["title"],
    }
    return type(name, (_Elsewhere,), own)


def _languages(row: dict[str, Any]) -> tuple[str, ...]:
    """Those of a text tower, which an embedder alone can have."""
    languages = tuple(row.get("tower_languages", ()))
    if languages and row["task"] != Task.EMBED or not all(map(_LANGUAGE.match, languages)):
        raise ValueError(f"tower_languages of {row['name']!r}")
    return languages


class _Elsewhere(Analyser):
    """An analyser whose code lies in its package."""

    code = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """In the model process, an object of the package's own class with what was declared; else the declaration."""
        if _given is None:
            return super().__new__(cls)
        module, _, name = cls.code.partition(":")
        try:
            theirs = getattr(importlib.import_module(module), name)
        except Exception as error:  # noqa: BLE001  a stranger's code: whatever it raises, it cannot be used
            raise PluginUnusable(
                f"The plug-in {cls.name} has no {cls.code} that works: {error!r}."
            ) from error
        declared = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__")}
        made = type(cls.__name__, (theirs,), declared)
        ours = made.__new__(made)
        ours.__init__(*args, **kwargs)
        return ours
