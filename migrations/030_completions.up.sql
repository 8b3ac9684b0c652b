-- 030: completions that nobody keeps. A client that speaks OpenAI's protocol
-- brings its whole conversation along with every request and keeps the answer
-- itself: what it is reserves and is settled like any reply, but there is no
-- conversation and no message, and nothing of what was said is stored.

SET ROLE natter_owner;

ALTER TABLE chat.running_replies ALTER COLUMN conversation_id DROP NOT NULL;
ALTER TABLE chat.running_replies
    ADD COLUMN IF NOT EXISTS completion_bytes bigint NOT NULL DEFAULT 0
	CONSTRAINT running_replies_completion_bytes CHECK (completion_bytes >= 0);
COMMENT ON COLUMN chat.running_replies.message_id IS 'The reply''s message, status streaming; of a completion that nobody keeps its id, and that of its usage';
COMMENT ON COLUMN chat.running_replies.conversation_id IS 'The conversation; NULL: a completion that nobody keeps';
COMMENT ON COLUMN chat.running_replies.parent_id IS 'Parent of the user''s message that is being answered: the branch point; NULL at the conversation''s beginning. Of a completion that nobody keeps its own id, which is like no other';
COMMENT ON COLUMN chat.running_replies.completion_bytes IS 'How much of a completion that nobody keeps has come while Redis was away; its text is nowhere';
GRANT UPDATE (completion_bytes) ON chat.running_replies TO natter_app;

SET ROLE natter_auth;

CREATE OR REPLACE FUNCTION chat.end_lost_reply(p_user uuid, p_message uuid, p_text text, p_bytes bigint)
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
		    ((greatest(octet_length(p_text), CASE WHEN g.conversation_id IS NULL
		        THEN p_bytes END, g.completion_bytes) + 3) / 4)::int, 0)
		    AS completion_tokens
		FROM gone g
	)
	INSERT INTO chat.usage_tracking (user_id, id, conversation_id, message_id, model,
	    prompt_tokens, completion_tokens, cost, is_estimated, store_id, counted_on, is_billed)
	SELECT c.user_id, c.message_id, c.conversation_id,
	    CASE WHEN c.conversation_id IS NOT NULL THEN c.message_id END, c.model, c.prompt_tokens,
	    c.completion_tokens, CASE WHEN c.is_billed THEN least(999999,
	        coalesce(chat.cost_of(c.model, c.prompt_tokens, 0, c.completion_tokens), 0))
	        ELSE 0 END, true, c.store_id, c.counted_on, c.is_billed
	FROM counted c
	ON CONFLICT (user_id, id) DO NOTHING;
$$;
COMMENT ON FUNCTION chat.end_lost_reply(uuid, uuid, text, bigint) IS 'Ends, as interrupted or cancelled, a reply that nobody is writing, with p_text where that goes on from what is stored (NULL: it is not known), and settles what was sent and what there is of it: of a completion that nobody keeps p_bytes, where more are not known of';

CREATE OR REPLACE FUNCTION chat.end_lost_reply(p_user uuid, p_message uuid, p_text text)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT chat.end_lost_reply(p_user, p_message, p_text, NULL) $$;

CREATE OR REPLACE FUNCTION chat.end_taken_reply(p_user uuid, p_message uuid, p_text text, p_bytes bigint)
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
	PERFORM chat.end_lost_reply(p_user, p_message, p_text, p_bytes);
	PERFORM natter.note_change();
	RETURN true;
END
$$;
COMMENT ON FUNCTION chat.end_taken_reply(uuid, uuid, text, bigint) IS 'Ends a reply that was taken over from a dead worker; false: it had ended';

-- Daemons of before prepare this until they are restarted.
CREATE OR REPLACE FUNCTION chat.end_taken_reply(p_user uuid, p_message uuid, p_text text)
RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT chat.end_taken_reply(p_user, p_message, p_text, NULL) $$;
COMMENT ON FUNCTION chat.end_taken_reply(uuid, uuid, text) IS 'As with the bytes, which are not known. For daemons of before';

REVOKE ALL ON FUNCTION chat.end_lost_reply(uuid, uuid, text, bigint),
    chat.end_taken_reply(uuid, uuid, text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.end_lost_reply(uuid, uuid, text, bigint),
    chat.end_taken_reply(uuid, uuid, text, bigint) TO natter_app;

RESET ROLE;
