-- 035: vectors that cannot be stored, or that hosts of two models would make in
-- turns, are not bought for ever; what is near to a question is the same each
-- time; and documents that go together take their quotes along in one statement.

SET ROLE natter_owner;

ALTER TABLE chat.workers
    ADD COLUMN IF NOT EXISTS embedding_model text NOT NULL DEFAULT ''
	CONSTRAINT workers_embedding_model CHECK (char_length(embedding_model) <= 240);
COMMENT ON COLUMN chat.workers.embedding_model IS 'The model that it makes passages'' vectors by, as chat.chunk_embeddings.model; empty: by none';
GRANT UPDATE (embedding_model) ON chat.workers TO natter_search;

COMMENT ON COLUMN chat.document_embeddings.failures IS 'Times in a row that its passages were given out and no vector was stored, the server''s own failures excepted';

CREATE INDEX IF NOT EXISTS idx_chat_chunk_embeddings_store_chunk
    ON chat.chunk_embeddings (store_id, chunk_id) WHERE store_id IS NOT NULL;
COMMENT ON INDEX chat.idx_chat_chunk_embeddings_store_chunk IS 'What is compared in a search of a store: its newest passages';
DROP INDEX IF EXISTS chat.idx_chat_chunk_embeddings_store;

------------------------------------------------------------------------ vectors

SET ROLE natter_search;

-- As in 032, and: what another living worker's model has begun is its. A document
-- whose passages were given out five times without a vector stored is given up,
-- whatever became of them; each time the lease, which is the pause where nobody
-- gives it back, is twice as long.
CREATE OR REPLACE FUNCTION chat.embeddings_claim(p_model text, p_worker uuid, p_lease uuid,
    p_life interval, p_limit int)
RETURNS TABLE (user_id uuid, document_id uuid, chunk_id uuid, title text, heading text, content text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	j chat.document_embeddings;
	others text[];
	n int;
	below text := 'SELECT e.* FROM chat.document_embeddings e WHERE e.model %s $1'
	    ' AND e.failed_model <> $1 AND (e.not_before <= now() OR e.lease IS NOT NULL'
	    ' AND NOT EXISTS (SELECT FROM chat.workers w WHERE w.id = e.worker_id'
	    ' AND w.died_at IS NULL AND w.seen_at > now() - interval ''15 seconds''))'
	    ' AND (cardinality($2) = 0 OR e.model <> ALL ($2) AND e.failed_model <> ALL ($2)'
	    ' AND NOT EXISTS (SELECT FROM chat.document_chunks c JOIN chat.chunk_embeddings v'
	    ' ON v.user_id = c.user_id AND v.chunk_id = c.id WHERE c.user_id = e.user_id'
	    ' AND c.document_id = e.document_id AND v.model = ANY ($2)))'
	    ' ORDER BY e.model, e.not_before LIMIT 1 FOR UPDATE OF e SKIP LOCKED';
BEGIN
	UPDATE chat.workers w SET embedding_model = p_model
	 WHERE w.id = p_worker AND w.embedding_model <> p_model;
	others := ARRAY(SELECT DISTINCT w.embedding_model FROM chat.workers w
	     WHERE w.embedding_model NOT IN ('', p_model)
	       AND w.died_at IS NULL AND w.seen_at > now() - interval '15 seconds');
	FOR i IN 1..100 LOOP
		EXECUTE format(below, '<') INTO j USING p_model, others;
		IF j.user_id IS NULL THEN
			EXECUTE format(below, '>') INTO j USING p_model, others;
		END IF;
		IF j.user_id IS NULL THEN
			RETURN;
		END IF;
		-- What failed with a model of yesterday is no matter of today's.
		n := CASE WHEN j.failed_model = '' THEN j.failures ELSE 0 END;
		IF n >= 5 THEN
			UPDATE chat.document_embeddings e
			   SET failed_model = p_model, lease = NULL, worker_id = NULL, not_before = '-infinity',
			       error = CASE e.error WHEN '' THEN 'its vectors were never stored' ELSE e.error END
			 WHERE e.user_id = j.user_id AND e.document_id = j.document_id;
			CONTINUE;
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
			   SET lease = p_lease, worker_id = p_worker, not_before = now() + p_life * 2 ^ n,
			       failures = n + 1, failed_model = ''
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
COMMENT ON FUNCTION chat.embeddings_claim(text, uuid, uuid, interval, int) IS 'Leases, to a worker, a document that lacks vectors of a model and that no other model of a living worker has begun, and gives passages of it that have none; marks those that lack none, and those that were given out five times in vain';

-- A refusal is the document's (the fifth in a row is the last), anything else
-- the server's: then it only waits.
CREATE OR REPLACE FUNCTION chat.embeddings_fail(p_user uuid, p_document uuid, p_lease uuid,
    p_model text, p_error text, p_is_refused boolean)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	is_given_up boolean;
BEGIN
	UPDATE chat.document_embeddings e
	   SET lease = NULL, worker_id = NULL, error = left(p_error, 200),
	       failures = CASE WHEN p_is_refused THEN e.failures ELSE greatest(e.failures - 1, 0) END,
	       not_before = now() + CASE WHEN p_is_refused
	           THEN least(600, 5 * 4 ^ least(greatest(e.failures - 1, 0), 5)) * interval '1 second'
	           ELSE interval '0' END,
	       failed_model = CASE WHEN p_is_refused AND e.failures >= 5 THEN p_model
	           ELSE e.failed_model END
	 WHERE e.user_id = p_user AND e.document_id = p_document AND e.lease = p_lease
	RETURNING e.failed_model = p_model INTO is_given_up;
	RETURN coalesce(is_given_up, false);
END
$$;
COMMENT ON FUNCTION chat.embeddings_fail(uuid, uuid, uuid, text, text, boolean) IS 'Gives a lease back without vectors; p_is_refused: the server does not want these passages, or what it said of them is of no use. After five times they are left alone; true: so they are now';

-- As in 032, and of more than 20,000 passages the newest are compared, of stores
-- in their order, so that the same question finds the same.
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
	    ' AND v.dimensions = cardinality($5) ORDER BY v.chunk_id DESC LIMIT 20000) UNION ALL '
	    '(SELECT x.user_id, x.chunk_id, x.signs FROM unnest($3) WITH ORDINALITY s(id, n)'
	    ' CROSS JOIN LATERAL (SELECT v.user_id, v.chunk_id, v.signs FROM chat.chunk_embeddings v'
	    ' WHERE v.store_id = s.id AND v.model = $4 AND v.dimensions = cardinality($5)'
	    ' ORDER BY v.chunk_id DESC, v.user_id LIMIT 20000) x'
	    ' ORDER BY s.n, x.chunk_id DESC, x.user_id LIMIT 20000)),'
	    ' c AS MATERIALIZED (SELECT k.user_id, k.chunk_id FROM k'
	    ' ORDER BY bit_count(k.signs # $8), k.chunk_id, k.user_id LIMIT 100)'
	    ' SELECT c.user_id, c.chunk_id, s.cosine FROM c CROSS JOIN LATERAL ('
	    'SELECT v.vector FROM chat.chunk_embeddings v'
	    ' WHERE v.user_id = c.user_id AND v.chunk_id = c.chunk_id LIMIT 1) v CROSS JOIN LATERAL ('
	    'SELECT (sum(a.x::int * a.y) / (32767.0::float8 * 32767.0))::real AS cosine'
	    ' FROM (SELECT unnest(v.vector) AS x, unnest($5) AS y) a) s'
	    ' WHERE s.cosine >= $6 ORDER BY s.cosine DESC, c.chunk_id, c.user_id LIMIT $7'
	    USING p_me, p_own, p_stores, p_model, p_vector, p_least, p_limit, chat.vector_signs(p_vector);
END
$$;
COMMENT ON FUNCTION chat.passages_near(uuid, boolean, uuid[], text, smallint[], real, int) IS 'The passages whose vectors are nearest to one, by cosine, which is p_least at least. For chat.passages_rank alone';

----------------------------------------------------------------- what was quoted

-- As in 034, but for all documents of a statement at once: the replies are locked
-- in the order of their ids, so that two deletions wait for each other in no ring.
SET ROLE natter_owner;
DROP TRIGGER IF EXISTS unquote ON chat.documents;
SET ROLE natter_auth;

CREATE OR REPLACE FUNCTION chat.document_unquote()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	users CONSTANT uuid[] := ARRAY(SELECT DISTINCT g.user_id FROM gone g WHERE g.store_id IS NULL);
	documents CONSTANT text[] := ARRAY(SELECT g.id::text FROM gone g WHERE g.store_id IS NULL);
BEGIN
	IF cardinality(documents) = 0 THEN
		RETURN NULL;
	END IF;
	WITH quoting AS MATERIALIZED (
		SELECT m.user_id, m.id FROM chat.messages m
		 WHERE m.user_id = ANY (users)
		   AND m.tool_responses @> '[{"name": "search_documents"}]'
		   AND jsonb_path_query_array(m.tool_responses,
		       '$[*].result.passages[*].document_id') ?| documents
		 ORDER BY m.user_id, m.id FOR UPDATE
	)
	UPDATE chat.messages m SET context = m.context - 'said', tool_responses = (
		SELECT jsonb_agg(CASE WHEN r.use->>'name' = 'search_documents'
		    AND jsonb_typeof(r.use->'result'->'passages') = 'array'
		    THEN jsonb_set(r.use, '{result,passages}', (
		        SELECT coalesce(jsonb_agg(CASE WHEN p.passage->>'document_id' = ANY (documents)
		            THEN jsonb_build_object('document_id', p.passage->'document_id', 'deleted', true)
		            ELSE p.passage END ORDER BY p.n), '[]')
		        FROM jsonb_array_elements(r.use->'result'->'passages')
		            WITH ORDINALITY p(passage, n)))
		    ELSE r.use END ORDER BY r.n)
		FROM jsonb_array_elements(m.tool_responses) WITH ORDINALITY r(use, n))
	  FROM quoting q
	 WHERE m.user_id = q.user_id AND m.id = q.id;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION chat.document_unquote() IS 'Trigger: takes what tools have quoted of users'' own documents that are deleted out of their replies';

SET ROLE natter_owner;
CREATE OR REPLACE TRIGGER unquote AFTER DELETE ON chat.documents
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT
    EXECUTE FUNCTION chat.document_unquote();
COMMENT ON TRIGGER unquote ON chat.documents IS 'Their quotes go with documents';

RESET ROLE;
