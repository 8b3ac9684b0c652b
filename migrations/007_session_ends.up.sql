-- 007: what has ended, so that it reaches everybody who leans on it: Redis, even
-- when it was away just then, and replies that are still being written (008
-- asks, for it has API keys too). Also who stands behind a refresh token that
-- only wants to leave.

SET ROLE natter_owner;

ALTER TABLE auth.sessions ADD COLUMN IF NOT EXISTS buried_at timestamptz;
COMMENT ON COLUMN auth.sessions.buried_at IS
    'When a ledger told Redis that the session was ended; NULL: not yet, or long ago';

CREATE INDEX IF NOT EXISTS idx_auth_sessions_revoked
    ON auth.sessions (revoked_at) WHERE revoked_at IS NOT NULL;
COMMENT ON INDEX auth.idx_auth_sessions_revoked IS
    'The sessions just ended, of which Redis may not know; asked every second';

-- A deleted user takes all rows along: this one stays, until nobody can remember
-- any more that the user was there.
CREATE TABLE IF NOT EXISTS auth.user_ends (
	id uuid NOT NULL DEFAULT gen_random_uuid()
	    CONSTRAINT user_ends_pkey PRIMARY KEY,
	user_id uuid NOT NULL,
	ended_at timestamptz NOT NULL,
	buried_at timestamptz,
	sessions text,
	tokens text,
	keys text
);
COMMENT ON TABLE auth.user_ends IS 'Users who were deleted or disabled within the last minutes';
COMMENT ON COLUMN auth.user_ends.id IS 'The ending: a user may be disabled more than once';
COMMENT ON COLUMN auth.user_ends.user_id IS 'Who; the user may be gone';
COMMENT ON COLUMN auth.user_ends.ended_at IS 'When, by this server''s clock';
COMMENT ON COLUMN auth.user_ends.buried_at IS 'When a ledger told Redis; NULL: not yet';
COMMENT ON COLUMN auth.user_ends.sessions IS 'Ids of the sessions that went with a deleted user, with spaces between';
COMMENT ON COLUMN auth.user_ends.tokens IS 'Ids of their access tokens, likewise';
COMMENT ON COLUMN auth.user_ends.keys IS 'Hashes of the user''s API keys in hex, likewise';
CREATE INDEX IF NOT EXISTS idx_auth_user_ends_ended
    ON auth.user_ends (ended_at);
COMMENT ON INDEX auth.idx_auth_user_ends_ended IS 'The newest, asked every second; the oldest, to forget them';

CREATE INDEX IF NOT EXISTS idx_auth_user_ends_user
    ON auth.user_ends (user_id);
COMMENT ON INDEX auth.idx_auth_user_ends_user IS 'What a deleting statement noted, to put its time right at its end';

ALTER TABLE auth.user_ends ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.user_ends FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS own ON auth.user_ends;
CREATE POLICY own ON auth.user_ends FOR ALL TO natter_app
    USING (user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid))
    WITH CHECK (user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid));
COMMENT ON POLICY own ON auth.user_ends IS 'For the day somebody grants the daemon a right here; it has none';
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.user_ends TO natter_auth;

SET ROLE natter_auth;

-- For leaving by the refresh token alone. The last generation but one is as
-- good: the answer with the newest may have been lost. Nothing is rotated.
-- Outcomes as auth.session_refresh has them, and 'known'.
CREATE OR REPLACE FUNCTION auth.session_recognize(p_session uuid, p_gen integer,
    p_mac bytea, p_key bytea)
RETURNS TABLE (outcome text, user_id uuid, role text, username text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_row record;
BEGIN
    SELECT s.rt_secret, s.rt_gen, s.user_epoch, s.revoked_at, s.expires_at,
           s.idle_expires_at, u.id, u.role, u.username, u.is_disabled,
           u.session_epoch
      INTO v_row
      FROM auth.sessions s
      JOIN auth.users u ON u.id = s.user_id
     WHERE s.id = p_session;
    IF NOT FOUND
       OR auth.refresh_mac(p_key, v_row.rt_secret) <> p_mac
       OR p_gen < v_row.rt_gen - 1 THEN
        outcome := 'invalid';
    ELSIF p_gen > v_row.rt_gen THEN
        outcome := 'ahead';
    ELSIF v_row.revoked_at IS NOT NULL OR v_row.is_disabled
       OR v_row.session_epoch <> v_row.user_epoch THEN
        outcome := 'revoked';
    ELSIF clock_timestamp() >= least(v_row.expires_at, v_row.idle_expires_at) THEN
        outcome := 'expired';
    ELSE
        outcome := 'known';
        user_id := v_row.id;
        role := v_row.role;
        username := v_row.username;
    END IF;
    RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION auth.session_recognize(uuid, integer, bytea, bytea) IS
    'Whose a refresh token is, for leaving; changes nothing.';

REVOKE ALL ON FUNCTION auth.session_recognize(uuid, integer, bytea, bytea)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION auth.session_recognize(uuid, integer, bytea, bytea)
    TO natter_app;

RESET ROLE;
