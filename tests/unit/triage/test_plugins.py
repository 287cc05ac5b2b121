"""Analysers of other packages: found, off until named, and their code runs in the confined process alone."""

import io
import sys
from pathlib import Path

import pytest

from archive.errors import ModelUnavailable
from config.checks import named_analysers_are_there
from tests import cast
from triage import analysers, plugins, registry
from triage.runtimes.process import ModelProcess, Work

PLUGIN = Path(__file__).resolve().parents[2] / "contracts" / "plugin"


@pytest.fixture
def there(monkeypatch):
    """The tests' package is installed."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    plugins._named.cache_clear()
    yield PLUGIN / "amparo_brightness" / plugins.FILE
    plugins._named.cache_clear()


def test_it_is_found_and_stays_off_until_it_is_named(there, settings):
    (found,) = [plugin for plugin in plugins.installed() if plugin.name == "brightness"]
    assert (found.package, found.file, found.fault) == ("amparo-brightness 1.0", there, "")
    assert "brightness" not in analysers.registered()
    settings.ANALYSERS = ("brightness",)
    cls = analysers.registered()["brightness"]
    assert (cls.version, cls.task, cls.classes, cls.takes.side) == (1, "classify", ("bright", "dark"), 64)
    assert "brightness" in [a.name for a in analysers.plan([])]
    assert named_analysers_are_there(None) == []


def test_its_code_runs_in_the_confined_process_and_nowhere_else(there, settings, tmp_path, monkeypatch):
    """Guards promise: naming a plug-in lets its code near pictures, and near nothing else."""
    settings.ANALYSERS = ("brightness",)
    for name in (
        "amparo_brightness",
        "amparo_brightness.look",
    ):  # another module's test may have opened it here
        monkeypatch.delitem(sys.modules, name, raising=False)
    chosen = [a for a in analysers.plan([]) if a.name == "brightness"]
    photo = cast.jpeg(64, 48)
    with ModelProcess(chosen, weights=tmp_path) as process:
        (outcome,) = process.look([Work("photo", "image", len(photo), lambda: io.BytesIO(photo), 60.0)])
    (looked,) = outcome.looked
    assert [tag.label for tag in looked.tags] in (["bright"], ["dark"], []) and looked.at_ms == (0,)
    assert not {"amparo_brightness", "amparo_brightness.look"} & set(sys.modules)


def test_one_that_is_named_and_cannot_run_is_said_at_the_start(there, settings):
    settings.ANALYSERS = ("brightness", "smoke")
    (fault,) = named_analysers_are_there(None)
    assert fault.id == "amparo.E014" and "'smoke'" in fault.msg


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ('task = "classify"', 'task = "decide"'),
        ("version = 1", 'version = "1"'),
        ('built_in = "amparo-brightness 1.0"', 'weights = "nobody-knows"'),
        ('"amparo_brightness.look:Brightness"', '"os.system"'),
        ('name = "brightness"', 'name = "../brightness"'),
        ("[[analyser]]", "[[analyser"),
    ],
)
def test_a_file_that_is_not_as_it_must_be_is_refused(tmp_path, line, instead):
    text = (PLUGIN / "amparo_brightness" / plugins.FILE).read_text()
    assert line in text
    (tmp_path / plugins.FILE).write_text(text.replace(line, instead))
    with pytest.raises((ValueError, KeyError, TypeError)):
        plugins.read(tmp_path / plugins.FILE)


@pytest.mark.parametrize("languages", ['["English!"]', "[7]"])
def test_languages_of_a_tower_are_tags_and_only_an_embedder_has_one(tmp_path, languages):
    text = (PLUGIN / "amparo_colours" / plugins.FILE).read_text()
    for file, changed in (
        ("no-language.toml", text.replace('["ar"]', languages)),
        ("no-embedder.toml", text.replace('task = "embed"', 'task = "classify"')),
    ):
        (tmp_path / file).write_text(changed)
        with pytest.raises((ValueError, TypeError)):
            plugins.read(tmp_path / file)


def test_the_worked_example_of_the_documentation_is_as_a_file_must_be(tmp_path):
    text = (PLUGIN.parents[2] / "docs" / "triage.md").read_text(encoding="utf-8")
    (tmp_path / plugins.FILE).write_text(text.split("```toml\n")[1].split("```")[0])
    declared = plugins.read(tmp_path / plugins.FILE)
    (tower,) = declared.analysers.values()
    assert tower.tower_languages == ("en", "ar", "es", "fr") and tower.weights in declared.models


def test_code_that_does_not_open_is_said_in_words(there, settings, tmp_path):
    settings.ANALYSERS = ("brightness",)
    (chosen,) = [a for a in analysers.plan([]) if a.name == "brightness"]
    package = tmp_path / "amparo_brightness"
    package.mkdir()
    (package / plugins.FILE).write_text(there.read_text())
    (package / "look.py").write_text("raise OSError('no')")
    (package / "__init__.py").write_text("")
    type(chosen).package = package
    with (
        pytest.raises(ModelUnavailable, match="AMPARO_ANALYSERS"),
        ModelProcess([chosen], weights=tmp_path) as process,
    ):
        process.start()
    plugins.read.cache_clear()


def test_a_plugin_does_not_take_the_place_of_what_comes_with_amparo(there, settings, monkeypatch):
    settings.ANALYSERS = ("brightness",)
    theirs = plugins.read(there).analysers["brightness"]
    monkeypatch.setitem(plugins.read(there).analysers, "opencv-faces", theirs)
    assert analysers.registered()["opencv-faces"].package is None
    assert registry.own().keys() <= registry.models().keys()
