-- 032: vectors of passages, where CHAT_EMBEDDING_MODEL makes them, and a
-- ranking by meaning that is fused with the one by words. Each passage has one
-- vector; workers make them in the background, a document at a time, by leases.
-- What a part of the ranking thought of a passage can be seen.

SET ROLE natter_owner;

COMMENT ON COLUMN chat.document_chunks.embedding IS 'Unused: vectors are in chat.chunk_embeddings, so that making them does not write passages and their indexes anew';

------------------------------------------------------------------------ vectors

-- A unit vector times 32767. Its signs alone, a bit each, choose what is
-- compared exactly, so that a search reads 200 bytes of most passages: long
-- vectors lie beside the table.
CREATE TABLE IF NOT EXISTS chat.chunk_embeddings (
	user_id uuid NOT NULL,
	chunk_id uuid NOT NULL,
	store_id uuid,
	model text NOT NULL
	    CONSTRAINT chunk_embeddings_model CHECK (char_length(model) BETWEEN 1 AND 240),
	dimensions int NOT NULL
	    CONSTRAINT chunk_embeddings_dimensions CHECK (dimensions BETWEEN 1 AND 4096),
	signs bit varying NOT NULL
	    CONSTRAINT chunk_embeddings_signs CHECK (length(signs) = dimensions),
	vector smallint[] NOT NULL
	    CONSTRAINT chunk_embeddings_vector CHECK (cardinality(vector) = dimensions),
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT chunk_embeddings_pkey PRIMARY KEY (user_id, chunk_id),
	CONSTRAINT chunk_embeddings_chunk_fkey FOREIGN KEY (user_id, chunk_id)
	    REFERENCES chat.document_chunks (user_id, id) ON DELETE CASCADE ON UPDATE CASCADE
);
ALTER TABLE chat.chunk_embeddings ALTER COLUMN vector SET STORAGE EXTERNAL;
COMMENT ON TABLE chat.chunk_embeddings IS 'What passages mean, as vectors of a model. Made of the passages: it may be deleted at any time and is made again';
COMMENT ON COLUMN chat.chunk_embeddings.user_id IS 'Whose document it is';
COMMENT ON COLUMN chat.chunk_embeddings.chunk_id IS 'The passage';
COMMENT ON COLUMN chat.chunk_embeddings.store_id IS 'As the document''s';
COMMENT ON COLUMN chat.chunk_embeddings.model IS 'The model, and after @ the dimensions that it was asked for, where it was. Vectors of two models are not compared';
COMMENT ON COLUMN chat.chunk_embeddings.dimensions IS 'Of the vector';
COMMENT ON COLUMN chat.chunk_embeddings.signs IS 'Which of its numbers are above zero';
COMMENT ON COLUMN chat.chunk_embeddings.vector IS 'The vector, of length 1, times 32767';
COMMENT ON COLUMN chat.chunk_embeddings.created_at IS 'When it was stored';
CREATE INDEX IF NOT EXISTS idx_chat_chunk_embeddings_store
    ON chat.chunk_embeddings (store_id) WHERE store_id IS NOT NULL;
COMMENT ON INDEX chat.idx_chat_chunk_embeddings_store IS 'What is compared in a search of a store';
SELECT natter.protect('chat.chunk_embeddings');
GRANT SELECT, INSERT, UPDATE ON chat.chunk_embeddings TO natter_search;

-- What is to be done. A row for each document that was cut, whether or not any
-- model is configured: who configures one has nothing to begin.
CREATE TABLE IF NOT EXISTS chat.document_embeddings (
	user_id uuid NOT NULL,
	document_id uuid NOT NULL,
	model text NOT NULL DEFAULT '',
	lease uuid,
	worker_id uuid,
	not_before timestamptz NOT NULL DEFAULT '-infinity',
	failures int NOT NULL DEFAULT 0,
	failed_model text NOT NULL DEFAULT '',
	error text NOT NULL DEFAULT '',
	CONSTRAINT document_embeddings_pkey PRIMARY KEY (user_id, document_id),
	CONSTRAINT document_embeddings_document_fkey FOREIGN KEY (user_id, document_id)
	    REFERENCES chat.documents (user_id, id) ON DELETE CASCADE ON UPDATE CASCADE
);
COMMENT ON TABLE chat.document_embeddings IS 'Of each document, which model all of its passages have vectors of, and who is making them';
COMMENT ON COLUMN chat.document_embeddings.user_id IS 'Whose document it is';
COMMENT ON COLUMN chat.document_embeddings.document_id IS 'The document';
COMMENT ON COLUMN chat.document_embeddings.model IS 'The model that all of its passages have vectors of; empty: of none yet';
COMMENT ON COLUMN chat.document_embeddings.lease IS 'What whoever is at it shows to store; NULL: nobody is';
COMMENT ON COLUMN chat.document_embeddings.worker_id IS 'The worker that is at it: a lease ends with it';
COMMENT ON COLUMN chat.document_embeddings.not_before IS 'The end of the lease, or of the pause after a failure';
COMMENT ON COLUMN chat.document_embeddings.failures IS 'Times in a row that the server refused its passages';
COMMENT ON COLUMN chat.document_embeddings.failed_model IS 'The model that was given up for it; empty: none';
COMMENT ON COLUMN chat.document_embeddings.error IS 'Why the last try failed; empty: it did not';
CREATE INDEX IF NOT EXISTS idx_chat_document_embeddings_model
    ON chat.document_embeddings (model, not_before);
COMMENT ON INDEX chat.idx_chat_document_embeddings_model IS 'Documents that lack vectors of the model of today: before and behind its name';
SELECT natter.protect('chat.document_embeddings');
GRANT SELECT, INSERT, UPDATE ON chat.document_embeddings TO natter_search;
-- A lease ends with its worker; what is being compared stays while it is.
GRANT SELECT ON chat.workers TO natter_search;
GRANT UPDATE (embedding) ON chat.document_chunks TO natter_search;

SET ROLE natter_search;

-- Whoever cuts a document anew begins it anew, whoever is at it.
CREATE OR REPLACE FUNCTION chat.embeddings_want()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	INSERT INTO chat.document_embeddings AS e (user_id, document_id)
	SELECT DISTINCT m.user_id, m.document_id FROM made m
	ON CONFLICT (user_id, document_id) DO UPDATE SET model = '', lease = NULL, worker_id = NULL,
	    not_before = '-infinity', failures = 0, failed_model = '', error = '';
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION chat.embeddings_want() IS 'Trigger: passages that were stored want vectors';
REVOKE ALL ON FUNCTION chat.embeddings_want() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.embeddings_want() TO natter_owner;

SET ROLE natter_owner;
CREATE OR REPLACE TRIGGER want_embeddings AFTER INSERT ON chat.document_chunks
    REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION chat.embeddings_want();
COMMENT ON TRIGGER want_embeddings ON chat.document_chunks IS 'Passages that were stored want vectors';

SET ROLE natter_search;

INSERT INTO chat.document_embeddings (user_id, document_id)
SELECT d.user_id, d.id FROM chat.documents d
ON CONFLICT (user_id, document_id) DO NOTHING;

-- A document that lacks vectors of the model and that no living worker is at,
-- and the first of its passages that lack one. Where none does it is done, and
-- the next one is looked at.
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
REVOKE ALL ON FUNCTION chat.embeddings_claim(text, uuid, uuid, interval, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.embeddings_claim(text, uuid, uuid, interval, int) TO natter_app;

CREATE OR REPLACE FUNCTION chat.vector_signs(p_vector smallint[])
RETURNS bit varying
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN (SELECT string_agg(CASE WHEN v.x > 0 THEN '1' ELSE '0' END, '' ORDER BY v.n)
    FROM unnest(p_vector) WITH ORDINALITY v(x, n))::bit varying;
COMMENT ON FUNCTION chat.vector_signs(smallint[]) IS 'Which numbers of a vector are above zero';
REVOKE ALL ON FUNCTION chat.vector_signs(smallint[]) FROM PUBLIC;

-- Locks as cutting does: passages first, then the document's row.
CREATE OR REPLACE FUNCTION chat.embeddings_store(p_user uuid, p_document uuid, p_lease uuid,
    p_model text, p_chunks uuid[], p_vectors smallint[])
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	n CONSTANT int := cardinality(p_vectors) / greatest(cardinality(p_chunks), 1);
BEGIN
	PERFORM FROM chat.document_chunks c
	  WHERE c.user_id = p_user AND c.document_id = p_document AND c.id = ANY (p_chunks)
	  ORDER BY c.id FOR KEY SHARE;
	PERFORM FROM chat.document_embeddings e
	  WHERE e.user_id = p_user AND e.document_id = p_document AND e.lease = p_lease FOR UPDATE;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	INSERT INTO chat.chunk_embeddings AS v (user_id, chunk_id, store_id, model, dimensions, signs, vector)
	SELECT c.user_id, c.id, c.store_id, p_model, n, chat.vector_signs(s.vector), s.vector
	  FROM unnest(p_chunks) WITH ORDINALITY k(id, place)
	  JOIN chat.document_chunks c
	    ON c.user_id = p_user AND c.document_id = p_document AND c.id = k.id
	 CROSS JOIN LATERAL (SELECT p_vectors[(k.place - 1) * n + 1 : k.place * n] AS vector) s
	ON CONFLICT (user_id, chunk_id) DO UPDATE SET model = excluded.model,
	    dimensions = excluded.dimensions, signs = excluded.signs, vector = excluded.vector,
	    created_at = excluded.created_at;
	UPDATE chat.document_embeddings e
	   SET lease = NULL, worker_id = NULL, not_before = '-infinity', failures = 0, error = ''
	 WHERE e.user_id = p_user AND e.document_id = p_document;
	RETURN true;
END
$$;
COMMENT ON FUNCTION chat.embeddings_store(uuid, uuid, uuid, text, uuid[], smallint[]) IS 'Stores passages'' vectors, one behind the other, and gives the lease back; false: whoever asks has it no more';
REVOKE ALL ON FUNCTION chat.embeddings_store(uuid, uuid, uuid, text, uuid[], smallint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.embeddings_store(uuid, uuid, uuid, text, uuid[], smallint[]) TO natter_app;

-- A refusal is the document's (the fifth in a row is the last), anything else
-- the server's: then it only waits.
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
REVOKE ALL ON FUNCTION chat.embeddings_fail(uuid, uuid, uuid, text, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.embeddings_fail(uuid, uuid, uuid, text, text, boolean) TO natter_app;

-- For people. An empty model: what has no vectors yet. Given up: for p_model.
CREATE OR REPLACE FUNCTION chat.embeddings_state(p_model text)
RETURNS TABLE (model text, documents bigint, in_work bigint, failed bigint, passages bigint, error text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(d.model, v.model), coalesce(d.documents, 0), coalesce(d.in_work, 0),
	    coalesce(d.failed, 0), coalesce(v.passages, 0), coalesce(d.error, '')
	  FROM (SELECT e.model, count(*) AS documents,
	            count(*) FILTER (WHERE e.lease IS NOT NULL) AS in_work,
	            count(*) FILTER (WHERE e.failed_model = p_model) AS failed, max(e.error) AS error
	          FROM chat.document_embeddings e GROUP BY e.model) d
	  FULL JOIN (SELECT c.model, count(*) AS passages FROM chat.chunk_embeddings c GROUP BY c.model) v
	    ON v.model = d.model
	 ORDER BY 1 LIMIT 1000
$$;
COMMENT ON FUNCTION chat.embeddings_state(text) IS 'How many documents have vectors of which model, are being worked at and were given up, and how many passages have them';
REVOKE ALL ON FUNCTION chat.embeddings_state(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.embeddings_state(text) TO natter_migrate, natter_owner;

------------------------------------------------------------------------- ranking

-- What the user may look in: where p_store is given, that store.
CREATE OR REPLACE FUNCTION chat.passages_stores(p_me uuid, p_store text)
RETURNS uuid[]
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce(array_agg(s.store_id), '{}') FROM (
		SELECT m.store_id FROM chat.store_members m JOIN chat.stores s ON s.id = m.store_id
		 WHERE m.user_id = p_me AND (p_store IS NULL OR p_store IN (s.slug, s.id::text))
		 ORDER BY m.store_id LIMIT 50) s
$$;
COMMENT ON FUNCTION chat.passages_stores(uuid, text) IS 'The stores whose passages a user may read, or the one of them that is named. For chat.passages_rank alone';
REVOKE ALL ON FUNCTION chat.passages_stores(uuid, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION chat.passages_embedded(p_model text)
RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT EXISTS (SELECT FROM chat.chunk_embeddings v
	    WHERE v.user_id = nullif(current_setting('app.user_id', true), '')::uuid AND v.model = p_model)
	    OR EXISTS (SELECT FROM chat.store_members m JOIN chat.chunk_embeddings v ON v.store_id = m.store_id
	    WHERE m.user_id = nullif(current_setting('app.user_id', true), '')::uuid AND v.model = p_model)
$$;
COMMENT ON FUNCTION chat.passages_embedded(text) IS 'Has any passage that app.user_id may read a vector of the model?';
REVOKE ALL ON FUNCTION chat.passages_embedded(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.passages_embedded(text) TO natter_app;

-- Of the first 20,000 of the user's own and of stores, the 100 that agree in
-- most signs are compared exactly; where there are no more, all are. Of 1536
-- dimensions signs take 1.6 us of CPU a passage, the cosine 180. Sending the
-- vectors to the worker would take 24 each, and a second round trip.
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
REVOKE ALL ON FUNCTION chat.passages_near(uuid, boolean, uuid[], text, smallint[], real, int) FROM PUBLIC;

-- NULL where a part gave nothing.
CREATE OR REPLACE FUNCTION chat.rank_of(p_rank bigint, p_score real)
RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN p_score <> 0 THEN jsonb_build_object('rank', p_rank, 'score', round(p_score::numeric, 4)) END;
COMMENT ON FUNCTION chat.rank_of(bigint, real) IS 'A part''s place and score of a passage, as it is shown. For chat.passages_rank alone';
REVOKE ALL ON FUNCTION chat.rank_of(bigint, real) FROM PUBLIC;

-- BM25 (k1 1.2, b 0.9) of the text, each word by its stem (1), as it stands
-- (0.4 more) and by what begins like its stem (0.7: "elector" for "elect"); the
-- rarity of each word in the headings above it; and a fifth of what the
-- passages before and behind it have, since a thought goes on over a cut. The
-- numbers were set by make bench-retrieval. The 400 passages with the rarest
-- words are ranked. The score is the sum of what each part gives.
CREATE OR REPLACE FUNCTION chat.passages_by_parts(p_me uuid, p_own boolean, p_stores uuid[],
    p_q text, p_config regconfig, p_parts text[], p_limit int)
RETURNS TABLE (user_id uuid, id uuid, score real, match text, words real, stems real, trigrams real,
    headings real, neighbours real)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- Of each word what finds it, and whether it stands for a misspelt one.
	finds tsquery[] := '{}';
	is_likely boolean[] := '{}';
	-- What may stand in a text for which word, and what that counts.
	terms text[] := '{}';
	term_of int[] := '{}';
	weights real[] := '{}';
	kinds text[] := '{}';
	prefixes text[] := '{}';
	prefix_of int[] := '{}';
	by_stem boolean := 'stems' = ANY (p_parts);
	wanted tsquery;
	find tsquery;
	n int := 0;
	w record;
	l record;
BEGIN
	FOR w IN
		SELECT u.lexeme AS word, (SELECT min(x) FROM unnest(tsvector_to_array(
		    to_tsvector(p_config, u.lexeme))) x) AS stem
		  FROM unnest(to_tsvector('simple'::regconfig, left(p_q, 2000))) u
		 ORDER BY u.positions[1] LIMIT 60
	LOOP
		CONTINUE WHEN w.stem IS NULL OR n >= 24;
		n := n + 1;
		find := chat.word_query(w.word);
		IF by_stem THEN
			find := find || chat.word_query(w.stem);
		END IF;
		finds := finds || find;
		is_likely := is_likely || false;
		IF char_length(w.word) >= 4 AND 'trigrams' = ANY (p_parts)
		    AND NOT EXISTS (SELECT FROM chat.passages_with(p_me, p_own, p_stores, find)) THEN
			FOR l IN SELECT * FROM chat.words_like(p_me, p_own, p_stores, w.word) LOOP
				terms := terms || l.word;
				term_of := term_of || n;
				weights := weights || l.likeness;
				kinds := kinds || 'trigrams'::text;
				finds[n] := finds[n] || chat.word_query(l.word);
				is_likely[n] := true;
			END LOOP;
			CONTINUE WHEN is_likely[n];
		END IF;
		terms := terms || CASE WHEN by_stem THEN w.stem ELSE w.word END;
		term_of := term_of || n;
		weights := weights || 1::real;
		kinds := kinds || CASE WHEN by_stem THEN 'stems' ELSE 'words' END;
		CONTINUE WHEN NOT by_stem;
		terms := terms || w.word;
		term_of := term_of || n;
		weights := weights || 0.4::real;
		kinds := kinds || 'words'::text;
		IF char_length(w.stem) >= 5 THEN
			prefixes := prefixes || left(w.stem, greatest(5, char_length(w.stem) - 1));
			prefix_of := prefix_of || n;
			finds[n] := finds[n] || (chat.word_query(prefixes[cardinality(prefixes)])::text || ':*')::tsquery;
		END IF;
	END LOOP;
	-- Nothing but words that every text has: they are all that was asked.
	IF n = 0 THEN
		SELECT coalesce(array_agg(u.word), '{}'), coalesce(array_agg(chat.word_query(u.word)), '{}')
		  INTO terms, finds FROM (SELECT x.word FROM unnest(tsvector_to_array(
		    to_tsvector('simple'::regconfig, left(p_q, 500)))) x(word) LIMIT 24) u;
		n := cardinality(terms);
		weights := array_fill(1::real, ARRAY[n]);
		kinds := array_fill('words'::text, ARRAY[n]);
		is_likely := array_fill(false, ARRAY[n]);
		SELECT coalesce(array_agg(g), '{}') INTO term_of FROM generate_series(1, n) g;
	END IF;
	-- Who quotes or excludes means just that.
	IF p_q ~ '"|(^|\s)-' THEN
		wanted := natter.search_query(p_q) || websearch_to_tsquery(p_config, left(p_q, 500));
	END IF;
	RETURN QUERY EXECUTE
	    'WITH h AS MATERIALIZED (SELECT f.user_id, f.id, q.n FROM unnest($4) WITH ORDINALITY q(find, n)'
	    ' CROSS JOIN LATERAL chat.passages_with($1, $2, $3, q.find) f),'
	    ' k AS MATERIALIZED (SELECT h.user_id, h.id, sum(1.0 / d.n_passages) AS rarity FROM h'
	    ' JOIN (SELECT x.n, count(*) AS n_passages FROM h x GROUP BY x.n) d ON d.n = h.n'
	    ' GROUP BY h.user_id, h.id ORDER BY rarity DESC, h.id LIMIT 400),'
	    ' r AS MATERIALIZED (SELECT c.* FROM k CROSS JOIN LATERAL (SELECT x.user_id, x.id, x.document_id,'
	    ' x.position, x.words, octet_length(x.content)::float8 AS bytes FROM chat.document_chunks x'
	    ' WHERE x.user_id = k.user_id AND x.id = k.id AND ($12 IS NULL OR x.words @@ $12) LIMIT 1) c),'
	    ' u AS MATERIALIZED (SELECT r.user_id, r.id, l.lexeme,'
	    ' cardinality(array_positions(l.weights, ''B''))::float8 AS places, ''A'' = ANY (l.weights) AS is_above'
	    ' FROM r CROSS JOIN LATERAL unnest(r.words) l(lexeme, positions, weights)'
	    ' WHERE l.lexeme = ANY ($6) OR l.lexeme ^@ ANY ($9)),'
	    ' t AS MATERIALIZED (SELECT v.lexeme, v.n_places, v.n_above, max(y.n) AS n, sum(y.weight) AS weight,'
	    ' coalesce(sum(y.weight) FILTER (WHERE y.kind = ''words''), 0) AS words,'
	    ' coalesce(sum(y.weight) FILTER (WHERE y.kind = ''stems''), 0) AS stems,'
	    ' coalesce(sum(y.weight) FILTER (WHERE y.kind = ''trigrams''), 0) AS trigrams FROM ('
	    'SELECT u.lexeme, count(*) FILTER (WHERE u.places > 0) AS n_places,'
	    ' count(*) FILTER (WHERE u.is_above) AS n_above FROM u GROUP BY u.lexeme) v CROSS JOIN LATERAL ('
	    'SELECT a.n, a.weight, a.kind FROM unnest($6, $7, $8, $15) a(term, n, weight, kind) WHERE a.term = v.lexeme'
	    ' UNION ALL SELECT b.n, 0.7, ''stems'' FROM unnest($9, $10) b(prefix, n) WHERE starts_with(v.lexeme, b.prefix)'
	    ' AND NOT EXISTS (SELECT FROM unnest($6, $7, $8) a(term, n, weight)'
	    ' WHERE a.term = v.lexeme AND a.n = b.n AND a.weight = 1)) y'
	    ' GROUP BY v.lexeme, v.n_places, v.n_above),'
	    ' m AS MATERIALIZED (SELECT p.n, greatest(p.bytes, 1) AS bytes FROM chat.passages_count($1, $2, $3) p),'
	    ' x AS MATERIALIZED (SELECT r.user_id, r.id, r.document_id, r.position, t.n, t.weight, t.words, t.stems, t.trigrams,'
	    ' CASE WHEN u.places > 0 THEN ln(1 + greatest(m.n - t.n_places + 0.5, 0) / (t.n_places + 0.5))'
	    ' * u.places * 2.2 / (u.places + 1.2 * (0.1 + 0.9 * r.bytes / m.bytes)) ELSE 0 END AS here,'
	    ' CASE WHEN u.is_above AND $11 THEN ln(1 + greatest(m.n - t.n_above + 0.5, 0) / (t.n_above + 0.5)) ELSE 0 END AS above'
	    ' FROM u JOIN t ON t.lexeme = u.lexeme JOIN r ON r.user_id = u.user_id AND r.id = u.id CROSS JOIN m'
	    ' WHERE u.places > 0 OR $11),'
	    ' s AS MATERIALIZED (SELECT x.user_id, x.id, x.document_id, x.position, sum(x.weight * (x.here + x.above)) AS score,'
	    ' sum(x.words * x.here) AS words, sum(x.stems * x.here) AS stems, sum(x.trigrams * x.here) AS trigrams,'
	    ' sum(x.weight * x.above) AS headings,'
	    ' count(DISTINCT x.n) FILTER (WHERE NOT ($5)[x.n]) AS n_words, bool_or(($5)[x.n]) AS is_likely'
	    ' FROM x GROUP BY x.user_id, x.id, x.document_id, x.position)'
	    ' SELECT s.user_id, s.id, (s.score + o.near)::real AS score,'
	    ' CASE WHEN s.n_words = cardinality($4) THEN ''all'' WHEN s.n_words > 0 THEN ''any'' ELSE ''similar'' END,'
	    ' s.words::real, s.stems::real, s.trigrams::real, s.headings::real, o.near::real'
	    ' FROM s CROSS JOIN LATERAL (SELECT CASE WHEN $13 THEN 0.2 * coalesce((SELECT sum(y.score) FROM s y'
	    ' WHERE y.user_id = s.user_id AND y.document_id = s.document_id'
	    ' AND y.position IN (s.position - 1, s.position + 1)), 0) ELSE 0 END AS near) o'
	    ' WHERE s.score > 0 ORDER BY score DESC, s.id LIMIT $14'
	    USING p_me, p_own, p_stores, finds, is_likely, terms, term_of, weights, prefixes, prefix_of,
	    'headings' = ANY (p_parts), wanted, 'neighbours' = ANY (p_parts), p_limit, kinds;
END
$$;
COMMENT ON FUNCTION chat.passages_by_parts(uuid, boolean, uuid[], text, regconfig, text[], int) IS 'The passages that share words with a question, rare ones above all, and what each part of the ranking gives them; match: all of the words, any, or only similar ones. For the functions of retrieval alone';
REVOKE ALL ON FUNCTION chat.passages_by_parts(uuid, boolean, uuid[], text, regconfig, text[], int) FROM PUBLIC;

-- As in 028, whose ranking this is.
CREATE OR REPLACE FUNCTION chat.passages_by_words(p_me uuid, p_own boolean, p_stores uuid[],
    p_q text, p_config regconfig, p_parts text[], p_limit int)
RETURNS TABLE (user_id uuid, id uuid, score real, match text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT p.user_id, p.id, p.score, p.match
	  FROM chat.passages_by_parts(p_me, p_own, p_stores, p_q, p_config, p_parts, p_limit) p
	 ORDER BY p.score DESC, p.id
$$;

-- Reciprocal rank fusion (k = 60) of the first 50 by words and the first 50 by
-- meaning. Without a vector the words alone decide, and the score is theirs.
CREATE OR REPLACE FUNCTION chat.passages_rank(p_q text, p_store text, p_scope text, p_language text,
    p_parts text[], p_model text, p_vector smallint[], p_least real, p_limit int)
RETURNS TABLE (user_id uuid, id uuid, score real, match text, ranking jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	me uuid := nullif(current_setting('app.user_id', true), '')::uuid;
	stores uuid[];
	own boolean := p_scope <> 'store';
BEGIN
	IF me IS NULL THEN
		RETURN;
	END IF;
	stores := chat.passages_stores(me, p_store);
	IF (NOT own OR NOT EXISTS (SELECT FROM chat.document_chunks c WHERE c.user_id = me AND c.store_id IS NULL))
	    AND NOT EXISTS (SELECT FROM chat.document_chunks c WHERE c.store_id = ANY (stores)) THEN
		RETURN;
	END IF;
	RETURN QUERY WITH w AS MATERIALIZED (SELECT p.*,
	        row_number() OVER (ORDER BY p.score DESC, p.id) AS place,
	        rank() OVER (ORDER BY p.words DESC) AS by_words,
	        rank() OVER (ORDER BY p.stems DESC) AS by_stems,
	        rank() OVER (ORDER BY p.trigrams DESC) AS by_trigrams,
	        rank() OVER (ORDER BY p.headings DESC) AS by_headings,
	        rank() OVER (ORDER BY p.neighbours DESC) AS by_neighbours
	      FROM chat.passages_by_parts(me, own, stores, p_q, natter.search_config(p_language), p_parts, 400) p),
	    v AS MATERIALIZED (SELECT n.*, row_number() OVER (ORDER BY n.cosine DESC, n.id) AS place
	      FROM chat.passages_near(me, own, stores, p_model, p_vector, p_least, 50) n
	     WHERE p_vector IS NOT NULL),
	    -- What words alone have found beyond the 50th is shown, and counts for nothing.
	    f AS (SELECT coalesce(w.user_id, v.user_id) AS user_id, coalesce(w.id, v.id) AS id,
	        CASE WHEN p_vector IS NULL THEN w.score
	            ELSE coalesce(CASE WHEN w.place <= 50 THEN 1.0 / (60 + w.place) END, 0)
	               + coalesce(1.0 / (60 + v.place), 0) END::real AS score,
	        coalesce(w.match, 'meaning') AS match, jsonb_build_object(
	            'words', chat.rank_of(w.by_words, w.words), 'stems', chat.rank_of(w.by_stems, w.stems),
	            'trigrams', chat.rank_of(w.by_trigrams, w.trigrams),
	            'headings', chat.rank_of(w.by_headings, w.headings),
	            'neighbours', chat.rank_of(w.by_neighbours, w.neighbours),
	            'full_text', chat.rank_of(w.place, w.score),
	            'embedding', chat.rank_of(v.place, v.cosine)) AS ranking
	      FROM w FULL JOIN v ON v.user_id = w.user_id AND v.id = w.id)
	    SELECT f.* FROM f WHERE f.score > 0 ORDER BY f.score DESC, f.id LIMIT least(p_limit, 50);
END
$$;
COMMENT ON FUNCTION chat.passages_rank(text, text, text, text, text[], text, smallint[], real, int) IS 'As chat.passages_find, fused with the passages whose vectors of p_model are nearest to p_vector (NULL: words alone) with a cosine of p_least at least; ranking: the place and score that each part gave';
REVOKE ALL ON FUNCTION chat.passages_rank(text, text, text, text, text[], text, smallint[], real, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.passages_rank(text, text, text, text, text[], text, smallint[], real, int) TO natter_app;

RESET ROLE;
