"""Images per second, end to end, against a bare ultralytics loop on the same weights and the same images.

    python benchmarks/triage.py [--images FOLDER] [--rounds 3] [--faces] [--json]

End to end: jobs claimed, bytes read from the vault, decoded and detected in the confined process, stored with their
custody events, scored and placed. Bare: `for path in images: YOLO(weights).predict(path)`, model loaded, in a process
of its own. The sides take turns on the same images within one run. Goal: at least 0.9 of the bare loop.

Weights come through MODEL_MIRROR. Without --images, crops of the two photographs in the ultralytics package are used.
A temporary instance is made and removed.
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
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOAL = 0.9
BATCH = 64
MODEL = "yolo11n-int8-openvino"
TICKS = os.sysconf("SC_CLK_TCK")

BARE = """
import os, sys, time
from ultralytics import YOLO, settings
settings.update({"sync": False})
model = YOLO(sys.argv[1], task="detect")
for line in sys.stdin:
    paths = line.rstrip("\\n").split("\\t")
    if paths == ["warm"]:
        import numpy
        model.predict(numpy.zeros((64, 64, 3), "uint8"), verbose=False)
        print("ready", flush=True)
        continue
    began, found = time.perf_counter(), 0
    for path in paths:
        found += len(model.predict(path, verbose=False)[0].boxes)
    print(time.perf_counter() - began, found, flush=True)
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, help="a folder of JPEGs, searched to the bottom")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--faces", action="store_true", help="also run the face detector on our side")
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
    case, weights = prepare(folder, faces=options.faces)
    images = find_images(options.images, folder / "images")
    share = len(images) // options.rounds // BATCH * BATCH  # jobs are claimed by whole batches
    if not share:
        sys.exit(f"{len(images)} images are too few for {options.rounds} rounds of at least {BATCH}.")
    rounds = [images[i * share : (i + 1) * share] for i in range(options.rounds)]
    take_in(case, [path for paths in rounds for path in paths])

    from triage import analysers, pipeline

    if not options.faces:  # the bare loop looks for no faces either
        pipeline.station.choose = lambda entries: [a for a in analysers.plan(entries) if a.entry]
    environment = os.environ | {
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_CONFIG_DIR": str(folder),
    }
    bare = subprocess.Popen(
        [sys.executable, "-c", BARE, str(weights)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    ask(bare, "warm")
    with pipeline.station:
        pass  # one model load, as a worker has it
    rows = []
    for number, paths in enumerate(rounds):
        sides = {
            "bare": lambda paths=paths: run_bare(bare, paths),
            "ours": lambda paths=paths: run_ours(len(paths)),
        }
        rows.append(
            {side: sides[side]() for side in (("bare", "ours") if number % 2 == 0 else ("ours", "bare"))}
        )
    bare.stdin.close()
    bare.wait()
    pipeline.station.close()
    return report(rows, options, check(case, sum(len(paths) for paths in rounds)))


def prepare(folder: Path, *, faces: bool) -> tuple:
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
    names = [MODEL, "yunet-2026may"] if faces else [MODEL]
    for result in registry.pull(names):
        if result.fault:
            sys.exit(result.fault)
    weights = folder / "bare_openvino_model"
    shutil.copytree(registry.folder() / MODEL, weights)
    return cases.open_case(code="BENCH", title="Benchmark", actor=Actor.operator()), weights


def find_images(given: Path | None, own: Path) -> list[Path]:
    """The images to use: those given, or 192 different crops of ultralytics' two photographs."""
    if given:
        return sorted(path for path in given.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    from PIL import Image

    own.mkdir()
    package = Path(importlib.util.find_spec("ultralytics").origin).parent
    for name in ("bus.jpg", "zidane.jpg"):
        whole = Image.open(package / "assets" / name)
        for n in range(96):
            left, top = (n % 12) * 8, (n // 12) * 8
            whole.crop((left, top, whole.width - 96 + left, whole.height - 64 + top)).save(
                own / f"{n:03}-{name}", quality=90
            )
    return sorted(own.iterdir())


def take_in(case: object, images: list[Path]) -> None:
    """Ingest, and note as examined what a benchmark of triage need not examine."""
    from django.db import transaction
    from django.utils import timezone

    from archive import custody, ingest
    from archive.custody import Actor
    from archive.models import Acquisition

    for number, path in enumerate(images):
        # a few bytes behind the picture make equal pictures different items
        content = io.BytesIO(path.read_bytes() + f"\n{number}".encode())
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

    had, before, began = Detection.objects.count(), cpu_seconds(os.getpid(), mine=True), time.perf_counter()
    jobs.run_waiting("triage.analyse", most=count)
    seconds = time.perf_counter() - began
    found = Detection.objects.count() - had
    return side(count, seconds, cpu_seconds(os.getpid(), mine=True) - before, found)


def side(count: int, seconds: float, cpu: float, found: int) -> dict:
    return {"images": count, "per_second": count / seconds, "cpu_ms": 1000 * cpu / count, "found": found}


def ask(process: subprocess.Popen, words: str) -> str:
    process.stdin.write(words + "\n")
    process.stdin.flush()
    return process.stdout.readline()


def cpu_seconds(root: int, *, mine: bool = False) -> float:
    """Processor seconds of a process and its living descendants (of this one: without the bare loop)."""
    total, waiting = 0.0, [root]
    while waiting:
        pid = waiting.pop()
        words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += (int(words[11]) + int(words[12])) / TICKS
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                command = Path(f"/proc/{child}/cmdline").read_bytes()
                if not (mine and pid == root and b"from ultralytics import YOLO" in command):
                    waiting.append(child)
    return total


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


def report(rows: list[dict], options: argparse.Namespace, fault: str) -> int:
    ratios = [row["ours"]["per_second"] / row["bare"]["per_second"] for row in rows]
    ratio, met = statistics.median(ratios), statistics.median(ratios) >= GOAL and not fault
    if options.json:
        print(json.dumps({"rounds": rows, "ratios": ratios, "median": ratio, "goal": GOAL, "fault": fault}))
        return 0 if met else 1
    print(
        f"{'round':<7}{'images':>7}{'bare /s':>10}{'ours /s':>10}{'ratio':>8}{'bare cpu ms':>13}{'ours cpu ms':>13}{'found':>12}"
    )
    for number, (row, part) in enumerate(zip(rows, ratios, strict=True), 1):
        bare, ours = row["bare"], row["ours"]
        print(
            f"{number:<7}{bare['images']:>7}{bare['per_second']:>10.1f}{ours['per_second']:>10.1f}{part:>8.2f}"
            f"{bare['cpu_ms']:>13.1f}{ours['cpu_ms']:>13.1f}{bare['found']:>6}/{ours['found']}"
        )
    print(
        f"median ratio {ratio:.2f}; goal {GOAL}: {'met' if met else 'NOT MET'}{' ' + fault if fault else ''}"
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
