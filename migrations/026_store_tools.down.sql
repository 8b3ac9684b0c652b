-- Takes back 026_store_tools.up.sql; the tools of stores are lost.

SET ROLE natter_owner;
DROP TABLE IF EXISTS chat.store_tools;

SET ROLE natter_auth;
DROP FUNCTION IF EXISTS chat.store_tools_bytes(uuid);
DROP FUNCTION IF EXISTS chat.turn_tools(uuid);
DROP FUNCTION IF EXISTS chat.admin_store_tool_delete(uuid, uuid);
DROP FUNCTION IF EXISTS chat.admin_store_tool_secret(uuid, uuid, text, int);
DROP FUNCTION IF EXISTS chat.admin_store_tool_put(uuid, uuid, text, jsonb);
DROP FUNCTION IF EXISTS chat.admin_store_tools(uuid, uuid, text, int);
DROP FUNCTION IF EXISTS chat.store_tool_fits(uuid);
-- As in 018.
CREATE OR REPLACE FUNCTION audit.row_changed()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_kind text := TG_ARGV[0];
    v_verb text := CASE TG_OP WHEN 'INSERT' THEN 'create' WHEN 'DELETE' THEN 'delete'
        ELSE 'update' END;
    v_row record;
    v_object uuid;
    v_user uuid;
    v_new jsonb;
    v_changed text[];
    v_stack text;
    v_details jsonb := '{}';
BEGIN
    IF TG_OP = 'DELETE' THEN
        v_row := OLD;
    ELSE
        v_row := NEW;
    END IF;
    CASE v_kind
    WHEN 'user' THEN
        v_object := v_row.id;
        v_user := v_row.id;
    WHEN 'store', 'invite' THEN
        v_object := v_row.id;
    WHEN 'store_member' THEN
        v_object := v_row.store_id;
        v_user := v_row.user_id;
    WHEN 'feedback' THEN
        v_object := v_row.message_id;
        v_user := v_row.user_id;
    WHEN 'limit' THEN
        v_object := coalesce(v_row.user_id, v_row.store_id);
        v_user := v_row.user_id;
        v_details := jsonb_strip_nulls(
            jsonb_build_object('limit', v_row.name, 'role', v_row.role));
    WHEN 'user_key' THEN
        v_user := v_row.user_id;
        v_details := jsonb_build_object('version', v_row.version);
    WHEN 'throttle' THEN
        PERFORM audit.put('user.sign_in_stop', 'user', v_row.user_id, v_row.user_id, '{}');
        RETURN NULL;
    ELSE
        v_object := v_row.id;
        v_user := v_row.user_id;
    END CASE;

    IF TG_OP = 'UPDATE' THEN
        v_new := to_jsonb(NEW);
        SELECT array_agg(o.key ORDER BY o.key) INTO v_changed
          FROM jsonb_each(to_jsonb(OLD)) o
         WHERE o.value IS DISTINCT FROM v_new -> o.key AND o.key <> 'updated_at';
        IF v_changed IS NULL THEN
            RETURN NULL; -- written anew as it was
        END IF;
        v_details := v_details || jsonb_build_object('changed', v_changed);
        IF v_kind = 'user' THEN
            GET DIAGNOSTICS v_stack = PG_CONTEXT;
            v_verb := CASE
                WHEN 'is_disabled' = ANY (v_changed) AND v_row.is_disabled THEN 'disable'
                WHEN 'is_disabled' = ANY (v_changed) THEN 'enable'
                WHEN 'role' = ANY (v_changed) THEN 'role'
                WHEN 'password_hash' = ANY (v_changed)
                 AND v_stack ~ 'function auth\.(login_done|proof_done|user_rehash)\(' THEN 'rehash'
                WHEN 'password_hash' = ANY (v_changed) THEN 'password'
                WHEN v_changed = ARRAY['session_epoch'] THEN 'sign_out'
                ELSE 'update' END;
        ELSIF v_kind = 'session' AND 'revoked_at' = ANY (v_changed) THEN
            v_verb := 'revoke';
            v_details := jsonb_build_object('reason', v_row.revoke_reason);
        ELSIF v_kind = 'session' AND 'auth_time' = ANY (v_changed) THEN
            v_verb := 'reauth';
            v_details := '{}';
        ELSIF v_kind = 'api_key' AND 'revoked_at' = ANY (v_changed) THEN
            v_verb := 'revoke';
            v_details := '{}';
        ELSIF v_kind = 'user_key' AND 'destroyed_at' = ANY (v_changed) THEN
            v_verb := 'destroy';
        ELSIF v_kind = 'message' AND 'blanked_at' = ANY (v_changed) THEN
            v_verb := 'blank';
        ELSIF v_kind = 'invite' THEN
            v_verb := 'use';
            v_details := '{}';
        END IF;
    ELSIF v_kind = 'notice' THEN
        v_verb := 'dismiss';
    END IF;
    PERFORM audit.put(v_kind || '.' || v_verb, v_kind, v_object, v_user, v_details);
    RETURN NULL;
END;
$$;

RESET ROLE;
