-- 018: what administrators set of limits, and what users are told of theirs.

SET ROLE natter_auth;

-- As in 010, but that a limit's row in the log says whose it is and which: its
-- own id says nothing once it is gone.
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

-- For the other functions of this file only: what overrides the settings for a
-- role, a user or a store. No row where there is no such user or store.
CREATE OR REPLACE FUNCTION auth.limits_listed(p_role text, p_user uuid, p_store uuid)
RETURNS TABLE (name text, own bigint, of_role bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT n.name,
	    (SELECT l.value FROM auth.limits l WHERE l.name = n.name
	        AND l.user_id IS NOT DISTINCT FROM p_user
	        AND l.store_id IS NOT DISTINCT FROM p_store
	        AND l.role IS NOT DISTINCT FROM p_role),
	    (SELECT l.value FROM auth.limits l WHERE l.name = n.name AND l.role = u.role)
	  FROM unnest(auth.limit_names()) WITH ORDINALITY n(name, i)
	  LEFT JOIN auth.users u ON u.id = p_user
	  LEFT JOIN chat.stores s ON s.id = p_store
	 WHERE num_nonnulls(p_role, u.id, s.id) = 1
	 ORDER BY n.i;
$$;
COMMENT ON FUNCTION auth.limits_listed(text, uuid, uuid) IS 'Each limit with what overrides it for a role, a user or a store (one of them), and for a user also for their role';

CREATE OR REPLACE FUNCTION auth.admin_limits(p_role text, p_user uuid, p_store uuid)
RETURNS TABLE (name text, own bigint, of_role bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM auth.admin_demand();
	IF p_user IS NOT NULL THEN
		PERFORM audit.note('limit.read', 'user', p_user, p_user);
	END IF;
	RETURN QUERY SELECT * FROM auth.limits_listed(p_role, p_user, p_store);
END
$$;
COMMENT ON FUNCTION auth.admin_limits(text, uuid, uuid) IS 'Each limit of a role, a user or a store, as auth.limits_listed has it';

CREATE OR REPLACE FUNCTION auth.admin_limits_put(p_role text, p_user uuid, p_store uuid,
    p_values jsonb)
RETURNS TABLE (name text, own bigint, of_role bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
	PERFORM auth.admin_demand();
	-- They stay until the limits are there.
	PERFORM 1 FROM auth.users u WHERE u.id = p_user FOR KEY SHARE;
	PERFORM 1 FROM chat.stores s WHERE s.id = p_store FOR KEY SHARE;
	DELETE FROM auth.limits l
	 WHERE l.user_id IS NOT DISTINCT FROM p_user
	   AND l.store_id IS NOT DISTINCT FROM p_store
	   AND l.role IS NOT DISTINCT FROM p_role
	   AND (p_values IS NULL OR p_values -> l.name = 'null');
	INSERT INTO auth.limits AS l (id, role, user_id, store_id, name, value)
	SELECT natter.uuid_v7(), p_role, p_user, p_store, v.key, v.value::bigint
	  FROM jsonb_each(coalesce(p_values, '{}')) v
	 WHERE v.value <> 'null' AND (p_role IS NOT NULL
	    OR EXISTS (SELECT FROM auth.users u WHERE u.id = p_user)
	    OR EXISTS (SELECT FROM chat.stores s WHERE s.id = p_store))
	    ON CONFLICT ON CONSTRAINT limits_subject_key DO UPDATE SET value = excluded.value;
	RETURN QUERY SELECT * FROM auth.limits_listed(p_role, p_user, p_store);
END
$$;
COMMENT ON FUNCTION auth.admin_limits_put(text, uuid, uuid, jsonb) IS 'Sets the limits that the values name and removes those that are null there, or all for NULL; lists them then, no row without such a user or store';

CREATE OR REPLACE FUNCTION auth.admin_limits_list(p_after uuid, p_limit int)
RETURNS TABLE (id uuid, role text, user_id uuid, username text, store_id uuid,
    store text, name text, value bigint, updated_at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM auth.admin_demand();
	PERFORM audit.note('limit.list', 'limit', NULL, NULL);
	RETURN QUERY SELECT l.id, l.role, l.user_id, u.username, l.store_id, s.slug,
	    l.name, l.value, l.updated_at
	    FROM auth.limits l
	    LEFT JOIN auth.users u ON u.id = l.user_id
	    LEFT JOIN chat.stores s ON s.id = l.store_id
	    WHERE l.id > p_after ORDER BY l.id LIMIT least(p_limit, 1001);
END
$$;
COMMENT ON FUNCTION auth.admin_limits_list(uuid, int) IS 'All that overrides the settings'' limits, after a row';

-- Row level security shows the daemon a user's own rows alone, and those of a
-- store are nobody's.
CREATE OR REPLACE FUNCTION auth.limits_of_stores()
RETURNS TABLE (store_id uuid, slug text, of_store bigint[])
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT s.id, s.slug, ARRAY(SELECT (SELECT l.value FROM auth.limits l
	      WHERE l.store_id = s.id AND l.name = n.name)
	      FROM unnest(auth.limit_names()) WITH ORDINALITY n(name, i) ORDER BY n.i)
	  FROM chat.stores s
	 WHERE s.is_active
	   AND s.id IN (SELECT l.store_id FROM auth.limits l WHERE l.store_id IS NOT NULL)
	   AND (s.is_open OR EXISTS (SELECT FROM chat.store_members m WHERE m.store_id = s.id
	       AND m.user_id = nullif(current_setting('app.user_id', true), '')::uuid))
	 ORDER BY s.slug LIMIT 25;
$$;
COMMENT ON FUNCTION auth.limits_of_stores() IS 'What holds for each user in the stores that app.user_id sees, of those with limits of their own; NULL where nothing does';

REVOKE ALL ON FUNCTION auth.limits_listed(text, uuid, uuid),
    auth.admin_limits(text, uuid, uuid),
    auth.admin_limits_put(text, uuid, uuid, jsonb),
    auth.admin_limits_list(uuid, int), auth.limits_of_stores() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION auth.admin_limits(text, uuid, uuid),
    auth.admin_limits_put(text, uuid, uuid, jsonb),
    auth.admin_limits_list(uuid, int) TO natter_app, natter_migrate;
GRANT EXECUTE ON FUNCTION auth.limits_of_stores() TO natter_app;

RESET ROLE;
