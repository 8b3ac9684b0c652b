-- 007: how the end of a session reaches everybody who leans on it: Redis, even
-- when it was away just then, and replies that are still being written. Also
-- who stands behind a refresh token that only wants to leave.

SET ROLE natter_owner;

ALTER TABLE auth.sessions ADD COLUMN IF NOT EXISTS buried_at timestamptz;
COMMENT ON COLUMN auth.sessions.buried_at IS
    'When a ledger told Redis that the session was ended; NULL: not yet, or long ago';

CREATE INDEX IF NOT EXISTS idx_auth_sessions_revoked
    ON auth.sessions (revoked_at) WHERE revoked_at IS NOT NULL;
COMMENT ON INDEX auth.idx_auth_sessions_revoked IS
    'The sessions just ended, of which Redis may not know; asked every second';

SET ROLE natter_auth;

-- Redis remembers for a minute that a session lives: who ended longer ago than
-- two is of no interest any more. p_again: also those of which it was told,
-- for it may have forgotten. Tokens as auth.sessions_end tells them.
CREATE OR REPLACE FUNCTION auth.sessions_unburied(p_again boolean, p_limit integer)
RETURNS TABLE (user_id uuid, session_id uuid, gone_tokens text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.user_id, s.id,
           (SELECT string_agg(r.id::text, ' ')
              FROM (SELECT t.id
                      FROM auth.refresh_tokens t
                     WHERE t.session_id = s.id
                       AND t.issued_at > now() - interval '1 hour'
                     ORDER BY t.issued_at DESC
                     LIMIT 64) r)
      FROM auth.sessions s
     WHERE (p_again OR s.buried_at IS NULL)
       AND s.revoked_at > now() - interval '2 minutes'
     ORDER BY s.revoked_at
     LIMIT least(greatest(p_limit, 1), 1000);
$$;
COMMENT ON FUNCTION auth.sessions_unburied(boolean, integer) IS
    'Sessions ended in the last two minutes of which Redis may not have been told.';

-- A row that somebody holds is skipped: it is told once more, and marked then.
CREATE OR REPLACE FUNCTION auth.sessions_buried(p_sessions uuid[])
RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE auth.sessions s
       SET buried_at = now()
     WHERE s.id IN (SELECT f.id FROM auth.sessions f
                     WHERE f.id = ANY (p_sessions)
                       AND f.buried_at IS NULL AND f.revoked_at IS NOT NULL
                       FOR NO KEY UPDATE SKIP LOCKED);
$$;
COMMENT ON FUNCTION auth.sessions_buried(uuid[]) IS
    'Notes that Redis was told of these endings.';

-- Expiry is no ending: what was begun in time may finish.
CREATE OR REPLACE FUNCTION auth.sessions_ended(p_users uuid[], p_sessions uuid[])
RETURNS TABLE (n integer)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (p.n - 1)::integer
      FROM unnest(p_users, p_sessions) WITH ORDINALITY AS p (user_id, session_id, n)
     WHERE NOT EXISTS (
        SELECT
          FROM auth.users u
          LEFT JOIN auth.sessions s
            ON s.user_id = u.id AND s.id = p.session_id
         WHERE u.id = p.user_id AND NOT u.is_disabled
           AND (p.session_id IS NULL
                OR (s.revoked_at IS NULL AND s.user_epoch = u.session_epoch)));
$$;
COMMENT ON FUNCTION auth.sessions_ended(uuid[], uuid[]) IS
    'Which pairs (counted from 0) of a user and a session have ended: revoked, gone, or the user disabled; without a session the user alone counts.';

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

REVOKE ALL ON FUNCTION
    auth.sessions_unburied(boolean, integer),
    auth.sessions_buried(uuid[]),
    auth.sessions_ended(uuid[], uuid[]),
    auth.session_recognize(uuid, integer, bytea, bytea)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    auth.sessions_unburied(boolean, integer),
    auth.sessions_buried(uuid[]),
    auth.sessions_ended(uuid[], uuid[]),
    auth.session_recognize(uuid, integer, bytea, bytea)
    TO natter_app;

RESET ROLE;
