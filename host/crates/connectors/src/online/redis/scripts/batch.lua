-- Takes in rows of one view, comparing each; breaks a claim that is not the caller's.
--
-- KEYS  1 the claim, 2 the writers, then the hash of each row
-- ARGV  1 the caller's token (empty = it has no claim), 2 its instance, 3 field of versions, 4 field of times,
--       5 "1" if rows have deadlines, 6 number of features, 7 number of rows of which is to be told what was held,
--       then the features' fields, then the rows to be told of (from 1, ascending),
--       then of each row: version, time, deadline (where rows have them), each feature
-- Returns whether the caller's claim stands (1 or 0), and then of each row that was not taken or is to be told of: the
--       row, the outcome (0 late, 1 taken, 2 the same), and version and time that were held (if it is to be told, or the
--       claim stands).

local token, instance = ARGV[1], ARGV[2]
local features, told_rows = tonumber(ARGV[6]), tonumber(ARGV[7])

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

local names = {}
for i = 1, features do names[i] = ARGV[7 + i] end
local at = 7 + features
local told = {}
for i = 1, told_rows do told[tonumber(ARGV[at + i])] = true end
at = at + told_rows

local view = shape(ARGV[3], ARGV[4], ARGV[5] == '1', names)
local width = features + 2 + (view.expires and 1 or 0)
local answer, size = { stands and 1 or 0 }, 1
for row = 1, #KEYS - 2 do
  local outcome, held, time = take(view, KEYS[row + 2], ARGV, at)
  if outcome ~= TAKEN or told[row] then
    answer[size + 1], answer[size + 2] = row, outcome
    -- What is held is of use to whoever may remember it.
    local tell = stands or told[row] or false
    answer[size + 3], answer[size + 4] = tell and held, tell and time
    size = size + 4
  end
  at = at + width
end
return answer
