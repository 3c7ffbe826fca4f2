"""Work that may crash or hang, done in one child process with limits on memory and time.

`Child` is the parent's end. The child's end imports a *handler* class by name, builds it and
serves its public methods, one call at a time. Requests and replies are a JSON header and one
block of bytes over a socket pair: a hostile file that takes the child over cannot hand its
parent a pickle. A handler's method returns ``(header, bytes)``; an `AdaSlideError` that it
raises is raised again in the parent, any other error becomes `SlideCorrupt`.

A child never outlives its parent: the socket's end wakes an idle child, a thread that watches
the parent's id ends a busy one.
"""

import contextlib
import importlib
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaslide.domain import errors

Reply = tuple[dict[str, Any], bytes | bytearray | memoryview]

_FRAME = struct.Struct("<IQ")
_MAX_HEADER = 1 << 20
_WATCH_SECONDS = 0.5
_DYING_SECONDS = 1.0
_START = "from adaslide.adapters.child import main; main()"


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """``memory_bytes``: address space the child may add once its libraries are loaded;
    ``timeout``: seconds for one call, the start of the child included; ``reply_bytes``: the
    longest block of bytes a reply may carry."""

    memory_bytes: int
    timeout: float
    reply_bytes: int


class Child:
    """A handler in a process of its own, started by the first call and again after it was lost.

    Calls from several threads take turns.
    """

    def __init__(self, handler: str, arguments: dict[str, Any], limits: ChildLimits) -> None:
        """``handler`` is ``module:class``; ``arguments`` are its keywords, as JSON can hold them."""
        self._setup = {"handler": handler, "arguments": arguments, "memory": limits.memory_bytes}
        self._limits = limits
        self._lock = threading.Lock()
        self._channel: socket.socket | None = None
        self._stop: Callable[[], object] | None = None
        self.starts = 0
        """How many processes there have been: more than one means that some were lost."""

    def call(self, method: str, **arguments: Any) -> tuple[dict[str, Any], bytearray]:
        """The handler's reply. A crash or a hang of the child raises `SlideCorrupt`, and `Unavailable` when
        somebody else killed it; the next call then starts another child."""
        with self._lock:
            deadline = time.monotonic() + self._limits.timeout
            try:
                if self._channel is None:
                    channel = self._start()
                    self._raise_error(self._exchange(channel, self._setup, deadline)[0])
                    self._channel = channel
                request = {"method": method, "arguments": arguments}
                header, block = self._exchange(self._channel, request, deadline)
            except TimeoutError:
                self._end()
                raise errors.SlideCorrupt("the slide's reader hung and was stopped") from None
            except (EOFError, OSError, ValueError) as error:
                killed = isinstance(error, EOFError | OSError) and self._was_killed()
                self._end()
                if isinstance(error, errors.AdaSlideError):
                    raise
                if killed:
                    raise errors.Unavailable("the slide's reader was killed") from None
                raise errors.SlideCorrupt("the slide's reader crashed") from None
            except BaseException:
                # Half an exchange may be on the wire: this channel cannot be used again.
                self._end()
                raise
            self._raise_error(header)
            return header, block

    def close(self) -> None:
        """Ends the child. A later call would start another."""
        with self._lock:
            self._end()

    @property
    def pid(self) -> int | None:
        """The running child's process id."""
        return self._process.pid if self._channel is not None else None

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path),
            # One thread and few arenas: address space is what the limit counts.
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",
        }
        with theirs:
            # Nothing from outside is in the command; the streams go nowhere because libraries
            # print file names there; a session of its own keeps the terminal's Ctrl-C away.
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-c", _START, str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env=environment,
            )
        self.starts += 1
        self._stop = weakref.finalize(self, _stop, self._process, ours, os.getpid())
        return ours

    def _was_killed(self) -> bool:
        """Whether the child ended by a signal that no library raises on a damaged slide: an operator's, or
        that of a machine out of memory."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_DYING_SECONDS)
        return self._process.returncode in (-signal.SIGKILL, -signal.SIGTERM)

    def _end(self) -> None:
        if self._stop is not None:
            self._stop()
        self._stop = self._channel = None

    def _exchange(
        self, channel: socket.socket, request: dict[str, Any], deadline: float
    ) -> tuple[dict[str, Any], bytearray]:
        channel.settimeout(max(deadline - time.monotonic(), 0.001))
        _send(channel, request)
        return _receive(channel, self._limits.reply_bytes, deadline)

    @staticmethod
    def _raise_error(header: dict[str, Any]) -> None:
        if "error" in header:
            raise _ERRORS.get(header["error"], errors.SlideCorrupt)(str(header["message"]))


def main() -> None:
    """The child's end: arguments are the socket's file descriptor and the parent's id."""
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    exit_with_parent(parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the patient's pixels
    with socket.socket(fileno=descriptor) as channel, contextlib.suppress(EOFError, OSError):
        _serve(channel)


def _serve(channel: socket.socket) -> None:
    setup, _ = _receive(channel, 0)
    module, _, name = setup["handler"].partition(":")
    build = getattr(importlib.import_module(module), name)
    _limit_memory(setup["memory"])
    handler: Any = None

    def create(**arguments: Any) -> Reply:
        nonlocal handler
        handler = build(**arguments)
        return {}, b""

    _send(channel, *_reply(create, setup["arguments"]))
    while True:
        request, _ = _receive(channel, 0)
        _send(channel, *_reply(getattr(handler, request["method"]), request["arguments"]))


def _reply(method: Callable[..., Reply], arguments: dict[str, Any]) -> Reply:
    try:
        return method(**arguments)
    except errors.AdaSlideError as error:
        return {"error": error.code, "message": error.message}, b""
    except MemoryError:
        return {"error": errors.SlideTooLarge.code, "message": "reading takes more memory than allowed"}, b""
    except Exception as error:
        # Parsers raise anything when fed with garbage. The error's own text may hold a path: only
        # its type leaves the child.
        name = type(error).__name__
        return {"error": errors.SlideCorrupt.code, "message": f"the slide's reader failed ({name})"}, b""


def _limit_memory(more: int) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = used + more if hard == resource.RLIM_INFINITY else min(used + more, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def exit_with_parent(parent: int) -> None:
    """Starts a thread that ends this process once ``parent`` is no longer its parent."""
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)


def _stop(process: "subprocess.Popen[bytes]", channel: socket.socket, owner: int) -> None:
    channel.close()
    if os.getpid() == owner:  # a fork of the owner must not end the owner's child
        process.kill()
        process.wait()


def _send(
    channel: socket.socket, header: dict[str, Any], block: bytes | bytearray | memoryview = b""
) -> None:
    text = json.dumps(header).encode()
    size = memoryview(block).nbytes
    channel.sendall(_FRAME.pack(len(text), size) + text)
    if size:
        channel.sendall(block)


def _receive(
    channel: socket.socket, longest: int, deadline: float | None = None
) -> tuple[dict[str, Any], bytearray]:
    text_size, block_size = _FRAME.unpack(_receive_exactly(channel, _FRAME.size, deadline))
    if text_size > _MAX_HEADER or block_size > longest:
        raise ValueError("a frame longer than allowed")
    header = json.loads(_receive_exactly(channel, text_size, deadline))
    return header, _receive_exactly(channel, block_size, deadline)


def _receive_exactly(channel: socket.socket, size: int, deadline: float | None) -> bytearray:
    data = bytearray(size)
    view, at = memoryview(data), 0
    while at < size:
        if deadline is not None:
            channel.settimeout(max(deadline - time.monotonic(), 0.001))
        read = channel.recv_into(view[at:])
        if read == 0:
            raise EOFError
        at += read
    return data


_ERRORS: dict[str, type[errors.AdaSlideError]] = {
    kind.code: kind
    for kind in (
        errors.InputError,
        errors.SlideUnsupported,
        errors.SlideCorrupt,
        errors.SlideTooLarge,
        errors.RegionOutOfRange,
        errors.NotFound,
    )
}
