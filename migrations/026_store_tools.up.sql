-- 026: a store's own tools: HTTP services of the site that a model may call in
-- the store's conversations, each signed with a secret of its own.
--
-- The secrets stand as they are: who signs needs them. The daemon's role has no
-- right on the table; it reads them by chat.turn_tools alone, which gives them
-- for a running reply of app.user_id.

SET ROLE natter_owner;

CREATE TABLE IF NOT EXISTS chat.store_tools (
	id uuid NOT NULL CONSTRAINT store_tools_pkey PRIMARY KEY,
	store_id uuid NOT NULL CONSTRAINT store_tools_store_id_fkey
	    REFERENCES chat.stores (id) ON DELETE CASCADE,
	name text COLLATE "C" NOT NULL
	    CONSTRAINT store_tools_name CHECK (name ~ '^[a-zA-Z0-9_-]{1,64}$'),
	description text NOT NULL
	    CONSTRAINT store_tools_description CHECK (char_length(description) BETWEEN 1 AND 1024),
	parameters jsonb NOT NULL
	    CONSTRAINT store_tools_parameters CHECK (parameters ->> 'type' = 'object'
	        AND octet_length(parameters::text) <= 16384),
	url text NOT NULL
	    CONSTRAINT store_tools_url CHECK (url ~* '^https?://' AND octet_length(url) <= 2000),
	method text NOT NULL DEFAULT 'POST'
	    CONSTRAINT store_tools_method CHECK (method IN ('POST', 'PUT')),
	timeout_ms int NOT NULL DEFAULT 10000
	    CONSTRAINT store_tools_timeout_ms CHECK (timeout_ms BETWEEN 100 AND 60000),
	is_active boolean NOT NULL DEFAULT true,
	secret text NOT NULL
	    CONSTRAINT store_tools_secret CHECK (octet_length(secret) BETWEEN 32 AND 256),
	secret_before text
	    CONSTRAINT store_tools_secret_before CHECK (octet_length(secret_before) BETWEEN 32 AND 256),
	secret_before_until timestamptz,
	secret_set_at timestamptz NOT NULL DEFAULT now(),
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT store_tools_name_key UNIQUE (store_id, name),
	CONSTRAINT store_tools_before CHECK ((secret_before IS NULL) = (secret_before_until IS NULL))
);
COMMENT ON TABLE chat.store_tools IS 'Services of a site that a model may call in a store''s conversations; made by administrators';
COMMENT ON COLUMN chat.store_tools.id IS 'UUIDv7';
COMMENT ON COLUMN chat.store_tools.store_id IS 'Whose conversations have it';
COMMENT ON COLUMN chat.store_tools.name IS 'What the model calls it; unique in the store';
COMMENT ON COLUMN chat.store_tools.description IS 'What it does, for the model';
COMMENT ON COLUMN chat.store_tools.parameters IS 'JSON schema of its arguments';
COMMENT ON COLUMN chat.store_tools.url IS 'Where it is called, http or https';
COMMENT ON COLUMN chat.store_tools.method IS 'POST or PUT';
COMMENT ON COLUMN chat.store_tools.timeout_ms IS 'How long one call may take, in ms';
COMMENT ON COLUMN chat.store_tools.is_active IS 'False: kept, but no model is told of it';
COMMENT ON COLUMN chat.store_tools.secret IS 'What calls are signed with; never shown';
COMMENT ON COLUMN chat.store_tools.secret_before IS 'The secret before: calls are signed with both for a while';
COMMENT ON COLUMN chat.store_tools.secret_before_until IS 'Until when';
COMMENT ON COLUMN chat.store_tools.secret_set_at IS 'Since when the secret is what it is';
COMMENT ON COLUMN chat.store_tools.created_at IS 'When the tool was registered';
COMMENT ON COLUMN chat.store_tools.updated_at IS 'When the row last changed; set by a trigger';
SELECT natter.keep_updated_at('chat.store_tools');
GRANT SELECT, INSERT, UPDATE, DELETE ON chat.store_tools TO natter_auth;

SET ROLE natter_auth;

-- As in 018, but that a store's tool is known by its store and its name.
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
    WHEN 'store_tool' THEN
        v_object := v_row.store_id;
        v_details := jsonb_build_object('tool', v_row.name);
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

CREATE OR REPLACE FUNCTION chat.store_tool_fits(p_store uuid)
RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n bigint;
	bytes bigint;
BEGIN
	SELECT count(*), sum(octet_length(t.name) + octet_length(t.description)
	    + octet_length(t.parameters::text)) INTO n, bytes
	  FROM chat.store_tools t WHERE t.store_id = p_store;
	IF n > 32 THEN
		RAISE EXCEPTION 'a store has at most 32 tools'
		    USING ERRCODE = 'check_violation', CONSTRAINT = 'store_tools_count';
	END IF;
	IF bytes > 65536 THEN
		RAISE EXCEPTION 'what models are told of a store''s tools has at most 64 KiB'
		    USING ERRCODE = 'check_violation', CONSTRAINT = 'store_tools_size';
	END IF;
END
$$;
COMMENT ON FUNCTION chat.store_tool_fits(uuid) IS 'Refuses when a store has more tools, or larger ones, than a model can be told of. For the functions of this file, which hold the store''s row';

CREATE OR REPLACE FUNCTION chat.admin_store_tools(p_store uuid, p_id uuid, p_after text, p_limit int)
RETURNS TABLE (id uuid, store_id uuid, name text, description text, parameters jsonb,
    url text, method text, timeout_ms int, is_active boolean, secret_set_at timestamptz,
    secret_before_until timestamptz, created_at timestamptz, updated_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM auth.admin_demand();
	RETURN QUERY SELECT t.id, t.store_id, t.name, t.description, t.parameters, t.url, t.method,
	    t.timeout_ms, t.is_active, t.secret_set_at,
	    CASE WHEN t.secret_before_until > now() THEN t.secret_before_until END,
	    t.created_at, t.updated_at
	  FROM chat.store_tools t
	 WHERE t.store_id = p_store AND (p_id IS NULL OR t.id = p_id) AND t.name > p_after
	 ORDER BY t.name LIMIT least(p_limit, 1001);
END
$$;
COMMENT ON FUNCTION chat.admin_store_tools(uuid, uuid, text, int) IS 'A store''s tools after a name, or the one with this id; never their secrets';

CREATE OR REPLACE FUNCTION chat.admin_store_tool_put(p_store uuid, p_id uuid, p_secret text, p_fields jsonb)
RETURNS TABLE (id uuid, store_id uuid, name text, description text, parameters jsonb,
    url text, method text, timeout_ms int, is_active boolean, secret_set_at timestamptz,
    secret_before_until timestamptz, created_at timestamptz, updated_at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
	PERFORM auth.admin_demand();
	-- One at a time: they are counted.
	PERFORM 1 FROM chat.stores s WHERE s.id = p_store FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	IF p_secret IS NOT NULL THEN
		INSERT INTO chat.store_tools AS t (id, store_id, name, description, parameters, url,
		    method, timeout_ms, is_active, secret)
		VALUES (p_id, p_store, p_fields ->> 'name', p_fields ->> 'description',
		    p_fields -> 'parameters', p_fields ->> 'url',
		    coalesce(p_fields ->> 'method', 'POST'),
		    coalesce((p_fields ->> 'timeout_ms')::int, 10000),
		    coalesce((p_fields ->> 'is_active')::boolean, true), p_secret);
	ELSE
		UPDATE chat.store_tools t SET
		    name = coalesce(p_fields ->> 'name', t.name),
		    description = coalesce(p_fields ->> 'description', t.description),
		    parameters = coalesce(p_fields -> 'parameters', t.parameters),
		    url = coalesce(p_fields ->> 'url', t.url),
		    method = coalesce(p_fields ->> 'method', t.method),
		    timeout_ms = coalesce((p_fields ->> 'timeout_ms')::int, t.timeout_ms),
		    is_active = coalesce((p_fields ->> 'is_active')::boolean, t.is_active)
		  WHERE t.store_id = p_store AND t.id = p_id;
	END IF;
	PERFORM chat.store_tool_fits(p_store);
	RETURN QUERY SELECT * FROM chat.admin_store_tools(p_store, p_id, '', 1);
END
$$;
COMMENT ON FUNCTION chat.admin_store_tool_put(uuid, uuid, text, jsonb) IS 'Registers a tool of a store with its secret, or without one changes what the fields name; no row when there is no such store or tool';

CREATE OR REPLACE FUNCTION chat.admin_store_tool_secret(p_store uuid, p_id uuid, p_secret text, p_overlap_s int)
RETURNS TABLE (id uuid, store_id uuid, name text, description text, parameters jsonb,
    url text, method text, timeout_ms int, is_active boolean, secret_set_at timestamptz,
    secret_before_until timestamptz, created_at timestamptz, updated_at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
	PERFORM auth.admin_demand();
	UPDATE chat.store_tools t SET secret = p_secret, secret_set_at = now(),
	    secret_before = CASE WHEN p_overlap_s > 0 THEN t.secret END,
	    secret_before_until = CASE WHEN p_overlap_s > 0
	        THEN now() + make_interval(secs => least(p_overlap_s, 2592000)) END
	  WHERE t.store_id = p_store AND t.id = p_id;
	RETURN QUERY SELECT * FROM chat.admin_store_tools(p_store, p_id, '', 1);
END
$$;
COMMENT ON FUNCTION chat.admin_store_tool_secret(uuid, uuid, text, int) IS 'Gives a tool another secret; calls are signed with the one before too, for so many seconds';

CREATE OR REPLACE FUNCTION chat.admin_store_tool_delete(p_store uuid, p_id uuid)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
	PERFORM auth.admin_demand();
	DELETE FROM chat.store_tools t WHERE t.store_id = p_store AND t.id = p_id;
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION chat.admin_store_tool_delete(uuid, uuid) IS 'Removes a tool of a store; replies that run may call it still';

-- What row level security shows of stores holds for their tools.
CREATE OR REPLACE FUNCTION chat.turn_tools(p_reply uuid)
RETURNS TABLE (id uuid, name text, description text, parameters text, url text, method text,
    timeout_ms int, secret text, secret_before text, issuer text, external_id text, username text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
ROWS 4
AS $$
	SELECT t.id, t.name, t.description, t.parameters::text, t.url, t.method, t.timeout_ms,
	    t.secret, CASE WHEN t.secret_before_until > now() THEN t.secret_before END,
	    u.issuer, u.external_id, u.username
	  FROM chat.running_replies r
	  JOIN auth.users u ON u.id = r.user_id
	  JOIN chat.stores s ON s.id = r.store_id AND s.is_active
	  JOIN chat.store_tools t ON t.store_id = s.id AND t.is_active
	 WHERE r.user_id = nullif(current_setting('app.user_id', true), '')::uuid
	   AND r.message_id = p_reply
	   AND (s.is_open OR EXISTS (SELECT FROM chat.store_members m
	       WHERE m.user_id = r.user_id AND m.store_id = s.id))
	 ORDER BY t.name LIMIT 32;
$$;
COMMENT ON FUNCTION chat.turn_tools(uuid) IS 'The tools of the store where a reply of app.user_id is running, with their secrets, and who the user is to the site';

CREATE OR REPLACE FUNCTION chat.store_tools_bytes(p_store uuid)
RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(sum(octet_length(t.name) + octet_length(t.description)
	    + octet_length(t.parameters::text) + 80), 0)::bigint
	  FROM chat.store_tools t WHERE t.store_id = p_store AND t.is_active;
$$;
COMMENT ON FUNCTION chat.store_tools_bytes(uuid) IS 'How many bytes of a request to a model a store''s tools take, for what is reserved';

REVOKE ALL ON FUNCTION chat.store_tool_fits(uuid), chat.store_tools_bytes(uuid),
    chat.admin_store_tools(uuid, uuid, text, int),
    chat.admin_store_tool_put(uuid, uuid, text, jsonb),
    chat.admin_store_tool_secret(uuid, uuid, text, int),
    chat.admin_store_tool_delete(uuid, uuid),
    chat.turn_tools(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.admin_store_tools(uuid, uuid, text, int),
    chat.admin_store_tool_put(uuid, uuid, text, jsonb),
    chat.admin_store_tool_secret(uuid, uuid, text, int),
    chat.admin_store_tool_delete(uuid, uuid) TO natter_app, natter_migrate;
GRANT EXECUTE ON FUNCTION chat.turn_tools(uuid), chat.store_tools_bytes(uuid) TO natter_app;

SET ROLE natter_owner;
CREATE OR REPLACE TRIGGER audit_rows AFTER INSERT OR UPDATE OR DELETE ON chat.store_tools
    FOR EACH ROW WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit.row_changed('store_tool');
COMMENT ON TRIGGER audit_rows ON chat.store_tools IS 'Leaves a row in audit.log';

RESET ROLE;
