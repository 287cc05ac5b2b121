"""From bytes to frames: upright, guarded by size, and the frames of a video where something changes."""

import io
import subprocess

import av
import numpy
import pytest
from PIL import Image

from tests import cast
from triage.runtimes import decode
from triage.runtimes.decode import Chooser, Sampling, Undecodable


def clip(filters: str, *more: str, seconds: float = 6) -> bytes:
    """A clip out of ffmpeg's own test sources."""
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", filters, "-t", str(seconds), *more]
    command += [
        "-c:v",
        "libx264",
        "-pix_fmt",
        "yuv420p",
        "-movflags",
        "frag_keyframe+empty_moov",
        "-f",
        "mp4",
        "-",
    ]
    return subprocess.run(command, check=True, capture_output=True).stdout


def times(data: bytes, sampling: Sampling) -> list[int]:
    return [at for at, _ in decode.video(io.BytesIO(data), sampling)]


def test_a_photograph_is_turned_upright_as_its_exif_says():
    out, picture = io.BytesIO(), Image.new("RGB", (40, 20), "blue")
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(out, "JPEG", exif=exif)
    assert decode.image(out.getvalue()).shape == (40, 20, 3)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"%PDF-1.4 not a picture", "cannot-decode"),
        (cast.jpeg()[:20] + bytes(500), "cannot-decode"),
    ],
    ids=["empty", "not_a_picture", "only_a_head"],
)
def test_what_cannot_be_decoded_says_so(data, code):
    with pytest.raises(Undecodable) as caught:
        decode.image(data)
    assert caught.value.code == code


def test_formats_that_only_ffmpeg_knows_are_decoded_too():
    out = io.BytesIO()
    with av.open(out, "w", format="mjpeg") as container:  # a bare motion-JPEG stream stands for such formats
        stream = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for packet in stream.encode(av.VideoFrame.from_ndarray(numpy.zeros((48, 64, 3), numpy.uint8))):
            container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    assert decode.image(out.getvalue()).shape == (48, 64, 3)


def test_a_still_scene_is_looked_at_once_in_every_step():
    data = clip("color=c=gray:size=320x180:rate=10")
    assert times(data, Sampling(every_ms=2000)) == [0, 2000, 4000]


def test_the_first_frame_after_a_cut_is_looked_at():
    data = clip("color=c=black:size=320x180:rate=10,drawbox=c=white:t=fill:enable='between(t,1.25,2.65)'")
    assert times(data, Sampling(every_ms=10_000)) == [0, 1300, 2700]


def test_cuts_beyond_the_budget_are_made_up_later():
    flicker = clip(
        "color=c=black:size=320x180:rate=10,drawbox=c=white:t=fill:enable='mod(floor(t*5),2)'", seconds=20
    )
    sampling = Sampling(every_ms=10_000, per_minute=12)
    looked = times(flicker, sampling)
    assert len(looked) <= 2 + 6 + 2, "two regular frames, the allowance, and what came back in 20 s"
    assert looked[-1] > 10_000, "the budget is not spent at the start only"


def test_slow_movement_is_no_cut():
    data = clip("testsrc2=size=320x180:rate=25,scroll=horizontal=0.002")
    assert times(data, Sampling(every_ms=60_000)) == [0]


def test_a_long_video_is_looked_at_to_its_end_with_wider_steps():
    assert Sampling(1000, 90, 100).stretched(1_000_000) == Sampling(10_000, 90, 100)
    assert Sampling(1000, 90, 100).stretched(5_000).every_ms == 1000


def test_a_video_that_breaks_off_is_looked_at_as_far_as_it_goes():
    data = clip("testsrc2=size=320x180:rate=10")
    looked = times(data[: len(data) // 2], Sampling(every_ms=500))
    assert 0 < len(looked) < 12


def test_sound_alone_has_no_frames():
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=duration=1", "-f", "wav", "-"]
    sound = subprocess.run(command, check=True, capture_output=True).stdout
    with pytest.raises(Undecodable) as caught:
        times(sound, Sampling())
    assert caught.value.code == "no-frames"


def test_the_same_frames_give_the_same_choice():
    generator = numpy.random.default_rng(7)
    pictures = [generator.integers(0, 255, (36, 64), numpy.int16) for _ in range(60)]
    choices = [[Chooser(Sampling()).takes(0, pictures[0])] for _ in range(2)]
    for chosen in choices:
        chooser = Chooser(Sampling())
        chosen += [chooser.takes(n * 100, picture) for n, picture in enumerate(pictures)]
    assert choices[0] == choices[1]


def test_no_frame_is_enlarged():
    small = numpy.zeros((20, 30, 3), numpy.uint8)
    assert decode.at_most(small, 640) is small
    assert decode.at_most(numpy.zeros((2000, 1000, 3), numpy.uint8), 500).shape == (500, 250, 3)
