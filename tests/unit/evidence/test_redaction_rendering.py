"""What is covered is gone: from every pixel, frame, sample, preview and tag of the result. No database."""

import io
import json
import subprocess

import numpy
import pytest
from PIL import Image
from redaction_material import (
    MIRRORED,
    QUARTER,
    SIZE,
    decoded,
    ffmpeg,
    green,
    jpeg,
    noisy,
    recipe,
    region,
    samples,
    shown_as,
    square,
    video,
)

from archive.errors import MediaError
from archive.media import renditions
from evidence.redaction import rendering
from evidence.redaction.inside import covering
from tests.browser.product import folder_from

pytestmark = pytest.mark.slow

MS = covering.MS
GROW = covering.Grow(15, 16, 16, 0)


@pytest.fixture
def render(tmp_path):
    """Render an original (bytes or a path) by a recipe."""
    count = iter(range(100))

    def run(original, plan, seconds=2.0) -> rendering.Made:
        folder = tmp_path / f"out{next(count)}"
        folder.mkdir()
        if isinstance(original, bytes):
            source = renditions.in_memory(original)
            return rendering.render(plan, source, folder, seconds=seconds)
        return rendering.render(plan, original, folder, seconds=seconds)

    return run


def tags(path) -> dict:
    said = subprocess.run(["exiftool", "-json", "-G", "-a", "-u", str(path)], check=True, capture_output=True)
    return json.loads(said.stdout)[0]


# --- where -------------------------------------------------------------------------------------------------------


def one(*keys, start=None, end=None, fill="solid"):
    return covering.region(region(*keys, start=start, end=end, fill=fill))


def test_a_frame_belongs_to_a_range_if_it_is_on_screen_at_any_moment_of_it():
    still = one((1000, (0.4, 0.4, 0.1, 0.1)), start=1000, end=2000)

    def covered(shown_ms, until_ms):
        until = None if until_ms is None else until_ms * MS
        return bool(covering.rects([still], GROW, 640, 480, shown_ms * MS, until))

    assert not covered(960, 1000)  # gone when the range starts
    assert covered(960, 1001)  # on screen at its first millisecond
    assert covered(2000, 2040) and not covered(2001, 2041)
    assert covered(1500, None) and not covered(2001, None)


def test_between_two_moments_the_box_holds_the_object_at_every_moment_of_a_frame():
    moving = one((0, (0.0, 0.0, 0.1, 0.1)), (1000, (0.8, 0.4, 0.1, 0.2)), start=0, end=1000)
    left, top, right, bottom = covering.hull(moving.keys, 250 * MS, 500 * MS)
    assert left <= 20_000 and top <= 10_000, "where it was when the frame appeared"
    assert right >= 50_000 and bottom >= 35_000, "and where it has got to when the next one does"
    through = covering.hull(
        (*moving.keys, covering.Key(1500 * MS, (0, 0, 10_000, 10_000))), 900 * MS, 1100 * MS
    )
    assert through[2] == 90_000, "a turn between two frames counts"


def test_rectangles_grow_and_lie_on_the_grid_inside_the_picture():
    (rect,) = covering.rects([one((None, (0.5, 0.5, 0.1, 0.1)))], GROW, 640, 480, 0, None)
    assert (rect.left, rect.top, rect.right, rect.bottom) == (288, 208, 416, 320)
    (edge,) = covering.rects([one((None, (0.95, 0.0, 0.05, 0.05)))], GROW, 641, 479, 0, None)
    assert (edge.top, edge.right) == (0, 641)


# --- pictures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", ["solid", "mosaic"])
def test_the_result_does_not_depend_on_what_was_covered(render, fill, monkeypatch):
    """Two originals that differ only inside the region give the same bytes (solid), or cells of one colour (mosaic)."""
    made = []
    for seed in (1, 2):
        picture = noisy(0)
        picture.paste(noisy(seed, (64, 48)), (128, 96))
        box = region((None, (128 / 320, 96 / 240, 64 / 320, 48 / 240)), fill=fill)
        done = render(_png(picture), recipe("image", [box]))
        made.append(done.result.path.read_bytes())
    (rect,) = covering.rects([covering.region(box)], GROW, *SIZE, 0, None)
    inside = numpy.array(Image.open(io.BytesIO(made[0])))[rect.top : rect.bottom, rect.left : rect.right]
    if fill == "solid":
        assert made[0] == made[1]
        assert inside.max() == 0
    else:
        cells = {tuple(colour) for colour in inside[8::16, 8::16].reshape(-1, 3) // 12}
        assert len(cells) <= 36 and inside.std() < 60, "noise of 0 to 255 became a few quiet cells"


def _png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def test_a_turned_picture_is_covered_where_people_see_it_and_loses_all_it_says(render, tmp_path):
    """EXIF orientation, GPS, XMP, IPTC, a comment, an embedded thumbnail and bytes behind the end."""
    upright = Image.new("RGB", (240, 320), (120, 120, 120))
    upright.paste((30, 220, 40), (20, 40, 60, 80))
    source = tmp_path / "phone.jpg"
    source.write_bytes(jpeg(upright.transpose(Image.Transpose.ROTATE_90)))
    small = tmp_path / "thumb.jpg"
    small.write_bytes(jpeg(upright.resize((120, 160))))
    subprocess.run(
        ["exiftool", "-q", "-overwrite_original", "-n", "-Orientation=6", "-GPSLatitude=35.1", "-GPSLongitude=12.2",
         "-Make=SecretMake", "-XMP:Creator=SecretCreator", "-IPTC:By-line=SecretLine", "-Comment=SecretComment",
         f"-ThumbnailImage<={small}", str(source)], check=True
    )  # fmt: skip
    original = source.read_bytes() + b"SecretTrailer" + small.read_bytes()
    assert green(numpy.array(Image.open(small))) > 0
    done = render(original, recipe("image", [region((None, (20 / 240, 40 / 320, 40 / 240, 40 / 320)))]))
    data = done.result.path.read_bytes()
    pixels = numpy.array(Image.open(io.BytesIO(data)))
    assert pixels.shape == (320, 240, 3), "upright"
    assert pixels[60, 40].tolist() == [0, 0, 0] and green(pixels) == 0
    assert b"Secret" not in data and b"Secret" not in done.thumbnail.data
    assert original[2:200] not in data and small.read_bytes()[20:120] not in data
    assert green(numpy.array(Image.open(io.BytesIO(done.thumbnail.data)))) == 0
    groups = {name.partition(":")[0] for name in tags(done.result.path)} - {"SourceFile"}
    assert groups <= {"ExifTool", "File", "JFIF", "Composite"}
    assert not [name for name in tags(done.result.path) if "humbnail" in name or "GPS" in name]


def test_a_mosaic_under_something_solid_shows_nothing_of_it(render):
    both = [
        region((None, (0.2, 0.2, 0.5, 0.5)), fill="mosaic", name="m1"),
        region((None, (0.4, 0.4, 0.2, 0.2)), name="s1"),
    ]
    pixels = numpy.array(Image.open(render(_png(noisy(3)), recipe("image", both)).result.path))
    (solid,) = covering.rects([covering.region(both[1])], GROW, *SIZE, 0, None)
    assert pixels[solid.top : solid.bottom, solid.left : solid.right].max() == 0


# --- video ----------------------------------------------------------------------------------------------------------


def follow(first=0, last=49, rate=25, every=10):
    """Keys on the moving square."""
    keys = []
    for n in sorted({*range(first, last + 1, every), first, last}):
        x, y = square(n)
        keys.append((n * 1000 // rate, (x / SIZE[0], y / SIZE[1], 40 / SIZE[0], 40 / SIZE[1])))
    return keys


def test_a_moving_box_covers_the_object_in_every_frame_and_no_frame_more(render, tmp_path):
    original = video(tmp_path / "in.mp4", "-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p", "-metadata",
                     "title=SecretTitle", "-metadata", "location=+35.1+012.2/")  # fmt: skip
    assert min(green(pixels) for _, pixels in decoded(original)) > 1000
    covered = region(*follow(10, 39), start=400, end=1560)
    done = render(original, recipe("video", [covered]))
    frames = decoded(done.result.path)
    seen = [green(pixels) > 0 for _, pixels in frames]
    assert seen == [True] * 10 + [False] * 30 + [True] * 10, "frame 10 starts at 400 ms, frame 39 at 1560 ms"
    assert [round(at, 3) for at, _ in frames] == [n / 25 for n in range(50)]
    assert b"Secret" not in done.result.path.read_bytes()
    said = tags(done.result.path)
    assert not [n for n in said if any(w in n for w in ("GPS", "Title", "Location", "Encoder", "Software"))]
    assert done.report["check"]["covered"] == "30" and done.report["rendered"]["frames"] == 50


def test_one_millisecond_decides_about_a_frame(render, tmp_path):
    original = video(tmp_path / "in.mp4", "-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p", frames=10)
    whole = (0, (0.0, 0.0, 1.0, 1.0))
    ranges = {(80, 119): {2}, (161, 200): {4, 5}, (280, 280): {7}}
    plan = recipe("video", [region(whole, start=a, end=b, name=f"r{a}") for a, b in ranges])
    frames = decoded(render(original, plan).result.path)
    assert {n for n, (_, pixels) in enumerate(frames) if green(pixels) == 0} == set().union(*ranges.values())


def test_frames_that_come_at_uneven_times_keep_them_and_are_covered(render, tmp_path):
    """Variable frame rate: every third frame is missing, then half of them."""
    original = tmp_path / "in.mkv"
    video(original, "-vf", "select='if(lt(n,25),mod(n,3),mod(n,2))'", "-fps_mode", "vfr", "-c:v", "libx264", "-crf",
          "10", "-pix_fmt", "yuv420p")  # fmt: skip
    before = decoded(original)
    assert len({round(b - a, 3) for (a, _), (b, _) in zip(before, before[1:], strict=False)}) > 1
    frames = decoded(render(original, recipe("video", [region(*follow(), start=0, end=2000)])).result.path)
    start = before[0][0]
    assert [round(at, 3) for at, _ in frames] == [round(at - start, 3) for at, _ in before]
    assert sum(green(pixels) for _, pixels in frames) == 0


def test_a_phone_video_is_covered_upright(render, tmp_path):
    original = video(tmp_path / "in.mp4", "-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p", frames=10)
    shown_as(original, QUARTER)
    upright = decoded(original, turned=True)[0][1]
    assert upright.shape[:2] == (320, 240), "players turn it"
    ys, xs = numpy.nonzero((upright[..., 1] > 150) & (upright[..., 0] < 110))
    box = (xs.min() / 240, ys.min() / 320, 40 / 240, 40 / 320)
    frames = decoded(render(original, recipe("video", [region((0, box), start=0, end=0)])).result.path)
    assert frames[0][1].shape[:2] == (320, 240)
    assert green(frames[0][1]) == 0 and green(frames[1][1]) > 0


def test_what_passes_no_check_is_thrown_away(render, tmp_path, monkeypatch):
    """The check is no formality: with a renderer that forgets one frame, nothing comes out."""
    original = video(tmp_path / "in.mp4", "-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p", frames=10)
    inside = tmp_path / "inside"
    inside.mkdir()
    for path in rendering.INSIDE.glob("*.py"):
        (inside / path.name).write_text(path.read_text())
    code = (inside / "render.py").read_text()
    line = (
        "covering.paint([(planes[0], 1), (planes[1], 2), (planes[2], 2)], covered, MOSAICS, covering.BLACK)"
    )
    assert line in code
    (inside / "render.py").write_text(code.replace(line, f"{line} if self.frames != 5 else None"))
    monkeypatch.setattr(rendering, "INSIDE", inside)
    with pytest.raises(MediaError, match=r"did not pass.*frame 6"):
        render(original, recipe("video", [region(*follow(0, 9), start=0, end=400)]))


def test_a_mirrored_video_is_refused(render, tmp_path):
    original = shown_as(
        video(tmp_path / "in.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", frames=3), MIRRORED
    )
    with pytest.raises(MediaError, match="mirrored"):
        render(original, recipe("video", [region((0, (0.1, 0.1, 0.2, 0.2)), start=0, end=400)]))


def test_a_face_detector_finds_no_face_in_the_result_of_a_real_video(render, tmp_path):
    """The boxes come from the detector's own finds, once every half second; between them they are guessed."""
    media, models = folder_from("TEST_MEDIA", "media"), folder_from("MODEL_MIRROR", "models")
    weights = next(models.glob("face_detection_yunet*.onnx"), None) if models else None
    if media is None or weights is None or not (media / "help.mkv").exists():
        pytest.skip("no real video or no face detector on this machine")
    import cv2

    def faces(pixels) -> list[list[float]]:
        height, width = pixels.shape[:2]
        detector = cv2.FaceDetectorYN.create(str(weights), "", (width, height), 0.6)
        _, found = detector.detect(numpy.ascontiguousarray(pixels[..., ::-1]))
        return [] if found is None else (found[:, :4] / [width, height, width, height]).tolist()

    before = decoded(media / "help.mkv")
    keys = [(round(at * 1000), tuple(faces(pixels)[0])) for at, pixels in before[::15]]
    done = render(media / "help.mkv", recipe("video", [region(*keys, start=0, end=2000, fill="solid")]))
    after = decoded(done.result.path)
    assert len(after) == len(before) and all(faces(pixels) for _, pixels in before[::6])
    assert not any(faces(pixels) for _, pixels in after[::3])


# --- sound ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Two seconds of video that start after their sound, a tone of 440 Hz, with a second sound and subtitles."""
    folder = tmp_path_factory.mktemp("spoken")
    plain, subtitles = video(folder / "plain.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p"), folder / "s.srt"
    subtitles.write_text("1\n00:00:00,000 --> 00:00:01,000\nSecretWords\n")
    out = folder / "spoken.mkv"
    ffmpeg("-itsoffset", "0.0333", "-i", str(plain), "-f", "lavfi", "-i", "sine=frequency=440:duration=2", "-f", "lavfi", "-i",
           "sine=frequency=880:duration=2", "-i", str(subtitles), "-map", "0", "-map", "1", "-map", "2", "-map", "3",
           "-c:v", "copy", "-c:a", "aac", "-attach", str(subtitles), "-metadata:s:t", "mimetype=text/plain",
           str(out))  # fmt: skip
    return out


def loud(part: numpy.ndarray) -> float:
    return float(numpy.abs(part).max())


def pitch(part: numpy.ndarray) -> float:
    """The strongest frequency, in Hz."""
    spectrum = numpy.abs(numpy.fft.rfft(part[:, 0] * numpy.hanning(len(part))))
    return float(numpy.argmax(spectrum) * 48_000 / len(part))


def test_muted_ranges_are_digital_silence_lowered_ones_are_lower_and_the_rest_is_heard(render, spoken):
    ranges = [{"do": "mute", "from_ms": 500, "to_ms": 1000}, {"do": "pitch", "from_ms": 1300, "to_ms": 2000}]
    whole = region((0, (0.0, 0.0, 1.0, 1.0)), start=0, end=413)
    path = render(spoken, recipe("video", [whole], sound={"do": "ranges", "ranges": ranges})).result.path
    frames = decoded(path)
    assert frames[0][0] == 0.0 and round(frames[1][0] * 25 % 1, 2) > 0.01, (
        "the gap before it is part of its first frame"
    )
    assert [green(pixels) == 0 for _, pixels in frames] == [at <= 0.413 for at, _ in frames]
    heard = samples(path)
    assert loud(heard[48 * 540 : 48 * 960]) == 0.0
    assert loud(heard[48 * 500 : 48 * 1000]) < 0.02, (
        "at its ends only what the encoder smears of what is heard"
    )
    assert loud(heard[: 48 * 400]) > 0.05 and abs(pitch(heard[48 * 1060 : 48 * 1240]) - 440) < 8
    assert 440 * 0.68 < pitch(heard[48 * 1350 : 48 * 1900]) < 440 * 0.82
    assert abs(len(heard) - 96_000) < 4_000
    kinds = subprocess.run(
        ["ffprobe", "-v", "error", "-show_entries", "stream=codec_type", "-of", "csv=p=0", str(path)],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    assert sorted(kinds) == ["audio", "video"], "no second sound, no subtitles, no attachment"
    assert b"SecretWords" not in path.read_bytes()
