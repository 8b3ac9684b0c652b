-- 004: what must be found before anybody is known, and what must change as one
-- step: sign-in, refresh, session look-up, revocation, natterctl's users.
--
-- Every function here belongs to natter_auth, which cannot log in and passes
-- row level security, and is SECURITY DEFINER: the daemon's role may call it
-- and can do nothing more to these tables than it says. None takes a name of a
-- table or a piece of SQL. All of them give up after 2 s of waiting for a row
-- (55P03: the caller answers 503), and all times are this server's clock,
-- read after the lock was won: a worker's clock decides nothing here.
--
-- Locks are taken in one order everywhere, auth.users before auth.sessions, so
-- that sign-in, revocation and refresh (which locks its session alone) cannot
-- wait for each other in a circle.

SET ROLE natter_auth;

----------------------------------------------------------------- building blocks

-- The second MAC of a refresh token. p_key is derived from the daemon's key
-- ring for this one session and generation; p_secret never leaves its row.
CREATE OR REPLACE FUNCTION auth.refresh_mac(p_key bytea, p_secret bytea)
RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT substr(sha256(p_key || p_secret), 1, 16);
$$;
COMMENT ON FUNCTION auth.refresh_mac(bytea, bytea) IS
    'macB of a refresh token: it takes a key of the ring and the secret of the row.';

-- Ends sessions of one user: p_only, or all but p_except, or (both NULL) all.
-- Tells which of them may still have an unexpired access token (those live an
-- hour at most), and which tokens, so that the caller can write tombstones.
CREATE OR REPLACE FUNCTION auth.sessions_end(p_user uuid, p_only uuid, p_except uuid,
    p_reason text)
RETURNS TABLE (gone_sessions text, gone_tokens text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_ids uuid[];
    v_since timestamptz := clock_timestamp() - interval '1 hour';
BEGIN
    WITH ended AS (
        UPDATE auth.sessions s
           SET revoked_at = clock_timestamp(), revoke_reason = p_reason
         WHERE s.user_id = p_user
           AND s.revoked_at IS NULL
           AND (p_only IS NULL OR s.id = p_only)
           AND (p_except IS NULL OR s.id <> p_except)
        RETURNING s.id, s.access_iat)
    SELECT array_agg(e.id) FILTER (WHERE e.access_iat > v_since)
      INTO v_ids
      FROM ended e;

    RETURN QUERY
    SELECT array_to_string(v_ids, ' '),
           (SELECT string_agg(r.id::text, ' ')
              FROM (SELECT t.id
                      FROM auth.refresh_tokens t
                     WHERE t.session_id = ANY (v_ids)
                       AND t.issued_at > v_since
                     ORDER BY t.issued_at DESC
                     LIMIT 64) r);
END;
$$;
COMMENT ON FUNCTION auth.sessions_end(uuid, uuid, uuid, text) IS
    'Ends sessions of one user; for the other functions of this schema only.';

------------------------------------------------------------------------ sign-in

CREATE OR REPLACE FUNCTION auth.user_for_login(p_username text)
RETURNS TABLE (id uuid, password_hash text, role text, is_disabled boolean,
    session_epoch integer)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT u.id, u.password_hash, u.role, u.is_disabled, u.session_epoch
      FROM auth.users u
     WHERE u.username = p_username;
$$;
COMMENT ON FUNCTION auth.user_for_login(text) IS
    'What checking a password takes; the username as it is stored.';

CREATE OR REPLACE FUNCTION auth.user_rehash(p_user uuid, p_old text, p_new text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    UPDATE auth.users u
       SET password_hash = p_new
     WHERE u.id = p_user AND u.password_hash = p_old;
    RETURN FOUND;
END;
$$;
COMMENT ON FUNCTION auth.user_rehash(uuid, text, text) IS
    'Stores the same password hashed with newer parameters, unless it changed meanwhile.';

-- Opens a session: no row when the user is gone or disabled. The user's row is
-- locked first (by the update), so that parallel sign-ins count one another.
-- p_token names both the refresh token's lineage row and the access token.
CREATE OR REPLACE FUNCTION auth.session_open(p_user uuid, p_session uuid, p_token uuid,
    p_key bytea, p_ctx bytea, p_remembered boolean, p_device text,
    p_agent text, p_ip inet, p_max integer DEFAULT 10)
RETURNS TABLE (mac bytea, epoch integer, iat bigint, username text, role text,
    user_created timestamptz, gone_sessions text, gone_tokens text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
    v_user record;
    v_now timestamptz;
    v_idle interval := CASE WHEN p_remembered THEN interval '14 days'
                            ELSE interval '12 hours' END;
    v_life interval := CASE WHEN p_remembered THEN interval '30 days'
                            ELSE interval '24 hours' END;
    -- 244 bits of the server's strong random numbers.
    v_secret bytea := uuid_send(gen_random_uuid())
                   || uuid_send(gen_random_uuid());
    v_oldest uuid;
    v_ended record;
BEGIN
    UPDATE auth.users u
       SET last_login_at = clock_timestamp()
     WHERE u.id = p_user AND NOT u.is_disabled
    RETURNING u.session_epoch AS epoch, u.username, u.role, u.created_at
      INTO v_user;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    v_now := clock_timestamp();

    -- Make room: the least recently used ones go.
    FOR v_oldest IN
        SELECT s.id
          FROM auth.sessions s
         WHERE s.user_id = p_user AND s.revoked_at IS NULL
           AND s.user_epoch = v_user.epoch
           AND s.expires_at > v_now AND s.idle_expires_at > v_now
         ORDER BY coalesce(s.last_activity, s.created_at) DESC, s.id DESC
        OFFSET p_max - 1
    LOOP
        SELECT e.gone_sessions, e.gone_tokens INTO v_ended
          FROM auth.sessions_end(p_user, v_oldest, NULL, 'max_sessions') e;
        gone_sessions := concat_ws(' ', gone_sessions, v_ended.gone_sessions);
        gone_tokens := concat_ws(' ', gone_tokens, v_ended.gone_tokens);
    END LOOP;

    INSERT INTO auth.sessions (id, user_id, user_epoch, rt_secret, rt_gen,
        rt_ctx, access_jti, access_iat, is_remembered, expires_at,
        idle_expires_at, last_activity, auth_time, device_name, user_agent,
        ip_created, ip_last)
    VALUES (p_session, p_user, v_user.epoch, v_secret, 0, p_ctx, p_token,
        date_trunc('second', v_now), p_remembered, v_now + v_life,
        v_now + v_idle, v_now, v_now, p_device, p_agent, p_ip, p_ip);
    INSERT INTO auth.refresh_tokens (id, user_id, session_id, parent_id,
        generation, issued_at, expires_at)
    VALUES (p_token, p_user, p_session, NULL, 0, v_now, v_now + v_idle);

    mac := auth.refresh_mac(p_key, v_secret);
    epoch := v_user.epoch;
    iat := floor(extract(epoch FROM v_now))::bigint;
    username := v_user.username;
    role := v_user.role;
    user_created := v_user.created_at;
    RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION auth.session_open(uuid, uuid, uuid, bytea, bytea, boolean,
    text, text, inet, integer) IS
    'Opens a session with its first tokens and ends the least recently used beyond p_max.';

------------------------------------------------------------------------ refresh

-- The refresh token's whole state machine under the session's row lock. The
-- caller has checked macA already; p_key and p_next_key are the key material
-- of the presented generation and of the one after it.
--
--   invalid  no such session, or a macB that this row never gave
--   ahead    a generation that this row has not reached: a restored backup or
--            a leaked key; the caller raises the alarm, nothing changes
--   revoked  ended before; tested before any grace, so that no grace revives
--   expired  idle or absolute
--   rotated  the current generation: the next one is given
--   grace    its parent, within the fixed window, from the same device: the
--            same successor and access token again. Writes nothing, so the
--            window cannot slide; the successor's own use ends it.
--   reused   anything older, later or from elsewhere: this session is ended
CREATE OR REPLACE FUNCTION auth.session_refresh(p_session uuid, p_gen integer,
    p_mac bytea, p_key bytea, p_next_key bytea, p_token uuid, p_ctx bytea,
    p_ip inet, p_grace interval DEFAULT interval '30 seconds')
RETURNS TABLE (outcome text, user_id uuid, mac bytea, epoch integer, jti uuid,
    iat bigint, age integer, username text, role text, user_created timestamptz,
    gone_sessions text, gone_tokens text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
    v_session record;
    v_user record;
    v_now timestamptz;
    v_until timestamptz;
    v_parent uuid;
BEGIN
    SELECT s.user_id, s.user_epoch, s.rt_secret, s.rt_gen, s.rt_grace_until,
           s.rt_ctx, s.access_jti, s.access_iat, s.is_remembered, s.expires_at,
           s.idle_expires_at, s.revoked_at
      INTO v_session
      FROM auth.sessions s
     WHERE s.id = p_session
       FOR UPDATE;
    IF NOT FOUND
       OR auth.refresh_mac(p_key, v_session.rt_secret) <> p_mac THEN
        outcome := 'invalid';
        RETURN NEXT;
        RETURN;
    END IF;
    v_now := clock_timestamp();
    user_id := v_session.user_id;

    -- A statement of its own: it sees what was committed while we waited.
    SELECT u.session_epoch, u.is_disabled, u.username, u.role, u.created_at
      INTO v_user
      FROM auth.users u
     WHERE u.id = v_session.user_id;

    IF p_gen > v_session.rt_gen THEN
        outcome := 'ahead';
    ELSIF v_session.revoked_at IS NOT NULL OR v_user.is_disabled
       OR v_user.session_epoch <> v_session.user_epoch THEN
        outcome := 'revoked';
    ELSIF v_now >= v_session.expires_at
       OR v_now >= v_session.idle_expires_at THEN
        outcome := 'expired';
    ELSIF p_gen = v_session.rt_gen THEN
        outcome := 'rotated';
        jti := p_token;
        iat := floor(extract(epoch FROM v_now))::bigint;
        v_until := least(v_session.expires_at,
            v_now + CASE WHEN v_session.is_remembered THEN interval '14 days'
                         ELSE interval '12 hours' END);
        UPDATE auth.sessions s
           SET rt_gen = p_gen + 1, rt_rotated_at = v_now,
               rt_grace_until = v_now + p_grace, rt_ctx = p_ctx,
               access_jti = p_token, access_iat = to_timestamp(iat),
               idle_expires_at = v_until, last_activity = v_now,
               ip_last = coalesce(p_ip, s.ip_last)
         WHERE s.id = p_session;
        UPDATE auth.refresh_tokens t
           SET used_at = v_now
         WHERE t.session_id = p_session AND t.generation = p_gen
        RETURNING t.id INTO v_parent;
        INSERT INTO auth.refresh_tokens (id, user_id, session_id, parent_id,
            generation, issued_at, expires_at)
        VALUES (p_token, v_session.user_id, p_session, v_parent, p_gen + 1,
            v_now, v_until);
    ELSIF p_gen = v_session.rt_gen - 1
      AND v_now <= v_session.rt_grace_until
      AND v_session.rt_ctx = p_ctx THEN
        outcome := 'grace';
        jti := v_session.access_jti;
        iat := extract(epoch FROM v_session.access_iat)::bigint;
    ELSE
        outcome := 'reused';
        SELECT e.gone_sessions, e.gone_tokens
          INTO gone_sessions, gone_tokens
          FROM auth.sessions_end(v_session.user_id, p_session, NULL,
              'refresh_reused') e;
    END IF;

    IF outcome IN ('rotated', 'grace') THEN
        mac := auth.refresh_mac(p_next_key, v_session.rt_secret);
        epoch := v_session.user_epoch;
        age := floor(extract(epoch FROM v_now))::bigint - iat;
        username := v_user.username;
        role := v_user.role;
        user_created := v_user.created_at;
    END IF;
    RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION auth.session_refresh(uuid, integer, bytea, bytea, bytea,
    uuid, bytea, inet, interval) IS
    'Rotates a refresh token, repeats the last rotation within its grace, or ends a session whose token was used twice.';

------------------------------------------------------------- look-up, revocation

-- Does the session live? No row when it does not. Notes activity at most once
-- in 5 minutes, and never waits for a row that somebody else holds.
CREATE OR REPLACE FUNCTION auth.session_check(p_user uuid, p_session uuid, p_ip inet)
RETURNS TABLE (epoch integer, role text, username text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_due boolean;
BEGIN
    SELECT s.user_epoch, u.role, u.username,
           coalesce(s.last_activity < now() - interval '5 minutes', true)
      INTO epoch, role, username, v_due
      FROM auth.sessions s
      JOIN auth.users u ON u.id = s.user_id
     WHERE s.user_id = p_user AND s.id = p_session
       AND s.revoked_at IS NULL
       AND s.expires_at > now() AND s.idle_expires_at > now()
       AND NOT u.is_disabled AND u.session_epoch = s.user_epoch;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_due AND NOT current_setting('transaction_read_only')::boolean THEN
        UPDATE auth.sessions s
           SET last_activity = now(), ip_last = coalesce(p_ip, s.ip_last)
         WHERE s.id = (SELECT f.id FROM auth.sessions f
                        WHERE f.id = p_session
                          FOR NO KEY UPDATE SKIP LOCKED);
    END IF;
    RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION auth.session_check(uuid, uuid, inet) IS
    'The epoch, role and username behind a live session.';

CREATE OR REPLACE FUNCTION auth.session_revoke(p_user uuid, p_session uuid, p_scope text,
    p_reason text)
RETURNS TABLE (gone_sessions text, gone_tokens text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    CASE p_scope
    WHEN 'this' THEN
        RETURN QUERY SELECT * FROM auth.sessions_end(p_user, p_session, NULL,
            p_reason);
    WHEN 'others' THEN
        PERFORM 1 FROM auth.users u WHERE u.id = p_user FOR NO KEY UPDATE;
        RETURN QUERY SELECT * FROM auth.sessions_end(p_user, NULL, p_session,
            p_reason);
    WHEN 'all' THEN
        UPDATE auth.users u
           SET session_epoch = u.session_epoch + 1
         WHERE u.id = p_user;
        RETURN QUERY SELECT * FROM auth.sessions_end(p_user, NULL, NULL,
            p_reason);
    END CASE;
END;
$$;
COMMENT ON FUNCTION auth.session_revoke(uuid, uuid, text, text) IS
    'Ends this session of a user, the others, or all (which also moves the epoch).';

---------------------------------------------------------------- natterctl's users

CREATE OR REPLACE FUNCTION auth.user_admin_create(p_id uuid, p_username text,
    p_password_hash text, p_role text DEFAULT 'user',
    p_display_name text DEFAULT NULL)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    INSERT INTO auth.users (id, username, password_hash, role, display_name)
    VALUES (p_id, p_username, p_password_hash, p_role, p_display_name)
    ON CONFLICT (username) DO NOTHING;
    RETURN FOUND;
END;
$$;
COMMENT ON FUNCTION auth.user_admin_create(uuid, text, text, text, text) IS
    'Makes a user; false when the username is taken.';

CREATE OR REPLACE FUNCTION auth.user_admin_list(p_after text DEFAULT '',
    p_limit integer DEFAULT 100)
RETURNS TABLE (id uuid, username text, display_name text, role text,
    is_disabled boolean, created_at timestamptz, last_login_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT u.id, u.username, u.display_name, u.role, u.is_disabled,
           u.created_at, u.last_login_at
      FROM auth.users u
     WHERE u.username > p_after
     ORDER BY u.username
     LIMIT least(greatest(p_limit, 1), 1000);
$$;
COMMENT ON FUNCTION auth.user_admin_list(text, integer) IS
    'A page of users after a username.';

-- No row when there is no such user.
CREATE OR REPLACE FUNCTION auth.user_admin_set_password(p_username text,
    p_password_hash text)
RETURNS TABLE (user_id uuid, gone_sessions text, gone_tokens text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    UPDATE auth.users u
       SET password_hash = p_password_hash, session_epoch = u.session_epoch + 1
     WHERE u.username = p_username
    RETURNING u.id INTO user_id;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT e.gone_sessions, e.gone_tokens INTO gone_sessions, gone_tokens
      FROM auth.sessions_end(user_id, NULL, NULL, 'password_changed') e;
    RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION auth.user_admin_set_password(text, text) IS
    'Sets a password and ends all sessions of the user.';

-- No row when there is no such user.
CREATE OR REPLACE FUNCTION auth.user_admin_set_disabled(p_username text,
    p_disabled boolean)
RETURNS TABLE (user_id uuid, gone_sessions text, gone_tokens text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    UPDATE auth.users u
       SET is_disabled = p_disabled,
           session_epoch = u.session_epoch + p_disabled::integer
     WHERE u.username = p_username
    RETURNING u.id INTO user_id;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF p_disabled THEN
        SELECT e.gone_sessions, e.gone_tokens INTO gone_sessions, gone_tokens
          FROM auth.sessions_end(user_id, NULL, NULL, 'disabled') e;
    END IF;
    RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION auth.user_admin_set_disabled(text, boolean) IS
    'Disables a user and ends all sessions, or enables again.';

------------------------------------------------------------------------ rights

REVOKE ALL ON FUNCTION
    auth.refresh_mac(bytea, bytea),
    auth.sessions_end(uuid, uuid, uuid, text),
    auth.user_for_login(text),
    auth.user_rehash(uuid, text, text),
    auth.session_open(uuid, uuid, uuid, bytea, bytea, boolean, text, text,
        inet, integer),
    auth.session_refresh(uuid, integer, bytea, bytea, bytea, uuid, bytea,
        inet, interval),
    auth.session_check(uuid, uuid, inet),
    auth.session_revoke(uuid, uuid, text, text),
    auth.user_admin_create(uuid, text, text, text, text),
    auth.user_admin_list(text, integer),
    auth.user_admin_set_password(text, text),
    auth.user_admin_set_disabled(text, boolean)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    auth.user_for_login(text),
    auth.user_rehash(uuid, text, text),
    auth.session_open(uuid, uuid, uuid, bytea, bytea, boolean, text, text,
        inet, integer),
    auth.session_refresh(uuid, integer, bytea, bytea, bytea, uuid, bytea,
        inet, interval),
    auth.session_check(uuid, uuid, inet),
    auth.session_revoke(uuid, uuid, text, text)
    TO natter_app;
GRANT EXECUTE ON FUNCTION
    auth.user_for_login(text),
    auth.user_admin_create(uuid, text, text, text, text),
    auth.user_admin_list(text, integer),
    auth.user_admin_set_password(text, text),
    auth.user_admin_set_disabled(text, boolean)
    TO natter_migrate;

-- Sessions are made, moved and ended by these functions and nothing else: the
-- daemon's role can neither revive a session nor write a hash over another.
SET ROLE natter_owner;
REVOKE INSERT, UPDATE ON auth.sessions FROM natter_app;
GRANT UPDATE (device_name) ON auth.sessions TO natter_app;
REVOKE INSERT, UPDATE ON auth.refresh_tokens FROM natter_app;
REVOKE UPDATE ON auth.users FROM natter_app;
GRANT UPDATE (display_name, metadata) ON auth.users TO natter_app;

RESET ROLE;
