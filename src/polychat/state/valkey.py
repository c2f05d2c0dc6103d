"""The ledger of limits and budgets in Valkey or Redis, for gateways on many machines. Needs the extra ``valkey``.

A bucket is a hash: ``spent``, and a field for each allotment with its amount, what was spent of it, its time in milliseconds
and whether it is closed. A script changes one bucket and nothing runs between its steps. The server forgets a bucket some time
after its window, and a renewal forgets allotments that ended an hour ago: what is settled again after that counts again.

Lua's numbers are exact up to 2**53, which is nine million dollars in one bucket.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..errors import BadInput, MissingPackage, redact
from .store import MOST_AHEAD, AllotmentRequest, Grant, Level, Settlement, StoredBucket, StoreUnavailable

try:
    from valkey import Valkey
    from valkey.exceptions import ValkeyError
except ImportError:
    raise MissingPackage("valkey", extra="valkey", purpose="gateway.state.shared") from None

_KEPT = 172_800
"""Seconds for which a bucket is kept after its window, or since it was last used where no window ends it."""
_PROCESSES = "polychat:processes"
"""A sorted set: processes by the moments until which they are there, in milliseconds."""
_GONE = 3600.0
"""Seconds after which a process that is not there any more is forgotten."""
_RESTS = "polychat:retry-times"
"""A sorted set: backends by the moments before which they asked for no request, in milliseconds."""
_MOMENTS = 4096
_LEVEL = """
local function held(text)
    local amount, spent, ends, closed = string.match(text, '(%d+) (%d+) (%d+) (%d)')
    return tonumber(amount), tonumber(spent), tonumber(ends), closed
end
local function exact(number)
    return string.format('%.0f', number)
end
local function level(key, now, besides)
    local spent, elsewhere = 0, 0
    local fields = redis.call('HGETALL', key)
    for index = 1, #fields, 2 do
        local name, value = fields[index], fields[index + 1]
        if name == 'spent' then
            spent = tonumber(value)
        elseif name ~= besides then
            local amount, used, ends, closed = held(value)
            if closed == '0' and ends > now and ends <= now + __MOST_AHEAD__ then
                elsewhere = elsewhere + math.max(0, amount - used)
            elseif ends < now - 3600000 then
                redis.call('HDEL', key, name)
            end
        end
    end
    return spent, elsewhere
end
""".replace("__MOST_AHEAD__", str(int(MOST_AHEAD * 1000)))
_RENEW = (
    _LEVEL
    + """
local key, name = KEYS[1], 'a:' .. ARGV[1]
local cap, spent, kept = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local wanted, least = tonumber(ARGV[5]), tonumber(ARGV[6])
local ends, now = ARGV[7], tonumber(ARGV[8])
local known = redis.call('HGET', key, name)
local before = 0
if known then
    before = select(2, held(known))
end
redis.call('HINCRBY', key, 'spent', exact(math.max(0, spent - before)))
local total, elsewhere = level(key, now, name)
local left = cap - total - elsewhere
local amount = math.max(0, math.min(kept, left))
if left >= least then
    amount = math.max(amount, least, math.min(wanted, math.floor(left / 2)))
end
spent = math.max(spent, before)
redis.call('HSET', key, name, exact(spent + amount) .. ' ' .. exact(spent) .. ' ' .. ends .. ' 0')
redis.call('EXPIRE', key, ARGV[9])
return {exact(amount), exact(total), exact(elsewhere)}
"""
)
_SETTLE = (
    _LEVEL
    + """
local key, name, spent, closed, now = KEYS[1], 'a:' .. ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local amount, before, ends, was_closed = 0, 0, tonumber(now), closed
local known = redis.call('HGET', key, name)
if known then
    amount, before, ends, was_closed = held(known)
end
if was_closed == '1' then
    closed = '1'
end
local more = math.max(0, spent - before)
redis.call('HSET', key, name, exact(amount) .. ' ' .. exact(before + more) .. ' ' .. exact(ends) .. ' ' .. closed)
redis.call('HINCRBY', key, 'spent', exact(more))
redis.call('EXPIRE', key, ARGV[5])
"""
)
_READ = (
    _LEVEL
    + """
local spent, elsewhere = level(KEYS[1], tonumber(ARGV[1]), '')
return {exact(spent), exact(elsewhere)}
"""
)


class ValkeyLedger:
    """``LedgerStore``. Nothing is opened before the first use."""

    def __init__(self, url: str, *, patience: float = 0.5) -> None:
        """``url``: ``valkey://`` or ``redis://``, with TLS ``valkeys://`` or ``rediss://``. ``patience``: in seconds.

        Raises ``BadInput`` for another URL.
        """
        limits = {"socket_timeout": patience, "socket_connect_timeout": patience, "health_check_interval": 10}
        try:
            self._client: Any = Valkey.from_url(url, decode_responses=True, **limits)  # its methods have no types
        except ValueError:
            raise BadInput("gateway.state.shared is not a URL of Valkey: write valkey://HOST:PORT", field="shared") from None
        self._renew, self._settle, self._read = (self._client.register_script(text) for text in (_RENEW, _SETTLE, _READ))

    def renew(self, asks: Sequence[AllotmentRequest], until: float, now: float) -> list[Grant]:
        """Each bucket by itself: if this raises, some may have been renewed."""
        times = _milliseconds(until), _milliseconds(now)
        calls = []
        for ask in asks:
            numbers = (ask.cap, ask.spent, ask.kept, ask.amount, ask.least, *times, _lifetime(ask.bucket, now))
            calls.append(([_key(ask.bucket)], [ask.allotment, *numbers]))
        return [Grant(*map(int, answer)) for answer in self._called(self._renew, calls)]

    def settle(self, settlements: Sequence[Settlement], now: float) -> None:
        """Each bucket by itself: if this raises, some may have been settled, and to settle them again changes nothing."""
        calls = []
        for settlement in settlements:
            numbers = (settlement.spent, int(settlement.closed), _milliseconds(now), _lifetime(settlement.bucket, now))
            calls.append(([_key(settlement.bucket)], [settlement.allotment, *numbers]))
        self._called(self._settle, calls)

    def levels(self, buckets: Sequence[StoredBucket], now: float) -> list[Level]:
        read = self._called(self._read, [([_key(bucket)], [_milliseconds(now)]) for bucket in buckets])
        return [Level(int(spent), int(allotted)) for spent, allotted in read]

    def _called(self, script: Any, calls: Sequence[tuple[list[str], list[Any]]]) -> list[Any]:
        """What a script answers to each of these keys and arguments, in one round trip."""
        with _errors_translated():
            pipeline = self._client.pipeline(transaction=False)
            for keys, arguments in calls:
                script(keys=keys, args=arguments, client=pipeline)
            answers: list[Any] = pipeline.execute()
            return answers

    def announce(self, process: str, until: float, now: float) -> int:
        with _errors_translated():
            pipeline = self._client.pipeline()
            pipeline.zadd(_PROCESSES, {process: _milliseconds(until)})
            pipeline.zremrangebyscore(_PROCESSES, "-inf", _milliseconds(now - _GONE))
            pipeline.zcount(_PROCESSES, f"({_milliseconds(now)}", "+inf")
            return int(pipeline.execute()[-1])

    def retry_times(self, news: Mapping[str, float], now: float) -> dict[str, float]:
        """See ``RetryTimes``; at most ``_MOMENTS``."""
        with _errors_translated():
            pipeline = self._client.pipeline(transaction=False)
            if news:
                pipeline.zadd(_RESTS, {name: _milliseconds(until) for name, until in news.items()}, gt=True)
            pipeline.zremrangebyscore(_RESTS, "-inf", _milliseconds(now))
            pipeline.zrange(_RESTS, 0, _MOMENTS - 1, desc=True, withscores=True)
            return {name: until / 1000 for name, until in pipeline.execute()[-1]}

    def forget_buckets(self, before: float) -> int:
        """Nothing: the server forgets them by itself."""
        return 0

    def close(self) -> None:
        self._client.close()


def _key(bucket: StoredBucket) -> str:
    """Of parts that no name can imitate: each has its length before it."""
    return "polychat:bucket:" + ",".join(f"{len(text)}:{text}" for text in map(str, bucket[:5]))


def _milliseconds(moment: float) -> int:
    return round(moment * 1000)


def _lifetime(bucket: StoredBucket, now: float) -> int:
    return _KEPT + (0 if bucket.end is None else max(0, round(bucket.end - now)))


@contextmanager
def _errors_translated() -> Generator[None]:
    try:
        yield
    except ValkeyError as error:
        raise StoreUnavailable(f"Valkey cannot be used: {redact(str(error))}") from error
