-- Takes back 036_kept_plans.up.sql.

SET ROLE natter_auth;

CREATE OR REPLACE FUNCTION auth.limits_of(p_user uuid, p_store uuid)
RETURNS TABLE (own bigint[], of_store bigint[])
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT ARRAY(SELECT coalesce(
	        (SELECT l.value FROM auth.limits l WHERE l.user_id = p_user AND l.name = n.name),
	        (SELECT l.value FROM auth.limits l
	          WHERE l.role = (SELECT u.role FROM auth.users u WHERE u.id = p_user)
	            AND l.name = n.name))
	      FROM unnest(auth.limit_names()) WITH ORDINALITY n(name, i) ORDER BY n.i),
	    ARRAY(SELECT (SELECT l.value FROM auth.limits l
	          WHERE l.store_id = p_store AND l.name = n.name)
	      FROM unnest(auth.limit_names()) WITH ORDINALITY n(name, i) ORDER BY n.i);
$$;

CREATE OR REPLACE FUNCTION auth.turns_today(p_user uuid, p_store uuid)
RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce((SELECT b.turns FROM chat.token_budgets b
	  WHERE b.user_id = p_user AND b.period = 'day'
	    AND b.store_id IS NOT DISTINCT FROM p_store
	    AND b.starts_on = (now() AT TIME ZONE 'UTC')::date), 0);
$$;

CREATE OR REPLACE FUNCTION auth.limits_in(p_user uuid, p_conversation text)
RETURNS TABLE (own bigint[], store_id uuid, of_store bigint[])
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT l.own, s.id, l.of_store
	  FROM (SELECT CASE WHEN p_conversation ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
	           THEN p_conversation::uuid END AS id) n
	 CROSS JOIN LATERAL (SELECT (SELECT c.store_id FROM chat.conversations c
	         WHERE c.user_id = p_user AND c.id = coalesce(
	            (SELECT k.id FROM chat.conversations k WHERE k.user_id = p_user AND k.id = n.id),
	            (SELECT k.id FROM chat.conversations k WHERE k.user_id = p_user
	                AND k.short_id = p_conversation),
	            (SELECT m.conversation_id FROM chat.messages m WHERE m.user_id = p_user
	                AND m.id = n.id))) AS id) s
	 CROSS JOIN LATERAL auth.limits_of(p_user, s.id) l;
$$;

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

CREATE OR REPLACE FUNCTION chat.cost_of(p_model text, p_prompt bigint, p_cached bigint,
    p_completion bigint)
RETURNS numeric
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT (greatest(p_prompt - p_cached, 0) * m.input
	    + least(p_cached, p_prompt) * coalesce(m.cached_input, m.input)
	    + p_completion * m.output) / 1000000
	  FROM chat.model_prices m
	 WHERE m.model = p_model OR starts_with(p_model, m.model || '-')
	 ORDER BY char_length(m.model) DESC
	 LIMIT 1;
$$;

RESET ROLE;
