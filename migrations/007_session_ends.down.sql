-- Takes back 007_session_ends.up.sql.

SET ROLE natter_owner;

DROP FUNCTION IF EXISTS auth.session_recognize(uuid, integer, bytea, bytea);
DROP FUNCTION IF EXISTS auth.sessions_ended(uuid[], uuid[]);
DROP FUNCTION IF EXISTS auth.sessions_buried(uuid[]);
DROP FUNCTION IF EXISTS auth.sessions_unburied(boolean, integer);
DROP INDEX IF EXISTS auth.idx_auth_sessions_revoked;
ALTER TABLE auth.sessions DROP COLUMN IF EXISTS buried_at;

RESET ROLE;
