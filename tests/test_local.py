"""The embedded model, on its real weights where they are here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from polychat import config, errors
from polychat.events import Event, Finish, Text, Usage
from polychat.providers import Local, _llama, local
from polychat.providers._call import call_of
from polychat.transport import weights

HELLO = [{"role": "user", "content": "Say hello."}]
STORY = [{"role": "user", "content": "Tell me a very long story about a fox."}]
_CACHE = weights.folder()


@pytest.fixture
def smollm2() -> Path:
    """The real weights, from this user's own cache."""
    pytest.importorskip("xllamacpp")
    file = weights.path("smollm2")
    if file is None:
        pytest.skip("no weights of smollm2 here; run: polychat models pull")
    return file


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without polychat.toml that the test is in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def events(model: str | None = None, messages: Any = HELLO, **options: Any) -> list[Event]:
    return [event async for batch in Local.events(model, messages, **options) for event in batch]


def text_of(heard: list[Event]) -> str:
    return "".join(event.text for event in heard if isinstance(event, Text))


async def all_quiet() -> None:
    """Wait until no model is decoding; which a test that leaves an answer must bring about."""
    async with asyncio.timeout(20):
        for thread in threading.enumerate():
            if thread.name == "polychat-llama":
                await asyncio.to_thread(thread.join)


class Watched:
    """llama.cpp's server with an eye on its callback: how often it was called, and how many asks it was given."""

    def __init__(self, server: Any, seen: Callable[[], None] = lambda: None) -> None:
        self._server, self._seen = server, seen
        self.asks = self.chunks = 0

    def handle_chat_completions(self, question: dict[str, Any], hear: Callable[[dict[str, Any]], bool]) -> None:
        def counted(chunk: dict[str, Any]) -> bool:
            self.chunks += 1
            self._seen()
            return hear(chunk)

        self.asks += 1
        self._server.handle_chat_completions(question, counted)


async def model_of(name: str = "smollm2") -> _llama.Model:
    """The loaded model itself."""
    return await _llama.loaded(await local._setting(name))


# What is asked, and what is heard: pure


def test_the_question_is_a_chat_completion() -> None:
    """Messages, and the options that were given and no others; whole numbers also where they came as floats."""
    asked = local.question(HELLO, {"temperature": 0, "max_tokens": 5.0, "seed": None}, "END")
    assert asked["messages"] == HELLO
    assert (asked["temperature"], asked["max_tokens"], asked["stop"]) == (0.0, 5, ["END"])
    assert isinstance(asked["max_tokens"], int)
    assert "seed" not in asked


@pytest.mark.parametrize(
    ("field", "bad", "wanted"),
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
        ("stop", "", "text that is not empty"),
        ("stop", ["a", ""], "text that is not empty"),
        ("stop", 3, "text that is not empty"),
        ("stop", "\ud800", "surrogate"),
    ],
)
async def test_an_option_that_cannot_be_is_named(field: str, bad: object, wanted: str) -> None:
    """The error names the field and its range, before a model is looked for."""
    with pytest.raises(errors.BadInput, match=wanted) as caught:
        await events("no-such-model", **{field: bad})
    assert caught.value.field == field


@pytest.mark.parametrize("messages", [[], "hello", [{"role": "user"}], [{"role": "user", "content": "half \ud83d"}]])
async def test_messages_that_cannot_be_are_named(messages: Any) -> None:
    """What is no conversation, or no text that any wire carries, is an error before a model is looked for."""
    with pytest.raises(errors.BadInput) as caught:
        await events("no-such-model", messages)
    assert caught.value.field.startswith("messages")


def piece(text: str | None, reason: str | None = None, **more: Any) -> dict[str, Any]:
    delta = {} if reason else {"content": text}
    return {"choices": [{"delta": delta, "finish_reason": reason, "index": 0}], "object": "chat.completion.chunk", **more}


USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}, "timings": {}}
WHOLE = [piece(None, prompt_progress={"total": 3}), piece(None), piece("Hel"), piece("lo"), piece(None, "stop"), USAGE, None]


def test_an_answer_is_read_however_it_is_cut() -> None:
    """The same events for every cut of llama.cpp's chunks into two batches."""
    for cut in range(len(WHOLE) + 1):
        reader = local.Reader()
        heard = reader.feed(WHOLE[:cut]) + reader.feed(WHOLE[cut:])
        assert heard == [Text("Hel"), Text("lo"), Usage(3, 2, 5), Finish("complete", "stop")]
        assert reader.done


def test_what_follows_the_end_is_not_looked_at() -> None:
    """One answer has one end."""
    reader = local.Reader()
    reader.feed(WHOLE)
    assert reader.feed([piece("more"), None]) == []


def test_an_answer_without_a_reason_is_truncated() -> None:
    """llama.cpp came back before it gave a finish reason: never a complete answer."""
    heard = local.Reader().feed([piece("Hel"), None])
    assert (heard[0], heard[-1].verdict, type(heard[-1].error)) == (Text("Hel"), "truncated", errors.Truncated)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            {"type": "exceed_context_size_error", "n_prompt_tokens": 6031, "n_ctx": 4096},
            "6,031 tokens and the model holds 4,096",
        ),
        ({"type": "invalid_request_error", "message": "roles must alternate"}, "roles must alternate"),
    ],
)
def test_what_llama_refuses_is_bad_input(error: dict[str, Any], said: str) -> None:
    """A conversation that is too long, or not of the model's shape, is the asker's to change."""
    with pytest.raises(errors.BadInput, match=said) as caught:
        local.Reader().feed([{"error": error}, None])
    assert caught.value.field == "messages"


@pytest.mark.parametrize(
    "chunk", [{"error": {"message": "no memory", "type": "server_error"}}, {"error": 7}, {"new": "shape"}, {"choices": [1]}]
)
def test_what_fails_in_llama_is_a_failed_reply(chunk: dict[str, Any]) -> None:
    """An error midway, and what is not understood, end the answer as failed, after what came."""
    heard = local.Reader().feed([piece("Hel"), chunk, piece("lo"), None])
    assert heard[0] == Text("Hel")
    assert [type(event) for event in heard] == [Text, Finish]
    assert (heard[-1].verdict, isinstance(heard[-1].error, errors.BackendError)) == ("failed", True)  # type: ignore[union-attr]


# Names


def test_the_names_of_models(elsewhere: Path) -> None:
    """Paths are taken as they are; known names and those of polychat.toml are entries; the rest gets the nearest names."""
    (elsewhere / "polychat.toml").write_text('[local.models]\nmine = "m.gguf"\nsmollm2 = {context = 512}\n')
    assert local._entry("/a/b") == config.LocalModel(Path("/a/b"))
    assert local._entry("./b.gguf") == local._entry("b.gguf") == config.LocalModel(elsewhere / "b.gguf")
    assert local._entry("mine") == config.LocalModel(elsewhere / "m.gguf")
    assert local._entry("smollm2") == config.LocalModel(context=512)
    assert Local.get_models() == ["smollm2", "mine"]
    with pytest.raises(errors.UnknownTarget, match="did you mean local/mine") as caught:
        local._entry("mime")
    assert caught.value.near == ("local/mine",)


@pytest.mark.parametrize(("entry", "said"), [('smollm2 = "x.gguf"', "rename it"), ("other = {context = 5}", "give it a path")])
async def test_an_entry_that_cannot_be_is_named(elsewhere: Path, entry: str, said: str) -> None:
    """A folder's polychat.toml cannot put another file in the place of the checked weights, nor name a model without a file."""
    (elsewhere / "polychat.toml").write_text(f"[local.models]\n{entry}\n")
    with pytest.raises(errors.BadInput, match=said):
        await events(entry.partition(" ")[0])


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"", "not a GGUF"), (b"PK\3\4 a wheel", "not a GGUF"), (b"GGUF" + bytes(2000), "does not load")],
)
async def test_a_file_that_is_no_model_is_named(elsewhere: Path, content: bytes | None, said: str) -> None:
    """Not there, something else, or damaged: an error with the file's name, and no crash."""
    pytest.importorskip("xllamacpp")
    if content is not None:
        (elsewhere / "x.gguf").write_bytes(content)
    with pytest.raises(errors.BadInput, match=r"x\.gguf.*" + said) as caught:
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
    async with asyncio.timeout(10):
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
    async with asyncio.timeout(10):
        while work.begun < 2 or not work.given_up:
            await asyncio.sleep(0)
        work.go.set()
        assert await again == "A"
    assert (work.begun, work.given_up) == (2, 1)


async def test_a_failure_is_told_to_all_and_not_kept(work: Work) -> None:
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
    pytest.importorskip("xllamacpp")
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
    pytest.importorskip("xllamacpp")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "pull", lambda name, *, quiet, given_up: work(name, given_up))
    with pytest.raises(errors.TimedOut) as caught:
        await events(timeout=0.001)
    assert (caught.value.clock, caught.value.seconds) == ("total", 0.001)
    async with asyncio.timeout(10):
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


# The real model


async def test_a_real_answer(smollm2: Path) -> None:
    """Pieces of text, tokens counted, and why it ended: here, for it had as many tokens as it may."""
    heard = await events("smollm2", HELLO, max_tokens=8, temperature=0)
    *pieces, usage, finish = heard
    assert text_of(pieces)
    assert len(pieces) > 1
    assert isinstance(usage, Usage)
    assert (usage.completion_tokens, usage.total_tokens) == (8, usage.prompt_tokens + 8)  # type: ignore[operator]
    assert finish == Finish("complete", "length")


async def test_the_contract_on_the_real_model(smollm2: Path) -> None:
    """No model means smollm2; the joined text; the plain generator, beside a running loop."""
    assert await Local.create_async(None, HELLO, max_tokens=4)
    assert list(await asyncio.to_thread(lambda: list(Local().create_completion("smollm2", HELLO, max_tokens=4))))


async def test_stop_ends_the_answer_before_it(smollm2: Path) -> None:
    """The stop text is not in the answer, whose reason is stop."""
    heard = await events("smollm2", STORY, stop=["e"], max_tokens=50, temperature=0)
    assert "e" not in text_of(heard)
    assert heard[-1] == Finish("complete", "stop")


async def test_a_seed_repeats_an_answer(smollm2: Path) -> None:
    """With the same seed the dice fall the same."""
    options = {"seed": 7, "temperature": 1.0, "top_p": 0.95, "top_k": 40, "min_p": 0.0, "max_tokens": 12}
    texts = [text_of(await events("smollm2", STORY, **options)) for _ in range(3)]
    assert texts[1] == texts[2]  # the first filled the cache; from then on even the arithmetic is the same


async def test_the_system_message_reaches_the_model(smollm2: Path) -> None:
    """It takes its place in the prompt."""
    sizes = []
    for text in ("Be short.", "Be short. " * 20):
        heard = await events("smollm2", [{"role": "system", "content": text}, *HELLO], max_tokens=1)
        sizes.append(next(event.prompt_tokens for event in heard if isinstance(event, Usage)))
    assert sizes[1] > sizes[0] + 40  # type: ignore[operator]


async def test_letters_of_several_tokens_come_whole(smollm2: Path) -> None:
    """An emoji takes several tokens; no piece holds part of one."""
    heard = await events(
        "smollm2", [{"role": "user", "content": "Reply only with this emoji: 🦜"}], max_tokens=12, temperature=0
    )
    assert "🦜" in text_of(heard)
    assert "\N{REPLACEMENT CHARACTER}" not in text_of(heard)


async def test_a_prompt_beyond_the_context_is_refused_with_both_numbers(smollm2: Path) -> None:
    """How long it is, how much the model holds, and where to change that."""
    with pytest.raises(errors.BadInput, match=r"are 6,0\d\d tokens and the model holds 4,096.*polychat\.toml") as caught:
        await events("smollm2", [{"role": "user", "content": "word " * 6000}])
    assert (caught.value.field, caught.value.provider) == ("messages", "Local")


async def test_a_name_from_polychat_toml(smollm2: Path, elsewhere: Path) -> None:
    """A file of one's own under a name of one's own, with the context one gave it."""
    (elsewhere / "mine.gguf").symlink_to(smollm2)
    (elsewhere / "polychat.toml").write_text(
        '[local.models]\nmine = {path = "mine.gguf", context = 256, parallel = 1, threads = 1}\n'
    )
    assert text_of(await events("mine", max_tokens=3))
    with pytest.raises(errors.BadInput, match="the model holds 256"):
        await events("mine", [{"role": "user", "content": "word " * 300}])


async def test_the_event_loop_goes_on_while_the_model_thinks(smollm2: Path) -> None:
    """A task beside the ask gets turn after turn between two tokens: nothing of the decoding is done in the loop."""
    beats = pieces = 0

    async def heart() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    beating = asyncio.create_task(heart())
    async for _ in Local.create_async_generator("smollm2", STORY, max_tokens=30):
        pieces += 1
    beating.cancel()
    assert beats > 20 * pieces


async def test_several_asks_at_once(smollm2: Path) -> None:
    """As many as the model has lanes are answered side by side: each has begun before one is done. The rest wait their turn."""
    order: list[tuple[str, int]] = []

    async def ask(number: int) -> str:
        pieces = []
        async for text in Local.create_async_generator(
            "smollm2", [{"role": "user", "content": f"Story {number}"}], max_tokens=40
        ):
            if not pieces:
                order.append(("begun", number))
            pieces.append(text)
        order.append(("done", number))
        return "".join(pieces)

    answers = await asyncio.gather(*map(ask, range(_llama.PARALLEL + 2)))
    assert all(answers)
    assert [what for what, _ in order[: _llama.PARALLEL]] == ["begun"] * _llama.PARALLEL


async def test_leaving_an_answer_stops_the_decoding_at_the_next_token(smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the generator is closed llama.cpp's callback is called once more at most, and its thread ends."""
    model = await model_of()
    watched = Watched(model.server)
    monkeypatch.setattr(model, "server", watched)
    async with aclosing(Local.events("smollm2", STORY, max_tokens=3000)) as batches:
        async for batch in batches:
            if text_of(batch):
                break
    at_the_end = watched.chunks
    await all_quiet()
    assert watched.chunks <= at_the_end + 1


async def test_a_cancelled_ask_stops_amid_a_long_prompt(smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled while the prompt is read, it ends with the batch and says nothing."""
    model, loop, reading = await model_of(), asyncio.get_running_loop(), asyncio.Event()
    watched = Watched(model.server, lambda: loop.call_soon_threadsafe(reading.set) and None)
    monkeypatch.setattr(model, "server", watched)
    task = asyncio.create_task(events("smollm2", [{"role": "user", "content": "fox " * 3000}], max_tokens=3000))
    async with asyncio.timeout(20):
        await reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await all_quiet()
    assert watched.chunks <= 3  # of more than twenty batches


async def test_a_cancelled_ask_that_waits_is_not_begun(smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all lanes taken an ask waits in our own queue, and can leave it without costing the model anything."""
    model = await model_of()
    watched = Watched(model.server)
    monkeypatch.setattr(model, "server", watched)
    question = local.question(STORY, {"max_tokens": 3000}, None)
    answers = [model.ask(question) for _ in range(_llama.PARALLEL)]
    for answer in answers:
        await answer.batch()
    waits = asyncio.create_task(events("smollm2", STORY))
    while len(model._lanes._waiting) == 0:
        await asyncio.sleep(0)
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    for answer in answers:
        answer.close()
    await all_quiet()
    assert watched.asks == _llama.PARALLEL


async def test_an_answer_out_of_time_is_truncated_with_its_text(smollm2: Path) -> None:
    """The clock runs out midway: what came stays, and the end says which clock it was."""
    call = call_of(Local, None, {"timeout": 60})
    heard: list[Event] = []
    async for batch in Local.reply("smollm2", STORY, call, max_tokens=3000):
        heard += batch
        object.__setattr__(call, "deadline", 0.0)
    assert text_of(heard)
    assert isinstance(heard[-1], Finish)
    assert (heard[-1].verdict, type(heard[-1].error)) == ("truncated", errors.TimedOut)
    await all_quiet()


async def test_a_loop_that_was_closed_amid_an_answer_stops_it(smollm2: Path) -> None:
    """A loop that is gone reads nothing: the model stops for it too."""
    model = await model_of()
    question = local.question(STORY, {"max_tokens": 3000}, None)

    def begin() -> None:
        async def one_batch() -> None:
            await model.ask(question).batch()

        asyncio.run(one_batch())

    await asyncio.to_thread(begin)
    await all_quiet()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
async def test_nothing_listens(smollm2: Path) -> None:
    """The HTTP server that comes with llama.cpp has no port, and its socket has no name that anyone could use."""
    await model_of()
    ours = set()
    for file in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that listdir itself had open
            ours.add(os.readlink(f"/proc/self/fd/{file}"))
    for family in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{family}").read_text().splitlines()[1:]:
            state, inode = line.split()[3], line.split()[9]
            assert not (state == "0A" and f"socket:[{inode}]" in ours), line
    sockets = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    names = [fields[7] for fields in sockets if len(fields) > 7 and f"socket:[{fields[6]}]" in ours]
    assert any(name.endswith("/llama.sock") for name in names)  # or this test looks for the wrong thing
    for name in names:
        assert not os.path.exists(name)


async def script(body: str, **environment: str) -> asyncio.subprocess.Process:
    """A process of its own that has the beginning below and then does ``body``."""
    text = f"import asyncio, os, sys\nfrom polychat.providers import Local\nSTORY = {STORY!r}\n{body}"
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **environment}
    )


async def told(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    try:
        async with asyncio.timeout(20):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, out.decode(), err.decode()


async def test_a_process_ends_quietly_amid_an_answer(smollm2: Path) -> None:
    """Left with an ask that goes on in another thread, the process ends at once, with nothing on stderr and no fault."""
    process = await script(
        """
answer = Local.create_completion("smollm2", STORY, max_tokens=3000)
print(bool(next(answer)))
sys.exit(3)
"""
    )
    assert await told(process) == (3, "True\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send")
async def test_an_interrupt_ends_the_ask_and_the_process(smollm2: Path) -> None:
    """llama.cpp leaves the signals alone: Ctrl-C is Python's, comes amid the answer, and the end is clean."""
    process = await script(
        """
async def main():
    async for text in Local.create_async_generator("smollm2", STORY, max_tokens=3000):
        print("piece", flush=True)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
    sys.exit(130)
"""
    )
    async with asyncio.timeout(20):
        await process.stdout.readline()  # type: ignore[union-attr]
    process.send_signal(signal.SIGINT)
    code, out, err = await told(process)
    assert (code, out.splitlines()[-1], err) == (130, "interrupted", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
async def test_a_forked_child_is_told_and_does_not_hang(smollm2: Path) -> None:
    """The parent's model came along without its threads: the child gets an error, ends, and the parent goes on."""
    process = await script(
        """
import warnings
warnings.simplefilter("ignore")  # of fork beside threads, which is what is tried here
ask = lambda: bool("".join(Local.create_completion("smollm2", STORY, max_tokens=3)))
print(ask(), flush=True)
child = os.fork()
if not child:
    try:
        ask()
    except RuntimeError as error:
        print(type(error).__name__, "forked" in str(error), flush=True)
    os._exit(7)  # as multiprocessing's children end
print("parent", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), ask())
"""
    )
    assert await told(process) == (0, "True\nNotReady True\nparent 7 True\n", "")
