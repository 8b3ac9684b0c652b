-- 011: what the rows' lives need: the rights of natter_jobs, months that are
-- taken out of their tables and dropped, strays that get a month of their own,
-- and sums of events that outlive them.
--
-- A month goes in steps, each of which may be the last before a crash: it is
-- archived while its table still has it; chat.retire_partition takes it out,
-- from when on nothing but a cascade changes it; it is compared with its
-- archive; chat.drop_retired drops it. A retired table that is still there
-- says what is left to do. DETACH ... CONCURRENTLY is not to be had where there
-- is a default partition; locks are asked for half a second at most, in the
-- order in which a turn takes them, so that nobody waits longer for this.

SET ROLE natter_owner;

------------------------------------------------------------------------- rights

GRANT SELECT ON natter.schema_migrations TO natter_jobs;
GRANT SELECT (id, user_id, last_activity), DELETE ON auth.sessions TO natter_jobs;
GRANT SELECT (key, expires_at), DELETE ON auth.login_throttle TO natter_jobs;
GRANT SELECT (id, expires_at), DELETE ON auth.invites TO natter_jobs;
GRANT SELECT (id, ended_at), DELETE ON auth.user_ends TO natter_jobs;
GRANT SELECT (id, user_id, expires_at, revoked_at), DELETE ON auth.api_keys TO natter_jobs;
GRANT SELECT, INSERT, DELETE,
    UPDATE (is_archived, archived_at, message_count, next_position, leaf_id, updated_at)
    ON chat.conversations TO natter_jobs;
GRANT SELECT, INSERT, UPDATE (content, blanked_at) ON chat.messages TO natter_jobs;
GRANT SELECT, INSERT ON chat.message_feedback TO natter_jobs;
GRANT SELECT ON chat.running_replies, chat.usage_tracking, chat.task_operation_logs
    TO natter_jobs;
GRANT SELECT, DELETE ON chat.token_budgets TO natter_jobs;

------------------------------------------------------------------------ indexes

CREATE INDEX IF NOT EXISTS idx_auth_sessions_last_activity
    ON auth.sessions (last_activity);
COMMENT ON INDEX auth.idx_auth_sessions_last_activity IS 'Retention: sessions that nobody uses any more';
CREATE INDEX IF NOT EXISTS idx_auth_api_keys_ended
    ON auth.api_keys (least(expires_at, revoked_at)) WHERE expires_at IS NOT NULL OR revoked_at IS NOT NULL;
COMMENT ON INDEX auth.idx_auth_api_keys_ended IS 'Retention: keys that are long over';
CREATE INDEX IF NOT EXISTS idx_auth_invites_expires
    ON auth.invites (expires_at);
COMMENT ON INDEX auth.idx_auth_invites_expires IS 'Retention: invitations that are over';
CREATE INDEX IF NOT EXISTS idx_chat_token_budgets_start
    ON chat.token_budgets (starts_on);
COMMENT ON INDEX chat.idx_chat_token_budgets_start IS 'Retention: budgets of long ago';

------------------------------------------------------------------------- months

CREATE OR REPLACE FUNCTION natter.uuid_time(p_id uuid)
RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN to_timestamp(('x' || lpad(left(replace(p_id::text, '-', ''), 12), 16, '0'))::bit(64)::bigint / 1000.0);
COMMENT ON FUNCTION natter.uuid_time(uuid) IS 'The time that a UUIDv7 begins with';
REVOKE ALL ON FUNCTION natter.uuid_time(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION natter.uuid_time(uuid) TO natter_jobs, natter_auth;

CREATE OR REPLACE FUNCTION chat.months()
RETURNS TABLE (parent name, month timestamptz, part name, is_retired boolean)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT p.relname, CASE WHEN c.relname ~ '_[0-9]{4}_(0[1-9]|1[0-2])$' THEN
	        make_timestamptz(left(right(c.relname, 7), 4)::int, right(c.relname, 2)::int, 1, 0, 0, 0, 'UTC') END,
	    c.relname, NOT c.relispartition
	FROM pg_class c
	JOIN pg_class p ON p.relnamespace = c.relnamespace AND p.relkind = 'p'
	    AND p.relname = left(c.relname, -8)
	WHERE c.relnamespace = 'chat'::regnamespace AND c.relkind = 'r'
	AND c.relname ~ '^[a-z_]+_[0-9]{4}_(0[1-9]|1[0-2])$'
	AND c.relowner = p.relowner
	AND (NOT c.relispartition OR EXISTS (SELECT FROM pg_inherits i
	    WHERE i.inhrelid = c.oid AND i.inhparent = p.oid))
	ORDER BY 1, 2
$$;
COMMENT ON FUNCTION chat.months() IS 'The months of all monthly tables, those retired and not yet dropped included';
REVOKE ALL ON FUNCTION chat.months() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.months() TO natter_jobs, natter_migrate;

CREATE OR REPLACE FUNCTION chat.lock_for_month(p_part regclass, p_mode text)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	referenced regclass;
BEGIN
	FOR referenced IN
		SELECT DISTINCT k.confrelid::regclass FROM pg_constraint k
		WHERE k.conrelid = p_part AND k.contype = 'f' ORDER BY 1
	LOOP
		EXECUTE format('LOCK TABLE %s IN %s MODE', referenced, p_mode);
	END LOOP;
END
$$;
COMMENT ON FUNCTION chat.lock_for_month(regclass, text) IS 'Locks what a month refers to, before the month itself, as turns do. Called by chat.retire_partition and chat.drop_retired';
REVOKE ALL ON FUNCTION chat.lock_for_month(regclass, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION chat.retire_partition(p_part name)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '500ms'
AS $$
DECLARE
	m record;
BEGIN
	SELECT * INTO m FROM chat.months() x WHERE x.part = p_part AND NOT x.is_retired;
	IF NOT FOUND THEN
		RAISE EXCEPTION '% is not a month of a monthly table', p_part
		    USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF (m.month AT TIME ZONE 'UTC' + interval '1 month 1 day') AT TIME ZONE 'UTC' > now() THEN
		RAISE EXCEPTION '% is not over', p_part
		    USING ERRCODE = 'invalid_parameter_value';
	END IF;
	PERFORM chat.lock_for_month(format('chat.%I', p_part)::regclass, 'SHARE ROW EXCLUSIVE');
	EXECUTE format('LOCK TABLE chat.%I IN ACCESS EXCLUSIVE MODE', m.parent);
	EXECUTE format('ALTER TABLE chat.%I DETACH PARTITION chat.%I', m.parent, p_part);
	PERFORM natter.protect(format('chat.%I', p_part)::regclass);
	EXECUTE format('GRANT SELECT ON chat.%I TO natter_jobs', p_part);
	EXECUTE format('COMMENT ON TABLE chat.%I IS %L', p_part,
	    'A month taken out of ' || m.parent || ', to be dropped by natterctl retention run');
END
$$;
COMMENT ON FUNCTION chat.retire_partition(name) IS 'Takes a month that is over out of its table; it stays as a table of its own, which nobody but natter_jobs reads, until chat.drop_retired. 55P03: the tables are busy, try again';
REVOKE ALL ON FUNCTION chat.retire_partition(name) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.retire_partition(name) TO natter_jobs;

CREATE OR REPLACE FUNCTION chat.drop_retired(p_part name)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '500ms'
AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM chat.months() x WHERE x.part = p_part AND x.is_retired) THEN
		RAISE EXCEPTION '% is not a retired month', p_part
		    USING ERRCODE = 'invalid_parameter_value';
	END IF;
	PERFORM chat.lock_for_month(format('chat.%I', p_part)::regclass, 'ACCESS EXCLUSIVE');
	EXECUTE format('DROP TABLE chat.%I', p_part);
END
$$;
COMMENT ON FUNCTION chat.drop_retired(name) IS 'Drops a month that chat.retire_partition took out. 55P03: the tables are busy, try again';
REVOKE ALL ON FUNCTION chat.drop_retired(name) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.drop_retired(name) TO natter_jobs;

CREATE OR REPLACE FUNCTION chat.create_month(p_parent name, p_month timestamptz)
RETURNS int
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
	begins timestamptz := date_trunc('month', p_month AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
BEGIN
	IF begins IS NULL OR begins NOT BETWEEN now() - interval '50 years' AND now() + interval '10 years'
	    OR NOT EXISTS (SELECT FROM pg_class c
	        JOIN pg_partitioned_table p ON p.partrelid = c.oid
	        WHERE c.relnamespace = 'chat'::regnamespace AND c.relname = p_parent
	        AND p.partstrat = 'r') THEN
		RAISE EXCEPTION 'no month of a monthly table' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	PERFORM pg_advisory_xact_lock(5211873014926422);
	IF EXISTS (SELECT FROM chat.months() x WHERE x.parent = p_parent
	    AND x.month = begins AND x.is_retired) THEN
		RAISE EXCEPTION '% of % is being taken out', to_char(begins AT TIME ZONE 'UTC', 'YYYY-MM'), p_parent
		    USING ERRCODE = 'object_in_use', HINT = 'Let natterctl retention run end first.';
	END IF;
	RETURN chat.create_partition(format('chat.%I', p_parent)::regclass, begins);
END
$$;
COMMENT ON FUNCTION chat.create_month(name, timestamptz) IS 'Makes one month of a monthly table unless it is there, as natterctl archive restore needs it; returns how many it made';
REVOKE ALL ON FUNCTION chat.create_month(name, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.create_month(name, timestamptz) TO natter_jobs;

-- The default partition is looked at under its lock: forced row level security
-- would hide its rows from this function's owner.
CREATE OR REPLACE FUNCTION chat.move_strays(p_parent name)
RETURNS TABLE (moved bigint, left_over bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
	strays name := p_parent || '_default';
	month timestamptz;
	months timestamptz[];
	before bigint;
BEGIN
	IF to_regclass(format('chat.%I', strays)) IS NULL OR NOT EXISTS (SELECT FROM pg_partitioned_table p
	    WHERE p.partrelid = to_regclass(format('chat.%I', p_parent))) THEN
		RAISE EXCEPTION '% has no default partition', p_parent
		    USING ERRCODE = 'invalid_parameter_value';
	END IF;
	EXECUTE format('ALTER TABLE chat.%I NO FORCE ROW LEVEL SECURITY', strays);
	EXECUTE format('SELECT count(*), array_agg(DISTINCT date_trunc(''month'', natter.uuid_time(id) AT TIME ZONE ''UTC'') AT TIME ZONE ''UTC'')'
	    ' FILTER (WHERE id >= natter.uuid_floor(now() - interval ''50 years'')'
	    ' AND id < natter.uuid_floor(now() + interval ''3 months'')) FROM chat.%I', strays)
	    INTO before, months;
	FOREACH month IN ARRAY coalesce(months, '{}') LOOP
		PERFORM chat.create_month(p_parent, month);
	END LOOP;
	EXECUTE format('ALTER TABLE chat.%I NO FORCE ROW LEVEL SECURITY', strays);
	EXECUTE format('SELECT count(*) FROM chat.%I', strays) INTO left_over;
	EXECUTE format('ALTER TABLE chat.%I FORCE ROW LEVEL SECURITY', strays);
	moved := before - left_over;
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION chat.move_strays(name) IS 'Gives the rows of a default partition the months that they lack; says how many it moved and how many cannot be (their ids carry no plausible time)';
REVOKE ALL ON FUNCTION chat.move_strays(name) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.move_strays(name) TO natter_jobs;

-------------------------------------------------------------------- daily sums

CREATE TABLE IF NOT EXISTS chat.rollup_days (
	source text NOT NULL
	    CONSTRAINT rollup_days_source CHECK (source IN ('analytics', 'usage_tracking')),
	day date NOT NULL,
	is_closed boolean NOT NULL DEFAULT false,
	updated_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT rollup_days_pkey PRIMARY KEY (source, day)
);
COMMENT ON TABLE chat.rollup_days IS 'The days whose rows are summed up in chat.analytics_daily; belongs to no user';
COMMENT ON COLUMN chat.rollup_days.source IS 'Whose rows: analytics or usage_tracking';
COMMENT ON COLUMN chat.rollup_days.day IS 'The day, UTC, of the rows'' ids';
COMMENT ON COLUMN chat.rollup_days.is_closed IS 'The rows are dropped: what comes late is added to the sums, which cannot be made anew';
COMMENT ON COLUMN chat.rollup_days.updated_at IS 'When the sums were last made; set by a trigger';
SELECT natter.keep_updated_at('chat.rollup_days');
GRANT SELECT, INSERT, UPDATE ON chat.rollup_days TO natter_jobs;

-- A day is that of the id: it is the day of the event however late its row
-- comes, and a month's rows are of that month's days alone. The sums of a day
-- are made anew each time, so that late rows count once; those of a closed day
-- cannot be, and the rows that come after are added when their month is dropped.
CREATE OR REPLACE FUNCTION chat.roll_up(p_source text, p_part regclass,
    p_from timestamptz, p_to timestamptz, p_closes boolean)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	rows_sql text;
	n bigint;
BEGIN
	rows_sql := CASE p_source
	    WHEN 'analytics' THEN
	        'SELECT user_id, (natter.uuid_time(id) AT TIME ZONE ''UTC'')::date AS day,'
	        ' category, name, store_id, value FROM %1$s'
	        ' WHERE id >= natter.uuid_floor($1) AND id < natter.uuid_floor($2)'
	    WHEN 'usage_tracking' THEN
	        'SELECT u.user_id, (natter.uuid_time(u.id) AT TIME ZONE ''UTC'')::date AS day,'
	        ' ''usage_tracking'' AS category, v.name, NULL::uuid AS store_id, v.value'
	        ' FROM %1$s u CROSS JOIN LATERAL (VALUES (''prompt_tokens'', u.prompt_tokens::double precision),'
	        ' (''completion_tokens'', u.completion_tokens), (''cached_tokens'', u.cached_tokens), (''cost'', u.cost)) v(name, value)'
	        ' WHERE u.id >= natter.uuid_floor($1) AND u.id < natter.uuid_floor($2)'
	    END;
	IF rows_sql IS NULL THEN
		RAISE EXCEPTION 'nothing is summed up from %', p_source
		    USING ERRCODE = 'invalid_parameter_value';
	END IF;
	-- Closed days are left to the call that drops their month.
	EXECUTE format('INSERT INTO chat.analytics_daily AS d'
	    ' (user_id, day, category, name, store_id, events, total, least, greatest)'
	    ' SELECT r.user_id, r.day, r.category, r.name, r.store_id, count(*), sum(r.value), min(r.value), max(r.value)'
	    ' FROM (' || rows_sql || ') r'
	    ' LEFT JOIN chat.rollup_days k ON k.source = %2$L AND k.day = r.day AND k.is_closed'
	    ' WHERE ($3 OR k.day IS NULL)'
	    ' GROUP BY r.user_id, r.day, r.category, r.name, r.store_id'
	    ' ON CONFLICT (user_id, day, category, name, store_id) DO UPDATE SET'
	    ' (events, total, least, greatest) = (SELECT'
	    ' excluded.events + x.n * d.events, excluded.total + x.n * d.total,'
	    ' CASE x.n WHEN 1 THEN least(d.least, excluded.least) ELSE excluded.least END,'
	    ' CASE x.n WHEN 1 THEN greatest(d.greatest, excluded.greatest) ELSE excluded.greatest END'
	    ' FROM (SELECT count(*)::int AS n FROM chat.rollup_days k WHERE k.source = %2$L'
	    ' AND k.day = d.day AND k.is_closed) x)', p_part, p_source)
	    USING p_from, p_to, p_closes;
	GET DIAGNOSTICS n = ROW_COUNT;
	INSERT INTO chat.rollup_days AS k (source, day, is_closed)
	SELECT p_source, g::date, p_closes
	FROM generate_series(p_from AT TIME ZONE 'UTC', p_to AT TIME ZONE 'UTC' - interval '1 day', interval '1 day') g
	ON CONFLICT (source, day) DO UPDATE
	SET is_closed = k.is_closed OR excluded.is_closed;
	RETURN n;
END
$$;
COMMENT ON FUNCTION chat.roll_up(text, regclass, timestamptz, timestamptz, boolean) IS 'Sums up the rows of whole days; p_closes: they are about to be dropped, in the same transaction';
REVOKE ALL ON FUNCTION chat.roll_up(text, regclass, timestamptz, timestamptz, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.roll_up(text, regclass, timestamptz, timestamptz, boolean) TO natter_jobs;

RESET ROLE;
