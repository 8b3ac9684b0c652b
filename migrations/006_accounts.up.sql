-- 006: what keeps accounts their owners': the throttle of sign-ins, proofs of a
-- password by whoever is signed in, invitations, notices, and the list of
-- sessions.
--
-- Functions as in 004: owned by natter_auth, 2 s of waiting for a row, this
-- server's clock. Locks are taken in the order auth.users, then
-- auth.login_throttle (an address before an account), then auth.sessions.

SET ROLE natter_owner;

-------------------------------------------------------------------------- tables

-- Here and not in Redis: a sign-in needs Postgres anyway, so that a throttle
-- beside the accounts costs no further round trip, counts exactly over all
-- hosts, and can neither be flushed away nor lock everybody out by dying.
CREATE TABLE IF NOT EXISTS auth.login_throttle (
	key bytea NOT NULL CONSTRAINT login_throttle_pkey PRIMARY KEY
	    CONSTRAINT login_throttle_key CHECK (octet_length(key) IN (16, 32)),
	user_id uuid CONSTRAINT login_throttle_user_id_fkey
	    REFERENCES auth.users (id) ON DELETE CASCADE,
	kind text NOT NULL
	    CONSTRAINT login_throttle_kind CHECK (kind IN ('account', 'device', 'session', 'address')),
	failures int NOT NULL DEFAULT 0
	    CONSTRAINT login_throttle_failures CHECK (failures >= 0),
	ready_at timestamptz NOT NULL DEFAULT '-infinity',
	expires_at timestamptz NOT NULL
);
COMMENT ON TABLE auth.login_throttle IS 'Who may try a password again, and when. No row: nobody failed there lately. A row of kind device also says that its user once signed in from that device';
COMMENT ON COLUMN auth.login_throttle.key IS 'The user''s id (16 bytes) for an account; otherwise 32 bytes: HMAC of a name that nobody has, of user and device, or of an address, under the daemon''s key ring, so that this table tells no names or addresses; SHA-256 of a session''s id';
COMMENT ON COLUMN auth.login_throttle.user_id IS 'Whose account, device or session; NULL for an address and for a name that nobody has';
COMMENT ON COLUMN auth.login_throttle.kind IS 'account: sign-ins from unknown devices; device: from one that its user signed in from before; session: proofs of the password within a session; address: sign-ins from there, or exchanges';
COMMENT ON COLUMN auth.login_throttle.failures IS 'Failures in a row, those being verified included; 100 stop it until an administrator lifts it';
COMMENT ON COLUMN auth.login_throttle.ready_at IS 'The next try is taken from then on; of an address: the time at which its budget is whole again';
COMMENT ON COLUMN auth.login_throttle.expires_at IS 'The row may be forgotten from then on';
CREATE INDEX IF NOT EXISTS idx_auth_login_throttle_expires
    ON auth.login_throttle (expires_at);
COMMENT ON INDEX auth.idx_auth_login_throttle_expires IS 'Forgetting: every sign-in deletes a few rows that are over';
CREATE INDEX IF NOT EXISTS idx_auth_login_throttle_user
    ON auth.login_throttle (user_id, kind, expires_at DESC) WHERE user_id IS NOT NULL;
COMMENT ON INDEX auth.idx_auth_login_throttle_user IS 'A user''s devices; lifting a stop; deleting a user';

ALTER TABLE auth.login_throttle ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.login_throttle FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS own ON auth.login_throttle;
CREATE POLICY own ON auth.login_throttle FOR ALL TO natter_app
    USING (user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid))
    WITH CHECK (user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid));
COMMENT ON POLICY own ON auth.login_throttle IS 'For the day somebody grants the daemon a right here; it has none';
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.login_throttle TO natter_auth;

CREATE TABLE IF NOT EXISTS auth.invites (
	id uuid NOT NULL CONSTRAINT invites_pkey PRIMARY KEY,
	code_hash bytea NOT NULL CONSTRAINT invites_code_hash_key UNIQUE
	    CONSTRAINT invites_code_hash CHECK (octet_length(code_hash) = 32),
	note text NOT NULL DEFAULT ''
	    CONSTRAINT invites_note CHECK (char_length(note) <= 200),
	uses int NOT NULL DEFAULT 0,
	uses_max int NOT NULL DEFAULT 1
	    CONSTRAINT invites_uses_max CHECK (uses_max BETWEEN 1 AND 100000),
	expires_at timestamptz NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT invites_uses CHECK (uses BETWEEN 0 AND uses_max)
);
COMMENT ON TABLE auth.invites IS 'Codes with which an account may be made while CHAT_REGISTRATION is invite';
COMMENT ON COLUMN auth.invites.id IS 'UUIDv7; names the invitation to administrators, and is no code';
COMMENT ON COLUMN auth.invites.code_hash IS 'SHA-256 of the code, which is random and kept nowhere';
COMMENT ON COLUMN auth.invites.note IS 'Whom it is for, as the administrator wrote it';
COMMENT ON COLUMN auth.invites.uses IS 'Accounts made with it';
COMMENT ON COLUMN auth.invites.uses_max IS 'Accounts that may be made with it';
COMMENT ON COLUMN auth.invites.expires_at IS 'No account is made with it from then on';
COMMENT ON COLUMN auth.invites.created_at IS 'When it was made';
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.invites TO natter_auth;

CREATE TABLE IF NOT EXISTS auth.notices (
	user_id uuid NOT NULL CONSTRAINT notices_user_id_fkey
	    REFERENCES auth.users (id) ON DELETE CASCADE,
	id uuid NOT NULL,
	kind text NOT NULL
	    CONSTRAINT notices_kind CHECK (kind IN ('refresh_reused', 'password_changed', 'sign_in_stopped')),
	session_id uuid,
	device_name text
	    CONSTRAINT notices_device_name CHECK (char_length(device_name) <= 200),
	ip inet,
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT notices_pkey PRIMARY KEY (user_id, id)
);
COMMENT ON TABLE auth.notices IS 'What a user should hear about their account; the newest 20 each, until dismissed';
COMMENT ON COLUMN auth.notices.user_id IS 'Who should hear it';
COMMENT ON COLUMN auth.notices.id IS 'The notice';
COMMENT ON COLUMN auth.notices.kind IS 'refresh_reused: a session was ended because its refresh token was used twice, by a thief or by a broken client; password_changed; sign_in_stopped: too many failed sign-ins from unknown devices';
COMMENT ON COLUMN auth.notices.session_id IS 'The session it is about (which may be gone), NULL for none';
COMMENT ON COLUMN auth.notices.device_name IS 'That session''s device, as it was named then';
COMMENT ON COLUMN auth.notices.ip IS 'That session''s last address';
COMMENT ON COLUMN auth.notices.created_at IS 'When it happened';
CREATE INDEX IF NOT EXISTS idx_auth_notices_user_created
    ON auth.notices (user_id, created_at DESC);
COMMENT ON INDEX auth.idx_auth_notices_user_created IS 'A user''s newest notices';

ALTER TABLE auth.notices ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.notices FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS own ON auth.notices;
CREATE POLICY own ON auth.notices FOR ALL TO natter_app
    USING (user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid))
    WITH CHECK (user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid));
COMMENT ON POLICY own ON auth.notices IS 'The daemon sees and dismisses the rows of app.user_id alone';
GRANT SELECT, DELETE ON auth.notices TO natter_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.notices TO natter_auth;

------------------------------------------------------------------------- notices

SET ROLE natter_auth;

CREATE OR REPLACE FUNCTION auth.notice_add(p_user uuid, p_kind text, p_session uuid)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO auth.notices (user_id, id, kind, session_id, device_name, ip)
    SELECT p_user, gen_random_uuid(), p_kind, s.id, s.device_name, s.ip_last
      FROM (SELECT p_session AS id) w
      LEFT JOIN auth.sessions s ON s.id = w.id AND s.user_id = p_user;
    DELETE FROM auth.notices n
     WHERE n.user_id = p_user
       AND n.id IN (SELECT o.id FROM auth.notices o
                     WHERE o.user_id = p_user
                     ORDER BY o.created_at DESC, o.id
                    OFFSET 20);
END;
$$;
COMMENT ON FUNCTION auth.notice_add(uuid, text, uuid) IS
    'Leaves a user a notice and forgets those beyond the newest 20.';

CREATE OR REPLACE FUNCTION auth.sessions_notice()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM auth.notice_add(NEW.user_id, NEW.revoke_reason, NEW.id);
    RETURN NULL;
END;
$$;
COMMENT ON FUNCTION auth.sessions_notice() IS
    'Trigger: the owner hears of a session that was ended because its token was used twice.';
REVOKE ALL ON FUNCTION auth.sessions_notice() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION auth.sessions_notice() TO natter_owner;

SET ROLE natter_owner;
CREATE OR REPLACE TRIGGER notice AFTER UPDATE OF revoked_at ON auth.sessions
    FOR EACH ROW WHEN (OLD.revoked_at IS NULL AND NEW.revoke_reason = 'refresh_reused')
    EXECUTE FUNCTION auth.sessions_notice();
COMMENT ON TRIGGER notice ON auth.sessions IS 'A notice for the owner of a session whose refresh token was used twice';
SET ROLE natter_auth;

------------------------------------------------------------------------ throttle

-- Charges one try to a bucket before it is verified, so that parallel guesses
-- cannot slip through: 0, or the seconds to wait. Five tries go at once, then
-- one after 30 s, doubling up to an hour; after 100 failures none (about four
-- days of guessing), and the owner hears of it. A refused try writes nothing.
CREATE OR REPLACE FUNCTION auth.throttle_take(p_key bytea, p_user uuid, p_kind text)
RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_failures integer;
    v_ready timestamptz;
    v_now timestamptz;
BEGIN
    SELECT t.failures, t.ready_at INTO v_failures, v_ready
      FROM auth.login_throttle t WHERE t.key = p_key;
    IF NOT FOUND OR (v_failures < 100 AND v_ready <= clock_timestamp()) THEN
        INSERT INTO auth.login_throttle AS t (key, user_id, kind, expires_at)
        VALUES (p_key, p_user, p_kind, clock_timestamp() + interval '7 days')
        ON CONFLICT (key) DO UPDATE SET key = excluded.key
        RETURNING t.failures, t.ready_at INTO v_failures, v_ready;
    END IF;
    v_now := clock_timestamp();
    IF v_failures >= 100 THEN
        RETURN 3600;
    END IF;
    IF v_ready > v_now THEN
        RETURN greatest(1, ceil(extract(epoch FROM v_ready - v_now)))::integer;
    END IF;

    v_failures := v_failures + 1;
    UPDATE auth.login_throttle t
       SET failures = v_failures,
           ready_at = v_now + CASE WHEN v_failures < 5 THEN interval '0'
               ELSE make_interval(secs => least(30 * power(2, v_failures - 5), 3600))
               END,
           expires_at = CASE
               WHEN t.kind = 'device' THEN t.expires_at
               WHEN v_failures < 100 THEN v_now + interval '7 days'
               -- A stop of a name that nobody has must look like any other.
               WHEN p_user IS NULL THEN v_now + interval '90 days'
               ELSE 'infinity' END
     WHERE t.key = p_key;
    IF v_failures = 100 AND p_user IS NOT NULL THEN
        PERFORM auth.notice_add(p_user, 'sign_in_stopped', NULL);
    END IF;
    RETURN 0;
END;
$$;
COMMENT ON FUNCTION auth.throttle_take(bytea, uuid, text) IS
    'Charges a try of a password; the seconds to wait when it may not be made.';

-- The same for an address: p_rate tries a minute, as many at once.
CREATE OR REPLACE FUNCTION auth.throttle_take_address(p_key bytea, p_rate integer)
RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_step interval := make_interval(secs => 60.0 / p_rate);
    v_room interval := make_interval(secs => 60.0 - 60.0 / p_rate);
    v_now timestamptz := clock_timestamp();
    v_ready timestamptz;
BEGIN
    INSERT INTO auth.login_throttle AS t (key, kind, ready_at, expires_at)
    VALUES (p_key, 'address', v_now + v_step, v_now + interval '5 minutes')
    ON CONFLICT (key) DO UPDATE
       SET ready_at = greatest(t.ready_at, v_now) + v_step,
           expires_at = v_now + interval '5 minutes'
     WHERE t.ready_at <= v_now + v_room;
    IF FOUND THEN
        RETURN 0;
    END IF;
    SELECT t.ready_at INTO v_ready FROM auth.login_throttle t WHERE t.key = p_key;
    RETURN greatest(1, ceil(extract(epoch FROM v_ready - v_now - v_room)))::integer;
END;
$$;
COMMENT ON FUNCTION auth.throttle_take_address(bytea, integer) IS
    'Charges a sign-in to an address; the seconds to wait when it may not be made.';

-- A charge given back; never waits beyond the address's own row.
CREATE OR REPLACE FUNCTION auth.throttle_give_address(p_key bytea, p_rate integer)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE auth.login_throttle t
       SET ready_at = t.ready_at - make_interval(secs => 60.0 / nullif(p_rate, 0))
     WHERE t.key = p_key AND p_rate > 0;
$$;
COMMENT ON FUNCTION auth.throttle_give_address(bytea, integer) IS
    'Gives an address back what auth.throttle_take_address charged it.';

CREATE OR REPLACE FUNCTION auth.throttle_forget()
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM auth.login_throttle t
     WHERE t.key IN (SELECT o.key FROM auth.login_throttle o
                      WHERE o.expires_at < clock_timestamp()
                      ORDER BY o.expires_at
                      LIMIT 8
                        FOR UPDATE SKIP LOCKED);
$$;
COMMENT ON FUNCTION auth.throttle_forget() IS
    'Deletes a few rows that are over; asked by each sign-in.';

CREATE OR REPLACE FUNCTION auth.device_remember(p_user uuid, p_device bytea)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    IF p_device IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO auth.login_throttle AS t (key, user_id, kind, expires_at)
    VALUES (p_device, p_user, 'device', clock_timestamp() + interval '400 days')
    ON CONFLICT (key) DO UPDATE
       SET failures = 0, ready_at = '-infinity', expires_at = excluded.expires_at;
    DELETE FROM auth.login_throttle t
     WHERE t.key IN (SELECT o.key FROM auth.login_throttle o
                      WHERE o.user_id = p_user AND o.kind = 'device'
                      ORDER BY o.expires_at DESC
                     OFFSET 20);
END;
$$;
COMMENT ON FUNCTION auth.device_remember(uuid, bytea) IS
    'Notes that a user signed in from a device: it has a bucket of its own from now on. The newest 20 are kept.';

-- The first step of a sign-in: charges it and gives what verifying takes, in
-- one row. A known device is charged alone: not even a neighbour behind the same
-- address makes its owner wait. p_name is the bucket of a name that nobody has, so that such a name
-- is throttled as any other. p_devices are the device's keys under each key of
-- the ring, 32 bytes each.
CREATE OR REPLACE FUNCTION auth.login_begin(p_username text, p_name bytea,
    p_devices bytea, p_address bytea, p_rate integer)
RETURNS TABLE (wait integer, bucket bytea, user_id uuid, password_hash text,
    is_disabled boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
    v_user record;
    v_kind text := 'device';
BEGIN
    PERFORM auth.throttle_forget();
    SELECT u.id, u.password_hash, u.is_disabled INTO v_user
      FROM auth.users u
     WHERE u.username = p_username;
    SELECT t.key INTO bucket
      FROM auth.login_throttle t
     WHERE t.user_id = v_user.id AND t.kind = 'device'
       AND t.expires_at > clock_timestamp()
       AND t.key IN (SELECT substr(p_devices, 1 + 32 * i, 32)
                       FROM generate_series(0, octet_length(p_devices) / 32 - 1) i);
    IF bucket IS NULL THEN
        v_kind := 'account';
        bucket := coalesce(uuid_send(v_user.id), p_name);
        IF p_address IS NOT NULL AND p_rate > 0 THEN
            wait := auth.throttle_take_address(p_address, p_rate);
        END IF;
        IF wait > 0 THEN
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;
    wait := auth.throttle_take(bucket, v_user.id, v_kind);
    IF wait = 0 THEN
        user_id := v_user.id;
        password_hash := v_user.password_hash;
        is_disabled := v_user.is_disabled;
    END IF;
    RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION auth.login_begin(text, bytea, bytea, bytea, integer) IS
    'Charges a sign-in to its known device, or else to its address and account, and gives what checking the password takes; or the seconds to wait.';

-- A charge whose try was never made (the server was busy).
CREATE OR REPLACE FUNCTION auth.throttle_undo(p_bucket bytea)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    UPDATE auth.login_throttle t
       SET failures = greatest(t.failures - 1, 0), ready_at = '-infinity'
     WHERE t.key = p_bucket;
END;
$$;
COMMENT ON FUNCTION auth.throttle_undo(bytea) IS
    'Gives a try back that was not verified.';

-- The last step of a sign-in, in the transaction that opens the session: the
-- charges are given back, the device is known from now on, the hash is renewed
-- when p_new is one. Fails when the password changed since it was verified.
CREATE OR REPLACE FUNCTION auth.login_done(p_user uuid, p_bucket bytea,
    p_address bytea, p_rate integer, p_device bytea, p_old text, p_new text)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    PERFORM 1 FROM auth.users u
      WHERE u.id = p_user AND u.password_hash = p_old
        FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the password changed while it was being verified'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'users_password_proven';
    END IF;
    IF p_new IS NOT NULL THEN
        UPDATE auth.users u SET password_hash = p_new WHERE u.id = p_user;
    END IF;
    IF NOT EXISTS (SELECT FROM auth.login_throttle t
                    WHERE t.key = p_bucket AND t.kind = 'device') THEN
        PERFORM auth.throttle_give_address(p_address, p_rate);
    END IF;
    DELETE FROM auth.login_throttle t
     WHERE t.key = p_bucket AND t.key IS DISTINCT FROM p_device;
    PERFORM auth.device_remember(p_user, p_device);
END;
$$;
COMMENT ON FUNCTION auth.login_done(uuid, bytea, bytea, integer, bytea, text, text) IS
    'Takes back what a sign-in was charged, remembers its device and renews the hash.';

----------------------------------------------------- proofs within a session

-- The first step of proving the password again. Its bucket is the session's:
-- whoever holds a stolen access token guesses no faster than anybody else, and
-- cannot lock the owner out.
CREATE OR REPLACE FUNCTION auth.proof_begin(p_user uuid, p_session uuid)
RETURNS TABLE (wait integer, bucket bytea, username text, password_hash text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    SELECT u.username, u.password_hash INTO username, password_hash
      FROM auth.users u WHERE u.id = p_user;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    bucket := sha256('session'::bytea || uuid_send(p_session));
    wait := auth.throttle_take(bucket, p_user, 'session');
    IF wait > 0 THEN
        password_hash := NULL;
    END IF;
    RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION auth.proof_begin(uuid, uuid) IS
    'Charges a proof of the password within a session and gives what verifying takes; or the seconds to wait.';

-- false: the password changed meanwhile.
CREATE OR REPLACE FUNCTION auth.proof_done(p_user uuid, p_session uuid,
    p_bucket bytea, p_old text, p_new text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    PERFORM 1 FROM auth.users u
      WHERE u.id = p_user AND u.password_hash = p_old
        FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF p_new IS NOT NULL THEN
        UPDATE auth.users u SET password_hash = p_new WHERE u.id = p_user;
    END IF;
    DELETE FROM auth.login_throttle t WHERE t.key = p_bucket;
    UPDATE auth.sessions s
       SET auth_time = clock_timestamp()
     WHERE s.user_id = p_user AND s.id = p_session;
    RETURN true;
END;
$$;
COMMENT ON FUNCTION auth.proof_done(uuid, uuid, bytea, text, text) IS
    'Notes in the session that the password was proven now, and renews the hash when p_new is one.';

-- Sets a new password: no row when the old one changed meanwhile. The other
-- sessions end, failed sign-ins are forgotten (they were guesses at another
-- password), and of the known devices only this one stays known.
CREATE OR REPLACE FUNCTION auth.password_change(p_user uuid, p_session uuid,
    p_device bytea, p_old text, p_new text)
RETURNS TABLE (gone_sessions text, gone_tokens text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    UPDATE auth.users u
       SET password_hash = p_new
     WHERE u.id = p_user AND u.password_hash = p_old;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    DELETE FROM auth.login_throttle t WHERE t.user_id = p_user;
    PERFORM auth.device_remember(p_user, p_device);
    UPDATE auth.sessions s
       SET auth_time = clock_timestamp()
     WHERE s.user_id = p_user AND s.id = p_session;
    PERFORM auth.notice_add(p_user, 'password_changed', p_session);
    RETURN QUERY SELECT * FROM auth.sessions_end(p_user, NULL, p_session,
        'password_changed');
END;
$$;
COMMENT ON FUNCTION auth.password_change(uuid, uuid, bytea, text, text) IS
    'Sets a new password in place of a proven one and ends the user''s other sessions.';

-- Was the password proven (or an exchanged token accepted) lately in it?
CREATE OR REPLACE FUNCTION auth.session_is_fresh(p_user uuid, p_session uuid)
RETURNS boolean
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((SELECT s.auth_time > clock_timestamp() - interval '15 minutes'
                       FROM auth.sessions s
                      WHERE s.user_id = p_user AND s.id = p_session
                        AND s.revoked_at IS NULL), false);
$$;
COMMENT ON FUNCTION auth.session_is_fresh(uuid, uuid) IS
    'Did the session''s owner prove who they are within 15 minutes?';

-- Ends one session: ended, missing, or reauth when it is another than this
-- one's and the proof is too old.
CREATE OR REPLACE FUNCTION auth.session_end_one(p_user uuid, p_session uuid,
    p_target uuid)
RETURNS TABLE (outcome text, gone_sessions text, gone_tokens text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM auth.sessions s
                    WHERE s.user_id = p_user AND s.id = p_target
                      AND s.revoked_at IS NULL) THEN
        outcome := 'missing';
    ELSIF p_target <> p_session AND NOT auth.session_is_fresh(p_user, p_session) THEN
        outcome := 'reauth';
    ELSE
        outcome := 'ended';
        SELECT e.gone_sessions, e.gone_tokens INTO gone_sessions, gone_tokens
          FROM auth.sessions_end(p_user, p_target, NULL, 'ended') e;
    END IF;
    RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION auth.session_end_one(uuid, uuid, uuid) IS
    'Ends one session of a user; another than the asking one only after a fresh proof of the password.';

-- Logging out: ended, or reauth. Whoever stole an access token could end the
-- owner's sessions and keep their own: others end after a fresh proof only, here
-- as above. All of them need none: that ends the asking one too, so that nobody
-- gains by it, and whoever is in distress can do it at once.
CREATE OR REPLACE FUNCTION auth.session_logout(p_user uuid, p_session uuid,
    p_scope text)
RETURNS TABLE (outcome text, gone_sessions text, gone_tokens text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    outcome := 'reauth';
    IF p_scope <> 'others' OR auth.session_is_fresh(p_user, p_session) THEN
        outcome := 'ended';
        SELECT e.gone_sessions, e.gone_tokens INTO gone_sessions, gone_tokens
          FROM auth.session_revoke(p_user, p_session, p_scope, 'logout') e;
    END IF;
    RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION auth.session_logout(uuid, uuid, text) IS
    'Ends this session, the others (after a fresh proof) or all of a user.';

-- Deletes a user with everything of theirs: deleted, or reauth.
CREATE OR REPLACE FUNCTION auth.user_delete(p_user uuid, p_session uuid)
RETURNS TABLE (outcome text, gone_sessions text, gone_tokens text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    PERFORM 1 FROM auth.users u WHERE u.id = p_user FOR UPDATE;
    outcome := 'reauth';
    IF auth.session_is_fresh(p_user, p_session) THEN
        outcome := 'deleted';
        SELECT e.gone_sessions, e.gone_tokens INTO gone_sessions, gone_tokens
          FROM auth.sessions_end(p_user, NULL, NULL, 'deleted') e;
        DELETE FROM auth.users u WHERE u.id = p_user;
    END IF;
    RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION auth.user_delete(uuid, uuid) IS
    'Deletes the asking user, after a fresh proof of the password.';

---------------------------------------------------------------------- invitations

-- Asked before anything is hashed, so that guessing codes costs us little.
CREATE OR REPLACE FUNCTION auth.invite_check(p_code_hash bytea)
RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM auth.invites i
                    WHERE i.code_hash = p_code_hash AND i.uses < i.uses_max
                      AND i.expires_at > now());
$$;
COMMENT ON FUNCTION auth.invite_check(bytea) IS
    'May an account be made with this code?';

CREATE OR REPLACE FUNCTION auth.user_register_invited(p_id uuid, p_username text,
    p_password_hash text, p_code_hash bytea)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    UPDATE auth.invites i
       SET uses = i.uses + 1
     WHERE i.code_hash = p_code_hash AND i.uses < i.uses_max
       AND i.expires_at > now();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the invitation is used up or over'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'invites_uses';
    END IF;
    INSERT INTO auth.users (id, username, password_hash)
    VALUES (p_id, p_username, p_password_hash);
END;
$$;
COMMENT ON FUNCTION auth.user_register_invited(uuid, text, text, bytea) IS
    'Makes a user and uses an invitation, both or neither.';

CREATE OR REPLACE FUNCTION auth.invite_admin_create(p_id uuid, p_code_hash bytea,
    p_uses integer, p_days integer, p_note text)
RETURNS timestamptz
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
    INSERT INTO auth.invites (id, code_hash, uses_max, expires_at, note)
    VALUES (p_id, p_code_hash, p_uses, now() + make_interval(days => p_days), p_note)
    RETURNING expires_at;
$$;
COMMENT ON FUNCTION auth.invite_admin_create(uuid, bytea, integer, integer, text) IS
    'Makes an invitation; when it ends.';

CREATE OR REPLACE FUNCTION auth.invite_admin_list()
RETURNS TABLE (id uuid, note text, uses integer, uses_max integer,
    created_at timestamptz, expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT i.id, i.note, i.uses, i.uses_max, i.created_at, i.expires_at
      FROM auth.invites i
     WHERE i.uses < i.uses_max AND i.expires_at > now()
     ORDER BY i.id DESC
     LIMIT 1000;
$$;
COMMENT ON FUNCTION auth.invite_admin_list() IS
    'The invitations that can still be used, the newest first.';

CREATE OR REPLACE FUNCTION auth.invite_admin_delete(p_id uuid)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    DELETE FROM auth.invites i WHERE i.id = p_id;
    RETURN FOUND;
END;
$$;
COMMENT ON FUNCTION auth.invite_admin_delete(uuid) IS
    'Takes an invitation back; false when there is none.';

---------------------------------------------------------------- natterctl's users

-- Lifts every stop and wait of a user. No row when there is no such user.
CREATE OR REPLACE FUNCTION auth.user_admin_unlock(p_username text)
RETURNS TABLE (failures integer, was_stopped boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
    v_user uuid;
BEGIN
    SELECT u.id INTO v_user FROM auth.users u WHERE u.username = p_username;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT coalesce(sum(t.failures), 0), coalesce(bool_or(t.failures >= 100), false)
      INTO failures, was_stopped
      FROM auth.login_throttle t WHERE t.user_id = v_user;
    DELETE FROM auth.login_throttle t
     WHERE t.user_id = v_user AND t.kind <> 'device';
    UPDATE auth.login_throttle t
       SET failures = 0, ready_at = '-infinity'
     WHERE t.user_id = v_user AND t.failures > 0;
    RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION auth.user_admin_unlock(text) IS
    'Forgets a user''s failed sign-ins; how many there were, and whether they had stopped sign-ins.';

-- No row when there is no such user.
CREATE OR REPLACE FUNCTION auth.user_admin_delete(p_username text)
RETURNS TABLE (user_id uuid, gone_sessions text, gone_tokens text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
    SELECT u.id INTO user_id
      FROM auth.users u WHERE u.username = p_username FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT e.gone_sessions, e.gone_tokens INTO gone_sessions, gone_tokens
      FROM auth.sessions_end(user_id, NULL, NULL, 'deleted') e;
    DELETE FROM auth.users u WHERE u.id = user_id;
    RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION auth.user_admin_delete(text) IS
    'Deletes a user with everything of theirs; the sessions that this ended.';

------------------------------------------------------------------------ rights

REVOKE ALL ON FUNCTION
    auth.notice_add(uuid, text, uuid),
    auth.throttle_take(bytea, uuid, text),
    auth.throttle_take_address(bytea, integer),
    auth.throttle_give_address(bytea, integer),
    auth.throttle_forget(),
    auth.device_remember(uuid, bytea),
    auth.login_begin(text, bytea, bytea, bytea, integer),
    auth.throttle_undo(bytea),
    auth.login_done(uuid, bytea, bytea, integer, bytea, text, text),
    auth.proof_begin(uuid, uuid),
    auth.proof_done(uuid, uuid, bytea, text, text),
    auth.password_change(uuid, uuid, bytea, text, text),
    auth.session_is_fresh(uuid, uuid),
    auth.session_end_one(uuid, uuid, uuid),
    auth.session_logout(uuid, uuid, text),
    auth.user_delete(uuid, uuid),
    auth.invite_check(bytea),
    auth.user_register_invited(uuid, text, text, bytea),
    auth.invite_admin_create(uuid, bytea, integer, integer, text),
    auth.invite_admin_list(),
    auth.invite_admin_delete(uuid),
    auth.user_admin_unlock(text),
    auth.user_admin_delete(text)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    auth.device_remember(uuid, bytea),
    auth.login_begin(text, bytea, bytea, bytea, integer),
    auth.throttle_undo(bytea),
    auth.login_done(uuid, bytea, bytea, integer, bytea, text, text),
    auth.proof_begin(uuid, uuid),
    auth.proof_done(uuid, uuid, bytea, text, text),
    auth.password_change(uuid, uuid, bytea, text, text),
    auth.session_end_one(uuid, uuid, uuid),
    auth.session_logout(uuid, uuid, text),
    auth.user_delete(uuid, uuid),
    auth.invite_check(bytea),
    auth.user_register_invited(uuid, text, text, bytea)
    TO natter_app;
GRANT EXECUTE ON FUNCTION
    auth.invite_admin_create(uuid, bytea, integer, integer, text),
    auth.invite_admin_list(),
    auth.invite_admin_delete(uuid),
    auth.user_admin_unlock(text),
    auth.user_admin_delete(text)
    TO natter_migrate;

RESET ROLE;
