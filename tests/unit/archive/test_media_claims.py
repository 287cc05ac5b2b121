"""What files claim about themselves is read whole, with its origin and precision, and never believed or converted."""

from decimal import Decimal

import pytest
from PIL import Image

from archive.media import claims, probe
from tests.unit.archive import media_files as make


def read(exif=None, ffprobe=None, name=""):
    return claims.read(exif=exif or {}, ffprobe=ffprobe or {}, file_name=name)


def times(**given):
    return [(claim.local_time, claim.utc_offset, claim.precision) for claim in read(**given)]


@pytest.mark.parametrize(
    ("written", "local", "offset", "precision"),
    [
        ("2021:05:01 10:11:12", "2021-05-01T10:11:12", "", "second"),
        ("2021:05:01 10:11:12.340", "2021-05-01T10:11:12.340", "", "second"),
        ("2021-05-01T10:11:12Z", "2021-05-01T10:11:12", "Z", "second"),
        ("2021:05:01 10:11:12+03:00", "2021-05-01T10:11:12", "+03:00", "second"),
        ("2021:05:01 10:11:12-0530", "2021-05-01T10:11:12", "-05:30", "second"),
        ("2021:05:01 10:11", "2021-05-01T10:11", "", "minute"),
        ("2021:05:01 10", "2021-05-01T10", "", "hour"),
        ("2021-05-01", "2021-05-01", "", "day"),
        ("2021:05", "2021-05", "", "month"),
        ("2021", "2021", "", "year"),
    ],
)
def test_a_time_keeps_its_precision_and_its_zone(written, local, offset, precision):
    claim = claims.moment(written, origin="exif")
    assert (claim.local_time, claim.utc_offset, claim.precision) == (local, offset, precision)


@pytest.mark.parametrize(
    "written",
    ["", "0000:00:00 00:00:00", "2021:13:01", "2021:02:30 10:00:00", "    :  :     :  :  ", "yesterday", "9999:01:01",
     "2021:05:01 25:00:00", "２０２１", "2021:05:01 10:11:12 +99:00x"],
)  # fmt: skip
def test_what_is_no_time_is_no_claim(written):
    assert claims.moment(written, origin="exif") is None


def test_a_zone_beyond_the_world_is_no_zone():
    assert claims.moment("2021:05:01 10:11:12+99:00", origin="exif").utc_offset == ""


def test_exif_time_takes_its_own_zone_and_part_of_a_second():
    exif = {
        "EXIF:DateTimeOriginal": "2021:05:01 10:11:12",
        "EXIF:OffsetTimeOriginal": "+03:00",
        "EXIF:SubSecTimeOriginal": 25,
    }
    assert times(exif=exif) == [("2021-05-01T10:11:12.25", "+03:00", "second")]


def test_quicktime_time_says_that_it_may_be_local():
    (claim,) = read(exif={"QuickTime:CreateDate": "2021:05:01 10:11:12"})
    assert claim.utc_offset == "Z" and "many devices write local time" in claim.text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("IMG_20210501_101112.jpg", ("2021-05-01T10:11:12", "second")),
        ("PXL_20210501_101112345.jpg", ("2021-05-01T10:11:12", "second")),
        ("VID-20210501-WA0001.mp4", ("2021-05-01", "day")),
        ("WhatsApp Image 2021-05-01 at 10.11.12.jpeg", ("2021-05-01T10:11:12", "second")),
        ("Screenshot_2021-05-01-10-11-12.png", ("2021-05-01T10:11:12", "second")),
        ("signal-2021-05-01-101112.jpg", ("2021-05-01T10:11:12", "second")),
        ("2021-05-01 10.11.jpg", ("2021-05-01T10:11", "minute")),
    ],
)
def test_names_that_phones_give_carry_a_time(name, expected):
    assert [(claim.local_time, claim.precision) for claim in read(name=name)] == [expected]
    assert read(name=name)[0].origin == "file name"


@pytest.mark.parametrize(
    "name", ["", "photo.jpg", "DSC_0001.jpg", "1234567890123456.jpg", "20211501.jpg", "20210230.jpg"]
)
def test_other_names_carry_none(name):
    assert read(name=name) == []


def test_a_place_has_its_sign_from_its_reference_and_its_radius():
    exif = {
        "EXIF:GPSLatitude": 33.5138, "EXIF:GPSLatitudeRef": "S",
        "EXIF:GPSLongitude": 36.2765, "EXIF:GPSLongitudeRef": "W",
        "EXIF:GPSHPositioningError": 12.4,
    }  # fmt: skip
    (claim,) = read(exif=exif)
    assert (claim.about, claim.origin, claim.radius_m) == ("place", "exif", 12)
    assert (claim.latitude, claim.longitude) == (Decimal("-33.513800"), Decimal("-36.276500"))


def test_a_video_place_is_read_from_its_container():
    tags = {"com.apple.quicktime.location.ISO6709": "+33.5138-036.2765+688.2/"}
    (claim,) = read(ffprobe={"format": {"tags": tags}})
    assert (claim.latitude, claim.longitude, claim.radius_m) == (
        Decimal("33.513800"),
        Decimal("-36.276500"),
        None,
    )


@pytest.mark.parametrize(
    "pair", [(91, 0), (0, 181), ("NaN", 1), (float("inf"), 1), (None, 1), ("x", "y"), (True, 1)]
)
def test_a_place_off_this_planet_is_no_claim(pair):
    assert read(exif={"EXIF:GPSLatitude": pair[0], "EXIF:GPSLongitude": pair[1]}) == []


def test_null_island_is_told_as_such():
    (claim,) = read(exif={"EXIF:GPSLatitude": 0, "EXIF:GPSLongitude": 0})
    assert "do not know where they are" in claim.text


def test_device_software_author_and_title():
    found = read(
        exif={
            "EXIF:Make": "Canon", "EXIF:Model": "Canon EOS 50D", "EXIF:Software": "Editor 1", "XMP:Creator": ["A", "B"],
            "QuickTime:Make": "Apple", "QuickTime:Model": "iPhone", "XMP:Title": "t",
        }
    )  # fmt: skip
    said = {(claim.about, claim.origin, claim.text) for claim in found}
    assert said == {
        ("device", "exif", "Canon EOS 50D"), ("device", "quicktime", "Apple iPhone"), ("software", "exif", "Editor 1"),
        ("author", "xmp", "A, B"), ("title", "xmp", "t"),
    }  # fmt: skip


def test_claims_of_wrong_types_are_ignored():
    strange = {tag: value for tag in claims._TIME_TAGS for value in ([1], {"a": 1}, True)}
    strange |= {"EXIF:Make": {"a": 1}, "XMP:Creator": [None, {}, 3.5], "QuickTime:GPSCoordinates": [1]}
    assert all(claim.about == "author" for claim in read(exif=strange, ffprobe={"format": {"tags": [1]}}))


def test_claims_travel_from_a_real_photograph(tmp_path):
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", "Model \u0007X"
    exif.get_ifd(0x8769)[0x9003] = "2021:05:01 10:11:12"
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "N", (33.0, 30.0, 0.0), "E", (36.0, 15.0, 0.0)
    (tmp_path / "x").write_bytes(make.encoded(make.photo(64, 48), exif=exif))
    found = probe.probe(tmp_path / "x", file_name="IMG_20200101_000000.jpg").claims
    by = {(claim.about, claim.origin): claim for claim in found}
    assert by["captured_at", "exif"].local_time == "2021-05-01T10:11:12"
    assert by["captured_at", "file name"].local_time == "2020-01-01T00:00:00"
    assert (by["place", "exif"].latitude, by["place", "exif"].longitude) == (
        Decimal("33.5"),
        Decimal("36.25"),
    )
    assert by["device", "exif"].text == "Maker Model X"
