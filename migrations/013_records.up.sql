-- 013: what finds and guards the records of 009: documents and their passages,
-- tasks, stores, events, and what administrators see.
--
-- Functions owned by natter_search look past row level security because its
-- operators (words, trigrams, containment) could not use an index under it;
-- each takes its user from app.user_id, never from a parameter. They build
-- their statement and hand it to EXECUTE: a filter that is not asked for does
-- not stand in it, and it is planned for the values that it has.

SET ROLE natter_owner;

------------------------------------------------------------------------ helpers


CREATE OR REPLACE FUNCTION natter.search_config(p_language text)
RETURNS regconfig
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN CASE p_language
    WHEN 'ar' THEN 'arabic'::regconfig WHEN 'hy' THEN 'armenian' WHEN 'eu' THEN 'basque'
    WHEN 'ca' THEN 'catalan' WHEN 'da' THEN 'danish' WHEN 'nl' THEN 'dutch'
    WHEN 'en' THEN 'english' WHEN 'fi' THEN 'finnish' WHEN 'fr' THEN 'french'
    WHEN 'de' THEN 'german' WHEN 'el' THEN 'greek' WHEN 'hi' THEN 'hindi'
    WHEN 'hu' THEN 'hungarian' WHEN 'id' THEN 'indonesian' WHEN 'ga' THEN 'irish'
    WHEN 'it' THEN 'italian' WHEN 'lt' THEN 'lithuanian' WHEN 'ne' THEN 'nepali'
    WHEN 'no' THEN 'norwegian' WHEN 'nb' THEN 'norwegian' WHEN 'nn' THEN 'norwegian'
    WHEN 'pt' THEN 'portuguese' WHEN 'ro' THEN 'romanian' WHEN 'ru' THEN 'russian'
    WHEN 'sr' THEN 'serbian' WHEN 'es' THEN 'spanish' WHEN 'sv' THEN 'swedish'
    WHEN 'ta' THEN 'tamil' WHEN 'tr' THEN 'turkish' WHEN 'yi' THEN 'yiddish'
    ELSE CASE WHEN p_language IS NULL THEN 'english'::regconfig ELSE 'simple' END END;
COMMENT ON FUNCTION natter.search_config(text) IS 'Postgres'' text search configuration of a language (ISO 639); english where it is not known, simple for one that Postgres has no stems of';
REVOKE ALL ON FUNCTION natter.search_config(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION natter.search_config(text) TO natter_app, natter_auth, natter_jobs, natter_search;

CREATE OR REPLACE FUNCTION natter.search_any(p_text text, p_config regconfig)
RETURNS tsquery
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN (SELECT string_agg('''' || replace(replace(w.word, '\', '\\'), '''', '''''') || '''', ' | ')::tsquery
    FROM unnest(tsvector_to_array(to_tsvector(p_config, left(p_text, 500)))) w(word));
COMMENT ON FUNCTION natter.search_any(text, regconfig) IS 'A query for any of the words of a question, without those that every text has; NULL where none is left';
REVOKE ALL ON FUNCTION natter.search_any(text, regconfig) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION natter.search_any(text, regconfig) TO natter_app, natter_auth, natter_jobs, natter_search;

-- Part of a title as a pattern for LIKE.
CREATE OR REPLACE FUNCTION natter.like_part(p_text text)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN '%' || regexp_replace(left(p_text, 200), '([\\%_])', '\\\1', 'g') || '%';
COMMENT ON FUNCTION natter.like_part(text) IS 'A pattern for LIKE that finds what contains the text; its first 200 characters';
REVOKE ALL ON FUNCTION natter.like_part(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION natter.like_part(text) TO natter_app, natter_auth, natter_jobs, natter_search;

---------------------------------------------------------------------- documents

CREATE INDEX IF NOT EXISTS idx_chat_documents_store_id
    ON chat.documents (store_id, id) WHERE store_id IS NOT NULL;
COMMENT ON INDEX chat.idx_chat_documents_store_id IS 'A document of a store, by its id alone';

GRANT UPDATE (content_sha256, size_bytes) ON chat.documents TO natter_app;

-- A store's managers write all of its documents, whoever brought them; who is
-- no manager any more changes none there, but may take away their own while
-- they are a member and no other manager has it.
DROP POLICY IF EXISTS managers_change ON chat.documents;
CREATE POLICY managers_change ON chat.documents FOR UPDATE TO natter_app
    USING (store_id IN (SELECT m.store_id FROM chat.store_members m WHERE m.role = 'manager'
        AND m.user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)));
COMMENT ON POLICY managers_change ON chat.documents IS 'A store''s managers change its documents';
DROP POLICY IF EXISTS managers_delete ON chat.documents;
CREATE POLICY managers_delete ON chat.documents FOR DELETE TO natter_app
    USING (store_id IN (SELECT m.store_id FROM chat.store_members m WHERE m.role = 'manager'
        AND m.user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)));
COMMENT ON POLICY managers_delete ON chat.documents IS 'A store''s managers delete its documents';
DROP POLICY IF EXISTS managers_alone ON chat.documents;
CREATE POLICY managers_alone ON chat.documents AS RESTRICTIVE FOR UPDATE TO natter_app
    USING (store_id IS NULL OR store_id IN (SELECT m.store_id FROM chat.store_members m WHERE m.role = 'manager'
        AND m.user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)));
COMMENT ON POLICY managers_alone ON chat.documents IS 'Nobody but its managers changes a store''s documents, their own among them';

DROP POLICY IF EXISTS managers_cut ON chat.document_chunks;
CREATE POLICY managers_cut ON chat.document_chunks FOR INSERT TO natter_app
    WITH CHECK (store_id IN (SELECT m.store_id FROM chat.store_members m WHERE m.role = 'manager'
        AND m.user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)));
COMMENT ON POLICY managers_cut ON chat.document_chunks IS 'A store''s managers cut its documents anew';
DROP POLICY IF EXISTS managers_delete ON chat.document_chunks;
CREATE POLICY managers_delete ON chat.document_chunks FOR DELETE TO natter_app
    USING (store_id IN (SELECT m.store_id FROM chat.store_members m WHERE m.role = 'manager'
        AND m.user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)));
COMMENT ON POLICY managers_delete ON chat.document_chunks IS 'A store''s managers cut its documents anew';
DROP POLICY IF EXISTS managers_alone ON chat.document_chunks;
CREATE POLICY managers_alone ON chat.document_chunks AS RESTRICTIVE FOR INSERT TO natter_app
    WITH CHECK (store_id IS NULL OR store_id IN (SELECT m.store_id FROM chat.store_members m WHERE m.role = 'manager'
        AND m.user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)));
COMMENT ON POLICY managers_alone ON chat.document_chunks IS 'Nobody but its managers writes a store''s passages';

SET ROLE natter_search;

CREATE OR REPLACE FUNCTION chat.documents_find(p_store text, p_q text, p_metadata jsonb,
    p_time timestamptz, p_id uuid, p_limit int)
RETURNS TABLE (user_id uuid, id uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	me uuid := nullif(current_setting('app.user_id', true), '')::uuid;
	store uuid;
	clause text := 'd.user_id = $1 AND (d.store_id IS NULL OR d.store_id IN ('
	    'SELECT m.store_id FROM chat.store_members m WHERE m.user_id = $1))';
BEGIN
	IF p_store IS NOT NULL THEN
		SELECT s.id INTO store
		  FROM chat.store_members m JOIN chat.stores s ON s.id = m.store_id
		 WHERE m.user_id = me AND p_store IN (s.slug, s.id::text);
		IF store IS NULL THEN
			RETURN;
		END IF;
		clause := 'd.store_id = $2';
	END IF;
	IF p_q IS NOT NULL THEN
		clause := clause || ' AND d.title ILIKE natter.like_part($3)';
	END IF;
	IF p_metadata IS NOT NULL THEN
		clause := clause || ' AND d.metadata @> $4';
	END IF;
	RETURN QUERY EXECUTE 'SELECT d.user_id, d.id FROM chat.documents d WHERE ' || clause
	    || ' AND (d.created_at, d.id) < ($5, $6)'
	    || ' ORDER BY d.created_at DESC, d.id DESC LIMIT $7'
	    USING me, store, p_q, p_metadata, p_time, p_id, least(p_limit, 1001);
END
$$;
COMMENT ON FUNCTION chat.documents_find(text, text, jsonb, timestamptz, uuid, int) IS 'The documents of app.user_id, or those of a store (slug or id) that they are a member of, by part of the title and by metadata, the newest first, after a row';
REVOKE ALL ON FUNCTION chat.documents_find(text, text, jsonb, timestamptz, uuid, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.documents_find(text, text, jsonb, timestamptz, uuid, int) TO natter_app;

-- Ranks at most 2,000 passages of each owner and store: a word that stands in
-- all of them tells nothing, and ranking 100,000 takes seconds.
CREATE OR REPLACE FUNCTION chat.chunks_match(p_me uuid, p_store uuid, p_stores uuid[],
    p_query tsquery, p_limit int)
RETURNS TABLE (user_id uuid, id uuid, score real)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY EXECUTE
	    'SELECT f.user_id, f.id, ts_rank_cd(f.words, $4, 1) AS score FROM ('
	    '(SELECT c.user_id, c.id, c.words FROM chat.document_chunks c'
	    ' WHERE c.user_id = $1 AND c.words @@ $4'
	    ' AND (c.store_id IS NULL OR c.store_id = ANY ($3))'
	    || CASE WHEN p_store IS NULL THEN '' ELSE ' AND c.store_id = $2' END ||
	    ' LIMIT 2000) UNION ALL '
	    '(SELECT x.user_id, x.id, x.words FROM unnest($3) s(id) CROSS JOIN LATERAL ('
	    'SELECT c.user_id, c.id, c.words FROM chat.document_chunks c'
	    ' WHERE c.store_id = s.id AND c.words @@ $4 AND c.user_id <> $1 LIMIT 2000) x)) f'
	    ' ORDER BY score DESC, f.id LIMIT $5'
	    USING p_me, p_store, p_stores, p_query, p_limit;
END
$$;
COMMENT ON FUNCTION chat.chunks_match(uuid, uuid, uuid[], tsquery, int) IS 'The passages of a user and of stores that a query finds, the best first. For chat.documents_search alone';
REVOKE ALL ON FUNCTION chat.chunks_match(uuid, uuid, uuid[], tsquery, int) FROM PUBLIC;

CREATE OR REPLACE FUNCTION chat.chunks_similar(p_me uuid, p_store uuid, p_stores uuid[],
    p_words text[], p_limit int)
RETURNS TABLE (user_id uuid, id uuid, score real)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- Not a SET of the function's: making that needs pg_trgm loaded already.
	PERFORM set_config('pg_trgm.word_similarity_threshold', '0.35', true);
	RETURN QUERY EXECUTE
	    'SELECT f.user_id, f.id, sum(f.likeness)::real AS score FROM ('
	    'SELECT x.user_id, x.id, extensions.word_similarity(w.word, x.content) AS likeness'
	    ' FROM (SELECT $1 AS id UNION SELECT m.user_id FROM chat.store_members m'
	    ' WHERE m.store_id = ANY ($3) AND m.role = ''manager'') o'
	    ' CROSS JOIN unnest($4) w(word) CROSS JOIN LATERAL ('
	    'SELECT c.user_id, c.id, c.content FROM chat.document_chunks c'
	    ' WHERE c.user_id = o.id AND c.content OPERATOR(extensions.%>) w.word'
	    ' AND (c.store_id = ANY ($3) OR c.store_id IS NULL AND c.user_id = $1 AND $2 IS NULL) LIMIT 500) x) f'
	    ' GROUP BY f.user_id, f.id ORDER BY score DESC, f.id LIMIT $5'
	    USING p_me, p_store, p_stores, p_words, p_limit;
END
$$;
COMMENT ON FUNCTION chat.chunks_similar(uuid, uuid, uuid[], text[], int) IS 'The passages of a user and of stores with words like these, the likest first. For chat.documents_search alone';
REVOKE ALL ON FUNCTION chat.chunks_similar(uuid, uuid, uuid[], text[], int) FROM PUBLIC;

-- All the words; else any of them; else words that look like them.
CREATE OR REPLACE FUNCTION chat.documents_search(p_q text, p_store text, p_language text, p_limit int)
RETURNS TABLE (user_id uuid, id uuid, score real, match text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	me uuid := nullif(current_setting('app.user_id', true), '')::uuid;
	config regconfig := natter.search_config(p_language);
	stores uuid[];
	store uuid;
	query tsquery;
	words text[];
BEGIN
	IF me IS NULL THEN
		RETURN;
	END IF;
	SELECT array_agg(m.store_id) INTO stores
	  FROM chat.store_members m JOIN chat.stores s ON s.id = m.store_id
	 WHERE m.user_id = me AND (p_store IS NULL OR p_store IN (s.slug, s.id::text));
	IF p_store IS NOT NULL THEN
		store := stores[1];
		IF store IS NULL THEN
			RETURN;
		END IF;
	END IF;
	query := natter.search_query(p_q) || websearch_to_tsquery(config, left(p_q, 500));
	RETURN QUERY SELECT f.user_id, f.id, f.score, 'all'
	    FROM chat.chunks_match(me, store, stores, query, p_limit) f;
	IF FOUND THEN
		RETURN;
	END IF;
	-- Who quotes or excludes means just that.
	IF p_q ~ '"|(^|\s)-' THEN
		RETURN;
	END IF;
	-- A question in words: what is asked for stands in few of them.
	query := natter.search_any(p_q, config);
	IF query IS NOT NULL THEN
		RETURN QUERY SELECT f.user_id, f.id, f.score, 'any'
		    FROM chat.chunks_match(me, store, stores, query, p_limit) f;
		IF FOUND THEN
			RETURN;
		END IF;
	END IF;
	SELECT array_agg(w.word) INTO words FROM (
		SELECT u.word FROM unnest(tsvector_to_array(to_tsvector('simple'::regconfig, left(p_q, 500)))) u(word)
		 WHERE char_length(u.word) >= 4 ORDER BY char_length(u.word) DESC, u.word LIMIT 4) w;
	IF words IS NOT NULL THEN
		RETURN QUERY SELECT f.user_id, f.id, f.score, 'similar'
		    FROM chat.chunks_similar(me, store, stores, words, p_limit) f;
	END IF;
END
$$;
COMMENT ON FUNCTION chat.documents_search(text, text, text, int) IS 'The passages that app.user_id may read and that fit a question best: those with all of its words, else with any, else with words like them; of one store where one is named';
REVOKE ALL ON FUNCTION chat.documents_search(text, text, text, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.documents_search(text, text, text, int) TO natter_app;

------------------------------------------- a store's documents outlive who brought them

SET ROLE natter_owner;
GRANT UPDATE (user_id), DELETE ON chat.documents TO natter_auth;
SET ROLE natter_auth;

-- What the heir brought too is dropped: one store holds it once for each. A
-- document's passages follow it by their foreign key.
CREATE OR REPLACE FUNCTION chat.documents_pass(p_store uuid, p_from uuid, p_to uuid)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	passed uuid[];
	dropped bigint;
BEGIN
	DELETE FROM chat.documents d
	 WHERE d.user_id = p_from AND d.store_id = p_store
	   AND EXISTS (SELECT FROM chat.documents o WHERE o.user_id = p_to
	       AND o.store_id = p_store AND o.content_sha256 = d.content_sha256);
	GET DIAGNOSTICS dropped = ROW_COUNT;
	WITH moved AS (
		UPDATE chat.documents d SET user_id = p_to
		 WHERE d.user_id = p_from AND d.store_id = p_store RETURNING d.id)
	SELECT coalesce(array_agg(m.id ORDER BY m.id), '{}') INTO passed FROM moved m;
	-- Of very many the first: a row of the log is small.
	PERFORM audit.put('document.pass', 'document', NULL, p_to,
	    jsonb_build_object('store_id', p_store, 'from', p_from,
	    'passed', cardinality(passed), 'dropped', dropped, 'ids', passed[:100]));
END
$$;
COMMENT ON FUNCTION chat.documents_pass(uuid, uuid, uuid) IS 'Gives what a user brought to a store to another user. For the triggers alone';
REVOKE ALL ON FUNCTION chat.documents_pass(uuid, uuid, uuid) FROM PUBLIC;

-- The heir is locked, so that two managers who are deleted at once do not leave
-- their documents to one another: the later waits, and of two who wait for each
-- other one fails and may try again. Store by store in the order of their ids.
CREATE OR REPLACE FUNCTION auth.user_bequeath()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	store uuid;
	heir uuid;
BEGIN
	FOR store IN SELECT DISTINCT d.store_id FROM chat.documents d
	    WHERE d.user_id = OLD.id AND d.store_id IS NOT NULL ORDER BY 1 LOOP
		SELECT m.user_id INTO heir
		  FROM chat.store_members m JOIN auth.users u ON u.id = m.user_id
		 WHERE m.store_id = store AND m.role = 'manager' AND m.user_id <> OLD.id
		 ORDER BY u.is_disabled, m.created_at, m.user_id LIMIT 1 FOR KEY SHARE OF u;
		IF FOUND THEN
			PERFORM chat.documents_pass(store, OLD.id, heir);
		END IF;
	END LOOP;
	RETURN OLD;
END
$$;
COMMENT ON FUNCTION auth.user_bequeath() IS 'Trigger: what a deleted user brought to stores passes to another manager of each; where there is none it goes with the user';
REVOKE ALL ON FUNCTION auth.user_bequeath() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION auth.user_bequeath() TO natter_owner;

-- Managers who are leaving at the same time are passed over, not waited for:
-- what finds no heir here does so when its user is deleted. Of a store or a user
-- that is being deleted nothing is left to pass.
CREATE OR REPLACE FUNCTION chat.member_bequeath()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	heir uuid;
BEGIN
	PERFORM 1 FROM chat.stores s, auth.users u, chat.documents d
	  WHERE s.id = OLD.store_id AND u.id = OLD.user_id
	    AND d.user_id = OLD.user_id AND d.store_id = OLD.store_id LIMIT 1;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	SELECT m.user_id INTO heir
	  FROM chat.store_members m JOIN auth.users u ON u.id = m.user_id
	 WHERE m.store_id = OLD.store_id AND m.role = 'manager' AND m.user_id <> OLD.user_id
	 ORDER BY u.is_disabled, m.created_at, m.user_id LIMIT 1
	   FOR SHARE OF m SKIP LOCKED;
	IF FOUND THEN
		PERFORM chat.documents_pass(OLD.store_id, OLD.user_id, heir);
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION chat.member_bequeath() IS 'Trigger: what somebody brought to a store passes to another manager when they are its manager no longer; where there is none it stays theirs, and they do not see it unless they are a member';
REVOKE ALL ON FUNCTION chat.member_bequeath() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.member_bequeath() TO natter_owner;

SET ROLE natter_owner;
CREATE OR REPLACE TRIGGER bequeath BEFORE DELETE ON auth.users
    FOR EACH ROW EXECUTE FUNCTION auth.user_bequeath();
COMMENT ON TRIGGER bequeath ON auth.users IS 'A store''s documents pass to another manager';
CREATE OR REPLACE TRIGGER bequeath AFTER DELETE ON chat.store_members
    FOR EACH ROW EXECUTE FUNCTION chat.member_bequeath();
COMMENT ON TRIGGER bequeath ON chat.store_members IS 'A store''s documents pass to another manager';
CREATE OR REPLACE TRIGGER bequeath_role AFTER UPDATE OF role ON chat.store_members
    FOR EACH ROW WHEN (OLD.role = 'manager' AND NEW.role <> 'manager')
    EXECUTE FUNCTION chat.member_bequeath();
COMMENT ON TRIGGER bequeath_role ON chat.store_members IS 'A store''s documents pass to another manager';

SET ROLE natter_search;

-------------------------------------------------------------------------- tasks

CREATE OR REPLACE FUNCTION chat.tasks_find(p_status text, p_priority text, p_due_before timestamptz,
    p_due_after timestamptz, p_tag text, p_q text, p_metadata jsonb, p_by_due boolean,
    p_time timestamptz, p_id uuid, p_limit int)
RETURNS TABLE (id uuid, due_at timestamptz, created_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	me uuid := nullif(current_setting('app.user_id', true), '')::uuid;
	clause text := 't.user_id = $1';
BEGIN
	IF p_status IS NOT NULL THEN
		clause := clause || ' AND t.status = $2';
	END IF;
	IF p_priority IS NOT NULL THEN
		clause := clause || ' AND t.priority = $3';
	END IF;
	IF p_due_before IS NOT NULL THEN
		clause := clause || ' AND t.due_at < $4';
	END IF;
	IF p_due_after IS NOT NULL THEN
		clause := clause || ' AND t.due_at >= $5';
	END IF;
	IF p_tag IS NOT NULL THEN
		clause := clause || ' AND t.tags @> ARRAY[$6] AND t.tags <> ''{}''';
	END IF;
	IF p_q IS NOT NULL THEN
		clause := clause || ' AND t.title ILIKE natter.like_part($7)';
	END IF;
	IF p_metadata IS NOT NULL THEN
		clause := clause || ' AND t.metadata @> $8';
	END IF;
	IF p_by_due THEN
		clause := clause || ' AND t.status IN (''open'', ''in_progress'') AND t.due_at IS NOT NULL'
		    ' AND (t.due_at, t.id) > ($9, $10) ORDER BY t.due_at, t.id';
	ELSE
		clause := clause || ' AND (t.created_at, t.id) < ($9, $10)'
		    ' ORDER BY t.created_at DESC, t.id DESC';
	END IF;
	RETURN QUERY EXECUTE 'SELECT t.id, t.due_at, t.created_at FROM chat.tasks t WHERE '
	    || clause || ' LIMIT $11'
	    USING me, p_status, p_priority, p_due_before, p_due_after, p_tag, p_q, p_metadata,
	    p_time, p_id, least(p_limit, 1001);
END
$$;
COMMENT ON FUNCTION chat.tasks_find(text, text, timestamptz, timestamptz, text, text, jsonb, boolean, timestamptz, uuid, int) IS 'The tasks of app.user_id that fit all given filters, the newest first or, by due, what is to be done next, after a row';
REVOKE ALL ON FUNCTION chat.tasks_find(text, text, timestamptz, timestamptz, text, text, jsonb, boolean, timestamptz, uuid, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.tasks_find(text, text, timestamptz, timestamptz, text, text, jsonb, boolean, timestamptz, uuid, int) TO natter_app;

RESET ROLE;

-- In a store that one does not see, or that is closed, nobody begins one. The
-- row level security of chat.stores says which those are.
SET ROLE natter_owner;
DROP POLICY IF EXISTS open_stores ON chat.conversations;
CREATE POLICY open_stores ON chat.conversations AS RESTRICTIVE FOR INSERT TO natter_app
    WITH CHECK (store_id IS NULL OR store_id IN (SELECT s.id FROM chat.stores s WHERE s.is_active));
COMMENT ON POLICY open_stores ON chat.conversations IS 'Conversations begin in active stores that their owner sees';

-- The administrators' functions, in one place. Who may call one is looked at
-- anew in each, whatever the daemon thinks of its caller; natterctl, whose
-- role is the owner's, may too.
SET ROLE natter_auth;

CREATE OR REPLACE FUNCTION auth.admin_demand()
RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF pg_has_role(session_user, 'natter_owner', 'MEMBER') THEN
		RETURN;
	END IF;
	PERFORM 1 FROM auth.users u
	  WHERE u.id = nullif(current_setting('app.user_id', true), '')::uuid
	    AND u.role = 'admin' AND NOT u.is_disabled;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'the caller is no administrator' USING ERRCODE = 'NT403';
	END IF;
END
$$;
COMMENT ON FUNCTION auth.admin_demand() IS 'Raises NT403 unless app.user_id is an enabled administrator, or natterctl calls';

------------------------------------------------------------------------- stores

CREATE OR REPLACE FUNCTION chat.admin_store_put(p_id uuid, p_is_new boolean, p_fields jsonb)
RETURNS SETOF chat.stores
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
	PERFORM auth.admin_demand();
	-- With all its fields at once: one row made, one row of the audit log.
	IF p_is_new THEN
		RETURN QUERY INSERT INTO chat.stores AS s (id, slug, name, description,
		    is_open, is_active, model, system_prompt, settings, metadata)
		    VALUES (p_id, p_fields ->> 'slug', p_fields ->> 'name',
		    coalesce(p_fields ->> 'description', ''),
		    coalesce((p_fields ->> 'is_open')::boolean, false),
		    coalesce((p_fields ->> 'is_active')::boolean, true),
		    p_fields ->> 'model', p_fields ->> 'system_prompt',
		    natter.patch_metadata('{}', p_fields -> 'settings', 32768),
		    natter.patch_metadata('{}', p_fields -> 'metadata', 32768))
		    RETURNING s.*;
		RETURN;
	END IF;
	RETURN QUERY UPDATE chat.stores s SET
	    slug = coalesce(p_fields ->> 'slug', s.slug),
	    name = coalesce(p_fields ->> 'name', s.name),
	    description = coalesce(p_fields ->> 'description', s.description),
	    is_open = coalesce((p_fields ->> 'is_open')::boolean, s.is_open),
	    is_active = coalesce((p_fields ->> 'is_active')::boolean, s.is_active),
	    model = CASE WHEN p_fields ? 'model' THEN p_fields ->> 'model' ELSE s.model END,
	    system_prompt = CASE WHEN p_fields ? 'system_prompt'
	        THEN p_fields ->> 'system_prompt' ELSE s.system_prompt END,
	    settings = natter.patch_metadata(s.settings, p_fields -> 'settings', 32768),
	    metadata = natter.patch_metadata(s.metadata, p_fields -> 'metadata', 32768)
	  WHERE s.id = p_id RETURNING s.*;
END
$$;
COMMENT ON FUNCTION chat.admin_store_put(uuid, boolean, jsonb) IS 'Makes a store, or changes what the fields name; no row when there is none to change';

CREATE OR REPLACE FUNCTION chat.admin_store_delete(p_id uuid)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
	PERFORM auth.admin_demand();
	DELETE FROM chat.stores s WHERE s.id = p_id;
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION chat.admin_store_delete(uuid) IS 'Deletes a store with its documents; its conversations stay their owners''';

CREATE OR REPLACE FUNCTION chat.admin_stores(p_name text, p_after text, p_limit int)
RETURNS SETOF chat.stores
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM auth.admin_demand();
	IF p_name IS NOT NULL THEN
		RETURN QUERY SELECT s.* FROM chat.stores s
		    WHERE s.slug = p_name
		       OR s.id = CASE WHEN p_name ~ '^[0-9a-f]{8}-[0-9a-f-]{27}$' THEN p_name::uuid END;
		RETURN;
	END IF;
	RETURN QUERY SELECT s.* FROM chat.stores s
	    WHERE s.slug > p_after ORDER BY s.slug LIMIT least(p_limit, 1001);
END
$$;
COMMENT ON FUNCTION chat.admin_stores(text, text, int) IS 'The store with this slug or id; without one, all after a slug';

CREATE OR REPLACE FUNCTION chat.admin_members(p_store uuid, p_after uuid, p_limit int)
RETURNS TABLE (user_id uuid, username text, role text, created_at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM auth.admin_demand();
	PERFORM audit.note('store_member.list', 'store', p_store, NULL);
	RETURN QUERY SELECT m.user_id, u.username, m.role, m.created_at
	    FROM chat.store_members m JOIN auth.users u ON u.id = m.user_id
	    WHERE m.store_id = p_store AND m.user_id > p_after
	    ORDER BY m.user_id LIMIT least(p_limit, 1001);
END
$$;
COMMENT ON FUNCTION chat.admin_members(uuid, uuid, int) IS 'Who belongs to a store, after a user';

CREATE OR REPLACE FUNCTION chat.admin_member_put(p_store uuid, p_user uuid, p_role text)
RETURNS TABLE (user_id uuid, username text, role text, created_at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
	PERFORM auth.admin_demand();
	RETURN QUERY WITH put AS (
	    INSERT INTO chat.store_members AS m (user_id, store_id, role)
	    SELECT u.id, s.id, coalesce(p_role, 'member') FROM auth.users u, chat.stores s
	    WHERE u.id = p_user AND s.id = p_store
	    ON CONFLICT ON CONSTRAINT store_members_pkey
	    DO UPDATE SET role = coalesce(p_role, m.role) RETURNING m.*)
	    SELECT p.user_id, u.username, p.role, p.created_at
	    FROM put p JOIN auth.users u ON u.id = p.user_id;
END
$$;
COMMENT ON FUNCTION chat.admin_member_put(uuid, uuid, text) IS 'Makes a user a member of a store, or changes their role; no row without such a user or store';

CREATE OR REPLACE FUNCTION chat.admin_member_delete(p_store uuid, p_user uuid)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
	PERFORM auth.admin_demand();
	DELETE FROM chat.store_members m WHERE m.store_id = p_store AND m.user_id = p_user;
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION chat.admin_member_delete(uuid, uuid) IS 'Ends a membership';

-------------------------------------------------------------------------- users

CREATE OR REPLACE FUNCTION auth.admin_users(p_q text, p_role text, p_disabled boolean,
    p_after text, p_limit int)
RETURNS TABLE (id uuid, username text, display_name text, role text, is_disabled boolean,
    issuer text, external_id text, created_at timestamptz, last_login_at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM auth.admin_demand();
	PERFORM audit.note('user.list', 'user', NULL, NULL);
	RETURN QUERY EXECUTE 'SELECT u.id, u.username, u.display_name, u.role, u.is_disabled,'
	    ' u.issuer, u.external_id, u.created_at, u.last_login_at'
	    ' FROM auth.users u WHERE u.username > $1'
	    || CASE WHEN p_q IS NULL THEN '' ELSE ' AND starts_with(u.username, $2) AND u.username >= $2'
	       ' AND u.username < ($2 || U&''\+10FFFF'') COLLATE "C"' END
	    || CASE WHEN p_role IS NULL THEN '' ELSE ' AND u.role = $3' END
	    || CASE WHEN p_disabled IS NULL THEN '' ELSE ' AND u.is_disabled = $4' END
	    || ' ORDER BY u.username LIMIT $5'
	    USING p_after, p_q, p_role, p_disabled, least(p_limit, 1001);
END
$$;
COMMENT ON FUNCTION auth.admin_users(text, text, boolean, text, int) IS 'Users by the beginning of the name, role and state, after a name';

CREATE OR REPLACE FUNCTION auth.admin_user(p_id uuid)
RETURNS TABLE (id uuid, username text, display_name text, role text, is_disabled boolean,
    issuer text, external_id text, created_at timestamptz, last_login_at timestamptz,
    conversations bigint, messages bigint, documents bigint, tasks bigint, sessions bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM auth.admin_demand();
	PERFORM audit.note('user.read', 'user', p_id, p_id);
	RETURN QUERY SELECT u.id, u.username, u.display_name, u.role, u.is_disabled,
	    u.issuer, u.external_id, u.created_at, u.last_login_at, c.n, c.messages,
	    (SELECT count(*) FROM chat.documents d WHERE d.user_id = p_id),
	    (SELECT count(*) FROM chat.tasks t WHERE t.user_id = p_id),
	    (SELECT count(*) FROM auth.sessions s WHERE s.user_id = p_id AND s.revoked_at IS NULL
	        AND s.user_epoch = u.session_epoch
	        AND least(s.expires_at, s.idle_expires_at) > now())
	    FROM auth.users u CROSS JOIN LATERAL (SELECT count(*) AS n,
	        coalesce(sum(x.message_count), 0)::bigint AS messages
	        FROM chat.conversations x WHERE x.user_id = p_id) c
	    WHERE u.id = p_id;
END
$$;
COMMENT ON FUNCTION auth.admin_user(uuid) IS 'A user with what they have, counted';

-- Nobody takes their own rights away here; with all administrators locked, one
-- of two who would remove each other comes too late, and one always stays.
CREATE OR REPLACE FUNCTION auth.admin_user_lock(p_id uuid, p_session uuid,
    p_needs_proof boolean)
RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM 1 FROM auth.users u WHERE u.role = 'admin' ORDER BY u.id FOR UPDATE;
	PERFORM auth.admin_demand();
	IF p_id = nullif(current_setting('app.user_id', true), '')::uuid THEN
		RETURN 'self';
	END IF;
	-- A stolen access token must not make an administrator that stays.
	IF p_needs_proof AND NOT auth.session_is_fresh(
	    nullif(current_setting('app.user_id', true), '')::uuid, p_session) THEN
		RETURN 'reauth';
	END IF;
	PERFORM 1 FROM auth.users u WHERE u.id = p_id FOR UPDATE;
	RETURN CASE WHEN FOUND THEN 'ok' ELSE 'missing' END;
END
$$;
COMMENT ON FUNCTION auth.admin_user_lock(uuid, uuid, boolean) IS 'Locks a user whom an administrator changes; for the other functions of this schema only';

CREATE OR REPLACE FUNCTION auth.admin_user_patch(p_id uuid, p_session uuid,
    p_role text, p_disabled boolean)
RETURNS TABLE (outcome text, gone_sessions text, gone_tokens text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
	before record;
BEGIN
	-- Locking somebody out can wait for nothing, and gains nobody anything.
	outcome := auth.admin_user_lock(p_id, p_session,
	    p_role IS NOT NULL OR p_disabled IS NOT TRUE);
	IF outcome = 'ok' THEN
		SELECT u.role, u.is_disabled INTO before FROM auth.users u WHERE u.id = p_id;
		UPDATE auth.users u SET role = coalesce(p_role, u.role),
		    is_disabled = coalesce(p_disabled, u.is_disabled)
		  WHERE u.id = p_id;
		IF p_disabled AND NOT before.is_disabled OR p_role <> before.role THEN
			UPDATE auth.users u SET session_epoch = u.session_epoch + 1 WHERE u.id = p_id;
			SELECT e.gone_sessions, e.gone_tokens INTO gone_sessions, gone_tokens
			  FROM auth.sessions_end(p_id, NULL, NULL,
			      CASE WHEN p_disabled THEN 'disabled' ELSE 'role_changed' END) e;
		END IF;
	END IF;
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION auth.admin_user_patch(uuid, uuid, text, boolean) IS 'Changes a user''s role or state; either ends their sessions, which tell the role';

CREATE OR REPLACE FUNCTION auth.admin_user_delete(p_id uuid, p_session uuid)
RETURNS TABLE (outcome text, gone_sessions text, gone_tokens text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
	outcome := auth.admin_user_lock(p_id, p_session, true);
	IF outcome = 'ok' THEN
		SELECT e.gone_sessions, e.gone_tokens INTO gone_sessions, gone_tokens
		  FROM auth.sessions_end(p_id, NULL, NULL, 'deleted') e;
		DELETE FROM auth.users u WHERE u.id = p_id;
	END IF;
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION auth.admin_user_delete(uuid, uuid) IS 'Deletes a user with everything of theirs';

CREATE OR REPLACE FUNCTION auth.admin_sessions(p_user uuid, p_after uuid, p_limit int)
RETURNS TABLE (id uuid, user_id uuid, device text, user_agent text, ip_created text, ip text,
    created_at timestamptz, last_activity timestamptz, expires_at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM auth.admin_demand();
	PERFORM audit.note('session.read', 'session', NULL, p_user);
	RETURN QUERY SELECT s.id, s.user_id, s.device_name, s.user_agent, host(s.ip_created),
	    host(s.ip_last), s.created_at, s.last_activity, least(s.expires_at, s.idle_expires_at)
	    FROM auth.sessions s JOIN auth.users u ON u.id = s.user_id
	    WHERE s.user_id = p_user AND s.revoked_at IS NULL AND s.user_epoch = u.session_epoch
	    AND least(s.expires_at, s.idle_expires_at) > now() AND s.id < p_after
	    ORDER BY s.id DESC LIMIT least(p_limit, 1001);
END
$$;
COMMENT ON FUNCTION auth.admin_sessions(uuid, uuid, int) IS 'A user''s live sessions, the newest first';

CREATE OR REPLACE FUNCTION auth.admin_sessions_end(p_user uuid, p_session uuid)
RETURNS TABLE (outcome text, gone_sessions text, gone_tokens text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
BEGIN
	PERFORM auth.admin_demand();
	outcome := 'missing';
	PERFORM 1 FROM auth.users u WHERE u.id = p_user
	    AND (p_session IS NULL OR EXISTS (SELECT FROM auth.sessions s
	        WHERE s.user_id = p_user AND s.id = p_session AND s.revoked_at IS NULL))
	    FOR NO KEY UPDATE;
	IF FOUND THEN
		outcome := 'ok';
		IF p_session IS NULL THEN
			UPDATE auth.users u SET session_epoch = u.session_epoch + 1 WHERE u.id = p_user;
		END IF;
		SELECT e.gone_sessions, e.gone_tokens INTO gone_sessions, gone_tokens
		  FROM auth.sessions_end(p_user, p_session, NULL, 'administrator') e;
	END IF;
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION auth.admin_sessions_end(uuid, uuid) IS 'Ends one session of a user, or all';

------------------------------------------------------------- what others keep

CREATE OR REPLACE FUNCTION chat.admin_conversations(p_user uuid, p_time timestamptz, p_id uuid,
    p_limit int)
RETURNS TABLE (id uuid, short_id text, title text, store_id uuid, is_archived boolean,
    message_count int, created_at timestamptz, last_message_at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM auth.admin_demand();
	PERFORM audit.note('conversation.list', 'conversation', NULL, p_user);
	RETURN QUERY SELECT c.id, c.short_id, c.title, c.store_id, c.is_archived,
	    c.message_count, c.created_at, c.last_message_at
	    FROM chat.conversations c
	    WHERE c.user_id = p_user AND (c.created_at, c.id) < (p_time, p_id)
	    AND (c.expires_at IS NULL OR c.expires_at > now())
	    ORDER BY c.created_at DESC, c.id DESC LIMIT least(p_limit, 1001);
END
$$;
COMMENT ON FUNCTION chat.admin_conversations(uuid, timestamptz, uuid, int) IS 'Somebody''s conversations, the newest first; temporary ones until they are over';

CREATE OR REPLACE FUNCTION chat.admin_messages(p_user uuid, p_conversation uuid,
    p_after bigint, p_limit int)
RETURNS TABLE (id uuid, parent_id uuid, "position" bigint, role text, content text, status text,
    model text, token_count int, created_at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM auth.admin_demand();
	PERFORM audit.note('conversation.read', 'conversation', p_conversation, p_user);
	RETURN QUERY SELECT m.id, m.parent_id, m.position, m.role, m.content, m.status,
	    m.model, m.token_count, m.created_at
	    FROM chat.messages m
	    WHERE m.user_id = p_user AND m.conversation_id = p_conversation
	    AND m.position > p_after
	    AND EXISTS (SELECT FROM chat.conversations c WHERE c.user_id = p_user
	        AND c.id = p_conversation AND (c.expires_at IS NULL OR c.expires_at > now()))
	    ORDER BY m.position LIMIT least(p_limit, 1001);
END
$$;
COMMENT ON FUNCTION chat.admin_messages(uuid, uuid, bigint, int) IS 'The messages of somebody''s conversation, after a position';

CREATE OR REPLACE FUNCTION chat.admin_feedback(p_rating int, p_time timestamptz, p_id uuid,
    p_limit int)
RETURNS TABLE (message_id uuid, user_id uuid, conversation_id uuid, rating smallint,
    reasons json, comment text, created_at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM auth.admin_demand();
	PERFORM audit.note('feedback.list', 'feedback', NULL, NULL);
	RETURN QUERY EXECUTE 'SELECT f.message_id, f.user_id, f.conversation_id, f.rating,'
	    ' array_to_json(f.reasons), f.comment, f.created_at'
	    ' FROM chat.message_feedback f WHERE (f.created_at, f.message_id) < ($1, $2)'
	    || CASE WHEN p_rating IS NULL THEN '' ELSE ' AND f.rating = $3' END
	    || ' ORDER BY f.created_at DESC, f.message_id DESC LIMIT $4'
	    USING p_time, p_id, p_rating, least(p_limit, 1001);
END
$$;
COMMENT ON FUNCTION chat.admin_feedback(int, timestamptz, uuid, int) IS 'What users think of replies, the newest first';

-- Messages and conversations are counted by the planner's statistics: counting
-- them reads whole tables.
CREATE OR REPLACE FUNCTION chat.admin_stats()
RETURNS TABLE (users bigint, users_disabled bigint, users_active_day bigint, sessions bigint,
    conversations_estimate bigint, messages_estimate bigint, replies_running bigint,
    workers bigint, stores bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM auth.admin_demand();
	RETURN QUERY SELECT (SELECT count(*) FROM auth.users u),
	    (SELECT count(*) FROM auth.users u WHERE u.is_disabled),
	    (SELECT count(*) FROM auth.users u WHERE u.last_login_at > now() - interval '1 day'),
	    (SELECT count(*) FROM auth.sessions s WHERE s.revoked_at IS NULL
	        AND least(s.expires_at, s.idle_expires_at) > now()),
	    (SELECT greatest(c.reltuples, 0)::bigint FROM pg_class c
	        WHERE c.oid = 'chat.conversations'::regclass),
	    (SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint
	        FROM pg_partition_tree('chat.messages') p JOIN pg_class c ON c.oid = p.relid
	        WHERE p.isleaf),
	    (SELECT count(*) FROM chat.running_replies r),
	    (SELECT count(*) FROM chat.workers w WHERE w.seen_at > now() - interval '10 seconds'),
	    (SELECT count(*) FROM chat.stores s);
END
$$;
COMMENT ON FUNCTION chat.admin_stats() IS 'How much there is and goes on';

---------------------------------------------------------------------- analytics

CREATE OR REPLACE FUNCTION chat.admin_analytics(p_category text, p_from date, p_to date,
    p_day date, p_after_category text, p_after_name text, p_limit int)
RETURNS TABLE (day date, category text, name text, events bigint, total double precision,
    "least" double precision, "greatest" double precision)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM auth.admin_demand();
	RETURN QUERY EXECUTE 'SELECT a.day, a.category, a.name, sum(a.events)::bigint, sum(a.total),'
	    ' min(a.least), max(a.greatest) FROM ('
	    'SELECT d.day, d.category, d.name, d.events, d.total, d.least, d.greatest'
	    ' FROM chat.analytics_daily d WHERE d.day BETWEEN $2 AND least($3, $5)'
	    ' AND d.day < (now() AT TIME ZONE ''UTC'')::date'
	    || CASE WHEN p_category IS NULL THEN '' ELSE ' AND d.category = $1' END
	    || ' UNION ALL '
	    'SELECT (now() AT TIME ZONE ''UTC'')::date, e.category, e.name, count(*), sum(e.value),'
	    ' min(e.value), max(e.value) FROM chat.analytics e'
	    ' WHERE (now() AT TIME ZONE ''UTC'')::date BETWEEN $2 AND least($3, $5)'
	    ' AND e.id >= natter.uuid_floor(date_trunc(''day'', now(), ''UTC''))'
	    ' AND e.created_at >= date_trunc(''day'', now(), ''UTC'')'
	    || CASE WHEN p_category IS NULL THEN '' ELSE ' AND e.category = $1' END
	    || ' GROUP BY e.category, e.name) a'
	    ' WHERE a.day < $5 OR (a.category, a.name) > ($6, $7)'
	    ' GROUP BY 1, 2, 3 ORDER BY 1 DESC, 2, 3 LIMIT $4'
	    USING p_category, p_from, p_to, least(p_limit, 1001), p_day, p_after_category,
	    p_after_name;
END
$$;
COMMENT ON FUNCTION chat.admin_analytics(text, date, date, date, text, text, int) IS 'Events of all users by day: the daily sums, and of today the events themselves';

DO $$
DECLARE
	f regprocedure;
BEGIN
	FOR f IN SELECT p.oid::regprocedure FROM pg_proc p
	    WHERE p.pronamespace IN ('auth'::regnamespace, 'chat'::regnamespace)
	    AND p.proname ~ '^admin_' LOOP
		EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
		IF f <> 'auth.admin_user_lock(uuid, uuid, boolean)'::regprocedure
		    AND f <> 'auth.admin_demand()'::regprocedure THEN
			EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO natter_app', f);
		END IF;
		IF f::text ~ 'chat\.admin_(store|member)' THEN
			EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO natter_migrate', f);
		END IF;
	END LOOP;
END
$$;

RESET ROLE;
