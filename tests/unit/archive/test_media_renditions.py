"""Renditions are small, clean, upright, bounded, and the veil hides what it is there to hide."""

import io
import os
import struct
import subprocess

import pytest
from PIL import Image, ImageStat

from archive.errors import MediaError
from archive.media import renditions
from archive.media.probe import Condition, Kind, Probe
from tests.unit.archive import media_files as make

pytestmark = pytest.mark.slow


@pytest.fixture
def file(tmp_path):
    def write(data):
        path = tmp_path / f"bytes-{os.urandom(4).hex()}"
        path.write_bytes(data)
        return path

    return write


def pictures(path):
    return {made.kind: made for made in renditions.examine(path).renditions}


def shown(rendered):
    picture = Image.open(rendered.open())
    picture.load()
    return picture


def corner(rendered, x, y):
    """Mean colour around a place, as parts of width and height."""
    picture = shown(rendered).convert("RGB")
    left, top = int(x * picture.width), int(y * picture.height)
    return ImageStat.Stat(picture.crop((left - 4, top - 4, left + 4, top + 4))).mean


def test_a_photograph_gets_veil_thumbnail_and_view(file):
    made = pictures(file(make.encoded(make.photo(2400, 1800))))
    assert {kind: (picture.width, picture.height) for kind, picture in made.items()} == {
        "veil": (320, 240),
        "thumbnail": (320, 240),
        "view": (1600, 1200),
    }
    for rendered in made.values():
        assert shown(rendered).size == (rendered.width, rendered.height)
        assert rendered.media_type == "image/jpeg" and rendered.size == len(rendered.data)
        assert rendered.recipe == str(renditions.RECIPES[rendered.kind]) and len(rendered.recipe) <= 400


def test_a_small_picture_is_not_blown_up(file):
    made = pictures(file(make.encoded(make.photo(50, 40))))
    assert (made["view"].width, made["view"].height) == (50, 40)


def test_metadata_do_not_travel(file):
    exif = Image.Exif()
    exif[0x010E] = "SECRETNAME"
    data = make.encoded(make.photo(400, 300), exif=exif, comment=b"SECRETNAME")
    for rendered in pictures(file(data)).values():
        assert b"SECRETNAME" not in rendered.data and not shown(rendered).getexif()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_shown_upright(file, orientation):
    upright = make.photo(400, 300)
    undo = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270}.get(orientation)  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright.transpose(undo) if undo is not None else upright
    view = pictures(file(make.encoded(stored, exif=exif, quality=95)))["view"]
    assert (view.width, view.height) == (400, 300)
    red, blue = corner(view, 0.25, 0.25), corner(view, 0.75, 0.75)
    assert red[0] > 150 and red[2] < 90 and blue[2] > 150 and blue[0] < 90


@pytest.mark.parametrize(
    ("form", "mode"),
    [("PNG", "RGBA"), ("PNG", "P"), ("PNG", "LA"), ("PNG", "L"), ("PNG", "1"), ("GIF", "P"), ("WEBP", "RGBA"),
     ("TIFF", "CMYK"), ("JPEG", "CMYK"), ("TIFF", "LAB"), ("BMP", "RGB"), ("AVIF", "RGBA"), ("TIFF", "F"), ("TIFF", "I")],
)  # fmt: skip
def test_every_kind_of_pixels_is_shown(file, form, mode):
    if mode == "LAB":
        from PIL import ImageCms

        lab = ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
        )
        picture = ImageCms.applyTransform(make.photo(400, 300), lab)
    elif mode in ("F", "I"):
        picture = make.photo(400, 300).convert("L").convert(mode)
    else:
        picture = make.photo(400, 300, mode)
    made = pictures(file(make.encoded(picture, form)))
    assert set(made) == {"veil", "thumbnail", "view"}
    if mode in ("RGBA", "P", "CMYK", "RGB"):
        red = corner(made["view"], 0.25, 0.25)
        assert red[0] > red[2] + 50


def test_pictures_that_only_ffmpeg_opens_are_pictures(tmp_path):
    for name, encoder in (("p.jxl", "libjxl"), ("p.tif", "tiff")):
        pixels = ["-pix_fmt", "rgb48le"] if encoder == "tiff" else []
        source = ["-f", "lavfi", "-i", "testsrc2=size=640x480", "-frames:v", "1", "-c:v", encoder, *pixels]
        subprocess.run(["ffmpeg", "-v", "error", "-y", *source, tmp_path / name], check=True)
        seen = renditions.examine(tmp_path / name, file_name=name)
        assert (seen.probe.kind, seen.probe.condition, seen.probe.width) == (Kind.IMAGE, Condition.OK, 640), (
            name
        )
        assert {made.kind for made in seen.renditions} == {"veil", "thumbnail", "view"}, name


def test_sixteen_bits_are_scaled_not_clipped(file):
    values = ([20_000] * 100 + [50_000] * 100) * 100
    grey = Image.frombytes("I;16", (200, 100), struct.pack(f"<{len(values)}H", *values))
    view = pictures(file(make.encoded(grey, "PNG")))["view"]
    assert corner(view, 0.25, 0.5)[0] == pytest.approx(78, abs=4)
    assert corner(view, 0.75, 0.5)[0] == pytest.approx(195, abs=4)


def test_what_is_transparent_lies_on_grey(file):
    clear = Image.new("RGBA", (200, 100), (0, 0, 0, 0))
    assert corner(pictures(file(make.encoded(clear, "PNG")))["view"], 0.5, 0.5)[0] == pytest.approx(
        200, abs=4
    )


def test_the_veil_is_grey_and_holds_nothing_fine(file):
    """Guards the promise that sharp bytes reach the browser only when asked for."""
    stripes = Image.new("L", (1600, 1200))
    for x in range(0, 1600, 10):
        stripes.paste(255, (x, 0, x + 5, 1200))
    veil = shown(pictures(file(make.encoded(stripes.convert("RGB"), quality=95)))["veil"])
    red, green, blue = veil.convert("RGB").split()
    assert red.tobytes() == green.tobytes() == blue.tobytes()
    middle = veil.convert("L").crop((20, 20, 300, 220))
    assert ImageStat.Stat(middle).stddev[0] < 6


def test_the_veil_of_a_tiny_picture_hides_too(file):
    board = Image.effect_noise((40, 40), 100).convert("RGB")
    veil = shown(pictures(file(make.encoded(board, "PNG")))["veil"]).convert("L")
    assert ImageStat.Stat(veil).stddev[0] < ImageStat.Stat(board.convert("L")).stddev[0] / 3


def test_a_cut_photograph_shows_what_is_left(file):
    data = make.encoded(make.photo(640, 480))
    seen = renditions.examine(file(data[: len(data) * 2 // 3]))
    assert seen.probe.condition is Condition.DAMAGED
    assert {made.kind for made in seen.renditions} == {"veil", "thumbnail", "view"}


def test_what_cannot_be_decoded_has_no_renditions(file):
    for data in (b"", make.zip_of(), make.png_claiming(60_000, 60_000), make.heic_header(), b"\0" * 99):
        assert renditions.examine(file(data)).renditions == ()


def test_a_video_gets_a_poster_and_its_veil(tmp_path):
    seen = renditions.examine(make.video(tmp_path / "v.mp4", size="1920x1080", seconds=2))
    made = {picture.kind: (picture.width, picture.height) for picture in seen.renditions}
    assert made == {"veil": (320, 180), "thumbnail": (320, 180), "poster": (1600, 900)}


def test_a_poster_is_not_the_black_that_a_video_fades_in_from(tmp_path):
    path = tmp_path / "fade.mp4"
    source = "color=black:s=320x240:r=10:d=3[a];testsrc2=s=320x240:r=10:d=3[b];[a][b]concat"
    subprocess.run(["ffmpeg", "-v", "error", "-filter_complex", source, "-g", "10", path], check=True)
    made = {picture.kind: picture for picture in renditions.examine(path).renditions}
    assert ImageStat.Stat(shown(made["poster"]).convert("L")).stddev[0] > 20


def test_a_descriptor_in_memory_serves_as_well(tmp_path):
    descriptor = renditions.in_memory(make.encoded(make.photo(400, 300)))
    try:
        assert len(renditions.examine(descriptor).renditions) == 3
        assert len(renditions.examine(descriptor).renditions) == 3
    finally:
        os.close(descriptor)


def test_a_rendition_gives_its_bytes_and_their_hash(file):
    import hashlib

    rendered = pictures(file(make.encoded(make.photo(64, 48))))["thumbnail"]
    with rendered.open() as stream:
        assert hashlib.sha256(stream.read()).hexdigest() == rendered.sha256


@pytest.mark.parametrize(
    ("name", "options", "plays"),
    [
        ("v.mp4", (), True),
        ("v.mp4", ("-c:v", "mpeg4", "-c:a", "aac"), False),
        ("v.mp4", ("-c:v", "libx264", "-pix_fmt", "yuv444p", "-an"), False),
        ("v.webm", ("-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus"), True),
        ("v.avi", ("-c:v", "mpeg4", "-c:a", "mp3"), False),
        ("v.mkv", ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac"), False),
        ("v.webm", ("-c:v", "libvpx", "-an", "-output_ts_offset", "5"), False),  # begins at 5 s
        ("v.mp4", ("-output_ts_offset", "0.02"), True),
    ],
)
def test_what_browsers_play_is_decided_by_container_and_codec(tmp_path, name, options, plays):
    about = renditions.examine(make.video(tmp_path / name, *options, seconds=1)).probe
    assert renditions.browser_can_play(about) is plays and renditions.needs_proxy(about) is not plays


def test_a_proxy_plays_and_carries_no_metadata(tmp_path):
    source = make.video(
        tmp_path / "v.avi",
        "-c:v",
        "mpeg4",
        "-c:a",
        "mp3",
        "-metadata",
        "title=SECRETNAME",
        size="1920x1080",
        seconds=2,
    )
    about = renditions.examine(source).probe
    work = tmp_path / "work"
    work.mkdir(mode=0o700)
    made = renditions.proxy(source, about, workdir=work)
    assert (made.kind, made.media_type, made.width, made.height) == ("proxy", "video/mp4", 1280, 720)
    data = made.path.read_bytes()
    assert made.size == len(data) and b"SECRETNAME" not in data
    assert data.index(b"moov") < data.index(b"mdat"), "the index stands first, so that playing starts at once"
    again = renditions.examine(made.path).probe
    assert renditions.browser_can_play(again) and again.duration_ms == pytest.approx(
        about.duration_ms, abs=300
    )


def test_a_proxy_of_an_upright_phone_video_stays_upright(tmp_path):
    source = make.video(tmp_path / "v.mkv", size="1080x1920", seconds=1)
    (tmp_path / "w").mkdir()
    made = renditions.proxy(source, renditions.examine(source).probe, workdir=tmp_path / "w")
    assert (made.width, made.height) == (720, 1280)


def test_a_proxy_of_a_cut_video_holds_what_is_left(tmp_path):
    whole = make.video(tmp_path / "v.mkv", seconds=10).read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    about = renditions.examine(tmp_path / "cut").probe
    (tmp_path / "w").mkdir()
    made = renditions.proxy(tmp_path / "cut", about, workdir=tmp_path / "w")
    assert 2000 < renditions.examine(made.path).probe.duration_ms < 8000


def test_sound_gets_a_proxy_where_browsers_need_one(tmp_path):
    source = make.sound(tmp_path / "s.wma", "-c:a", "wmav2")
    about = renditions.examine(source).probe
    assert about.kind is Kind.AUDIO and renditions.needs_proxy(about)
    (tmp_path / "w").mkdir()
    made = renditions.proxy(source, about, workdir=tmp_path / "w")
    assert (made.media_type, made.width) == ("audio/mp4", None)


def test_a_proxy_of_what_is_no_video_fails_and_says_so(tmp_path, file):
    about = Probe("video/mp4", Kind.VIDEO, Condition.OK, "", 10, duration_ms=1000)
    with pytest.raises(MediaError, match="The original is kept"):
        renditions.proxy(file(b"#EXTM3U\nfile:///etc/passwd\n"), about, workdir=tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-2],
        lambda data: data + b"PK",
        lambda data: b"<html>" + data,
        lambda data: data[:2] + b"\xff\xe1\x00\x08Exif\0\0" + data[2:],
        lambda data: data[:2] + b"\xff\xfe\x00\x04hi" + data[2:],
        lambda data: data[:20],
        lambda data: b"",
    ],
)
def test_what_is_not_one_plain_jpeg_is_thrown_away(spoil):
    data = make.encoded(make.photo(64, 48))
    assert renditions.jpeg_size(data) == (64, 48)
    assert renditions.jpeg_size(spoil(data)) is None


def test_a_jpeg_larger_than_its_recipe_is_thrown_away():
    assert renditions._jpeg("thumbnail", make.encoded(make.photo(640, 480))) is None


def test_no_picture_is_given_without_its_veil(monkeypatch, file):
    real = renditions._jpeg
    monkeypatch.setattr(renditions, "_jpeg", lambda kind, data: None if kind == "veil" else real(kind, data))
    assert renditions.examine(file(make.encoded(make.photo(64, 48)))).renditions == ()


def test_recipes_name_themselves_and_all_they_do():
    assert str(renditions.VEIL) == 'grey-veil/1 {"cells":32,"quality":70,"side":320}'
    assert len({str(recipe) for recipe in renditions.RECIPES.values()}) == len(renditions.RECIPES)
    assert isinstance(renditions.Rendered("view", "r", "image/jpeg", 1, 1, 1, data=b"x").open(), io.BytesIO)
