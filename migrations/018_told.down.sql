-- Takes back 018_told.up.sql; no row is lost.

SET ROLE natter_auth;
DROP FUNCTION IF EXISTS auth.limits_of_stores();
DROP FUNCTION IF EXISTS auth.admin_limits_list(uuid, int);
DROP FUNCTION IF EXISTS auth.admin_limits_put(text, uuid, uuid, jsonb);
DROP FUNCTION IF EXISTS auth.admin_limits(text, uuid, uuid);
DROP FUNCTION IF EXISTS auth.limits_listed(text, uuid, uuid);

RESET ROLE;
