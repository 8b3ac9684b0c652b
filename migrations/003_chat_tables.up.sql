-- Conversations, messages, replies in flight and usage, each keyed
-- (user_id, id) and under forced row level security.
--
-- messages and usage_tracking are partitioned by month on their id: a UUIDv7
-- begins with its time, so that natter.uuid_floor(month) is the bound and the
-- primary key stays (user_id, id). Nothing refers to a partitioned table by a
-- foreign key, and what must be unique there lives in a small plain table
-- (running_replies).

SET ROLE natter_owner;

CREATE TABLE IF NOT EXISTS chat.conversations (
	user_id uuid NOT NULL CONSTRAINT conversations_user_id_fkey
	    REFERENCES auth.users (id) ON DELETE CASCADE,
	id uuid NOT NULL,
	short_id text COLLATE "C" NOT NULL
	    CONSTRAINT conversations_short_id CHECK (char_length(short_id) BETWEEN 1 AND 32),
	store_id uuid,
	title text NOT NULL DEFAULT ''
	    CONSTRAINT conversations_title CHECK (char_length(title) <= 200),
	metadata jsonb NOT NULL DEFAULT '{}'
	    CONSTRAINT conversations_metadata CHECK (jsonb_typeof(metadata) = 'object'),
	tags text[] NOT NULL DEFAULT '{}'
	    CONSTRAINT conversations_tags CHECK (cardinality(tags) <= 100
	    AND array_position(tags, NULL) IS NULL),
	model text
	    CONSTRAINT conversations_model CHECK (char_length(model) BETWEEN 1 AND 200),
	system_prompt text,
	is_active boolean NOT NULL DEFAULT true,
	is_archived boolean NOT NULL DEFAULT false,
	archived_at timestamptz,
	message_count int NOT NULL DEFAULT 0
	    CONSTRAINT conversations_message_count CHECK (message_count >= 0),
	next_position bigint NOT NULL DEFAULT 1
	    CONSTRAINT conversations_next_position CHECK (next_position >= 1),
	leaf_id uuid,
	last_message_at timestamptz NOT NULL DEFAULT now(),
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT conversations_pkey PRIMARY KEY (user_id, id),
	CONSTRAINT conversations_short_id_key UNIQUE (user_id, short_id),
	CONSTRAINT conversations_archived CHECK (is_archived OR archived_at IS NULL)
);
COMMENT ON TABLE chat.conversations IS 'A user''s conversations; deleting one deletes its messages';
COMMENT ON COLUMN chat.conversations.user_id IS 'Whose conversation it is';
COMMENT ON COLUMN chat.conversations.id IS 'UUIDv7, made by the daemon';
COMMENT ON COLUMN chat.conversations.short_id IS 'Ten characters that stand in URLs; unique per user';
COMMENT ON COLUMN chat.conversations.store_id IS 'The store (shop, department, tenant) that it belongs to; NULL: none';
COMMENT ON COLUMN chat.conversations.title IS 'Title as shown; empty until somebody or something names it';
COMMENT ON COLUMN chat.conversations.metadata IS 'The site''s own fields, such as source, department, priority, language';
COMMENT ON COLUMN chat.conversations.tags IS 'The user''s labels';
COMMENT ON COLUMN chat.conversations.model IS 'The model that answers here; NULL: CHAT_MODEL';
COMMENT ON COLUMN chat.conversations.system_prompt IS 'The system prompt here; NULL: CHAT_SYSTEM_PROMPT';
COMMENT ON COLUMN chat.conversations.is_active IS 'False: closed by the site, kept and not listed by default';
COMMENT ON COLUMN chat.conversations.is_archived IS 'The user put it away';
COMMENT ON COLUMN chat.conversations.archived_at IS 'When it was put away; NULL while it is not';
COMMENT ON COLUMN chat.conversations.message_count IS 'Messages in it, kept with each turn';
COMMENT ON COLUMN chat.conversations.next_position IS 'The position that the next message gets';
COMMENT ON COLUMN chat.conversations.leaf_id IS 'The newest message: parent of the next one unless it names another';
COMMENT ON COLUMN chat.conversations.last_message_at IS 'When the newest message was stored; lists are ordered by it';
COMMENT ON COLUMN chat.conversations.created_at IS 'When the conversation was made';
COMMENT ON COLUMN chat.conversations.updated_at IS 'When the row last changed; set by a trigger';

CREATE INDEX IF NOT EXISTS idx_chat_conversations_user_active
    ON chat.conversations (user_id, is_archived, last_message_at DESC, id DESC)
    WHERE is_active;
COMMENT ON INDEX chat.idx_chat_conversations_user_active IS 'A user''s list of conversations, the latest first';
CREATE INDEX IF NOT EXISTS idx_chat_conversations_store
    ON chat.conversations (user_id, store_id, last_message_at DESC, id DESC)
    WHERE store_id IS NOT NULL;
COMMENT ON INDEX chat.idx_chat_conversations_store IS 'A user''s list of conversations within a store';

ALTER TABLE chat.conversations ENABLE ROW LEVEL SECURITY;
ALTER TABLE chat.conversations FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS own ON chat.conversations;
CREATE POLICY own ON chat.conversations FOR ALL TO natter_app
    USING (user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid))
    WITH CHECK (user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid));
COMMENT ON POLICY own ON chat.conversations IS 'The daemon sees and changes the rows of app.user_id alone';

CREATE OR REPLACE TRIGGER set_updated_at BEFORE UPDATE ON chat.conversations
    FOR EACH ROW WHEN (NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at)
    EXECUTE FUNCTION natter.set_updated_at();
COMMENT ON TRIGGER set_updated_at ON chat.conversations IS 'Keeps updated_at';

GRANT SELECT, DELETE ON chat.conversations TO natter_app;
GRANT INSERT (user_id, id, short_id, store_id, title, metadata, tags, model,
    system_prompt, is_active, is_archived, archived_at, message_count, next_position,
    leaf_id, last_message_at) ON chat.conversations TO natter_app;
GRANT UPDATE (store_id, title, metadata, tags, model, system_prompt, is_active,
    is_archived, archived_at, message_count, next_position, leaf_id, last_message_at)
    ON chat.conversations TO natter_app;
GRANT SELECT ON chat.conversations TO natter_auth;

CREATE TABLE IF NOT EXISTS chat.messages (
	user_id uuid NOT NULL,
	id uuid NOT NULL,
	conversation_id uuid NOT NULL,
	parent_id uuid,
	position bigint NOT NULL
	    CONSTRAINT messages_position CHECK (position >= 1),
	role text NOT NULL
	    CONSTRAINT messages_role CHECK (role IN ('user', 'assistant', 'system', 'tool')),
	content text NOT NULL,
	status text NOT NULL
	    CONSTRAINT messages_status CHECK (status IN
	    ('streaming', 'complete', 'interrupted', 'cancelled', 'failed')),
	model text
	    CONSTRAINT messages_model CHECK (char_length(model) <= 200),
	finish_reason text
	    CONSTRAINT messages_finish_reason CHECK (char_length(finish_reason) <= 64),
	error_code text
	    CONSTRAINT messages_error_code CHECK (char_length(error_code) <= 64),
	token_count int
	    CONSTRAINT messages_token_count CHECK (token_count >= 0),
	used_documents jsonb NOT NULL DEFAULT '[]'
	    CONSTRAINT messages_used_documents CHECK (jsonb_typeof(used_documents) = 'array'),
	intent text
	    CONSTRAINT messages_intent CHECK (char_length(intent) <= 100),
	entities jsonb NOT NULL DEFAULT '{}'
	    CONSTRAINT messages_entities CHECK (jsonb_typeof(entities) IN ('object', 'array')),
	tool_calls jsonb NOT NULL DEFAULT '[]'
	    CONSTRAINT messages_tool_calls CHECK (jsonb_typeof(tool_calls) = 'array'),
	tool_responses jsonb NOT NULL DEFAULT '[]'
	    CONSTRAINT messages_tool_responses CHECK (jsonb_typeof(tool_responses) = 'array'),
	metadata jsonb NOT NULL DEFAULT '{}'
	    CONSTRAINT messages_metadata CHECK (jsonb_typeof(metadata) = 'object'),
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	completed_at timestamptz,
	CONSTRAINT messages_pkey PRIMARY KEY (user_id, id),
	CONSTRAINT messages_conversation_fkey FOREIGN KEY (user_id, conversation_id)
	    REFERENCES chat.conversations (user_id, id) ON DELETE CASCADE,
	CONSTRAINT messages_streaming CHECK (status <> 'streaming'
	    OR (role = 'assistant' AND completed_at IS NULL))
) PARTITION BY RANGE (id);
COMMENT ON TABLE chat.messages IS 'What was said, one row per message; position alone orders a conversation. One partition per month of the id';
COMMENT ON COLUMN chat.messages.user_id IS 'Whose message it is (the user''s own, and the replies to them)';
COMMENT ON COLUMN chat.messages.id IS 'UUIDv7, made by the daemon; its time chooses the partition';
COMMENT ON COLUMN chat.messages.conversation_id IS 'The conversation';
COMMENT ON COLUMN chat.messages.parent_id IS 'The message that this one answers or continues; NULL for the first. Two messages with one parent are branches';
COMMENT ON COLUMN chat.messages.position IS 'Order within the conversation, from 1, given under the lock of the conversation''s row';
COMMENT ON COLUMN chat.messages.role IS 'Who speaks: user, assistant, system or tool';
COMMENT ON COLUMN chat.messages.content IS 'The text; of a streaming reply what was last saved of it';
COMMENT ON COLUMN chat.messages.status IS 'streaming while a reply is being written; complete, or how it ended: interrupted (server), cancelled (user), failed (model)';
COMMENT ON COLUMN chat.messages.model IS 'The model that wrote it';
COMMENT ON COLUMN chat.messages.finish_reason IS 'Why the model stopped: stop, length, content_filter, tool_calls';
COMMENT ON COLUMN chat.messages.error_code IS 'Stable code of the error that ended a failed reply';
COMMENT ON COLUMN chat.messages.token_count IS 'Tokens of the content, as the model counted or as estimated; NULL: not known';
COMMENT ON COLUMN chat.messages.used_documents IS 'Documents that the reply quotes or was given';
COMMENT ON COLUMN chat.messages.intent IS 'What the user wants, where it was recognised';
COMMENT ON COLUMN chat.messages.entities IS 'Names, dates and numbers recognised in the text';
COMMENT ON COLUMN chat.messages.tool_calls IS 'Tools that the model called, with their arguments';
COMMENT ON COLUMN chat.messages.tool_responses IS 'What the tools answered';
COMMENT ON COLUMN chat.messages.metadata IS 'Further facts, such as latency, attempts, sentiment, the client''s own fields';
COMMENT ON COLUMN chat.messages.created_at IS 'When the row was stored';
COMMENT ON COLUMN chat.messages.updated_at IS 'When the row last changed; set by a trigger';
COMMENT ON COLUMN chat.messages.completed_at IS 'When a reply ended, however; NULL while it is streaming';

CREATE INDEX IF NOT EXISTS idx_chat_messages_conversation_time
    ON chat.messages (user_id, conversation_id, position DESC);
COMMENT ON INDEX chat.idx_chat_messages_conversation_time IS 'A conversation''s messages, the newest first: pages, context, cascade';

ALTER TABLE chat.messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE chat.messages FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS own ON chat.messages;
CREATE POLICY own ON chat.messages FOR ALL TO natter_app
    USING (user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid))
    WITH CHECK (user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid));
COMMENT ON POLICY own ON chat.messages IS 'The daemon sees and changes the rows of app.user_id alone';

CREATE OR REPLACE TRIGGER set_updated_at BEFORE UPDATE ON chat.messages
    FOR EACH ROW WHEN (NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at)
    EXECUTE FUNCTION natter.set_updated_at();
COMMENT ON TRIGGER set_updated_at ON chat.messages IS 'Keeps updated_at';

-- No DELETE: messages go with their conversation.
GRANT SELECT ON chat.messages TO natter_app;
GRANT INSERT (user_id, id, conversation_id, parent_id, position, role, content,
    status, model, finish_reason, error_code, token_count, used_documents, intent,
    entities, tool_calls, tool_responses, metadata, completed_at)
    ON chat.messages TO natter_app;
GRANT UPDATE (content, status, model, finish_reason, error_code, token_count,
    used_documents, intent, entities, tool_calls, tool_responses, metadata,
    completed_at) ON chat.messages TO natter_app;
GRANT SELECT, UPDATE (status, finish_reason, error_code, completed_at)
    ON chat.messages TO natter_auth;

CREATE TABLE IF NOT EXISTS chat.running_replies (
	user_id uuid NOT NULL,
	message_id uuid NOT NULL,
	conversation_id uuid NOT NULL,
	parent_id uuid,
	worker_id uuid NOT NULL,
	started_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT running_replies_pkey PRIMARY KEY (user_id, message_id),
	CONSTRAINT running_replies_branch_key
	    UNIQUE NULLS NOT DISTINCT (user_id, conversation_id, parent_id),
	CONSTRAINT running_replies_conversation_fkey FOREIGN KEY (user_id, conversation_id)
	    REFERENCES chat.conversations (user_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE chat.running_replies IS 'Replies being written now; at most one per branch of a conversation. A row goes away with the end of its reply';
COMMENT ON COLUMN chat.running_replies.user_id IS 'Whose reply it is';
COMMENT ON COLUMN chat.running_replies.message_id IS 'The reply''s message, status streaming';
COMMENT ON COLUMN chat.running_replies.conversation_id IS 'The conversation';
COMMENT ON COLUMN chat.running_replies.parent_id IS 'Parent of the user''s message that is being answered: the branch point; NULL at the conversation''s beginning';
COMMENT ON COLUMN chat.running_replies.worker_id IS 'The worker that writes it; when that worker is dead, a sweep ends the reply';
COMMENT ON COLUMN chat.running_replies.started_at IS 'When the reply began';

ALTER TABLE chat.running_replies ENABLE ROW LEVEL SECURITY;
ALTER TABLE chat.running_replies FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS own ON chat.running_replies;
CREATE POLICY own ON chat.running_replies FOR ALL TO natter_app
    USING (user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid))
    WITH CHECK (user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid));
COMMENT ON POLICY own ON chat.running_replies IS 'The daemon sees and changes the rows of app.user_id alone';

GRANT SELECT, INSERT, DELETE, UPDATE (worker_id) ON chat.running_replies TO natter_app;
GRANT SELECT, UPDATE (worker_id), DELETE ON chat.running_replies TO natter_auth;

CREATE TABLE IF NOT EXISTS chat.workers (
	id uuid NOT NULL CONSTRAINT workers_pkey PRIMARY KEY,
	host text NOT NULL
	    CONSTRAINT workers_host CHECK (char_length(host) <= 255),
	pid int NOT NULL,
	started_at timestamptz NOT NULL DEFAULT now(),
	seen_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE chat.workers IS 'The daemon''s worker processes and when each last gave a sign of life; belongs to no user';
COMMENT ON COLUMN chat.workers.id IS 'UUIDv7 that the worker made for itself at its start';
COMMENT ON COLUMN chat.workers.host IS 'Host name, for people';
COMMENT ON COLUMN chat.workers.pid IS 'Process id on that host, for people';
COMMENT ON COLUMN chat.workers.started_at IS 'When the worker first wrote here';
COMMENT ON COLUMN chat.workers.seen_at IS 'Last sign of life; too old means dead';
GRANT SELECT, INSERT, UPDATE, DELETE ON chat.workers TO natter_app;
GRANT SELECT, UPDATE (seen_at), DELETE ON chat.workers TO natter_auth;

CREATE TABLE IF NOT EXISTS chat.usage_tracking (
	user_id uuid NOT NULL CONSTRAINT usage_tracking_user_id_fkey
	    REFERENCES auth.users (id) ON DELETE CASCADE,
	id uuid NOT NULL,
	conversation_id uuid,
	message_id uuid,
	model text NOT NULL
	    CONSTRAINT usage_tracking_model CHECK (char_length(model) <= 200),
	prompt_tokens int NOT NULL DEFAULT 0
	    CONSTRAINT usage_tracking_prompt_tokens CHECK (prompt_tokens >= 0),
	completion_tokens int NOT NULL DEFAULT 0
	    CONSTRAINT usage_tracking_completion_tokens CHECK (completion_tokens >= 0),
	cached_tokens int NOT NULL DEFAULT 0
	    CONSTRAINT usage_tracking_cached_tokens CHECK (cached_tokens >= 0),
	cost numeric(14, 8) NOT NULL DEFAULT 0
	    CONSTRAINT usage_tracking_cost CHECK (cost >= 0),
	is_estimated boolean NOT NULL DEFAULT false,
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT usage_tracking_pkey PRIMARY KEY (user_id, id)
) PARTITION BY RANGE (id);
COMMENT ON TABLE chat.usage_tracking IS 'What each answered request cost, one row each, never changed; outlives its conversation. One partition per month of the id';
COMMENT ON COLUMN chat.usage_tracking.user_id IS 'Who asked';
COMMENT ON COLUMN chat.usage_tracking.id IS 'UUIDv7; its time chooses the partition';
COMMENT ON COLUMN chat.usage_tracking.conversation_id IS 'The conversation; NULL for requests outside of one';
COMMENT ON COLUMN chat.usage_tracking.message_id IS 'The reply; NULL for requests outside of a conversation';
COMMENT ON COLUMN chat.usage_tracking.model IS 'The model that answered, as it names itself where it does';
COMMENT ON COLUMN chat.usage_tracking.prompt_tokens IS 'Tokens sent';
COMMENT ON COLUMN chat.usage_tracking.completion_tokens IS 'Tokens received';
COMMENT ON COLUMN chat.usage_tracking.cached_tokens IS 'Of the tokens sent, those the model had cached';
COMMENT ON COLUMN chat.usage_tracking.cost IS 'Price in the currency of the price list';
COMMENT ON COLUMN chat.usage_tracking.is_estimated IS 'The model did not count: the numbers are our estimate';
COMMENT ON COLUMN chat.usage_tracking.created_at IS 'When the row was stored';

CREATE INDEX IF NOT EXISTS idx_chat_usage_tracking_message
    ON chat.usage_tracking (user_id, message_id);
COMMENT ON INDEX chat.idx_chat_usage_tracking_message IS 'The usage of one reply';

ALTER TABLE chat.usage_tracking ENABLE ROW LEVEL SECURITY;
ALTER TABLE chat.usage_tracking FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS own ON chat.usage_tracking;
CREATE POLICY own ON chat.usage_tracking FOR ALL TO natter_app
    USING (user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid))
    WITH CHECK (user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid));
COMMENT ON POLICY own ON chat.usage_tracking IS 'The daemon sees and changes the rows of app.user_id alone';

GRANT SELECT ON chat.usage_tracking TO natter_app;
GRANT INSERT (user_id, id, conversation_id, message_id, model, prompt_tokens,
    completion_tokens, cached_tokens, cost, is_estimated)
    ON chat.usage_tracking TO natter_app;

-- Partitions. A partition is made beside its table and then attached: readers
-- and writers of the other partitions go on; those of the default partition and
-- writers of a table that it refers to wait for that moment, and it for them for
-- two seconds at most. It carries forced row level security, no policy and no
-- grant: it is reached through its table only.

CREATE OR REPLACE FUNCTION chat.create_partition(p_table name, p_month timestamptz)
RETURNS int
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	part name := p_table || coalesce('_' || to_char(p_month AT TIME ZONE 'UTC', 'YYYY_MM'), '_default');
	low uuid := natter.uuid_floor(p_month);
	high uuid := natter.uuid_floor((p_month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC');
BEGIN
	IF to_regclass(format('chat.%I', part)) IS NOT NULL THEN
		RETURN 0;
	END IF;
	EXECUTE format('CREATE TABLE chat.%I (LIKE chat.%I INCLUDING ALL)', part, p_table);
	EXECUTE format('ALTER TABLE chat.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', part);
	IF p_month IS NULL THEN
		EXECUTE format('ALTER TABLE chat.%I ATTACH PARTITION chat.%I DEFAULT', p_table, part);
		EXECUTE format('COMMENT ON TABLE chat.%I IS %L', part,
		    'Rows of ' || p_table || ' whose month has no partition: to be kept empty (chat.create_partitions moves them out)');
		RETURN 1;
	END IF;

	-- Rows of this month that came before its partition lie in the default one.
	-- They move under its lock; forced row level security would hide them.
	IF to_regclass(format('chat.%I', p_table || '_default')) IS NOT NULL THEN
		EXECUTE format('ALTER TABLE chat.%I NO FORCE ROW LEVEL SECURITY', p_table || '_default');
		EXECUTE format('ALTER TABLE chat.%I NO FORCE ROW LEVEL SECURITY', part);
		EXECUTE format('WITH moved AS (DELETE FROM chat.%I WHERE id >= $1 AND id < $2 RETURNING *) '
		    'INSERT INTO chat.%I SELECT * FROM moved', p_table || '_default', part) USING low, high;
		EXECUTE format('ALTER TABLE chat.%I FORCE ROW LEVEL SECURITY', part);
		EXECUTE format('ALTER TABLE chat.%I FORCE ROW LEVEL SECURITY', p_table || '_default');
	END IF;
	EXECUTE format('ALTER TABLE chat.%I ATTACH PARTITION chat.%I FOR VALUES FROM (%L) TO (%L)',
	    p_table, part, low, high);
	EXECUTE format('COMMENT ON TABLE chat.%I IS %L', part,
	    'Rows of ' || p_table || ' whose id is of ' || to_char(p_month AT TIME ZONE 'UTC', 'YYYY-MM') || ' (UTC)');
	RETURN 1;
END
$$;
COMMENT ON FUNCTION chat.create_partition(name, timestamptz) IS 'Makes one partition unless it is there: of the month that begins at p_month, or for NULL the default one; returns how many it made. Called by chat.create_partitions';
REVOKE ALL ON FUNCTION chat.create_partition(name, timestamptz) FROM PUBLIC;

CREATE OR REPLACE FUNCTION chat.create_partitions(p_months int,
    p_since timestamptz DEFAULT now())
RETURNS int
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
	parent name;
	month timestamp;
	made int := 0;
BEGIN
	IF p_months IS NULL OR p_months NOT BETWEEN 0 AND 120
	    OR p_since IS NULL OR p_since < now() - interval '50 years' THEN
		RAISE EXCEPTION 'create_partitions takes 0 to 120 months ahead and at most 50 years back'
		    USING ERRCODE = 'invalid_parameter_value';
	END IF;
	PERFORM pg_advisory_xact_lock(5211873014926422);
	FOR parent IN
		SELECT c.relname FROM pg_class c
		JOIN pg_partitioned_table p ON p.partrelid = c.oid
		WHERE c.relnamespace = 'chat'::regnamespace AND p.partstrat = 'r'
		ORDER BY c.relname
	LOOP
		made := made + chat.create_partition(parent, NULL);
		FOR month IN
			-- From the day before: another host's clock may be behind ours.
			SELECT generate_series(
			    date_trunc('month', (least(p_since, now()) - interval '1 day') AT TIME ZONE 'UTC'),
			    date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => p_months),
			    interval '1 month')
		LOOP
			made := made + chat.create_partition(parent, month AT TIME ZONE 'UTC');
		END LOOP;
	END LOOP;
	RETURN made;
END
$$;
COMMENT ON FUNCTION chat.create_partitions(int, timestamptz) IS 'Makes the missing partitions of every monthly table, from p_since''s month to p_months ahead of this one, and the default ones; moves strays out of those; returns how many it made';
REVOKE ALL ON FUNCTION chat.create_partitions(int, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chat.create_partitions(int, timestamptz)
    TO natter_migrate, natter_jobs;

SELECT chat.create_partitions(3);

RESET ROLE;
