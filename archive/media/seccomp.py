"""The system calls that a sandboxed program may not make, as a BPF program for `bwrap --seccomp`.

A list of refusals, not of permissions: decoders, Python and model runtimes need many ordinary calls, and what is
refused here is what kernel escapes are made of (namespaces, mounts, tracing, keys, BPF, io_uring, sockets).
"""

from __future__ import annotations

import errno
import platform
import struct

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NEW_NAMESPACES = 0x7E020000 | 0x00000080  # CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET, and TIME
_AF_UNIX = 1

# name: (x86_64, aarch64); None where the architecture lacks the call
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    "init_module": (175, 105),
    "delete_module": (176, 106),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "personality": (135, 92),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "vhangup": (153, 58),
    "modify_ldt": (154, None),
    "fanotify_init": (300, 262),
    "mknod": (133, None),
    "mknodat": (259, 33),
}
_CLONE, _CLONE3, _SOCKET = (56, 220), (435, 435), (41, 198)
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


def program(machine: str = "") -> bytes:
    """The filter for this machine's architecture; empty where we have no table for it."""
    if (machine or platform.machine()) not in _ARCHITECTURES:
        return b""
    column, audit = _ARCHITECTURES[machine or platform.machine()]
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    refuse = (give, 0, 0, _ERRNO | errno.EPERM)
    allow = (give, 0, 0, _ALLOW)
    number, architecture, first_argument = 0, 4, 16
    steps = [(load, 0, 0, architecture), (equal, 1, 0, audit), (give, 0, 0, _KILL), (load, 0, 0, number)]
    if column == 0:
        steps += [(at_least, 0, 1, 0x40000000), refuse]  # the x32 numbers of the same calls
    for numbers in _REFUSED.values():
        if (refused := numbers[column]) is not None:
            steps += [(equal, 0, 1, refused), refuse]
    # clone3 hides its flags behind a pointer: "no such call" makes the C library take clone.
    steps += [(equal, 0, 1, _CLONE3[column]), (give, 0, 0, _ERRNO | errno.ENOSYS)]
    steps += [
        (equal, 0, 4, _CLONE[column]),
        (load, 0, 0, first_argument),
        (any_bit, 0, 1, _NEW_NAMESPACES),
        refuse,
        allow,
    ]
    steps += [
        (equal, 0, 4, _SOCKET[column]),
        (load, 0, 0, first_argument),
        (equal, 1, 0, _AF_UNIX),
        refuse,
        allow,
    ]
    return b"".join(struct.pack("<HBBI", *step) for step in [*steps, allow])
