"""Where hostile bytes are decoded: bubblewrap with no network, no capabilities, little memory and a clock.

    run(argv, inputs={"original": path_or_fd}, limits=Limits(...))   one program, bounded output, whole tree killed
    popen(argv, read_only=[...])                                     the same confinement for a long-lived helper
    command(argv, read_only=[...])                                   the argument list alone

Inside there are /usr (read-only), the Python that runs us, /in (inputs, read-only), /out (only if asked for), and a
private /tmp that ends with the program. What comes back is untrusted: read it with `collect`.
"""

from __future__ import annotations

import enum
import functools
import os
import selectors
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from archive.errors import MediaError, SandboxUnavailable
from archive.media import control_group, seccomp

MIB = 1 << 20
_STDERR_TAIL = 8192
_OURS = 4  # bwrap's own two, and a little for the moment of counting
_INSTALL = (
    "Files are kept and nothing was lost, but none can be opened until this works. "
    "On Debian or Ubuntu: apt-get install bubblewrap. In a container, or where the system forbids user namespaces "
    "(kernel.apparmor_restrict_unprivileged_userns, user.max_user_namespaces): see docs/media.md, 'When the sandbox "
    "does not start'."
)


@dataclass(frozen=True)
class Limits:
    """What a confined program may use. 0 for cpu_s, address_mb or wall_s: no such limit (long-lived helpers)."""

    cpu_s: int = 60  # processor seconds of each process
    memory_mb: int = (
        1024  # private memory of each process (RLIMIT_DATA) and resident memory of the whole tree
    )
    wall_s: float = 120.0  # by the clock, for the whole tree; kept by run() only
    output_mb: int = 256  # each file, all of /out together, and stdout
    processes: int = 64  # processes and threads
    files: int = 256  # open descriptors of a process
    address_mb: int = 4096  # address space of each process; model runtimes reserve much and need 0
    tmp_mb: int = 256  # the private /tmp and /dev/shm, each


class Stopped(enum.StrEnum):
    """Why run() ended a program early."""

    TIME = "time"
    MEMORY = "memory"
    OUTPUT = "output"
    PROCESSES = "processes"


@dataclass(frozen=True)
class Finished:
    """A program that ended. `returncode` is negative for a signal; `stopped` says which limit we enforced, if any."""

    returncode: int
    untrusted_stdout: bytes
    untrusted_stderr: str
    outputs: Path | None
    stopped: Stopped | None
    wall_s: float

    @property
    def ok(self) -> bool:
        return self.returncode == 0 and self.stopped is None


def command(
    argv: Sequence[str],
    *,
    read_only: Sequence[Path] = (),
    writable: Path | None = None,
    limits: Limits | None = None,
    inputs: Mapping[str, Path | int] | None = None,
    env: Mapping[str, str] | None = None,
    python: bool = True,
    group: Path | None = None,
) -> list[str]:
    """The full argument list that runs `argv` confined.

    `read_only` paths appear under their own names, `writable` as /out, `inputs` as /in/<name> (an int is an open
    descriptor: its bytes are copied into the sandbox's memory, and the caller must let the child inherit it).
    `python` binds the interpreter that runs us and its packages. `group` is the control group that it joins first. The
    child ends with the thread that started it.
    Raises SandboxUnavailable.
    """
    limits = limits or Limits()
    bwrap = _bwrap()
    able = _abilities(bwrap)
    size = ["--size", str(limits.tmp_mb * MIB)] if "--size" in able else []
    line = [
        bwrap,
        "--unshare-all",
        "--unshare-user",
        "--uid",
        "65534",
        "--gid",
        "65534",
        "--hostname",
        "sandbox",
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
        "--clearenv",
    ]
    line += ["--disable-userns"] if "--disable-userns" in able and not _is_setuid(bwrap) else []
    line += [
        "--ro-bind",
        "/usr",
        "/usr",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        *size,
        "--tmpfs",
        "/tmp",
        *size,
        "--tmpfs",
        "/dev/shm",
    ]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        line += _merged("/" + name)
    for name in ("/etc/ld.so.cache", "/etc/alternatives", "/sys/devices/system/cpu"):
        line += ["--ro-bind-try", name, name]
    for path in [*(_python_paths() if python else ()), *map(str, read_only)]:
        line += ["--ro-bind", path, path]
    for name, source in (inputs or {}).items():
        if "/" in name or name in ("", ".", ".."):
            raise ValueError("an input's name inside the sandbox is ours, never a stranger's file name")
        bind = ["--ro-bind-data", str(source)] if isinstance(source, int) else ["--ro-bind", str(source)]
        line += [*bind, f"/in/{name}"]
    if writable is not None:
        line += ["--bind", str(writable), "/out"]
    surroundings = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        **(env or {}),
    }
    for key, value in surroundings.items():
        line += ["--setenv", key, value]
    line += ["--remount-ro", "/", "--remount-ro", "/dev", "--chdir", "/tmp"]
    # The limits are set inside: there the kernel counts this sandbox's processes, not all of our user's.
    line_inside = ["/usr/bin/prlimit", *_rlimits(limits), "--", *argv]
    # env -i before anything: /proc/1/environ inside would still show what bubblewrap itself was started with.
    start = ["/usr/bin/env", "-i", "/bin/sh", "-c"]
    script = "echo 700 >/proc/self/oom_score_adj 2>/dev/null; "
    script += f"echo $$ >{group}/cgroup.procs || exit 126; " if group else ""
    rules = _filter_path()
    if not rules:
        return [*start, script + 'exec "$@"', "sandbox", *line, "--", *line_inside]
    taken = {source for source in (inputs or {}).values() if isinstance(source, int)}
    free = next(
        number for number in range(9, 2, -1) if number not in taken
    )  # one digit: all that sh can redirect
    script += f'exec {free}<"$1" || exit 126; shift; exec "$@"'
    return [*start, script, "sandbox", rules, *line, "--seccomp", str(free), "--", *line_inside]


def popen(
    argv: Sequence[str],
    *,
    read_only: Sequence[Path] = (),
    writable: Path | None = None,
    limits: Limits | None = None,
    env: Mapping[str, str] | None = None,
    stderr: int | None = None,
) -> subprocess.Popen[bytes]:
    """A long-lived confined process with pipes for stdin and stdout (and stderr, if PIPE is asked for).

    Whoever holds it keeps the clock: no wall limit applies. `kill()` ends all that it started. It also ends when the
    *thread* that called this ends: start it from one that stays. Raises SandboxUnavailable.
    """
    check()
    limits = limits or Limits()
    group = control_group.make(limits.processes + _OURS)
    line = command(argv, read_only=read_only, writable=writable, limits=limits, env=env, group=group)
    return subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, close_fds=True
    )


def run(
    argv: Sequence[str],
    *,
    inputs: Mapping[str, Path | int] | None = None,
    outputs: Path | None = None,
    read_only: Sequence[Path] = (),
    limits: Limits | None = None,
    env: Mapping[str, str] | None = None,
    python: bool = False,
) -> Finished:
    """Run one program to its end, or until it has used more than `limits`; then all its processes are killed.

    Never raises for what the program does: look at `ok`, `stopped` and `returncode`. Raises SandboxUnavailable.
    """
    check()
    limits = limits or Limits()
    fresh = {
        name: _rewound(source) if isinstance(source, int) else source
        for name, source in (inputs or {}).items()
    }
    descriptors = [source for source in fresh.values() if isinstance(source, int)]
    group = control_group.make(limits.processes + _OURS)
    try:
        line = command(
            argv,
            read_only=read_only,
            writable=outputs,
            limits=limits,
            inputs=fresh,
            env=env,
            python=python,
            group=group,
        )
        started = time.monotonic()
        process = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=descriptors,
        )
        try:
            out, err, stopped = _follow(process, limits, outputs, started)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe:
                    pipe.close()
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
        if group:
            control_group.remove(group)
    if stopped is None and process.returncode in (-signal.SIGXCPU, 128 + signal.SIGXCPU):
        stopped = Stopped.TIME
    if stopped is None and process.returncode in (-signal.SIGXFSZ, 128 + signal.SIGXFSZ):
        stopped = Stopped.OUTPUT
    return Finished(
        process.returncode, out, err.decode("utf-8", "replace"), outputs, stopped, time.monotonic() - started
    )


def collect(folder: Path, name: str, *, limit: int) -> bytes:
    """Read one output whole: a plain file of at most `limit` bytes, never through a link. Raises MediaError."""
    with open(_plain(folder / name, limit), "rb") as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise MediaError(f"The sandbox gave back more than {limit} bytes, so the result was thrown away.")
    return data


def check_plain(path: Path, *, limit: int) -> int:
    """The size of an output that is a plain file of at most `limit` bytes. Raises MediaError."""
    descriptor = _plain(path, limit)
    try:
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


@functools.cache
def check() -> None:
    """Start the sandbox once for nothing. Raises SandboxUnavailable, with what to install; success is remembered."""
    line = command(["/usr/bin/true"], limits=Limits(), python=False)
    try:
        done = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise SandboxUnavailable(
            f"The sandbox did not start ({type(problem).__name__}). {_INSTALL}"
        ) from problem
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise SandboxUnavailable(
            f"The sandbox did not start: {said[-1] if said else done.returncode}. {_INSTALL}"
        )


def _follow(
    process: subprocess.Popen[bytes], limits: Limits, outputs: Path | None, started: float
) -> tuple[bytes, bytes, Stopped | None]:
    out, err = bytearray(), bytearray()
    next_look = started + 0.1
    with selectors.DefaultSelector() as selector:
        for pipe, kept in ((process.stdout, out), (process.stderr, err)):
            if pipe:
                selector.register(pipe, selectors.EVENT_READ, kept)
        while selector.get_map():
            for key, _ in selector.select(timeout=0.1):
                chunk = os.read(key.fd, 1 << 16)
                if not chunk:
                    selector.unregister(key.fileobj)
                key.data.extend(chunk)
            del err[:-_STDERR_TAIL]
            if len(out) > limits.output_mb * MIB:
                return bytes(out[: limits.output_mb * MIB]), bytes(err), Stopped.OUTPUT
            now = time.monotonic()
            if limits.wall_s and now - started > limits.wall_s:
                return bytes(out), bytes(err), Stopped.TIME
            if now >= next_look:
                if broken := _over(process.pid, limits, outputs):
                    return bytes(out), bytes(err), broken
                next_look = now + 0.1
    while process.poll() is None:  # both pipes closed, yet still at work
        if limits.wall_s and time.monotonic() - started > limits.wall_s:
            return bytes(out), bytes(err), Stopped.TIME
        if broken := _over(process.pid, limits, outputs):
            return bytes(out), bytes(err), broken
        time.sleep(0.005)
    return bytes(out), bytes(err), _over_outputs(limits, outputs)


def _over(root: int, limits: Limits, outputs: Path | None) -> Stopped | None:
    """Look at the whole tree: resource limits alone count each process for itself, and none of root's processes."""
    waiting, resident, count = [root], 0, 0
    while waiting:
        pid = waiting.pop()
        try:
            tasks = os.listdir(f"/proc/{pid}/task")
            count += len(tasks)
            resident += int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
            for task in tasks:
                waiting += map(int, Path(f"/proc/{pid}/task/{task}/children").read_bytes().split())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        if count > limits.processes + _OURS:
            return Stopped.PROCESSES
    if resident * os.sysconf("SC_PAGE_SIZE") > limits.memory_mb * MIB:
        return Stopped.MEMORY
    return _over_outputs(limits, outputs)


def _over_outputs(limits: Limits, outputs: Path | None) -> Stopped | None:
    if outputs is None:
        return None
    total = sum(
        file.lstat().st_size for folder, _, names in os.walk(outputs) for file in _present(folder, names)
    )
    return Stopped.OUTPUT if total > limits.output_mb * MIB else None


def _present(folder: str, names: list[str]) -> list[Path]:
    return [path for name in names if os.path.lexists(path := Path(folder, name))]


def _plain(path: Path, limit: int) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        raise MediaError("The sandbox gave back no such result.") from problem
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or about.st_size > limit or about.st_nlink != 1:
        os.close(descriptor)
        raise MediaError("The sandbox gave back something other than a plain file within its size limit.")
    return descriptor


def _rewound(descriptor: int) -> int:
    """A second descriptor of the same bytes with its own position, at the start."""
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)


def _rlimits(limits: Limits) -> list[str]:
    wanted = {
        "core": 0,
        "cpu": limits.cpu_s,
        "data": limits.memory_mb * MIB,
        "as": limits.address_mb * MIB,
        "fsize": limits.output_mb * MIB,
        "nofile": limits.files,
        "nproc": limits.processes,
    }
    # A little between the two limits of cpu: the first signal is one that tells why, the second cannot be caught.
    return [
        f"--{name}={value}:{value + 2 if name == 'cpu' else value}"
        for name, value in wanted.items()
        if value or name == "core"
    ]


def _merged(name: str) -> list[str]:
    """/lib and its kind: a link into /usr on today's systems, a folder of its own on some."""
    if os.path.islink(name):
        return ["--symlink", os.readlink(name).lstrip("/"), name]
    return ["--ro-bind", name, name] if os.path.isdir(name) else []


@functools.cache
def _python_paths() -> tuple[str, ...]:
    """Folders that the interpreter and its packages need, outermost only and without what /usr already holds."""
    found = {
        sys.prefix,
        sys.base_prefix,
        os.path.dirname(os.path.realpath(sys.executable)),
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
    }
    real = sorted({path for path in found if path and os.path.isdir(path)}, key=len)
    kept: list[str] = []
    for path in real:
        if not any(path == outer or path.startswith(outer.rstrip("/") + "/") for outer in ["/usr", *kept]):
            kept.append(path)
    return tuple(kept)


@functools.cache
def _filter_path() -> str:
    """A path to the system call filter, in memory that lives as long as this process. Empty: no table for it."""
    rules = seccomp.program()
    if not rules:
        return ""
    return f"/proc/{os.getpid()}/fd/{_filter_descriptor(rules)}"


def _filter_descriptor(rules: bytes) -> int:
    descriptor = os.memfd_create("seccomp")
    os.write(descriptor, rules)
    return descriptor


os.register_at_fork(after_in_child=_filter_path.cache_clear)  # the path names the process


def python() -> str:
    """The interpreter that runs us, by its real path in its environment: launchers and shims do not start inside."""
    return sys.executable


def _bwrap() -> str:
    found = shutil.which("bwrap")
    if found is None or not os.path.exists("/usr/bin/prlimit"):
        missing = "bubblewrap" if found is None else "prlimit (util-linux)"
        raise SandboxUnavailable(f"{missing} is not installed. {_INSTALL}")
    return found


@functools.cache
def _abilities(bwrap: str) -> frozenset[str]:
    try:
        said = subprocess.run([bwrap, "--help"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise SandboxUnavailable(f"{bwrap} does not run. {_INSTALL}") from problem
    return frozenset(word for word in said.split() if word.startswith("--"))


@functools.cache
def _is_setuid(bwrap: str) -> bool:
    return bool(os.stat(bwrap).st_mode & stat.S_ISUID)
