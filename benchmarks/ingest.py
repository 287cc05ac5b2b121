"""Ingest of mixed files from the command line, against `cp` plus `sha256sum` plus `sync` of the same files.

    python benchmarks/ingest.py [--gib 2] [--rounds 3] [--json]

Ours is the whole command: start, hash, encrypt, every file durable, rows, custody events and jobs committed. The peer
copies, hashes the copies and syncs once at the end. The sides take turns within one run. Goal: at least 0.7 of the
peer's throughput, peak memory under 300 MB. A temporary instance is made and removed.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOAL, MEMORY_GOAL_MB = 0.7, 300
LARGE_MIB = (100, 150, 200, 250, 300, 400)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gib", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work; on the disk that is to be measured")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="amparo-benchmark-", dir=options.folder) as folder:
        files = Path(folder) / "files"
        size, count = make(files, int(options.gib * 2**30))
        env = prepare(Path(folder) / "prepared")
        rounds = []
        for number in range(options.rounds):
            sides = [ours, peer] if number % 2 == 0 else [peer, ours]
            rounds.append({side.__name__: side(files, Path(folder), env, number) for side in sides})
    return report(rounds, size, count, options.json)


def make(folder: Path, size: int) -> tuple[int, int]:
    """Photographs and videos by size: many of 50 KB to 3 MB, some of 100 to 400 MB, as far as there is room."""
    dice, left, count = random.Random(1), size, 0
    for mib in LARGE_MIB:
        if mib * 2**20 <= left * 0.66:
            left -= write(folder / "video" / f"{mib}.mp4", mib * 2**20, dice)
            count += 1
    while left > 0:
        length = min(left, int(50_000 * 60 ** dice.random()))
        left -= write(folder / f"card{count % 7}" / f"DSC{count:05}.JPG", length, dice)
        count += 1
    return size, count


def write(path: Path, length: int, dice: random.Random) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for start in range(0, length, 1 << 20):
            file.write(dice.randbytes(min(1 << 20, length - start)))
    return length


def prepare(folder: Path) -> dict[str, str]:
    """An instance with one case, as it is before a first ingest."""
    env = os.environ | {"AMPARO_DATA": str(folder), "AMPARO_LOG_LEVEL": "ERROR"}
    env.pop("DATABASE_URL", None)
    env.pop("CELERY_BROKER_URL", None)
    code = "import django; django.setup(); from config import instance; instance.create()"
    run = {"env": env | {"DJANGO_SETTINGS_MODULE": "config.settings"}, "cwd": ROOT, "check": True}
    subprocess.run([sys.executable, "-c", code], **run)
    for command in (["migrate", "-v0"], ["case", "open", "B1", "--title", "Benchmark"], ["vault", "orphans"]):
        subprocess.run([sys.executable, "manage.py", *command], capture_output=True, **run)
    return env


def ours(files: Path, folder: Path, env: dict[str, str], number: int) -> dict:
    """`manage.py ingest` into a fresh instance."""
    home = folder / f"instance{number}"
    shutil.copytree(env["AMPARO_DATA"], home)
    os.sync()
    command = [sys.executable, "manage.py", "ingest", str(files), "--recursive", "--case", "B1"]
    began = time.perf_counter()
    child = subprocess.Popen(
        command, cwd=ROOT, env=env | {"AMPARO_DATA": str(home)}, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        sys.exit(f"ingest ended with {status}")
    shutil.rmtree(home)
    return {"seconds": seconds, "peak_mb": used.ru_maxrss / 1024, "cpu_s": used.ru_utime + used.ru_stime}


def peer(files: Path, folder: Path, env: dict[str, str], number: int) -> dict:
    """cp, sha256sum, sync."""
    copy = folder / f"copy{number}"
    os.sync()
    began, before = time.perf_counter(), os.times()
    script = 'cp -r "$0" "$1" && find "$1" -type f -print0 | xargs -0 sha256sum >/dev/null && sync'
    subprocess.run(["bash", "-c", script, files, copy], check=True)
    seconds, after = time.perf_counter() - began, os.times()
    shutil.rmtree(copy)
    cpu = sum(after[2:4]) - sum(before[2:4])
    return {"seconds": seconds, "cpu_s": cpu}


def report(rounds: list[dict], size: int, count: int, as_json: bool) -> int:
    """Print a table; exit 1 when a goal was missed."""
    ratios = [r["peer"]["seconds"] / r["ours"]["seconds"] for r in rounds]
    ratio, peak = statistics.median(ratios), max(r["ours"]["peak_mb"] for r in rounds)
    good = ratio >= GOAL and peak < MEMORY_GOAL_MB
    if as_json:
        print(json.dumps({"rounds": rounds, "bytes": size, "files": count, "ratio": ratio, "peak_mb": peak}))
        return not good
    print(f"{count:,} files, {size / 2**30:.1f} GiB, SQLite, {os.cpu_count()} cores\n")
    print("round   amparo ingest                 cp + sha256sum + sync         throughput ratio")
    for number, (r, one) in enumerate(zip(rounds, ratios, strict=True), 1):
        mine, other = r["ours"], r["peer"]
        print(
            f"{number:>5}   {mine['seconds']:6.1f} s {size / mine['seconds'] / 1e6:5.0f} MB/s {mine['cpu_s']:5.1f} s CPU   "
            f"{other['seconds']:6.1f} s {size / other['seconds'] / 1e6:5.0f} MB/s {other['cpu_s']:5.1f} s CPU   {one:.2f}"
        )
    print(
        f"\nmedian ratio {ratio:.2f} (goal {GOAL}); peak memory {peak:.0f} MB (goal under {MEMORY_GOAL_MB} MB)"
    )
    print("reached" if good else "MISSED")
    return not good


if __name__ == "__main__":
    sys.exit(main())
