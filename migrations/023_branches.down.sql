-- Takes back 023_branches.up.sql. Nothing that anybody stored is lost.

SET ROLE natter_auth;

CREATE OR REPLACE FUNCTION auth.limits_in(p_user uuid, p_conversation text)
RETURNS TABLE (own bigint[], store_id uuid, of_store bigint[])
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT l.own, s.id, l.of_store
	  FROM (SELECT (SELECT c.store_id FROM chat.conversations c
	                 WHERE c.user_id = p_user
	                   AND (c.id::text = p_conversation OR c.short_id = p_conversation)
	                 ORDER BY c.id::text = p_conversation DESC LIMIT 1) AS id
	         WHERE p_conversation IS NOT NULL
	         UNION ALL
	        SELECT NULL::uuid WHERE p_conversation IS NULL) s,
	       auth.limits_of(p_user, s.id) l;
$$;
COMMENT ON FUNCTION auth.limits_in(uuid, text) IS 'auth.limits_of for a conversation as a path names it (id or short id; NULL: none), and its store';

SET ROLE natter_owner;
DROP INDEX IF EXISTS chat.idx_chat_messages_branch;

RESET ROLE;
