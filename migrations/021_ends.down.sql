-- Takes back 021_ends.up.sql. Who asked for a reply's end is forgotten; replies
-- that were taken over are ended by the next sweep, without what their logs hold.

SET ROLE natter_auth;

DROP FUNCTION IF EXISTS chat.end_taken_reply(uuid, uuid, text);
DROP FUNCTION IF EXISTS chat.end_lost_reply(uuid, uuid, text);
DROP FUNCTION IF EXISTS chat.take_lost_replies(uuid, interval, int);
DROP FUNCTION IF EXISTS chat.cancelled_replies(uuid);

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
REVOKE ALL ON FUNCTION chat.end_lost_reply(uuid, uuid), chat.sweep_dead_replies(interval)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.end_lost_reply(uuid, uuid), chat.sweep_dead_replies(interval)
    TO natter_app;

SET ROLE natter_owner;

REVOKE UPDATE (content, token_count) ON chat.messages FROM natter_auth;
ALTER TABLE chat.workers DROP COLUMN IF EXISTS died_at;
DROP INDEX IF EXISTS chat.idx_chat_running_replies_to_end;
ALTER TABLE chat.running_replies
    DROP COLUMN IF EXISTS lost_at,
    DROP COLUMN IF EXISTS cancelled_at;
COMMENT ON COLUMN chat.running_replies.worker_id IS 'The worker that writes it; when that worker is dead, a sweep ends the reply';

RESET ROLE;
