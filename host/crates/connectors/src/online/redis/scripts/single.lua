-- Takes in one row, comparing it: for clusters, where no claim lies with the rows.
--
-- KEYS  1 the hash of the row
-- ARGV  1 field of versions, 2 field of times, 3 "1" if the row has a deadline, 4 number of features,
--       then the features' fields, then version, time, deadline (if it has one), each feature
-- Returns the outcome (0 late, 1 taken, 2 the same, 3 what is held is no version), and version and time that were held.

local features = tonumber(ARGV[4])
local names = {}
for i = 1, features do names[i] = ARGV[4 + i] end
local outcome, held, time = take(shape(ARGV[1], ARGV[2], ARGV[3] == '1', names), KEYS[1], ARGV, 4 + features)
return { outcome, held, time }
