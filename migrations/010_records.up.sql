-- 010: what finds and guards the records of 009: documents and their passages,
-- tasks, stores, events, and what administrators see.
--
-- Functions owned by natter_search look past row level security because its
-- operators (words, trigrams, containment) could not use an index under it;
-- each takes its user from app.user_id, never from a parameter. They build
-- their statement and hand it to EXECUTE: a filter that is not asked for does
-- not stand in it, and it is planned for the values that it has.

SET ROLE natter_owner;

------------------------------------------------------------------------ helpers

-- Depth is what the parser of bodies allows, 32.
CREATE OR REPLACE FUNCTION natter.merge_patch(p_target jsonb, p_patch jsonb)
RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	result jsonb := CASE jsonb_typeof(p_target) WHEN 'object' THEN p_target ELSE '{}' END;
	member record;
BEGIN
	IF p_patch IS NULL THEN
		RETURN p_target;
	END IF;
	IF jsonb_typeof(p_patch) <> 'object' THEN
		RETURN p_patch;
	END IF;
	FOR member IN SELECT e.key, e.value FROM jsonb_each(p_patch) e LOOP
		IF member.value = 'null' THEN
			result := result - member.key;
		ELSE
			result := result || jsonb_build_object(member.key,
			    natter.merge_patch(result -> member.key, member.value));
		END IF;
	END LOOP;
	RETURN result;
END
$$;
COMMENT ON FUNCTION natter.merge_patch(jsonb, jsonb) IS 'A JSON merge patch applied (RFC 7396): null takes a member away; a NULL patch changes nothing';
REVOKE ALL ON FUNCTION natter.merge_patch(jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION natter.merge_patch(jsonb, jsonb) TO natter_app, natter_auth, natter_jobs, natter_search;

-- The same for metadata, which patches must not grow for ever.
CREATE OR REPLACE FUNCTION natter.merge_metadata(p_target jsonb, p_patch jsonb)
RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	result jsonb := natter.merge_patch(p_target, p_patch);
BEGIN
	IF p_patch IS NOT NULL AND octet_length(result::text) > 32768 THEN
		RAISE EXCEPTION 'the metadata would grow beyond 32 KiB'
		    USING ERRCODE = 'check_violation', CONSTRAINT = 'metadata_size';
	END IF;
	RETURN result;
END
$$;
COMMENT ON FUNCTION natter.merge_metadata(jsonb, jsonb) IS 'natter.merge_patch for metadata: refused where the result exceeds 32 KiB';
REVOKE ALL ON FUNCTION natter.merge_metadata(jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION natter.merge_metadata(jsonb, jsonb) TO natter_app, natter_auth, natter_jobs, natter_search;

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
-- no manager any more changes none there, but may take away their own.
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
	clause text := 'd.user_id = $1';
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
	    ' AND (c.store_id = ANY ($3) OR c.user_id = $1 AND $2 IS NULL) LIMIT 500) x) f'
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
