"""Every sentence of the screens is there in every language, with the same placeholders."""

import re
from pathlib import Path

import pytest
from babel.messages import pofile
from django.conf import settings
from django.utils import translation

from archive.events import EVENTS
from archive.keys import KEYS

PLACES = re.compile(r"%\(\w+\)[sd]|%[sd]|\{\w+\}")
OTHERS = [code for code, _ in settings.LANGUAGES if code != "en"]


@pytest.fixture(params=OTHERS)
def catalogue(request):
    path = Path(settings.LOCALE_PATHS[0]) / request.param / "LC_MESSAGES" / "django.po"
    with path.open("rb") as source:
        return pofile.read_po(source)


def test_nothing_is_untranslated_or_only_guessed(catalogue):
    missing = [
        m.id
        for m in catalogue
        if m.id and (m.fuzzy or not all([m.string] if isinstance(m.string, str) else m.string))
    ]
    assert not missing, "run `manage.py makemessages -l LANGUAGE` and translate these"


def test_placeholders_are_the_same(catalogue):
    for message in catalogue:
        if not message.id or isinstance(message.id, tuple):
            continue
        assert sorted(PLACES.findall(message.id)) == sorted(PLACES.findall(message.string)), message.id


def test_plural_forms_name_no_placeholder_that_is_not_filled(catalogue):
    for message in catalogue:
        if isinstance(message.id, tuple):
            known = set(PLACES.findall(" ".join(message.id)))
            assert set(PLACES.findall(" ".join(message.string))) <= known, message.id
            assert len(message.string) == catalogue.num_plurals, message.id


def test_event_types_and_keys_are_in_the_catalogue(catalogue):
    said = {m.id for m in catalogue}
    assert {event.sentence for event in EVENTS.values()} <= said
    with translation.override("en"):
        assert {str(key.words) for key in KEYS.values()} <= said
