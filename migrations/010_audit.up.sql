-- 010: who did what, when and from where. Every change to accounts,
-- credentials, sessions, stores and keys, every edit and deletion, every export
-- and every read of somebody else's data leaves a row in audit.log, in the same
-- transaction: either both are there or neither.
--
-- Triggers write the rows, so that neither the daemon nor natterctl can forget
-- one; audit.note is for what no trigger sees (reads, exports). A trigger's
-- WHEN keeps it from what a turn, a refresh or a sign-in's bookkeeping changes:
-- there it costs a comparison. What a trigger or a cascade does
-- (pg_trigger_depth() > 0) is part of what set it off and leaves no row.
--
-- Rows hold ids and names of columns, no contents, no names of users and no
-- foreign keys: they stay when their user is erased. They are inserted and
-- nothing else; owners of tables can remove a trigger, which is why the rows
-- are chained: audit.chain_extend, run by natter_jobs, gives each committed row
-- a place in a chain of SHA-256 hashes, and `natterctl audit verify` computes
-- it anew. Rows wait in audit.unchained until then, so that writers never wait
-- for one another and the order in which they commit is of no importance.

SET ROLE natter_owner;

CREATE OR REPLACE FUNCTION natter.uuid_v7(p_at timestamptz DEFAULT clock_timestamp())
RETURNS uuid
LANGUAGE plpgsql VOLATILE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	us bigint := (date_part('epoch', p_at) * 1000000)::bigint;
BEGIN
	RETURN (lpad(to_hex(us / 1000), 12, '0')
	    || '7' || lpad(to_hex(us % 1000 * 4096 / 1000), 3, '0')
	    || right(translate(gen_random_uuid()::text, '-', ''), 16))::uuid;
END
$$;
COMMENT ON FUNCTION natter.uuid_v7(timestamptz) IS 'A UUIDv7 of that time, to 250 ns: for rows that the database makes by itself';
REVOKE ALL ON FUNCTION natter.uuid_v7(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION natter.uuid_v7(timestamptz)
    TO natter_app, natter_jobs, natter_auth, natter_search;

CREATE SCHEMA IF NOT EXISTS audit;
COMMENT ON SCHEMA audit IS 'Who did what: a log that is inserted into and never changed, and the chain of hashes over it';
GRANT USAGE ON SCHEMA audit
    TO natter_app, natter_jobs, natter_auth, natter_search, natter_migrate;
GRANT CREATE ON SCHEMA audit TO natter_auth;

CREATE OR REPLACE FUNCTION audit.refuse()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE EXCEPTION '%.% is never changed: % is refused', TG_TABLE_SCHEMA,
	    TG_TABLE_NAME, TG_OP
	    USING ERRCODE = 'insufficient_privilege';
END
$$;
COMMENT ON FUNCTION audit.refuse() IS 'Trigger: refuses the statement, whoever runs it';
REVOKE ALL ON FUNCTION audit.refuse() FROM PUBLIC;

-------------------------------------------------------------------------- tables

CREATE TABLE IF NOT EXISTS audit.log (
	id uuid NOT NULL CONSTRAINT log_pkey PRIMARY KEY,
	at timestamptz NOT NULL,
	action text COLLATE "C" NOT NULL
	    CONSTRAINT log_action CHECK (action ~ '^[a-z][a-z_]{0,31}\.[a-z][a-z_]{0,31}$'),
	actor_kind text NOT NULL
	    CONSTRAINT log_actor_kind CHECK (actor_kind IN ('user', 'admin', 'natterctl', 'jobs', 'system')),
	actor_id uuid,
	operator text
	    CONSTRAINT log_operator CHECK (char_length(operator) BETWEEN 1 AND 64),
	user_id uuid,
	object_kind text COLLATE "C" NOT NULL
	    CONSTRAINT log_object_kind CHECK (object_kind ~ '^[a-z][a-z_]{0,31}$'),
	object_id uuid,
	request_id text COLLATE "C"
	    CONSTRAINT log_request_id CHECK (char_length(request_id) BETWEEN 1 AND 64),
	ip inet,
	details jsonb NOT NULL DEFAULT '{}'
	    CONSTRAINT log_details CHECK (jsonb_typeof(details) = 'object'
	    AND octet_length(details::text) <= 8192)
) PARTITION BY RANGE (id);
COMMENT ON TABLE audit.log IS 'What was done, one row each, never changed; without foreign keys, so that it outlives whom it speaks of. One partition per month of the id';
COMMENT ON COLUMN audit.log.id IS 'UUIDv7 of the same time as at; its time chooses the partition';
COMMENT ON COLUMN audit.log.at IS 'When it was done, by this server''s clock';
COMMENT ON COLUMN audit.log.action IS 'What was done: the object''s kind, a dot and a verb, such as session.revoke';
COMMENT ON COLUMN audit.log.actor_kind IS 'Who did it: user; admin (an administrator, to what is not theirs); natterctl; jobs (retention and its like); system (natterd before it knew for whom, or a superuser by hand)';
COMMENT ON COLUMN audit.log.actor_id IS 'The user who did it; NULL for natterctl, jobs and system';
COMMENT ON COLUMN audit.log.operator IS 'The account of the operating system that ran natterctl, of sudo''s caller where there is one; NULL for all else';
COMMENT ON COLUMN audit.log.user_id IS 'Whose data it was done to; NULL where it belongs to nobody (stores, invitations, lists of all users)';
COMMENT ON COLUMN audit.log.object_kind IS 'What it was done to: user, session, conversation, ...';
COMMENT ON COLUMN audit.log.object_id IS 'Which; NULL where there is no one row';
COMMENT ON COLUMN audit.log.request_id IS 'X-Request-ID of the request, as in natterd''s log; NULL outside of one';
COMMENT ON COLUMN audit.log.ip IS 'Client address of the request; NULL where it is not known';
COMMENT ON COLUMN audit.log.details IS 'Further ids, and names of columns that changed; never what stood in them';

CREATE INDEX IF NOT EXISTS idx_audit_log_user ON audit.log (user_id, id DESC);
COMMENT ON INDEX audit.idx_audit_log_user IS 'What was done to a user''s data, the newest first';
CREATE INDEX IF NOT EXISTS idx_audit_log_action ON audit.log (action, id DESC);
COMMENT ON INDEX audit.idx_audit_log_action IS 'One kind of action, the newest first';

SELECT natter.protect('audit.log');
CREATE OR REPLACE TRIGGER refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.log
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse();
COMMENT ON TRIGGER refuse ON audit.log IS 'Nobody changes the log, not even its owner';

-- What the user sees of it; who an operator is, is not theirs to know.
GRANT SELECT (id, at, action, actor_kind, actor_id, user_id, object_kind, object_id,
    request_id, ip, details) ON audit.log TO natter_app;
GRANT SELECT, INSERT ON audit.log TO natter_auth;
GRANT SELECT ON audit.log TO natter_jobs;
-- natterctl audit list --user NAME
GRANT SELECT (id, username) ON auth.users TO natter_jobs;

CREATE TABLE IF NOT EXISTS audit.unchained (
	log_id uuid NOT NULL CONSTRAINT unchained_pkey PRIMARY KEY
);
COMMENT ON TABLE audit.unchained IS 'Rows of audit.log that wait for their place in the chain; written with them';
COMMENT ON COLUMN audit.unchained.log_id IS 'The row';
CREATE OR REPLACE TRIGGER refuse BEFORE UPDATE OR TRUNCATE ON audit.unchained
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse();
COMMENT ON TRIGGER refuse ON audit.unchained IS 'A row leaves when it is chained, and in no other way';
GRANT INSERT ON audit.unchained TO natter_auth;
GRANT SELECT, DELETE ON audit.unchained TO natter_jobs;

CREATE TABLE IF NOT EXISTS audit.chain (
	seq bigint NOT NULL CONSTRAINT chain_pkey PRIMARY KEY
	    CONSTRAINT chain_seq CHECK (seq > 0),
	log_id uuid NOT NULL CONSTRAINT chain_log_id_key UNIQUE,
	hash bytea NOT NULL
	    CONSTRAINT chain_hash CHECK (octet_length(hash) = 32)
);
COMMENT ON TABLE audit.chain IS 'The chain of hashes over audit.log, one link per row, written by natter_jobs and never changed';
COMMENT ON COLUMN audit.chain.seq IS 'Place in the chain, from 1, without gaps';
COMMENT ON COLUMN audit.chain.log_id IS 'The row at that place';
COMMENT ON COLUMN audit.chain.hash IS 'SHA-256 of the link before (32 zero bytes before the first) and of audit.canonical of the row';
CREATE OR REPLACE TRIGGER refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.chain
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse();
COMMENT ON TRIGGER refuse ON audit.chain IS 'Nobody changes the chain, not even its owner';
GRANT SELECT, INSERT ON audit.chain TO natter_jobs;

---------------------------------------------------------------------- partitions

-- As in 003, of schema audit too. A partition of the log refuses for itself
-- what its table refuses, and lets its strays be moved.
CREATE OR REPLACE FUNCTION chat.create_partition(p_table regclass, p_month timestamptz)
RETURNS int
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	space name;
	parent name;
	part text;
	rest text;
	is_log boolean := p_table = 'audit.log'::regclass;
	low uuid := natter.uuid_floor(p_month);
	high uuid := natter.uuid_floor((p_month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC');
BEGIN
	SELECT c.relnamespace::regnamespace::text, c.relname INTO space, parent
	FROM pg_class c WHERE c.oid = p_table;
	rest := format('%I.%I', space, parent || '_default');
	part := CASE WHEN p_month IS NULL THEN rest ELSE
	    format('%I.%I', space, parent || to_char(p_month AT TIME ZONE 'UTC', '_YYYY_MM')) END;
	IF to_regclass(part) IS NOT NULL THEN
		RETURN 0;
	END IF;
	EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL)', part, p_table);
	EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', part);
	IF is_log THEN
		EXECUTE format('CREATE TRIGGER refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON %s'
		    ' FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse()', part);
		EXECUTE format('COMMENT ON TRIGGER refuse ON %s IS %L', part,
		    'Nobody changes the log, not even its owner');
	END IF;
	IF p_month IS NULL THEN
		EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s DEFAULT', p_table, part);
		EXECUTE format('COMMENT ON TABLE %s IS %L', part,
		    'Rows of ' || parent || ' whose month has no partition: to be kept empty (chat.create_partitions moves them out)');
		RETURN 1;
	END IF;

	-- Rows of this month that came before its partition lie in the default one.
	-- They move under its lock; forced row level security would hide them.
	IF to_regclass(rest) IS NOT NULL THEN
		EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', rest);
		EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', part);
		IF is_log THEN
			EXECUTE format('ALTER TABLE %s DISABLE TRIGGER refuse', rest);
		END IF;
		EXECUTE format('WITH moved AS (DELETE FROM %s WHERE id >= $1 AND id < $2 RETURNING *) '
		    'INSERT INTO %s SELECT * FROM moved', rest, part) USING low, high;
		IF is_log THEN
			EXECUTE format('ALTER TABLE %s ENABLE TRIGGER refuse', rest);
		END IF;
		EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', part);
		EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', rest);
	END IF;
	EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)',
	    p_table, part, low, high);
	EXECUTE format('COMMENT ON TABLE %s IS %L', part,
	    'Rows of ' || parent || ' whose id is of ' || to_char(p_month AT TIME ZONE 'UTC', 'YYYY-MM') || ' (UTC)');
	RETURN 1;
END
$$;
COMMENT ON FUNCTION chat.create_partition(regclass, timestamptz) IS 'Makes one partition unless it is there: of the month that begins at p_month, or for NULL the default one; returns how many it made. Called by chat.create_partitions';
REVOKE ALL ON FUNCTION chat.create_partition(regclass, timestamptz) FROM PUBLIC;

CREATE OR REPLACE FUNCTION chat.create_partitions(p_months int,
    p_since timestamptz DEFAULT now())
RETURNS int
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
	parent regclass;
	month timestamp;
	made int := 0;
BEGIN
	IF p_months IS NULL OR p_months NOT BETWEEN 0 AND 120
	    OR p_since IS NULL OR p_since < now() - interval '50 years' THEN
		RAISE EXCEPTION 'create_partitions takes 0 to 120 months ahead and at most 50 years back'
		    USING ERRCODE = 'invalid_parameter_value';
	END IF;
	PERFORM pg_advisory_xact_lock(5211873014926422);
	FOR parent IN
		SELECT c.oid FROM pg_class c
		JOIN pg_partitioned_table p ON p.partrelid = c.oid
		WHERE c.relnamespace IN ('chat'::regnamespace, 'audit'::regnamespace)
		AND p.partstrat = 'r'
		ORDER BY c.oid::regclass::text
	LOOP
		made := made + chat.create_partition(parent, NULL);
		FOR month IN
			-- From the day before: another host's clock may be behind ours.
			SELECT generate_series(
			    date_trunc('month', (least(p_since, now()) - interval '1 day') AT TIME ZONE 'UTC'),
			    date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => p_months),
			    interval '1 month')
		LOOP
			made := made + chat.create_partition(parent, month AT TIME ZONE 'UTC');
		END LOOP;
	END LOOP;
	RETURN made;
END
$$;
COMMENT ON FUNCTION chat.create_partitions(int, timestamptz) IS 'Makes the missing partitions of every monthly table of the schemas chat and audit, from p_since''s month to p_months ahead of this one, and the default ones; moves strays out of those; returns how many it made';
DROP FUNCTION IF EXISTS chat.create_partition(name, timestamptz);

SELECT chat.create_partitions(3);

------------------------------------------------------------------------- writing

SET ROLE natter_auth;

-- Who acts is what the session logged in as, which nobody can set, and only
-- then what it says of itself: the daemon speaks for app.user_id, natterctl's
-- connections for the operator in app.actor.
CREATE OR REPLACE FUNCTION audit.put(p_action text, p_object_kind text, p_object uuid,
    p_user uuid, p_details jsonb)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_at timestamptz := clock_timestamp();
    v_id uuid := natter.uuid_v7(v_at);
    v_actor uuid;
    v_kind text := 'system';
    v_operator text;
BEGIN
    IF session_user = 'natter_app' THEN
        v_actor := nullif(current_setting('app.user_id', true), '')::uuid;
        IF v_actor = p_user THEN
            v_kind := 'user';
        ELSIF v_actor IS NOT NULL THEN
            v_kind := coalesce((SELECT u.role FROM auth.users u WHERE u.id = v_actor), 'user');
        END IF;
    ELSE
        v_operator := left(substr(current_setting('app.actor', true), 11), 64);
        IF session_user = 'natter_jobs' THEN
            v_kind := 'jobs';
        ELSIF current_setting('app.actor', true) LIKE 'natterctl:_%' THEN
            v_kind := 'natterctl';
        END IF;
    END IF;
    INSERT INTO audit.log (id, at, action, actor_kind, actor_id, operator, user_id,
        object_kind, object_id, request_id, ip, details)
    VALUES (v_id, v_at, p_action, v_kind, v_actor, nullif(v_operator, ''), p_user,
        p_object_kind, p_object,
        left(nullif(current_setting('app.request_id', true), ''), 64),
        nullif(current_setting('app.ip', true), '')::inet,
        coalesce(p_details, '{}'));
    INSERT INTO audit.unchained (log_id) VALUES (v_id);
END;
$$;
COMMENT ON FUNCTION audit.put(text, text, uuid, uuid, jsonb) IS
    'Writes a row of the log; for the functions of this schema only.';

CREATE OR REPLACE FUNCTION audit.note(p_action text, p_object_kind text,
    p_object uuid, p_user uuid, p_details jsonb DEFAULT '{}')
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM audit.put(p_action, p_object_kind, p_object, p_user, p_details);
END;
$$;
COMMENT ON FUNCTION audit.note(text, text, uuid, uuid, jsonb) IS
    'Writes a row of the log for what no trigger sees: reads of other people''s data, exports, archives. p_user: whose data; p_details: ids and names of columns only.';

-- All that the daemon itself may note: a daemon that was taken over writes no
-- other rows by hand.
CREATE OR REPLACE FUNCTION audit.note_export(p_what text, p_object uuid)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM audit.put(p_what || '.export', p_what, p_object,
        nullif(current_setting('app.user_id', true), '')::uuid, '{}');
END;
$$;
COMMENT ON FUNCTION audit.note_export(text, uuid) IS
    'Writes a row of the log about an export of one''s own data.';

-- The trigger of all tables. Its argument is the object's kind. Told by the call
-- stack, a renewed hash of the same password is not a new password.
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
COMMENT ON FUNCTION audit.row_changed() IS
    'Trigger: writes a row of the log about the row that changed.';

------------------------------------------------------------------------- reading

CREATE OR REPLACE FUNCTION audit.caller_is_admin()
RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM auth.users u
                    WHERE u.id = nullif(current_setting('app.user_id', true), '')::uuid
                      AND u.role = 'admin' AND NOT u.is_disabled);
$$;
COMMENT ON FUNCTION audit.caller_is_admin() IS
    'Is app.user_id an administrator who is not disabled?';

-- Built anew for each call, because which index is right depends on what is
-- asked; only these fragments and numbers of parameters go into the text.
CREATE OR REPLACE FUNCTION audit.admin_list(p_user uuid, p_action text,
    p_from timestamptz, p_to timestamptz, p_before uuid, p_limit integer)
RETURNS SETOF audit.log
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT audit.caller_is_admin() THEN
        RAISE EXCEPTION 'only administrators read the log'
        USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN QUERY EXECUTE 'SELECT l.* FROM audit.log l WHERE l.id < $5'
        || CASE WHEN p_user IS NULL THEN '' ELSE ' AND l.user_id = $1' END
        || CASE WHEN p_action IS NULL THEN '' ELSE ' AND l.action = $2' END
        || CASE WHEN p_from IS NULL THEN '' ELSE ' AND l.id >= natter.uuid_floor($3)' END
        || CASE WHEN p_to IS NULL THEN '' ELSE ' AND l.id < natter.uuid_floor($4)' END
        || ' ORDER BY l.id DESC LIMIT $6'
        USING p_user, p_action, p_from, p_to,
            coalesce(p_before, 'ffffffff-ffff-ffff-ffff-ffffffffffff'),
            least(greatest(p_limit, 1), 1000);
    PERFORM audit.put('audit.read', 'audit', NULL, p_user, '{}');
END;
$$;
COMMENT ON FUNCTION audit.admin_list(uuid, text, timestamptz, timestamptz, uuid, integer) IS
    'A page of the log for an administrator, the newest first: of one user, of one action, of times from p_from to before p_to (each NULL for all), before the row p_before. Leaves a row itself.';

------------------------------------------------------------------------ the chain

-- A row as the chain sees it: the columns in this order, each as its length in
-- bytes, a colon and the text, or ~ for NULL, with commas between. The same is
-- done by natterctl (src/ctl/audit_chain.c).
CREATE OR REPLACE FUNCTION audit.canonical(p_row audit.log)
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(coalesce(octet_length(v.text) || ':' || v.text, '~'), ',' ORDER BY v.n)
      FROM unnest(ARRAY[p_row.id::text,
          (extract(epoch FROM p_row.at) * 1000000)::bigint::text, p_row.action,
          p_row.actor_kind, p_row.actor_id::text, p_row.operator, p_row.user_id::text,
          p_row.object_kind, p_row.object_id::text, p_row.request_id, p_row.ip::text,
          p_row.details::text]) WITH ORDINALITY v (text, n);
$$;
COMMENT ON FUNCTION audit.canonical(audit.log) IS
    'A row of the log as the text that is hashed, the same in every session.';

-- One at a time, under a lock, in one transaction per call: who is killed has
-- done nothing. Every row that is committed is taken; none is skipped because
-- an older one commits later, for that one takes a later place.
CREATE OR REPLACE FUNCTION audit.chain_extend(p_limit integer DEFAULT 1000)
RETURNS TABLE (added bigint, seq bigint, hash bytea)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_log_id uuid;
    v_row audit.log;
BEGIN
    PERFORM pg_advisory_xact_lock(5211873014926423);
    added := 0;
    SELECT c.seq, c.hash INTO seq, hash
      FROM audit.chain c ORDER BY c.seq DESC LIMIT 1;
    IF NOT FOUND THEN
        seq := 0;
        hash := decode(repeat('00', 32), 'hex');
    END IF;
    FOR v_log_id IN
        SELECT q.log_id FROM audit.unchained q ORDER BY q.log_id
         LIMIT least(greatest(p_limit, 1), 100000)
    LOOP
        SELECT * INTO v_row FROM audit.log l WHERE l.id = v_log_id;
        IF NOT FOUND THEN
            CONTINUE; -- somebody took it away: audit verify says so
        END IF;
        seq := seq + 1;
        hash := sha256(hash || convert_to(audit.canonical(v_row), 'UTF8'));
        INSERT INTO audit.chain (seq, log_id, hash) VALUES (seq, v_log_id, hash);
        DELETE FROM audit.unchained q WHERE q.log_id = v_log_id;
        added := added + 1;
    END LOOP;
    RETURN NEXT;
END;
$$;
COMMENT ON FUNCTION audit.chain_extend(integer) IS
    'Chains up to p_limit rows that wait for it; how many, and the last place and hash. To be called until it adds none.';

----------------------------------------------- functions that come to leave a row

-- As in 004, and leaves a row: it shows everybody's name and last sign-in.
CREATE OR REPLACE FUNCTION auth.user_admin_list(p_after text DEFAULT '',
    p_limit integer DEFAULT 100)
RETURNS TABLE (id uuid, username text, display_name text, role text,
    is_disabled boolean, created_at timestamptz, last_login_at timestamptz)
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT audit.put('user.list', 'user', NULL, NULL, '{}');
    SELECT u.id, u.username, u.display_name, u.role, u.is_disabled,
           u.created_at, u.last_login_at
      FROM auth.users u
     WHERE u.username > p_after
     ORDER BY u.username
     LIMIT least(greatest(p_limit, 1), 1000);
$$;

-- As in 006, and leaves a row, which no trigger on the throttle could: its rows
-- come and go with every sign-in.
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
    PERFORM audit.put('user.unlock', 'user', v_user, v_user, '{}');
    RETURN NEXT;
END;
$$;

-------------------------------------------------------------------------- rights

REVOKE ALL ON FUNCTION
    audit.put(text, text, uuid, uuid, jsonb),
    audit.note(text, text, uuid, uuid, jsonb), audit.note_export(text, uuid),
    audit.row_changed(),
    audit.caller_is_admin(),
    audit.admin_list(uuid, text, timestamptz, timestamptz, uuid, integer),
    audit.canonical(audit.log),
    audit.chain_extend(integer)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.note(text, text, uuid, uuid, jsonb)
    TO natter_jobs, natter_migrate, natter_owner, natter_search;
GRANT EXECUTE ON FUNCTION audit.note_export(text, uuid) TO natter_app;
GRANT EXECUTE ON FUNCTION audit.row_changed() TO natter_owner;
GRANT EXECUTE ON FUNCTION
    audit.admin_list(uuid, text, timestamptz, timestamptz, uuid, integer)
    TO natter_app;
GRANT EXECUTE ON FUNCTION audit.canonical(audit.log), audit.chain_extend(integer)
    TO natter_jobs;

------------------------------------------------------------------------ triggers

-- AFTER UPDATE OF: a statement that does not name the column does not even ask.
SET ROLE natter_owner;

CREATE OR REPLACE TRIGGER audit_rows AFTER INSERT OR DELETE ON auth.users
    FOR EACH ROW WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit.row_changed('user');
CREATE OR REPLACE TRIGGER audit_change AFTER UPDATE OF username, display_name,
    password_hash, role, issuer, external_id, is_disabled, session_epoch, metadata
    ON auth.users
    FOR EACH ROW WHEN ((OLD.username, OLD.display_name, OLD.password_hash, OLD.role,
        OLD.issuer, OLD.external_id, OLD.is_disabled, OLD.session_epoch, OLD.metadata)
        IS DISTINCT FROM
        (NEW.username, NEW.display_name, NEW.password_hash, NEW.role,
        NEW.issuer, NEW.external_id, NEW.is_disabled, NEW.session_epoch, NEW.metadata))
    EXECUTE FUNCTION audit.row_changed('user');

CREATE OR REPLACE TRIGGER audit_rows AFTER INSERT OR DELETE ON auth.sessions
    FOR EACH ROW WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit.row_changed('session');
-- That one which is over anyway is marked as ended is not news.
CREATE OR REPLACE TRIGGER audit_change AFTER UPDATE OF revoked_at, auth_time, device_name
    ON auth.sessions
    FOR EACH ROW WHEN (OLD.revoked_at IS NULL
        AND OLD.expires_at > now() AND OLD.idle_expires_at > now()
        AND (OLD.revoked_at, OLD.auth_time, OLD.device_name)
        IS DISTINCT FROM (NEW.revoked_at, NEW.auth_time, NEW.device_name))
    EXECUTE FUNCTION audit.row_changed('session');

CREATE OR REPLACE TRIGGER audit_stop AFTER UPDATE OF failures ON auth.login_throttle
    FOR EACH ROW WHEN (NEW.failures >= 100 AND OLD.failures < 100 AND NEW.user_id IS NOT NULL)
    EXECUTE FUNCTION audit.row_changed('throttle');

CREATE OR REPLACE TRIGGER audit_rows AFTER INSERT OR UPDATE OR DELETE ON auth.invites
    FOR EACH ROW WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit.row_changed('invite');

-- Dismissed by whom it was for, not pushed out by newer ones.
CREATE OR REPLACE TRIGGER audit_rows AFTER DELETE ON auth.notices
    FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND current_user <> 'natter_auth')
    EXECUTE FUNCTION audit.row_changed('notice');

CREATE OR REPLACE TRIGGER audit_rows AFTER INSERT OR DELETE ON auth.api_keys
    FOR EACH ROW WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit.row_changed('api_key');
CREATE OR REPLACE TRIGGER audit_change AFTER UPDATE OF name, hash, scopes, expires_at, revoked_at
    ON auth.api_keys
    FOR EACH ROW WHEN ((OLD.name, OLD.hash, OLD.scopes, OLD.expires_at, OLD.revoked_at)
        IS DISTINCT FROM (NEW.name, NEW.hash, NEW.scopes, NEW.expires_at, NEW.revoked_at))
    EXECUTE FUNCTION audit.row_changed('api_key');

CREATE OR REPLACE TRIGGER audit_rows AFTER INSERT OR UPDATE OR DELETE ON auth.user_keys
    FOR EACH ROW WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit.row_changed('user_key');

CREATE OR REPLACE TRIGGER audit_rows AFTER INSERT OR DELETE ON chat.stores
    FOR EACH ROW WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit.row_changed('store');
CREATE OR REPLACE TRIGGER audit_change AFTER UPDATE ON chat.stores
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*)
    EXECUTE FUNCTION audit.row_changed('store');
CREATE OR REPLACE TRIGGER audit_rows AFTER INSERT OR UPDATE OR DELETE ON chat.store_members
    FOR EACH ROW WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit.row_changed('store_member');

-- A turn moves next_position and may give a title: its messages are its record.
CREATE OR REPLACE TRIGGER audit_change AFTER UPDATE OF store_id, title, metadata, tags,
    model, system_prompt, is_active, is_archived, expires_at
    ON chat.conversations
    FOR EACH ROW WHEN (OLD.next_position = NEW.next_position
        AND (OLD.title, OLD.is_active, OLD.is_archived, OLD.store_id, OLD.model,
        OLD.system_prompt, OLD.expires_at, OLD.tags, OLD.metadata)
        IS DISTINCT FROM
        (NEW.title, NEW.is_active, NEW.is_archived, NEW.store_id, NEW.model,
        NEW.system_prompt, NEW.expires_at, NEW.tags, NEW.metadata)
        AND pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit.row_changed('conversation');
CREATE OR REPLACE TRIGGER audit_rows AFTER DELETE ON chat.conversations
    FOR EACH ROW WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit.row_changed('conversation');

-- The end of a reply is no edit. natter_jobs changes messages by the thousand:
-- retention notes each of its runs itself (audit.note).
CREATE OR REPLACE TRIGGER audit_change AFTER UPDATE OF role, content, metadata,
    used_documents, intent, entities, tool_calls, tool_responses, blanked_at, parent_id,
    position, conversation_id
    ON chat.messages
    FOR EACH ROW WHEN (OLD.status <> 'streaming' AND session_user <> 'natter_jobs'
        AND (OLD.content, OLD.role, OLD.metadata, OLD.used_documents, OLD.intent,
        OLD.entities, OLD.tool_calls, OLD.tool_responses, OLD.blanked_at, OLD.parent_id,
        OLD.position, OLD.conversation_id)
        IS DISTINCT FROM
        (NEW.content, NEW.role, NEW.metadata, NEW.used_documents, NEW.intent,
        NEW.entities, NEW.tool_calls, NEW.tool_responses, NEW.blanked_at, NEW.parent_id,
        NEW.position, NEW.conversation_id)
        AND pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit.row_changed('message');
CREATE OR REPLACE TRIGGER audit_rows AFTER DELETE ON chat.messages
    FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND session_user <> 'natter_jobs')
    EXECUTE FUNCTION audit.row_changed('message');

CREATE OR REPLACE TRIGGER audit_change AFTER UPDATE OF store_id, title, filename, mime_type,
    language, content, metadata
    ON chat.documents
    FOR EACH ROW WHEN ((OLD.store_id, OLD.title, OLD.filename, OLD.mime_type, OLD.language,
        OLD.content, OLD.metadata)
        IS DISTINCT FROM (NEW.store_id, NEW.title, NEW.filename, NEW.mime_type, NEW.language,
        NEW.content, NEW.metadata)
        AND pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit.row_changed('document');
CREATE OR REPLACE TRIGGER audit_rows AFTER DELETE ON chat.documents
    FOR EACH ROW WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit.row_changed('document');

-- What changes in a task is in chat.task_operation_logs.
CREATE OR REPLACE TRIGGER audit_rows AFTER DELETE ON chat.tasks
    FOR EACH ROW WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit.row_changed('task');

CREATE OR REPLACE TRIGGER audit_change AFTER UPDATE OF rating, reasons, comment
    ON chat.message_feedback
    FOR EACH ROW WHEN ((OLD.rating, OLD.reasons, OLD.comment)
        IS DISTINCT FROM (NEW.rating, NEW.reasons, NEW.comment))
    EXECUTE FUNCTION audit.row_changed('feedback');
CREATE OR REPLACE TRIGGER audit_rows AFTER DELETE ON chat.message_feedback
    FOR EACH ROW WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit.row_changed('feedback');

DO $$
DECLARE
	t record;
BEGIN
	FOR t IN SELECT g.tgname, g.tgrelid::regclass AS on_table FROM pg_trigger g
	    WHERE g.tgfoid = 'audit.row_changed()'::regprocedure AND g.tgparentid = 0
	LOOP
		EXECUTE format('COMMENT ON TRIGGER %I ON %s IS %L', t.tgname, t.on_table,
		    'Leaves a row in audit.log');
	END LOOP;
END
$$;

RESET ROLE;
