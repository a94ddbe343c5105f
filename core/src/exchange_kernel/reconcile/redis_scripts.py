"""The two scripts of the queue on Redis. Keys of one account share a hash tag, so both work in a cluster.

Per account: a sorted set of due times for each priority, ``prio`` (key → priority), ``run`` (key → when its claim
ends), ``by`` (key → whose claim it is), ``dirty`` (what was marked while it ran), ``owner``: who claims, under which
epoch, and the earliest that they know of. Times are the server's, in ms, unless the caller brings its own.
"""

from __future__ import annotations

from typing import Final

from exchange_kernel.state.redis import Script

__all__ = ["MARK", "PARTS", "STEP"]

PARTS: Final = ("due:0", "due:1", "due:2", "due:3", "prio", "run", "by", "dirty", "owner")

_COMMON: Final = """
local PRIO, RUN, BY, DIRTY, OWNER = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local now = tonumber(ARGV[1])
if now < 0 then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local function text(n) return string.format('%.0f', n) end
local function mark(key, prio, due)
  if redis.call('ZSCORE', RUN, key) then
    local was = redis.call('HGET', DIRTY, key)
    if was then
      local d, p = string.match(was, '^(%-?%d+):(%d)$')
      due, prio = math.min(due, tonumber(d)), math.min(prio, tonumber(p))
    end
    redis.call('HSET', DIRTY, key, text(due) .. ':' .. prio)
    return nil
  end
  local was = redis.call('HGET', PRIO, key)
  if was then
    was = tonumber(was)
    local score = redis.call('ZSCORE', KEYS[was + 1], key)
    if score then due = math.min(due, tonumber(score)) end
    if prio < was then redis.call('ZREM', KEYS[was + 1], key) else prio = was end
  end
  redis.call('ZADD', KEYS[prio + 1], text(due), key)
  redis.call('HSET', PRIO, key, prio)
  return due
end
"""

MARK: Final = Script(
    _COMMON
    + """
-- ARGV: now, the account where this script may call its owner by itself, then key, priority, delay of each.
-- Returns who is still to be called, or ''.
local first
for i = 3, #ARGV, 3 do
  local due = mark(ARGV[i], tonumber(ARGV[i + 1]), now + tonumber(ARGV[i + 2]))
  if due and (not first or due < first) then first = due end
end
if not first then return '' end
local owner = redis.call('HMGET', OWNER, 'worker', 'next')
if not owner[1] then return '' end
if owner[2] and tonumber(owner[2]) <= first then return '' end
redis.call('HSET', OWNER, 'next', text(first))
if ARGV[2] == '' then return owner[1] end
redis.call('RPUSH', 'exk:{w:' .. owner[1] .. '}:wake', ARGV[2])
return ''
"""
)

STEP: Final = Script(
    _COMMON
    + """
-- ARGV: now, epoch, worker, claim_ms, limit, how many ended, (key, claim, again or -1)..., how many forgotten, key...,
-- then key, priority, delay of each mark.
-- Returns {known before, ms until more is due or -1, claim, key, priority, ...}.
local epoch, worker, hold, limit = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local was = redis.call('HMGET', OWNER, 'epoch', 'serial')
local known = was[1] and 1 or 0
if was[1] and tonumber(was[1]) > epoch then return redis.error_reply('FENCED ' .. was[1]) end
local function free(key, prio, due)
  redis.call('ZREM', RUN, key)
  redis.call('HDEL', BY, key)
  local dirty = redis.call('HGET', DIRTY, key)
  if dirty then
    redis.call('HDEL', DIRTY, key)
    local d, p = string.match(dirty, '^(%-?%d+):(%d)$')
    mark(key, tonumber(p), tonumber(d))
  end
  if due then mark(key, prio, due) end
end
if not was[1] or tonumber(was[1]) < epoch then
  -- Whatever former owners had in hand is due: they are fenced from here on.
  for _, key in ipairs(redis.call('ZRANGE', RUN, 0, -1)) do free(key, 1, now) end
end
local i = 6
for _ = 1, tonumber(ARGV[i]) do
  local key, claim, again = ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
  i = i + 3
  if redis.call('HGET', BY, key) == claim then
    free(key, 2, again >= 0 and now + again or nil)
  elseif again >= 0 then
    mark(key, 2, now + again)
  end
end
i = i + 1
for _ = 1, tonumber(ARGV[i]) do
  i = i + 1
  local prio = redis.call('HGET', PRIO, ARGV[i])
  if prio then
    redis.call('ZREM', KEYS[tonumber(prio) + 1], ARGV[i])
    redis.call('HDEL', PRIO, ARGV[i])
  end
end
for n = i + 1, #ARGV, 3 do mark(ARGV[n], tonumber(ARGV[n + 1]), now + tonumber(ARGV[n + 2])) end
for _, key in ipairs(redis.call('ZRANGEBYSCORE', RUN, '-inf', now, 'LIMIT', 0, 100)) do free(key, 1, now) end
local serial = tonumber(was[2] or 0) + 1
local claim = epoch .. ':' .. worker .. ':' .. serial
local out = {known, -1, claim}
for p = 1, 4 do
  if limit > 0 then
    local keys = redis.call('ZRANGEBYSCORE', KEYS[p], '-inf', now, 'LIMIT', 0, limit)
    if #keys > 0 then
      limit = limit - #keys
      redis.call('ZREM', KEYS[p], unpack(keys))
      redis.call('HDEL', PRIO, unpack(keys))
      local runs, bys = {}, {}
      for n, key in ipairs(keys) do
        runs[2 * n - 1], runs[2 * n] = text(now + hold), key
        bys[2 * n - 1], bys[2 * n] = key, claim
        out[#out + 1], out[#out + 2] = key, p - 1
      end
      redis.call('ZADD', RUN, unpack(runs))
      redis.call('HSET', BY, unpack(bys))
    end
  end
end
local nxt
for p = 1, 4 do
  local first = redis.call('ZRANGE', KEYS[p], 0, 0, 'WITHSCORES')
  if first[2] and (not nxt or tonumber(first[2]) < nxt) then nxt = tonumber(first[2]) end
end
local held = redis.call('ZRANGE', RUN, 0, 0, 'WITHSCORES')
if held[2] and (not nxt or tonumber(held[2]) < nxt) then nxt = tonumber(held[2]) end
if nxt then out[2] = math.max(0, nxt - now) end
nxt = text(nxt or 9007199254740991)
redis.call('HSET', OWNER, 'epoch', text(epoch), 'worker', worker, 'serial', serial, 'next', nxt)
return out
"""
)
