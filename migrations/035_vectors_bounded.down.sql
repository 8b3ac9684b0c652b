-- Takes back 035_vectors_bounded.up.sql: the functions are those of 032 and 034.

SET ROLE natter_owner;
DROP TRIGGER IF EXISTS unquote ON chat.documents;
SET ROLE natter_auth;

CREATE OR REPLACE FUNCTION chat.document_unquote()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE chat.messages m SET context = m.context - 'said', tool_responses = (
		SELECT jsonb_agg(CASE WHEN r.use->>'name' = 'search_documents'
		    AND jsonb_typeof(r.use->'result'->'passages') = 'array'
		    THEN jsonb_set(r.use, '{result,passages}', (
		        SELECT coalesce(jsonb_agg(CASE WHEN p.passage->>'document_id' = OLD.id::text
		            THEN jsonb_build_object('document_id', OLD.id, 'deleted', true)
		            ELSE p.passage END ORDER BY p.n), '[]')
		        FROM jsonb_array_elements(r.use->'result'->'passages')
		            WITH ORDINALITY p(passage, n)))
		    ELSE r.use END ORDER BY r.n)
		FROM jsonb_array_elements(m.tool_responses) WITH ORDINALITY r(use, n))
	 WHERE m.user_id = OLD.user_id
	   AND m.tool_responses @> '[{"name": "search_documents"}]'
	   AND m.tool_responses @> jsonb_build_array(jsonb_build_object('result',
	       jsonb_build_object('passages', jsonb_build_array(
	       jsonb_build_object('document_id', OLD.id)))));
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION chat.document_unquote() IS 'Takes what tools have quoted of a user''s own document out of their replies';

SET ROLE natter_owner;
CREATE OR REPLACE TRIGGER unquote AFTER DELETE ON chat.documents
    FOR EACH ROW WHEN (OLD.store_id IS NULL)
    EXECUTE FUNCTION chat.document_unquote();
COMMENT ON TRIGGER unquote ON chat.documents IS 'Their quotes go with documents';

SET ROLE natter_search;

CREATE OR REPLACE FUNCTION chat.embeddings_claim(p_model text, p_worker uuid, p_lease uuid,
    p_life interval, p_limit int)
RETURNS TABLE (user_id uuid, document_id uuid, chunk_id uuid, title text, heading text, content text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	j chat.document_embeddings;
	below text := 'SELECT e.* FROM chat.document_embeddings e WHERE e.model %s $1'
	    ' AND e.failed_model <> $1 AND (e.not_before <= now() OR e.lease IS NOT NULL'
	    ' AND NOT EXISTS (SELECT FROM chat.workers w WHERE w.id = e.worker_id'
	    ' AND w.died_at IS NULL AND w.seen_at > now() - interval ''15 seconds''))'
	    ' ORDER BY e.model, e.not_before LIMIT 1 FOR UPDATE OF e SKIP LOCKED';
BEGIN
	FOR i IN 1..100 LOOP
		EXECUTE format(below, '<') INTO j USING p_model;
		IF j.user_id IS NULL THEN
			EXECUTE format(below, '>') INTO j USING p_model;
		END IF;
		IF j.user_id IS NULL THEN
			RETURN;
		END IF;
		RETURN QUERY SELECT c.user_id, c.document_id, c.id, d.title, c.heading, c.content
		  FROM chat.document_chunks c
		  JOIN chat.documents d ON d.user_id = c.user_id AND d.id = c.document_id
		 WHERE c.user_id = j.user_id AND c.document_id = j.document_id
		   AND NOT EXISTS (SELECT FROM chat.chunk_embeddings v
		       WHERE v.user_id = c.user_id AND v.chunk_id = c.id AND v.model = p_model)
		 ORDER BY c.position LIMIT p_limit;
		IF FOUND THEN
			UPDATE chat.document_embeddings e
			   SET lease = p_lease, worker_id = p_worker, not_before = now() + p_life
			 WHERE e.user_id = j.user_id AND e.document_id = j.document_id;
			RETURN;
		END IF;
		UPDATE chat.document_embeddings e
		   SET model = p_model, lease = NULL, worker_id = NULL, not_before = '-infinity',
		       failures = 0, error = ''
		 WHERE e.user_id = j.user_id AND e.document_id = j.document_id;
	END LOOP;
END
$$;
COMMENT ON FUNCTION chat.embeddings_claim(text, uuid, uuid, interval, int) IS 'Leases, to a worker, a document that lacks vectors of a model, and gives passages of it that have none; marks those that lack none';

CREATE OR REPLACE FUNCTION chat.embeddings_fail(p_user uuid, p_document uuid, p_lease uuid,
    p_model text, p_error text, p_is_refused boolean)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	UPDATE chat.document_embeddings e
	   SET lease = NULL, worker_id = NULL, error = left(p_error, 200),
	       failures = e.failures + p_is_refused::int,
	       not_before = now() + CASE WHEN p_is_refused
	           THEN least(600, 5 * 4 ^ least(e.failures, 5)) * interval '1 second'
	           ELSE interval '0' END,
	       failed_model = CASE WHEN p_is_refused AND e.failures >= 4 THEN p_model
	           ELSE e.failed_model END
	 WHERE e.user_id = p_user AND e.document_id = p_document AND e.lease = p_lease;
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION chat.embeddings_fail(uuid, uuid, uuid, text, text, boolean) IS 'Gives a lease back without vectors; p_is_refused: the server does not want these passages, which after five times are left alone';

CREATE OR REPLACE FUNCTION chat.passages_near(p_me uuid, p_own boolean, p_stores uuid[],
    p_model text, p_vector smallint[], p_least real, p_limit int)
RETURNS TABLE (user_id uuid, id uuid, cosine real)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN QUERY EXECUTE
	    'WITH k AS MATERIALIZED ('
	    '(SELECT v.user_id, v.chunk_id, v.signs FROM chat.chunk_embeddings v'
	    ' WHERE $2 AND v.user_id = $1 AND v.store_id IS NULL AND v.model = $4'
	    ' AND v.dimensions = cardinality($5) LIMIT 20000) UNION ALL '
	    '(SELECT v.user_id, v.chunk_id, v.signs FROM chat.chunk_embeddings v'
	    ' WHERE v.store_id = ANY ($3) AND v.model = $4'
	    ' AND v.dimensions = cardinality($5) LIMIT 20000)),'
	    ' c AS MATERIALIZED (SELECT k.user_id, k.chunk_id FROM k'
	    ' ORDER BY bit_count(k.signs # $8), k.chunk_id LIMIT 100)'
	    ' SELECT c.user_id, c.chunk_id, s.cosine FROM c CROSS JOIN LATERAL ('
	    'SELECT v.vector FROM chat.chunk_embeddings v'
	    ' WHERE v.user_id = c.user_id AND v.chunk_id = c.chunk_id LIMIT 1) v CROSS JOIN LATERAL ('
	    'SELECT (sum(a.x::int * a.y) / (32767.0::float8 * 32767.0))::real AS cosine'
	    ' FROM (SELECT unnest(v.vector) AS x, unnest($5) AS y) a) s'
	    ' WHERE s.cosine >= $6 ORDER BY s.cosine DESC, c.chunk_id LIMIT $7'
	    USING p_me, p_own, p_stores, p_model, p_vector, p_least, p_limit, chat.vector_signs(p_vector);
END
$$;
COMMENT ON FUNCTION chat.passages_near(uuid, boolean, uuid[], text, smallint[], real, int) IS 'The passages whose vectors are nearest to one, by cosine, which is p_least at least. For chat.passages_rank alone';

SET ROLE natter_owner;
CREATE INDEX IF NOT EXISTS idx_chat_chunk_embeddings_store
    ON chat.chunk_embeddings (store_id) WHERE store_id IS NOT NULL;
COMMENT ON INDEX chat.idx_chat_chunk_embeddings_store IS 'What is compared in a search of a store';
DROP INDEX IF EXISTS chat.idx_chat_chunk_embeddings_store_chunk;
COMMENT ON COLUMN chat.document_embeddings.failures IS 'Times in a row that the server refused its passages';
REVOKE UPDATE (embedding_model) ON chat.workers FROM natter_search;
ALTER TABLE chat.workers DROP COLUMN IF EXISTS embedding_model;

RESET ROLE;
