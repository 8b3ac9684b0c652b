-- Takes back 008_exchange.up.sql. Users who came from a site stay, but have no
-- way in; all API keys are gone.

SET ROLE natter_owner;

DROP TRIGGER IF EXISTS note_disabled ON auth.users;
DROP TRIGGER IF EXISTS note_deleted ON auth.users;
DROP TRIGGER IF EXISTS note_delete ON auth.users;
DROP FUNCTION IF EXISTS auth.users_note_end();
DROP FUNCTION IF EXISTS auth.grants_ended(uuid[], uuid[]);
DROP FUNCTION IF EXISTS auth.endings_buried(uuid[]);
DROP FUNCTION IF EXISTS auth.endings_unburied(boolean, integer);
DROP FUNCTION IF EXISTS auth.api_key_revoke(uuid, uuid);
DROP FUNCTION IF EXISTS auth.api_key_check(uuid, bytea, inet);
DROP FUNCTION IF EXISTS auth.api_key_create(uuid, uuid, uuid, text, bytea, text,
    text[], interval, interval, integer);
DROP FUNCTION IF EXISTS auth.exchange_good(bytea, integer);
DROP FUNCTION IF EXISTS auth.exchange_begin(bytea, integer);
DROP FUNCTION IF EXISTS auth.user_of_site(uuid, text, text, text, text);
DROP TABLE IF EXISTS auth.api_keys;

RESET ROLE;
