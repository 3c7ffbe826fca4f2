import os
import signal
import subprocess
import sys
import time

import pytest

from adaslide.adapters.child import Child, ChildLimits
from adaslide.domain.errors import SlideCorrupt, SlideTooLarge, SlideUnsupported, Unavailable

LIMITS = ChildLimits(memory_bytes=256 << 20, timeout=30.0, reply_bytes=1 << 20)


@pytest.fixture
def child(handler):
    child = Child(handler, {}, LIMITS)
    yield child
    child.close()


def gone(pid: int, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_answers_with_header_and_block(child):
    header, block = child.call("echo", size=5000, word="gláss")
    assert header == {"size": 5000, "word": "gláss"}
    assert bytes(block) == bytes(5000)


def test_is_another_process_and_ends_with_close(child):
    pid = child.call("pid")[0]["pid"]
    assert pid == child.pid != os.getpid()
    child.close()
    assert gone(pid)
    assert child.pid is None


def test_a_crash_is_a_typed_error_and_the_next_call_has_a_new_child(child):
    first = child.call("pid")[0]["pid"]
    with pytest.raises(SlideCorrupt, match="crashed"):
        child.call("crash")
    assert child.call("pid")[0]["pid"] != first
    assert child.starts == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_that_somebody_kills_is_not_the_slides_fault(child, number):
    os.kill(child.call("pid")[0]["pid"], number)
    with pytest.raises(Unavailable, match="killed"):
        child.call("pid")
    assert child.call("echo", size=1)[1] == b"\0"


@pytest.mark.parametrize("method", ["hang", "spin"])
def test_a_hang_is_stopped(handler, method):
    limits = ChildLimits(LIMITS.memory_bytes, timeout=2.0, reply_bytes=LIMITS.reply_bytes)
    child = Child(handler, {}, limits)
    pid = child.call("pid")[0]["pid"]
    with pytest.raises(SlideCorrupt, match="hung"):
        child.call(method)
    assert gone(pid)
    child.close()


def test_memory_is_limited(child):
    with pytest.raises(SlideTooLarge, match="memory"):
        child.call("grow")
    assert child.call("echo", size=1)[1] == b"\0"


def test_a_reply_over_the_limit_is_refused(child):
    with pytest.raises(SlideCorrupt):
        child.call("echo", size=LIMITS.reply_bytes + 1)


def test_typed_errors_pass_and_others_lose_their_text(child):
    with pytest.raises(SlideTooLarge, match="as I said"):
        child.call("too_large")
    with pytest.raises(SlideCorrupt) as caught:
        child.call("bug")
    assert "RuntimeError" in caught.value.message
    assert "secret" not in caught.value.message


def test_a_handler_that_refuses_leaves_no_process(handler):
    child = Child(handler, {"refuse": True}, LIMITS)
    with pytest.raises(SlideUnsupported, match="refused"):
        child.call("pid")
    assert child.pid is None


def test_ends_with_its_owner(handler):
    child = Child(handler, {}, LIMITS)
    pid = child.call("pid")[0]["pid"]
    del child
    assert gone(pid)


@pytest.mark.parametrize("busy", [False, True])
def test_no_orphan_when_the_parent_is_killed(handler, tmp_path, busy):
    script = (
        "import sys, threading\n"
        "from adaslide.adapters.child import Child, ChildLimits\n"
        f"child = Child({handler!r}, {{}}, ChildLimits(1 << 28, 600.0, 1 << 20))\n"
        "print(child.call('pid')[0]['pid'], flush=True)\n"
        f"child.call('hang') if {busy} else sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    with parent:
        pid = int(parent.stdout.readline())
        time.sleep(0.3)
        parent.send_signal(signal.SIGKILL)
    assert gone(pid)
