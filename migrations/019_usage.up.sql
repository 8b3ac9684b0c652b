-- 019: what replies used and cost, by day, model, conversation, user and store;
-- and the price list, loaded and changed by natterctl.

SET ROLE natter_owner;

CREATE INDEX IF NOT EXISTS idx_chat_usage_tracking_id
    ON chat.usage_tracking (id);
COMMENT ON INDEX chat.idx_chat_usage_tracking_id IS 'Administrators: everybody''s usage over a time';
GRANT SELECT ON chat.rollup_days TO natter_app, natter_auth;

CREATE TABLE IF NOT EXISTS chat.price_list (
	id boolean NOT NULL DEFAULT true CONSTRAINT price_list_pkey PRIMARY KEY
	    CONSTRAINT price_list_one CHECK (id),
	currency text NOT NULL
	    CONSTRAINT price_list_currency CHECK (currency ~ '^[A-Z]{3}$'),
	as_of date NOT NULL,
	updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE chat.price_list IS 'What chat.model_prices is in; one row, none before prices were loaded';
COMMENT ON COLUMN chat.price_list.id IS 'True: there is one list';
COMMENT ON COLUMN chat.price_list.currency IS 'ISO 4217, such as USD';
COMMENT ON COLUMN chat.price_list.as_of IS 'The day of the file that was loaded last';
COMMENT ON COLUMN chat.price_list.updated_at IS 'When it was loaded; set by a trigger';
SELECT natter.keep_updated_at('chat.price_list');
GRANT SELECT ON chat.price_list TO natter_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON chat.price_list TO natter_auth;

SET ROLE natter_auth;

------------------------------------------------------------------------- prices

-- One statement's worth: everything in the list, or nothing of it.
CREATE OR REPLACE FUNCTION chat.prices_put(p_currency text, p_as_of date, p_prices jsonb,
    p_replaces boolean)
RETURNS TABLE (changed bigint, removed bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
	old text;
BEGIN
	LOCK TABLE chat.model_prices IN SHARE ROW EXCLUSIVE MODE;
	SELECT l.currency INTO old FROM chat.price_list l;
	IF NOT p_replaces AND old <> p_currency AND EXISTS (SELECT FROM chat.model_prices) THEN
		RAISE EXCEPTION 'these prices are in %, those that are there in %', p_currency, old
		    USING ERRCODE = 'invalid_parameter_value',
		    HINT = 'natterctl prices load --replace removes those that are there.';
	END IF;
	INSERT INTO chat.price_list AS l (currency, as_of) VALUES (p_currency, p_as_of)
	ON CONFLICT ON CONSTRAINT price_list_pkey
	DO UPDATE SET currency = excluded.currency, as_of = excluded.as_of;
	INSERT INTO chat.model_prices AS m (model, input, cached_input, output)
	SELECT p.model, p.input, p.cached_input, p.output
	FROM jsonb_to_recordset(p_prices) AS p(model text, input numeric, cached_input numeric,
	    output numeric)
	ON CONFLICT ON CONSTRAINT model_prices_pkey DO UPDATE
	SET input = excluded.input, cached_input = excluded.cached_input, output = excluded.output
	WHERE (m.input, m.cached_input, m.output)
	    IS DISTINCT FROM (excluded.input, excluded.cached_input, excluded.output);
	GET DIAGNOSTICS changed = ROW_COUNT;
	DELETE FROM chat.model_prices m WHERE p_replaces
	AND m.model NOT IN (SELECT p->>'model' FROM jsonb_array_elements(p_prices) AS p);
	GET DIAGNOSTICS removed = ROW_COUNT;
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION chat.prices_put(text, date, jsonb, boolean) IS 'Sets the prices of a list, [{"model", "input", "cached_input", "output"}]; p_replaces: and removes all others. For natterctl migrate up, whose own record says it, and chat.prices_load';

CREATE OR REPLACE FUNCTION chat.prices_load(p_currency text, p_as_of date, p_prices jsonb,
    p_replaces boolean)
RETURNS TABLE (changed bigint, removed bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	SELECT x.changed, x.removed INTO changed, removed
	FROM chat.prices_put(p_currency, p_as_of, p_prices, p_replaces) x;
	PERFORM audit.note('prices.load', 'price', NULL, NULL, jsonb_build_object('currency',
	    p_currency, 'as_of', p_as_of, 'changed', changed, 'removed', removed));
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION chat.prices_load(text, date, jsonb, boolean) IS 'chat.prices_put, with a row in the audit log';

CREATE OR REPLACE FUNCTION chat.price_set(p_model text, p_input numeric, p_cached_input numeric,
    p_output numeric)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
	is_new boolean := NOT EXISTS (SELECT FROM chat.model_prices m WHERE m.model = p_model);
BEGIN
	INSERT INTO chat.model_prices AS m (model, input, cached_input, output)
	VALUES (p_model, p_input, p_cached_input, p_output)
	ON CONFLICT ON CONSTRAINT model_prices_pkey DO UPDATE
	SET input = excluded.input, cached_input = excluded.cached_input, output = excluded.output;
	PERFORM audit.note('prices.set', 'price', NULL, NULL, jsonb_build_object('model', p_model,
	    'input', p_input, 'cached_input', p_cached_input, 'output', p_output));
	RETURN is_new;
END
$$;
COMMENT ON FUNCTION chat.price_set(text, numeric, numeric, numeric) IS 'Sets one model''s price, with a row in the audit log; says whether it had none';

CREATE OR REPLACE FUNCTION chat.price_remove(p_model text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
	DELETE FROM chat.model_prices m WHERE m.model = p_model;
	IF FOUND THEN
		PERFORM audit.note('prices.remove', 'price', NULL, NULL,
		    jsonb_build_object('model', p_model));
		RETURN true;
	END IF;
	RETURN false;
END
$$;
COMMENT ON FUNCTION chat.price_remove(text) IS 'Removes one model''s price, with a row in the audit log; false: it had none';

CREATE OR REPLACE FUNCTION chat.models_unpriced(p_since interval)
RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT x.model FROM (SELECT u.model FROM chat.usage_tracking u
	    WHERE u.id >= natter.uuid_floor(now() - p_since) AND u.is_billed
	    AND u.cost = 0 AND u.prompt_tokens + u.completion_tokens > 0
	    GROUP BY u.model) x
	WHERE x.model <> 'natter-local' AND chat.cost_of(x.model, 1, 0, 1) IS NULL
	ORDER BY x.model LIMIT 50;
$$;
COMMENT ON FUNCTION chat.models_unpriced(interval) IS 'Models that answered lately and have no price: what they answer counts as free';

-------------------------------------------------------------------------- usage

-- Sums of everybody's usage by up to two of day, user, store and model, in this
-- order, the newest day first. Days whose rows are dropped come from their sums,
-- which know users and days alone. By day, the days are read from the newest in
-- spans that double as long as they do not fill the page, so that a page costs
-- what it shows and not what the whole time holds. The ids of a day's rows begin
-- within the day by the clock of the host that made them: a day more on either
-- side is read, and the partitions of no other month.
CREATE OR REPLACE FUNCTION chat.admin_usage(p_by text[], p_from date, p_to date, p_user uuid,
    p_store uuid, p_model text, p_after text[], p_limit int)
RETURNS TABLE (day date, user_id uuid, username text, store_id uuid, store text, model text,
    replies bigint, estimated bigint, prompt_tokens bigint, cached_tokens bigint,
    completion_tokens bigint, total_tokens bigint, cost numeric, currency text, keys text[])
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
		    ' round(sum(t.total) FILTER (WHERE t.name = ''cost'')::numeric, 8)'
		    ' FROM chat.analytics_daily t WHERE t.category = ''usage_tracking'''
		    ' AND t.day BETWEEN $1 AND $2 AND ($3 IS NULL OR t.user_id = $3)'
		    ' AND EXISTS (SELECT FROM chat.rollup_days k WHERE k.source = ''usage_tracking'''
		    ' AND k.day = t.day AND k.is_closed) GROUP BY t.day, t.user_id';
	END IF;
	query := format(
	    'SELECT g.day, g.user_id, (SELECT w.username FROM auth.users w WHERE w.id = g.user_id),'
	    ' g.store_id, (SELECT s.slug FROM chat.stores s WHERE s.id = g.store_id), g.model,'
	    ' g.replies, g.estimated, g.prompt, g.cached, g.completion, g.prompt + g.completion,'
	    ' trim_scale(g.cost), (SELECT l.currency FROM chat.price_list l), g.keys FROM ('
	    'SELECT %1$s, sum(r.replies)::bigint AS replies, sum(r.estimated)::bigint AS estimated,'
	    ' sum(r.prompt)::bigint AS prompt, sum(r.cached)::bigint AS cached,'
	    ' sum(r.completion)::bigint AS completion, sum(r.cost) AS cost, ARRAY[%2$s] AS keys,'
	    ' row_number() OVER (ORDER BY %3$s) AS place FROM ('
	    'SELECT coalesce(u.counted_on, (u.created_at AT TIME ZONE ''UTC'')::date) AS day,'
	    ' u.user_id, u.store_id, u.model, 1 AS replies, u.is_estimated::int AS estimated,'
	    ' u.prompt_tokens AS prompt, u.cached_tokens AS cached,'
	    ' u.completion_tokens AS completion, u.cost FROM chat.usage_tracking u'
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
		    natter.uuid_floor((high + 2)::timestamp AT TIME ZONE 'UTC'), n_left;
		GET DIAGNOSTICS n = ROW_COUNT;
		n_left := n_left - n;
		high := low - 1;
		days := days * 2;
	END LOOP;
END
$$;
COMMENT ON FUNCTION chat.admin_usage(text[], date, date, uuid, uuid, text, text[], int) IS 'What everybody''s replies used and cost, by up to two of day, user, store and model, after the keys of a row; a list leaves a row in the audit log when it is begun';

DO $$
DECLARE
	f regprocedure;
BEGIN
	FOR f IN SELECT p.oid::regprocedure FROM pg_proc p
	    WHERE p.pronamespace = 'chat'::regnamespace
	    AND p.proname IN ('prices_put', 'prices_load', 'price_set', 'price_remove',
	        'models_unpriced', 'admin_usage') LOOP
		EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO natter_migrate', f);
	END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION chat.admin_usage(text[], date, date, uuid, uuid, text, text[], int)
    TO natter_app;

RESET ROLE;
