"""The embedded model without its weights: requests and replies, names, and work that is done once for all."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from polychat import errors
from polychat.config.settings import LocalModel
from polychat.events import Event, Finish, Text, Usage
from polychat.providers import Local, _llama, local
from polychat.user import weights

HELLO = [{"role": "user", "content": "Say hello."}]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without polychat.toml that the test is in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def needs_xllamacpp() -> None:
    """Skip where it is not installed. Not importorskip: the import is the runtime's, which prepares it."""
    if find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed; it comes with the extra [local]")


async def events(model: str | None = None, messages: Any = HELLO, **options: Any) -> list[Event]:
    return [event async for batch in Local.events(model, messages, **options) for event in batch]


def test_the_question_is_a_chat_completion() -> None:
    """Messages, and the options that were given and no others; whole numbers also where they came as floats."""
    body = local.question(HELLO, {"temperature": 0, "max_tokens": 5.0, "seed": None})
    assert body["messages"] == HELLO
    assert (body["temperature"], body["max_tokens"]) == (0.0, 5)
    assert isinstance(body["max_tokens"], int)
    assert "seed" not in body


@pytest.mark.parametrize(
    ("field", "bad", "expected"),
    [
        ("temperature", -0.1, "a number from 0 to 5"),
        ("temperature", 5.1, "a number from 0 to 5"),
        ("temperature", float("nan"), "a number"),
        ("temperature", "hot", "a number"),
        ("temperature", True, "a number"),
        ("top_p", 1.1, "a number from 0 to 1"),
        ("min_p", -1, "a number from 0 to 1"),
        ("top_k", 1.5, "a whole number from 0 to 1,000,000"),
        ("max_tokens", 0, "a whole number from 1 to "),
        ("max_tokens", float("inf"), "a whole number"),
        ("seed", -1, "a whole number from 0 to 4,294,967,294"),
        ("frequency_penalty", 2.1, "a number from -2 to 2"),
        ("presence_penalty", [], "a number from -2 to 2"),
        ("stop", "", "string that is not empty"),
        ("stop", ["a", ""], "string that is not empty"),
        ("stop", 3, "string that is not empty"),
        ("stop", ["a"] * 65, "it may have 64 of 1,000 letters each"),
        ("stop", "a" * 1001, "it may have 64 of 1,000 letters each"),
        ("stop", "\ud800", "surrogate"),
    ],
)
async def test_an_option_that_cannot_be_is_named(field: str, bad: object, expected: str) -> None:
    """The error names the field and its range, before a model is looked for."""
    with pytest.raises(errors.BadInput, match=expected) as caught:
        await events("no-such-model", **{field: bad})
    assert caught.value.field == field


@pytest.mark.parametrize("messages", [[], "hello", [{"role": "user"}], [{"role": "user", "content": "half \ud83d"}]])
async def test_messages_that_cannot_be_are_named(messages: Any) -> None:
    """What is no conversation, or no text that any wire carries, is an error before a model is looked for."""
    with pytest.raises(errors.BadInput) as caught:
        await events("no-such-model", messages)
    assert caught.value.field.startswith("messages")


async def test_a_known_models_reply_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some repeat themselves until the context is full. Who names a limit, or a file, gets what was asked for."""
    bodies: list[dict[str, Any]] = []

    class Model:
        def ask(self, body: dict[str, Any]) -> None:
            bodies.append(body)
            raise errors.BadInput("enough is known", field="messages")

    async def anything(*_: Any, **__: Any) -> Model:
        return Model()

    monkeypatch.setattr(_llama, "require", lambda: None)
    monkeypatch.setattr(_llama, "loaded", anything)
    monkeypatch.setattr(local, "_setting", anything)
    for model, options in ((None, {}), ("smollm2", {"max_tokens": 9}), ("/a/model.gguf", {})):
        with pytest.raises(errors.BadInput, match="enough"):
            await events(model, **options)
    assert [body.get("max_tokens") for body in bodies] == [local.KNOWN_TOKENS, 9, None]


def piece(text: str | None, reason: str | None = None, **more: Any) -> dict[str, Any]:
    delta = {} if reason else {"content": text}
    return {"choices": [{"delta": delta, "finish_reason": reason, "index": 0}], "object": "chat.completion.chunk", **more}


USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}, "timings": {}}
WHOLE = [piece(None, prompt_progress={"total": 3}), piece(None), piece("Hel"), piece("lo"), piece(None, "stop"), USAGE, None]


def test_an_answer_is_read_however_it_is_cut() -> None:
    """The same events for every cut of llama.cpp's chunks into two batches."""
    for cut in range(len(WHOLE) + 1):
        reader = local.Reader()
        events = reader.feed(WHOLE[:cut]) + reader.feed(WHOLE[cut:])
        assert events == [Text("Hel"), Text("lo"), Usage(3, 2, 5), Finish("complete", "stop")]
        assert reader.done


def test_what_follows_the_end_is_not_looked_at() -> None:
    """One answer has one end."""
    reader = local.Reader()
    reader.feed(WHOLE)
    assert reader.feed([piece("more"), None]) == []


def test_an_answer_without_a_reason_is_truncated() -> None:
    """llama.cpp came back before it gave a finish reason: never a complete answer."""
    events = local.Reader().feed([piece("Hel"), None])
    assert (events[0], events[-1].verdict, type(events[-1].error)) == (Text("Hel"), "truncated", errors.Truncated)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            {"type": "exceed_context_size_error", "n_prompt_tokens": 6031, "n_ctx": 4096},
            "6,031 tokens and the model's context has 4,096",
        ),
        ({"type": "invalid_request_error", "message": "roles must alternate"}, "roles must alternate"),
    ],
)
def test_what_llama_refuses_is_bad_input(error: dict[str, Any], message: str) -> None:
    """A conversation that is too long, or not of the model's shape, is the asker's to change."""
    with pytest.raises(errors.BadInput, match=message) as caught:
        local.Reader().feed([{"error": error}, None])
    assert caught.value.field == "messages"


@pytest.mark.parametrize(
    "chunk", [{"error": {"message": "no memory", "type": "server_error"}}, {"error": 7}, {"new": "shape"}, {"choices": [1]}]
)
def test_what_fails_in_llama_is_a_failed_reply(chunk: dict[str, Any]) -> None:
    """An error midway, and what is not understood, end the answer as failed, after what came."""
    events = local.Reader().feed([piece("Hel"), chunk, piece("lo"), None])
    assert events[0] == Text("Hel")
    assert [type(event) for event in events] == [Text, Finish]
    assert (events[-1].verdict, isinstance(events[-1].error, errors.BackendError)) == ("failed", True)  # type: ignore[union-attr]


# Names


def test_the_names_of_models(elsewhere: Path, own_config: Any) -> None:
    """Paths are taken as they are; known names and those of polychat.toml are entries; the rest gets the nearest names."""
    file = own_config('[local.models]\nmine = "m.gguf"\nsmollm2 = {context = 512}\n')
    assert local._entry("/a/b", None) == LocalModel(Path("/a/b"))
    assert local._entry("./b.gguf", None) == local._entry("b.gguf", None) == LocalModel(elsewhere / "b.gguf")
    assert local._entry("mine", None) == LocalModel(file.parent / "m.gguf")
    assert local._entry("smollm2", None) == LocalModel(context=512)
    assert Local.get_models() == ["smollm2", "mine"]
    with pytest.raises(errors.UnknownTarget, match="did you mean local/mine") as caught:
        local._entry("mime", None)
    assert caught.value.near == ("local/mine",)


async def test_the_contexts_of_models(elsewhere: Path, own_config: Any) -> None:
    """That of the known model, and those that polychat.toml sets; of other files it is not known before they are read."""
    own_config('[local.models]\nmine = { path = "a.gguf", context = 99 }\nother = { path = "b.gguf" }')
    assert {model.id: model.context for model in await Local.list_models()} == {"smollm2": 4096, "mine": 99, "other": None}


@pytest.mark.parametrize(
    ("entry", "advice"), [('smollm2 = "x.gguf"', "rename it"), ("other = {context = 5}", "give it a path")]
)
async def test_an_entry_that_cannot_be_is_named(own_config: Any, entry: str, advice: str) -> None:
    """polychat.toml cannot put another file in the place of the checked weights, nor name a model without a file."""
    own_config(f"[local.models]\n{entry}\n")
    with pytest.raises(errors.BadInput, match=advice):
        await events(entry.partition(" ")[0])


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b"", "not a GGUF"), (b"PK\3\4 a wheel", "not a GGUF"), (b"GGUF" + bytes(2000), "does not load")],
)
async def test_a_file_that_is_no_model_is_named(elsewhere: Path, content: bytes | None, message: str) -> None:
    """Not there, something else, or damaged: an error with the file's name, and no crash."""
    needs_xllamacpp()
    if content is not None:
        (elsewhere / "x.gguf").write_bytes(content)
    with pytest.raises(errors.BadInput, match=r"x\.gguf.*" + message) as caught:
        await events("./x.gguf")
    assert caught.value.field == "model"


async def test_a_folder_is_no_model(elsewhere: Path) -> None:
    """A path that is a folder says so."""
    with pytest.raises(errors.BadInput, match="directory"):
        await events(f"{elsewhere}/")


async def test_without_xllamacpp_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install, before weights are fetched."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(errors.MissingPackage, match=r'pip install "polychat\[local\]"'):
        await events()


# Work that is done once for all who wait


class Work:
    """Work that a test holds and lets go."""

    def __init__(self) -> None:
        self.begun = self.given_up = 0
        self.go, self.fails = threading.Event(), False
        self.started = threading.Event()

    def __call__(self, key: str, given_up: Callable[[], bool]) -> str:
        self.begun += 1
        self.started.set()
        while not self.go.wait(0.01):
            if given_up():
                self.given_up += 1
                break
        if self.fails:
            raise errors.MissingWeights("no")
        return key.upper()


@pytest.fixture
def work() -> Iterator[Work]:
    made = Work()
    yield made
    made.go.set()


async def waiting(once: _llama.Once[str, str], many: int) -> list[asyncio.Task[str]]:
    """So many tasks that wait for one result."""
    tasks = [asyncio.create_task(once.get("a")) for _ in range(many)]
    async with asyncio.timeout(60):
        while next(iter(once._tasks.values()), None) is None or next(iter(once._tasks.values())).waiting < many:
            await asyncio.sleep(0)
    return tasks


async def test_work_is_done_once_for_all_who_wait(work: Work) -> None:
    """Ten who wait, two of them gone meanwhile: one run, and its result for eight; kept, if it is to be."""
    once = _llama.Once(work, name="test", keep=True)
    tasks = await waiting(once, 10)
    for task in tasks[:2]:
        task.cancel()
    work.go.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in done[:2]] == [asyncio.CancelledError] * 2
    assert (done[2:], await once.get("a"), work.begun, work.given_up) == (["A"] * 8, "A", 1, 0)


async def test_work_is_shared_between_event_loops(work: Work) -> None:
    """Who waits in another thread's loop gets the same run's result."""
    once = _llama.Once(work, name="test", keep=False)
    other = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(once.get("a"))))
    await waiting(once, 0)
    tasks = await waiting(once, 2)
    work.go.set()
    assert await asyncio.gather(other, *tasks) == ["A"] * 3
    assert work.begun == 1


async def test_work_nobody_waits_for_is_given_up_and_begun_anew(work: Work) -> None:
    """The last waiter's cancellation reaches the work; who comes next does not get the dying one."""
    once = _llama.Once(work, name="test", keep=True)
    tasks = await waiting(once, 3)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    again = asyncio.create_task(once.get("a"))
    async with asyncio.timeout(60):
        while work.begun < 2 or not work.given_up:
            await asyncio.sleep(0)
        work.go.set()
        assert await again == "A"
    assert (work.begun, work.given_up) == (2, 1)


async def test_a_failure_is_raised_to_all_and_not_kept(work: Work) -> None:
    """All who waited get the error; the next one begins anew."""
    once = _llama.Once(work, name="test", keep=True)
    tasks = await waiting(once, 3)
    work.fails = True
    work.go.set()
    failed = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in failed] == [errors.MissingWeights] * 3
    work.fails = False
    assert (await once.get("a"), work.begun) == ("A", 2)


async def test_weights_are_fetched_once_for_all_asks(work: Work, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Asks that come while the weights are fetched share the fetch, and its failure, which says what to run."""
    needs_xllamacpp()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "pull", lambda name, *, quiet, given_up: work(name, given_up))
    work.fails = True
    asks = [asyncio.create_task(events()) for _ in range(5)]
    assert await asyncio.to_thread(work.started.wait, 10)
    work.go.set()
    failed = await asyncio.gather(*asks, return_exceptions=True)
    assert [type(error) for error in failed] == [errors.MissingWeights] * 5
    assert work.begun == 1


async def test_the_clock_runs_while_weights_are_fetched(work: Work, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An ask whose time is up leaves the fetch, and the fetch is given up with it."""
    needs_xllamacpp()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "pull", lambda name, *, quiet, given_up: work(name, given_up))
    with pytest.raises(errors.TimedOut) as caught:
        await events(timeout=0.001)
    assert (caught.value.clock, caught.value.seconds) == ("total", 0.001)
    async with asyncio.timeout(60):
        while work.begun and not work.given_up:
            await asyncio.sleep(0)


async def test_a_file_that_was_replaced_is_another_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Equal settings share one loaded model; a file with another time or size is loaded anew, and the old one let go."""
    once: _llama.Once[_llama.Setting, object] = _llama.Once(_llama._load, name="test", keep=True)
    monkeypatch.setattr(_llama, "_models", once)
    monkeypatch.setattr(_llama, "Model", lambda setting, given_up: object())
    old, new = (_llama.Setting(tmp_path / "x.gguf", (1, time)) for time in (1, 2))
    first = await _llama.loaded(old)
    assert await _llama.loaded(old) is first
    assert await _llama.loaded(new) is not first
    assert list(once._tasks) == [new]


def test_settings_reach_llama() -> None:
    """Each lane has the whole context; the threads are set where someone set them."""
    needs_xllamacpp()
    xllamacpp = _llama._imported()
    default = xllamacpp.CommonParams().cpuparams.n_threads
    for threads, expected in ((None, default), (3, 3)):
        setting = _llama.Setting(Path("/x.gguf"), (0, 0), context=512, parallel=5, threads=threads)
        params = _llama._parameters(xllamacpp.CommonParams(), setting)
        assert (params.model.path, params.n_ctx, params.n_parallel) == ("/x.gguf", 5 * 512, 5)
        assert params.cpuparams.n_threads == expected
