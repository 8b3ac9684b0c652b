-- Takes back 007_session_ends.up.sql.

SET ROLE natter_owner;

DROP FUNCTION IF EXISTS auth.session_recognize(uuid, integer, bytea, bytea);
DROP TABLE IF EXISTS auth.user_ends;
DROP INDEX IF EXISTS auth.idx_auth_sessions_revoked;
ALTER TABLE auth.sessions DROP COLUMN IF EXISTS buried_at;

RESET ROLE;
