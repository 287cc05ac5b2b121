"""What a file says about its own making comes out as an indicator, in words, and nothing is said of what was not found."""

import pytest
from django.utils import timezone

from archive.custody.canonical import canonical
from archive.models import Item
from triage import about, analysers, indicators
from triage.analysers import About
from triage.analysers.indicator_metadata import IndicatorMetadata
from triage.pipeline import recipe_of
from triage.runtimes.decode import Sampling

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
    for words in (*indicators.MEANINGS, *map(str, indicators.MEANINGS.values())):
        assert not {"fake", "authentic", "genuine", "real"} & set(words.lower().split())


def test_what_an_analyser_is_told_is_bounded_and_a_part_of_its_recipe():
    item = Item(kind="image", size=1, received_at=timezone.now())
    item.technical = {
        "untrusted_metadata": {
            "exiftool": {
                "EXIF:Software": "GIMP 2.10",
                "EXIF:FNumber": 2.8,
                "MakerNotes:Secret": 1,
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
    assert told["tags"]["Container:encoder"] == "Lavf60" and "MakerNotes:Secret" not in told["tags"]
    recipe = recipe_of(IndicatorMetadata(), Sampling(), {})
    item.technical["untrusted_metadata"]["exiftool"]["EXIF:Software"] = "GIMP 3.0"
    assert recipe.of(told).sha256 == recipe.of(dict(told)).sha256 != recipe.of(about.facts(item)).sha256
    (detector,) = [a for a in analysers.plan([]) if a.task is analysers.Task.DETECT]
    plain = recipe_of(detector, Sampling(), {})
    assert plain.of(told) is plain
