"""The sandbox holds: no network, no files of ours, no end of time, memory, processes or output."""

import os
import sys
import time

import pytest

from archive.errors import MediaError, SandboxUnavailable
from archive.media import control_group, sandbox, seccomp
from archive.media.sandbox import Limits, Stopped

pytestmark = pytest.mark.slow


def python(code, **options):
    return sandbox.run([sandbox.python(), "-I", "-c", code], python=True, **options)


def shell(code, **options):
    return sandbox.run(["/bin/bash", "-c", code], **options)


def test_a_program_reads_its_input_and_answers(tmp_path):
    (tmp_path / "bytes").write_bytes(b"evidence")
    done = shell("cat /in/original", inputs={"original": tmp_path / "bytes"})
    assert done.ok and done.untrusted_stdout == b"evidence"


def test_a_descriptor_is_read_from_its_start_each_time():
    descriptor = os.memfd_create("original")
    os.write(descriptor, b"never on disk")
    try:
        for _ in range(2):
            done = shell("cat /in/original", inputs={"original": descriptor})
            assert done.untrusted_stdout == b"never on disk"
    finally:
        os.close(descriptor)


def test_an_input_cannot_be_changed(tmp_path):
    (tmp_path / "bytes").write_bytes(b"evidence")
    assert not shell("echo x >/in/original", inputs={"original": tmp_path / "bytes"}).ok
    assert (tmp_path / "bytes").read_bytes() == b"evidence"


def test_nothing_of_ours_is_there(tmp_path):
    (tmp_path / "secret").write_text("key")
    for path in (tmp_path / "secret", "/etc/passwd", "/root", "/home", "/var", os.getcwd() + "/manage.py"):
        assert not shell(f"ls {path}").ok


def test_the_environment_is_empty_of_secrets(monkeypatch):
    monkeypatch.setenv("VAULT_KEY", "leak")
    assert b"leak" not in shell("env; tr '\\0' '\\n' </proc/1/environ").untrusted_stdout


def test_there_is_no_network_not_even_a_socket():
    done = python(
        "import socket\nfor f in (2, 10, 16, 17):\n  try: socket.socket(f); print('open')\n  except OSError: pass"
    )
    assert done.ok and done.untrusted_stdout == b""
    links = shell("cat /proc/net/dev").untrusted_stdout.decode().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in links] == ["lo"]


def test_no_capabilities_and_no_new_namespaces():
    status = shell("cat /proc/self/status").untrusted_stdout.decode()
    assert "CapEff:\t0000000000000000" in status and "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
    assert not shell("unshare -r true").ok
    assert not shell("mount -t tmpfs none /tmp").ok


def test_the_root_folder_and_dev_take_no_bytes():
    for place in ("/x", "/dev/x", "/in/x", "/usr/x"):
        assert not shell(f"echo x >{place}").ok
    assert shell("echo x >/dev/null && echo x >/tmp/x && echo x >/dev/shm/x").ok


def test_the_clock_ends_the_whole_tree():
    started = time.monotonic()
    done = shell("sleep 61 & sleep 62 & wait", limits=Limits(wall_s=0.5))
    assert done.stopped is Stopped.TIME and time.monotonic() - started < 5
    time.sleep(0.2)
    assert not _alive("sleep\x0061")


def test_a_program_that_closes_its_pipes_is_still_timed():
    done = shell("exec >&- 2>&-; sleep 60", limits=Limits(wall_s=0.5))
    assert done.stopped is Stopped.TIME


def test_processor_time_ends():
    assert shell("while :; do :; done", limits=Limits(cpu_s=1)).stopped is Stopped.TIME


def test_memory_of_one_process_ends():
    assert b"MemoryError" in python("bytearray(3 << 30)").untrusted_stderr.encode()


def test_memory_of_many_processes_together_ends():
    code = (
        "import os, time\nfor _ in range(6): os.fork()\nx = bytearray(os.urandom(30 << 20)); time.sleep(30)"
    )
    assert python(code, limits=Limits(memory_mb=400, processes=128)).stopped is Stopped.MEMORY


def test_a_fork_bomb_ends():
    done = shell("bomb() { bomb | bomb & }; bomb; sleep 30", limits=Limits(wall_s=5))
    assert done.stopped in (Stopped.PROCESSES, Stopped.TIME)


FORKS = """
import os, time
count = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(2)
            os._exit(0)
        count += 1
except OSError:
    print(count, flush=True)
"""


@pytest.mark.skipif(
    os.geteuid() == 0 and control_group._parent() is None,
    reason="root, and no control groups can be made here",
)
def test_the_kernel_holds_a_sandbox_to_its_number_of_processes():
    """Not only our look from outside, which comes ten times a second."""
    done = python(FORKS, limits=Limits(processes=24, wall_s=3))
    assert done.ok and 10 < int(done.untrusted_stdout) <= 28


@pytest.mark.skipif(control_group._parent() is None, reason="not root, or no control groups can be made here")
def test_no_control_group_is_left_behind(monkeypatch):
    made, make = [], control_group.make
    monkeypatch.setattr(control_group, "make", lambda processes: made.append(make(processes)) or made[-1])
    assert shell("true").ok
    deadline = time.monotonic() + 10
    while made[0].exists() and time.monotonic() < deadline:  # its last process may still be dying
        control_group.remove(made[0])
    assert len(made) == 1 and not made[0].exists()
    old = make(10)
    os.utime(old, (0, 0))
    control_group.remove(make(10))
    assert not old.exists()


def test_endless_output_is_cut():
    done = shell("yes", limits=Limits(output_mb=2))
    assert done.stopped is Stopped.OUTPUT and len(done.untrusted_stdout) == 2 << 20


def test_endless_complaint_keeps_its_tail():
    done = shell("yes no | head -c 3000000 >&2; echo last >&2")
    assert done.ok and len(done.untrusted_stderr) < 10_000 and done.untrusted_stderr.endswith("last\n")


def test_many_output_files_together_are_bounded(tmp_path):
    code = "for i in $(seq 100); do head -c 1000000 /dev/zero >/out/$i; sleep 0.02; done"
    done = shell(code, outputs=tmp_path, limits=Limits(output_mb=4))
    assert done.stopped is Stopped.OUTPUT


def test_outputs_are_read_as_plain_files_only(tmp_path):
    assert shell(
        "echo fine >/out/fine; ln -s /etc/passwd /out/link; mkfifo /out/pipe; mkdir /out/dir; head -c 99 /dev/zero >/out/big",
        outputs=tmp_path,
    ).ok
    assert sandbox.collect(tmp_path, "fine", limit=10) == b"fine\n"
    for name in ("link", "pipe", "dir", "big", "absent"):
        with pytest.raises(MediaError):
            sandbox.collect(tmp_path, name, limit=10)


def test_a_strangers_name_is_refused_as_a_name_inside(tmp_path):
    with pytest.raises(ValueError, match="never a stranger's"):
        sandbox.run(["/usr/bin/true"], inputs={"../x": tmp_path})


def test_a_helper_talks_over_its_pipes_and_dies_when_killed():
    code = "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)"
    helper = sandbox.popen(
        [sandbox.python(), "-I", "-c", code], limits=Limits(cpu_s=0, wall_s=0, address_mb=0)
    )
    helper.stdin.write(b"hello\n")
    helper.stdin.flush()
    assert helper.stdout.readline() == b"HELLO\n"
    helper.kill()
    assert helper.wait(5) != 0
    helper.stdin.close()
    helper.stdout.close()


def test_a_helper_sees_its_weights_and_not_their_neighbours(tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w").write_text("w")
    (tmp_path / "neighbour").write_text("n")
    code = f"cat {tmp_path}/weights/w; ls {tmp_path}; touch {tmp_path}/weights/x"
    helper = sandbox.popen(["/bin/sh", "-c", code], read_only=[tmp_path / "weights"])
    out, _ = helper.communicate(timeout=10)
    assert out == b"wweights\n" and not (tmp_path / "weights" / "x").exists()


def test_without_bubblewrap_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    sandbox.check.cache_clear()
    try:
        with pytest.raises(SandboxUnavailable, match="apt-get install bubblewrap"):
            sandbox.run(["/usr/bin/true"])
    finally:
        sandbox.check.cache_clear()


def test_where_bubblewrap_cannot_start_nothing_runs_unconfined(monkeypatch, tmp_path):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'No permissions to create a new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: str(fake))
    sandbox.check.cache_clear()
    try:
        with pytest.raises(SandboxUnavailable, match="No permissions to create a new namespace"):
            sandbox.run(["/usr/bin/true"])
        with pytest.raises(SandboxUnavailable):
            sandbox.popen(["/usr/bin/true"])
    finally:
        sandbox.check.cache_clear()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_is_whole_instructions_that_end_in_an_answer(machine):
    program = seccomp.program(machine)
    assert len(program) % 8 == 0 and len(program) // 8 < 4096
    assert program[-8:-6] == b"\x06\x00"


def test_an_unknown_machine_has_no_filter():
    assert seccomp.program("s390x") == b""


def test_python_is_a_real_program_and_no_shim():
    assert os.path.isabs(sandbox.python()) and sandbox.python() == sys.executable


def _alive(words):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as stream:
                if words.encode() in stream.read():
                    return True
        except OSError:
            continue
    return False
