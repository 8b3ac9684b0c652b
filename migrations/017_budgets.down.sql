-- Takes back 017_budgets.up.sql. What was used and begun stays in its sums; what
-- was reserved is given up.

SET ROLE natter_owner;
DROP TRIGGER IF EXISTS count ON chat.usage_tracking;
DROP TRIGGER IF EXISTS reserve ON chat.running_replies;

SET ROLE natter_auth;
UPDATE chat.token_budgets SET tokens_reserved = 0, cost_reserved = 0
 WHERE tokens_reserved > 0 OR cost_reserved > 0;

CREATE OR REPLACE FUNCTION chat.sweep_dead_replies(p_dead interval)
RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
	swept int;
BEGIN
	IF p_dead IS NULL OR p_dead < interval '1 second' THEN
		RAISE EXCEPTION 'a worker is not dead before a second has passed'
		    USING ERRCODE = 'invalid_parameter_value';
	END IF;

	-- A reply younger than p_dead is left alone even when its worker is not
	-- known: that worker may be about to say that it lives. A row that
	-- somebody holds is skipped (its reply is just being finished), so that a
	-- sweep waits for nobody and two sweeps share the work.
	WITH dead AS (
		SELECT r.user_id, r.message_id
		FROM chat.running_replies r
		JOIN chat.messages m ON m.user_id = r.user_id AND m.id = r.message_id
		WHERE r.started_at < now() - p_dead
		AND NOT EXISTS (SELECT FROM chat.workers w
		    WHERE w.id = r.worker_id AND w.seen_at >= now() - p_dead)
		LIMIT 1000
		FOR UPDATE OF r, m SKIP LOCKED
	), ended AS (
		UPDATE chat.messages m
		SET status = 'interrupted', completed_at = now()
		FROM dead d
		WHERE m.user_id = d.user_id AND m.id = d.message_id
		AND m.status = 'streaming'
	), gone AS (
		DELETE FROM chat.running_replies r USING dead d
		WHERE r.user_id = d.user_id AND r.message_id = d.message_id
		RETURNING 1
	)
	SELECT count(*) INTO swept FROM gone;

	-- Rows whose message has gone away.
	DELETE FROM chat.running_replies r
	WHERE r.started_at < now() - p_dead
	AND NOT EXISTS (SELECT FROM chat.workers w
	    WHERE w.id = r.worker_id AND w.seen_at >= now() - p_dead)
	AND NOT EXISTS (SELECT FROM chat.messages m
	    WHERE m.user_id = r.user_id AND m.id = r.message_id);

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
COMMENT ON FUNCTION chat.sweep_dead_replies(interval) IS 'Ends as interrupted the running replies of workers that gave no sign of life for p_dead, and forgets such workers; returns how many replies it ended';

CREATE OR REPLACE FUNCTION auth.turns_today(p_user uuid, p_store uuid)
RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT count(*)
	  FROM chat.messages m
	  JOIN chat.conversations c ON c.user_id = m.user_id AND c.id = m.conversation_id
	 WHERE m.user_id = p_user AND m.role = 'assistant'
	   AND m.id >= natter.uuid_floor(date_trunc('day', now(), 'UTC'))
	   AND CASE WHEN p_store IS NULL THEN NOT EXISTS (
	            SELECT FROM auth.limits l
	             WHERE l.store_id = c.store_id AND l.name = 'turns_per_day')
	       ELSE c.store_id = p_store END;
$$;
COMMENT ON FUNCTION auth.turns_today(uuid, uuid) IS 'How many turns a user began today (UTC): in a store with a day''s limit of its own, or, without a store, in none of those';

DROP FUNCTION IF EXISTS chat.budgets_amiss(date);
DROP FUNCTION IF EXISTS chat.end_lost_reply(uuid, uuid);
DROP FUNCTION IF EXISTS chat.budget_reserve(uuid, uuid, text, boolean, bigint[], bigint,
    bigint[], bigint);
DROP FUNCTION IF EXISTS chat.usage_counts();
DROP FUNCTION IF EXISTS chat.reply_reserves();
DROP FUNCTION IF EXISTS chat.budget_add(uuid, uuid, date, bigint, numeric, bigint, numeric, int);
DROP FUNCTION IF EXISTS chat.budget_make(uuid, uuid, date);
DROP FUNCTION IF EXISTS chat.budget_rows(uuid, uuid, date);

SET ROLE natter_owner;
REVOKE SELECT, INSERT ON chat.usage_tracking FROM natter_auth;
ALTER TABLE chat.usage_tracking
    DROP COLUMN IF EXISTS is_billed,
    DROP COLUMN IF EXISTS counted_on,
    DROP COLUMN IF EXISTS store_id;
DELETE FROM chat.running_replies r WHERE NOT EXISTS (SELECT FROM chat.conversations c
    WHERE c.user_id = r.user_id AND c.id = r.conversation_id);
ALTER TABLE chat.running_replies DROP CONSTRAINT IF EXISTS running_replies_user_id_fkey;
ALTER TABLE chat.running_replies DROP CONSTRAINT IF EXISTS running_replies_conversation_fkey;
ALTER TABLE chat.running_replies ADD CONSTRAINT running_replies_conversation_fkey
    FOREIGN KEY (user_id, conversation_id)
    REFERENCES chat.conversations (user_id, id) ON DELETE CASCADE;
ALTER TABLE chat.running_replies
    DROP COLUMN IF EXISTS cost_reserved,
    DROP COLUMN IF EXISTS tokens_reserved,
    DROP COLUMN IF EXISTS prompt_tokens,
    DROP COLUMN IF EXISTS counted_on,
    DROP COLUMN IF EXISTS is_billed,
    DROP COLUMN IF EXISTS model,
    DROP COLUMN IF EXISTS store_id;
DROP INDEX IF EXISTS chat.idx_chat_token_budgets_days;
ALTER TABLE chat.token_budgets RESET (fillfactor);
ALTER TABLE chat.token_budgets DROP COLUMN IF EXISTS turns;
COMMENT ON TABLE chat.token_budgets IS 'What of a user''s budget is used and reserved, per day or month and, where given, store';

RESET ROLE;
