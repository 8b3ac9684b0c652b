-- Takes back 016_rates.up.sql. What was charged while Redis was away is
-- forgotten.

SET ROLE natter_auth;
DROP FUNCTION IF EXISTS auth.rate_give_back(text[], bigint[]);
DROP FUNCTION IF EXISTS auth.rate_charge(boolean, uuid, text, text[], int[], bigint[], bigint[], bigint[]);
DROP FUNCTION IF EXISTS auth.rate_numbers(uuid, text);
DROP FUNCTION IF EXISTS auth.limits_in(uuid, text);
DROP FUNCTION IF EXISTS auth.turns_today(uuid, uuid);

SET ROLE natter_owner;
DROP TABLE IF EXISTS auth.rate_buckets;

RESET ROLE;
