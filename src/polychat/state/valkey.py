"""The ledger of limits and budgets in Valkey or Redis, for gateways on many machines. Needs the extra ``valkey``.

A bucket is a hash: ``spent``, and a field for each allotment with its amount, what was spent of it, its time in milliseconds
and whether it is closed. A script changes one bucket and nothing runs between its steps. The server forgets a bucket some time
after its window, and a take forgets allotments that ended an hour ago: what is settled again after that counts again.

Lua's numbers are exact up to 2**53, which is nine million dollars in one bucket.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..errors import MissingPackage, redact
from .store import Allotment, Ask, Level, Settlement, StoredBucket, StoreUnavailable

try:
    from valkey import Valkey
    from valkey.exceptions import ValkeyError
except ImportError:
    raise MissingPackage("valkey", extra="valkey", purpose="limits that several machines share") from None

_KEPT = 172_800
"""Seconds for which a bucket is kept after its window, or since it was last used where no window ends it."""
_LEVEL = """
local function level(key, now)
    local spent, allotted = 0, 0
    local fields = redis.call('HGETALL', key)
    for index = 1, #fields, 2 do
        local name, value = fields[index], fields[index + 1]
        if name == 'spent' then
            spent = tonumber(value)
        else
            local amount, used, ends, closed = string.match(value, '(%d+) (%d+) (%d+) (%d)')
            if closed == '0' and tonumber(ends) > now then
                allotted = allotted + math.max(0, amount - used)
            elseif tonumber(ends) < now - 3600000 then
                redis.call('HDEL', key, name)
            end
        end
    end
    return spent, allotted
end
"""
_TAKE = (
    _LEVEL
    + """
local key, name = KEYS[1], 'a:' .. ARGV[1]
local cap, amount, least, ends, now = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local known = redis.call('HGET', key, name)
if known then
    local granted, _, known_ends = string.match(known, '(%d+) (%d+) (%d+)')
    return {granted, known_ends}
end
local spent, allotted = level(key, now)
local left = cap - spent - allotted
if left < least then
    return {'0', ends}
end
local granted = string.format('%.0f', math.max(least, math.min(amount, math.floor(left / 2))))
redis.call('HSET', key, name, granted .. ' 0 ' .. ends .. ' 0')
redis.call('EXPIRE', key, ARGV[7])
return {granted, ends}
"""
)
_SETTLE = """
local key, name, spent, closed, now = KEYS[1], 'a:' .. ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local amount, used, ends, was_closed = '0', '0', now, '1'
local known = redis.call('HGET', key, name)
if known then
    amount, used, ends, was_closed = string.match(known, '(%d+) (%d+) (%d+) (%d)')
end
if was_closed == '1' then
    closed = '1'
end
local more = math.max(0, spent - used)
redis.call('HSET', key, name, amount .. ' ' .. string.format('%.0f', used + more) .. ' ' .. ends .. ' ' .. closed)
redis.call('HINCRBY', key, 'spent', string.format('%.0f', more))
redis.call('EXPIRE', key, ARGV[5])
"""
_READ = (
    _LEVEL
    + """
local spent, allotted = level(KEYS[1], tonumber(ARGV[1]))
return {string.format('%.0f', spent), string.format('%.0f', allotted)}
"""
)


class ValkeyLedger:
    """``LedgerStore``. Nothing is opened before the first use."""

    def __init__(self, url: str, *, patience: float = 0.5) -> None:
        """``url``: ``valkey://`` or ``redis://``, with TLS ``valkeys://`` or ``rediss://``. ``patience``: in seconds."""
        self._client: Any = Valkey.from_url(  # its methods have no types
            url, socket_timeout=patience, socket_connect_timeout=patience, decode_responses=True, health_check_interval=10
        )
        self._take, self._settle, self._read = (self._client.register_script(text) for text in (_TAKE, _SETTLE, _READ))

    def take(self, asks: Mapping[str, Ask], holder: str, until: float, now: float) -> dict[str, Allotment]:
        """Each bucket by itself."""
        taken = {}
        with _errors_translated():
            for name, ask in asks.items():
                numbers = (ask.cap, ask.amount, ask.least, _milliseconds(until), _milliseconds(now), _lifetime(ask.bucket, now))
                amount, ends = self._take(keys=[_key(ask.bucket)], args=[name, *numbers])
                taken[name] = Allotment(name, ask.bucket, int(amount), int(ends) / 1000)
        return taken

    def settle(self, settlements: Sequence[Settlement], now: float) -> None:
        """Each bucket by itself: if this raises, some may have been settled, and to settle them again changes nothing."""
        with _errors_translated():
            for settlement in settlements:
                numbers = (settlement.spent, int(settlement.closed), _milliseconds(now), _lifetime(settlement.bucket, now))
                self._settle(keys=[_key(settlement.bucket)], args=[settlement.allotment, *numbers])

    def levels(self, buckets: Sequence[StoredBucket], now: float) -> list[Level]:
        with _errors_translated():
            read = [self._read(keys=[_key(bucket)], args=[_milliseconds(now)]) for bucket in buckets]
        return [Level(int(spent), int(allotted)) for spent, allotted in read]

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
