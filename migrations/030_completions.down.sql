-- Takes back 030_completions.up.sql. Completions that run and are kept nowhere are
-- forgotten: what was reserved for them is given back, what they took is not
-- counted.

SET ROLE natter_auth;

DELETE FROM chat.running_replies WHERE conversation_id IS NULL;
-- At once, since a table with triggers that wait cannot be altered.
SET CONSTRAINTS ALL IMMEDIATE;
DROP FUNCTION IF EXISTS chat.end_taken_reply(uuid, uuid, text, bigint);
DROP FUNCTION IF EXISTS chat.end_lost_reply(uuid, uuid, text, bigint);

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

SET ROLE natter_owner;

REVOKE UPDATE (completion_bytes) ON chat.running_replies FROM natter_app;
ALTER TABLE chat.running_replies
    DROP COLUMN IF EXISTS completion_bytes,
    ALTER COLUMN conversation_id SET NOT NULL;
COMMENT ON COLUMN chat.running_replies.message_id IS 'The reply''s message, status streaming';
COMMENT ON COLUMN chat.running_replies.conversation_id IS 'The conversation';
COMMENT ON COLUMN chat.running_replies.parent_id IS 'Parent of the user''s message that is being answered: the branch point; NULL at the conversation''s beginning';

RESET ROLE;
