-- 021: how replies end before their time. A user stops one from anywhere; the
-- reply of a worker that died is taken over by another one, which reads its
-- text from the reply's log before it ends it.

SET ROLE natter_owner;

ALTER TABLE chat.running_replies
    ADD COLUMN IF NOT EXISTS cancelled_at timestamptz,
    ADD COLUMN IF NOT EXISTS lost_at timestamptz;
COMMENT ON COLUMN chat.running_replies.cancelled_at IS 'When its user asked for its end; NULL: never. The worker that writes it looks here';
COMMENT ON COLUMN chat.running_replies.lost_at IS 'When worker_id took it over from a worker that had died, only to end it; NULL: worker_id writes it';
COMMENT ON COLUMN chat.running_replies.worker_id IS 'The worker that writes it, or, once that one is dead, the one that ends it';
CREATE INDEX IF NOT EXISTS idx_chat_running_replies_to_end
    ON chat.running_replies (worker_id)
    WHERE cancelled_at IS NOT NULL OR lost_at IS NOT NULL;
COMMENT ON INDEX chat.idx_chat_running_replies_to_end IS 'What a worker has to end; empty as a rule';

ALTER TABLE chat.workers ADD COLUMN IF NOT EXISTS died_at timestamptz;
COMMENT ON COLUMN chat.workers.died_at IS 'When its master''s next worker told that it had died; NULL: it lives, or nobody saw its end';

GRANT UPDATE (cancelled_at) ON chat.running_replies TO natter_app;
GRANT UPDATE (lost_at) ON chat.running_replies TO natter_auth;
GRANT UPDATE (content, token_count) ON chat.messages TO natter_auth;

SET ROLE natter_auth;

-- In plpgsql, which keeps its plan: it runs a few times a second.
CREATE OR REPLACE FUNCTION chat.cancelled_replies(p_worker uuid)
RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY SELECT r.message_id FROM chat.running_replies r
	 WHERE r.worker_id = p_worker AND r.cancelled_at IS NOT NULL AND r.lost_at IS NULL
	 ORDER BY r.cancelled_at
	 LIMIT 1000;
END
$$;
COMMENT ON FUNCTION chat.cancelled_replies(uuid) IS 'Which of the replies that a worker writes their users have cancelled';

-- Taking over is a short transaction of its own: no row is held while the log
-- is read. A reply younger than p_dead is left alone even when its worker is
-- not known: that worker may be about to say that it lives. A row that somebody
-- holds is skipped (its reply is just being finished), so that a sweep waits
-- for nobody and two sweeps share the work. One that is older than any may get
-- (CHAT_REPLY_MAX_SECONDS is an hour at most) was begun by a commit whose answer
-- was lost: its worker knows nothing of it.
CREATE OR REPLACE FUNCTION chat.take_lost_replies(p_worker uuid, p_dead interval, p_limit int)
RETURNS TABLE (user_id uuid, message_id uuid, lost_ms bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
	dead CONSTANT uuid[] := ARRAY(SELECT w.id FROM chat.workers w
	    WHERE w.died_at IS NOT NULL AND w.id <> p_worker);
BEGIN
	IF p_dead < interval '1 second' THEN
		RAISE EXCEPTION 'a worker is not dead before a second has passed'
		    USING ERRCODE = 'invalid_parameter_value';
	END IF;

	IF p_dead IS NOT NULL OR cardinality(dead) > 0 THEN
		UPDATE chat.running_replies r
		   SET worker_id = p_worker, lost_at = coalesce(r.lost_at, now())
		  FROM (SELECT x.user_id, x.message_id FROM chat.running_replies x
		         WHERE (x.worker_id <> p_worker OR x.lost_at IS NULL)
		           AND (x.worker_id = ANY (dead)
		            OR x.started_at < now() - p_dead
		           AND (x.lost_at IS NULL
		            AND x.started_at < now() - interval '75 minutes'
		            OR NOT EXISTS (SELECT FROM chat.workers w
		                WHERE w.id = x.worker_id AND w.seen_at >= now() - p_dead)))
		         LIMIT p_limit
		           FOR UPDATE SKIP LOCKED) d
		 WHERE r.user_id = d.user_id AND r.message_id = d.message_id;
	END IF;

	-- A dead worker's row is not needed to know that it is dead; it is kept
	-- for a while, so that a worker that was only stopped finds itself again.
	DELETE FROM chat.workers w
	 WHERE w.id IN (SELECT d.id FROM chat.workers d
	     WHERE d.seen_at < now() - greatest(p_dead * 2, interval '1 minute')
	     AND p_dead IS NOT NULL
	     LIMIT 1000
	     FOR UPDATE SKIP LOCKED);

	-- In the order in which their budgets will be locked.
	RETURN QUERY SELECT o.user_id, o.message_id,
	    floor(1000 * extract(epoch FROM now() - o.lost_at))::bigint
	  FROM (SELECT r.user_id, r.message_id, r.lost_at FROM chat.running_replies r
	         WHERE r.worker_id = p_worker AND r.lost_at IS NOT NULL
	         ORDER BY r.lost_at, r.message_id LIMIT p_limit) o
	 ORDER BY o.user_id, o.message_id;
END
$$;
COMMENT ON FUNCTION chat.take_lost_replies(uuid, interval, int) IS 'Takes over, for a worker, replies of workers that were seen to die or gave no sign of life for p_dead (NULL: only the former), and forgets the latter; gives those that it has to end, and for how long they have been lost';

-- Who calls it must be allowed to do all this: chat.end_taken_reply is, and the
-- daemon for the user that it speaks for.
CREATE OR REPLACE FUNCTION chat.end_lost_reply(p_user uuid, p_message uuid, p_text text)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH gone AS (
		DELETE FROM chat.running_replies r
		WHERE r.user_id = p_user AND r.message_id = p_message
		RETURNING r.*
	), ended AS (
		UPDATE chat.messages m SET completed_at = now(),
		    status = CASE WHEN g.cancelled_at IS NULL THEN 'interrupted' ELSE 'cancelled' END,
		    error_code = CASE WHEN g.cancelled_at IS NULL THEN 'interrupted' END,
		    content = t.content, token_count = (octet_length(t.content) + 3) / 4
		FROM gone g, LATERAL (SELECT CASE WHEN starts_with(p_text, o.content) THEN p_text
		    ELSE o.content END AS content FROM chat.messages o
		    WHERE o.user_id = p_user AND o.id = p_message) t
		WHERE m.user_id = p_user AND m.id = p_message AND m.status = 'streaming'
		RETURNING m.token_count
	), counted AS (
		SELECT g.*, coalesce((SELECT e.token_count FROM ended e),
		    (octet_length(p_text) + 3) / 4, 0) AS completion_tokens
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
COMMENT ON FUNCTION chat.end_lost_reply(uuid, uuid, text) IS 'Ends, as interrupted or cancelled, a reply that nobody is writing, with p_text where that goes on from what is stored (NULL: it is not known), and settles what was sent and what there is of it';

CREATE OR REPLACE FUNCTION chat.end_taken_reply(p_user uuid, p_message uuid, p_text text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
BEGIN
	-- The message first, as a turn's own end locks it: its worker may have
	-- been stopped only, and have woken.
	PERFORM FROM chat.messages m
	  WHERE m.user_id = p_user AND m.id = p_message FOR UPDATE;
	PERFORM FROM chat.running_replies r
	  WHERE r.user_id = p_user AND r.message_id = p_message AND r.lost_at IS NOT NULL
	    FOR UPDATE;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	PERFORM chat.end_lost_reply(p_user, p_message, p_text);
	PERFORM natter.note_change();
	RETURN true;
END
$$;
COMMENT ON FUNCTION chat.end_taken_reply(uuid, uuid, text) IS 'Ends a reply that was taken over from a dead worker; false: it had ended';

-- Daemons of before prepare these until they are restarted. A sweep by one of
-- them would end replies without the text that their logs hold.
CREATE OR REPLACE FUNCTION chat.sweep_dead_replies(p_dead interval)
RETURNS int
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT 0 $$;
COMMENT ON FUNCTION chat.sweep_dead_replies(interval) IS 'Does nothing: chat.take_lost_replies does it. For daemons of before';
CREATE OR REPLACE FUNCTION chat.end_lost_reply(p_user uuid, p_message uuid)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT chat.end_lost_reply(p_user, p_message, NULL) $$;
COMMENT ON FUNCTION chat.end_lost_reply(uuid, uuid) IS 'As with the text, which is not known. For daemons of before';

REVOKE ALL ON FUNCTION chat.cancelled_replies(uuid),
    chat.take_lost_replies(uuid, interval, int), chat.end_lost_reply(uuid, uuid, text),
    chat.end_taken_reply(uuid, uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.cancelled_replies(uuid),
    chat.take_lost_replies(uuid, interval, int), chat.end_lost_reply(uuid, uuid, text),
    chat.end_taken_reply(uuid, uuid, text) TO natter_app;

RESET ROLE;
