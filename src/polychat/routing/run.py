"""One request at the targets of a plan: it asks them one after the other, until one begins to answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, TypeVar

from ..errors import Failure, PolychatError, Resting, TimedOut
from ..http.sending import last_check
from ..tracebacks import release_locals
from .attempts import Attempts
from .budget import RetryBudget
from .clocks import LEAST, Deadline, Kind, timeouts_of
from .context import RoutingContext
from .ejection import ejected, tiers
from .facts import Facts
from .final_error import final_error
from .policy import failure_of, pause_before, step_after
from .resolve import Plan, Target
from .slots import QueuedRequest, Turns, busy, is_too_much
from .traits import Traits
from .watchdogs import Patience

T = TypeVar("T")
_LEAST_ATTEMPTS = 3
"""Attempts of a request where its rules do not say, if it has no more targets than that."""
_LOOKS = 0.5
"""Most seconds between checks whether the route may retry, and whether another target than a slow one is left."""
_WELL_LOOKS = 1.0
"""Most seconds between the checks of a request that waits for open breakers whether one has closed."""


class Run(Generic[T]):
    """One request and its attempts at the targets of a plan."""

    def __init__(
        self,
        router: RoutingContext,
        plan: Plan,
        ask: Callable[[Target], Awaitable[T]],
        attempts: Attempts,
        repeated: int,
        traits: Traits,
        kind: Callable[[], Kind] | None,
        deadline: Deadline | None,
    ) -> None:
        self.router, self.plan, self.ask, self.attempts = router, plan, ask, attempts
        self.repeated, self.traits = repeated, traits
        self.kind = kind() if kind is not None and len(plan.targets) > 1 else None
        self.begun = begun = router.clock()
        self.budget: RetryBudget = router.health.budget(plan.route or plan.targets[0].name)
        last = begun + plan.rules.budget
        self.until = last if deadline is None else min(last, deadline.moment)
        """The moment after which no attempt begins."""
        self.deadline = deadline
        self.errors: dict[Target, PolychatError] = {}
        """The last failure of each target, in order."""
        self.retryable: dict[Target, PolychatError] = {}
        """Targets that may recover after a pause."""
        self.due: dict[Target, float] = {}
        """When those of ``retryable`` that failed may be tried again."""
        self.resting: list[Target] = []
        """Targets that were not called because they are resting."""
        self.unasked: dict[Target, float] = {}
        """Targets that were not called because the route has made too many retries, with the time of that."""

    def first_answer(self) -> Awaitable[T]:
        """``answer``, of a request that the route's budget of retries has not counted yet."""
        self.budget.count_request(self.begun)
        return self.answer()

    async def answer(self) -> T:
        """See ``Router.run``."""
        plan, earlier, self.attempts.called_first = self.plan, self.attempts.called_first, None
        choice = self.router.chooser.choose(plan, self.begun, self.traits, is_turn=earlier is None)
        self.attempts.passed = choice.passed
        limited = choice.targets if plan.rules.concurrency is not None else []
        for each in limited or (choice if earlier is None else choice.beginning_with(earlier)):
            target, facts = each, self.router.facts(plan, each)
            if target is earlier:
                pass  # it has the request
            elif target in self.retryable or self._is_passed_over(target, facts) or not self._may_ask(target, facts):
                continue
            if limited:
                turn = None if target in self.errors else await self._turn(target, limited)
                if turn is None:
                    continue
                if turn is not target:
                    limited.append(target)  # its turn comes after that of the one that has a slot
                    target, facts = turn, self.router.facts(plan, turn)
            outcome = await self._try(target, facts)
            if not isinstance(outcome, PolychatError):
                return outcome
            self._failed(target, outcome)
            if self._is_over():
                raise self._verdict()
        if not self.errors and not self.retryable:
            return await self._all_down()
        return await self._again()

    async def _turn(self, first: Target, choice: Iterable[Target]) -> Target | None:
        """The target that is called next where requests at once are limited: ``first``, or one that has a slot before it.

        ``None``: none has one in time, or all rest by then; ``errors`` has the reason.
        """
        now, behind = self.router.clock(), {over.target for over in self.attempts.passed}
        targets = [first]
        for target in choice:
            is_new = target is not first and target not in self.errors and target not in behind
            if is_new and self.router.facts(self.plan, target).is_well(now):
                targets.append(target)
        while targets:
            turn = await self._slot(targets)
            if turn is None or not self._rests(turn):
                return turn
            self.attempts.leave()  # it sent ``retry-after`` meanwhile
            targets.remove(turn)
            self.resting.append(turn)
        return None

    async def _slot(self, targets: Sequence[Target]) -> Target | None:
        """The target that has a slot first, which is taken."""
        rules, traits = self.plan.rules, self.traits
        slots = {target: self.router.facts(self.plan, target).shared.slots_of(rules.concurrency) for target in targets}
        turns = Turns(slots)
        target = turns.free()
        if target is None:
            seconds, estimate = self.until - self.router.clock(), turns.estimate(traits.priority)
            if turns.has_place(traits.priority, rules.queue) and estimate <= seconds:
                request, begun = QueuedRequest(traits.key, traits.priority, traits.prompt_tokens), self.router.clock()
                target = await turns.wait(request, seconds, self._rests)
                self.attempts.queued += self.router.clock() - begun
            if target is None:
                self.attempts.target = self.attempts.target or targets[0]
                for each in targets:
                    if self._rests(each):
                        self.resting.append(each)
                    else:
                        self.errors[each] = busy(each.name, turns.estimate(traits.priority))
                return None
        self.attempts.slots = slots[target]
        return target

    def _rests(self, target: Target) -> bool:
        return self.router.facts(self.plan, target).rest_of(self.router.clock()) > 0

    async def retry_after_cut(self, error: PolychatError) -> T:
        """``answer``, after one that was cut off with this."""
        failed = {failure.target for failure in self.attempts.failures}
        for target in self.plan.targets:
            if target.name in failed:  # it comes last
                self.errors[target] = self.retryable[target] = error
        if self._is_over():
            raise self._verdict(error)
        return await self.answer()

    def _may_ask(self, target: Target, facts: Facts) -> bool:
        """Whether the route's budget has an attempt at this target; if not, others are tried, and it may be waited for."""
        if not self.attempts.count:
            return True
        now = self.router.clock()
        if self.budget.take(now, is_reliable=facts.is_reliable(now)):
            self.unasked.pop(target, None)
            return True
        self.unasked.setdefault(target, now)
        return False

    def _is_passed_over(self, target: Target, facts: Facts) -> bool:
        """Whether a target is skipped now: it is resting, too many requests to it failed, or this one was held back."""
        now = self.router.clock()
        if not facts.rest_of(now):
            if self._admits(facts, now):
                return False
            if facts not in self._ejected(now):
                if facts.let_through(now, self.router.rng.random()):
                    return False
                self.retryable[target] = facts.resting(now)
                self.attempts.resting.append((target, self.retryable[target]))
                return True
        self.resting.append(target)
        self.attempts.resting.append((target, facts.resting(now)))
        return True

    def _admits(self, facts: Facts, now: float) -> bool:
        """Whether a target may be asked without restraint: its breaker lets a request through, and it goes on answering."""
        return facts.admits(now) and (self.kind is None or not facts.is_silent(now))

    def _ejected(self, now: float) -> frozenset[Facts]:
        out: set[Facts] = set()
        for targets, weights in tiers(self.plan):
            out |= ejected([self.router.facts(self.plan, target) for target in targets], weights, now)
        return frozenset(out)

    async def _all_down(self) -> T:
        """No target was called because all are resting: apply the rule for that (``all_down``)."""
        now, plan = self.router.clock(), self.plan
        if plan.otherwise is not None:
            return await Run(
                self.router, plan.otherwise, self.ask, self.attempts, self.repeated, self.traits, None, self.deadline
            ).first_answer()
        if plan.rules.all_down == "least-bad":
            resting = [(self.router.facts(plan, target), target) for target in self.resting]
            able = [(facts, target) for facts, target in resting if not facts.retry_after_left(now)]
            if able:
                facts, target = min(able, key=lambda pair: pair[0].rest_of(now) or pair[0].breaker_rest(now))
                if plan.rules.concurrency is not None and await self._slot([target]) is None:
                    raise self._verdict()
                outcome = await self._try(target, facts)
                if not isinstance(outcome, PolychatError):
                    return outcome
                raise self._verdict(outcome)
        self._add_resting(now)
        self.attempts.target = min(self.errors, key=lambda target: self.errors[target].retry_after or 0.0)
        raise self._verdict(self.errors[self.attempts.target])

    def _add_resting(self, now: float) -> None:
        """Targets that rest may be waited for, and are named in the error where no target answers."""
        resting = {target: self.router.facts(self.plan, target).resting(now) for target in self.resting}
        self.errors |= resting
        self.retryable |= resting

    async def _again(self) -> T:
        """Asks targets that the budget had no attempt for, retries those that may recover after a pause, and waits for those
        whose rest ends soon.
        """
        self._add_resting(self.router.clock())
        pauses = 1
        while targets := self._left():
            look = _WELL_LOOKS * (0.5 + 0.5 * self.router.rng.random())
            waits = {target: self._pause(target, pauses, look) for target in targets}
            target = min(waits, key=waits.__getitem__)
            if not self._is_worth(target, waits[target]):
                break
            await self.router.sleep(waits[target])
            facts, now = self.router.facts(self.plan, target), self.router.clock()
            if facts.rest_of(now) or not (self._admits(facts, now) or facts.let_through(now, self.router.rng.random())):
                self.unasked.pop(target, None)
                self.retryable[target] = facts.resting(now)  # other requests have learned meanwhile that it rests
                continue
            if not self._may_ask(target, facts):
                continue
            if self.plan.rules.concurrency is not None and await self._turn(target, ()) is None:
                self.retryable.pop(target, None)
                continue
            outcome = await self._try(target, facts)
            if not isinstance(outcome, PolychatError):
                return outcome
            pauses += 1
            self.retryable.pop(target, None)
            self.due.pop(target, None)
            self._failed(target, outcome)
            if self._is_over():
                break
        raise self._verdict()

    def _left(self) -> list[Target]:
        """The targets that may still be tried; first those that wait only for the budget."""
        if self.unasked:
            return list(self.unasked)
        if not self.repeated:
            return list(self.retryable)
        tried = {failure.target for failure in self.attempts.failures}
        return [target for target in self.retryable if target.name not in tried]

    def _pause(self, target: Target, pauses: int, look: float) -> float:
        """Seconds until this target may be called, or is looked at again, after ``look`` where its breaker is open."""
        facts, now, rng = self.router.facts(self.plan, target), self.router.clock(), self.router.rng
        if target in self.unasked:
            return rng.random() * _LOOKS
        rests = facts.rest_of(now)
        if not rests and isinstance(self.retryable[target], Resting):
            # Its breaker is open: another request may find at any moment that it is well.
            return 0.0 if self._admits(facts, now) else look
        due = self.due.setdefault(target, now + pause_before(pauses + 1, self.retryable[target], rng))
        return max(rests, due - now)

    def _is_worth(self, target: Target, pause: float) -> bool:
        """Whether waiting so long is better than an error at once."""
        now, rules = self.router.clock(), self.plan.rules
        if target in self.unasked:
            return now + pause <= min(self.until, self.unasked[target] + rules.max_wait)
        facts, error = self.router.facts(self.plan, target), self.retryable[target]
        rests = facts.rest_of(now)
        if not rests and isinstance(error, Resting):
            return now + pause <= self.until and facts.breaker_rest(now) <= rules.max_wait
        has_moment = error.retry_after is not None or rests > 0
        return now + pause <= self.until and not (has_moment and pause > rules.max_wait)

    def _is_over(self) -> bool:
        return self.attempts.count >= self._most() or self.router.clock() > self.until

    def _most(self) -> int:
        """Attempts that this request may have."""
        most = self.plan.rules.attempts or max(_LEAST_ATTEMPTS, len(self.plan.targets))
        return max(1, most - self.repeated)

    def _limit(self, facts: Facts, now: float) -> float | None:
        """Seconds after which the attempt that begins is given up while another target is left, which is to have time too.

        ``None``: it has all that the rules give.
        """
        if self.kind is None or self.plan.rules.first_timeout is not None or self.attempts.count >= self._most():
            return None
        limit = facts.first_limit(self.kind)
        return limit if self.deadline is None else min(limit, (self.deadline.moment - now) / 2)

    def _look(self, target: Target, facts: Facts, until: float) -> float | None:
        """What ``Patience`` asks of an attempt that may wait for its target until that moment, and longer for the last one."""
        if self.attempts.begun_at is not None:
            return None
        now = self.router.clock()
        if now < until and not facts.is_silent(now):
            return min(_LOOKS, until - now)
        return _LOOKS if self._is_last(target) else 0.0

    def _is_last(self, target: Target) -> bool:
        """Whether no other target is left to ask now."""
        now = self.router.clock()
        left = (each for each in self.plan.targets if each is not target and each not in self.errors)
        return not any(self.router.facts(self.plan, each).is_left(now) for each in left)

    async def _try(self, target: Target, facts: Facts) -> T | PolychatError:
        """What the target answers, or why it does not."""
        attempts = self.attempts
        limit = self._begin(target, facts)
        token = last_check.set(attempts.check)
        try:
            answer = await (self.ask(target) if limit is None else self._within(limit, target, facts))
        except Resting as resting:  # another request learned it while this one waited for a connection
            attempts.not_sent()
            attempts.resting.append((target, resting))
            return resting
        except PolychatError as error:
            release_locals(error)  # it is kept while other targets are called, and its frames hold the body that was sent
            self._note_failure(facts, error)
            attempts.failed(failure_of(target.name, error))
            return error
        except BaseException as error:
            attempts.end()
            if isinstance(error, asyncio.CancelledError):
                attempts.failed(Failure(target.name, "cancelled", "", ""))
            raise
        finally:
            last_check.reset(token)
        self._note_answer(facts)
        return answer

    def _begin(self, target: Target, facts: Facts) -> float | None:
        """Begin an attempt; the seconds after which it is given up, if there are any."""
        attempts, rules, deadline = self.attempts, self.plan.rules, self.deadline
        called_before, attempts.called_before = attempts.called_before, None
        begun = called_before or self.router.clock()
        is_last = len(self.plan.targets) == 1 or attempts.count + 1 >= self._most()
        attempts.begin(self.router, rules, target, facts, begun, is_last=is_last)
        if deadline is None:
            attempts.timeouts = timeouts_of(rules)
        else:
            attempts.timeouts = timeouts_of(rules, deadline.moment - begun, of_all=deadline.of_all)
        limit = self._limit(facts, begun)
        return limit if limit is None or not called_before else max(0.0, limit - (self.router.clock() - begun))

    def _note_failure(self, facts: Facts, error: PolychatError) -> None:
        """Record the failure of the attempt in its target's facts."""
        attempts, router = self.attempts, self.router
        if attempts.slots is not None and is_too_much(error):
            attempts.slots.auto.refused(attempts.called_at, router.clock())
        attempts.end()
        if attempts.limits:
            router.note_limits(facts, attempts)
        router.note(facts, self.plan.rules, error, attempts.called_at, kept_back_at=attempts.begun_at)

    def _note_answer(self, facts: Facts) -> None:
        """Record the beginning of an answer in its target's facts."""
        attempts = self.attempts
        now = self.router.clock() if attempts.begun_at is None else attempts.begun_at
        first = now - attempts.called_at
        attempts.answered, attempts.answered_at = True, now
        facts.answered(first, now)
        if attempts.slots is not None:
            attempts.slots.auto.answered(attempts.slots.in_use)
        if attempts.limits:
            self.router.note_limits(facts, attempts)
        if self.kind is not None:
            facts.learn(self.kind, first)

    async def _within(self, seconds: float, target: Target, facts: Facts) -> T:
        """The answer, if it begins in time, or later while no other target is left. Raises ``TimedOut``."""
        begun = self.router.clock()
        until = begun + seconds
        first_look = LEAST if seconds > LEAST else seconds
        patience = Patience(self.router.watchdogs, first_look, lambda: self._look(target, facts, until))
        try:
            return await self.ask(target)
        except asyncio.CancelledError:
            if not patience.is_over():
                raise
            waited = self.router.clock() - begun
            # A target that has become slower for good must not be cut off for good. Only its probes are counted: if each of the
            # many requests that wait for a target that hangs counted, the next ones would wait longer and longer.
            if self.kind is not None and self.attempts.is_probe:
                facts.learn(self.kind, waited)
            raise TimedOut("first", round(waited, 3), provider=target.backend.name) from None
        finally:
            patience.end()

    def _failed(self, target: Target, error: PolychatError) -> None:
        """Note the failure. Raises it where the client is to get it at once."""
        self.errors.pop(target, None)
        self.errors[target] = error
        step = step_after(error)
        if step == "again":
            self.retryable[target] = error
        elif step == "give up":
            raise self._verdict(error, gives_up=True)

    def _verdict(self, error: PolychatError | None = None, *, gives_up: bool = False) -> PolychatError:
        """The error to raise: ``error``, or else the most informative one; see ``final_error``.

        ``gives_up``: the request itself is at fault, so targets that were passed over are not named.
        """
        held_back = {target: error for target, error in self.retryable.items() if target not in self.errors}
        failed = {**self.errors, **held_back}
        passed = [] if gives_up else [over for over in self.attempts.passed if over.target not in failed]
        return final_error(failed, passed, () if gives_up else self.plan.unlisted, error)
