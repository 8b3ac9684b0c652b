-- 017: token budgets that balance. A reply that is being written holds back
-- what it may take at most; its end gives that back and leaves a row in
-- usage_tracking, which counts. Nobody else writes the sums: triggers do, on
-- the rows that come and go, so that the sums are those of the rows whoever
-- makes or deletes them.
--
-- Locks are taken in one order by everybody: conversation, reply, budgets; the
-- budgets of several users in the users' order, of one user all stores' before
-- a store's, the month's before the day's. The triggers are deferred: they run
-- when a transaction has all its other rows.

SET ROLE natter_owner;

------------------------------------------------------------------------- tables

ALTER TABLE chat.token_budgets ADD COLUMN IF NOT EXISTS turns int NOT NULL DEFAULT 0
    CONSTRAINT token_budgets_turns CHECK (turns >= 0);
COMMENT ON COLUMN chat.token_budgets.turns IS 'Replies begun, free ones too';
COMMENT ON TABLE chat.token_budgets IS 'What of a user''s budget is used and reserved: a row for each day and month with replies, and one more for the store that they were in. The sums of usage_tracking (billed) and running_replies, kept by triggers';
ALTER TABLE chat.token_budgets SET (fillfactor = 80);
CREATE INDEX IF NOT EXISTS idx_chat_token_budgets_days
    ON chat.token_budgets (user_id, starts_on);
COMMENT ON INDEX chat.idx_chat_token_budgets_days IS 'A user''s rows of today and of this month';

ALTER TABLE chat.running_replies
    ADD COLUMN IF NOT EXISTS store_id uuid,
    ADD COLUMN IF NOT EXISTS model text NOT NULL DEFAULT 'unknown',
    ADD COLUMN IF NOT EXISTS is_billed boolean NOT NULL DEFAULT true,
    ADD COLUMN IF NOT EXISTS counted_on date NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')::date,
    ADD COLUMN IF NOT EXISTS prompt_tokens int NOT NULL DEFAULT 0
	CONSTRAINT running_replies_prompt_tokens CHECK (prompt_tokens >= 0),
    ADD COLUMN IF NOT EXISTS tokens_reserved bigint NOT NULL DEFAULT 0
	CONSTRAINT running_replies_tokens_reserved CHECK (tokens_reserved >= 0),
    ADD COLUMN IF NOT EXISTS cost_reserved numeric(14, 8) NOT NULL DEFAULT 0
	CONSTRAINT running_replies_cost_reserved CHECK (cost_reserved >= 0);
COMMENT ON COLUMN chat.running_replies.store_id IS 'The conversation''s store when the reply began; NULL: none';
COMMENT ON COLUMN chat.running_replies.model IS 'The model that was asked';
COMMENT ON COLUMN chat.running_replies.is_billed IS 'Its tokens count; natter-local''s do not';
COMMENT ON COLUMN chat.running_replies.counted_on IS 'The day (UTC) that it counts to: that of its beginning';
COMMENT ON COLUMN chat.running_replies.prompt_tokens IS 'Tokens sent to the model, estimated';
COMMENT ON COLUMN chat.running_replies.tokens_reserved IS 'What the budgets hold back for it: the tokens sent and the most that may come';
COMMENT ON COLUMN chat.running_replies.cost_reserved IS 'The price of those, where a limit in money holds';

DROP TRIGGER IF EXISTS count ON chat.usage_tracking;
-- Types are changed to themselves so that the rows that are there get their
-- values: row level security lets their owner do it in no other way.
ALTER TABLE chat.usage_tracking
    ADD COLUMN IF NOT EXISTS store_id uuid,
    ADD COLUMN IF NOT EXISTS counted_on date,
    ADD COLUMN IF NOT EXISTS is_billed boolean NOT NULL DEFAULT true;
ALTER TABLE chat.usage_tracking
    ALTER COLUMN counted_on TYPE date
	USING coalesce(counted_on, (created_at AT TIME ZONE 'UTC')::date),
    ALTER COLUMN is_billed TYPE boolean USING is_billed AND model <> 'natter-local',
    ALTER COLUMN counted_on SET DEFAULT (now() AT TIME ZONE 'UTC')::date,
    ALTER COLUMN counted_on SET NOT NULL;
DO $$
DECLARE
	part regclass;
BEGIN
	FOR part IN SELECT p.relid FROM pg_partition_tree('chat.usage_tracking') p LOOP
		EXECUTE format('COMMENT ON COLUMN %s.store_id IS %L', part,
		    'The conversation''s store when the reply began; NULL: none. Outlives the store');
		EXECUTE format('COMMENT ON COLUMN %s.counted_on IS %L', part,
		    'The day (UTC) that it counts to: that of the reply''s beginning');
		EXECUTE format('COMMENT ON COLUMN %s.is_billed IS %L', part,
		    'It counts against the budgets; what natter-local says does not');
	END LOOP;
END
$$;
-- A partition that was there has its columns' comments of its own.
DO $$
DECLARE
	c record;
BEGIN
	FOR c IN SELECT i.inhrelid::regclass AS part, a.attname, col_description(i.inhparent, a.attnum) AS text
	    FROM pg_inherits i JOIN pg_attribute a ON a.attrelid = i.inhparent
	    WHERE i.inhparent = 'chat.usage_tracking'::regclass
	    AND a.attname IN ('store_id', 'counted_on', 'is_billed')
	LOOP
		EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', c.part, c.attname, c.text);
	END LOOP;
END
$$;
-- A reply goes on when its conversation is deleted, and holds back until its end:
-- otherwise who deletes what is being written writes for nothing.
ALTER TABLE chat.running_replies
    DROP CONSTRAINT IF EXISTS running_replies_conversation_fkey,
    DROP CONSTRAINT IF EXISTS running_replies_user_id_fkey;
ALTER TABLE chat.running_replies ADD CONSTRAINT running_replies_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE;

GRANT INSERT (store_id, counted_on, is_billed) ON chat.usage_tracking TO natter_app;
GRANT SELECT, INSERT ON chat.usage_tracking TO natter_auth;

--------------------------------------------------------------- rows of a budget
-- In plpgsql, which keeps its plans: SQL functions are planned at every call,
-- which was most of what a turn's beginning cost (measured).

SET ROLE natter_auth;

CREATE OR REPLACE FUNCTION chat.budget_rows(p_user uuid, p_store uuid, p_day date)
RETURNS SETOF chat.token_budgets
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	month CONSTANT date := date_trunc('month', p_day::timestamp)::date;
BEGIN
	RETURN QUERY SELECT b.* FROM chat.token_budgets b
	 WHERE b.user_id = p_user AND b.starts_on IN (p_day, month)
	   AND (b.period = 'day' AND b.starts_on = p_day
	    OR b.period = 'month' AND b.starts_on = month)
	   AND (b.store_id IS NULL OR b.store_id = p_store)
	 ORDER BY b.store_id NULLS FIRST, b.period DESC
	   FOR UPDATE;
END
$$;
COMMENT ON FUNCTION chat.budget_rows(uuid, uuid, date) IS 'Locks, in the order that everybody keeps, the rows that a reply of that day counts to';

CREATE OR REPLACE FUNCTION chat.budget_make(p_user uuid, p_store uuid, p_day date)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	INSERT INTO chat.token_budgets (user_id, id, store_id, period, starts_on)
	SELECT p_user, natter.uuid_v7(), s.id, p.period, p.starts_on
	  FROM (SELECT NULL::uuid AS id UNION ALL
	        SELECT t.id FROM chat.stores t WHERE t.id = p_store) s
	 CROSS JOIN (VALUES ('month', date_trunc('month', p_day::timestamp)::date),
	    ('day', p_day)) p(period, starts_on)
	 ORDER BY s.id NULLS FIRST, p.period DESC
	    ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION chat.budget_make(uuid, uuid, date) IS 'Makes the rows that a reply of that day counts to, where they are missing';

CREATE OR REPLACE FUNCTION chat.budget_add(p_user uuid, p_store uuid, p_day date,
    p_tokens bigint, p_cost numeric, p_tokens_reserved bigint, p_cost_reserved numeric,
    p_turns int)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE chat.token_budgets b
	   SET tokens_used = b.tokens_used + p_tokens,
	       cost_used = b.cost_used + p_cost,
	       tokens_reserved = b.tokens_reserved + p_tokens_reserved,
	       cost_reserved = b.cost_reserved + p_cost_reserved,
	       turns = b.turns + p_turns
	 WHERE b.user_id = p_user AND b.id = ANY (ARRAY(
	    SELECT r.id FROM chat.budget_rows(p_user, p_store, p_day) r));
END
$$;
COMMENT ON FUNCTION chat.budget_add(uuid, uuid, date, bigint, numeric, bigint, numeric, int) IS 'Adds to all sums of that day; to none where the user or the store has gone';

---------------------------------------------------------------------- triggers

CREATE OR REPLACE FUNCTION chat.reply_reserves()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF TG_OP = 'INSERT' THEN
		PERFORM chat.budget_add(NEW.user_id, NEW.store_id, NEW.counted_on,
		    0, 0, NEW.tokens_reserved, NEW.cost_reserved, 1);
	ELSIF OLD.tokens_reserved > 0 OR OLD.cost_reserved > 0 THEN
		PERFORM chat.budget_add(OLD.user_id, OLD.store_id, OLD.counted_on,
		    0, 0, -OLD.tokens_reserved, -OLD.cost_reserved, 0);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION chat.reply_reserves() IS 'Keeps what the budgets hold back: the sums of the running replies';

CREATE OR REPLACE FUNCTION chat.usage_counts()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- They were made when the reply began; usage may also come without one.
	IF (SELECT count(*) FROM chat.budget_rows(NEW.user_id, NEW.store_id, NEW.counted_on))
	    < (CASE WHEN NEW.store_id IS NULL THEN 2 ELSE 4 END) THEN
		PERFORM chat.budget_make(NEW.user_id, NEW.store_id, NEW.counted_on);
	END IF;
	PERFORM chat.budget_add(NEW.user_id, NEW.store_id, NEW.counted_on,
	    NEW.prompt_tokens::bigint + NEW.completion_tokens, NEW.cost, 0, 0, 0);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION chat.usage_counts() IS 'Keeps what of the budgets is used: the sums of the billed usage';

REVOKE ALL ON FUNCTION chat.budget_rows(uuid, uuid, date),
    chat.budget_make(uuid, uuid, date),
    chat.budget_add(uuid, uuid, date, bigint, numeric, bigint, numeric, int),
    chat.reply_reserves(), chat.usage_counts() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.reply_reserves(), chat.usage_counts() TO natter_owner;

SET ROLE natter_owner;

DROP TRIGGER IF EXISTS reserve ON chat.running_replies;
CREATE CONSTRAINT TRIGGER reserve AFTER INSERT OR DELETE ON chat.running_replies
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION chat.reply_reserves();
COMMENT ON TRIGGER reserve ON chat.running_replies IS 'Reserves, and gives back';
CREATE CONSTRAINT TRIGGER count AFTER INSERT ON chat.usage_tracking
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.is_billed AND (NEW.prompt_tokens > 0
	OR NEW.completion_tokens > 0 OR NEW.cost > 0))
    EXECUTE FUNCTION chat.usage_counts();
COMMENT ON TRIGGER count ON chat.usage_tracking IS 'Counts against the budgets';

-------------------------------------------------------------------- reservation

SET ROLE natter_auth;

-- Counted where it is decided, so that a turn that was deleted stays one.
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
COMMENT ON FUNCTION auth.turns_today(uuid, uuid) IS 'How many turns a user began today (UTC), in a store or in all';

-- p_limits are the settings' numbers in the order of auth.limit_names(); 0 is
-- none. p_fixed: bytes of the system prompt and the question. p_history: of the
-- messages before it, the newest first, each with all newer ones. p_wanted: the
-- most tokens of the reply that were asked for; NULL: nothing was said.
-- refused: the number of the limit; 0 where a limit in money meets a model
-- without a price. cap NULL: no limit. context: bytes of the history that fit.
CREATE OR REPLACE FUNCTION chat.budget_reserve(p_user uuid, p_store uuid, p_model text,
    p_is_free boolean, p_limits bigint[], p_fixed bigint, p_history bigint[],
    p_wanted bigint,
    OUT refused int, OUT cap bigint, OUT context bigint, OUT prompt bigint,
    OUT tokens bigint, OUT cost numeric, OUT day date, OUT day_ends bigint,
    OUT month_ends bigint, OUT limits bigint[], OUT rests bigint[])
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
			output := chat.cost_of(p_model, 0, 0, 1000000) / 1000000;
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
COMMENT ON FUNCTION chat.budget_reserve(uuid, uuid, text, boolean, bigint[], bigint, bigint[], bigint) IS 'May the user''s next reply begin, how long may it be, and how much of the history goes with it? Locks the user''s budgets until the transaction ends; the row in running_replies that follows reserves';
REVOKE ALL ON FUNCTION chat.budget_reserve(uuid, uuid, text, boolean, bigint[], bigint,
    bigint[], bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.budget_reserve(uuid, uuid, text, boolean, bigint[], bigint,
    bigint[], bigint) TO natter_app;

--------------------------------------------------------------- replies that died

-- Who calls it must be allowed to do all this: the sweep is, and the daemon for
-- the user that it speaks for.
CREATE OR REPLACE FUNCTION chat.end_lost_reply(p_user uuid, p_message uuid)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH ended AS (
		UPDATE chat.messages m SET status = 'interrupted', completed_at = now()
		WHERE m.user_id = p_user AND m.id = p_message AND m.status = 'streaming'
	), gone AS (
		DELETE FROM chat.running_replies r
		WHERE r.user_id = p_user AND r.message_id = p_message
		RETURNING r.*
	), counted AS (
		SELECT g.*, coalesce((SELECT (octet_length(m.content) + 3) / 4 FROM chat.messages m
		    WHERE m.user_id = p_user AND m.id = p_message), 0) AS completion_tokens
		FROM gone g
	)
	INSERT INTO chat.usage_tracking (user_id, id, conversation_id, message_id, model,
	    prompt_tokens, completion_tokens, cost, is_estimated, store_id, counted_on, is_billed)
	SELECT c.user_id, c.message_id, c.conversation_id, c.message_id, c.model, c.prompt_tokens,
	    c.completion_tokens, CASE WHEN c.is_billed THEN least(999999,
	        coalesce(chat.cost_of(c.model, c.prompt_tokens, 0, c.completion_tokens), 0))
	        ELSE 0 END, true, c.store_id, c.counted_on, c.is_billed
	FROM counted c
	ON CONFLICT (user_id, id) DO NOTHING;
$$;
COMMENT ON FUNCTION chat.end_lost_reply(uuid, uuid) IS 'Ends as interrupted a reply that nobody is writing, and settles what was sent and what is stored of it';

CREATE OR REPLACE FUNCTION chat.sweep_dead_replies(p_dead interval)
RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
	swept int := 0;
	dead record;
BEGIN
	IF p_dead IS NULL OR p_dead < interval '1 second' THEN
		RAISE EXCEPTION 'a worker is not dead before a second has passed'
		    USING ERRCODE = 'invalid_parameter_value';
	END IF;

	-- A reply younger than p_dead is left alone even when its worker is not
	-- known: that worker may be about to say that it lives. A row that
	-- somebody holds is skipped (its reply is just being finished), so that a
	-- sweep waits for nobody and two sweeps share the work. One that is older
	-- than any may get (CHAT_REPLY_MAX_SECONDS is an hour at most) was begun by a
	-- commit whose answer was lost: its worker knows nothing of it. The users' order is
	-- that in which the budgets will be locked.
	FOR dead IN
		SELECT r.user_id, r.message_id
		FROM chat.running_replies r
		JOIN chat.messages m ON m.user_id = r.user_id AND m.id = r.message_id
		WHERE r.started_at < now() - p_dead
		AND (r.started_at < now() - interval '75 minutes'
		    OR NOT EXISTS (SELECT FROM chat.workers w
		    WHERE w.id = r.worker_id AND w.seen_at >= now() - p_dead))
		ORDER BY r.user_id, r.message_id
		LIMIT 1000
		FOR UPDATE OF r, m SKIP LOCKED
	LOOP
		PERFORM chat.end_lost_reply(dead.user_id, dead.message_id);
		swept := swept + 1;
	END LOOP;

	-- Rows whose message has gone away.
	FOR dead IN
		SELECT r.user_id, r.message_id
		FROM chat.running_replies r
		WHERE r.started_at < now() - p_dead
		AND (r.started_at < now() - interval '75 minutes'
		    OR NOT EXISTS (SELECT FROM chat.workers w
		    WHERE w.id = r.worker_id AND w.seen_at >= now() - p_dead))
		AND NOT EXISTS (SELECT FROM chat.messages m
		    WHERE m.user_id = r.user_id AND m.id = r.message_id)
		ORDER BY r.user_id, r.message_id
		LIMIT 1000
		FOR UPDATE OF r SKIP LOCKED
	LOOP
		PERFORM chat.end_lost_reply(dead.user_id, dead.message_id);
	END LOOP;

	-- A dead worker's row is not needed to know that it is dead; it is kept
	-- for a while, so that a worker that was only stopped finds itself again.
	DELETE FROM chat.workers w
	WHERE w.id IN (SELECT d.id FROM chat.workers d
	    WHERE d.seen_at < now() - greatest(p_dead * 2, interval '1 minute')
	    LIMIT 1000
	    FOR UPDATE SKIP LOCKED);

	RETURN swept;
END
$$;
COMMENT ON FUNCTION chat.sweep_dead_replies(interval) IS 'Ends as interrupted the running replies of workers that gave no sign of life for p_dead, and those that nobody can be writing any more, settles them, and forgets such workers; returns how many replies it ended';

------------------------------------------------------------------- the invariant

CREATE OR REPLACE FUNCTION chat.budgets_amiss(p_from date)
RETURNS TABLE (user_id uuid, store_id uuid, period text, starts_on date, what text,
    budget numeric, rows_sum numeric)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	WITH parts AS (
		SELECT u.user_id, u.store_id, u.counted_on,
		    u.prompt_tokens::numeric + u.completion_tokens AS used, u.cost,
		    0::numeric AS held, 0::numeric AS cost_held
		FROM chat.usage_tracking u
		WHERE u.is_billed AND u.counted_on >= p_from
		AND u.id >= natter.uuid_floor(p_from::timestamp AT TIME ZONE 'UTC' - interval '1 day')
		UNION ALL
		SELECT r.user_id, r.store_id, r.counted_on, 0, 0, r.tokens_reserved, r.cost_reserved
		FROM chat.running_replies r WHERE r.counted_on >= p_from
	), sums AS (
		SELECT p.user_id, s.id AS store_id, d.period, d.starts_on, sum(p.used) AS used,
		    sum(p.cost) AS cost, sum(p.held) AS held, sum(p.cost_held) AS cost_held
		FROM parts p
		CROSS JOIN LATERAL (SELECT NULL::uuid AS id UNION ALL
		    SELECT t.id FROM chat.stores t WHERE t.id = p.store_id) s
		CROSS JOIN LATERAL (VALUES ('day', p.counted_on),
		    ('month', date_trunc('month', p.counted_on::timestamp)::date)) d(period, starts_on)
		GROUP BY 1, 2, 3, 4
	), both_sides AS (
		SELECT coalesce(b.user_id, s.user_id) AS user_id,
		    coalesce(b.store_id, s.store_id) AS store_id,
		    coalesce(b.period, s.period) AS period,
		    coalesce(b.starts_on, s.starts_on) AS starts_on, v.*
		FROM (SELECT x.* FROM chat.token_budgets x WHERE x.starts_on >= p_from) b
		FULL JOIN sums s ON s.user_id = b.user_id
		    AND coalesce(s.store_id, '00000000-0000-0000-0000-000000000000')
		    = coalesce(b.store_id, '00000000-0000-0000-0000-000000000000')
		    AND s.period = b.period AND s.starts_on = b.starts_on
		CROSS JOIN LATERAL (VALUES
		    ('tokens_used', coalesce(b.tokens_used, 0), coalesce(s.used, 0)),
		    ('cost_used', coalesce(b.cost_used, 0), coalesce(s.cost, 0)),
		    ('tokens_reserved', coalesce(b.tokens_reserved, 0), coalesce(s.held, 0)),
		    ('cost_reserved', coalesce(b.cost_reserved, 0), coalesce(s.cost_held, 0)))
		    v(what, budget, rows_sum)
	)
	SELECT x.user_id, x.store_id, x.period, x.starts_on, x.what, x.budget, x.rows_sum
	FROM both_sides x WHERE x.budget <> x.rows_sum
	ORDER BY x.starts_on, x.user_id, x.store_id NULLS FIRST, x.period, x.what
	LIMIT 1000;
$$;
COMMENT ON FUNCTION chat.budgets_amiss(date) IS 'The sums of token_budgets since the first of a month that are not those of the usage and of the running replies: none, ever';
REVOKE ALL ON FUNCTION chat.end_lost_reply(uuid, uuid), chat.budgets_amiss(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.end_lost_reply(uuid, uuid) TO natter_app;
GRANT EXECUTE ON FUNCTION chat.budgets_amiss(date) TO natter_owner, natter_jobs;

-- What was used before budgets were kept.
INSERT INTO chat.token_budgets (user_id, id, period, starts_on, tokens_used, cost_used, turns)
SELECT x.user_id, natter.uuid_v7(), x.period, x.starts_on, x.tokens, x.cost, x.turns
  FROM (SELECT u.user_id, d.period, d.starts_on, sum(u.cost) AS cost, count(*) AS turns,
	coalesce(sum(u.prompt_tokens::bigint + u.completion_tokens), 0) AS tokens
	  FROM chat.usage_tracking u
	 CROSS JOIN LATERAL (VALUES ('day', u.counted_on),
	    ('month', date_trunc('month', u.counted_on::timestamp)::date)) d(period, starts_on)
	 WHERE u.is_billed GROUP BY 1, 2, 3) x
    ON CONFLICT DO NOTHING;

RESET ROLE;
