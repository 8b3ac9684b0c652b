-- Takes back 037_embedding_tries.up.sql.

SET ROLE natter_search;
DROP FUNCTION IF EXISTS chat.embeddings_claim(text, uuid, uuid, interval, int, boolean);

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

SET ROLE natter_owner;
ALTER TABLE chat.document_embeddings DROP COLUMN IF EXISTS tried_model;

RESET ROLE;
