-- Takes the claim of a view, if nobody else has it or has written the view for a while.
--
-- KEYS  1 the claim, 2 the writers: when each instance without a claim wrote last, in seconds
-- ARGV  1 the caller's token, 2 its instance, 3 seconds for which all others have to have been quiet
-- Returns 1 if it is the caller's now.

local token, instance, quiet = ARGV[1], ARGV[2], tonumber(ARGV[3])

local claim = redis.call('GET', KEYS[1])
-- A token ends in ':' and 32 digits. The caller's own from an earlier life, or from before the connection broke, is
-- replaced, so that whatever is still on its way under it comes to nothing.
if claim and string.sub(claim, 1, -34) ~= instance then return 0 end

local now = tonumber(redis.call('TIME')[1])
local marks = redis.call('HGETALL', KEYS[2])
for i = 1, #marks, 2 do
  if marks[i] ~= instance then
    -- A clock that was set back must not make a mark eternal.
    if math.abs(now - tonumber(marks[i + 1])) < quiet then return 0 end
    redis.call('HDEL', KEYS[2], marks[i])
  end
end
redis.call('SET', KEYS[1], token)
return 1
