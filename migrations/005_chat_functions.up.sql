-- What the daemon does to chat's tables for nobody in particular: ending the
-- replies of workers that died.

SET ROLE natter_auth;

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
REVOKE ALL ON FUNCTION chat.sweep_dead_replies(interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.sweep_dead_replies(interval) TO natter_app;

RESET ROLE;
