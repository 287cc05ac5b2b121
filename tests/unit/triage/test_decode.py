"""From bytes to frames: upright, guarded by size, and the frames of a video where something changes."""

import io
import subprocess

import av
import numpy
import pytest
from PIL import Image

from tests import cast
from triage.runtimes import decode
from triage.runtimes.decode import Sampling, Undecodable
from triage.runtimes.shots import Shots, small

pytestmark = pytest.mark.slow


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
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "cannot-decode"),
    ],
    ids=["empty", "not_a_picture", "only_a_head", "no_decoder_for_it"],
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


# A busy clip is looked at in even steps of the whole budget; these ask for movement to be left out of it.
STILL = {"moved_by": 255}


def test_a_new_shot_is_looked_at():
    data = clip("color=c=black:size=320x180:rate=10,drawbox=c=white:t=fill:enable='between(t,1.25,2.65)'")
    shots = Shots()
    looked = [at for at, _ in decode.video(io.BytesIO(data), Sampling(every_ms=10_000, **STILL), shots=shots)]
    assert shots.told() == [(0, 1200), (1300, 2600), (2700, 5900)]
    assert looked == [0, 1500, 2900], "a cut is known two frames later"


def test_what_moves_is_followed_within_the_budget():
    still = clip("color=c=gray:size=320x180:rate=25", seconds=20)
    busy = clip("testsrc2=size=320x180:rate=25", seconds=20)
    sampling = Sampling(every_ms=1000, per_minute=120)
    assert len(times(still, sampling)) == 20
    looked = times(busy, sampling)
    assert looked[1] - looked[0] == 280, "half of the even step of 500 ms, at the first frame after it"
    assert looked[-1] - looked[-2] >= 480, "what was saved up is spent: even steps"
    assert 40 <= len(looked) <= 40 + 20, "the budget, and what 10 s of stillness save up"


def test_slow_movement_is_no_cut_but_is_looked_at():
    data = clip("testsrc2=size=320x180:rate=25,scroll=horizontal=0.002")
    shots = Shots()
    assert [at for at, _ in decode.video(io.BytesIO(data), Sampling(**STILL), shots=shots)] == [
        0,
        1000,
        2000,
        3000,
        4000,
        5000,
    ]
    assert shots.cuts == []


def test_a_flash_begins_at_most_one_shot():
    data = clip("color=c=black:size=320x180:rate=25,drawbox=c=white:t=fill:enable='between(t,1.99,2.07)'")
    shots = Shots()
    list(decode.video(io.BytesIO(data), Sampling(), shots=shots))
    assert len(shots.cuts) <= 1


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p", "yuv420p10le", "gray", "nv12", "rgb24"])
def test_every_kind_of_frame_is_made_small_alike(pixels):
    frame = av.VideoFrame.from_ndarray(numpy.full((90, 160, 3), (200, 80, 40), numpy.uint8), "bgr24")
    made = small(frame.reformat(format=pixels))
    assert made.shape == (36, 64, 3) and made.dtype == numpy.uint8
    wanted = (86, 86, 86) if pixels == "gray" else (200, 80, 40)
    assert abs(made.mean(axis=(0, 1)) - wanted).max() < 20


def test_a_long_video_is_looked_at_to_its_end_with_wider_steps():
    wide = Sampling(every_ms=1000, per_minute=90, frames=100).stretched(1_000_000)
    assert (wide.every_ms, wide.per_minute) == (10_000, 6)
    assert Sampling(1000, 90, 100).stretched(5_000) == Sampling(1000, 90, 100)


def test_a_video_that_breaks_off_is_looked_at_as_far_as_it_goes():
    data = clip("testsrc2=size=320x180:rate=10")
    looked = times(data[: len(data) // 2], Sampling(every_ms=500, **STILL))
    assert 0 < len(looked) < 12


def test_sound_alone_has_no_frames():
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=duration=1", "-f", "wav", "-"]
    sound = subprocess.run(command, check=True, capture_output=True).stdout
    with pytest.raises(Undecodable) as caught:
        times(sound, Sampling())
    assert caught.value.code == "no-frames"


def test_the_same_frames_give_the_same_choice():
    data = clip("testsrc2=size=320x180:rate=25")
    assert times(data, Sampling(every_ms=400)) == times(data, Sampling(every_ms=400))


def test_a_phones_rotation_is_kept(tmp_path):
    (tmp_path / "flat.mp4").write_bytes(clip("testsrc2=size=320x180:rate=10", seconds=1))
    command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "flat.mp4"), "-c", "copy"]
    subprocess.run([*command, "-metadata:s:v:0", "rotate=90", str(tmp_path / "turned.mp4")], check=True)
    flat, turned = (
        next(decode.video((tmp_path / name).open("rb"), Sampling()))[1] for name in ("flat.mp4", "turned.mp4")
    )
    assert turned.shape == (320, 180, 3)
    assert (turned == numpy.rot90(flat)).all()


def test_no_frame_is_enlarged():
    small = numpy.zeros((20, 30, 3), numpy.uint8)
    assert decode.at_most(small, 640) is small
    assert decode.at_most(numpy.zeros((2000, 1000, 3), numpy.uint8), 500).shape == (500, 250, 3)
