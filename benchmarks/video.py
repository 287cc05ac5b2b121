"""Processor seconds of a 1080p video, end to end in the model process, against decoding plus bare inference.

    python benchmarks/video.py [--clip FILE] [--seconds 8] [--rounds 3] [--json]

Ours: a video handed to the confined model process, decoded once, shots found, every tenth frame (or every frame) detected,
boxes checked on our side and followed as objects. The limit: PyAV decodes all of the same frames, and OpenVINO runs the same
network as often on a square that is ready. No conversion, no scaling, no boxes. Both have their model loaded before; each
round runs both sides after one another. What counts is processor seconds, of all threads and processes of a side: by the clock
a busy machine says nothing. Goals: the limit is at least 0.85 of ours with every tenth frame, 0.70 with every one.

The clip is made by ffmpeg: the given one (else ../shared/media/car-detection.mp4 below MEDIA, else a test pattern), scaled to
1920 x 1080, 30 frames a second, H.264. Weights come through MODEL_MIRROR.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOALS = {10: 0.85, 1: 0.70}
MODEL, DETECTOR = "yolo11n-int8-openvino", "yolo"
FRAMES_A_SECOND = 30
TICKS = os.sysconf("SC_CLK_TCK")
BARE = """
import resource, sys, av, numpy, openvino
clip, weights = sys.argv[1:]
network = openvino.Core().compile_model(weights + "/yolo11n.xml", "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
requests = openvino.AsyncInferQueue(network)
square = numpy.full((1, 3, 640, 640), 0.45, numpy.float32)
def used():
    told = resource.getrusage(resource.RUSAGE_SELF)
    return told.ru_utime + told.ru_stime
def look(every):
    frames = 0
    with av.open(clip) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            if frames % every == 0:
                requests.start_async({0: square})
            frames += 1
    requests.wait_all()
    return frames
requests.start_async({0: square})
requests.wait_all()
print("ready", flush=True)
for line in sys.stdin:
    began = used()
    frames = look(int(line))
    print(used() - began, frames, flush=True)
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clip", type=Path, help="a video to scale up")
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="amparo-benchmark-") as folder:
        os.environ |= {
            "AMPARO_DATA": folder,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "AMPARO_LOG_LEVEL": "ERROR",
        }
        sys.path.insert(0, str(ROOT))
        return compare(Path(folder), options)


def compare(folder: Path, options: argparse.Namespace) -> int:
    """Run both sides in turn and print the table. The exit status says whether the goals are met."""
    import django

    django.setup()
    from triage import registry

    for report in registry.pull([MODEL]):
        if report.fault:
            sys.exit(report.fault)
    clip = made(options.clip, options.seconds, folder / "clip.mp4")
    told = []
    for every, goal in GOALS.items():
        ours, bare = Ours(clip, every), Bare(clip, registry.folder() / MODEL)
        try:
            pairs = [(ours.look(), bare.look(every)) for _ in range(options.rounds)]
        finally:
            ours.close()
            bare.close()
        mine, limit = (statistics.median(side) for side in zip(*pairs, strict=True))
        told.append(
            {
                "every": every,
                "frames": ours.frames,
                "looked_at": ours.looked,
                "cpu_s": round(mine, 2),
                "limit_cpu_s": round(limit, 2),
                "share": round(limit / mine, 3),
                "rounds": [round(b / a, 3) for a, b in pairs],
                "goal": goal,
            }
        )
    if options.json:
        print(json.dumps(told, indent=1))
    else:
        for row in told:
            print(
                f"every {row['every']:>2}. of {row['frames']} frames detected ({row['looked_at']}): "
                f"{row['cpu_s']} processor seconds, limit {row['limit_cpu_s']}: {row['share']:.2f} "
                f"(goal {row['goal']:.2f}; rounds {', '.join(map(str, row['rounds']))})"
            )
    return 0 if all(row["share"] >= row["goal"] for row in told) else 1


class Ours:
    """The model process with the detector alone, looking at every so many frames."""

    def __init__(self, clip: Path, every: int) -> None:
        from triage import analysers, registry
        from triage.runtimes.decode import Sampling
        from triage.runtimes.process import ModelProcess

        chosen = [a for a in analysers.plan([registry.get(MODEL)]) if a.name == DETECTOR]
        # by time alone: no frame counts as moved, and a step is a little less than that of the frames
        step = every * 1000 // FRAMES_A_SECOND
        sampling = Sampling(every_ms=step, per_minute=60_000, frames=20_000, moved_by=256)
        self.clip, self.every, self.looked = clip, every, 0
        self.process = ModelProcess(chosen, sampling=sampling)
        self.process.start()
        self.look()
        self.frames = self.looked * every

    def look(self) -> float:
        """Look at the clip once; the processor seconds of this process and the model process."""
        from triage import tracks
        from triage.runtimes.process import Work

        began = self._used()
        work = Work(1, "video", self.clip.stat().st_size, lambda: self.clip.open("rb"), 3600.0)
        (outcome,) = self.process.look([work])
        if not outcome.looked:
            sys.exit(f"the clip was not looked at: {outcome.sentence}")
        tracks.followed(outcome.looked, outcome.shots)
        self.looked = len(outcome.looked[0].at_ms)
        return self._used() - began

    def _used(self) -> float:
        """Processor seconds of this process and its living descendants but the bare ones."""
        seconds, waiting = 0.0, [os.getpid()]
        while waiting:
            pid = waiting.pop()
            words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            seconds += (int(words[11]) + int(words[12])) / TICKS
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting += {int(c) for c in (task / "children").read_text().split()} - Bare.pids
        return seconds

    def close(self) -> None:
        self.process.close()


class Bare:
    """Decoding and inference alone, in a process of its own."""

    pids: set[int] = set()

    def __init__(self, clip: Path, weights: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", BARE, str(clip), str(weights)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        Bare.pids.add(self.process.pid)
        self.process.stdout.readline()

    def look(self, every: int) -> float:
        """Processor seconds of the same work."""
        print(every, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline().split()[0])

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def made(source: Path | None, seconds: int, out: Path) -> Path:
    """A clip of 1920 x 1080, 30 frames a second, H.264."""
    given = source or Path(os.environ.get("MEDIA", ROOT.parent / "shared" / "media")) / "car-detection.mp4"
    pattern = ["-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=30"]
    command = ["ffmpeg", "-v", "error", *(["-i", str(given)] if given.exists() else pattern)]
    command += ["-t", str(seconds), "-an", "-vf", f"scale=1920:1080,fps={FRAMES_A_SECOND}"]
    subprocess.run([*command, "-c:v", "libx264", "-pix_fmt", "yuv420p", str(out)], check=True)
    return out


if __name__ == "__main__":
    sys.exit(main())
