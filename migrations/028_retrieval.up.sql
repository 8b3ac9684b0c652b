-- 028: what a question finds. Passages are ranked by the words that they share
-- with it: rare words count for more than common ones, words of a heading for
-- more than those of the text, and a word that stands nowhere is taken for a
-- misspelt one and looked for by its trigrams.
--
-- What 013 made for this stays for daemons of before.

SET ROLE natter_owner;

------------------------------------------------------------------------- ranking

SET ROLE natter_search;

-- Which passages a search looks at: p_own, the user's own, without a store;
-- p_stores, those of stores. Each word gives at most 500 of each, so that a
-- rare word has all of its passages looked at however common the others are.
CREATE OR REPLACE FUNCTION chat.passages_with(p_me uuid, p_own boolean, p_stores uuid[], p_query tsquery)
RETURNS TABLE (user_id uuid, id uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF p_own THEN
		RETURN QUERY EXECUTE 'SELECT c.user_id, c.id FROM chat.document_chunks c'
		    ' WHERE c.user_id = $1 AND c.words @@ $2 AND c.store_id IS NULL LIMIT 500'
		    USING p_me, p_query;
	END IF;
	IF cardinality(p_stores) > 0 THEN
		RETURN QUERY EXECUTE 'SELECT x.user_id, x.id FROM unnest($1) s(id) CROSS JOIN LATERAL ('
		    'SELECT c.user_id, c.id FROM chat.document_chunks c'
		    ' WHERE c.store_id = s.id AND c.words @@ $2 LIMIT 500) x'
		    USING p_stores, p_query;
	END IF;
END
$$;
COMMENT ON FUNCTION chat.passages_with(uuid, boolean, uuid[], tsquery) IS 'Passages of a user and of stores that a query finds, 500 of each at most. For chat.passages_find alone';
REVOKE ALL ON FUNCTION chat.passages_with(uuid, boolean, uuid[], tsquery) FROM PUBLIC;

-- Letters that changed places are what fingers do most, and what trigrams see
-- least.
CREATE OR REPLACE FUNCTION chat.letters(p_word text)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN (SELECT string_agg(l.letter, '' ORDER BY l.letter) FROM unnest(string_to_array(p_word, NULL)) l(letter));
COMMENT ON FUNCTION chat.letters(text) IS 'The letters of a word in the order of the alphabet. For chat.passages_find alone';
REVOKE ALL ON FUNCTION chat.letters(text) FROM PUBLIC;

-- A store's passages lie with the managers that brought them, by whom the
-- trigrams are indexed.
CREATE OR REPLACE FUNCTION chat.words_like(p_me uuid, p_own boolean, p_stores uuid[], p_word text)
RETURNS TABLE (word text, likeness real)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- Not a SET of the function's: making that needs pg_trgm loaded already.
	PERFORM set_config('pg_trgm.word_similarity_threshold', '0.35', true);
	RETURN QUERY EXECUTE
	    'SELECT l.word, l.likeness FROM (SELECT v.word, CASE WHEN chat.letters(v.word) = chat.letters($4) THEN 0.9'
	    ' ELSE extensions.similarity(v.word, $4) END::real AS likeness FROM ('
	    'SELECT DISTINCT u.word FROM (SELECT $1 AS id UNION SELECT m.user_id FROM chat.store_members m'
	    ' WHERE m.store_id = ANY ($3) AND m.role = ''manager'') o CROSS JOIN LATERAL ('
	    'SELECT c.words FROM chat.document_chunks c'
	    ' WHERE c.user_id = o.id AND c.content OPERATOR(extensions.%>) $4'
	    ' AND (c.store_id = ANY ($3) OR $2 AND c.store_id IS NULL AND c.user_id = $1) LIMIT 100) x'
	    ' CROSS JOIN LATERAL unnest(tsvector_to_array(x.words)) u(word)'
	    ' WHERE abs(char_length(u.word) - char_length($4)) <= 3) v) l'
	    ' WHERE l.likeness >= 0.4'
	    ' ORDER BY likeness DESC, l.word LIMIT 3'
	    USING p_me, p_own, p_stores, p_word;
END
$$;
COMMENT ON FUNCTION chat.words_like(uuid, boolean, uuid[], text) IS 'The words of a user''s and of stores'' passages that look most like a misspelt one. For chat.passages_find alone';
REVOKE ALL ON FUNCTION chat.words_like(uuid, boolean, uuid[], text) FROM PUBLIC;

-- A lexeme as a query.
CREATE OR REPLACE FUNCTION chat.word_query(p_word text)
RETURNS tsquery
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN ('''' || replace(replace(p_word, '\', '\\'), '''', '''''') || '''')::tsquery;
COMMENT ON FUNCTION chat.word_query(text) IS 'A word, as an index has it, as a query. For chat.passages_find alone';
REVOKE ALL ON FUNCTION chat.word_query(text) FROM PUBLIC;

-- How many passages a search looks at, up to 5,000 of each kind, and how long
-- they are.
CREATE OR REPLACE FUNCTION chat.passages_count(p_me uuid, p_own boolean, p_stores uuid[])
RETURNS TABLE (n bigint, bytes double precision)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT count(*), avg(x.bytes)::float8 FROM (
		(SELECT c.end_offset - c.start_offset AS bytes FROM chat.document_chunks c
		  WHERE p_own AND c.user_id = p_me AND c.store_id IS NULL LIMIT 5000)
		UNION ALL
		(SELECT c.end_offset - c.start_offset FROM chat.document_chunks c
		  WHERE c.store_id = ANY (p_stores) LIMIT 5000)) x
$$;
COMMENT ON FUNCTION chat.passages_count(uuid, boolean, uuid[]) IS 'How many passages a search looks at, and their bytes on average. For chat.passages_find alone';
REVOKE ALL ON FUNCTION chat.passages_count(uuid, boolean, uuid[]) FROM PUBLIC;

-- BM25 (k1 1.2, b 0.9) of the text, each word by its stem (1), as it stands
-- (0.4 more) and by what begins like its stem (0.7: "elector" for "elect"); the
-- rarity of each word in the headings above it; and a fifth of what the
-- passages before and behind it have, since a thought goes on over a cut. The
-- numbers were set by make bench-retrieval. The 400 passages with the rarest
-- words are ranked.
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

CREATE OR REPLACE FUNCTION chat.passages_find(p_q text, p_store text, p_scope text, p_language text,
    p_parts text[], p_limit int)
RETURNS TABLE (user_id uuid, id uuid, score real, match text)
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
	SELECT coalesce(array_agg(s.store_id), '{}') INTO stores FROM (
		SELECT m.store_id FROM chat.store_members m JOIN chat.stores s ON s.id = m.store_id
		 WHERE m.user_id = me AND (p_store IS NULL OR p_store IN (s.slug, s.id::text))
		 ORDER BY m.store_id LIMIT 50) s;
	IF (NOT own OR NOT EXISTS (SELECT FROM chat.document_chunks c WHERE c.user_id = me AND c.store_id IS NULL))
	    AND NOT EXISTS (SELECT FROM chat.document_chunks c WHERE c.store_id = ANY (stores)) THEN
		RETURN;
	END IF;
	RETURN QUERY SELECT f.* FROM chat.passages_by_words(me, own, stores, p_q,
	    natter.search_config(p_language), p_parts, least(p_limit, 50)) f;
END
$$;
COMMENT ON FUNCTION chat.passages_find(text, text, text, text, text[], int) IS 'The passages that app.user_id may read and that fit a question best. p_store: slug or id, and p_scope says whether that store''s alone count (store) or the user''s own as well (own); without a store all. p_parts: what ranks, of stems, trigrams, headings, neighbours';
REVOKE ALL ON FUNCTION chat.passages_find(text, text, text, text, text[], int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.passages_find(text, text, text, text, text[], int) TO natter_app;

RESET ROLE;
