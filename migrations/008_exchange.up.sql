-- 008: members of a site, who come with a token of its own, personal API keys,
-- and what has ended of sessions, keys and users. As in 004, what must be found before anybody is known and what changes
-- as one step are functions of natter_auth; locks are taken in its order.

SET ROLE natter_owner;

CREATE TABLE IF NOT EXISTS auth.api_keys (
	id uuid NOT NULL CONSTRAINT api_keys_pkey PRIMARY KEY,
	user_id uuid NOT NULL CONSTRAINT api_keys_user_id_fkey
	    REFERENCES auth.users (id) ON DELETE CASCADE,
	name text NOT NULL
	    CONSTRAINT api_keys_name CHECK (char_length(name) BETWEEN 1 AND 100),
	hash bytea NOT NULL
	    CONSTRAINT api_keys_hash CHECK (octet_length(hash) = 32),
	ending text NOT NULL
	    CONSTRAINT api_keys_ending CHECK (char_length(ending) = 4),
	scopes text[] NOT NULL
	    CONSTRAINT api_keys_scopes CHECK (scopes <@ ARRAY['read', 'chat', 'admin']
	    AND cardinality(scopes) BETWEEN 1 AND 3),
	created_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz,
	last_used_at timestamptz,
	ip_last inet,
	revoked_at timestamptz,
	buried_at timestamptz,
	CONSTRAINT api_keys_user_id_hash_key UNIQUE (user_id, hash),
	CONSTRAINT api_keys_expires_at CHECK (expires_at > created_at)
);
COMMENT ON TABLE auth.api_keys IS 'Personal API keys, for programs that act as their owner; holds nothing from which a key could be made';
COMMENT ON COLUMN auth.api_keys.id IS 'UUIDv7, to speak of the key with; not part of it';
COMMENT ON COLUMN auth.api_keys.user_id IS 'Whose key it is, and as whom it acts; part of the key';
COMMENT ON COLUMN auth.api_keys.name IS 'What its owner calls it';
COMMENT ON COLUMN auth.api_keys.hash IS 'SHA-256 of the key: 256 random bits need no slower hash. natter_app may not read it';
COMMENT ON COLUMN auth.api_keys.ending IS 'The last characters of the key, to tell it from others';
COMMENT ON COLUMN auth.api_keys.scopes IS 'What it may do: read (GET), chat (all else), admin (/admin, as long as its owner is an administrator)';
COMMENT ON COLUMN auth.api_keys.created_at IS 'When it was made';
COMMENT ON COLUMN auth.api_keys.expires_at IS 'Until when it is good; NULL: until it is revoked';
COMMENT ON COLUMN auth.api_keys.last_used_at IS 'When it was last used (not kept to the minute)';
COMMENT ON COLUMN auth.api_keys.ip_last IS 'Client address of that use';
COMMENT ON COLUMN auth.api_keys.revoked_at IS 'When it was revoked; NULL while it is good';
COMMENT ON COLUMN auth.api_keys.buried_at IS 'When a ledger told Redis that the key was revoked; NULL: not yet, or long ago';

CREATE INDEX IF NOT EXISTS idx_auth_api_keys_user_live
    ON auth.api_keys (user_id, id DESC) WHERE revoked_at IS NULL;
COMMENT ON INDEX auth.idx_auth_api_keys_user_live IS 'A user''s keys, the newest first';
CREATE INDEX IF NOT EXISTS idx_auth_api_keys_revoked
    ON auth.api_keys (revoked_at) WHERE revoked_at IS NOT NULL;
COMMENT ON INDEX auth.idx_auth_api_keys_revoked IS 'The keys just revoked, of which Redis may not know; asked every second';

ALTER TABLE auth.api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.api_keys FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS own ON auth.api_keys;
CREATE POLICY own ON auth.api_keys FOR ALL TO natter_app
    USING (user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid))
    WITH CHECK (user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid));
COMMENT ON POLICY own ON auth.api_keys IS 'The daemon sees and changes the rows of app.user_id alone';

-- Keys are made, used and revoked by the functions below and nothing else.
GRANT SELECT (id, user_id, name, ending, scopes, created_at, expires_at,
    last_used_at, ip_last, revoked_at) ON auth.api_keys TO natter_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.api_keys TO natter_auth;

SET ROLE natter_auth;

-- The user behind a site's member, made at first sight. However many ask at
-- once, one row comes of it: who loses the race to insert finds the winner's.
-- A username that is taken gets an ending; six of 24 random bits in a row being
-- taken too is no accident any more.
CREATE OR REPLACE FUNCTION auth.user_of_site(p_id uuid, p_issuer text,
    p_external_id text, p_username text, p_display_name text)
RETURNS TABLE (id uuid, is_disabled boolean, is_new boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
    v_username text := p_username;
    v_display_name text;
BEGIN
    FOR v_try IN 1 .. 8 LOOP
        SELECT u.id, u.is_disabled, u.display_name
          INTO id, is_disabled, v_display_name
          FROM auth.users u
         WHERE u.issuer = p_issuer AND u.external_id = p_external_id;
        IF FOUND THEN
            is_new := false;
            IF p_display_name IS NOT NULL
               AND p_display_name IS DISTINCT FROM v_display_name THEN
                UPDATE auth.users u
                   SET display_name = p_display_name
                 WHERE u.id = user_of_site.id AND NOT u.is_disabled;
            END IF;
            RETURN NEXT;
            RETURN;
        END IF;
        INSERT INTO auth.users (id, username, display_name, issuer, external_id)
        VALUES (p_id, v_username, p_display_name, p_issuer, p_external_id)
        ON CONFLICT DO NOTHING;
        IF FOUND THEN
            id := p_id;
            is_disabled := false;
            is_new := true;
            RETURN NEXT;
            RETURN;
        END IF;
        v_username := left(p_username, 57) || '-'
            || substr(replace(gen_random_uuid()::text, '-', ''), 1, 6);
    END LOOP;
    RAISE EXCEPTION 'no username is free' USING ERRCODE = 'lock_not_available';
END;
$$;
COMMENT ON FUNCTION auth.user_of_site(uuid, text, text, text, text) IS
    'The user whom a site knows by this id, made when there is none; the display name follows the site''s.';

-- An exchange charges its address before the site's signature is looked at, and
-- has it given back when that was good: failures count. Of an address: a proxy
-- of many, or the site's own server, is never slowed by what works.
CREATE OR REPLACE FUNCTION auth.exchange_begin(p_address bytea, p_rate integer)
RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    PERFORM auth.throttle_forget();
    RETURN auth.throttle_take_address(p_address, p_rate);
END;
$$;
COMMENT ON FUNCTION auth.exchange_begin(bytea, integer) IS
    'Charges an exchange to its address; the seconds to wait when it may not be made.';

CREATE OR REPLACE FUNCTION auth.exchange_good(p_address bytea, p_rate integer)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    PERFORM auth.throttle_give_address(p_address, p_rate);
END;
$$;
COMMENT ON FUNCTION auth.exchange_good(bytea, integer) IS
    'Gives an exchange back to its address: the token was good, or was not looked at.';

-- Makes a key: `made`; `reauth` when the session's password was proved too long
-- ago, so that a borrowed access token does not become a key; `full` beyond
-- p_max live keys. The user's row is locked, so that parallel calls are counted.
CREATE OR REPLACE FUNCTION auth.api_key_create(p_user uuid, p_session uuid, p_id uuid,
    p_name text, p_hash bytea, p_ending text, p_scopes text[], p_life interval,
    p_fresh interval DEFAULT interval '15 minutes', p_max integer DEFAULT 50)
RETURNS TABLE (outcome text, created_at timestamptz, expires_at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
    v_now timestamptz;
BEGIN
    PERFORM 1 FROM auth.users u WHERE u.id = p_user FOR NO KEY UPDATE;
    v_now := clock_timestamp();
    IF NOT EXISTS (SELECT FROM auth.sessions s
                    WHERE s.user_id = p_user AND s.id = p_session
                      AND s.auth_time > v_now - p_fresh) THEN
        outcome := 'reauth';
    ELSIF (SELECT count(*) FROM auth.api_keys k
            WHERE k.user_id = p_user AND k.revoked_at IS NULL
              AND coalesce(k.expires_at > v_now, true)) >= p_max THEN
        outcome := 'full';
    ELSE
        INSERT INTO auth.api_keys AS k (id, user_id, name, hash, ending, scopes,
            created_at, expires_at)
        VALUES (p_id, p_user, p_name, p_hash, p_ending, p_scopes, v_now,
            v_now + p_life)
        RETURNING k.created_at, k.expires_at INTO created_at, expires_at;
        outcome := 'made';
    END IF;
    RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION auth.api_key_create(uuid, uuid, uuid, text, bytea, text, text[],
    interval, interval, integer) IS
    'Makes an API key of a user who signed in lately.';

-- Is the key good? No row when it is not. Notes its use at most once in 5
-- minutes, and never waits for a row that somebody else holds.
CREATE OR REPLACE FUNCTION auth.api_key_check(p_user uuid, p_hash bytea, p_ip inet)
RETURNS TABLE (id uuid, role text, username text, scopes text, left_s integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_due boolean;
BEGIN
    SELECT k.id, u.role, u.username, array_to_string(k.scopes, ' '),
           least(ceil(extract(epoch FROM k.expires_at - now())), 1000000)::integer,
           coalesce(k.last_used_at < now() - interval '5 minutes', true)
      INTO id, role, username, scopes, left_s, v_due
      FROM auth.api_keys k
      JOIN auth.users u ON u.id = k.user_id
     WHERE k.user_id = p_user AND k.hash = p_hash
       AND k.revoked_at IS NULL
       AND coalesce(k.expires_at > now(), true)
       AND NOT u.is_disabled;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_due AND NOT current_setting('transaction_read_only')::boolean THEN
        UPDATE auth.api_keys k
           SET last_used_at = now(), ip_last = coalesce(p_ip, k.ip_last)
         WHERE k.id = (SELECT f.id FROM auth.api_keys f
                        WHERE f.user_id = p_user AND f.hash = p_hash
                          FOR NO KEY UPDATE SKIP LOCKED);
    END IF;
    RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION auth.api_key_check(uuid, bytea, inet) IS
    'The key, role, username and scopes behind a good API key, and the seconds it has left (NULL: it does not end).';

-- The hash, for a tombstone; no row when there is no such key to revoke.
CREATE OR REPLACE FUNCTION auth.api_key_revoke(p_user uuid, p_id uuid)
RETURNS TABLE (hash bytea)
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
    UPDATE auth.api_keys k
       SET revoked_at = clock_timestamp()
     WHERE k.user_id = p_user AND k.id = p_id AND k.revoked_at IS NULL
    RETURNING k.hash;
$$;
COMMENT ON FUNCTION auth.api_key_revoke(uuid, uuid) IS
    'Revokes one API key of a user.';

------------------------------------------------------------------------ endings

-- A deleted user's sessions and keys are written down before the cascade takes
-- them, a disabled one's keys because they may come back. However long the
-- cascade takes, the time noted is the one after it, just before the commit:
-- its triggers begin with a capital and fire before ours.
CREATE OR REPLACE FUNCTION auth.users_note_end()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_end auth.user_ends;
BEGIN
    IF TG_OP = 'DELETE' AND TG_WHEN = 'AFTER' THEN
        UPDATE auth.user_ends e
           SET ended_at = clock_timestamp()
         WHERE e.user_id = OLD.id;
        DELETE FROM auth.user_ends e
         WHERE e.id IN (SELECT o.id FROM auth.user_ends o
                              WHERE o.ended_at < now() - interval '10 minutes'
                              ORDER BY o.ended_at
                              LIMIT 8
                                FOR UPDATE SKIP LOCKED);
        RETURN NULL;
    END IF;
    IF TG_OP = 'DELETE' THEN
        SELECT string_agg(l.id::text, ' '),
               (SELECT string_agg(r.id::text, ' ')
                  FROM (SELECT t.id
                          FROM auth.refresh_tokens t
                         WHERE t.user_id = OLD.id
                           AND t.session_id = ANY (array_agg(l.id))
                           AND t.issued_at > now() - interval '1 hour'
                         ORDER BY t.issued_at DESC
                         LIMIT 640) r)
          INTO v_end.sessions, v_end.tokens
          FROM (SELECT s.id FROM auth.sessions s
                 WHERE s.user_id = OLD.id
                   AND s.access_iat > now() - interval '1 hour'
                   AND coalesce(s.revoked_at > now() - interval '2 minutes', true)
                 ORDER BY s.access_iat DESC
                 LIMIT 100) l;
    END IF;
    SELECT string_agg(encode(k.hash, 'hex'), ' ')
      INTO v_end.keys
      FROM auth.api_keys k
     WHERE k.user_id = OLD.id
       AND coalesce(k.revoked_at > now() - interval '2 minutes', true);
    INSERT INTO auth.user_ends (user_id, ended_at, sessions, tokens, keys)
    VALUES (OLD.id, clock_timestamp(), v_end.sessions, v_end.tokens, v_end.keys);
    RETURN OLD;
END;
$$;
COMMENT ON FUNCTION auth.users_note_end() IS
    'Trigger: notes that a user was deleted or disabled, however that was done.';
REVOKE ALL ON FUNCTION auth.users_note_end() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION auth.users_note_end() TO natter_owner;

SET ROLE natter_owner;
CREATE OR REPLACE TRIGGER note_delete BEFORE DELETE ON auth.users
    FOR EACH ROW EXECUTE FUNCTION auth.users_note_end();
COMMENT ON TRIGGER note_delete ON auth.users IS 'What Redis has to hear of a deleted user';
CREATE OR REPLACE TRIGGER note_deleted AFTER DELETE ON auth.users
    FOR EACH ROW EXECUTE FUNCTION auth.users_note_end();
COMMENT ON TRIGGER note_deleted ON auth.users IS 'When it ended, after what the cascade took';
CREATE OR REPLACE TRIGGER note_disabled AFTER UPDATE OF is_disabled ON auth.users
    FOR EACH ROW WHEN (NEW.is_disabled AND NOT OLD.is_disabled)
    EXECUTE FUNCTION auth.users_note_end();
COMMENT ON TRIGGER note_disabled ON auth.users IS 'What Redis has to hear of a disabled user';
SET ROLE natter_auth;

-- Redis remembers for a minute that something lives: what ended longer ago than
-- two is of no interest any more. p_again: also that of which it was told, for
-- it may have forgotten. Tokens as auth.sessions_end tells them.
CREATE OR REPLACE FUNCTION auth.endings_unburied(p_again boolean, p_limit integer)
RETURNS TABLE (kind text, user_id uuid, id uuid, sessions text, tokens text,
    keys text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    (SELECT 'user', e.user_id, e.id, e.sessions, e.tokens, e.keys
       FROM auth.user_ends e
      WHERE (p_again OR e.buried_at IS NULL)
        AND e.ended_at > now() - interval '2 minutes'
      ORDER BY e.ended_at
      LIMIT least(greatest(p_limit, 1), 1000))
    UNION ALL
    (SELECT 'key', k.user_id, k.id, NULL, NULL, encode(k.hash, 'hex')
       FROM auth.api_keys k
      WHERE (p_again OR k.buried_at IS NULL)
        AND k.revoked_at > now() - interval '2 minutes'
      ORDER BY k.revoked_at
      LIMIT least(greatest(p_limit, 1), 1000))
    UNION ALL
    (SELECT 'session', s.user_id, s.id, s.id::text,
            (SELECT string_agg(r.id::text, ' ')
               FROM (SELECT t.id
                       FROM auth.refresh_tokens t
                      WHERE t.session_id = s.id
                        AND t.issued_at > now() - interval '1 hour'
                      ORDER BY t.issued_at DESC
                      LIMIT 64) r),
            NULL
       FROM auth.sessions s
      WHERE (p_again OR s.buried_at IS NULL)
        AND s.revoked_at > now() - interval '2 minutes'
      ORDER BY s.revoked_at
      LIMIT least(greatest(p_limit, 1), 1000))
    LIMIT least(greatest(p_limit, 1), 1000);
$$;
COMMENT ON FUNCTION auth.endings_unburied(boolean, integer) IS
    'Users, API keys and sessions ended in the last two minutes of which Redis may not have been told.';

-- A row that somebody holds is skipped: it is told once more, and marked then.
CREATE OR REPLACE FUNCTION auth.endings_buried(p_ids uuid[])
RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE auth.user_ends e
       SET buried_at = now()
     WHERE e.id IN (SELECT f.id FROM auth.user_ends f
                     WHERE f.id = ANY (p_ids) AND f.buried_at IS NULL
                       FOR NO KEY UPDATE SKIP LOCKED);
    UPDATE auth.api_keys k
       SET buried_at = now()
     WHERE k.id IN (SELECT f.id FROM auth.api_keys f
                     WHERE f.id = ANY (p_ids)
                       AND f.buried_at IS NULL AND f.revoked_at IS NOT NULL
                       FOR NO KEY UPDATE SKIP LOCKED);
    UPDATE auth.sessions s
       SET buried_at = now()
     WHERE s.id IN (SELECT f.id FROM auth.sessions f
                     WHERE f.id = ANY (p_ids)
                       AND f.buried_at IS NULL AND f.revoked_at IS NOT NULL
                       FOR NO KEY UPDATE SKIP LOCKED);
$$;
COMMENT ON FUNCTION auth.endings_buried(uuid[]) IS
    'Notes that Redis was told of these endings.';

-- Expiry is no ending: what was begun in time may finish.
CREATE OR REPLACE FUNCTION auth.grants_ended(p_users uuid[], p_grants uuid[])
RETURNS TABLE (n integer)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (p.n - 1)::integer
      FROM unnest(p_users, p_grants) WITH ORDINALITY AS p (user_id, grant_id, n)
     WHERE NOT EXISTS (
        SELECT
          FROM auth.users u
          LEFT JOIN auth.sessions s
            ON s.user_id = u.id AND s.id = p.grant_id
          LEFT JOIN auth.api_keys k
            ON k.user_id = u.id AND k.id = p.grant_id
         WHERE u.id = p.user_id AND NOT u.is_disabled
           AND (p.grant_id IS NULL
                OR (s.revoked_at IS NULL AND s.user_epoch = u.session_epoch)
                OR (k.id IS NOT NULL AND k.revoked_at IS NULL)));
$$;
COMMENT ON FUNCTION auth.grants_ended(uuid[], uuid[]) IS
    'Which pairs (counted from 0) of a user and their session or API key have ended: revoked, gone, or the user disabled; without either the user alone counts.';

REVOKE ALL ON FUNCTION
    auth.user_of_site(uuid, text, text, text, text),
    auth.exchange_begin(bytea, integer),
    auth.exchange_good(bytea, integer),
    auth.api_key_create(uuid, uuid, uuid, text, bytea, text, text[], interval,
        interval, integer),
    auth.api_key_check(uuid, bytea, inet),
    auth.api_key_revoke(uuid, uuid),
    auth.endings_unburied(boolean, integer),
    auth.endings_buried(uuid[]),
    auth.grants_ended(uuid[], uuid[])
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    auth.user_of_site(uuid, text, text, text, text),
    auth.exchange_begin(bytea, integer),
    auth.exchange_good(bytea, integer),
    auth.api_key_create(uuid, uuid, uuid, text, bytea, text, text[], interval,
        interval, integer),
    auth.api_key_check(uuid, bytea, inet),
    auth.api_key_revoke(uuid, uuid),
    auth.endings_unburied(boolean, integer),
    auth.endings_buried(uuid[]),
    auth.grants_ended(uuid[], uuid[])
    TO natter_app;

RESET ROLE;
