"""What files are is found by their content, whatever they are called and whoever made them to break us."""

import json
import os
import struct
import subprocess

import pytest
from PIL import Image

from archive.errors import SandboxUnavailable
from archive.media import clean, probe, sandbox
from archive.media.probe import Condition, Kind, Look, Record
from tests.unit.archive import media_files as make

pytestmark = pytest.mark.slow


@pytest.fixture
def file(tmp_path):
    def write(data):
        path = tmp_path / f"bytes-{os.urandom(4).hex()}"
        path.write_bytes(data)
        return path

    return write


# ---- honest files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "mode", "media_type"),
    [
        ("JPEG", "RGB", "image/jpeg"),
        ("JPEG", "L", "image/jpeg"),
        ("JPEG", "CMYK", "image/jpeg"),
        ("PNG", "RGB", "image/png"),
        ("PNG", "P", "image/png"),
        ("PNG", "1", "image/png"),
        ("GIF", "P", "image/gif"),
        ("WEBP", "RGB", "image/webp"),
        ("TIFF", "RGB", "image/tiff"),
        ("TIFF", "CMYK", "image/tiff"),
        ("BMP", "RGB", "image/bmp"),
        ("AVIF", "RGB", "image/avif"),
        ("JPEG2000", "RGB", "image/jp2"),
        ("PPM", "RGB", "image/x-portable-anymap"),
    ],
)
def test_a_picture_is_known_by_its_content(file, form, mode, media_type):
    found = probe.probe(file(make.encoded(make.photo(64, 48, mode), form)))
    assert (found.media_type, found.kind, found.condition) == (media_type, Kind.IMAGE, Condition.OK)
    assert (found.width, found.height, found.frame_count) == (64, 48, 1)


def test_a_turned_photograph_has_the_size_that_is_shown(file):
    exif = Image.Exif()
    exif[0x0112] = 6
    found = probe.probe(file(make.encoded(make.photo(64, 48), exif=exif)))
    assert (found.width, found.height, found.orientation) == (48, 64, 6)


def test_an_animation_is_counted(file):
    frames = [make.photo(40, 30) for _ in range(5)]
    for form in ("GIF", "WEBP", "PNG"):
        data = make.encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=100)
        found = probe.probe(file(data))
        assert (found.frame_count, found.condition) == (5, Condition.OK), form


def test_a_video_is_measured(tmp_path):
    found = probe.probe(make.video(tmp_path / "v.mp4"), file_name="v.mp4", declared_type="video/mp4")
    assert (found.media_type, found.kind, found.condition) == ("video/mp4", Kind.VIDEO, Condition.OK)
    assert (found.width, found.height, found.frame_count, found.frame_rate) == (320, 240, 75, "25")
    assert found.duration_ms == pytest.approx(3000, abs=50)
    assert (found.video_codec, found.audio_codec, found.has_audio) == ("h264", "aac", True)


@pytest.mark.parametrize(
    ("name", "media_type", "options"),
    [
        ("v.webm", "video/webm", ["-c:v", "libvpx", "-c:a", "libopus", "-deadline", "realtime"]),
        ("v.mkv", "video/x-matroska", ["-c:v", "libx264", "-c:a", "aac"]),
        ("v.avi", "video/x-msvideo", ["-c:v", "mpeg4", "-c:a", "mp3"]),
        ("v.mov", "video/quicktime", ["-c:v", "libx264", "-c:a", "aac"]),
        ("v.ts", "video/mp2t", ["-c:v", "libx264", "-c:a", "aac"]),
        ("v.flv", "video/x-flv", ["-c:v", "flv", "-c:a", "mp3", "-ar", "44100"]),
        ("v.mpg", "video/mpeg", ["-c:v", "mpeg2video", "-c:a", "mp2"]),
        ("v.ogv", "video/ogg", ["-c:v", "libtheora", "-c:a", "libvorbis"]),
        ("v.wmv", "video/x-ms-asf", ["-c:v", "wmv2", "-c:a", "wmav2"]),
        ("v.3gp", "video/3gpp", ["-c:v", "h263", "-s", "176x144", "-an"]),
    ],
)
def test_containers_of_every_phone_and_camera_are_known(tmp_path, name, media_type, options):
    found = probe.probe(make.video(tmp_path / name, *options), file_name=name)
    assert (found.media_type, found.kind, found.condition, found.detail) == (
        media_type,
        Kind.VIDEO,
        Condition.OK,
        "",
    )


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("s.mp3", "audio/mpeg"), ("s.wav", "audio/wav"), ("s.flac", "audio/flac"), ("s.ogg", "audio/ogg"),
     ("s.m4a", "audio/mp4")],
)  # fmt: skip
def test_sound_is_kept_as_sound(tmp_path, name, media_type):
    found = probe.probe(make.sound(tmp_path / name), file_name=name)
    assert (found.media_type, found.kind, found.condition) == (media_type, Kind.AUDIO, Condition.OK)
    assert found.duration_ms == pytest.approx(2000, abs=100) and found.has_audio


def test_a_turned_video_has_the_size_that_is_shown(tmp_path):
    make.video(tmp_path / "flat.mp4")
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "flat.mp4", "-c", "copy", "-metadata:s:v", "rotate=90",
                    tmp_path / "turned.mp4"], check=True)  # fmt: skip
    found = probe.probe(tmp_path / "turned.mp4")
    assert (found.width, found.height) == (240, 320) and found.rotation in (90, 270)


def test_a_descriptor_serves_as_well_as_a_path():
    from archive.media.renditions import in_memory

    descriptor = in_memory(make.encoded(make.photo(64, 48)))
    try:
        assert probe.probe(descriptor).condition is Condition.OK
    finally:
        os.close(descriptor)


# ---- not media ------------------------------------------------------------------------------------------------


def test_no_bytes_is_a_condition(file):
    found = probe.probe(file(b""), file_name="x.jpg")
    assert (found.condition, found.size) == (Condition.EMPTY, 0)


def test_a_pdf_is_a_document_that_we_do_not_open(file):
    found = probe.probe(file(b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF"), file_name="report.pdf")
    assert (found.media_type, found.kind, found.condition) == (
        "application/pdf",
        Kind.DOCUMENT,
        Condition.UNSUPPORTED,
    )


def test_a_drawing_with_an_external_entity_is_never_drawn(file):
    svg = b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]>' \
          b'<svg xmlns="http://www.w3.org/2000/svg"><text>&x;</text></svg>'  # fmt: skip
    found = probe.probe(file(svg), file_name="logo.svg")
    assert (found.media_type, found.condition) == ("image/svg+xml", Condition.UNSUPPORTED)
    assert "root:" not in json.dumps(found.untrusted_metadata)


def test_an_archive_is_other(file):
    found = probe.probe(file(make.zip_of()), file_name="a.zip")
    assert (found.kind, found.condition) == (Kind.OTHER, Condition.UNSUPPORTED)


@pytest.mark.parametrize("data", [b"\0" * 5000, os.urandom(5000), b"just words, no picture at all\n" * 40])
def test_noise_is_kept_with_a_condition(file, data):
    assert probe.probe(file(data)).condition in (Condition.UNSUPPORTED, Condition.CANNOT_DECODE)


def test_a_picture_that_no_decoder_here_opens_is_named(file):
    found = probe.probe(file(make.heic_header()), file_name="IMG_1.HEIC")
    assert (found.media_type, found.kind, found.condition) == (
        "image/heic",
        Kind.IMAGE,
        Condition.CANNOT_DECODE,
    )
    assert "HEIC" in found.detail


def test_bytes_of_no_format_called_a_photograph_cannot_be_decoded(file):
    found = probe.probe(file(b"\x01\x02\x03" * 999), file_name="photo.jpg")
    assert found.condition is Condition.CANNOT_DECODE and ".jpg" in found.detail


# ---- disguised ------------------------------------------------------------------------------------------------


def test_an_archive_called_a_photograph_is_disguised(file):
    found = probe.probe(file(make.zip_of()), file_name="photo.jpg", declared_type="image/jpeg")
    assert found.condition is Condition.DISGUISED
    assert found.detail == "The name ends in .jpg, but the content is application/zip."


def test_a_picture_of_another_format_is_disguised_and_still_read(file):
    found = probe.probe(file(make.encoded(make.photo(64, 48), "PNG")), file_name="photo.jpg")
    assert (found.media_type, found.condition, found.width) == ("image/png", Condition.DISGUISED, 64)


def test_a_declared_type_that_lies_is_told(file):
    found = probe.probe(file(make.encoded(make.photo(64, 48), "PNG")), declared_type="video/mp4")
    assert found.condition is Condition.DISGUISED


@pytest.mark.parametrize(
    "name", ["a.JPEG", "b.jpe", "no ending", "c.unknownending", ".jpg", "x/y.jpg", "x\\y.jpg"]
)
def test_names_that_fit_or_say_nothing_are_no_disguise(file, name):
    assert probe.probe(file(make.encoded(make.photo(64, 48))), file_name=name).condition is Condition.OK


def test_bytes_that_are_two_formats_at_once_are_told(file):
    found = probe.probe(file(make.encoded(make.photo(64, 48)) + make.zip_of()), file_name="a.jpg")
    assert found.condition is Condition.DISGUISED and "application/zip" in found.detail


# ---- damaged and hostile --------------------------------------------------------------------------------------


def test_a_cut_photograph_is_damaged(file):
    data = make.encoded(make.photo(640, 480))
    found = probe.probe(file(data[: len(data) // 2]), file_name="a.jpg")
    assert (found.condition, found.width) == (Condition.DAMAGED, 640)
    assert "truncated" in found.detail


def test_a_head_alone_cannot_be_decoded(file):
    found = probe.probe(file(make.encoded(make.photo(640, 480))[:30]), file_name="a.jpg")
    assert found.condition is Condition.CANNOT_DECODE


def test_a_picture_that_claims_to_be_huge_is_not_decoded(file):
    found = probe.probe(file(make.png_claiming(60_000, 60_000)))
    assert (found.condition, found.width) == (Condition.TOO_LARGE, 60_000)


def test_a_picture_with_an_absurd_header_does_not_hurt(file):
    assert probe.probe(file(make.png_claiming(2**31 - 1, 2**31 - 1))).condition is not Condition.OK
    assert probe.probe(file(make.png_claiming(0, 0))).condition is not Condition.OK


def test_thousands_of_frames_are_counted_not_decoded(file):
    found = probe.probe(file(make.gif_of(3000)))
    assert (found.frame_count, found.condition) == (3000, Condition.OK)
    assert probe.probe(file(make.gif_of(30_000))).condition is Condition.TOO_LARGE
    assert probe.probe(file(make.gif_of(2000, 10_000, 10_000))).condition in (
        Condition.TOO_LARGE,
        Condition.DAMAGED,
    )


def test_a_cut_video_is_damaged(tmp_path, file):
    whole = make.video(
        tmp_path / "v.mp4", "-c:v", "libx264", "-movflags", "+faststart", seconds=20
    ).read_bytes()
    found = probe.probe(file(whole[: len(whole) * 6 // 10]))
    assert found.condition is Condition.DAMAGED and "cut off" in found.detail
    whole = make.video(tmp_path / "v.mkv", seconds=20).read_bytes()
    assert probe.probe(file(whole[: len(whole) * 6 // 10])).condition is Condition.DAMAGED


def test_a_video_without_its_index_cannot_be_decoded(tmp_path, file):
    whole = make.video(tmp_path / "v.mp4").read_bytes()
    found = probe.probe(file(whole[: len(whole) // 2]), file_name="v.mp4")
    assert (found.kind, found.condition) == (Kind.VIDEO, Condition.CANNOT_DECODE)


def test_a_video_with_a_spoilt_index_does_not_hurt(tmp_path, file):
    whole = bytearray(make.video(tmp_path / "v.mp4").read_bytes())
    index = whole.index(b"moov")
    for place in range(index + 40, len(whole), 7):
        whole[place] ^= 0xFF
    assert probe.probe(file(bytes(whole))).condition in (Condition.CANNOT_DECODE, Condition.DAMAGED)


def test_a_video_with_spoilt_pictures_is_damaged(tmp_path, file):
    whole = bytearray(make.video(tmp_path / "v.mp4", audio=False).read_bytes())
    start = whole.index(b"mdat") + 3000
    for place in range(start, start + 20_000, 5):
        whole[place] ^= 0xFF
    found = probe.probe(file(bytes(whole)))
    assert found.condition is Condition.DAMAGED and "faults" in found.detail


@pytest.mark.parametrize(
    "playlist",
    [
        b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1.0,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        b"#EXTM3U\n#EXTINF:1.0,\nhttp://192.0.2.1/x.ts\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"v=0\no=- 0 0 IN IP4 192.0.2.1\ns=x\nc=IN IP4 192.0.2.1\nm=video 5004 RTP/AVP 96\n",
        b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period/></MPD>',
    ],
)
def test_playlists_are_never_followed(file, playlist):
    found = probe.probe(file(playlist), file_name="clip.mp4")
    assert found.kind in (Kind.DOCUMENT, Kind.OTHER, Kind.AUDIO, Kind.VIDEO)
    assert found.condition in (Condition.DISGUISED, Condition.CANNOT_DECODE, Condition.UNSUPPORTED)
    assert "root:" not in json.dumps(found.untrusted_metadata) and not found.video_codec


@pytest.mark.parametrize(
    "name",
    [
        "-config /tmp/x",
        "@args",
        "| touch pwned |",
        "$(touch pwned).jpg",
        "a\nb\0c.jpg",
        "../../etc/passwd",
        "\u202egpj.exe",
    ],
)
def test_names_that_are_commands_are_only_names(file, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    before = set(os.listdir(tmp_path))
    assert probe.probe(file(make.encoded(make.photo(64, 48))), file_name=name).width == 64
    assert not (tmp_path / "pwned").exists() and len(set(os.listdir(tmp_path)) - before) == 1


def test_a_postscript_program_is_not_run(file):
    found = probe.probe(file(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n(/etc/passwd) (r) file\n"))
    assert found.condition is Condition.UNSUPPORTED


def test_metadata_that_never_end_are_bounded(file):
    exif = Image.Exif()
    exif[0x010E] = "\x07A\u202e" + "x" * 50_000
    exif[0x0131] = "editor"
    found = probe.probe(file(make.encoded(make.photo(64, 48), exif=exif)))
    described = found.untrusted_metadata["exiftool"]["EXIF:ImageDescription"]
    assert len(described) <= clean.TEXT and "\x07" not in described
    assert len(json.dumps(found.untrusted_metadata)) < 300_000


def test_bytes_broken_at_random_never_raise(file, tmp_path):
    """Promise: no file can take a worker down."""
    seeds = [make.encoded(make.photo(64, 48), form) for form in ("JPEG", "PNG", "GIF", "WEBP", "TIFF")]
    seeds.append(make.video(tmp_path / "v.mp4", seconds=1).read_bytes())
    for number, seed in enumerate(seeds):
        spoilt = bytearray(seed)
        for place in range(number + 12, len(spoilt), 97):
            spoilt[place] = (spoilt[place] * 7 + 13) % 256
        found = probe.probe(file(bytes(spoilt)))
        assert found.condition in Condition and len(found.detail) <= 1000


# ---- what comes back from the sandbox is not believed ---------------------------------------------------------


def told(*records, returncode=0, stopped=None):
    lines = [Record(name, value, b"") for name, value in records]
    return Look(tuple(lines), sandbox.Finished(returncode, b"", "", None, stopped, 0.1))


def test_numbers_that_are_none_are_dropped():
    found = probe.understand(
        told(
            ("size", 10), ("file_type", "video/mp4"), ("done", 1),
            ("ffprobe", {
                "format": {"format_name": "mov", "duration": "nan", "tags": []},
                "streams": [{"codec_type": "video", "width": -5, "height": "1e99", "avg_frame_rate": "1/0",
                             "duration": "inf", "codec_name": ["x"], "side_data_list": [{"rotation": "NaN"}]}],
            }),
        )
    )  # fmt: skip
    assert (found.width, found.height, found.duration_ms, found.frame_rate, found.rotation) == (
        None,
        None,
        None,
        "",
        0,
    )


def test_a_sandbox_that_talks_nonsense_is_survived():
    for value in (None, [], "x", 5, {"streams": "no"}, {"streams": [None, 3], "format": 9}):
        found = probe.understand(
            told(("size", 10), ("file_type", value), ("image", value), ("ffprobe", value))
        )
        assert found.condition in Condition


def test_records_that_lie_about_their_size_end_the_reading():
    good = b'{"record": "size", "value": 3, "size": 0}\n'
    for bad in (
        b'{"record": "x", "size": 99999}\n',
        b'{"record": "x", "size": -1}\n',
        b"[1]\n",
        b"\xff\n",
        b"[" * 5000,
    ):
        assert [record.name for record in probe.records(good + bad + good)] == ["size"]


def test_a_decoder_that_took_too_long_is_a_condition():
    found = probe.understand(
        told(("size", 10), ("file_type", "image/jpeg"), stopped=sandbox.Stopped.TIME, returncode=-9)
    )
    assert found.condition is Condition.CANNOT_DECODE and "longer than" in found.detail


def test_a_decoder_that_crashed_is_a_condition():
    found = probe.understand(told(("size", 10), ("file_type", "image/jpeg"), returncode=139))
    assert found.condition is Condition.CANNOT_DECODE and "signal 11" in found.detail


def test_a_machine_in_trouble_is_not_blamed_on_the_file(file, monkeypatch):
    path = file(make.encoded(make.photo(64, 48)))
    for fault in (
        {"returncode": 1, "out": b""},
        {"returncode": 137, "out": b'{"record":"size","value":9,"size":0}\n'},
    ):
        done = sandbox.Finished(fault["returncode"], fault["out"], "bwrap: no memory", None, None, 0.1)
        with monkeypatch.context() as patch:
            patch.setattr(sandbox, "run", lambda *_, done=done, **__: done)
            with pytest.raises(SandboxUnavailable, match="kept"):
                probe.probe(path)
    with pytest.raises(FileNotFoundError):
        probe.probe(path.with_name("absent"))


def test_clean_text_keeps_scripts_and_closes_directions():
    assert clean.text("دمشق\u202eabc").startswith("دمشق\u202eabc")
    assert clean.text("دمشق\u202eabc").endswith("\u202c\u2069")
    assert clean.text("a\0b\x1b[31m\ud800c\n") == "ab[31mc"
    assert clean.text("x" * 99, 10) == "x" * 9 + "…"
    assert clean.text(float("nan")) == clean.text(None) == clean.text({}) == ""


def test_clean_tree_ends():
    deep = {}
    for _ in range(2000):
        deep = {"a": deep}
    assert len(json.dumps(clean.tree(deep))) < 200
    wide = clean.tree({str(number): "x" * 3000 for number in range(5000)})
    assert len(json.dumps(wide)) < 2 * clean.TOTAL and "(left out)" in wide
    assert clean.tree({"n": float("inf"), "i": 2**80, "b": "(Binary data 9 bytes, use -b option)"}) == {
        "n": None,
        "i": str(2**80),
    }


def test_struct_of_test_files_is_what_it_claims():
    assert struct.unpack(">II", make.png_claiming(7, 9)[16:24]) == (7, 9)


# ---- provenance ------------------------------------------------------------------------------------------------


def test_a_c2pa_record_is_checked_and_its_signer_is_known_by_the_administrators_list_alone(
    file, tmp_path, settings
):
    kind = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    whole, root = make.c2pa_signed(make.encoded(make.photo(320, 240)), kind)
    told = probe.probe(file(whole)).untrusted_metadata["c2pa"]
    assert told["state"] == "valid" and told["failed"] == ["signingCredential.untrusted"]
    assert told["source_types"] == [kind] and told["signer"]["common_name"] == "signer"
    at = whole.rfind(b"\xff\xda") + 100
    changed = probe.probe(file(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]))
    assert changed.untrusted_metadata["c2pa"]["state"] == "invalid"
    settings.PROVENANCE_ANCHORS = file(root)
    assert probe.probe(file(whole)).untrusted_metadata["c2pa"]["state"] == "trusted"
    assert (
        "c2pa" not in probe.probe(file(b"c2pa is a word in this text, and nothing more\n")).untrusted_metadata
    )


def test_the_thumbnail_in_exif_is_told_beside_the_picture(file):
    picture = Image.linear_gradient("L").resize((640, 480)).convert("RGB")
    told = probe.probe(file(make.with_thumbnail(picture, picture.resize((160, 120))))).untrusted_metadata
    ours, theirs = (bytes.fromhex(told["thumbnail"][name]) for name in ("of_picture", "cells"))
    assert len(ours) == len(theirs) == 256 and max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 8
