-- Takes in one row, or a deletion, if it is not older than what the hash holds of the view. Shared by all scripts that
-- write: the functions here come before them.
--
-- Strings are never compared by order: Redis compares them by the rules of the server's language. Versions are compared
-- as numbers, and byte by byte where those are equal.

local byte, unpack_number = string.byte, struct.unpack
local call = redis.call

-- Where the bytes of a version begin that follow its format and its event time.
local BEHIND_TIME = 10
-- The highest bit of a version's first byte marks a deletion; the others are its format.
local DELETION = 128
local FORMAT = 1
-- No version has fewer bytes than one without partition and position.
local LEAST_VERSION = 27
-- More arguments at a time do not fit on Lua's stack.
local MOST_ARGUMENTS = 4000
-- For so many milliseconds at least a deletion keeps older rows away, by this server's clock: hosts' clocks may be far
-- behind it, and a deadline that has passed removes the hash at once.
local DELETION_STAYS = 24 * 3600 * 1000

-- The parts of five bytes of a varint that only say that there is more.
local MORE_3 = 128 * (1 + 128 + 16384)
local MORE_4 = 128 * (1 + 128 + 16384 + 2097152)

-- A varint at `at`, and where it ends. Exact for all numbers whose size is below 2^53, also negative ones.
local function varint(text, at)
  local number, scale, complement, count = 0, 1, 0, 0
  while true do
    local digit = byte(text, at)
    if not digit then return number, at end
    at, count = at + 1, count + 1
    local bits = digit % 128
    if count == 10 then return -1 - complement, at end
    number, complement = number + bits * scale, complement + (127 - bits) * scale
    scale = scale * 128
    if digit < 128 then return number, at end
  end
end

-- Seconds and microseconds of a protobuf `Timestamp`, field by field.
local function time_of_any(text)
  local seconds, nanos, at = 0, 0, 1
  while at <= #text do
    local tag = byte(text, at)
    if tag == 8 then
      seconds, at = varint(text, at + 1)
    elseif tag == 16 then
      nanos, at = varint(text, at + 1)
    else
      break
    end
  end
  return seconds, (nanos - nanos % 1000) / 1000
end

-- The same, without loops for what is nearly always there: seconds between 1978 and 3058, which take five bytes, and
-- nothing else or nanoseconds of four or five bytes.
local function time_of(text)
  local tag, a, b, c, d, e, next_tag, f, g, h, i, j = byte(text, 1, 12)
  if tag == 8 and e and e < 128 and a > 127 and b > 127 and c > 127 and d > 127 then
    local seconds = a + b * 128 + c * 16384 + d * 2097152 + e * 268435456 - MORE_4
    if not next_tag then return seconds, 0 end
    if next_tag == 16 and i and f > 127 and g > 127 and h > 127 then
      local nanos
      if not j then
        nanos = f + g * 128 + h * 16384 + i * 2097152 - MORE_3
      else
        nanos = f + g * 128 + h * 16384 + i * 2097152 + j * 268435456 - MORE_4
      end
      if #text < 13 then return seconds, (nanos - nanos % 1000) / 1000 end
    end
  end
  return time_of_any(text)
end

-- Seconds and microseconds of a version, from the two halves of its event time, whose sign bit is turned round. Exact for
-- all times, where microseconds in one number are not from 2255 on: 2^32 of them are 4294 seconds and 967296 microseconds,
-- and nothing here reaches 2^53.
local function time_of_version(high, low)
  local signed = high - 2147483648
  local rest = signed * 967296 + low
  local micros = rest % 1000000
  return signed * 4294 + (rest - micros) / 1000000, micros
end

-- Damaged is what holds something that is no version of ours: nobody can say what is newer.
local LATE, TAKEN, SAME, DAMAGED = 0, 1, 2, 3

-- Compares two of our versions, behind their event times.
local function compare_rest(new, held)
  if new == held then return SAME end
  local at = BEHIND_TIME
  while true do
    local one, other = byte(new, at), byte(held, at)
    if one ~= other then return (one or -1) > (other or -1) and TAKEN or LATE end
    if not one then return SAME end
    at = at + 1
  end
end

-- Compares a version with a row of Feast's, which is the oldest of its time.
local function compare_with_time(high, low, seconds, micros)
  local new_seconds, new_micros = time_of_version(high, low)
  if new_seconds ~= seconds then return new_seconds > seconds and TAKEN or LATE end
  return new_micros >= micros and TAKEN or LATE
end

-- Compares a version with what a hash holds: our version and Feast's time, either of which may be missing.
local function decide(new, held, time)
  local new_high, new_low = unpack_number('>I4I4', new, 2)
  if not held then return compare_with_time(new_high, new_low, time_of(time)) end
  local head = byte(held)
  if #held < LEAST_VERSION or head % DELETION ~= FORMAT then return DAMAGED end
  local high, low = unpack_number('>I4I4', held, 2)
  local deleted = head >= DELETION
  -- Without its time, a row was deleted by Feast; a deletion of ours has none.
  if not time and not deleted then return TAKEN end
  if time then
    local our_seconds, our_micros = time_of_version(high, low)
    local seconds, micros = time_of(time)
    local is_other = seconds ~= our_seconds or micros ~= our_micros
    if is_other and not (deleted and (seconds < our_seconds or seconds == our_seconds and micros < our_micros)) then
      -- Feast has written since.
      return compare_with_time(new_high, new_low, seconds, micros)
    end
  end
  if new_high ~= high then return new_high > high and TAKEN or LATE end
  if new_low ~= low then return new_low > low and TAKEN or LATE end
  return compare_rest(new, held)
end

-- Milliseconds since the epoch, asked for once in a call.
local asked_now
local function now()
  if not asked_now then
    local time = call('TIME')
    asked_now = time[1] * 1000 + time[2] / 1000
  end
  return asked_now
end

-- Sees to it that a hash of several views lives as long as the one that lives longest. `added`: how many fields were new,
-- of `fields` that were written. `deadline`: milliseconds since the epoch, or nil = it is to stay.
local function extend(key, added, fields, deadline)
  if not deadline then
    -- Not only where fields are new: the view may have had a TTL when they were.
    call('PERSIST', key)
    return
  end
  if added == fields and call('HLEN', key) == fields then
    call('PEXPIREAT', key, deadline)
    return
  end
  local left = call('PTTL', key)
  if left >= 0 and now() + left < tonumber(deadline) then call('PEXPIREAT', key, deadline) end
end

-- What a view's rows have in common.
--   names: the fields of features; version_field, time_field; expires: whether rows have deadlines
-- `row` is reused: names stand in it, values are filled in.
local function shape(version_field, time_field, expires, names)
  local row = { version_field, '', time_field, '' }
  for i = 1, #names do row[3 + 2 * i] = names[i] end
  return { version_field = version_field, time_field = time_field, expires = expires, names = names, count = #names, row = row }
end

local function write(view, key, version, time, deadline, values, at)
  local row, count = view.row, view.count
  row[2], row[4] = version, time
  for i = 1, count do row[4 + 2 * i] = values[at + i] end
  local length, added = 4 + 2 * count, 0
  if length <= MOST_ARGUMENTS then
    added = call('HSET', key, unpack(row, 1, length))
  else
    for start = 1, length, MOST_ARGUMENTS do
      added = added + call('HSET', key, unpack(row, start, math.min(length, start + MOST_ARGUMENTS - 1)))
    end
  end
  extend(key, added, count + 2, deadline)
end

-- A deletion brings its deadline in the place of its time: it is kept for a while, even if there was nothing to delete.
local function erase(view, key, version, deadline)
  local names = view.names
  for start = 1, #names, MOST_ARGUMENTS do
    call('HDEL', key, unpack(names, start, math.min(#names, start + MOST_ARGUMENTS - 1)))
  end
  call('HDEL', key, view.time_field)
  local least = now() + DELETION_STAYS
  if tonumber(deadline) < least then deadline = string.format('%.0f', least) end
  extend(key, call('HSET', key, view.version_field, version), 1, deadline)
end

-- Takes in the row whose arguments stand behind `at`: version, time, deadline (where rows expire), features.
-- Returns the outcome, and what was held before.
local function take(view, key, values, at)
  local found = call('HMGET', key, view.version_field, view.time_field)
  local held, held_time = found[1], found[2]
  local version, time = values[at + 1], values[at + 2]
  local outcome = TAKEN
  if held or held_time then outcome = decide(version, held, held_time) end
  if outcome == TAKEN then
    if byte(version) >= DELETION then
      erase(view, key, version, time)
    elseif view.expires then
      write(view, key, version, time, values[at + 3], values, at + 3)
    else
      write(view, key, version, time, nil, values, at + 2)
    end
  elseif outcome == SAME and not view.expires and byte(version) < DELETION then
    -- It may be from when the view had a TTL, and whoever holds the claim writes on without looking.
    call('PERSIST', key)
  end
  return outcome, held, held_time
end

