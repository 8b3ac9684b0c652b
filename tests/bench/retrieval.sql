-- What tests/bench/retrieval.sh asks: each question of `asked` (n, question,
-- words by which the answer is known, | between several) with each set of
-- parts, and how often an answer is among the first five. `answer` is what a
-- server said about the questions' vectors, or null; `least` the least cosine
-- in hundredths. Within one transaction, app.user_id set.
\set ON_ERROR_STOP on
\pset footer off
-- As units times 32767, as natterd stores them.
CREATE TEMPORARY TABLE vectors AS
SELECT (d.value ->> 'index')::int + 1 AS n,
    (SELECT array_agg(round(32767 * x.v::float8 / l.length)::smallint ORDER BY x.n)
       FROM jsonb_array_elements_text(d.value -> 'embedding') WITH ORDINALITY x(v, n)) AS vector
  FROM jsonb_array_elements(CASE WHEN jsonb_typeof(:'answer'::jsonb) = 'object'
      THEN :'answer'::jsonb -> 'data' ELSE '[]' END) d
 CROSS JOIN LATERAL (SELECT sqrt(sum(e.v::float8 ^ 2)) AS length
      FROM jsonb_array_elements_text(d.value -> 'embedding') e(v)) l;
WITH parts(n, name, list, has_words, has_vector) AS (VALUES
	(1, 'words alone', '{}'::text[], true, false),
	(2, 'and stems', '{stems}', true, false),
	(3, 'and trigrams', '{stems,trigrams}', true, false),
	(4, 'and headings', '{stems,trigrams,headings}', true, false),
	(5, 'all: and neighbours', '{stems,trigrams,headings,neighbours}', true, false),
	(6, 'all but stems', '{trigrams,headings,neighbours}', true, false),
	(7, 'all but trigrams', '{stems,headings,neighbours}', true, false),
	(8, 'all but headings', '{stems,trigrams,neighbours}', true, false),
	(9, 'all, fused with embeddings', '{stems,trigrams,headings,neighbours}', true, true),
	(10, 'embeddings alone', '{}', false, true)),
found AS MATERIALIZED (
	SELECT p.n, p.name, a.n AS question, (
		SELECT min(f.place) FROM (
			SELECT x.*, row_number() OVER (ORDER BY x.score DESC, x.id) AS place
			  FROM chat.passages_rank(CASE WHEN p.has_words THEN a.question ELSE '' END,
			      NULL, 'own', 'en', p.list, :'model', CASE WHEN p.has_vector THEN v.vector END,
			      (:least / 100.0)::real, 10) x) f
		  JOIN chat.document_chunks c ON c.user_id = f.user_id AND c.id = f.id
		 WHERE EXISTS (SELECT FROM unnest(string_to_array(a.known, ' | ')) k(words)
		    WHERE strpos(regexp_replace(c.content, '\s+', ' ', 'g'), k.words) > 0)) AS place
	  FROM parts p CROSS JOIN asked a LEFT JOIN vectors v ON v.n = a.n
	 WHERE NOT p.has_vector OR v.n IS NOT NULL)
SELECT name AS "ranked by", count(*) AS questions,
    round(avg((coalesce(place, 99) <= 5)::int), 3) AS "recall@5",
    round(avg(coalesce(1.0 / place, 0)), 3) AS "MRR (of 10)",
    count(*) FILTER (WHERE place = 1) AS first,
    count(*) FILTER (WHERE place IS NULL) AS missed
  FROM found GROUP BY n, name ORDER BY n;
\if :{?show_missed}
SELECT a.question FROM asked a WHERE NOT EXISTS (
	SELECT FROM chat.passages_find(a.question, NULL, 'own', 'en', '{stems,trigrams,headings,neighbours}', 5) f
	  JOIN chat.document_chunks c ON c.user_id = f.user_id AND c.id = f.id
	 WHERE EXISTS (SELECT FROM unnest(string_to_array(a.known, ' | ')) k(words)
	    WHERE strpos(regexp_replace(c.content, '\s+', ' ', 'g'), k.words) > 0)) ORDER BY a.n;
\endif
