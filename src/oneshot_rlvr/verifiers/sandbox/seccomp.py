"""A seccomp filter as classic BPF: what code in the sandbox may not ask of the kernel.

Threads yes, processes no: with no fork there is no fork bomb, no daemon and no helper to leave
behind, and the memory limit of one process is the limit of all. Sockets, memory outside the limits
(memfd, System V), other namespaces, tracing and kernel surface that Python needs not are refused
with EPERM. Source of the numbers: Linux asm/unistd_64.h and asm-generic/unistd.h.
"""

from __future__ import annotations

import errno
import platform
import struct
from functools import cache

CLONE_THREAD = 0x00010000

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # BPF_LD|W|ABS, JEQ|K, JSET|K, RET|K
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_NUMBER_OFFSET, _ARCH_OFFSET, _FIRST_ARGUMENT_OFFSET = 0, 4, 16

# architecture -> (audit number, clone, clone3); aarch64 has no fork and vfork of its own
_MACHINES = {"x86_64": (0xC000003E, 56, 435), "aarch64": (0xC00000B7, 220, 435)}
# refused call -> its number on x86_64 and on aarch64
_REFUSED: dict[str, tuple[int, int | None]] = {
    "socket": (41, 198),
    "socketpair": (53, 199),
    "fork": (57, None),
    "vfork": (58, None),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "memfd_create": (319, 279),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "io_uring_setup": (425, 425),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "personality": (135, 92),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "pidfd_getfd": (438, 438),
    "memfd_secret": (447, 447),
}


@cache
def program() -> bytes | None:
    """The filter for this machine, or None where its call numbers are not known here."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return None
    arch, clone, clone3 = machine
    here = list(_MACHINES).index(platform.machine())
    refuse = 0x00050000 | errno.EPERM
    lines = [
        (_LOAD, 0, 0, _ARCH_OFFSET),
        (_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_OFFSET),
        # glibc tries clone3 first and falls back to clone, whose flags a filter can read.
        (_EQUAL, 0, 1, clone3),
        (_RETURN, 0, 0, 0x00050000 | errno.ENOSYS),
    ]
    if platform.machine() == "x86_64":
        lines += [(0x35, 0, 1, 0x40000000), (_RETURN, 0, 0, refuse)]  # the x32 twins of all calls
    for numbers in _REFUSED.values():
        number = numbers[here]
        if number is None:
            continue
        lines += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, refuse)]
    lines += [
        (_EQUAL, 0, 3, clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_OFFSET),
        (_ANY_BIT, 1, 0, CLONE_THREAD),
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
