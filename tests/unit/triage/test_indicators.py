"""What a file says about its own making comes out as an indicator, in words, and nothing is said of what was not found."""

from decimal import Decimal

import pytest
from django.db import transaction
from django.utils import timezone

from archive import search
from archive.custody.canonical import canonical
from archive.custody.log import recording
from archive.models import Item
from tests import cast
from tests.unit.triage import looked
from triage import about, analysers, indicators, scoring, standing
from triage.analysers import About
from triage.analysers.indicator_metadata import IndicatorMetadata
from triage.facts import gather, read
from triage.models import Tagged
from triage.pipeline import recipe_of
from triage.runtimes.decode import Sampling
from triage.suggesting import Offer

CV = "http://cv.iptc.org/newscodes/digitalsourcetype/"
ARRIVED = "2026-11-21T20:00:00+00:00"


def said(tags=None, **facts):
    analyser = IndicatorMetadata()
    analyser.begin(About("image", {"tags": tags or {}, "received_at": ARRIVED, **facts}))
    return [tag.label.removeprefix(indicators.MARK) for tag in analyser.end()]


@pytest.mark.parametrize(
    ("tags", "labels"),
    [
        ({"XMP:DigitalSourceType": CV + "trainedAlgorithmicMedia"}, ["says it was made by a generator"]),
        (
            {"JUMBF:ActionsDigitalSourceType": [CV + "digitalCapture", CV + "compositeWithTrainedAlgorithmicMedia"]},
            ["says a generator made part of it"],
        ),
        ({"XMP:DigitalSourceType": CV + "digitalCapture"}, []),
        ({"PNG:Parameters": "a hospital, Steps: 20, Sampler: Euler"}, ["names a generator"]),
        ({"XMP:AISystemUsed": "some system"}, ["names a generator"]),
        ({"EXIF:Software": "NovelAI"}, ["names a generator"]),
        ({"EXIF:Software": "Adobe Photoshop CS5 Macintosh"}, ["names an editor"]),
        ({"XMP:HistorySoftwareAgent": ["Adobe Photoshop 24.0", "Adobe Photoshop 24.1"]}, ["names an editor"]),
        ({"XMP:Credit": "Imagen: Sora, agencia de prensa"}, []),  # words of other languages, names of people
        ({"EXIF:Software": "HDR+ 1.0.345618096zd", "EXIF:Model": "Pixel 4a"}, []),
        (
            {"EXIF:DateTimeOriginal": "2026:03:04 10:00:00", "EXIF:ModifyDate": "2026:03:02 10:00:00"},
            ["captured after it was last written"],
        ),
        ({"EXIF:DateTimeOriginal": "2026:03:04 10:00:00", "EXIF:ModifyDate": "2026:03:03 09:00:00"}, []),
        ({"EXIF:DateTimeOriginal": "2027:03:04 10:00:00"}, ["captured after it came in"]),
        ({"EXIF:DateTimeOriginal": "0000:99:99 99:99:99", "EXIF:ModifyDate": ["x"], "EXIF:Software": 7}, []),
    ],
)  # fmt: skip
def test_what_a_file_says_of_its_making(tags, labels):
    assert said(tags) == labels


def test_a_c2pa_record_is_told_by_whether_it_fits_and_by_whom():
    record = {"source_types": [CV + "trainedAlgorithmicMedia"], "generators": ["ChatGPT"]}
    generated = "says it was made by a generator"
    assert said(c2pa={**record, "state": "invalid"}) == [generated, "C2PA record does not fit the file"]
    assert said(c2pa={**record, "state": "valid"}) == [generated, "C2PA record fits, signer not known"]
    assert said(c2pa={"state": "trusted"}) == ["C2PA record fits, signer known"]
    assert said(c2pa={"state": "unreadable", "said": "x"}) == ["C2PA record cannot be read"]


def test_a_thumbnail_is_compared_by_light_and_dark():
    picture, brighter, other = (
        bytes(range(256)),
        bytes(v // 2 + 90 for v in range(256)),
        bytes(range(256))[::-1],
    )
    shown = {"width": 160, "height": 120, "of_picture": picture.hex()}
    assert said(thumbnail={**shown, "cells": brighter.hex()}) == []
    assert said(thumbnail={**shown, "cells": other.hex()}) == ["its thumbnail shows something else"]
    assert said(thumbnail={**shown, "cells": bytes(256).hex()}) == []  # nothing to compare
    assert said(thumbnail={**shown, "cells": "no hex"}) == said(thumbnail={"cells": 3}) == []


def test_every_indicator_says_that_it_is_one_and_what_it_does_not_mean():
    for cls in analysers.registered().values():
        if cls.task is analysers.Task.INDICATOR:
            assert all(indicators.is_one(label) and len(label) <= 60 for label in cls.classes)
    for words in (str(part) for parts in indicators.SAID.values() for part in parts):
        assert not {"fake", "authentic", "genuine", "real"} & set(words.lower().split())


def test_what_an_analyser_is_told_is_bounded_and_a_part_of_its_recipe():
    item = Item(kind="image", size=1, received_at=timezone.now())
    item.technical = {
        "untrusted_metadata": {
            "exiftool": {
                "EXIF:Software": "GIMP 2.10",
                "EXIF:FNumber": 2.8,
                "MakerNotes:Secret": 1,
                "EXIF:GPSLatitude": 33.5,
                "XMP:CreatorWorkEmail": "a@b.example",
                "XMP:Títle": "x",
                **{f"XMP:Field{n}": "y" * 2000 for n in range(300)},
            },
            "ffprobe": {"format": {"tags": {"encoder": "Lavf60"}}},
            "c2pa": {"state": "valid", "signer": {"issuer": "A", "time": None}},
        }
    }
    told = about.facts(item)
    assert len(canonical(told)) < 48_000 and told["left_out"] > 100
    assert told["tags"]["EXIF:Software"] == "GIMP 2.10" and told["tags"]["EXIF:FNumber"] == "2.8"
    assert (
        told["tags"]["Container:encoder"] == "Lavf60"
        and not {"MakerNotes:Secret", "EXIF:GPSLatitude", "XMP:CreatorWorkEmail"} & told["tags"].keys()
    )
    recipe = recipe_of(IndicatorMetadata(), Sampling(), {})
    item.technical["untrusted_metadata"]["exiftool"]["EXIF:Software"] = "GIMP 3.0"
    assert recipe.of(told).sha256 == recipe.of(dict(told)).sha256 != recipe.of(about.facts(item)).sha256
    (detector,) = [a for a in analysers.plan([]) if a.task is analysers.Task.DETECT]
    plain = recipe_of(detector, Sampling(), {})
    assert plain.of(told) is plain


# --- on screens, in rules, in search ----------------------------------------------------------------------------


@pytest.fixture
def said_of(transactional_db):
    """An item of which an analyser said some things."""
    reader = cast.person()
    item = cast.item(cast.case(owner=reader))

    def say(*labels, analyser="indicator-metadata", **parameters):
        analysis = looked.analysis(item, "indicator", analyser, analyser)
        analysis.parameters = parameters
        with recording(), transaction.atomic():
            analysis.save()
        for label in labels:
            Tagged.objects.create(analysis=analysis, at_ms=0, label=label, confidence=Decimal("0.7312"))
        with transaction.atomic():
            standing.place(item)
        search.refresh_upper([item.pk])
        return item

    return say


def test_the_panel_says_what_it_is_who_says_so_and_how_often_wrongly(said_of):
    item = said_of(indicators.NAMES_EDITOR)
    panel = Offer().full(item)
    (one,) = panel.indicators
    assert one.words == "names an editor" and "does not say what was changed" in one.meaning
    assert (one.analyser, one.version, one.error) == ("indicator-metadata", 1, "")
    assert panel.chips == () and panel.no_indicator == ""
    brief = Offer().brief([item])[item.pk]
    assert (brief.labels, brief.indicators) == ((), ("Indicator: names an editor",))
    measured = {
        "auc": "0.783",
        "auc_interval": "0.764 to 0.801",
        "found": "442 of 644",
        "false_alarms": "181 of 644",
    }
    measured |= {"pictures": "1288", "on": "2026-11-21"}
    said_of(
        "indicator: may be spliced",
        analyser="indicator-spliced",
        **{f"measured_{k}": v for k, v in measured.items()},
    )
    (trained,) = [i for i in Offer().full(item).indicators if i.analyser == "indicator-spliced"]
    assert trained.words == "may be spliced" and "may be wrong more often" in trained.meaning
    assert "0.73" in trained.error and "AUC 0.783 (95 %: 0.764 to 0.801)" in trained.error


def test_where_none_was_found_it_is_not_called_authentic(said_of):
    panel = Offer().full(said_of())
    assert panel.indicators == [] and "does not say that it is authentic" in panel.no_indicator


def test_a_rule_and_the_search_find_it(said_of):
    item = said_of(indicators.NAMES_EDITOR)
    rules = {
        "criteria": [{"name": "Edited", "kind": "tagged", "any_of": [indicators.NAMES_EDITOR], "weight": "2"}]
    }
    value, (reason,) = scoring.score(rules, read(gather([item]))[item.pk])
    assert value == 2 and "indicator: names an editor" in reason.why and reason.machine
    assert list(search.found(Item.objects.all(), "indicator editor")) == [item]
