"""The embedded model on its real weights, where they are here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

import polychat
from polychat import errors
from polychat.calls.call import call_of
from polychat.events import Event, Finish, Text, Usage
from polychat.providers import Local, _llama, local

from ..support.local_models import Watched, all_quiet, model_of
from ..support.local_models import smollm2 as smollm2

HELLO = [{"role": "user", "content": "Say hello."}]
STORY = [{"role": "user", "content": "Tell me a very long story about a fox."}]


async def events(model: str | None = None, messages: Any = HELLO, **options: Any) -> list[Event]:
    return [event async for batch in Local.events(model, messages, **options) for event in batch]


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


async def test_a_real_answer(smollm2: Path) -> None:
    """Pieces of text, tokens counted, and why it ended: here, for it had as many tokens as it may."""
    reply = await events("smollm2", HELLO, max_tokens=8, temperature=0)
    *pieces, usage, finish = reply
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
    reply = await events("smollm2", STORY, stop=["e"], max_tokens=50, temperature=0)
    assert "e" not in text_of(reply)
    assert reply[-1] == Finish("complete", "stop")


async def test_a_seed_repeats_an_answer(smollm2: Path) -> None:
    """With the same seed the draws are the same."""
    options = {"seed": 7, "temperature": 1.0, "top_p": 0.95, "top_k": 40, "min_p": 0.0, "max_tokens": 8}
    texts = [text_of(await events("smollm2", STORY, **options)) for _ in range(3)]
    assert texts[1] == texts[2]  # the first filled the cache; from then on even the arithmetic is the same


async def test_the_system_message_reaches_the_model(smollm2: Path) -> None:
    """It takes its place in the prompt."""
    sizes = []
    for text in ("Be short.", "Be short. " * 20):
        reply = await events("smollm2", [{"role": "system", "content": text}, *HELLO], max_tokens=1)
        sizes.append(next(event.prompt_tokens for event in reply if isinstance(event, Usage)))
    assert sizes[1] > sizes[0] + 40  # type: ignore[operator]


async def test_letters_of_several_tokens_come_whole(smollm2: Path) -> None:
    """An emoji takes several tokens; no piece holds part of one."""
    reply = await events(
        "smollm2", [{"role": "user", "content": "Reply only with this emoji: 🦜"}], max_tokens=12, temperature=0
    )
    assert "🦜" in text_of(reply)
    assert "\N{REPLACEMENT CHARACTER}" not in text_of(reply)


async def test_a_prompt_beyond_the_context_is_refused_with_both_numbers(smollm2: Path) -> None:
    """How long it is, how much the model holds, and where to change that."""
    with pytest.raises(
        errors.BadInput, match=r"have 6,0\d\d tokens and the model's context has 4,096.*polychat\.toml"
    ) as caught:
        await events("smollm2", [{"role": "user", "content": "word " * 6000}])
    assert (caught.value.field, caught.value.provider) == ("messages", "Local")


@pytest.fixture
def mine(smollm2: Path, own_config: Any) -> str:
    """A name for the same file in polychat.toml: a small context, one thread."""
    file = own_config('[local.models.mine]\npath = "mine.gguf"\ncontext = 256\nparallel = 1\nthreads = 1\n')
    (file.parent / "mine.gguf").symlink_to(smollm2)
    return "mine"


async def test_a_name_from_polychat_toml(mine: str) -> None:
    """A file of one's own under a name of one's own, with the context one gave it."""
    assert text_of(await events(mine, max_tokens=3))
    with pytest.raises(errors.BadInput, match="the model's context has 256"):
        await events(mine, [{"role": "user", "content": "word " * 300}])


async def test_the_event_loop_goes_on_while_the_model_thinks(mine: str) -> None:
    """A task beside the ask gets turn after turn between two tokens: nothing of the decoding is done in the loop."""
    beats = pieces = 0

    async def heart() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    beating = asyncio.create_task(heart())
    async for _ in Local.create_async_generator(mine, STORY, max_tokens=30):
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
    async with asyncio.timeout(60):
        await reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await all_quiet()
    progress = watched.last["prompt_progress"]
    assert progress["processed"] < progress["total"]


async def test_a_cancelled_ask_that_waits_is_not_begun(smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all lanes taken an ask waits in our own queue, and can leave it without costing the model anything."""
    model = await model_of()
    watched = Watched(model.server)
    monkeypatch.setattr(model, "server", watched)
    question = local.question(STORY, {"max_tokens": 3000})
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
    events: list[Event] = []
    async for batch in Local.reply("smollm2", STORY, call, max_tokens=3000):
        events += batch
        object.__setattr__(call, "deadline", 0.0)
    assert text_of(events)
    assert isinstance(events[-1], Finish)
    assert (events[-1].verdict, type(events[-1].error)) == ("truncated", errors.TimedOut)
    await all_quiet()


async def test_a_loop_that_was_closed_amid_an_answer_stops_it(smollm2: Path) -> None:
    """A loop that is gone reads nothing: the model stops for it too."""
    model = await model_of()
    question = local.question(STORY, {"max_tokens": 3000})

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


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    try:
        async with asyncio.timeout(60):
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
    assert await ended(process) == (3, "True\n", "")


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
    async with asyncio.timeout(60):
        await process.stdout.readline()  # type: ignore[union-attr]
    process.send_signal(signal.SIGINT)
    code, out, err = await ended(process)
    assert (code, out.splitlines()[-1], err) == (130, "interrupted", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
async def test_a_forked_child_gets_an_error_and_does_not_hang(smollm2: Path) -> None:
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
    assert await ended(process) == (0, "True\nNotReady True\nparent 7 True\n", "")


@pytest.fixture
def pooled(smollm2: Path, own_config: Any) -> str:
    """A name for the weights as an embedding model: their pooling is set in polychat.toml."""
    own_config(f'[local.models.vectors]\npath = "{smollm2}"\npooling = "mean"\ncontext = 256\n')
    return "local/vectors"


async def test_texts_become_vectors(pooled: str) -> None:
    """One each, of one length, near for what is alike and far for what is not; counted in tokens."""
    embeddings = await polychat.embed(["a red car", "a crimson automobile", "the sum of two primes is even"], model=pooled)
    assert len({len(vector) for vector in embeddings.vectors}) == 1
    one, like, other = embeddings.vectors
    assert sum(a * b for a, b in zip(one, like, strict=True)) > sum(a * b for a, b in zip(one, other, strict=True))
    assert embeddings.usage.prompt_tokens
    assert (await polychat.embed("a red car", model=pooled)).vectors[0] == pytest.approx(one, abs=1e-2)


async def test_a_text_too_long_for_the_model_is_named(pooled: str) -> None:
    """It is not cut."""
    with pytest.raises(errors.BadInput, match="too long") as caught:
        await polychat.embed("word " * 5000, model=pooled)
    assert caught.value.field == "texts"


async def test_a_model_that_only_answers_gives_no_vectors(smollm2: Path) -> None:
    """The file does not say how it pools: that is reported, with the fix."""
    with pytest.raises(errors.BadInput, match="pooling"):
        await polychat.embed("hello", model="local/smollm2")


@pytest.mark.parametrize("texts", ["", [], ["a", ""], [5], "\ud800"])
async def test_what_is_no_text_is_refused(texts: Any, pooled: str) -> None:
    """Before a model is loaded for it."""
    with pytest.raises(errors.BadInput, match="texts"):
        await polychat.embed(texts, model=pooled)
