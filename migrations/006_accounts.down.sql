-- Takes back 006_accounts.up.sql: functions, trigger, tables (failed sign-ins,
-- known devices, invitations and notices are lost).

SET ROLE natter_owner;

DROP TRIGGER IF EXISTS notice ON auth.sessions;
DROP FUNCTION IF EXISTS auth.user_admin_delete(text);
DROP FUNCTION IF EXISTS auth.user_admin_unlock(text);
DROP FUNCTION IF EXISTS auth.invite_admin_delete(uuid);
DROP FUNCTION IF EXISTS auth.invite_admin_list();
DROP FUNCTION IF EXISTS auth.invite_admin_create(uuid, bytea, integer, integer, text);
DROP FUNCTION IF EXISTS auth.user_register_invited(uuid, text, text, bytea);
DROP FUNCTION IF EXISTS auth.invite_check(bytea);
DROP FUNCTION IF EXISTS auth.user_delete(uuid, uuid);
DROP FUNCTION IF EXISTS auth.session_logout(uuid, uuid, text);
DROP FUNCTION IF EXISTS auth.session_end_one(uuid, uuid, uuid);
DROP FUNCTION IF EXISTS auth.session_is_fresh(uuid, uuid);
DROP FUNCTION IF EXISTS auth.password_change(uuid, uuid, bytea, text, text);
DROP FUNCTION IF EXISTS auth.proof_done(uuid, uuid, bytea, text, text);
DROP FUNCTION IF EXISTS auth.proof_begin(uuid, uuid);
DROP FUNCTION IF EXISTS auth.login_done(uuid, bytea, bytea, integer, bytea, text, text);
DROP FUNCTION IF EXISTS auth.throttle_undo(bytea);
DROP FUNCTION IF EXISTS auth.login_begin(text, bytea, bytea, bytea, integer);
DROP FUNCTION IF EXISTS auth.device_remember(uuid, bytea);
DROP FUNCTION IF EXISTS auth.throttle_forget();
DROP FUNCTION IF EXISTS auth.throttle_give_address(bytea, integer);
DROP FUNCTION IF EXISTS auth.throttle_take_address(bytea, integer);
DROP FUNCTION IF EXISTS auth.throttle_take(bytea, uuid, text);
DROP FUNCTION IF EXISTS auth.sessions_notice();
DROP FUNCTION IF EXISTS auth.notice_add(uuid, text, uuid);
DROP TABLE IF EXISTS auth.notices;
DROP TABLE IF EXISTS auth.invites;
DROP TABLE IF EXISTS auth.login_throttle;

RESET ROLE;
