"""Translations are compiled without gettext's programs, and only when they are older than their source."""

import gettext
import os

import pytest

from config import prepare

PO = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\nmsgid "Case"\nmsgstr "{}"\n'


@pytest.fixture
def source(settings, tmp_path):
    settings.ROOT = tmp_path
    path = tmp_path / "locale/ar/LC_MESSAGES/django.po"
    path.parent.mkdir(parents=True)
    path.write_text(PO.format("قضية"))
    return path


def translated(source):
    with source.with_suffix(".mo").open("rb") as compiled:
        return gettext.GNUTranslations(compiled).gettext("Case")


def test_translations_are_compiled(source):
    prepare.compile_translations()
    assert translated(source) == "قضية"


def test_translations_are_compiled_again_only_when_they_changed(source):
    prepare.compile_translations()
    made = source.with_suffix(".mo").stat().st_mtime_ns
    prepare.compile_translations()
    assert source.with_suffix(".mo").stat().st_mtime_ns == made
    source.write_text(PO.format("ملف"))
    os.utime(source, ns=(made + 10**9, made + 10**9))
    prepare.compile_translations()
    assert translated(source) == "ملف"
