"""Leases: a credential is fetched once for all who wait, and never used once too often."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import weakref
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polychat.errors import ConnectionFailed, MissingCookies, ReplyFailed, TimedOut
from polychat.providers import _lease
from polychat.providers._lease import Accounts, Lease, Leases

from ..support.state_tables import moves, transitions

USES = 5


class Service:
    """Logins that a test finishes by hand: each waits in ``open`` until it is given its outcome."""

    def __init__(self) -> None:
        self.now = 0.0
        self.begun = 0
        self.open: dict[int, asyncio.Future[float]] = {}
        self.finished: list[int] = []

    def clock(self) -> float:
        return self.now

    async def login(self) -> tuple[int, float]:
        self.begun += 1
        number = self.begun
        self.open[number] = asyncio.get_running_loop().create_future()
        try:
            until = await self.open[number]
        finally:
            del self.open[number]
        self.finished.append(number)
        return number, until

    def succeed(self, number: int, lasts: float = 1000) -> None:
        self.open[number].set_result(self.now + lasts)


async def turns(count: int = 10) -> None:
    """Let everything that can go on go on."""
    for _ in range(count):
        await asyncio.sleep(0)


async def taken(leases: Leases[int], service: Service, count: int) -> list[asyncio.Task[Lease[int]]]:
    tasks = [asyncio.create_task(leases.take(service.login)) for _ in range(count)]
    await turns()
    return tasks


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    yield service
    assert not service.open, "a login was left under way"


async def test_five_hundred_at_once(service: Service) -> None:
    """500 concurrent asks begin exactly 100 logins, all of them at once, and each login serves five."""
    leases: Leases[int] = Leases(USES, service.clock)
    tasks = await taken(leases, service, 500)
    assert sorted(service.open) == list(range(1, 101))
    for number in list(service.open):
        service.succeed(number)
    served = Counter(lease.value for lease in await asyncio.gather(*tasks))
    assert served == dict.fromkeys(range(1, 101), USES)
    assert service.begun == 100


async def test_one_after_the_other(service: Service) -> None:
    """Asks one after the other use a login up before they begin the next."""
    leases: Leases[int] = Leases(USES, service.clock)
    seen = []
    for _ in range(12):
        [task] = await taken(leases, service, 1)
        for number in list(service.open):
            service.succeed(number)
        seen.append((await task).value)
    assert seen == [1] * 5 + [2] * 5 + [3] * 2


async def test_use_is_counted_when_given(service: Service) -> None:
    """What is left of a lease, and how often it was used, is known from the moment a use is given."""
    leases: Leases[int] = Leases(USES, service.clock)
    tasks = await taken(leases, service, 2)
    service.succeed(1)
    lease, same = await asyncio.gather(*tasks)
    assert lease is same is leases.latest
    assert (lease.used, lease.uses_left) == (2, 3)


async def test_failed_login(service: Service) -> None:
    """A failing login fails just the asks that wait for it, each with an error of its own; the next ask logs in anew."""
    leases: Leases[int] = Leases(USES, service.clock)
    tasks = await taken(leases, service, 7)
    cause = ReplyFailed("no guests today", status=503, retry_after=9)
    service.open[1].set_exception(cause)
    service.succeed(2)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    errors, served = outcomes[:5], outcomes[5:]
    assert [lease.value for lease in served if isinstance(lease, Lease)] == [2, 2]
    assert len({id(error) for error in [*errors, cause]}) == 6
    for error in errors:
        assert type(error) is ReplyFailed
        assert (str(error), error.status, error.retry_after) == ("no guests today", 503, 9)
        assert error.__cause__ is cause
    later = await taken(leases, service, 4)
    assert list(service.open) == [3]
    service.succeed(3)
    assert [lease.value for lease in await asyncio.gather(*later)] == [2, 2, 2, 3]


@pytest.mark.parametrize(
    "error",
    [
        TimedOut("connect", 3),
        MissingCookies("a.example", url="https://a.example/"),
        ConnectionFailed("no route"),
        KeyError("a defect, not of our tree"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_error_of_ones_own(error: Exception, service: Service) -> None:
    """The error each caller gets is of the login's type and says the same, whatever its constructor wants."""
    leases: Leases[int] = Leases(USES, service.clock)
    tasks = await taken(leases, service, 2)
    service.open[1].set_exception(error)
    first, second = await asyncio.gather(*tasks, return_exceptions=True)
    for own in (first, second):
        assert type(own) is type(error)
        assert own.args == error.args
        assert vars(own) == vars(error)
    assert first is not second


async def test_expiry_voids_what_is_left(service: Service) -> None:
    """A credential is given until its moment and not from then on; what was left of it is lost."""
    leases: Leases[int] = Leases(USES, service.clock)
    tasks = await taken(leases, service, 1)
    service.succeed(1, lasts=10)
    assert (await tasks[0]).value == 1
    service.now = 9.9
    assert (await leases.take(service.login)).value == 1
    service.now = 10
    [task] = await taken(leases, service, 1)
    assert list(service.open) == [2]
    service.succeed(2)
    assert (await task).value == 2


async def test_clock_that_is_off(service: Service) -> None:
    """A login that is past as soon as it comes serves those who waited for it and nobody else: no login without end."""
    leases: Leases[int] = Leases(USES, service.clock)
    tasks = await taken(leases, service, 3)
    service.succeed(1, lasts=-3600)
    assert [lease.value for lease in await asyncio.gather(*tasks)] == [1, 1, 1]
    [task] = await taken(leases, service, 1)
    assert list(service.open) == [2]
    service.succeed(2)
    assert (await task).value == 2


async def test_refused(service: Service) -> None:
    """A lease marked refused is given to nobody any more, whatever was left of it."""
    leases: Leases[int] = Leases(USES, service.clock)
    tasks = await taken(leases, service, 1)
    service.succeed(1)
    (await tasks[0]).refused = True
    later = await taken(leases, service, 5)
    assert list(service.open) == [2]
    service.succeed(2)
    assert [lease.value for lease in await asyncio.gather(*later)] == [2] * 5


async def test_first_waiter_cancelled(service: Service) -> None:
    """The ask that began a login may leave: the others get it still, and its place goes to the next."""
    leases: Leases[int] = Leases(USES, service.clock)
    first, *others = await taken(leases, service, 5)
    first.cancel()
    [next_one] = await taken(leases, service, 1)
    service.succeed(1)
    assert [lease.value for lease in await asyncio.gather(*others, next_one)] == [1] * 5
    assert first.cancelled()
    assert service.begun == 1


async def test_place_is_free_at_once(service: Service) -> None:
    """A cancelled waiter's place is free from its cancellation on, not only once it has woken up."""
    leases: Leases[int] = Leases(USES, service.clock)
    first, *others = await taken(leases, service, 5)
    newcomer = asyncio.create_task(leases.take(service.login))
    first.cancel()  # it wakes up after the newcomer has looked for a place
    await turns()
    assert list(service.open) == [1]
    service.succeed(1)
    assert {lease.value for lease in await asyncio.gather(*others, newcomer)} == {1}


async def test_all_waiters_cancelled(service: Service) -> None:
    """A login for which nobody waits any more is cancelled; the next ask begins another."""
    leases: Leases[int] = Leases(USES, service.clock)
    tasks = await taken(leases, service, 3)
    for task in tasks:
        task.cancel()
    await turns()
    assert not service.open
    assert leases.is_idle()
    [task] = await taken(leases, service, 1)
    service.succeed(2)
    assert (await task).value == 2


async def test_cancelled_between_giving_and_waking(service: Service) -> None:
    """A caller cancelled after its use was given and before it woke up gives the use back."""
    leases: Leases[int] = Leases(USES, service.clock)
    victim: asyncio.Task[Lease[int]]

    async def killer() -> Lease[int]:
        lease = await leases.take(service.login)
        assert lease.used == 2  # the victim's is given, and the victim has not run since
        assert victim.cancel()
        return lease

    first = asyncio.create_task(killer())
    await turns()
    [victim] = await taken(leases, service, 1)
    service.succeed(1)
    lease = await first
    await turns()
    assert victim.cancelled()
    assert (lease.used, lease.uses_left) == (1, 4)


async def test_cancelled_between_login_and_giving(service: Service) -> None:
    """A caller cancelled when the login is done and not yet shared out is passed over; the others get theirs."""
    leases: Leases[int] = Leases(USES, service.clock)
    victim, *others = await taken(leases, service, 3)
    service.succeed(1)
    asyncio.get_running_loop().call_soon(victim.cancel)
    lease, same = await asyncio.gather(*others)
    assert lease is same
    assert victim.cancelled()
    assert lease.used == 2


async def test_given_back_by_the_last(service: Service) -> None:
    """A use given back to a lease that was used up can be had again."""
    leases: Leases[int] = Leases(2, service.clock)
    victim: asyncio.Task[Lease[int]]

    async def killer() -> Lease[int]:
        lease = await leases.take(service.login)
        assert victim.cancel()
        late = leases.take(service.login)
        late.send(None)  # it finds nothing left, and lets go of the lease, before the victim has woken up
        with pytest.raises(asyncio.CancelledError):
            late.throw(asyncio.CancelledError())
        return lease

    first = asyncio.create_task(killer())
    await turns()
    [victim] = await taken(leases, service, 1)
    service.succeed(1)
    lease = await first
    await turns()
    assert victim.cancelled()
    assert (lease.used, lease.uses_left) == (1, 1)
    assert await leases.take(service.login) is lease


async def test_login_cancelled_by_other_code(service: Service) -> None:
    """Where someone else cancels the login, those who wait hear of it as an error and not as their own cancellation."""
    leases: Leases[int] = Leases(USES, service.clock)
    before = asyncio.all_tasks()
    task = asyncio.create_task(leases.take(service.login))
    await turns()
    [login] = asyncio.all_tasks() - before - {task}
    login.cancel()
    with pytest.raises(ConnectionFailed, match="cancelled"):
        await task


async def test_refused_before_a_waiting_caller_woke(service: Service) -> None:
    """A credential that was refused to another caller in that moment is not given: there is a new login, and no use is lost."""
    leases: Leases[int] = Leases(USES, service.clock)

    async def refusing() -> None:
        (await leases.take(service.login)).refused = True

    first = asyncio.create_task(refusing())
    second = asyncio.create_task(leases.take(service.login))
    await turns()
    service.succeed(1)
    await turns()
    await first
    service.succeed(2)
    lease = await second
    assert (lease.value, lease.used, lease.refused) == (2, 1, False)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(1, 8)),
        st.tuples(st.just("finish"), st.integers(0, 20)),
        st.tuples(st.just("fail"), st.integers(0, 20)),
        st.tuples(st.just("cancel"), st.integers(0, 50)),
        st.tuples(st.just("refuse"), st.integers(0, 50)),
        st.tuples(st.just("later"), st.integers(1, 60)),
        st.tuples(st.just("turns"), st.integers(1, 3)),
    ),
    max_size=60,
)


ACTS = ("ask", "finish", "fail", "cancel", "refuse", "later", "turns")


class Play:
    """Any order of asks, logins that succeed or fail, cancellations, refusals and time, with few turns of the loop between."""

    def __init__(self) -> None:
        self.service = Service()
        self.leases: Leases[int] = Leases(USES, self.service.clock)
        self.asks: list[asyncio.Task[None]] = []
        self.got: list[Lease[int]] = []
        self.uses: Counter[int] = Counter()
        self.states: dict[Lease[int], str] = {}
        self.moves: set[tuple[str, str]] = set()
        """From which state to which each lease went, in one step."""

    def look(self) -> None:
        """At the state of each lease there is."""
        for lease in {*self.leases._available, *self.states, *([self.leases.latest] if self.leases.latest else [])}:
            before, after = self.states.get(lease, "none"), lease.state(self.service.now)
            if after != before:
                self.moves.add((before, after))
            self.states[lease] = after

    async def ask(self) -> None:
        before = {lease.value for lease in self.leases._available}  # whoever joins a fetch gets what it brings, late or not
        try:
            lease = await self.leases.take(self.service.login)
        except ReplyFailed:
            return
        self.uses[lease.value] += 1
        self.got.append(lease)
        assert self.uses[lease.value] <= USES, "a sixth ask"
        assert lease.usable(self.service.now) or lease.value not in before, "given after it was past"
        assert not lease.refused, "given after it was refused"

    async def act(self, action: str, number: int) -> None:
        under_way = [number for number, outcome in self.service.open.items() if not outcome.done()]
        match action:
            case "ask":
                self.asks += [asyncio.create_task(self.ask()) for _ in range(number)]
            case "finish" if under_way:
                self.service.succeed(under_way[number % len(under_way)], lasts=100)
            case "fail" if under_way:
                self.service.open[under_way[number % len(under_way)]].set_exception(ReplyFailed("no"))
            case "cancel" if self.asks:
                self.asks[number % len(self.asks)].cancel()
            case "refuse" if self.got:
                self.got[number % len(self.got)].refused = True
            case "later":
                self.service.now += number
            case "turns":
                await turns(number)

    async def end(self) -> None:
        """What is under way is finished: then every ask is."""
        for _ in range(len(self.asks) + 1):
            for number in list(self.service.open):
                if not self.service.open[number].done():
                    self.service.succeed(number)
            await turns()
        assert all(task.done() for task in self.asks), "an ask waits for ever"
        for task in self.asks:
            if not task.cancelled():
                task.result()
        assert not self.service.open, "a login goes on for nobody"


@settings(max_examples=300, deadline=None)
@given(ACTIONS)
@example([("ask", 1), ("turns", 2), ("finish", 0), ("ask", 1), ("later", 60), ("later", 60)])  # joins a login that just ended
@example([("ask", 1), ("turns", 2), ("finish", 0), ("turns", 3), ("later", 60), ("later", 60), ("ask", 1)])  # asks too late
def test_any_order(actions: list[tuple[str, int]]) -> None:
    """In any order of events no credential is used too often or too late, nobody waits for ever, nothing is left running."""

    async def play() -> None:
        play = Play()
        for action, number in actions:
            await play.act(action, number)
            play.look()
        await play.end()
        assert play.moves <= moves(transitions(_lease, "lease"))
        used = Counter(lease.value for lease in play.got)
        for lease in play.got:
            assert lease.used == used[lease.value], "a use was lost or counted twice"
            assert lease.uses_left == USES - lease.used

    asyncio.run(play())


def test_the_table_of_leases_is_true() -> None:
    """Leases go each way that the table has, and no other."""
    chance = random.Random(7)
    seen: set[tuple[str, str]] = set()

    async def play() -> None:
        play = Play()
        for _ in range(60):
            action, number = chance.choice(ACTS), chance.randint(1, 50)
            if action == "later":
                await turns()  # nothing is on its way while time passes
            await play.act(action, number)
            play.look()
        await play.end()
        seen.update(play.moves)

    for _ in range(60):
        asyncio.run(play())
    seen |= asyncio.run(_fetched_late()) | asyncio.run(_returned())
    assert seen == moves(transitions(_lease, "lease"))


async def _fetched_late() -> set[tuple[str, str]]:
    """A login that is over when it comes."""
    play = Play()
    await play.act("ask", 1)
    await turns()
    play.service.succeed(1, lasts=-1)
    await turns()
    play.look()
    return play.moves


async def _returned() -> set[tuple[str, str]]:
    """A caller is cancelled in the moment between its use being granted and its waking."""
    play = Play()
    await play.act("ask", USES)
    await turns()
    play.service.succeed(1)
    while "used up" not in play.states.values():
        await turns(1)
        play.look()
    play.asks[-1].cancel()
    await turns()
    play.look()
    return play.moves


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 60), st.sets(st.integers(0, 59)))
def test_no_login_too_many(asks: int, cancelled: set[int]) -> None:
    """As many logins as the asks need, cancelled asks' places being taken by those who come after; none more."""

    async def play() -> None:
        service = Service()
        leases: Leases[int] = Leases(USES, service.clock)
        tasks = await taken(leases, service, asks)
        gone = [tasks[number] for number in cancelled if number < asks]
        for task in gone:
            task.cancel()
        tasks += await taken(leases, service, len(gone))
        for number in list(service.open):
            service.succeed(number)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        served = [lease for lease in outcomes if isinstance(lease, Lease)]
        assert len(served) == asks
        assert len({lease.value for lease in served}) == -(-asks // USES)

    asyncio.run(play())


async def instant() -> tuple[str, float]:
    """A login that names the thread it was made in."""
    await asyncio.sleep(0)
    return threading.current_thread().name, 1000


def test_loops_do_not_meet() -> None:
    """Two loops one after the other, in one thread, each log in for themselves."""
    accounts: Accounts[str] = Accounts(USES, lambda: 0)
    first = asyncio.run(accounts.take("a", instant))
    second = asyncio.run(accounts.take("a", instant))
    assert first is not second
    assert (first.used, second.used) == (1, 1)


def test_threads_do_not_meet() -> None:
    """Threads that ask at the same time, each on its loop, use only logins of their own."""
    accounts: Accounts[str] = Accounts(USES, lambda: 0)
    together = threading.Barrier(4)
    served: dict[str, Counter[str]] = {}
    seen: dict[str, Any] = {}

    async def many() -> list[Lease[str]]:
        together.wait(10)
        return list(await asyncio.gather(*(accounts.take("a", instant) for _ in range(50))))

    def work() -> None:
        name = threading.current_thread().name
        leases = asyncio.run(many())
        served[name] = Counter(lease.value for lease in leases)
        seen[name] = (len({id(lease) for lease in leases}), accounts.latest("a") in leases)

    threads = [threading.Thread(target=work, name=f"t{number}") for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert served == {f"t{number}": Counter({f"t{number}": 50}) for number in range(4)}
    assert seen == dict.fromkeys(served, (10, True))
    assert accounts.latest("a") is None  # this thread has used none


async def test_accounts_do_not_meet() -> None:
    """Two accounts in one loop log in each for itself, and each sees its own as the latest."""
    accounts: Accounts[str] = Accounts(USES, lambda: 0)
    mine = await accounts.take("mine", instant)
    theirs = await accounts.take("theirs", instant)
    assert mine is not theirs
    assert accounts.latest("mine") is mine
    assert accounts.latest("theirs") is theirs
    assert accounts.latest("nobody's") is None


class Token:
    """A credential that can be watched going."""


async def token() -> tuple[Token, float]:
    return Token(), 10


async def test_idle_accounts_are_dropped() -> None:
    """An account whose login is past is forgotten when another account comes; one that is still good is not."""
    now = 0.0
    accounts: Accounts[Token] = Accounts(USES, lambda: now)
    gone = weakref.ref((await accounts.take("gone", token)).value)
    now = 5.0
    first_token = await accounts.take("kept", token)
    now = 12.0
    first_token.until = 20
    await accounts.take("new", token)
    gc.collect()
    assert gone() is None
    assert accounts.latest("kept") is first_token


def test_loop_is_dropped() -> None:
    """Nothing of a loop that is over is kept once another one asks, not even of one closed with a login under way."""
    accounts: Accounts[Token] = Accounts(USES, lambda: 0)

    async def never() -> tuple[Token, float]:
        return await asyncio.get_running_loop().create_future()

    def closed_early() -> weakref.ref[Any]:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)  # it would tell of the destroyed task
        task = loop.create_task(accounts.take("a", never))
        loop.run_until_complete(turns())
        task.cancel()  # nobody turns the loop for it any more
        loop.close()
        return weakref.ref(loop)

    loop = closed_early()
    asyncio.run(accounts.take("a", token))
    gc.collect()
    assert loop() is None
