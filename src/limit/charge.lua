-- Charges one request to its limits, all of them or none, and looks on the way
-- whether whoever asks may ask at all: one round trip. Pure apart from its keys;
-- the clock is Redis's. limit_redis.c calls it and auth.rate_charge (migration
-- 016) does the same in Postgres.
--
-- KEYS: 1 present: refuses; 2 the entry that allows; 3 present: believe no
-- entry; 4 the numbers that override the settings'; from 5 a bucket a policy.
-- ARGV: 1 '1' to look at the entry first, 2 what it must begin with;
-- 3 an entry to remember, or '', 4 for how many seconds;
-- 5 the numbers, or '' when KEYS[4] has them (with 1), 6 ms to remember them for;
-- 7 how many turns today's are, or ''; from 8 four for each policy:
-- quota (0: nothing overrides it), limit (0: none), window in us (0: a day of
-- UTC, counted), burst (0: as the limit).
--
-- Gives {what, value of KEYS[1], [2], [3]} and, where it got so far, five for
-- each policy: limit, remaining, reset and retry in us, and the bucket where it
-- is another than its key; last, where numbers are known, what overrides the day's
-- limit of tokens (-1: nothing), how many were used when the numbers were told,
-- and the seconds until the day ends. A bucket holds the time until which it is used up.
local NOT_KNOWN, NO_NUMBERS, CHARGED, REFUSED = 0, 1, 2, 3
local FIRST_KEY, FIRST_ARG, N_ARGS = 5, 8, 4
local N_QUOTAS, TOKENS_PER_DAY = 9, 6 -- as in quotas.def; between the two lists is the store
local n = #KEYS - FIRST_KEY + 1

local seen = {false, false, false, false}
if ARGV[1] == '1' then
	seen = redis.call('MGET', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
	local entry, begins = seen[2], ARGV[2]
	if seen[1] or seen[3] or not entry or entry == '-' or
	    string.sub(entry, 1, #begins) ~= begins then
		return {NOT_KNOWN, seen[1], entry, seen[3]}
	end
end
local answer = {CHARGED, seen[1], seen[2], seen[3]}

-- An ending that came in between stays: NX.
if ARGV[3] ~= '' then
	redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4], 'NX')
end

local numbers = ARGV[5]
if numbers ~= '' then
	redis.call('SET', KEYS[4], numbers, 'PX', ARGV[6])
else
	numbers = seen[4]
end
for i = 0, n - 1 do
	if not numbers and ARGV[FIRST_ARG + i * N_ARGS] ~= '0' then
		answer[1] = NO_NUMBERS
		return answer
	end
end
if n == 0 then return answer end

local words = {}
for word in string.gmatch(numbers or '-', '%S+') do words[#words + 1] = word end
local overrides = words[1] ~= '-'

local time = redis.call('TIME')
local seconds = tonumber(time[1])
local now = seconds * 1000000 + tonumber(time[2])

-- The date of today in UTC: days from 1 March of the year 0, so that leap days
-- are at the ends of years.
local function today()
	local z = math.floor(seconds / 86400) + 719468
	local era = math.floor(z / 146097)
	local doe = z - era * 146097
	local yoe = math.floor((doe - math.floor(doe / 1460)
	    + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
	local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
	local mp = math.floor((5 * doy + 2) / 153)
	local day = doy - math.floor((153 * mp + 2) / 5) + 1
	local month = mp < 10 and mp + 3 or mp - 9
	local year = yoe + era * 400 + (month <= 2 and 1 or 0)
	return string.format('%04d-%02d-%02d', year, month, day)
end

-- Which limits hold, and whose buckets they fill. A store's own are buckets of
-- their own.
local policies, keys = {}, {}
for i = 0, n - 1 do
	local arg = FIRST_ARG + i * N_ARGS
	local quota = tonumber(ARGV[arg])
	local p = {
		limit = tonumber(ARGV[arg + 1]), window = tonumber(ARGV[arg + 2]),
		burst = tonumber(ARGV[arg + 3]), key = KEYS[FIRST_KEY + i],
	}
	if p.window == 0 then p.key = p.key .. today() end
	if quota > 0 and overrides then
		local of_store = tonumber(words[N_QUOTAS + 1 + quota])
		if words[quota] ~= '-1' then p.limit = tonumber(words[quota]) end
		if quota <= 2 and of_store >= 0 then
			if p.limit == 0 or (of_store > 0 and of_store < p.limit) then
				p.limit = of_store -- the closer one; 0 is none
			end
			p.key = p.key .. ':' .. words[N_QUOTAS + 1]
		end
	end
	policies[i + 1] = p
	keys[i + 1] = p.key
end

local levels = redis.call('MGET', unpack(keys))
for i, p in ipairs(policies) do
	local level = tonumber(levels[i])
	if p.limit == 0 then
		p.remaining, p.reset, p.retry = 0, 0, 0
	elseif p.window == 0 then
		level = level or tonumber(ARGV[7])
		if not level then
			answer[1] = NO_NUMBERS
			return answer
		end
		p.remaining = math.max(p.limit - level, 0)
		p.reset = (86400 - seconds % 86400) * 1000000 - tonumber(time[2])
		p.retry = p.remaining == 0 and p.reset or 0
		p.level = level + 1
		p.expires = p.reset + 3600 * 1000000
	else
		-- After the clock was set back nobody waits longer than for a
		-- full bucket.
		local step = math.ceil(p.window / p.limit)
		local room = step * (p.burst > 0 and p.burst or p.limit)
		level = math.min(math.max(level or 0, now), now + room)
		p.remaining = math.floor((now + room - level) / step)
		p.reset = level - now
		p.level = level + step
		p.retry = math.max(p.level - room - now, 0)
		p.expires = p.level - now
	end
	if p.retry > 0 then answer[1] = REFUSED end
end

for i, p in ipairs(policies) do
	if answer[1] == CHARGED and p.limit > 0 then
		redis.call('SET', p.key, string.format('%.0f', p.level),
		    'PX', math.ceil(p.expires / 1000) + 1)
		p.remaining = p.remaining - 1
		if p.window > 0 then p.reset = p.expires end
	end
	local at = 5 * i
	answer[at] = p.limit
	answer[at + 1] = p.remaining
	answer[at + 2] = p.reset
	answer[at + 3] = p.retry
	answer[at + 4] = p.key ~= KEYS[FIRST_KEY + i - 1] and p.key
end
local used = string.match(numbers or '', 't(%d+)$')
if used then
	answer[#answer + 1] = tonumber(overrides and words[TOKENS_PER_DAY] or '-1')
	answer[#answer + 1] = tonumber(used)
	answer[#answer + 1] = 86400 - seconds % 86400
end
return answer
