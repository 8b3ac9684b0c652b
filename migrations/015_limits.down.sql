-- Takes back 015_limits.up.sql. The limits and prices that it held are lost.

SET ROLE natter_owner;
DROP TABLE IF EXISTS chat.model_prices;
DROP TABLE IF EXISTS auth.limits;

SET ROLE natter_auth;
DROP FUNCTION IF EXISTS chat.cost_of(text, bigint, bigint, bigint);
DROP FUNCTION IF EXISTS auth.limits_of(uuid, uuid);
DROP FUNCTION IF EXISTS auth.limit_names();

RESET ROLE;
