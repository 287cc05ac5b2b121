"""Images per second, end to end, against bare OpenVINO and a bare ultralytics loop: same weights, same images.

    python benchmarks/triage.py [--images FOLDER] [--rounds 3] [--beside] [--json]

End to end: jobs claimed, bytes read from the vault, decoded and detected in the confined process, stored with their
custody events, scored and placed. Bare OpenVINO: its throughput mode (AsyncInferQueue, as many requests as it wants) on
pictures decoded and fitted as ours are, boxes read. Bare ultralytics: `YOLO(weights).predict(path)` in a loop. Each has its model
loaded, in a process of its own. The sides take turns on the same images. Goals: 0.85 of bare OpenVINO, above ultralytics;
less than 2 GB of memory for a worker and its model process together.

--beside: then what each other analyser adds, in CPU milliseconds an image. Weights come through MODEL_MIRROR. Without --images,
crops of the two photographs in the ultralytics package are used. A temporary instance is made and removed.
"""

import argparse
import importlib.util
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOALS = {"openvino": 0.85, "ultralytics": 1.0}
MEMORY_GOAL = 2e9
BATCH = 128  # triage.pipeline.BATCH
MODEL, DETECTOR = "yolo11n-int8-openvino", "yolo"
TICKS = os.sysconf("SC_CLK_TCK")
WAITING = """
import sys, time
for line in sys.stdin:
    paths = line.rstrip("\\n").split("\\t")
    if paths == ["warm"]:
        look([], warm=True)
        print("ready", flush=True)
        continue
    began, boxes_found = time.perf_counter(), look(paths)
    print(time.perf_counter() - began, boxes_found, flush=True)
"""
BARE = {
    "ultralytics": """
import sys, numpy
from ultralytics import YOLO, settings
settings.update({"sync": False})
model = YOLO(sys.argv[1], task="detect")
def look(paths, warm=False):
    images = [numpy.zeros((64, 64, 3), "uint8")] if warm else paths
    return sum(len(model.predict(one, verbose=False)[0].boxes) for one in images)
"""
    + WAITING,
    "openvino": """
import sys, cv2, numpy, openvino
from openvino.preprocess import ColorFormat, PrePostProcessor
core = openvino.Core()
steps = PrePostProcessor(core.read_model(sys.argv[1] + "/yolo11n.xml"))
tensor = steps.input().tensor()
tensor.set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC")).set_color_format(ColorFormat.BGR)
steps.input().preprocess().convert_color(ColorFormat.RGB).convert_element_type(openvino.Type.f32).scale(255)
steps.input().model().set_layout(openvino.Layout("NCHW"))
queue = openvino.AsyncInferQueue(core.compile_model(steps.build(), "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"}))
found = []
def boxes(request, number):
    rows = request.get_output_tensor(0).data[0]
    scores = rows[4:].max(axis=0)
    kept = scores > 0.25
    if kept.any():
        corners = rows[:4, kept].T.copy()
        corners[:, :2] -= corners[:, 2:] / 2
        classes = rows[4:, kept].argmax(axis=0)
        found.append(len(cv2.dnn.NMSBoxesBatched(corners, scores[kept], classes, 0.25, 0.7)))
queue.set_callback(boxes)
def fitted(pixels):
    scale = 640 / max(pixels.shape[:2])
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    square = numpy.full((640, 640, 3), 114, numpy.uint8)
    top, left = (640 - height) // 2, (640 - width) // 2
    square[top : top + height, left : left + width] = cv2.resize(pixels, (width, height))
    return square[None]
def look(paths, warm=False):
    found.clear()
    for image in [numpy.zeros((64, 64, 3), "uint8")] if warm else map(cv2.imread, paths):
        queue.start_async({0: fitted(image)})
    queue.wait_all()
    return sum(found)
"""
    + WAITING,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, help="a folder of JPEGs, searched to the bottom")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beside", action="store_true", help="what each other analyser adds to an image")
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
    """Set up, run the sides in turn, print the table. The exit status says whether the goal is met."""
    case, weights = prepare(folder)
    images = find_images(options.images, folder / "images")
    share = len(images) // options.rounds // BATCH * BATCH  # jobs are claimed by whole batches
    if not share:
        sys.exit(f"{len(images)} images are too few for {options.rounds} rounds of at least {BATCH}.")
    rounds = [images[i * share : (i + 1) * share] for i in range(options.rounds)]
    take_in(case, [path for paths in rounds for path in paths])

    from triage import pipeline

    choose([DETECTOR])  # like with like: the bare sides detect and do nothing else
    bare = {name: start(program, weights, folder) for name, program in BARE.items()}
    with pipeline.station:
        pass  # one model load, as a worker has it
    rows = []
    for number, paths in enumerate(rounds):
        sides = {name: partial(run_bare, process, paths) for name, process in bare.items()}
        sides["ours"] = partial(run_ours, len(paths))
        order = [*sides][number % 3 :] + [*sides][: number % 3]
        rows.append({name: sides[name]() for name in order})
    memory = {"worker": resident(os.getpid()), "model process": sum(map(resident, children(os.getpid())[1:]))}
    for process in bare.values():
        process.stdin.close()
        process.wait()
    fault = check(case, sum(len(paths) for paths in rounds))
    beside = costs(case, images[:BATCH], rows) if options.beside else {}
    pipeline.station.close()
    return report(rows, memory, beside, options, fault)


def start(program: str, weights: Path, folder: Path) -> subprocess.Popen:
    """A bare side, its model loaded and warm."""
    environment = os.environ | {
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_CONFIG_DIR": str(folder),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(weights)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    ask(process, "warm")
    return process


def choose(names: list[str]) -> None:
    """Let the next model process run these analysers."""
    from triage import analysers, pipeline

    pipeline.station.close()
    pipeline.station.choose = lambda entries: [a for a in analysers.plan(entries) if a.name in names]


def costs(case: object, images: list[Path], rows: list[dict]) -> dict[str, float]:
    """CPU milliseconds an image that each other analyser adds to the detector's."""
    from triage import analysers, pipeline, registry

    alone = statistics.median(row["ours"]["cpu_ms"] for row in rows)
    found = {}
    for analyser in analysers.plan(registry.in_use()):
        if analyser.name != DETECTOR:
            choose([DETECTOR, analyser.name])
            take_in(case, images, word=analyser.name)
            with pipeline.station:
                pass
            found[analyser.name] = run_ours(len(images))["cpu_ms"] - alone
    return found


def prepare(folder: Path) -> tuple:
    """A fresh instance with a case, and the weights in a folder for the bare loop."""
    import django

    django.setup()
    from django.core.management import call_command

    from archive import cases
    from archive.custody import Actor
    from config import instance
    from triage import registry

    instance.create()
    call_command("migrate", verbosity=0)
    for result in registry.pull(
        [entry.name for entry in registry.models().values() if entry.stage == "in use"]
    ):
        if result.fault:
            sys.exit(result.fault)
    weights = folder / "bare_openvino_model"
    shutil.copytree(registry.folder() / MODEL, weights)
    return cases.open_case(code="BENCH", title="Benchmark", actor=Actor.operator()), weights


def find_images(given: Path | None, own: Path) -> list[Path]:
    """The images to use: those given, or 384 different crops of ultralytics' two photographs."""
    if given:
        return sorted(path for path in given.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    from PIL import Image

    own.mkdir()
    package = Path(importlib.util.find_spec("ultralytics").origin).parent
    for name in ("bus.jpg", "zidane.jpg"):
        whole = Image.open(package / "assets" / name)
        for n in range(192):
            left, top = (n % 12) * 8, (n // 12) * 4
            whole.crop((left, top, whole.width - 96 + left, whole.height - 64 + top)).save(
                own / f"{n:03}-{name}", quality=90
            )
    return sorted(own.iterdir())


def take_in(case: object, images: list[Path], word: str = "") -> None:
    """Ingest, and note as examined what a benchmark of triage need not examine."""
    from django.db import transaction
    from django.utils import timezone

    from archive import custody, ingest
    from archive.custody import Actor
    from archive.models import Acquisition

    for number, path in enumerate(images):
        # a few bytes behind the picture make equal pictures different items
        content = io.BytesIO(path.read_bytes() + f"\n{word}{number}".encode())
        origin = ingest.Origin(Acquisition.Method.COMMAND, "benchmark", path.name)
        item = ingest.acquire(case=case, actor=Actor.operator(), stream=content, origin=origin).item
        with transaction.atomic():
            custody.change(
                item,
                event="item.examined",
                actor=Actor.system("worker"),
                kind="image",
                media_type="image/jpeg",
                condition="ok",
                examined_at=timezone.now(),
            )


def run_bare(process: subprocess.Popen, paths: list[Path]) -> dict:
    before = cpu_seconds(process.pid)
    seconds, found = ask(process, "\t".join(map(str, paths))).split()
    return side(len(paths), float(seconds), cpu_seconds(process.pid) - before, int(found))


def run_ours(count: int) -> dict:
    from archive import jobs
    from triage.models import Detection

    had, before, began = Detection.objects.count(), cpu_seconds(os.getpid()), time.perf_counter()
    jobs.run_waiting("triage.analyse", most=count)
    seconds = time.perf_counter() - began
    found = Detection.objects.count() - had
    return side(count, seconds, cpu_seconds(os.getpid()) - before, found)


def side(count: int, seconds: float, cpu: float, found: int) -> dict:
    return {"images": count, "per_second": count / seconds, "cpu_ms": 1000 * cpu / count, "found": found}


def ask(process: subprocess.Popen, words: str) -> str:
    process.stdin.write(words + "\n")
    process.stdin.flush()
    return process.stdout.readline()


def children(root: int) -> list[int]:
    """A process and its living descendants; of this one without the bare sides."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        if b"def look(paths" in Path(f"/proc/{pid}/cmdline").read_bytes() and pid != root:
            continue
        found.append(pid)
        for task in Path(f"/proc/{pid}/task").iterdir():
            waiting += map(int, (task / "children").read_text().split())
    return found


def cpu_seconds(root: int) -> float:
    """Processor seconds of a process and its living descendants."""
    stats = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in children(root)]
    return sum(int(words[11]) + int(words[12]) for words in stats) / TICKS


def resident(pid: int) -> int:
    """The most memory that a process had resident, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def check(case: object, expected: int) -> str:
    """Nothing was left out: one analysis, one event and one place in the order for every image."""
    from archive.models import CustodyEvent
    from triage.models import Analysis, Standing

    analyses = Analysis.objects.filter(item__case=case).values("item").distinct().count()
    events = CustodyEvent.objects.filter(type="item.analysed").values("subject").distinct().count()
    placed = Standing.objects.filter(case=case, state="scored").count()
    if (analyses, events, placed) != (expected, expected, expected):
        return f"{expected} images, but {analyses} analyses, {events} events, {placed} scored"
    return ""


def report(
    rows: list[dict],
    memory: dict[str, int],
    beside: dict[str, float],
    options: argparse.Namespace,
    fault: str,
) -> int:
    """The table, and whether every goal is met."""
    ratios = {
        name: statistics.median(row["ours"]["per_second"] / row[name]["per_second"] for row in rows)
        for name in GOALS
    }
    cpu = {
        name: statistics.median(row[name]["cpu_ms"] / row["ours"]["cpu_ms"] for row in rows) for name in GOALS
    }
    met = not fault and all(ratios[name] >= goal for name, goal in GOALS.items())
    met = met and sum(memory.values()) < MEMORY_GOAL
    if options.json:
        told = {
            "rounds": rows,
            "ratios": ratios,
            "cpu_ratios": cpu,
            "memory": memory,
            "beside_cpu_ms": beside,
        }
        print(json.dumps({**told, "load": os.getloadavg(), "goals": GOALS, "fault": fault, "met": met}))
        return 0 if met else 1
    print(f"{'round':<7}{'images':>7}{'side':>14}{'a second':>10}{'cpu ms':>9}{'found':>8}")
    for number, row in enumerate(rows, 1):
        for name, one in row.items():
            print(
                f"{number:<7}{one['images']:>7}{name:>14}{one['per_second']:>10.1f}{one['cpu_ms']:>9.1f}{one['found']:>8}"
            )
    for name, goal in GOALS.items():
        print(
            f"of bare {name}: {ratios[name]:.2f} by the clock (goal {goal}), {cpu[name]:.2f} in CPU seconds"
        )
    print(
        f"most memory: {', '.join(f'{name} {size / 1e6:.0f} MB' for name, size in memory.items())} (goal under 2 GB)"
    )
    for name, more in beside.items():
        print(f"{name} beside the detector: {more:+.1f} cpu ms an image")
    print(
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {'met' if met else 'NOT MET'} {fault}".rstrip()
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
