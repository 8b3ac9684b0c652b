-- 036: what every user's first request and every turn asks is planned once a
-- connection: Postgres plans a function in SQL anew at every call, one in PL/pgSQL
-- not (https://www.postgresql.org/docs/15/plpgsql-implementation.html). Of
-- auth.rate_numbers, whose tables have partitions, that was nine tenths.

SET ROLE natter_auth;

CREATE OR REPLACE FUNCTION auth.limits_of(p_user uuid, p_store uuid)
RETURNS TABLE (own bigint[], of_store bigint[])
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	role_of text := (SELECT u.role FROM auth.users u WHERE u.id = p_user);
BEGIN
	RETURN QUERY SELECT array_agg(coalesce(x.of_user, x.of_role) ORDER BY x.i),
	    array_agg(x.of_store ORDER BY x.i)
	  FROM (SELECT n.i, max(l.value) FILTER (WHERE l.user_id = p_user) AS of_user,
	               max(l.value) FILTER (WHERE l.role = role_of) AS of_role,
	               max(l.value) FILTER (WHERE l.store_id = p_store) AS of_store
	          FROM unnest(auth.limit_names()) WITH ORDINALITY n(name, i)
	          LEFT JOIN auth.limits l ON l.name = n.name
	           AND (l.user_id = p_user OR l.role = role_of OR l.store_id = p_store)
	         GROUP BY n.i) x;
END
$$;

CREATE OR REPLACE FUNCTION auth.turns_today(p_user uuid, p_store uuid)
RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN coalesce((SELECT b.turns FROM chat.token_budgets b
	  WHERE b.user_id = p_user AND b.period = 'day'
	    AND b.store_id IS NOT DISTINCT FROM p_store
	    AND b.starts_on = (now() AT TIME ZONE 'UTC')::date), 0);
END
$$;

CREATE OR REPLACE FUNCTION auth.limits_in(p_user uuid, p_conversation text)
RETURNS TABLE (own bigint[], store_id uuid, of_store bigint[])
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	named uuid;
	store uuid;
BEGIN
	-- An id of a conversation, of one of its messages, or a short id.
	IF p_conversation IS NOT NULL THEN
		named := CASE WHEN p_conversation ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
		    THEN p_conversation::uuid END;
		store := (SELECT c.store_id FROM chat.conversations c
		   WHERE c.user_id = p_user AND c.id = coalesce(
		    (SELECT k.id FROM chat.conversations k WHERE k.user_id = p_user AND k.id = named),
		    (SELECT k.id FROM chat.conversations k WHERE k.user_id = p_user
		        AND k.short_id = p_conversation),
		    (SELECT m.conversation_id FROM chat.messages m WHERE m.user_id = p_user
		        AND m.id = named)));
	END IF;
	RETURN QUERY SELECT l.own, store, l.of_store FROM auth.limits_of(p_user, store) l;
END
$$;

CREATE OR REPLACE FUNCTION auth.rate_numbers(p_user uuid, p_conversation text)
RETURNS TABLE (numbers text, today bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan -- else partitions are looked at every time
AS $$
BEGIN
	PERFORM auth.demand_self(p_user);
	RETURN QUERY SELECT CASE WHEN num_nonnulls(VARIADIC l.own || l.of_store) = 0 THEN '-'
	       ELSE concat_ws(' ', array_to_string(l.own, ' ', '-1'),
	           coalesce(l.store_id::text, '-'), array_to_string(l.of_store, ' ', '-1')) END
	       || ' t' || coalesce((SELECT b.tokens_used + b.tokens_reserved
	             FROM chat.token_budgets b
	            WHERE b.user_id = p_user AND b.store_id IS NULL AND b.period = 'day'
	              AND b.starts_on = (now() AT TIME ZONE 'UTC')::date), 0),
	       CASE WHEN p_conversation IS NOT NULL THEN auth.turns_today(p_user,
	           CASE WHEN l.of_store[2] IS NOT NULL THEN l.store_id END) END
	  FROM auth.limits_in(p_user, p_conversation) l;
END
$$;

CREATE OR REPLACE FUNCTION chat.cost_of(p_model text, p_prompt bigint, p_cached bigint,
    p_completion bigint)
RETURNS numeric
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN (SELECT (greatest(p_prompt - p_cached, 0) * m.input
	    + least(p_cached, p_prompt) * coalesce(m.cached_input, m.input)
	    + p_completion * m.output) / 1000000
	  FROM chat.model_prices m
	 WHERE m.model = p_model OR starts_with(p_model, m.model || '-')
	 ORDER BY char_length(m.model) DESC
	 LIMIT 1);
END
$$;

RESET ROLE;
