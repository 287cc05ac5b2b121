"""Export and verification of a bundle, against bagit.py and sha256sum on the same bytes in the same run.

    python benchmarks/bundle.py [--small] [--size MIB] [--files N] [--rounds 3] [--json]

Ours: `bundle.export` into a folder: originals decrypted from the vault, hashed twice, written and made durable, custody
events with their proofs, decisions, reports, other formats and signature with them. Peer: what it takes to hand the same
files out as a bag with bagit.py: copy them, `bagit.make_bag` (SHA-256 and SHA-512), sync. Then checking:
verify_bundle.py, `bagit.py --validate` and `sha256sum --check`, each in a process of its own, with what the disk's cache
holds of the files given up before, as it is before each export. The sides take turns; medians are shown, of shares too,
each taken within one round. On a machine that others use, look at the seconds of processors: waiting for others is not
among them.

What bounds any program here: writing these bytes once and making them durable, and reading them once, each with both
hashes made beside it on cores of their own; the goals are shares of that. The bound writes as we know it to be fastest: in
pieces of 128 KiB (Linux with large folios takes pieces of 1 MiB with several times the processor time), each file sent to
the disk, in a thread of its own, while the next is written.

A temporary instance is made and removed. Needs five times the size in free space (AMPARO_BENCHMARK_DIR: where).
`--small` is 256 MiB and one round, to see that it runs.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MIB = 2**20
HANDED = 2**17  # bytes written at a time
GOAL, MOST_MEMORY = 0.9, 400


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=5120, help="MiB in large files of 64 MiB (default 5120)")
    parser.add_argument("--files", type=int, default=40, help="files of 200 kB beside them (default 40)")
    parser.add_argument("--small", action="store_true", help="256 MiB, one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.small:
        options.size, options.rounds = 256, 1
    with tempfile.TemporaryDirectory(
        prefix="amparo-benchmark-", dir=os.environ.get("AMPARO_BENCHMARK_DIR")
    ) as folder:
        os.environ |= {
            "AMPARO_DATA": f"{folder}/instance",
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "AMPARO_LOG_LEVEL": "ERROR",
        }
        sys.path.insert(0, str(ROOT))
        return compare(Path(folder), options)


def compare(folder: Path, options: argparse.Namespace) -> int:
    """Set up, run the sides in turn, print the table. The exit status says whether the goals are met."""
    case, files = prepare(folder, options.size, options.files)
    size = sum(file.stat().st_size for file in files)
    from archive.custody import Actor
    from evidence import bundle

    ours, bag = folder / "ours", folder / "bag"
    took: dict[str, list[tuple[float, float]]] = defaultdict(list)
    memory, vault, load = 0, folder / "instance", os.getloadavg()[0]
    for _ in range(options.rounds):
        forget(vault)
        reset_peak_memory()
        took["ours: bundle export"].append(
            timed(lambda: bundle.export(case=case, out=ours, actor=Actor.operator()))
        )
        memory = max(memory, peak_memory())
        forget(folder / "files")
        took["cp + bagit.make_bag + sync"].append(timed(lambda: peer(folder / "files", bag)))
        forget(folder / "files")
        took["bound: write once, both hashes"].append(timed(lambda: write_bound(files, folder / "bound")))
        shutil.rmtree(folder / "bound")
        for name, work, read in (
            (
                "ours: verify_bundle.py",
                lambda: run(bundle.VERIFIER, ours, "--key", bundle.fingerprint()),
                ours,
            ),
            ("bagit.py --validate", lambda: run(ROOT / bagit_file(), "--validate", bag), bag),
            ("sha256sum --check", lambda: summed(bag), bag),
            ("bound: read once, both hashes", lambda: read_bound(bag), bag),
        ):
            forget(read)
            took[name].append(timed(work))
        for used in (ours, bag):
            shutil.rmtree(used)
    print(f"load {load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end", file=sys.stderr)
    return show(took, size, len(files), memory, options.json)


def prepare(folder: Path, size: int, small: int) -> tuple[object, list[Path]]:
    """A new instance with a case of these files, and the files themselves."""
    (folder / "instance").mkdir()
    import django

    from config import instance

    instance.create()
    django.setup()
    from django.core.management import call_command

    from archive import cases, ingest
    from archive.custody import Actor

    call_command("migrate", verbosity=0)
    case = cases.open_case(code="BENCHMARK", title="Benchmark", actor=Actor.operator())
    (folder / "files").mkdir()
    sizes = [64 * MIB] * (size // 64) + [200_000] * small
    files = []
    for number, length in enumerate(sizes):
        file = folder / "files" / f"file-{number:04d}.bin"
        with file.open("wb") as out:
            for start in range(0, length, MIB):
                out.write(os.urandom(min(MIB, length - start)))
        found = ingest.Found(file, file.name)
        ingest.acquire_file(case=case, actor=Actor.operator(), found=found, tool="benchmark")
        files.append(file)
    return case, files


def peer(files: Path, bag: Path) -> None:
    """The same files as a durable bag, by bagit.py."""
    import bagit

    subprocess.run(["cp", "-r", files, bag], check=True)
    bagit.make_bag(str(bag), checksums=["sha256", "sha512"])
    os.sync()


def write_bound(files: list[Path], to: Path) -> None:
    """Hash each file twice while it is written, each hash on a core of its own if there is one; sync each behind it."""
    to.mkdir()
    with ThreadPoolExecutor(2) as pool, ThreadPoolExecutor(1) as syncer:
        synced = []
        for file in files:
            with (to / file.name).open("wb", buffering=0) as out:

                def write(piece: bytes, out: FileIO = out) -> None:
                    for start in range(0, len(piece), HANDED):
                        out.write(memoryview(piece)[start : start + HANDED])

                hashed(file, pool, write)
            synced.append(syncer.submit(sync, to / file.name))
        for each in synced:
            each.result()
    sync(to)


def sync(path: Path) -> None:
    """Make a file or folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def read_bound(bag: Path) -> None:
    """Read and hash each file twice."""
    with ThreadPoolExecutor(2) as pool:
        for file in sorted((bag / "data").iterdir()):
            hashed(file, pool, len)


def hashed(file: Path, pool: ThreadPoolExecutor, use: Callable[[bytes], object]) -> None:
    """Read a file once; two threads hash a piece while the next is read and used."""
    digests, waiting = (hashlib.sha256(), hashlib.sha512()), []
    with file.open("rb") as source:
        while piece := source.read(MIB):
            for each in waiting:
                each.result()
            waiting = [pool.submit(digest.update, piece) for digest in digests]
            use(piece)
    for each in waiting:
        each.result()


def summed(bag: Path) -> None:
    """sha256sum over the bag's payload."""
    subprocess.run(["sha256sum", "--quiet", "-c", "manifest-sha256.txt"], cwd=bag, check=True)


def forget(folder: Path) -> None:
    """Let the system give up what it holds of these files in memory, so that they come from the disk."""
    os.sync()
    for file in folder.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def run(program: Path, *arguments: object) -> None:
    """Run a Python program quietly. Raises CalledProcessError when it says no."""
    subprocess.run([sys.executable, program, *map(str, arguments)], check=True, capture_output=True)


def bagit_file() -> str:
    """Where bagit.py lies."""
    import bagit

    return bagit.__file__


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds that it took, by the clock and of processors (children included)."""
    began, before = time.perf_counter(), os.times()
    work()
    took, after = time.perf_counter() - began, os.times()
    return took, sum(after[:4]) - sum(before[:4])


def reset_peak_memory() -> None:
    """Begin a new measurement of this process's peak memory."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Peak memory since then, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) // 1024


def show(
    took: dict[str, list[tuple[float, float]]], size: int, count: int, memory: int, as_json: bool
) -> int:
    """Print the table; 0 when the goals are met."""
    clock = {name: statistics.median(wall for wall, _ in times) for name, times in took.items()}
    rates = {name: size / MIB / seconds for name, seconds in clock.items()}
    busy = {name: statistics.median(cpu for _, cpu in times) for name, times in took.items()}
    shares, work = {}, {}
    for name, ours, bound in (
        ("export", "ours: bundle export", "bound: write once, both hashes"),
        ("check", "ours: verify_bundle.py", "bound: read once, both hashes"),
    ):
        rounds = zip(took[ours], took[bound], strict=True)
        shares[name] = statistics.median(most[0] / mine[0] for mine, most in rounds)
        work[name] = busy[ours] / busy[bound]
    met = min(shares.values()) >= GOAL and memory <= MOST_MEMORY
    if as_json:
        told = {
            "MiB/s": rates,
            "processors_s": busy,
            "shares": shares,
            "work": work,
            "MiB": memory,
            "met": met,
        }
        print(json.dumps(told))
        return 0 if met else 1
    print(f"{count} files, {size / MIB:.0f} MiB; medians of {len(next(iter(took.values())))} rounds\n")
    for name, rate in rates.items():
        print(f"{name:34}{rate:8.0f} MiB/s {clock[name]:8.2f} s {busy[name]:8.2f} s of processors")
    print("\nOurs decrypts the originals, and holds reports for people, made meanwhile.")
    print()
    for name, share in shares.items():
        print(
            f"{name} against its bound: {share:.2f} (goal {GOAL}), with {work[name]:.2f} of its processor time"
        )
    for ours, other in (
        ("ours: bundle export", "cp + bagit.make_bag + sync"),
        ("ours: verify_bundle.py", "bagit.py --validate"),
        ("ours: verify_bundle.py", "sha256sum --check"),
    ):
        print(f"{ours} against {other}: {rates[ours] / rates[other]:.2f}")
    print(f"peak memory of export    {memory:5d} MiB, the whole process (goal {MOST_MEMORY})")
    print("goals met" if met else "GOALS NOT MET")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
