"""Find the functions on top of a stack, whichever language or tool printed it: they tell one crash from another."""

# ruff: noqa: E501 -- a pattern is read as a whole

import re
from collections.abc import Iterable
from functools import lru_cache

REACH = 60  # lines after a failure's own line in which its stack begins
OTHER_FRAMES = 3  # that tell one crash from another; of a kernel the innermost does

_KERNEL = re.compile(
    r"^(?:\(?\[<?[0-9a-fx]{4,}>?\]\)?,? *){0,3}(?P<guess>\? )?(?:RIP: [0-9a-f]+:|pc : |EIP: |PC is at |NIP )?(?:\[<?[0-9a-f]{4,}>?\] *)*\(?"
    r"(?P<name>[A-Za-z_][\w.]*)(?:\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?|\)? from (?:\[<[0-9a-f]+>\] )?\(?[\w.]+\+0x)"
)
_NUMBERED = re.compile(
    r"^\s*#\d+:?\s+(?:0x[0-9a-fA-F]+ )?(?:in )?(?P<name>[^\s(/][^(]*?)(?: ?\(|\s+/|\s+[\w.-]+/|\s+at |\s+\S+\.\w{1,4}:\d|$)"
)
_OTHERS = (
    re.compile(r"^\s*File \".*\", line \d+, in (?P<name>\S+)"),
    re.compile(r"^\s+at (?:async |new )?(?P<name>[\w$.<>\[\] ]+?) ?\("),
    re.compile(r"\S+:\d+:in [`'](?P<name>[^']+)'"),
    re.compile(r"^\s*\d+: +(?:0x[0-9a-f]+ - )?(?P<name>[A-Za-z_<][\w:<>{}#]+)$"),
    re.compile(r"^\s{0,2}(?P<name>[A-Za-z_][\w./-]*\.[\w.*()\[\]]+)\((?:0x|\{|\.\.\.|\)|[a-z]+\()"),
    re.compile(r"^(?:[0-9a-f`]{8,} ){1,3}(?P<name>\w+!\S+?)\+0x"),
)
_MARKS = re.compile(r"\+0x|[(#]|File |:in |::")  # one of these stands in every frame
_NAME = re.compile(r"[A-Za-z_~<$](?!\w*$)|[A-Za-z_~<$]\w*[g-zG-Z_]")
_SYSCALL = re.compile(r"^(?:do_|x64_|se_|ia32_|arm64_|compat_)*sys_")
_ACCESS = re.compile(r"\b(READ|WRITE|Read|Write) (?:of size|memory access)")
# What prints, checks or raises: on top of every stack of its kind, and the cause of none.
_PLUMBING = re.compile(
    r"^(?:_*dump_stack\w*|show_stack\w*|print_\w+|_*kasan_\w*|_*kmsan_\w*|kcsan\w*|panic|_*warn\w*|report_bug|fixup_bug\w*|_*do_\w*trap\w*|do_invalid_op"
    r"|_*invalid_op|_*ubsan_\w*|_*asan\w*|_*interceptor\w*|_*sanitizer\w*|_*msan\w*|_*tsan\w*|_*lsan\w*|lockdep_\w+|debug_\w+|_*lock_acquire\w*|lock_release|_+might_sleep"
    r"|_*schedule\w*|_*raw_(?:spin|read|write)_\w+|check_\w+|mark_\w+|validate_chain|_*cond_resched|sched_\w+|nmi_\w+|\w*apic_\w+|asm_\w+|exc_\w+|sysvec\w*|entry_\w+|rcu_\w+|watchdog\w*|update_process\w+"
    r"|tick_\w+|_*hrtimer\w*|\w*_interrupt|do_raw_\w+|queued_\w+|_*mutex_lock\w*|down_\w+|kthread|ret_from_\w+|start_\w+|secondary_\w+|check_preempt\w*|_*switch_to\w*|rwsem_\w+|do_softirq\w*|is_\w*trampoline|kernel_text_address|unwind_\w+|_*rela_\w+|dump_\w+|arch_\w+|handle_bug|\w*backtrace\w*|wait_for_\w+|\w*wait_rcu\w*|show_\w+|\w*stall\w*|io_schedule\w*|_*lock_sock\w*"
    r"|raise|abort|gsignal|_*assert\w*|_*GI_\w+|_*libc_\w+|_*pthread\w*|_*kill|std::.*|__cxx\w+|operator .*|malloc|calloc|realloc|free|mem(?:cpy|set|move|cmp)"
    r"|runtime\.\w+|panic|testing\.\w+|core::panic.*|std::panic.*|rust_begin_unwind|_*rust_\w+|logging::.*|base::debug::.*|base::internal::.*|fuzzer::.*|Error|new \w*Error"
    r"|org\.junit\..*|java\.lang\.reflect\..*|sun\.reflect\..*|jdk\.internal\..*|KiUser\w+|ntdll!.*|\?+|<null>|<unknown.*|NULL|addr_\w+|start)$"
)


def _simplify(name: str) -> str:
    """Return the name that a kernel function goes by, without what differs by version and architecture."""
    name = _SYSCALL.sub("sys_", name.lstrip("_"))
    return "synchronize_rcu" if name.startswith("synchronize_") else name


def name_access(lines: Iterable[str]) -> list[str]:
    """Return whether the bad access was a read or a write, where a sanitizer says so."""
    text = "\n".join(lines)
    found = _ACCESS.search(text) if "of size" in text or "memory access" in text else None
    return [found[1]] if found else []


MAX_FRAME_CHARS = 2000  # no frame is longer, and the patterns take the square of a word's length


@lru_cache(maxsize=1 << 16)
def _read_frame(line: str) -> tuple[str, str]:
    """Return the sort of stack that `line` is a frame of, and its function; two empty strings if of none.

    Stacks of a log, and of many logs of one program, share their frames: each is read once, and kept, so
    `line` is cut at `MAX_FRAME_CHARS`.
    """
    if not _MARKS.search(line):
        return "", ""
    if found := _KERNEL.match(line.strip()):
        name = _simplify(found["name"].split(".")[0])
        return "kernel", "" if found["guess"] or _PLUMBING.match(name) else name
    found = _NUMBERED.match(line) or next((m for p in _OTHERS if (m := p.search(line))), None)
    if not found:
        return "", ""
    name = re.sub(r"<.*>|\[clone.*|0x[0-9a-f]+", "", found["name"]).strip()
    name = name.split(" ")[0] if "://" in name else name
    sort = "python" if line.lstrip().startswith("File ") else "other"
    return sort, name if _NAME.match(name) and not _PLUMBING.match(name) else ""


def name_frames(lines: Iterable[str]) -> list[str]:
    """Return the functions on top of the first stack in `lines`, arguments, addresses and plumbing left out."""
    other: list[str] = []
    python = False
    for line in lines:
        sort, name = _read_frame(line[:MAX_FRAME_CHARS])
        python = python or sort == "python"
        if sort == "kernel" and name:
            return [name]
        if sort in ("python", "other") and name:
            other.append(name)
        elif not sort and len(other) >= OTHER_FRAMES and not python:
            break
    # Python prints the innermost frame last.
    return other[-OTHER_FRAMES:] if python else other[:OTHER_FRAMES]
