-- 034: bills that hold what was used. A reply that calls tools asks its model
-- several times: what the rounds before took stands in its row, so that whoever
-- ends it after its worker's death bills them too. And what is reserved is
-- enough for any model that may stand in.
--
-- What goes, goes whole: of a system message that is blanked also what tools
-- have said in it, of a document that its user deletes also what their replies'
-- tools have quoted of it, which would be told to models again.

SET ROLE natter_owner;

ALTER TABLE chat.running_replies
    ADD COLUMN IF NOT EXISTS rounds_prompt_tokens int NOT NULL DEFAULT 0
	CONSTRAINT running_replies_rounds_prompt CHECK (rounds_prompt_tokens >= 0),
    ADD COLUMN IF NOT EXISTS rounds_completion_tokens int NOT NULL DEFAULT 0
	CONSTRAINT running_replies_rounds_completion CHECK (rounds_completion_tokens >= 0),
    ADD COLUMN IF NOT EXISTS rounds_cached_tokens int NOT NULL DEFAULT 0
	CONSTRAINT running_replies_rounds_cached CHECK (rounds_cached_tokens >= 0),
    ADD COLUMN IF NOT EXISTS rounds_text_bytes bigint NOT NULL DEFAULT 0
	CONSTRAINT running_replies_rounds_text CHECK (rounds_text_bytes >= 0),
    ADD COLUMN IF NOT EXISTS rounds_calls int NOT NULL DEFAULT 0
	CONSTRAINT running_replies_rounds_calls CHECK (rounds_calls >= 0);
COMMENT ON COLUMN chat.running_replies.prompt_tokens IS 'Tokens sent to the model for the answer that is being written, estimated; 0 while a tool runs';
COMMENT ON COLUMN chat.running_replies.cost_reserved IS 'The price of those, where a limit in money holds, for the dearest model that may answer';
COMMENT ON COLUMN chat.running_replies.rounds_prompt_tokens IS 'Tokens sent for its earlier answers, which called tools';
COMMENT ON COLUMN chat.running_replies.rounds_completion_tokens IS 'Tokens of those answers';
COMMENT ON COLUMN chat.running_replies.rounds_cached_tokens IS 'Of the tokens sent, those that the model''s server had kept';
COMMENT ON COLUMN chat.running_replies.rounds_text_bytes IS 'How much of its text is theirs';
COMMENT ON COLUMN chat.running_replies.rounds_calls IS 'How many tools they have called';
GRANT UPDATE (model, prompt_tokens, rounds_prompt_tokens, rounds_completion_tokens,
    rounds_cached_tokens, rounds_text_bytes, rounds_calls) ON chat.running_replies TO natter_app;

GRANT UPDATE (used_documents, tool_calls, tool_responses) ON chat.messages TO natter_jobs;
GRANT UPDATE (tool_responses, context) ON chat.messages TO natter_auth;
CREATE INDEX IF NOT EXISTS idx_chat_messages_searched ON chat.messages (user_id)
    WHERE tool_responses @> '[{"name": "search_documents"}]';
COMMENT ON INDEX chat.idx_chat_messages_searched IS 'A user''s replies whose tools have quoted documents';

SET ROLE natter_auth;

------------------------------------------------------------------ lost replies

-- The rounds that have ended by what they took, the one that was running by what
-- was sent for it and what is known to have come.
CREATE OR REPLACE FUNCTION chat.end_lost_reply(p_user uuid, p_message uuid, p_text text, p_bytes bigint)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH gone AS (
		DELETE FROM chat.running_replies r
		WHERE r.user_id = p_user AND r.message_id = p_message
		RETURNING r.*
	), counted AS (
		SELECT g.*, t.content AS told,
		    least(2147483647, g.rounds_prompt_tokens::bigint + g.prompt_tokens)::int
		        AS all_prompt_tokens,
		    least(2147483647, g.rounds_completion_tokens + coalesce(c.tokens, 0)
		        + (greatest(0, coalesce(octet_length(t.content), greatest(
		            octet_length(p_text), CASE WHEN g.conversation_id IS NULL
		                THEN p_bytes END, g.completion_bytes)) - g.rounds_text_bytes) + 3) / 4)::int
		        AS completion_tokens
		FROM gone g
		LEFT JOIN LATERAL (SELECT m.tool_calls, CASE WHEN starts_with(p_text, m.content)
		        THEN p_text ELSE m.content END AS content
		    FROM chat.messages m WHERE m.user_id = p_user AND m.id = p_message
		    AND m.status = 'streaming') t ON true
		LEFT JOIN LATERAL (SELECT sum((octet_length(x.call->>'arguments') + 3) / 4) AS tokens
		    FROM jsonb_array_elements(t.tool_calls) WITH ORDINALITY x(call, n)
		    WHERE x.n > g.rounds_calls) c ON true
	), ended AS (
		UPDATE chat.messages m SET completed_at = now(),
		    status = CASE WHEN c.cancelled_at IS NULL THEN 'interrupted' ELSE 'cancelled' END,
		    error_code = CASE WHEN c.cancelled_at IS NULL THEN 'interrupted' END,
		    content = c.told, token_count = c.completion_tokens
		FROM counted c
		WHERE m.user_id = p_user AND m.id = p_message AND m.status = 'streaming'
	)
	INSERT INTO chat.usage_tracking (user_id, id, conversation_id, message_id, model,
	    prompt_tokens, completion_tokens, cached_tokens, cost, is_estimated, store_id, counted_on,
	    is_billed)
	SELECT c.user_id, c.message_id, c.conversation_id,
	    CASE WHEN c.conversation_id IS NOT NULL THEN c.message_id END, c.model,
	    c.all_prompt_tokens, c.completion_tokens, c.rounds_cached_tokens,
	    CASE WHEN c.is_billed THEN least(999999, coalesce(chat.cost_of(c.model,
	        c.all_prompt_tokens, c.rounds_cached_tokens, c.completion_tokens), 0))
	        ELSE 0 END, true, c.store_id, c.counted_on, c.is_billed
	FROM counted c
	ON CONFLICT (user_id, id) DO NOTHING;
$$;
COMMENT ON FUNCTION chat.end_lost_reply(uuid, uuid, text, bigint) IS 'Ends, as interrupted or cancelled, a reply that nobody is writing, with p_text where that goes on from what is stored (NULL: it is not known), and settles what its earlier rounds took, what was sent for the last and what there is of it: of a completion that nobody keeps p_bytes, where more are not known of';

----------------------------------------------------------------- what was quoted

-- Where its passages were, it is said that there was one; the spelling of results
-- (033) has them too, and goes. What a store's document said to its members stays
-- theirs.
CREATE OR REPLACE FUNCTION chat.document_unquote()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE chat.messages m SET context = m.context - 'said', tool_responses = (
		SELECT jsonb_agg(CASE WHEN r.use->>'name' = 'search_documents'
		    AND jsonb_typeof(r.use->'result'->'passages') = 'array'
		    THEN jsonb_set(r.use, '{result,passages}', (
		        SELECT coalesce(jsonb_agg(CASE WHEN p.passage->>'document_id' = OLD.id::text
		            THEN jsonb_build_object('document_id', OLD.id, 'deleted', true)
		            ELSE p.passage END ORDER BY p.n), '[]')
		        FROM jsonb_array_elements(r.use->'result'->'passages')
		            WITH ORDINALITY p(passage, n)))
		    ELSE r.use END ORDER BY r.n)
		FROM jsonb_array_elements(m.tool_responses) WITH ORDINALITY r(use, n))
	 WHERE m.user_id = OLD.user_id
	   AND m.tool_responses @> '[{"name": "search_documents"}]'
	   AND m.tool_responses @> jsonb_build_array(jsonb_build_object('result',
	       jsonb_build_object('passages', jsonb_build_array(
	       jsonb_build_object('document_id', OLD.id)))));
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION chat.document_unquote() IS 'Takes what tools have quoted of a user''s own document out of their replies';
REVOKE ALL ON FUNCTION chat.document_unquote() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.document_unquote() TO natter_owner;

SET ROLE natter_owner;
CREATE OR REPLACE TRIGGER unquote AFTER DELETE ON chat.documents
    FOR EACH ROW WHEN (OLD.store_id IS NULL)
    EXECUTE FUNCTION chat.document_unquote();
COMMENT ON TRIGGER unquote ON chat.documents IS 'Their quotes go with documents';
SET ROLE natter_auth;

-------------------------------------------------------------------- reservation

-- p_limits are the settings' numbers in the order of auth.limit_names(); 0 is
-- none. p_fixed: bytes of the system prompt and the question. p_history: of the
-- messages before it, the newest first, each with all newer ones. p_wanted: the
-- most tokens of the reply that were asked for; NULL: nothing was said.
-- refused: the number of the limit; 0 where a limit in money meets a model
-- without a price. cap NULL: no limit. context: bytes of the history that fit.
-- p_standins: who may answer in the model's place, in their order. standins: those
-- of them who have the money for this prompt and this cap, a bit each; what is
-- reserved is the price of the dearest.
CREATE OR REPLACE FUNCTION chat.budget_reserve(p_user uuid, p_store uuid, p_model text,
    p_is_free boolean, p_limits bigint[], p_fixed bigint, p_history bigint[],
    p_wanted bigint, p_standins text[],
    OUT refused int, OUT cap bigint, OUT context bigint, OUT prompt bigint,
    OUT tokens bigint, OUT cost numeric, OUT day date, OUT day_ends bigint,
    OUT month_ends bigint, OUT limits bigint[], OUT rests bigint[],
    OUT standins bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	TURNS CONSTANT int := 2;
	STREAMS CONSTANT int := 5;
	utc CONSTANT timestamp := now() AT TIME ZONE 'UTC';
	own bigint[];
	of_store bigint[];
	r chat.token_budgets;
	q int;
	lim bigint;
	rest numeric;
	rest_of numeric[] := array_fill(NULL::numeric, ARRAY[9]);
	running bigint;
	running_there bigint;
	held chat.token_budgets[];
	fixed CONSTANT bigint := (p_fixed + 3) / 4;
	wanted bigint := p_wanted;
	least_reply bigint;
	room numeric;
	money numeric;
	input numeric := 0;
	output numeric := 0;
	history numeric;
	dearest numeric;
BEGIN
	IF p_user IS DISTINCT FROM nullif(current_setting('app.user_id', true), '')::uuid THEN
		RAISE EXCEPTION 'a budget is its user''s alone'
		    USING ERRCODE = 'insufficient_privilege';
	END IF;
	day := utc::date;
	day_ends := ceil(extract(epoch FROM (day + 1)::timestamp - utc));
	month_ends := ceil(extract(epoch FROM
	    date_trunc('month', utc) + interval '1 month' - utc));
	limits := array_fill(NULL::bigint, ARRAY[9]);
	cost := 0;
	tokens := 0;
	standins := -1;
	own := p_limits;
	-- For most users nothing overrides them, which is cheap to know.
	IF EXISTS (SELECT FROM auth.limits l WHERE l.user_id = p_user)
	    OR EXISTS (SELECT FROM auth.limits l WHERE l.role IS NOT NULL)
	    OR EXISTS (SELECT FROM auth.limits l WHERE l.store_id = p_store) THEN
		SELECT ARRAY(SELECT coalesce(o.v, o.w)
		        FROM unnest(l.own, p_limits) WITH ORDINALITY o(v, w, i)
		        ORDER BY o.i), l.of_store
		  INTO own, of_store
		  FROM auth.limits_of(p_user, p_store) l;
	END IF;

	-- The user's turns go through here one after the other: what follows sees
	-- all that those before have reserved.
	held := ARRAY(SELECT b FROM chat.budget_rows(p_user, p_store, day) b);
	IF cardinality(held) < (CASE WHEN p_store IS NULL THEN 2 ELSE 4 END) THEN
		PERFORM chat.budget_make(p_user, p_store, day);
		held := ARRAY(SELECT b FROM chat.budget_rows(p_user, p_store, day) b);
	END IF;
	SELECT count(*), count(*) FILTER (WHERE x.store_id = p_store)
	  INTO running, running_there
	  FROM chat.running_replies x WHERE x.user_id = p_user;

	-- Of a user's and a store's limit of the same name, the closer one.
	FOREACH r IN ARRAY held LOOP
		FOREACH q IN ARRAY CASE r.period WHEN 'day' THEN ARRAY[TURNS, STREAMS, 6, 8]
		    ELSE ARRAY[7, 9] END LOOP
			lim := CASE WHEN r.store_id IS NULL THEN own[q] ELSE of_store[q] END;
			CONTINUE WHEN coalesce(lim, 0) = 0;
			rest := lim - CASE
			    WHEN q = TURNS THEN r.turns
			    WHEN q = STREAMS AND r.store_id IS NULL THEN running
			    WHEN q = STREAMS THEN running_there
			    WHEN q IN (6, 7) THEN r.tokens_used + r.tokens_reserved
			    ELSE (r.cost_used + r.cost_reserved) * 100 END;
			CONTINUE WHEN rest_of[q] <= rest;
			limits[q] := lim;
			rest_of[q] := rest;
		END LOOP;
	END LOOP;

	IF rest_of[STREAMS] < 1 THEN
		refused := STREAMS;
	ELSIF rest_of[TURNS] < 1 THEN
		refused := TURNS;
	ELSIF p_is_free THEN
		prompt := fixed;
		context := 0;
	ELSE
		room := least(rest_of[6], rest_of[7]);
		money := least(rest_of[8], rest_of[9]) / 100;
		IF room IS NOT NULL OR money IS NOT NULL THEN
			wanted := coalesce(wanted, 2048);
		END IF;
		IF money IS NOT NULL THEN
			input := chat.cost_of(p_model, 1000000, 0, 0) / 1000000;
			-- What is kept for the reply may become the prompts of later
			-- rounds, where tools are called.
			output := greatest(chat.cost_of(p_model, 0, 0, 1000000) / 1000000, input);
		END IF;
		least_reply := least(wanted, 16);
		IF input IS NULL THEN
			refused := 0;
		ELSIF room < fixed + least_reply THEN
			refused := CASE WHEN rest_of[6] <= rest_of[7] OR rest_of[7] IS NULL
			    THEN 6 ELSE 7 END;
		ELSIF money < fixed * input + least_reply * output THEN
			refused := CASE WHEN rest_of[8] <= rest_of[9] OR rest_of[9] IS NULL
			    THEN 8 ELSE 9 END;
		ELSE
			-- Half of what is left for it is the reply's, if it wants so much.
			history := least(
			    room - fixed - least(wanted, greatest(least_reply, div(room - fixed, 2))),
			    (money - fixed * input - least(wanted * output,
			        greatest(least_reply * output, (money - fixed * input) / 2)))
			        / nullif(input, 0));
			context := coalesce((SELECT max(h) FROM unnest(p_history) h
			     WHERE history IS NULL OR h <= 4 * (fixed + floor(history)) - p_fixed), 0);
			prompt := (p_fixed + context + 3) / 4;
			cap := least(wanted, floor(room - prompt),
			    floor((money - prompt * input) / nullif(output, 0)));
			tokens := prompt + coalesce(cap, 0);
			cost := ceil((prompt * input + coalesce(cap, 0) * output) * 100000000) / 100000000;
			IF money IS NOT NULL THEN
				SELECT coalesce(bit_or(1::bigint << (s.n - 1)::int), 0), max(s.price)
				  INTO standins, dearest
				  FROM (SELECT o.n, ceil(greatest(chat.cost_of(o.model, prompt, 0, cap),
				            chat.cost_of(o.model, prompt + cap, 0, 0))
				            * 100000000) / 100000000 AS price
				          FROM unnest(p_standins) WITH ORDINALITY o(model, n)) s
				 WHERE s.price <= money;
				cost := greatest(cost, dearest);
			END IF;
		END IF;
	END IF;
	IF refused IS NULL THEN
		rest_of[TURNS] := rest_of[TURNS] - 1;
		rest_of[STREAMS] := rest_of[STREAMS] - 1;
	END IF;
	rests := ARRAY(SELECT greatest(0, floor(x.v - CASE WHEN x.i IN (6, 7) THEN tokens
	        WHEN x.i IN (8, 9) THEN cost * 100 ELSE 0 END))::bigint
	    FROM unnest(rest_of) WITH ORDINALITY x(v, i) ORDER BY x.i);
END
$$;
COMMENT ON FUNCTION chat.budget_reserve(uuid, uuid, text, boolean, bigint[], bigint, bigint[], bigint, text[]) IS 'May the user''s next reply begin, how long may it be, and how much of the history goes with it? Locks the user''s budgets until the transaction ends; the row in running_replies that follows reserves';
REVOKE ALL ON FUNCTION chat.budget_reserve(uuid, uuid, text, boolean, bigint[], bigint,
    bigint[], bigint, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.budget_reserve(uuid, uuid, text, boolean, bigint[], bigint,
    bigint[], bigint, text[]) TO natter_app;

-- Daemons of before prepare this until they are restarted.
CREATE OR REPLACE FUNCTION chat.budget_reserve(p_user uuid, p_store uuid, p_model text,
    p_is_free boolean, p_limits bigint[], p_fixed bigint, p_history bigint[],
    p_wanted bigint,
    OUT refused int, OUT cap bigint, OUT context bigint, OUT prompt bigint,
    OUT tokens bigint, OUT cost numeric, OUT day date, OUT day_ends bigint,
    OUT month_ends bigint, OUT limits bigint[], OUT rests bigint[])
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT g.refused, g.cap, g.context, g.prompt, g.tokens, g.cost, g.day, g.day_ends,
	    g.month_ends, g.limits, g.rests
	  FROM chat.budget_reserve(p_user, p_store, p_model, p_is_free, p_limits, p_fixed,
	    p_history, p_wanted, '{}') g
$$;
COMMENT ON FUNCTION chat.budget_reserve(uuid, uuid, text, boolean, bigint[], bigint, bigint[], bigint) IS 'As with nobody who may stand in. For daemons of before';

RESET ROLE;
