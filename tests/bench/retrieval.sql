-- What tests/bench/retrieval.sh asks: each question of `asked` (n, question,
-- words by which the answer is known, | between several) with each set of
-- parts, and how often an answer is among the first five.
-- Within one transaction, app.user_id set.
\set ON_ERROR_STOP on
\pset footer off
WITH parts(n, name, list) AS (VALUES
	(1, 'words alone', '{}'::text[]),
	(2, 'and stems', '{stems}'),
	(3, 'and trigrams', '{stems,trigrams}'),
	(4, 'and headings', '{stems,trigrams,headings}'),
	(5, 'all: and neighbours', '{stems,trigrams,headings,neighbours}'),
	(6, 'all but stems', '{trigrams,headings,neighbours}'),
	(7, 'all but trigrams', '{stems,headings,neighbours}'),
	(8, 'all but headings', '{stems,trigrams,neighbours}')),
found AS MATERIALIZED (
	SELECT p.n, p.name, a.n AS question, (
		SELECT min(f.place) FROM (
			SELECT x.*, row_number() OVER (ORDER BY x.score DESC, x.id) AS place
			  FROM chat.passages_find(a.question, NULL, 'own', 'en', p.list, 10) x) f
		  JOIN chat.document_chunks c ON c.user_id = f.user_id AND c.id = f.id
		 WHERE EXISTS (SELECT FROM unnest(string_to_array(a.known, ' | ')) k(words)
		    WHERE strpos(regexp_replace(c.content, '\s+', ' ', 'g'), k.words) > 0)) AS place
	  FROM parts p CROSS JOIN asked a)
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
