-- Takes back 019_usage.up.sql. The prices stay; what they are in is lost.

SET ROLE natter_auth;
DROP FUNCTION IF EXISTS chat.admin_usage(text[], date, date, uuid, uuid, text, text[], int);
DROP FUNCTION IF EXISTS chat.models_unpriced(interval);
DROP FUNCTION IF EXISTS chat.price_remove(text);
DROP FUNCTION IF EXISTS chat.price_set(text, numeric, numeric, numeric);
DROP FUNCTION IF EXISTS chat.prices_load(text, date, jsonb, boolean);
DROP FUNCTION IF EXISTS chat.prices_put(text, date, jsonb, boolean);

SET ROLE natter_owner;
DROP TABLE IF EXISTS chat.price_list;
REVOKE SELECT ON chat.rollup_days FROM natter_app, natter_auth;
DROP INDEX IF EXISTS chat.idx_chat_usage_tracking_id;

RESET ROLE;
