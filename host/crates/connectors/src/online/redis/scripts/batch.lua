-- Takes in rows of one view, comparing each; breaks a claim that is not the caller's.
--
-- KEYS  1 the claim, 2 the writers, 3 the view's history (what rows of it may hold: `deletions`, `deadlines`),
--       then the hash of each row
-- ARGV  1 the caller's token (empty = it has no claim), 2 its instance, 3 field of versions, 4 field of times,
--       5 "1" if rows have deadlines, 6 "1" if rows are deletions,
--       7 least event time of the rows, in seconds, 8 number of features,
--       9 number of rows of which is to be told what was held,
--       then the features' fields, then the rows to be told of (from 1, ascending),
--       then of each row: version, time, deadline (where rows have them), each feature
-- Returns whether the caller's claim stands (1 or 0), and then of each row that was not taken or is to be told of: the
--       row, the outcome (0 late, 1 taken, 2 the same, 3 what is held is no version), and version and time that were held
--       (if it is to be told, or the claim stands).

local KEYS, ARGV, unpack = KEYS, ARGV, unpack
local token, instance = ARGV[1], ARGV[2]
local expires, deletes = ARGV[5] == '1', ARGV[6] == '1'
local least, features, told_rows = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])

local claim = call('GET', KEYS[1])
local stands = claim and claim == token
if not stands then
  local now = call('TIME')[1]
  if claim then
    call('DEL', KEYS[1])
    -- Whoever had it may be there still, and has left no mark while it had it. A token ends in ':' and 32 digits.
    local owner = string.sub(claim, 1, -34)
    if owner ~= instance then call('HSET', KEYS[2], owner, now) end
  end
  call('HSET', KEYS[2], instance, now)
end

-- Noted before the first such row is written.
local history = call('HMGET', KEYS[3], 'deletions', 'deadlines')
if deletes and not history[1] then call('HSET', KEYS[3], 'deletions', '1') end
if expires and not history[2] then call('HSET', KEYS[3], 'deadlines', '1') end

local names = {}
for i = 1, features do names[i] = ARGV[9 + i] end
local at = 9 + features
local told = {}
for i = 1, told_rows do told[tonumber(ARGV[at + i])] = true end
at = at + told_rows

local view = shape(ARGV[3], ARGV[4], expires, names)
local width, line, last = features + 2 + (expires and 1 or 0), view.row, 4 + 2 * features
local time_field = view.time_field

-- Nearly all rows are later than what is held by seconds, and then it does not matter who wrote that: one look at the time is
-- enough. Not where rows were deleted, whose times are nowhere but in their versions.
local is_short = not deletes and not history[1] and last <= MOST_ARGUMENTS
-- Whether a hash that has these fields is known to stay: it was made to when they were new.
local stays = not expires and not history[2]

local answer, size = { stands and 1 or 0 }, 1
for row = 1, #KEYS - 3 do
  local key, tell, is_later = KEYS[row + 3], told[row], false
  if is_short and not tell then
    local time = call('HGET', key, time_field)
    local tag, a, b, c, d, e
    if time then tag, a, b, c, d, e = byte(time, 1, 6) end
    -- Seconds of five bytes, as in `time_of`; this runs for each row, hence the lack of functions.
    if tag == 8 and e and e < 128 and d > 127 and c > 127 and b > 127 and a > 127 then
      local next_second = a + b * 128 + c * 16384 + d * 2097152 + e * 268435456 - MORE_4 + 1
      is_later = least >= next_second
      if not is_later then
        is_later = time_of_version(unpack_number('>I4I4', ARGV[at + 1], 2)) >= next_second
      end
    end
  end
  if is_later then
    line[2], line[4] = ARGV[at + 1], ARGV[at + 2]
    local values = at + width - features
    for i = 1, features do line[4 + 2 * i] = ARGV[values + i] end
    local added = call('HSET', key, unpack(line, 1, last))
    if added > 0 or not stays then extend(key, added, features + 2, expires and ARGV[at + 3] or nil) end
  else
    local outcome, held, time = take(view, key, ARGV, at)
    if tell or outcome ~= TAKEN then
      answer[size + 1], answer[size + 2] = row, outcome
      -- What is held is of use to whoever may remember it.
      tell = tell or stands
      answer[size + 3], answer[size + 4] = tell and held, tell and time
      size = size + 4
    end
  end
  at = at + width
end
return answer
