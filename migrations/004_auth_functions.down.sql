-- Takes back 004_auth_functions.up.sql: the functions, and the rights on the
-- tables as 002 gave them.

SET ROLE natter_owner;

DROP FUNCTION IF EXISTS auth.user_admin_set_disabled(text, boolean);
DROP FUNCTION IF EXISTS auth.user_admin_set_password(text, text);
DROP FUNCTION IF EXISTS auth.user_admin_list(text, integer);
DROP FUNCTION IF EXISTS auth.user_admin_create(uuid, text, text, text, text);
DROP FUNCTION IF EXISTS auth.session_revoke(uuid, uuid, text, text);
DROP FUNCTION IF EXISTS auth.session_check(uuid, uuid, inet);
DROP FUNCTION IF EXISTS auth.session_refresh(uuid, integer, bytea, bytea,
    bytea, uuid, bytea, inet, interval);
DROP FUNCTION IF EXISTS auth.session_open(uuid, uuid, uuid, bytea, bytea,
    boolean, text, text, inet, integer);
DROP FUNCTION IF EXISTS auth.user_rehash(uuid, text, text);
DROP FUNCTION IF EXISTS auth.user_for_login(text);
DROP FUNCTION IF EXISTS auth.sessions_end(uuid, uuid, uuid, text);
DROP FUNCTION IF EXISTS auth.refresh_mac(bytea, bytea);

GRANT UPDATE (display_name, password_hash, session_epoch, metadata,
    last_login_at) ON auth.users TO natter_app;
GRANT INSERT (id, user_id, user_epoch, rt_secret, rt_gen, rt_rotated_at,
    rt_grace_until, rt_ctx, access_jti, access_iat, is_remembered, expires_at,
    idle_expires_at, last_activity, auth_time, device_name, user_agent,
    ip_created, ip_last) ON auth.sessions TO natter_app;
GRANT UPDATE (last_activity, revoked_at, revoke_reason, auth_time, device_name,
    ip_last) ON auth.sessions TO natter_app;
GRANT INSERT ON auth.refresh_tokens TO natter_app;

RESET ROLE;
