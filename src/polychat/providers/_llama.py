"""llama.cpp in this process: a model is loaded once for all callers, and its requests run in threads outside the event loops.

xllamacpp is llama.cpp's HTTP server as an object: the object is what we use, the HTTP server cannot be left out. It is made to
listen on a Unix socket in a folder of ours that is removed as soon as the model is loaded, so no other process can reach it.

Two facts about xllamacpp (2026.10) determine this file. While a model answers, its callback is the only way to stop it: it is
called for each token and, because we ask for progress, for each batch of the prompt. And while a model is *loaded*, xllamacpp
does not let go of Python's lock: for that long (0.3 s for smollm2) the whole process waits, and no thread of ours can prevent
it. So the file is read into the system's cache before that, which keeps a slow disk out of it.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import os
import shutil
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from ..errors import BadInput, MissingPackage, NotReady, redact
from ..user.progress import Progress

CONTEXT = 4096
"""Tokens one request may hold, unless the model was trained for less or polychat.toml sets another limit."""

PARALLEL = 4
"""Requests answered at the same time; the others wait. Each takes the memory of a context, in use or not."""

_BATCH = 128
"""Tokens of a prompt between two checks whether the request was cancelled; larger batches are no faster on a CPU."""

_LONGEST_SOCKET = 80
"""Characters of a folder's path that leave room for a name in a Unix socket's address (104 bytes on macOS)."""

Key = TypeVar("Key")
Result = TypeVar("Result")
Chunk: TypeAlias = dict[str, Any]
"""One chunk of llama.cpp's reply, in OpenAI's shape."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The parameters by which loaded models differ."""

    path: Path
    stamp: tuple[int, int]
    """The file's size and modification time: a file that was replaced is another model."""
    context: int = CONTEXT
    parallel: int = PARALLEL
    threads: int | None = None
    """``None``: llama.cpp's default."""
    embeds: bool = False
    """It is loaded for embeddings; such a model does not answer, and a model that answers has no embeddings."""
    pooling: str | None = None
    """How token vectors become one; ``None``: the default of the model's file."""


class Once(Generic[Key, Result]):
    """Work that is done once for all callers that wait for it, in a separate thread, for callers in any event loop.

    With ``keep`` its result stays. A failure is raised to all who waited, and the next caller starts again. When the last
    waiter has left, or the process ends, the work's ``given_up()`` is true.
    """

    def __init__(self, work: Callable[[Key, Callable[[], bool]], Result], *, name: str, keep: bool) -> None:
        self._work, self._name, self._keep = work, name, keep
        self._reset()
        atexit.register(self._end)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)  # the threads stay in the parent

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._tasks: dict[Key, _Task[Result]] = {}
        self._running: set[_Task[Result]] = set()
        self._ended = False

    async def get(self, key: Key) -> Result:
        """The result for ``key``; raises the exceptions of the work."""
        task = self._join(key)
        try:
            return await asyncio.wrap_future(task.future)
        finally:
            self._leave(key, task)

    def drop(self, unwanted: Callable[[Key], bool]) -> None:
        """Release the results under unwanted keys."""
        with self._lock:
            for key in [key for key, task in self._tasks.items() if task.future.done() and unwanted(key)]:
                del self._tasks[key]

    def _join(self, key: Key) -> _Task[Result]:
        with self._lock:
            if self._ended:
                raise NotReady("the process is shutting down: no request is started")
            task = self._tasks.get(key)
            if task is None:
                task = self._tasks[key] = _Task()
                self._running.add(task)
                task.thread = threading.Thread(target=self._run, args=(key, task), name=self._name, daemon=True)
                task.thread.start()
            task.waiting += 1
            return task

    def _leave(self, key: Key, task: _Task[Result]) -> None:
        with self._lock:
            task.waiting -= 1
            if not task.waiting and not task.future.done():
                task.given_up = True
                self._forget(key, task)

    def _forget(self, key: Key, task: _Task[Result]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]

    def _run(self, key: Key, task: _Task[Result]) -> None:
        try:
            result = self._work(key, lambda: task.given_up)
        except BaseException as error:  # noqa: BLE001  # any exception is raised to those who wait
            self._done(key, task, keep=False)
            task.future.set_exception(error)
        else:
            self._done(key, task, keep=self._keep)
            task.future.set_result(result)

    def _done(self, key: Key, task: _Task[Result], *, keep: bool) -> None:
        with self._lock:
            self._running.discard(task)
            if not keep:
                self._forget(key, task)

    def _end(self) -> None:
        with self._lock:
            self._ended = True
            running = list(self._running)
            for task in running:
                task.given_up = True
        for task in running:
            task.thread.join()


class _Task(Generic[Result]):
    __slots__ = ("future", "given_up", "thread", "waiting")
    thread: threading.Thread

    def __init__(self) -> None:
        self.future: Future[Result] = Future()
        # One waiter's cancellation must not cancel the work of the others: a future that runs cannot be cancelled.
        self.future.set_running_or_notify_cancel()
        self.waiting = 0
        self.given_up = False


class Lanes:
    """At most ``width`` jobs at a time, first come first served, each in a thread that lives as long as there is work.

    Threads of our own and not an executor's: asks that wait must not keep others from the default executor, and the interpreter
    must not wait for an answer's last token at its end.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._threads: set[threading.Thread] = set()

    def submit(self, job: Callable[[], None]) -> None:
        """Run ``job``, which must not raise."""
        with self._lock:
            if len(self._threads) < self._width:
                thread = threading.Thread(target=self._run, name="polychat-llama", daemon=True)
                thread.start()
                self._threads.add(thread)
            self._waiting.append(job)

    def join(self) -> None:
        """Wait until all work is done."""
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads.discard(threading.current_thread())
                    return
                job = self._waiting.popleft()
            job()


class Model:
    """A loaded model. ``ask`` may be called from any event loop, also concurrently."""

    def __init__(self, setting: Setting, given_up: Callable[[], bool]) -> None:
        _read_ahead(setting.path, given_up)
        self.closed = False
        self.server = _loaded_server(setting)
        self._lanes = Lanes(setting.parallel)
        _alive.add(self)

    def ask(self, question: dict[str, Any]) -> LlamaReply:
        """Begin an answer, or queue for it. ``question`` is a chat completion request in OpenAI's format."""
        answer = LlamaReply(self, question)
        self._lanes.submit(answer.run)
        return answer

    async def embed(self, texts: list[str]) -> Chunk:
        """The vectors of ``texts`` in OpenAI's format, or an ``error``. It cannot be stopped once it has started."""
        future: Future[Chunk] = Future()

        def embedded() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(self.server.handle_embeddings({"input": texts}))
                except Exception as error:  # noqa: BLE001  # C++ exceptions come as RuntimeError; the caller gets any
                    future.set_result({"error": {"message": str(error)}})

        self._lanes.submit(embedded)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Stop all answers at their next token, wait for that, and free the memory."""
        self.closed = True
        self._lanes.join()
        self.server = None


class LlamaReply:
    """One answer on its way from llama.cpp's thread to the event loop that asked.

    Unread chunks are kept, at most as many as the context has tokens. It must be closed, otherwise the model continues.
    """

    def __init__(self, model: Model, question: dict[str, Any]) -> None:
        self._model, self._question = model, question
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._heard: list[Chunk | None] = []
        self._news = asyncio.Event()
        self._closed = False

    async def batch(self) -> list[Chunk | None]:
        """All chunks since the last time, at least one. ``None`` is the end."""
        await self._news.wait()
        self._news.clear()
        with self._lock:
            chunks, self._heard = self._heard, []
        return chunks

    def close(self) -> None:
        """End the answer: the model stops at its next token, and an answer that waits for its turn does not start."""
        self._closed = True

    def run(self) -> None:
        """The whole answer, in this thread. Does not raise: an error is a chunk with an ``error``."""
        try:
            if not self._over():
                # xllamacpp releases Python's lock in here, and takes it for each call of _take_chunk.
                self._model.server.handle_chat_completions(self._question, self._take_chunk)
        except Exception as error:  # noqa: BLE001  # C++ exceptions come as RuntimeError; the caller gets any
            self._put({"error": {"message": str(error)}})
        finally:
            self._put(None)

    def _take_chunk(self, chunk: Chunk) -> bool:
        """llama.cpp's callback: true ends the answer."""
        if not self._over():
            self._put(chunk)
        return self._over()

    def _over(self) -> bool:
        return self._closed or self._model.closed

    def _put(self, chunk: Chunk | None) -> None:
        with self._lock:
            first = not self._heard
            self._heard.append(chunk)
        if first:
            try:
                self._loop.call_soon_threadsafe(self._news.set)
            except RuntimeError:  # the loop is closed: there is no reader
                self._closed = True


def is_installed() -> bool:
    """Whether xllamacpp is; loads nothing."""
    return find_spec("xllamacpp") is not None


def require() -> None:
    """Raises ``MissingPackage`` if xllamacpp is not installed; loads nothing."""
    if not is_installed():
        raise MissingPackage("xllamacpp", extra="local", purpose="a model on this machine")


async def loaded(setting: Setting) -> Model:
    """The model, loaded at the first call for its setting and kept until the process ends.

    Raises ``BadInput`` for a file that llama.cpp does not load, ``NotReady`` where xllamacpp does not work.
    """
    if _inherited:
        raise NotReady(
            "this process was forked after a model was loaded, which llama.cpp does not support: fork before the "
            "first request, or use the start method spawn or forkserver of multiprocessing"
        )
    return await _models.get(setting)


def _load(setting: Setting, given_up: Callable[[], bool]) -> Model:
    # The file was replaced: no request can reach the old one any more.
    _models.drop(lambda other: other.path == setting.path and other.stamp != setting.stamp)
    return Model(setting, given_up)


def _read_ahead(path: Path, given_up: Callable[[], bool]) -> None:
    """Make the system read the file into its cache while other threads run; see the top of this file."""
    block = bytearray(4 * 1024 * 1024)
    try:
        title = f"polychat: loading {redact(path.name, 60)}"
        with path.open("rb", buffering=0) as file, Progress(title, path.stat().st_size, patience=0.5) as progress:
            while file.readinto(block):
                progress.at(file.tell())
                if given_up():
                    raise NotReady("loading the model was cancelled: no request waits for it any longer")
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", field="model") from error


@contextmanager
def _short_spins() -> Generator[None]:
    """Have llama.cpp's threads wait for one another asleep, after a short look; libgomp reads this when it is loaded.

    By default they spin for a millisecond. Where two other programs want both cores too, that brings smollm2 from 125 tokens a
    second down to 3 to 8; like this it is 18 to 50 then, and still 125 where the cores are free.
    """
    if "OMP_WAIT_POLICY" in os.environ or "GOMP_SPINCOUNT" in os.environ:
        yield  # already set by the user
        return
    os.environ["GOMP_SPINCOUNT"] = "1000"
    try:
        yield
    finally:
        os.environ.pop("GOMP_SPINCOUNT", None)


def _imported() -> Any:
    try:
        with _short_spins():
            import xllamacpp
    except ImportError as error:
        raise NotReady(f"xllamacpp is installed but does not load: {redact(str(error))}") from error
    return xllamacpp


def _parameters(params: Any, setting: Setting) -> Any:
    """xllamacpp's ``params``, set."""
    params.model.path = str(setting.path)
    params.n_ctx = setting.context * setting.parallel  # shared out in equal parts
    params.n_parallel = setting.parallel
    params.n_batch = params.n_ubatch = _BATCH
    if setting.embeds:
        params.embedding = True
        params.n_batch = params.n_ubatch = params.n_ctx  # a text must fit into one batch, whole
    if setting.threads is not None:
        params.cpuparams.n_threads = setting.threads
    params.verbosity = -1  # no line on stderr
    params.offline = True
    params.warmup = params.fit_params = params.ui = False
    params.cache_ram_mib = 0  # else up to 8 GiB of old conversations
    params.n_threads_http = 1
    params.prefill_assistant = False  # a last assistant message is a message, not the beginning of the answer
    return params


def _loaded_server(setting: Setting) -> Any:
    xllamacpp = _imported()
    params = _parameters(xllamacpp.CommonParams(), setting)
    if setting.pooling is not None:
        params.pooling_type = xllamacpp.llama_pooling_type[f"LLAMA_POOLING_TYPE_{setting.pooling.upper()}"]
    with _unreachable() as address:
        params.hostnames = [address]
        try:
            return xllamacpp.Server(params)
        except RuntimeError as error:
            raise BadInput(
                f"{setting.path} does not load in llama.cpp: it is damaged, in a format that this version of "
                "xllamacpp does not support, or too large for the memory",
                field="model",
            ) from error


@contextmanager
def _unreachable() -> Generator[str]:
    """An address for llama.cpp's own server: a socket whose name is removed afterwards."""
    folder = tempfile.mkdtemp(prefix="polychat-")  # for this user alone
    if len(folder) > _LONGEST_SOCKET:
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix="polychat-", dir="/tmp")  # nobody else can create the names of mkdtemp before
    try:
        yield f"{folder}/llama.sock"  # by the suffix llama.cpp recognizes a socket's path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _end() -> None:
    """At exit: a thread that is inside llama.cpp when the interpreter is gone brings the process down with a fault."""
    for model in list(_alive):
        model.close()


def _forked() -> None:
    """In a forked child: the parent's models were copied, but not their threads; nor can llama.cpp be initialized again."""
    for model in list(_alive):
        # Never to be freed here: that would wait for those threads.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(model))
        _inherited.append(model)
    _alive.clear()


_inherited: list[Model] = []
_alive: weakref.WeakSet[Model] = weakref.WeakSet()
atexit.register(_end)  # before the Once below, so that it runs after that one's handler, when loading models are loaded
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)  # before it too: it must keep the models before that handler removes them
_models: Once[Setting, Model] = Once(_load, name="polychat-load", keep=True)
