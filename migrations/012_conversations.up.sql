-- What finds conversations and messages, and what their life beyond turns
-- needs: changes of metadata that lose nobody's, search, imports, statistics.
--
-- The functions that filter by words, tags or metadata belong to
-- natter_search: their operators are not leakproof, so that under row level
-- security no index serves them (measured: 80 times slower). Each takes the
-- user from app.user_id and sees nothing without one.

SET ROLE natter_owner;

CREATE OR REPLACE FUNCTION natter.merge_patch(p_target jsonb, p_patch jsonb)
RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	merged jsonb := p_target;
	member record;
BEGIN
	IF jsonb_typeof(p_patch) IS DISTINCT FROM 'object' THEN
		RETURN p_patch;
	END IF;
	IF jsonb_typeof(merged) IS DISTINCT FROM 'object' THEN
		merged := '{}';
	END IF;
	FOR member IN SELECT e.key, e.value FROM jsonb_each(p_patch) e LOOP
		IF jsonb_typeof(member.value) = 'null' THEN
			merged := merged - member.key;
		ELSE
			merged := merged || jsonb_build_object(member.key,
			    natter.merge_patch(merged -> member.key, member.value));
		END IF;
	END LOOP;
	RETURN merged;
END
$$;
COMMENT ON FUNCTION natter.merge_patch(jsonb, jsonb) IS 'JSON merge patch (RFC 7396): members of p_patch replace those of p_target, null removes one, objects are merged';
REVOKE ALL ON FUNCTION natter.merge_patch(jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION natter.merge_patch(jsonb, jsonb) TO natter_app, natter_auth;

-- An UPDATE that waited for another one of the same row runs this again on what
-- that one left: no member is lost to a race.
CREATE OR REPLACE FUNCTION natter.patch_metadata(p_metadata jsonb, p_patch jsonb, p_max int)
RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	patched jsonb := p_metadata;
BEGIN
	IF p_patch IS NULL THEN
		RETURN p_metadata;
	END IF;
	patched := natter.merge_patch(p_metadata, p_patch);
	IF octet_length(patched::text) > greatest(p_max, octet_length(p_metadata::text)) THEN
		RAISE EXCEPTION 'metadata would have % bytes', octet_length(patched::text)
		    USING ERRCODE = 'check_violation', CONSTRAINT = 'metadata_size';
	END IF;
	RETURN patched;
END
$$;
COMMENT ON FUNCTION natter.patch_metadata(jsonb, jsonb, int) IS 'Metadata after a merge patch (NULL: none), refused as a violation of the check metadata_size where it grows beyond p_max bytes';
REVOKE ALL ON FUNCTION natter.patch_metadata(jsonb, jsonb, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION natter.patch_metadata(jsonb, jsonb, int) TO natter_app, natter_auth;

CREATE INDEX IF NOT EXISTS idx_chat_conversations_user_closed
    ON chat.conversations (user_id, last_message_at DESC, id DESC) WHERE NOT is_active;
COMMENT ON INDEX chat.idx_chat_conversations_user_closed IS 'A user''s closed conversations, the latest first';
CREATE INDEX IF NOT EXISTS idx_chat_conversations_temporary
    ON chat.conversations (user_id, id) WHERE expires_at IS NOT NULL;
COMMENT ON INDEX chat.idx_chat_conversations_temporary IS 'A user''s temporary conversations, which no search shows';
CREATE INDEX IF NOT EXISTS idx_chat_usage_tracking_conversation
    ON chat.usage_tracking (user_id, conversation_id) WHERE conversation_id IS NOT NULL;
COMMENT ON INDEX chat.idx_chat_usage_tracking_conversation IS 'What a conversation cost';

-- Imports keep the times of what they bring.
GRANT INSERT (created_at) ON chat.conversations TO natter_app;
GRANT INSERT (created_at) ON chat.messages TO natter_app;

CREATE TABLE IF NOT EXISTS chat.imports (
	user_id uuid NOT NULL CONSTRAINT imports_user_id_fkey
	    REFERENCES auth.users (id) ON DELETE CASCADE,
	source text COLLATE "C" NOT NULL
	    CONSTRAINT imports_source CHECK (char_length(source) BETWEEN 1 AND 32),
	source_id text COLLATE "C" NOT NULL
	    CONSTRAINT imports_source_id CHECK (char_length(source_id) BETWEEN 1 AND 200),
	conversation_id uuid NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT imports_pkey PRIMARY KEY (user_id, source, source_id),
	CONSTRAINT imports_conversation_fkey FOREIGN KEY (user_id, conversation_id)
	    REFERENCES chat.conversations (user_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE chat.imports IS 'Which conversations were brought from elsewhere: the same again is not brought twice. A row goes with its conversation';
COMMENT ON COLUMN chat.imports.user_id IS 'Whose conversation it is';
COMMENT ON COLUMN chat.imports.source IS 'Where it came from: natter, chatgpt';
COMMENT ON COLUMN chat.imports.source_id IS 'Its id there';
COMMENT ON COLUMN chat.imports.conversation_id IS 'The conversation that it became';
COMMENT ON COLUMN chat.imports.created_at IS 'When it was brought';
CREATE INDEX IF NOT EXISTS idx_chat_imports_conversation
    ON chat.imports (user_id, conversation_id);
COMMENT ON INDEX chat.idx_chat_imports_conversation IS 'The cascade from the conversation';
SELECT natter.protect('chat.imports');
GRANT SELECT, INSERT ON chat.imports TO natter_app;

------------------------------------------------------------------------- search

SET ROLE natter_search;

-- Made of the conditions that are asked for alone, so that each combination is
-- planned with the index that serves it. Values go in as parameters; the words
-- of a title, whose number varies, as quoted literals.
CREATE OR REPLACE FUNCTION chat.find_conversations(p_store uuid, p_tags text[],
    p_metadata jsonb, p_words text[], p_archived boolean, p_active boolean,
    p_since timestamptz, p_until timestamptz, p_ascending boolean,
    p_after timestamptz, p_after_id uuid, p_limit int)
RETURNS TABLE (id uuid, last_message_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	me uuid := nullif(current_setting('app.user_id', true), '')::uuid;
	way text := CASE WHEN p_ascending THEN 'ASC' ELSE 'DESC' END;
	wanted text := 'c.user_id = $1 AND c.expires_at IS NULL';
	ends text;
	flags text[] := '{}';
	word text;
	is_filtered boolean := p_store IS NOT NULL OR cardinality(p_tags) > 0
	    OR p_metadata IS NOT NULL OR cardinality(p_words) > 0;
BEGIN
	IF me IS NULL THEN
		RETURN;
	END IF;
	IF p_store IS NOT NULL THEN
		wanted := wanted || ' AND c.store_id = $2';
	END IF;
	IF cardinality(p_tags) > 0 THEN
		wanted := wanted || ' AND c.tags @> $3 AND c.tags <> ''{}''';
	END IF;
	IF p_metadata IS NOT NULL THEN
		wanted := wanted || ' AND c.metadata @> $4 AND c.metadata <> ''{}''';
	END IF;
	IF cardinality(p_words) > 0 THEN -- "invoces" is 0.56 like "invoices"
		PERFORM set_config('pg_trgm.word_similarity_threshold', '0.5', true);
	END IF;
	FOREACH word IN ARRAY coalesce(p_words, '{}') LOOP
		wanted := wanted || format(' AND c.title <> '''' AND (c.title ILIKE %L'
		    ' OR %L OPERATOR(extensions.<%%) c.title)',
		    '%' || regexp_replace(word, '([\\%_])', '\\\1', 'g') || '%', word);
	END LOOP;
	IF p_since IS NOT NULL THEN
		wanted := wanted || ' AND c.last_message_at >= $5';
	END IF;
	IF p_until IS NOT NULL THEN
		wanted := wanted || ' AND c.last_message_at < $6';
	END IF;
	IF p_after_id IS NOT NULL THEN
		wanted := wanted || format(' AND (c.last_message_at, c.id) %s ($7, $8)',
		    CASE WHEN p_ascending THEN '>' ELSE '<' END);
	END IF;

	-- Without another filter each kind is one end of one index.
	IF p_active IS NOT FALSE AND p_archived IS NOT TRUE THEN
		flags := flags || 'c.is_active AND NOT c.is_archived'::text;
	END IF;
	IF p_active IS NOT FALSE AND p_archived IS NOT FALSE THEN
		flags := flags || 'c.is_active AND c.is_archived'::text;
	END IF;
	IF p_active IS NOT TRUE THEN
		flags := flags || ('NOT c.is_active' || CASE p_archived
		    WHEN true THEN ' AND c.is_archived'
		    WHEN false THEN ' AND NOT c.is_archived' ELSE '' END);
	END IF;
	IF is_filtered THEN
		flags := ARRAY['(' || array_to_string(flags, ' OR ') || ')'];
		IF p_active IS NULL AND p_archived IS NULL THEN
			flags := ARRAY['true'];
		END IF;
	END IF;
	ends := format('ORDER BY 2 %s, 1 %s LIMIT $9', way, way);
	RETURN QUERY EXECUTE 'SELECT * FROM (' || (SELECT string_agg(format('(SELECT c.id, c.last_message_at'
	    ' FROM chat.conversations c WHERE %s AND %s ORDER BY c.last_message_at %s, c.id %s'
	    ' LIMIT $9)', wanted, f, way, way), ' UNION ALL ') FROM unnest(flags) f)
	    || ') p ' || ends
	    USING me, p_store, p_tags, p_metadata, p_since, p_until, p_after, p_after_id,
	    least(greatest(p_limit, 0), 1000);
END
$$;
COMMENT ON FUNCTION chat.find_conversations(uuid, text[], jsonb, text[], boolean, boolean, timestamptz, timestamptz, boolean, timestamptz, uuid, int) IS 'A page of the conversations of app.user_id that are in a store, have all tags, contain the metadata, have words like these in their title (NULL: any) and were active in a time; temporary ones never';
REVOKE ALL ON FUNCTION chat.find_conversations(uuid, text[], jsonb, text[], boolean, boolean, timestamptz, timestamptz, boolean, timestamptz, uuid, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.find_conversations(uuid, text[], jsonb, text[], boolean, boolean, timestamptz, timestamptz, boolean, timestamptz, uuid, int) TO natter_app;

-- Ranking reads texts, finding only their index entries: of what fits, the
-- newest 200 up to p_high are ranked; p_high of the next 200 goes back with each
-- row. What is stored after the first page therefore disturbs no later one.
--
-- The index knows no positions: for a phrase Postgres would find the words of
-- every message that has them all again (measured: over a minute for two common
-- ones among 100,000 messages). So messages with all of its words are found, and
-- the phrase is looked for in five blocks of them at most.
CREATE OR REPLACE FUNCTION chat.search_messages(p_query text, p_conversation uuid,
    p_role text, p_intent text, p_since timestamptz, p_until timestamptz,
    p_high uuid, p_rank real, p_after uuid, p_limit int)
RETURNS TABLE (id uuid, conversation_id uuid, role text, created_at timestamptz,
    rank real, snippet text, high uuid, next_high uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	block CONSTANT int := 200;
	me uuid := nullif(current_setting('app.user_id', true), '')::uuid;
	query tsquery := natter.search_query(p_query);
	english tsquery := websearch_to_tsquery('english'::regconfig, left(p_query, 500));
	loose tsquery := regexp_replace(query::text, '<(->|\d+>)', '&', 'g')::tsquery;
	hidden uuid[];
	fits uuid[];
	wanted text := 'm.user_id = $1 AND natter.search_vector(m.content) @@ $2'
	    ' AND m.content <> '''' AND m.id <= $3 AND m.conversation_id <> ALL ($4)';
	recent uuid := natter.uuid_floor(now() - interval '31 days');
	part text;
	more uuid[];
	found uuid[] := '{}';
BEGIN
	IF me IS NULL OR numnode(query) = 0 THEN
		RETURN;
	END IF;
	-- Not the phrase is less than not its words: what is excluded is looked at
	-- with the phrase, unless there is nothing else.
	IF loose::text <> query::text AND querytree(query) NOT IN ('', 'T') THEN
		loose := regexp_replace(querytree(query), '<(->|\d+>)', '&', 'g')::tsquery;
	ELSIF loose::text <> query::text AND query::text ~ '!' THEN
		loose := query;
	END IF;
	hidden := ARRAY(SELECT c.id FROM chat.conversations c
	    WHERE c.user_id = me AND c.expires_at IS NOT NULL);
	IF p_conversation IS NOT NULL THEN
		wanted := wanted || ' AND m.conversation_id = $5';
	END IF;
	IF p_role IS NOT NULL THEN
		wanted := wanted || ' AND m.role = $6';
	END IF;
	IF p_intent IS NOT NULL THEN
		wanted := wanted || ' AND m.intent = $7';
	END IF;
	IF p_since IS NOT NULL THEN
		wanted := wanted || ' AND m.created_at >= $8';
	END IF;
	IF p_until IS NOT NULL THEN
		wanted := wanted || ' AND m.created_at < $9';
	END IF;
	FOR round IN 1..5 LOOP
		found := '{}';
		-- The last month first: where that is enough, no older partition is read.
		FOREACH part IN ARRAY ARRAY[' AND m.id >= $10', ' AND m.id < $10'] LOOP
			EXECUTE 'WITH fit AS MATERIALIZED (SELECT m.id FROM chat.messages m WHERE '
			    || wanted || part || ') SELECT ARRAY(SELECT f.id FROM fit f'
			    ' ORDER BY f.id DESC LIMIT $11)'
			    INTO more
			    USING me, loose, p_high, hidden, p_conversation, p_role, p_intent,
			    p_since, p_until, recent, block + 1 - cardinality(found);
			found := found || more;
			EXIT WHEN cardinality(found) > block;
		END LOOP;
		fits := found[1:block];
		EXIT WHEN loose::text = query::text;
		fits := ARRAY(SELECT f.id FROM unnest(fits) WITH ORDINALITY f(id, n)
		    CROSS JOIN LATERAL (SELECT m.content FROM chat.messages m
		        WHERE m.user_id = me AND m.id = f.id LIMIT 1) t
		    WHERE natter.search_vector(t.content) @@ query ORDER BY f.n);
		EXIT WHEN cardinality(fits) > 0 OR cardinality(found) <= block;
		p_high := found[block + 1];
	END LOOP;

	RETURN QUERY
	WITH ranked AS MATERIALIZED (
		SELECT t.id, t.conversation_id, t.role, t.created_at, t.rank
		FROM unnest(fits) f(id) CROSS JOIN LATERAL (
			SELECT m.id, m.conversation_id, m.role, m.created_at,
			    ts_rank_cd(to_tsvector('english'::regconfig, left(m.content, 2000)),
			    english) AS rank
			FROM chat.messages m WHERE m.user_id = me AND m.id = f.id
			LIMIT 1) t
	), page AS MATERIALIZED (
		SELECT r.id, r.conversation_id, r.role, r.created_at, r.rank FROM ranked r
		WHERE p_after IS NULL OR (r.rank, r.id) < (p_rank, p_after)
		ORDER BY r.rank DESC, r.id DESC LIMIT least(greatest(p_limit, 0), 200)
	)
	SELECT p.id, p.conversation_id, p.role, p.created_at, p.rank, s.snippet,
	    found[1], found[block + 1]
	FROM page p CROSS JOIN LATERAL (
		SELECT ts_headline('english'::regconfig,
		    translate(left(m.content, 20000), chr(2) || chr(3), ''), query,
		    'StartSel=' || chr(2) || ', StopSel=' || chr(3)
		    || ', MaxFragments=2, MaxWords=24, MinWords=8, FragmentDelimiter=" … "')
		    AS snippet
		FROM chat.messages m WHERE m.user_id = me AND m.id = p.id LIMIT 1) s
	ORDER BY p.rank DESC, p.id DESC;
END
$$;
COMMENT ON FUNCTION chat.search_messages(text, uuid, text, text, timestamptz, timestamptz, uuid, real, uuid, int) IS 'A page of the messages of app.user_id with these words, the newest 200 up to p_high ranked, each with a passage in which the words stand between characters 2 and 3; high, next_high: p_high of this and the next 200. Temporary conversations never';
REVOKE ALL ON FUNCTION chat.search_messages(text, uuid, text, text, timestamptz, timestamptz, uuid, real, uuid, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.search_messages(text, uuid, text, text, timestamptz, timestamptz, uuid, real, uuid, int) TO natter_app;

RESET ROLE;
