-- 024: sums say which replies cost nothing because nobody knew a price; who
-- charges a user's limits, or reads them, must be that user.

SET ROLE natter_auth;

CREATE OR REPLACE FUNCTION chat.free_models()
RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT array_prepend('natter-local-', array_agg(m.model || '-')) FROM chat.model_prices m
	 WHERE m.input = 0 AND coalesce(m.cached_input, 0) = 0 AND m.output = 0;
$$;
COMMENT ON FUNCTION chat.free_models() IS 'Models that cost nothing, each with a hyphen at its end, as names of their versions begin';

-- As chat.admin_usage (019), and unpriced: replies that were to be paid for, and
-- cost 0 though their model is not free. Of days whose rows are dropped nobody
-- knows.
CREATE OR REPLACE FUNCTION chat.admin_usage_sums(p_by text[], p_from date, p_to date, p_user uuid,
    p_store uuid, p_model text, p_after text[], p_limit int)
RETURNS TABLE (day date, user_id uuid, username text, store_id uuid, store text, model text,
    replies bigint, estimated bigint, prompt_tokens bigint, cached_tokens bigint,
    completion_tokens bigint, total_tokens bigint, cost numeric, currency text, keys text[],
    unpriced bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	by_day boolean := 'day' = ANY (p_by);
	is_first boolean := p_after[1] IS NULL;
	n_left bigint := least(p_limit, 5001);
	n bigint;
	days int := 1;
	high date := p_to;
	low date;
	groups text := '';  -- columns
	orders text := '';  -- what the rows are ordered by
	afters text := '';  -- the same, of the row before
	shown text := '';   -- the same as text, for the next page
	names text := '';   -- all four columns, NULL for those not asked for
	closed text := '';
	query text;
	d record;
BEGIN
	PERFORM auth.admin_demand();
	IF is_first THEN
		PERFORM audit.note('usage.read', 'usage', NULL, p_user,
		    jsonb_build_object('by', array_to_string(p_by, ',')));
	END IF;
	FOR d IN SELECT x.*, row_number() OVER (PARTITION BY x.word = ANY (p_by) ORDER BY x.i) AS k
	    FROM (VALUES
	    (1, 'day', 'day', 'date', '(date ''2000-01-01'' - r.day)',
	        '(date ''2000-01-01'' - ($6[%s])::date)', 'r.day::text'),
	    (2, 'user', 'user_id', 'uuid', 'r.user_id', '($6[%s])::uuid', 'r.user_id::text'),
	    (3, 'store', 'store_id', 'uuid', 'coalesce(r.store_id::text, '''')', '$6[%s]',
	        'coalesce(r.store_id::text, '''')'),
	    (4, 'model', 'model', 'text', 'coalesce(r.model, '''') COLLATE "C"', '$6[%s]',
	        'coalesce(r.model, '''')')
	    ) x(i, word, name, type, sorted, after, text) ORDER BY x.i
	LOOP
		IF d.word = ANY (p_by) THEN
			groups := concat_ws(', ', nullif(groups, ''), 'r.' || d.name);
			orders := concat_ws(', ', nullif(orders, ''), d.sorted);
			afters := concat_ws(', ', nullif(afters, ''), format(d.after, d.k));
			shown := concat_ws(', ', nullif(shown, ''), d.text);
			names := concat_ws(', ', nullif(names, ''), 'r.' || d.name);
		ELSE
			names := concat_ws(', ', nullif(names, ''), format('NULL::%s AS %s', d.type, d.name));
		END IF;
	END LOOP;
	IF groups = '' OR cardinality(p_by) > 2 THEN
		RAISE EXCEPTION 'by up to two of day, user, store and model'
		    USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF p_store IS NULL AND p_model IS NULL AND EXISTS (SELECT FROM chat.rollup_days k
	    WHERE k.source = 'usage_tracking' AND k.is_closed AND k.day BETWEEN p_from AND p_to) THEN
		closed := ' UNION ALL SELECT t.day, t.user_id, NULL, NULL,'
		    ' sum(t.events) FILTER (WHERE t.name = ''prompt_tokens''), 0,'
		    ' sum(t.total) FILTER (WHERE t.name = ''prompt_tokens''),'
		    ' sum(t.total) FILTER (WHERE t.name = ''cached_tokens''),'
		    ' sum(t.total) FILTER (WHERE t.name = ''completion_tokens''),'
		    ' round(sum(t.total) FILTER (WHERE t.name = ''cost'')::numeric, 8), 0'
		    ' FROM chat.analytics_daily t WHERE t.category = ''usage_tracking'''
		    ' AND t.day BETWEEN $1 AND $2 AND ($3 IS NULL OR t.user_id = $3)'
		    ' AND EXISTS (SELECT FROM chat.rollup_days k WHERE k.source = ''usage_tracking'''
		    ' AND k.day = t.day AND k.is_closed) GROUP BY t.day, t.user_id';
	END IF;
	query := format(
	    'SELECT g.day, g.user_id, (SELECT w.username FROM auth.users w WHERE w.id = g.user_id),'
	    ' g.store_id, (SELECT s.slug FROM chat.stores s WHERE s.id = g.store_id), g.model,'
	    ' g.replies, g.estimated, g.prompt, g.cached, g.completion, g.prompt + g.completion,'
	    ' trim_scale(g.cost), (SELECT l.currency FROM chat.price_list l), g.keys,'
	    ' g.unpriced FROM ('
	    'SELECT %1$s, sum(r.replies)::bigint AS replies, sum(r.estimated)::bigint AS estimated,'
	    ' sum(r.prompt)::bigint AS prompt, sum(r.cached)::bigint AS cached,'
	    ' sum(r.completion)::bigint AS completion, sum(r.cost) AS cost,'
	    ' sum(r.unpriced)::bigint AS unpriced, ARRAY[%2$s] AS keys,'
	    ' row_number() OVER (ORDER BY %3$s) AS place FROM ('
	    'SELECT coalesce(u.counted_on, (u.created_at AT TIME ZONE ''UTC'')::date) AS day,'
	    ' u.user_id, u.store_id, u.model, 1 AS replies, u.is_estimated::int AS estimated,'
	    ' u.prompt_tokens AS prompt, u.cached_tokens AS cached,'
	    ' u.completion_tokens AS completion, u.cost, (u.is_billed AND u.cost = 0'
	    ' AND u.prompt_tokens + u.completion_tokens > 0'
	    ' AND NOT (u.model || ''-'') ^@ ANY ($10))::int AS unpriced FROM chat.usage_tracking u'
	    ' WHERE u.id >= $7 AND u.id < $8'
	    ' AND coalesce(u.counted_on, (u.created_at AT TIME ZONE ''UTC'')::date) BETWEEN $1 AND $2'
	    ' AND ($3 IS NULL OR u.user_id = $3) AND ($4 IS NULL OR u.store_id = $4)'
	    ' AND ($5 IS NULL OR u.model = $5)%4$s) r'
	    ' WHERE $6[1] IS NULL OR (%3$s) > (%5$s)'
	    ' GROUP BY %6$s ORDER BY %3$s LIMIT $9) g ORDER BY g.place',
	    names, shown, orders, closed, afters, groups);
	IF by_day AND NOT is_first THEN
		high := least(p_to, p_after[1]::date);
	END IF;
	WHILE n_left > 0 AND high >= p_from LOOP
		low := CASE WHEN by_day AND high - p_from >= days THEN high - days + 1 ELSE p_from END;
		RETURN QUERY EXECUTE query USING low, high, p_user, p_store, p_model, p_after,
		    natter.uuid_floor((low - 1)::timestamp AT TIME ZONE 'UTC'),
		    natter.uuid_floor((high + 2)::timestamp AT TIME ZONE 'UTC'), n_left,
		    chat.free_models();
		GET DIAGNOSTICS n = ROW_COUNT;
		n_left := n_left - n;
		high := low - 1;
		days := days * 2;
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION chat.admin_usage_sums(text[], date, date, uuid, uuid, text, text[], int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.admin_usage_sums(text[], date, date, uuid, uuid, text, text[], int)
    TO natter_app, natter_migrate;
COMMENT ON FUNCTION chat.admin_usage_sums(text[], date, date, uuid, uuid, text, text[], int) IS 'What everybody''s replies used and cost, by up to two of day, user, store and model, after the keys of a row; a list leaves a row in the audit log when it is begun';

CREATE OR REPLACE FUNCTION auth.demand_self(p_user uuid)
RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF p_user IS DISTINCT FROM nullif(current_setting('app.user_id', true), '')::uuid
	    AND p_user IS NOT NULL THEN
		RAISE EXCEPTION 'this is for the user themselves' USING ERRCODE = 'NT403';
	END IF;
	RETURN true;
END
$$;
COMMENT ON FUNCTION auth.demand_self(uuid) IS 'Refuses whose app.user_id is another than the user, who may be nobody';

-- As 016, for the user alone: the token or key is looked at in the same
-- transaction, whose app.user_id is whom it names.
CREATE OR REPLACE FUNCTION auth.rate_numbers(p_user uuid, p_conversation text)
RETURNS TABLE (numbers text, today bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN num_nonnulls(VARIADIC l.own || l.of_store) = 0 THEN '-'
	       ELSE concat_ws(' ', array_to_string(l.own, ' ', '-1'),
	           coalesce(l.store_id::text, '-'), array_to_string(l.of_store, ' ', '-1')) END
	       || ' t' || coalesce((SELECT b.tokens_used + b.tokens_reserved
	             FROM chat.token_budgets b
	            WHERE b.user_id = p_user AND b.store_id IS NULL AND b.period = 'day'
	              AND b.starts_on = (now() AT TIME ZONE 'UTC')::date), 0),
	       CASE WHEN p_conversation IS NOT NULL THEN auth.turns_today(p_user,
	           CASE WHEN l.of_store[2] IS NOT NULL THEN l.store_id END) END
	  FROM auth.limits_in(p_user, p_conversation) l
	 WHERE auth.demand_self(p_user);
$$;

CREATE OR REPLACE FUNCTION auth.rate_charge(p_may boolean, p_user uuid, p_conversation text,
    p_keys text[], p_quotas int[], p_limits bigint[], p_windows bigint[], p_bursts bigint[])
RETURNS TABLE (n int, key text, is_charged boolean, amount bigint, remaining bigint,
    reset_us bigint, retry_us bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_own bigint[];
    v_of_store bigint[];
    v_store uuid;
    v_keys text[] := p_keys;
    v_limits bigint[] := p_limits;
    v_levels bigint[] := array_fill(0::bigint, ARRAY[cardinality(p_keys)]);
    v_retries bigint[] := v_levels;
    v_resets bigint[] := v_levels;
    v_remains bigint[] := v_levels;
    v_expires timestamptz[] := array_fill(NULL::timestamptz, ARRAY[cardinality(p_keys)]);
    v_day timestamptz := date_trunc('day', clock_timestamp(), 'UTC');
    v_all boolean := true;
    v_level bigint;
    v_limit bigint;
    v_step bigint;
    v_room bigint;
    v_now bigint;
    v_left bigint;
    i int;
BEGIN
    IF p_may IS NOT TRUE THEN
        RETURN;
    END IF;

    PERFORM auth.demand_self(p_user);

    -- Which numbers hold, and whose buckets they fill.
    SELECT l.own, l.store_id, l.of_store INTO v_own, v_store, v_of_store
      FROM auth.limits_in(p_user, p_conversation) l
     WHERE p_user IS NOT NULL;
    FOR i IN 1 .. cardinality(p_keys) LOOP
        IF p_windows[i] = 0 THEN
            v_keys[i] := v_keys[i] || to_char(v_day AT TIME ZONE 'UTC', 'YYYY-MM-DD');
        END IF;
        CONTINUE WHEN p_quotas[i] = 0;
        v_limits[i] := coalesce(v_own[p_quotas[i]], v_limits[i]);
        IF p_quotas[i] <= 2 AND v_of_store[p_quotas[i]] IS NOT NULL THEN
            -- The closer one; 0 is none.
            v_limits[i] := coalesce(least(nullif(v_limits[i], 0),
                nullif(v_of_store[p_quotas[i]], 0)), 0);
            v_keys[i] := v_keys[i] || ':' || v_store;
        END IF;
    END LOOP;

    DELETE FROM auth.rate_buckets b
     WHERE b.key IN (SELECT o.key FROM auth.rate_buckets o
                      WHERE o.expires_at < clock_timestamp()
                      ORDER BY o.expires_at LIMIT 8
                        FOR UPDATE SKIP LOCKED);

    -- All rows are locked before the clock is read; in the order of their
    -- keys, so that two requests never wait for each other.
    FOR i IN SELECT k.i FROM unnest(v_keys) WITH ORDINALITY k(key, i)
              WHERE v_limits[k.i] > 0 ORDER BY k.key COLLATE "C" LOOP
        LOOP
            SELECT b.level INTO v_level FROM auth.rate_buckets b
             WHERE b.key = v_keys[i] FOR UPDATE;
            EXIT WHEN FOUND;
            INSERT INTO auth.rate_buckets AS b (key, level, expires_at)
            VALUES (v_keys[i],
                CASE WHEN p_windows[i] = 0 THEN auth.turns_today(p_user,
                    CASE WHEN v_of_store[p_quotas[i]] IS NOT NULL THEN v_store END)
                ELSE 0 END,
                CASE WHEN p_windows[i] = 0 THEN v_day + interval '25 hours'
                ELSE clock_timestamp() + interval '1 minute' END)
            ON CONFLICT ON CONSTRAINT rate_buckets_pkey DO NOTHING;
        END LOOP;
        v_levels[i] := v_level;
    END LOOP;

    v_now := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    FOR i IN 1 .. cardinality(p_keys) LOOP
        v_limit := v_limits[i];
        CONTINUE WHEN v_limit = 0;
        IF p_windows[i] = 0 THEN
            v_left := greatest(v_limit - v_levels[i], 0);
            v_levels[i] := v_levels[i] + 1;
            v_expires[i] := v_day + interval '25 hours';
            v_resets[i] := (extract(epoch FROM v_day) + 86400)::bigint * 1000000 - v_now;
            v_retries[i] := CASE WHEN v_left = 0 THEN v_resets[i] ELSE 0 END;
        ELSE
            v_step := (p_windows[i] + v_limit - 1) / v_limit;
            v_room := v_step * CASE WHEN p_bursts[i] > 0 THEN p_bursts[i] ELSE v_limit END;
            v_levels[i] := least(greatest(v_levels[i], v_now), v_now + v_room);
            v_left := (v_now + v_room - v_levels[i]) / v_step;
            v_resets[i] := v_levels[i] - v_now;
            v_levels[i] := v_levels[i] + v_step;
            v_retries[i] := greatest(v_levels[i] - v_room - v_now, 0);
            v_expires[i] := to_timestamp(v_levels[i] / 1000000.0) + interval '1 s';
        END IF;
        v_remains[i] := v_left;
        v_all := v_all AND v_retries[i] = 0;
    END LOOP;

    FOR i IN 1 .. cardinality(p_keys) LOOP
        IF v_all AND v_limits[i] > 0 THEN
            UPDATE auth.rate_buckets b
               SET level = v_levels[i], expires_at = v_expires[i]
             WHERE b.key = v_keys[i];
            v_remains[i] := v_remains[i] - 1;
            IF p_windows[i] > 0 THEN
                v_resets[i] := v_levels[i] - v_now;
            END IF;
        END IF;
        n := i;
        key := v_keys[i];
        is_charged := v_all;
        amount := v_limits[i];
        remaining := v_remains[i];
        reset_us := v_resets[i];
        retry_us := v_retries[i];
        RETURN NEXT;
    END LOOP;
END;
$$;

REVOKE ALL ON FUNCTION chat.free_models(), auth.demand_self(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.free_models() TO natter_app;

RESET ROLE;
