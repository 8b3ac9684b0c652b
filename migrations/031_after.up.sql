-- 031: requests to a model that follow a reply (titles). They are billed as
-- replies are, in a row of usage_tracking that has a conversation and no message,
-- and nothing is reserved for them: what stops in between leaves nothing behind.

SET ROLE natter_auth;

-- As chat.budget_reserve looks, without locking or reserving. p_limits are the
-- settings' numbers in the order of auth.limit_names(); 0 is none.
CREATE OR REPLACE FUNCTION chat.budget_allows(p_user uuid, p_store uuid, p_model text,
    p_limits bigint[], p_prompt bigint, p_reply bigint)
RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	day CONSTANT date := (now() AT TIME ZONE 'UTC')::date;
	own bigint[] := p_limits;
	of_store bigint[];
	money numeric;
	r chat.token_budgets;
	q int;
	lim bigint;
BEGIN
	IF p_user IS DISTINCT FROM nullif(current_setting('app.user_id', true), '')::uuid THEN
		RAISE EXCEPTION 'a budget is its user''s alone'
		    USING ERRCODE = 'insufficient_privilege';
	END IF;
	SELECT ARRAY(SELECT coalesce(o.v, o.w)
	        FROM unnest(l.own, p_limits) WITH ORDINALITY o(v, w, i)
	        ORDER BY o.i), l.of_store
	  INTO own, of_store
	  FROM auth.limits_of(p_user, p_store) l;
	money := chat.cost_of(p_model, p_prompt, 0, p_reply);
	FOR r IN SELECT b.* FROM chat.token_budgets b
	    WHERE b.user_id = p_user AND (b.store_id IS NULL OR b.store_id = p_store)
	      AND ((b.period = 'day' AND b.starts_on = day)
	        OR (b.period = 'month' AND b.starts_on = date_trunc('month', day::timestamp)::date))
	LOOP
		FOREACH q IN ARRAY CASE r.period WHEN 'day' THEN ARRAY[6, 8] ELSE ARRAY[7, 9] END LOOP
			lim := CASE WHEN r.store_id IS NULL THEN own[q] ELSE of_store[q] END;
			CONTINUE WHEN coalesce(lim, 0) = 0;
			IF q IN (6, 7) AND r.tokens_used + r.tokens_reserved + p_prompt + p_reply > lim THEN
				RETURN false;
			END IF;
			-- Without a price nobody knows.
			IF q IN (8, 9) AND (money IS NULL
			    OR (r.cost_used + r.cost_reserved + money) * 100 > lim) THEN
				RETURN false;
			END IF;
		END LOOP;
	END LOOP;
	RETURN true;
END
$$;
COMMENT ON FUNCTION chat.budget_allows(uuid, uuid, text, bigint[], bigint, bigint) IS 'Has a user so many tokens, and their price, left today and this month? Reserves nothing';
REVOKE ALL ON FUNCTION chat.budget_allows(uuid, uuid, text, bigint[], bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.budget_allows(uuid, uuid, text, bigint[], bigint, bigint)
    TO natter_app;

-- As in 024; what follows a reply is no reply.
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
	    ' u.user_id, u.store_id, u.model, (u.message_id IS NOT NULL OR u.conversation_id IS NULL)::int AS replies, u.is_estimated::int AS estimated,'
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

RESET ROLE;
