-- 023: branches. Messages are a tree by parent_id; what hangs below one message,
-- in order, is found by one index. The first messages of a conversation have no
-- parent: they branch off the conversation itself, so that its id stands there.
--
-- Making the index keeps writers of messages waiting while it is made.

SET ROLE natter_owner;

-- It does not begin with user_id: of indexes that do, Postgres takes the newest
-- for a look-up by user_id and id while it believes a partition to be empty, and
-- believes so until the first statistics of a new month.
CREATE INDEX IF NOT EXISTS idx_chat_messages_branch ON chat.messages (
    (CASE WHEN parent_id IS NULL THEN conversation_id ELSE parent_id END), user_id, position);
COMMENT ON INDEX chat.idx_chat_messages_branch IS 'The messages below one, in order: siblings, and the way from a message to its branch''s end';

-- A turn may be asked for by a message of its conversation (edit, regenerate).
-- Which of the three a name is can be told by its form and by what is there:
-- each is one look-up.
SET ROLE natter_auth;

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
COMMENT ON FUNCTION auth.limits_in(uuid, text) IS 'auth.limits_of for a conversation as a path names it (its id, its short id, the id of a message in it; NULL: none), and its store';

RESET ROLE;
