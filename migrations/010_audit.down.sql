-- Takes back 010_audit.up.sql, with the whole log and its chain.

SET ROLE natter_owner;

DO $$
DECLARE
	t record;
BEGIN
	IF to_regproc('audit.row_changed') IS NULL THEN
		RETURN;
	END IF;
	FOR t IN SELECT g.tgname, g.tgrelid::regclass AS on_table FROM pg_trigger g
	    WHERE g.tgfoid = 'audit.row_changed()'::regprocedure AND g.tgparentid = 0
	LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.on_table);
	END LOOP;
END
$$;

-- As 004 and 006 have them.
SET ROLE natter_auth;

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

SET ROLE natter_owner;

DROP FUNCTION IF EXISTS audit.chain_extend(integer);
DROP FUNCTION IF EXISTS audit.canonical(audit.log);
DROP FUNCTION IF EXISTS audit.admin_list(uuid, text, timestamptz, timestamptz, uuid, integer);
DROP FUNCTION IF EXISTS audit.caller_is_admin();
DROP FUNCTION IF EXISTS audit.row_changed();
DROP FUNCTION IF EXISTS audit.note_export(text, uuid);
DROP FUNCTION IF EXISTS audit.note(text, text, uuid, uuid, jsonb);
DROP FUNCTION IF EXISTS audit.put(text, text, uuid, uuid, jsonb);
DROP TABLE IF EXISTS audit.chain;
DROP TABLE IF EXISTS audit.unchained;
DROP TABLE IF EXISTS audit.log;
DROP FUNCTION IF EXISTS audit.refuse();
REVOKE SELECT (id, username) ON auth.users FROM natter_jobs;

-- As 003 has them.
CREATE OR REPLACE FUNCTION chat.create_partition(p_table name, p_month timestamptz)
RETURNS int
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	part name := p_table || coalesce('_' || to_char(p_month AT TIME ZONE 'UTC', 'YYYY_MM'), '_default');
	low uuid := natter.uuid_floor(p_month);
	high uuid := natter.uuid_floor((p_month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC');
BEGIN
	IF to_regclass(format('chat.%I', part)) IS NOT NULL THEN
		RETURN 0;
	END IF;
	EXECUTE format('CREATE TABLE chat.%I (LIKE chat.%I INCLUDING ALL)', part, p_table);
	EXECUTE format('ALTER TABLE chat.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', part);
	IF p_month IS NULL THEN
		EXECUTE format('ALTER TABLE chat.%I ATTACH PARTITION chat.%I DEFAULT', p_table, part);
		EXECUTE format('COMMENT ON TABLE chat.%I IS %L', part,
		    'Rows of ' || p_table || ' whose month has no partition: to be kept empty (chat.create_partitions moves them out)');
		RETURN 1;
	END IF;

	-- Rows of this month that came before its partition lie in the default one.
	-- They move under its lock; forced row level security would hide them.
	IF to_regclass(format('chat.%I', p_table || '_default')) IS NOT NULL THEN
		EXECUTE format('ALTER TABLE chat.%I NO FORCE ROW LEVEL SECURITY', p_table || '_default');
		EXECUTE format('ALTER TABLE chat.%I NO FORCE ROW LEVEL SECURITY', part);
		EXECUTE format('WITH moved AS (DELETE FROM chat.%I WHERE id >= $1 AND id < $2 RETURNING *) '
		    'INSERT INTO chat.%I SELECT * FROM moved', p_table || '_default', part) USING low, high;
		EXECUTE format('ALTER TABLE chat.%I FORCE ROW LEVEL SECURITY', part);
		EXECUTE format('ALTER TABLE chat.%I FORCE ROW LEVEL SECURITY', p_table || '_default');
	END IF;
	EXECUTE format('ALTER TABLE chat.%I ATTACH PARTITION chat.%I FOR VALUES FROM (%L) TO (%L)',
	    p_table, part, low, high);
	EXECUTE format('COMMENT ON TABLE chat.%I IS %L', part,
	    'Rows of ' || p_table || ' whose id is of ' || to_char(p_month AT TIME ZONE 'UTC', 'YYYY-MM') || ' (UTC)');
	RETURN 1;
END
$$;
COMMENT ON FUNCTION chat.create_partition(name, timestamptz) IS 'Makes one partition unless it is there: of the month that begins at p_month, or for NULL the default one; returns how many it made. Called by chat.create_partitions';
REVOKE ALL ON FUNCTION chat.create_partition(name, timestamptz) FROM PUBLIC;

CREATE OR REPLACE FUNCTION chat.create_partitions(p_months int,
    p_since timestamptz DEFAULT now())
RETURNS int
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
	parent name;
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
		SELECT c.relname FROM pg_class c
		JOIN pg_partitioned_table p ON p.partrelid = c.oid
		WHERE c.relnamespace = 'chat'::regnamespace AND p.partstrat = 'r'
		ORDER BY c.relname
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
COMMENT ON FUNCTION chat.create_partitions(int, timestamptz) IS 'Makes the missing partitions of every monthly table, from p_since''s month to p_months ahead of this one, and the default ones; moves strays out of those; returns how many it made';
REVOKE ALL ON FUNCTION chat.create_partition(name, timestamptz) FROM PUBLIC;
DROP FUNCTION IF EXISTS chat.create_partition(regclass, timestamptz);

DROP SCHEMA IF EXISTS audit;
DROP FUNCTION IF EXISTS natter.uuid_v7(timestamptz);

RESET ROLE;
