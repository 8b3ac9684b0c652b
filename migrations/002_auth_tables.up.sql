-- Users, sessions and the lineage of refresh tokens, each under forced row
-- level security: natter_app sees the rows of app.user_id and, without one,
-- none. What must be found before an identity is known goes through functions
-- owned by natter_auth, which is why that role may do everything here.

SET ROLE natter_owner;

CREATE TABLE IF NOT EXISTS auth.users (
	id uuid NOT NULL CONSTRAINT users_pkey PRIMARY KEY,
	username text COLLATE "C" NOT NULL CONSTRAINT users_username_key UNIQUE
	    CONSTRAINT users_username CHECK (username = btrim(username)
	    AND char_length(username) BETWEEN 1 AND 64),
	display_name text
	    CONSTRAINT users_display_name CHECK (char_length(display_name) <= 200),
	password_hash text
	    CONSTRAINT users_password_hash CHECK (char_length(password_hash) BETWEEN 1 AND 255),
	role text NOT NULL DEFAULT 'user'
	    CONSTRAINT users_role CHECK (role IN ('user', 'admin')),
	issuer text COLLATE "C"
	    CONSTRAINT users_issuer CHECK (char_length(issuer) BETWEEN 1 AND 255),
	external_id text COLLATE "C"
	    CONSTRAINT users_external_id CHECK (char_length(external_id) BETWEEN 1 AND 255),
	is_disabled boolean NOT NULL DEFAULT false,
	session_epoch int NOT NULL DEFAULT 0,
	metadata jsonb NOT NULL DEFAULT '{}'
	    CONSTRAINT users_metadata CHECK (jsonb_typeof(metadata) = 'object'),
	last_login_at timestamptz,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT users_external_key UNIQUE (issuer, external_id),
	CONSTRAINT users_external CHECK ((issuer IS NULL) = (external_id IS NULL))
);
COMMENT ON TABLE auth.users IS 'People (and programs) with an account; deleting one deletes every row of theirs';
COMMENT ON COLUMN auth.users.id IS 'UUIDv7, made by the daemon; every other table''s user_id';
COMMENT ON COLUMN auth.users.username IS 'Stripped, NFC, case-folded, before it comes here; unique';
COMMENT ON COLUMN auth.users.display_name IS 'The name as its owner writes it';
COMMENT ON COLUMN auth.users.password_hash IS 'argon2id, or an imported hash that is replaced at the next login; NULL: no password login. natter_app may write it and not read it';
COMMENT ON COLUMN auth.users.role IS 'user or admin; only natterctl and admins change it';
COMMENT ON COLUMN auth.users.issuer IS 'The other system that vouches for this user; NULL for a user of our own';
COMMENT ON COLUMN auth.users.external_id IS 'The user''s id in that other system';
COMMENT ON COLUMN auth.users.is_disabled IS 'A disabled user cannot sign in and has no live session';
COMMENT ON COLUMN auth.users.session_epoch IS 'Raised to end all sessions at once: those made under a lower one are dead';
COMMENT ON COLUMN auth.users.metadata IS 'Whatever the site wants to keep with the user';
COMMENT ON COLUMN auth.users.last_login_at IS 'When a password or an exchanged token was last accepted';
COMMENT ON COLUMN auth.users.created_at IS 'When the account was made';
COMMENT ON COLUMN auth.users.updated_at IS 'When the row last changed; set by a trigger';

ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.users FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS own ON auth.users;
CREATE POLICY own ON auth.users FOR ALL TO natter_app
    USING (id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid))
    WITH CHECK (id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid));
COMMENT ON POLICY own ON auth.users IS 'The daemon sees and changes the row of app.user_id alone';

CREATE OR REPLACE TRIGGER set_updated_at BEFORE UPDATE ON auth.users
    FOR EACH ROW WHEN (NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at)
    EXECUTE FUNCTION natter.set_updated_at();
COMMENT ON TRIGGER set_updated_at ON auth.users IS 'Keeps updated_at';

-- Without the password hash, and without the right to become an admin.
GRANT SELECT (id, username, display_name, role, issuer, external_id, is_disabled,
    session_epoch, metadata, last_login_at, created_at, updated_at)
    ON auth.users TO natter_app;
GRANT INSERT (id, username, display_name, password_hash, issuer, external_id,
    metadata, last_login_at) ON auth.users TO natter_app;
GRANT UPDATE (display_name, password_hash, session_epoch, metadata, last_login_at)
    ON auth.users TO natter_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.users TO natter_auth;

CREATE TABLE IF NOT EXISTS auth.sessions (
	id uuid NOT NULL CONSTRAINT sessions_pkey PRIMARY KEY,
	user_id uuid NOT NULL CONSTRAINT sessions_user_id_fkey
	    REFERENCES auth.users (id) ON DELETE CASCADE,
	user_epoch int NOT NULL DEFAULT 0,
	rt_secret bytea NOT NULL
	    CONSTRAINT sessions_rt_secret CHECK (octet_length(rt_secret) = 32),
	rt_gen int NOT NULL DEFAULT 0
	    CONSTRAINT sessions_rt_gen CHECK (rt_gen >= 0),
	rt_rotated_at timestamptz,
	rt_grace_until timestamptz,
	rt_ctx bytea
	    CONSTRAINT sessions_rt_ctx CHECK (octet_length(rt_ctx) <= 64),
	access_jti uuid,
	access_iat timestamptz,
	is_remembered boolean NOT NULL DEFAULT false,
	created_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz NOT NULL,
	idle_expires_at timestamptz NOT NULL,
	last_activity timestamptz NOT NULL DEFAULT now(),
	revoked_at timestamptz,
	revoke_reason text
	    CONSTRAINT sessions_revoke_reason CHECK (char_length(revoke_reason) BETWEEN 1 AND 64),
	auth_time timestamptz NOT NULL DEFAULT now(),
	device_name text
	    CONSTRAINT sessions_device_name CHECK (char_length(device_name) <= 200),
	user_agent text
	    CONSTRAINT sessions_user_agent CHECK (char_length(user_agent) <= 1000),
	ip_created inet,
	ip_last inet,
	updated_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT sessions_user_id_id_key UNIQUE (user_id, id),
	CONSTRAINT sessions_expires_at CHECK (expires_at > created_at),
	CONSTRAINT sessions_revoked CHECK (revoke_reason IS NULL OR revoked_at IS NOT NULL)
);
COMMENT ON TABLE auth.sessions IS 'One row per sign-in of a user on a device; holds the state of refresh-token rotation';
COMMENT ON COLUMN auth.sessions.id IS 'The sid of access tokens, and part of the refresh token';
COMMENT ON COLUMN auth.sessions.user_id IS 'Whose session it is';
COMMENT ON COLUMN auth.sessions.user_epoch IS 'users.session_epoch at sign-in; lower than the user''s: the session is dead';
COMMENT ON COLUMN auth.sessions.rt_secret IS '32 random bytes under which the refresh token is authenticated. natter_app may write it and not read it';
COMMENT ON COLUMN auth.sessions.rt_gen IS 'Generation of the refresh token that is valid now';
COMMENT ON COLUMN auth.sessions.rt_rotated_at IS 'When the refresh token was last rotated';
COMMENT ON COLUMN auth.sessions.rt_grace_until IS 'Until when the previous generation still gets the same successor';
COMMENT ON COLUMN auth.sessions.rt_ctx IS 'SHA-256 of the device that rotated last: only it gets that grace';
COMMENT ON COLUMN auth.sessions.access_jti IS 'jti of the newest access token';
COMMENT ON COLUMN auth.sessions.access_iat IS 'iat of the newest access token';
COMMENT ON COLUMN auth.sessions.is_remembered IS 'The user asked to stay signed in on this device';
COMMENT ON COLUMN auth.sessions.created_at IS 'When the user signed in';
COMMENT ON COLUMN auth.sessions.expires_at IS 'The session''s end, however much it is used';
COMMENT ON COLUMN auth.sessions.idle_expires_at IS 'The session''s end if it is not refreshed before';
COMMENT ON COLUMN auth.sessions.last_activity IS 'When the session was last seen (not kept to the second)';
COMMENT ON COLUMN auth.sessions.revoked_at IS 'When the session was ended; NULL while it lives';
COMMENT ON COLUMN auth.sessions.revoke_reason IS 'Why it was ended: logout, refresh_reused, password_changed, …';
COMMENT ON COLUMN auth.sessions.auth_time IS 'When the password was last proved in this session';
COMMENT ON COLUMN auth.sessions.device_name IS 'The device''s name as the client gave it';
COMMENT ON COLUMN auth.sessions.user_agent IS 'User-Agent at sign-in, cut';
COMMENT ON COLUMN auth.sessions.ip_created IS 'Client address at sign-in';
COMMENT ON COLUMN auth.sessions.ip_last IS 'Client address of the last refresh';
COMMENT ON COLUMN auth.sessions.updated_at IS 'When the row last changed; set by a trigger';

CREATE INDEX IF NOT EXISTS idx_auth_sessions_user_live
    ON auth.sessions (user_id, last_activity DESC) WHERE revoked_at IS NULL;
COMMENT ON INDEX auth.idx_auth_sessions_user_live IS 'A user''s live sessions, the latest first; revoking all of them';
CREATE INDEX IF NOT EXISTS idx_auth_sessions_expires
    ON auth.sessions (expires_at);
COMMENT ON INDEX auth.idx_auth_sessions_expires IS 'Retention: sessions long over';

ALTER TABLE auth.sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.sessions FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS own ON auth.sessions;
CREATE POLICY own ON auth.sessions FOR ALL TO natter_app
    USING (user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid))
    WITH CHECK (user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid));
COMMENT ON POLICY own ON auth.sessions IS 'The daemon sees and changes the rows of app.user_id alone';

CREATE OR REPLACE TRIGGER set_updated_at BEFORE UPDATE ON auth.sessions
    FOR EACH ROW WHEN (NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at)
    EXECUTE FUNCTION natter.set_updated_at();
COMMENT ON TRIGGER set_updated_at ON auth.sessions IS 'Keeps updated_at';

-- Rotation (rt_gen and its companions) is natter_auth's alone.
GRANT SELECT (id, user_id, user_epoch, rt_gen, rt_rotated_at, rt_grace_until,
    access_jti, access_iat, is_remembered, created_at, expires_at, idle_expires_at,
    last_activity, revoked_at, revoke_reason, auth_time, device_name, user_agent,
    ip_created, ip_last, updated_at) ON auth.sessions TO natter_app;
GRANT INSERT (id, user_id, user_epoch, rt_secret, rt_gen, rt_rotated_at,
    rt_grace_until, rt_ctx, access_jti, access_iat, is_remembered, expires_at,
    idle_expires_at, last_activity, auth_time, device_name, user_agent, ip_created,
    ip_last) ON auth.sessions TO natter_app;
GRANT UPDATE (last_activity, revoked_at, revoke_reason, auth_time, device_name, ip_last)
    ON auth.sessions TO natter_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.sessions TO natter_auth;

CREATE TABLE IF NOT EXISTS auth.refresh_tokens (
	id uuid NOT NULL CONSTRAINT refresh_tokens_pkey PRIMARY KEY,
	user_id uuid NOT NULL,
	session_id uuid NOT NULL,
	parent_id uuid CONSTRAINT refresh_tokens_parent_id_fkey
	    REFERENCES auth.refresh_tokens (id) ON DELETE CASCADE,
	generation int NOT NULL
	    CONSTRAINT refresh_tokens_generation CHECK (generation >= 0),
	issued_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz NOT NULL,
	used_at timestamptz,
	CONSTRAINT refresh_tokens_session_generation_key UNIQUE (session_id, generation),
	CONSTRAINT refresh_tokens_session_fkey FOREIGN KEY (user_id, session_id)
	    REFERENCES auth.sessions (user_id, id) ON DELETE CASCADE,
	CONSTRAINT refresh_tokens_parent CHECK (parent_id <> id)
);
COMMENT ON TABLE auth.refresh_tokens IS 'The lineage of a session''s refresh tokens, for people and audits; holds nothing from which a token could be made';
COMMENT ON COLUMN auth.refresh_tokens.id IS 'UUIDv7 of the record; not part of the token';
COMMENT ON COLUMN auth.refresh_tokens.user_id IS 'Whose token it is';
COMMENT ON COLUMN auth.refresh_tokens.session_id IS 'The session it belongs to';
COMMENT ON COLUMN auth.refresh_tokens.parent_id IS 'The token that was exchanged for this one; NULL for the first';
COMMENT ON COLUMN auth.refresh_tokens.generation IS 'Counts up within the session, as in the token';
COMMENT ON COLUMN auth.refresh_tokens.issued_at IS 'When it was given out';
COMMENT ON COLUMN auth.refresh_tokens.expires_at IS 'Until when it could be used';
COMMENT ON COLUMN auth.refresh_tokens.used_at IS 'When it was exchanged; NULL while it is the newest';

CREATE INDEX IF NOT EXISTS idx_auth_refresh_tokens_parent
    ON auth.refresh_tokens (parent_id) WHERE parent_id IS NOT NULL;
COMMENT ON INDEX auth.idx_auth_refresh_tokens_parent IS 'The cascade from a token to its successors';
CREATE INDEX IF NOT EXISTS idx_auth_refresh_tokens_user
    ON auth.refresh_tokens (user_id, session_id);
COMMENT ON INDEX auth.idx_auth_refresh_tokens_user IS 'The cascade from a session, and a user''s lineage under row level security';

ALTER TABLE auth.refresh_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.refresh_tokens FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS own ON auth.refresh_tokens;
CREATE POLICY own ON auth.refresh_tokens FOR ALL TO natter_app
    USING (user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid))
    WITH CHECK (user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid));
COMMENT ON POLICY own ON auth.refresh_tokens IS 'The daemon sees and changes the rows of app.user_id alone';

GRANT SELECT, INSERT ON auth.refresh_tokens TO natter_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.refresh_tokens TO natter_auth;

RESET ROLE;
