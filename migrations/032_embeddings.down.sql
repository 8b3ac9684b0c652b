-- Takes back 032_embeddings.up.sql. Vectors go; a later one has them made again.

SET ROLE natter_owner;

DROP TRIGGER IF EXISTS want_embeddings ON chat.document_chunks;

SET ROLE natter_search;

-- As in 028.
CREATE OR REPLACE FUNCTION chat.passages_by_words(p_me uuid, p_own boolean, p_stores uuid[],
    p_q text, p_config regconfig, p_parts text[], p_limit int)
RETURNS TABLE (user_id uuid, id uuid, score real, match text)
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
				finds[n] := finds[n] || chat.word_query(l.word);
				is_likely[n] := true;
			END LOOP;
			CONTINUE WHEN is_likely[n];
		END IF;
		terms := terms || CASE WHEN by_stem THEN w.stem ELSE w.word END;
		term_of := term_of || n;
		weights := weights || 1::real;
		CONTINUE WHEN NOT by_stem;
		terms := terms || w.word;
		term_of := term_of || n;
		weights := weights || 0.4::real;
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
	    ' t AS MATERIALIZED (SELECT v.lexeme, v.n_places, v.n_above, max(y.n) AS n, sum(y.weight) AS weight FROM ('
	    'SELECT u.lexeme, count(*) FILTER (WHERE u.places > 0) AS n_places,'
	    ' count(*) FILTER (WHERE u.is_above) AS n_above FROM u GROUP BY u.lexeme) v CROSS JOIN LATERAL ('
	    'SELECT a.n, a.weight FROM unnest($6, $7, $8) a(term, n, weight) WHERE a.term = v.lexeme'
	    ' UNION ALL SELECT b.n, 0.7 FROM unnest($9, $10) b(prefix, n) WHERE starts_with(v.lexeme, b.prefix)'
	    ' AND NOT EXISTS (SELECT FROM unnest($6, $7, $8) a(term, n, weight)'
	    ' WHERE a.term = v.lexeme AND a.n = b.n AND a.weight = 1)) y'
	    ' GROUP BY v.lexeme, v.n_places, v.n_above),'
	    ' m AS MATERIALIZED (SELECT p.n, greatest(p.bytes, 1) AS bytes FROM chat.passages_count($1, $2, $3) p),'
	    ' s AS MATERIALIZED (SELECT r.user_id, r.id, r.document_id, r.position,'
	    ' sum(t.weight * (CASE WHEN u.places > 0 THEN ln(1 + greatest(m.n - t.n_places + 0.5, 0) / (t.n_places + 0.5))'
	    ' * u.places * 2.2 / (u.places + 1.2 * (0.1 + 0.9 * r.bytes / m.bytes)) ELSE 0 END'
	    ' + CASE WHEN u.is_above AND $11 THEN ln(1 + greatest(m.n - t.n_above + 0.5, 0) / (t.n_above + 0.5)) ELSE 0 END)) AS score,'
	    ' count(DISTINCT t.n) FILTER (WHERE NOT ($5)[t.n]) AS n_words, bool_or(($5)[t.n]) AS is_likely'
	    ' FROM u JOIN t ON t.lexeme = u.lexeme JOIN r ON r.user_id = u.user_id AND r.id = u.id CROSS JOIN m'
	    ' WHERE u.places > 0 OR $11 GROUP BY r.user_id, r.id, r.document_id, r.position)'
	    ' SELECT s.user_id, s.id, (s.score + CASE WHEN $13 THEN 0.2 * coalesce((SELECT sum(o.score) FROM s o'
	    ' WHERE o.user_id = s.user_id AND o.document_id = s.document_id'
	    ' AND o.position IN (s.position - 1, s.position + 1)), 0) ELSE 0 END)::real AS score,'
	    ' CASE WHEN s.n_words = cardinality($4) THEN ''all'' WHEN s.n_words > 0 THEN ''any'' ELSE ''similar'' END'
	    ' FROM s WHERE s.score > 0 ORDER BY score DESC, s.id LIMIT $14'
	    USING p_me, p_own, p_stores, finds, is_likely, terms, term_of, weights, prefixes, prefix_of,
	    'headings' = ANY (p_parts), wanted, 'neighbours' = ANY (p_parts), p_limit;
END
$$;
COMMENT ON FUNCTION chat.passages_by_words(uuid, boolean, uuid[], text, regconfig, text[], int) IS 'The passages that share words with a question, rare ones above all; match: all of the words, any, or only similar ones. For chat.passages_find alone';
REVOKE ALL ON FUNCTION chat.passages_by_words(uuid, boolean, uuid[], text, regconfig, text[], int) FROM PUBLIC;

SET ROLE natter_owner;

DROP FUNCTION IF EXISTS chat.passages_rank(text, text, text, text, text[], text, smallint[], real, int);
DROP FUNCTION IF EXISTS chat.passages_by_parts(uuid, boolean, uuid[], text, regconfig, text[], int);
DROP FUNCTION IF EXISTS chat.rank_of(bigint, real);
DROP FUNCTION IF EXISTS chat.passages_near(uuid, boolean, uuid[], text, smallint[], real, int);
DROP FUNCTION IF EXISTS chat.passages_embedded(text);
DROP FUNCTION IF EXISTS chat.passages_stores(uuid, text);
DROP FUNCTION IF EXISTS chat.embeddings_state(text);
DROP FUNCTION IF EXISTS chat.embeddings_fail(uuid, uuid, uuid, text, text, boolean);
DROP FUNCTION IF EXISTS chat.embeddings_store(uuid, uuid, uuid, text, uuid[], smallint[]);
DROP FUNCTION IF EXISTS chat.embeddings_claim(text, uuid, uuid, interval, int);
DROP FUNCTION IF EXISTS chat.embeddings_want();
DROP TABLE IF EXISTS chat.document_embeddings;
DROP TABLE IF EXISTS chat.chunk_embeddings;
DROP FUNCTION IF EXISTS chat.vector_signs(smallint[]);
REVOKE UPDATE (embedding) ON chat.document_chunks FROM natter_search;
REVOKE SELECT ON chat.workers FROM natter_search;
COMMENT ON COLUMN chat.document_chunks.embedding IS 'Its vector, where CHAT_EMBEDDING_MODEL makes one';

RESET ROLE;
