-- 009: the rest of what a chat product keeps: stores and their members,
-- documents with their chunks, tasks and the log of what was done to them,
-- events and their daily sums, budgets of tokens, feedback, keys of users'
-- data; and what finds rows by their words, tags and metadata.
--
-- Keys, row level security and partitions as in 003. A store belongs to nobody
-- and is seen by its members, or by all while it is open; a store's documents
-- are the one exception to "the rows of app.user_id alone": its members read
-- them.
--
-- Full text is searched by words as they stand and as English stems: one index
-- answers both "invoices" for "invoice" and any other language's words.

SET ROLE natter_owner;

-- Trusted extensions: the database's owner may make them. Apart, so that a
-- pinned search_path has to name what it means.
CREATE SCHEMA IF NOT EXISTS extensions;
COMMENT ON SCHEMA extensions IS 'Postgres'' own extensions that Natter uses: pg_trgm (misspelt words), btree_gin (user_id in GIN indexes)';
GRANT USAGE ON SCHEMA extensions TO natter_app, natter_jobs, natter_auth, natter_search;
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA extensions;
CREATE EXTENSION IF NOT EXISTS btree_gin SCHEMA extensions;

------------------------------------------------------------------------ helpers

CREATE OR REPLACE FUNCTION natter.protect(p_table regclass)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', p_table);
	EXECUTE format('DROP POLICY IF EXISTS own ON %s', p_table);
	EXECUTE format('CREATE POLICY own ON %s FOR ALL TO natter_app'
	    ' USING (user_id = (SELECT nullif(current_setting(''app.user_id'', true), '''')::uuid))'
	    ' WITH CHECK (user_id = (SELECT nullif(current_setting(''app.user_id'', true), '''')::uuid))', p_table);
	EXECUTE format('COMMENT ON POLICY own ON %s IS '
	    '''The daemon sees and changes the rows of app.user_id alone''', p_table);
END
$$;
COMMENT ON FUNCTION natter.protect(regclass) IS 'Puts a table of users'' rows under forced row level security by its user_id. For migrations';
REVOKE ALL ON FUNCTION natter.protect(regclass) FROM PUBLIC;

CREATE OR REPLACE FUNCTION natter.keep_updated_at(p_table regclass)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	EXECUTE format('CREATE OR REPLACE TRIGGER set_updated_at BEFORE UPDATE ON %s'
	    ' FOR EACH ROW WHEN (NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at)'
	    ' EXECUTE FUNCTION natter.set_updated_at()', p_table);
	EXECUTE format('COMMENT ON TRIGGER set_updated_at ON %s IS ''Keeps updated_at''', p_table);
END
$$;
COMMENT ON FUNCTION natter.keep_updated_at(regclass) IS 'Gives a table the trigger that keeps its updated_at. For migrations';
REVOKE ALL ON FUNCTION natter.keep_updated_at(regclass) FROM PUBLIC;

-- to_tsvector fails beyond 1 MB of lexemes; 60,000 characters twice stay below
-- that whatever they are.
CREATE OR REPLACE FUNCTION natter.search_vector(p_text text)
RETURNS tsvector
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN to_tsvector('simple'::regconfig, left(p_text, 60000))
    || to_tsvector('english'::regconfig, left(p_text, 60000));
COMMENT ON FUNCTION natter.search_vector(text) IS 'The words of a text as they stand and as English stems, of its first 60,000 characters; what full-text indexes hold';
REVOKE ALL ON FUNCTION natter.search_vector(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION natter.search_vector(text)
    TO natter_app, natter_jobs, natter_auth, natter_search;

CREATE OR REPLACE FUNCTION natter.search_query(p_text text)
RETURNS tsquery
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN websearch_to_tsquery('simple'::regconfig, left(p_text, 500))
    || websearch_to_tsquery('english'::regconfig, left(p_text, 500));
COMMENT ON FUNCTION natter.search_query(text) IS 'What somebody typed into a search field (quotes, or, -word; never an error) as a query for natter.search_vector; its first 500 characters';
REVOKE ALL ON FUNCTION natter.search_query(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION natter.search_query(text)
    TO natter_app, natter_jobs, natter_auth, natter_search;

------------------------------------------------------------------------- stores

CREATE TABLE IF NOT EXISTS chat.stores (
	id uuid NOT NULL CONSTRAINT stores_pkey PRIMARY KEY,
	slug text COLLATE "C" NOT NULL CONSTRAINT stores_slug_key UNIQUE
	    CONSTRAINT stores_slug CHECK (slug ~ '^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$'),
	name text NOT NULL
	    CONSTRAINT stores_name CHECK (char_length(name) BETWEEN 1 AND 200),
	description text NOT NULL DEFAULT ''
	    CONSTRAINT stores_description CHECK (char_length(description) <= 2000),
	is_open boolean NOT NULL DEFAULT false,
	is_active boolean NOT NULL DEFAULT true,
	model text
	    CONSTRAINT stores_model CHECK (char_length(model) BETWEEN 1 AND 200),
	system_prompt text
	    CONSTRAINT stores_system_prompt CHECK (char_length(system_prompt) <= 32000),
	settings jsonb NOT NULL DEFAULT '{}'
	    CONSTRAINT stores_settings CHECK (jsonb_typeof(settings) = 'object'),
	metadata jsonb NOT NULL DEFAULT '{}'
	    CONSTRAINT stores_metadata CHECK (jsonb_typeof(metadata) = 'object'),
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE chat.stores IS 'Shops, departments or tenants that conversations and documents belong to; made by administrators';
COMMENT ON COLUMN chat.stores.id IS 'UUIDv7';
COMMENT ON COLUMN chat.stores.slug IS 'The name in URLs and settings: a to z, digits and hyphens; unique';
COMMENT ON COLUMN chat.stores.name IS 'The name as shown';
COMMENT ON COLUMN chat.stores.description IS 'What it is, for people';
COMMENT ON COLUMN chat.stores.is_open IS 'Every user may talk there; otherwise its members alone';
COMMENT ON COLUMN chat.stores.is_active IS 'False: kept, but nobody begins a conversation there';
COMMENT ON COLUMN chat.stores.model IS 'The model that answers there; NULL: CHAT_MODEL';
COMMENT ON COLUMN chat.stores.system_prompt IS 'The system prompt there; NULL: CHAT_SYSTEM_PROMPT';
COMMENT ON COLUMN chat.stores.settings IS 'Further settings of the store, such as limits';
COMMENT ON COLUMN chat.stores.metadata IS 'The site''s own fields';
COMMENT ON COLUMN chat.stores.created_at IS 'When the store was made';
COMMENT ON COLUMN chat.stores.updated_at IS 'When the row last changed; set by a trigger';
SELECT natter.keep_updated_at('chat.stores');

CREATE TABLE IF NOT EXISTS chat.store_members (
	user_id uuid NOT NULL CONSTRAINT store_members_user_id_fkey
	    REFERENCES auth.users (id) ON DELETE CASCADE,
	store_id uuid NOT NULL CONSTRAINT store_members_store_id_fkey
	    REFERENCES chat.stores (id) ON DELETE CASCADE,
	role text NOT NULL DEFAULT 'member'
	    CONSTRAINT store_members_role CHECK (role IN ('member', 'manager')),
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT store_members_pkey PRIMARY KEY (user_id, store_id)
);
COMMENT ON TABLE chat.store_members IS 'Who belongs to which store';
COMMENT ON COLUMN chat.store_members.user_id IS 'The member';
COMMENT ON COLUMN chat.store_members.store_id IS 'The store';
COMMENT ON COLUMN chat.store_members.role IS 'member reads the store''s documents; manager writes them too';
COMMENT ON COLUMN chat.store_members.created_at IS 'Since when';
CREATE INDEX IF NOT EXISTS idx_chat_store_members_store
    ON chat.store_members (store_id, user_id);
COMMENT ON INDEX chat.idx_chat_store_members_store IS 'A store''s members, for administrators; the cascade from the store';
SELECT natter.protect('chat.store_members');

ALTER TABLE chat.stores ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS seen ON chat.stores;
CREATE POLICY seen ON chat.stores FOR SELECT TO natter_app
    USING (is_open AND (SELECT nullif(current_setting('app.user_id', true), '')) IS NOT NULL
        OR id IN (SELECT m.store_id FROM chat.store_members m
            WHERE m.user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)));
COMMENT ON POLICY seen ON chat.stores IS 'A user sees open stores and those that they are a member of; the daemon changes none';
GRANT SELECT ON chat.stores, chat.store_members TO natter_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON chat.stores, chat.store_members TO natter_auth;
GRANT SELECT ON chat.stores, chat.store_members TO natter_search, natter_jobs;

ALTER TABLE chat.conversations DROP CONSTRAINT IF EXISTS conversations_store_id_fkey;
ALTER TABLE chat.conversations ADD CONSTRAINT conversations_store_id_fkey
    FOREIGN KEY (store_id) REFERENCES chat.stores (id) ON DELETE SET NULL;
CREATE INDEX IF NOT EXISTS idx_chat_conversations_store_id
    ON chat.conversations (store_id) WHERE store_id IS NOT NULL;
COMMENT ON INDEX chat.idx_chat_conversations_store_id IS 'What happens to conversations when their store goes';

---------------------------------------------------------------------- documents

CREATE TABLE IF NOT EXISTS chat.documents (
	user_id uuid NOT NULL CONSTRAINT documents_user_id_fkey
	    REFERENCES auth.users (id) ON DELETE CASCADE,
	id uuid NOT NULL,
	store_id uuid CONSTRAINT documents_store_id_fkey
	    REFERENCES chat.stores (id) ON DELETE CASCADE,
	title text NOT NULL DEFAULT ''
	    CONSTRAINT documents_title CHECK (char_length(title) <= 500),
	filename text
	    CONSTRAINT documents_filename CHECK (char_length(filename) BETWEEN 1 AND 255),
	mime_type text NOT NULL DEFAULT 'text/plain'
	    CONSTRAINT documents_mime_type CHECK (char_length(mime_type) BETWEEN 3 AND 127),
	language text
	    CONSTRAINT documents_language CHECK (language ~ '^[a-z]{2,8}$'),
	content text NOT NULL,
	content_sha256 bytea NOT NULL
	    CONSTRAINT documents_content_sha256 CHECK (octet_length(content_sha256) = 32),
	size_bytes bigint NOT NULL
	    CONSTRAINT documents_size_bytes CHECK (size_bytes >= 0),
	status text NOT NULL DEFAULT 'ready'
	    CONSTRAINT documents_status CHECK (status IN ('pending', 'ready', 'failed')),
	error_code text
	    CONSTRAINT documents_error_code CHECK (char_length(error_code) <= 64),
	chunk_count int NOT NULL DEFAULT 0
	    CONSTRAINT documents_chunk_count CHECK (chunk_count >= 0),
	metadata jsonb NOT NULL DEFAULT '{}'
	    CONSTRAINT documents_metadata CHECK (jsonb_typeof(metadata) = 'object'),
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT documents_pkey PRIMARY KEY (user_id, id),
	CONSTRAINT documents_content_key
	    UNIQUE NULLS NOT DISTINCT (user_id, store_id, content_sha256)
);
COMMENT ON TABLE chat.documents IS 'Texts that answers may rest on: a user''s own, or, with a store, those of its members';
COMMENT ON COLUMN chat.documents.user_id IS 'Who brought it; a store''s passes to another of its managers when they leave';
COMMENT ON COLUMN chat.documents.id IS 'UUIDv7, made by the daemon';
COMMENT ON COLUMN chat.documents.store_id IS 'The store whose members read it; NULL: its owner alone';
COMMENT ON COLUMN chat.documents.title IS 'Title as shown and cited';
COMMENT ON COLUMN chat.documents.filename IS 'The name of the file it came as';
COMMENT ON COLUMN chat.documents.mime_type IS 'What it came as, such as text/markdown';
COMMENT ON COLUMN chat.documents.language IS 'ISO 639 code of its language, where known';
COMMENT ON COLUMN chat.documents.content IS 'Its text, after whatever turned it into text';
COMMENT ON COLUMN chat.documents.content_sha256 IS 'SHA-256 of what was uploaded: the same again is the same document';
COMMENT ON COLUMN chat.documents.size_bytes IS 'Size of what was uploaded';
COMMENT ON COLUMN chat.documents.status IS 'pending until its text is cut into chunks; failed: it could not be read';
COMMENT ON COLUMN chat.documents.error_code IS 'Why it failed';
COMMENT ON COLUMN chat.documents.chunk_count IS 'Chunks it was cut into';
COMMENT ON COLUMN chat.documents.metadata IS 'The site''s own fields; found by what they contain';
COMMENT ON COLUMN chat.documents.created_at IS 'When it was brought';
COMMENT ON COLUMN chat.documents.updated_at IS 'When the row last changed; set by a trigger';
CREATE INDEX IF NOT EXISTS idx_chat_documents_user_time
    ON chat.documents (user_id, created_at DESC, id DESC);
COMMENT ON INDEX chat.idx_chat_documents_user_time IS 'A user''s documents, the newest first';
CREATE INDEX IF NOT EXISTS idx_chat_documents_store
    ON chat.documents (store_id, created_at DESC, id DESC) WHERE store_id IS NOT NULL;
COMMENT ON INDEX chat.idx_chat_documents_store IS 'A store''s documents; the cascade from the store';
CREATE INDEX IF NOT EXISTS idx_chat_documents_metadata
    ON chat.documents USING gin (user_id, metadata jsonb_path_ops) WITH (fastupdate = off);
COMMENT ON INDEX chat.idx_chat_documents_metadata IS 'Documents by what their metadata contains';
CREATE INDEX IF NOT EXISTS idx_chat_documents_title
    ON chat.documents USING gin (user_id, title extensions.gin_trgm_ops) WITH (fastupdate = off);
COMMENT ON INDEX chat.idx_chat_documents_title IS 'Documents by parts of their title, misspelt too';
SELECT natter.protect('chat.documents');
SELECT natter.keep_updated_at('chat.documents');

-- Whom a store's documents are for, and who may write them.
DROP POLICY IF EXISTS members_read ON chat.documents;
CREATE POLICY members_read ON chat.documents FOR SELECT TO natter_app
    USING (store_id IN (SELECT m.store_id FROM chat.store_members m
        WHERE m.user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)));
COMMENT ON POLICY members_read ON chat.documents IS 'A store''s members read its documents';
DROP POLICY IF EXISTS members_alone ON chat.documents;
CREATE POLICY members_alone ON chat.documents AS RESTRICTIVE FOR ALL TO natter_app
    USING (store_id IS NULL OR store_id IN (SELECT m.store_id FROM chat.store_members m
        WHERE m.user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)));
COMMENT ON POLICY members_alone ON chat.documents IS 'Who is no member of a store any more sees and changes nothing of it, whoever brought it';
DROP POLICY IF EXISTS managers_write ON chat.documents;
CREATE POLICY managers_write ON chat.documents AS RESTRICTIVE FOR INSERT TO natter_app
    WITH CHECK (store_id IS NULL OR store_id IN (SELECT m.store_id FROM chat.store_members m
        WHERE m.role = 'manager'
        AND m.user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)));
COMMENT ON POLICY managers_write ON chat.documents IS 'A store''s managers bring its documents';

GRANT SELECT, DELETE ON chat.documents TO natter_app;
GRANT INSERT (user_id, id, store_id, title, filename, mime_type, language, content,
    content_sha256, size_bytes, status, error_code, chunk_count, metadata)
    ON chat.documents TO natter_app;
GRANT UPDATE (title, language, content, status, error_code, chunk_count, metadata)
    ON chat.documents TO natter_app;
GRANT SELECT ON chat.documents TO natter_search, natter_auth;

CREATE TABLE IF NOT EXISTS chat.document_chunks (
	user_id uuid NOT NULL,
	id uuid NOT NULL,
	document_id uuid NOT NULL,
	store_id uuid CONSTRAINT document_chunks_store_id_fkey
	    REFERENCES chat.stores (id) ON DELETE CASCADE,
	position int NOT NULL
	    CONSTRAINT document_chunks_position CHECK (position >= 1),
	heading text NOT NULL DEFAULT ''
	    CONSTRAINT document_chunks_heading CHECK (char_length(heading) <= 500),
	content text NOT NULL
	    CONSTRAINT document_chunks_content CHECK (char_length(content) BETWEEN 1 AND 20000),
	start_offset bigint NOT NULL
	    CONSTRAINT document_chunks_start_offset CHECK (start_offset >= 0),
	end_offset bigint NOT NULL,
	token_count int NOT NULL DEFAULT 0
	    CONSTRAINT document_chunks_token_count CHECK (token_count >= 0),
	language regconfig NOT NULL DEFAULT 'simple',
	embedding real[],
	created_at timestamptz NOT NULL DEFAULT now(),
	words tsvector NOT NULL GENERATED ALWAYS AS (
	    setweight(to_tsvector('simple'::regconfig, heading), 'A')
	    || setweight(to_tsvector(language, heading), 'A')
	    || setweight(to_tsvector('simple'::regconfig, content), 'B')
	    || setweight(to_tsvector(language, content), 'B')) STORED,
	CONSTRAINT document_chunks_pkey PRIMARY KEY (user_id, id),
	CONSTRAINT document_chunks_position_key UNIQUE (user_id, document_id, position),
	CONSTRAINT document_chunks_document_fkey FOREIGN KEY (user_id, document_id)
	    REFERENCES chat.documents (user_id, id) ON DELETE CASCADE ON UPDATE CASCADE,
	CONSTRAINT document_chunks_end_offset CHECK (end_offset > start_offset)
);
COMMENT ON TABLE chat.document_chunks IS 'Documents cut into passages that fit a prompt; what a search finds and an answer cites';
COMMENT ON COLUMN chat.document_chunks.user_id IS 'Whose document it is';
COMMENT ON COLUMN chat.document_chunks.id IS 'UUIDv7, made by the daemon';
COMMENT ON COLUMN chat.document_chunks.document_id IS 'The document';
COMMENT ON COLUMN chat.document_chunks.store_id IS 'As the document''s';
COMMENT ON COLUMN chat.document_chunks.position IS 'Order within the document, from 1';
COMMENT ON COLUMN chat.document_chunks.heading IS 'The headings above it, outermost first';
COMMENT ON COLUMN chat.document_chunks.content IS 'The passage';
COMMENT ON COLUMN chat.document_chunks.start_offset IS 'Where it begins in the document''s content, in bytes of UTF-8';
COMMENT ON COLUMN chat.document_chunks.end_offset IS 'Where it ends: the first byte after it';
COMMENT ON COLUMN chat.document_chunks.token_count IS 'Estimate of its tokens';
COMMENT ON COLUMN chat.document_chunks.language IS 'Postgres'' text search configuration of its language';
COMMENT ON COLUMN chat.document_chunks.embedding IS 'Its vector, where CHAT_EMBEDDING_MODEL makes one';
COMMENT ON COLUMN chat.document_chunks.created_at IS 'When it was cut';
COMMENT ON COLUMN chat.document_chunks.words IS 'Its words as they stand and as its language''s stems, those of the heading weighing more';
CREATE INDEX IF NOT EXISTS idx_chat_document_chunks_words
    ON chat.document_chunks USING gin (user_id, words) WITH (fastupdate = off);
COMMENT ON INDEX chat.idx_chat_document_chunks_words IS 'Passages of a user by their words';
CREATE INDEX IF NOT EXISTS idx_chat_document_chunks_store_words
    ON chat.document_chunks USING gin (store_id, words) WITH (fastupdate = off)
    WHERE store_id IS NOT NULL;
COMMENT ON INDEX chat.idx_chat_document_chunks_store_words IS 'Passages of a store by their words';
CREATE INDEX IF NOT EXISTS idx_chat_document_chunks_trigrams
    ON chat.document_chunks USING gin (user_id, content extensions.gin_trgm_ops) WITH (fastupdate = off);
COMMENT ON INDEX chat.idx_chat_document_chunks_trigrams IS 'Passages by misspelt words';
CREATE INDEX IF NOT EXISTS idx_chat_document_chunks_store
    ON chat.document_chunks (store_id) WHERE store_id IS NOT NULL;
COMMENT ON INDEX chat.idx_chat_document_chunks_store IS 'The cascade from a store';
SELECT natter.protect('chat.document_chunks');
DROP POLICY IF EXISTS members_read ON chat.document_chunks;
CREATE POLICY members_read ON chat.document_chunks FOR SELECT TO natter_app
    USING (store_id IN (SELECT m.store_id FROM chat.store_members m
        WHERE m.user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)));
COMMENT ON POLICY members_read ON chat.document_chunks IS 'A store''s members read its documents';
DROP POLICY IF EXISTS members_alone ON chat.document_chunks;
CREATE POLICY members_alone ON chat.document_chunks AS RESTRICTIVE FOR ALL TO natter_app
    USING (store_id IS NULL OR store_id IN (SELECT m.store_id FROM chat.store_members m
        WHERE m.user_id = (SELECT nullif(current_setting('app.user_id', true), '')::uuid)));
COMMENT ON POLICY members_alone ON chat.document_chunks IS 'Who is no member of a store any more sees and changes nothing of it, whoever brought it';
GRANT SELECT, DELETE ON chat.document_chunks TO natter_app;
GRANT INSERT (user_id, id, document_id, store_id, position, heading, content,
    start_offset, end_offset, token_count, language, embedding)
    ON chat.document_chunks TO natter_app;
GRANT UPDATE (embedding) ON chat.document_chunks TO natter_app;
GRANT SELECT ON chat.document_chunks TO natter_search, natter_auth;

-------------------------------------------------------------------------- tasks

CREATE TABLE IF NOT EXISTS chat.tasks (
	user_id uuid NOT NULL CONSTRAINT tasks_user_id_fkey
	    REFERENCES auth.users (id) ON DELETE CASCADE,
	id uuid NOT NULL,
	title text NOT NULL
	    CONSTRAINT tasks_title CHECK (char_length(title) BETWEEN 1 AND 500),
	description text NOT NULL DEFAULT ''
	    CONSTRAINT tasks_description CHECK (char_length(description) <= 20000),
	status text NOT NULL DEFAULT 'open'
	    CONSTRAINT tasks_status CHECK (status IN ('open', 'in_progress', 'done', 'cancelled')),
	priority text NOT NULL DEFAULT 'normal'
	    CONSTRAINT tasks_priority CHECK (priority IN ('low', 'normal', 'high', 'urgent')),
	due_at timestamptz,
	completed_at timestamptz,
	tags text[] NOT NULL DEFAULT '{}'
	    CONSTRAINT tasks_tags CHECK (cardinality(tags) <= 100
	    AND array_position(tags, NULL) IS NULL),
	metadata jsonb NOT NULL DEFAULT '{}'
	    CONSTRAINT tasks_metadata CHECK (jsonb_typeof(metadata) = 'object'),
	conversation_id uuid,
	message_id uuid,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT tasks_pkey PRIMARY KEY (user_id, id),
	CONSTRAINT tasks_conversation_fkey FOREIGN KEY (user_id, conversation_id)
	    REFERENCES chat.conversations (user_id, id) ON DELETE SET NULL (conversation_id),
	CONSTRAINT tasks_completed CHECK ((status = 'done') = (completed_at IS NOT NULL))
);
COMMENT ON TABLE chat.tasks IS 'What users want done';
COMMENT ON COLUMN chat.tasks.user_id IS 'Whose task it is';
COMMENT ON COLUMN chat.tasks.id IS 'UUIDv7, made by the daemon';
COMMENT ON COLUMN chat.tasks.title IS 'What is to be done';
COMMENT ON COLUMN chat.tasks.description IS 'More about it';
COMMENT ON COLUMN chat.tasks.status IS 'open, in_progress, done or cancelled';
COMMENT ON COLUMN chat.tasks.priority IS 'low, normal, high or urgent';
COMMENT ON COLUMN chat.tasks.due_at IS 'When it should be done';
COMMENT ON COLUMN chat.tasks.completed_at IS 'When it was done; NULL while it is not';
COMMENT ON COLUMN chat.tasks.tags IS 'The user''s labels';
COMMENT ON COLUMN chat.tasks.metadata IS 'The site''s own fields';
COMMENT ON COLUMN chat.tasks.conversation_id IS 'The conversation in which it came up, while that is there';
COMMENT ON COLUMN chat.tasks.message_id IS 'The message that asked for it';
COMMENT ON COLUMN chat.tasks.created_at IS 'When it was made';
COMMENT ON COLUMN chat.tasks.updated_at IS 'When the row last changed; set by a trigger';
CREATE INDEX IF NOT EXISTS idx_chat_tasks_user_time
    ON chat.tasks (user_id, created_at DESC, id DESC);
COMMENT ON INDEX chat.idx_chat_tasks_user_time IS 'A user''s tasks, the newest first';
CREATE INDEX IF NOT EXISTS idx_chat_tasks_user_status
    ON chat.tasks (user_id, status, created_at DESC, id DESC);
COMMENT ON INDEX chat.idx_chat_tasks_user_status IS 'A user''s tasks of one status, the newest first';
CREATE INDEX IF NOT EXISTS idx_chat_tasks_user_due
    ON chat.tasks (user_id, due_at, id) WHERE status IN ('open', 'in_progress') AND due_at IS NOT NULL;
COMMENT ON INDEX chat.idx_chat_tasks_user_due IS 'What a user has to do next';
CREATE INDEX IF NOT EXISTS idx_chat_tasks_conversation
    ON chat.tasks (user_id, conversation_id) WHERE conversation_id IS NOT NULL;
COMMENT ON INDEX chat.idx_chat_tasks_conversation IS 'What happens to tasks when their conversation goes';
CREATE INDEX IF NOT EXISTS idx_chat_tasks_title
    ON chat.tasks USING gin (user_id, title extensions.gin_trgm_ops) WITH (fastupdate = off);
COMMENT ON INDEX chat.idx_chat_tasks_title IS 'Tasks by parts of their title, misspelt too';
CREATE INDEX IF NOT EXISTS idx_chat_tasks_tags
    ON chat.tasks USING gin (user_id, tags) WITH (fastupdate = off) WHERE tags <> '{}';
COMMENT ON INDEX chat.idx_chat_tasks_tags IS 'Tasks by their tags';
SELECT natter.protect('chat.tasks');
SELECT natter.keep_updated_at('chat.tasks');
GRANT SELECT, DELETE ON chat.tasks TO natter_app;
GRANT INSERT (user_id, id, title, description, status, priority, due_at, completed_at,
    tags, metadata, conversation_id, message_id) ON chat.tasks TO natter_app;
GRANT UPDATE (title, description, status, priority, due_at, completed_at, tags, metadata)
    ON chat.tasks TO natter_app;
GRANT SELECT ON chat.tasks TO natter_search, natter_auth;

CREATE TABLE IF NOT EXISTS chat.task_operation_logs (
	user_id uuid NOT NULL CONSTRAINT task_operation_logs_user_id_fkey
	    REFERENCES auth.users (id) ON DELETE CASCADE,
	id uuid NOT NULL,
	task_id uuid,
	operation_type text NOT NULL
	    CONSTRAINT task_operation_logs_operation_type
	    CHECK (operation_type IN ('create', 'read', 'update', 'delete')),
	source text NOT NULL DEFAULT 'api'
	    CONSTRAINT task_operation_logs_source CHECK (source IN ('api', 'command', 'model', 'import')),
	original_command text
	    CONSTRAINT task_operation_logs_original_command CHECK (char_length(original_command) <= 20000),
	parameters jsonb NOT NULL DEFAULT '{}'
	    CONSTRAINT task_operation_logs_parameters CHECK (jsonb_typeof(parameters) = 'object'),
	result jsonb NOT NULL DEFAULT '{}'
	    CONSTRAINT task_operation_logs_result CHECK (jsonb_typeof(result) = 'object'),
	is_success boolean NOT NULL DEFAULT true,
	error_code text
	    CONSTRAINT task_operation_logs_error_code CHECK (char_length(error_code) <= 64),
	conversation_id uuid,
	message_id uuid,
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT task_operation_logs_pkey PRIMARY KEY (user_id, id)
) PARTITION BY RANGE (id);
COMMENT ON TABLE chat.task_operation_logs IS 'What was done to tasks, by whom asked how, and what came of it; outlives the task. One partition per month of the id';
COMMENT ON COLUMN chat.task_operation_logs.user_id IS 'Whose task it was';
COMMENT ON COLUMN chat.task_operation_logs.id IS 'UUIDv7; its time chooses the partition';
COMMENT ON COLUMN chat.task_operation_logs.task_id IS 'The task; NULL where none was found or made';
COMMENT ON COLUMN chat.task_operation_logs.operation_type IS 'create, read, update or delete';
COMMENT ON COLUMN chat.task_operation_logs.source IS 'Who asked: the API, a command in a chat, a model''s tool call, an import';
COMMENT ON COLUMN chat.task_operation_logs.original_command IS 'The words of the user, for those that came through chat';
COMMENT ON COLUMN chat.task_operation_logs.parameters IS 'What was understood of it';
COMMENT ON COLUMN chat.task_operation_logs.result IS 'What came of it';
COMMENT ON COLUMN chat.task_operation_logs.is_success IS 'Whether it was done';
COMMENT ON COLUMN chat.task_operation_logs.error_code IS 'Why it was not';
COMMENT ON COLUMN chat.task_operation_logs.conversation_id IS 'The conversation in which it was asked for';
COMMENT ON COLUMN chat.task_operation_logs.message_id IS 'The message that asked for it';
COMMENT ON COLUMN chat.task_operation_logs.created_at IS 'When';
CREATE INDEX IF NOT EXISTS idx_task_operation_logs_user_id
    ON chat.task_operation_logs (user_id, created_at DESC, id DESC);
COMMENT ON INDEX chat.idx_task_operation_logs_user_id IS 'A user''s log, the newest first';
CREATE INDEX IF NOT EXISTS idx_task_operation_logs_task_id
    ON chat.task_operation_logs (user_id, task_id, id DESC) WHERE task_id IS NOT NULL;
COMMENT ON INDEX chat.idx_task_operation_logs_task_id IS 'The log of one task';
CREATE INDEX IF NOT EXISTS idx_task_operation_logs_operation_type
    ON chat.task_operation_logs (user_id, operation_type, id DESC);
COMMENT ON INDEX chat.idx_task_operation_logs_operation_type IS 'A user''s log of one kind of operation';
CREATE INDEX IF NOT EXISTS idx_task_operation_logs_created_at
    ON chat.task_operation_logs (created_at);
COMMENT ON INDEX chat.idx_task_operation_logs_created_at IS 'Administrators: the log of a time';
SELECT natter.protect('chat.task_operation_logs');
GRANT SELECT ON chat.task_operation_logs TO natter_app;
GRANT INSERT (user_id, id, task_id, operation_type, source, original_command, parameters,
    result, is_success, error_code, conversation_id, message_id)
    ON chat.task_operation_logs TO natter_app;
GRANT SELECT ON chat.task_operation_logs TO natter_auth;

---------------------------------------------------------------------- analytics

CREATE TABLE IF NOT EXISTS chat.analytics (
	user_id uuid NOT NULL CONSTRAINT analytics_user_id_fkey
	    REFERENCES auth.users (id) ON DELETE CASCADE,
	id uuid NOT NULL,
	category text COLLATE "C" NOT NULL
	    CONSTRAINT analytics_category CHECK (char_length(category) BETWEEN 1 AND 64),
	name text COLLATE "C" NOT NULL
	    CONSTRAINT analytics_name CHECK (char_length(name) BETWEEN 1 AND 64),
	value double precision NOT NULL DEFAULT 1
	    CONSTRAINT analytics_value CHECK (value BETWEEN -1e15 AND 1e15),
	store_id uuid,
	conversation_id uuid,
	properties jsonb NOT NULL DEFAULT '{}'
	    CONSTRAINT analytics_properties CHECK (jsonb_typeof(properties) = 'object'),
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT analytics_pkey PRIMARY KEY (user_id, id)
) PARTITION BY RANGE (id);
COMMENT ON TABLE chat.analytics IS 'Events of usage and performance. One partition per month of the id';
COMMENT ON COLUMN chat.analytics.user_id IS 'Whose event it is';
COMMENT ON COLUMN chat.analytics.id IS 'UUIDv7; its time chooses the partition';
COMMENT ON COLUMN chat.analytics.category IS 'What it is about, such as reply, search, task';
COMMENT ON COLUMN chat.analytics.name IS 'What happened, such as first_token_ms';
COMMENT ON COLUMN chat.analytics.value IS 'How much; 1 for what is only counted';
COMMENT ON COLUMN chat.analytics.store_id IS 'The store in which it happened';
COMMENT ON COLUMN chat.analytics.conversation_id IS 'The conversation in which it happened';
COMMENT ON COLUMN chat.analytics.properties IS 'Further facts';
COMMENT ON COLUMN chat.analytics.created_at IS 'When';
CREATE INDEX IF NOT EXISTS idx_chat_analytics_category_time
    ON chat.analytics (category, created_at DESC);
COMMENT ON INDEX chat.idx_chat_analytics_category_time IS 'Events of a category over a time: the daily sums';
CREATE INDEX IF NOT EXISTS idx_chat_analytics_user_time
    ON chat.analytics (user_id, created_at DESC, id DESC);
COMMENT ON INDEX chat.idx_chat_analytics_user_time IS 'A user''s events, the newest first';
SELECT natter.protect('chat.analytics');
GRANT SELECT ON chat.analytics TO natter_app;
GRANT INSERT (user_id, id, category, name, value, store_id, conversation_id, properties)
    ON chat.analytics TO natter_app;
GRANT SELECT ON chat.analytics TO natter_auth, natter_jobs;

CREATE TABLE IF NOT EXISTS chat.analytics_daily (
	user_id uuid NOT NULL CONSTRAINT analytics_daily_user_id_fkey
	    REFERENCES auth.users (id) ON DELETE CASCADE,
	day date NOT NULL,
	category text COLLATE "C" NOT NULL
	    CONSTRAINT analytics_daily_category CHECK (char_length(category) BETWEEN 1 AND 64),
	name text COLLATE "C" NOT NULL
	    CONSTRAINT analytics_daily_name CHECK (char_length(name) BETWEEN 1 AND 64),
	store_id uuid,
	events bigint NOT NULL
	    CONSTRAINT analytics_daily_events CHECK (events > 0),
	total double precision NOT NULL,
	least double precision NOT NULL,
	greatest double precision NOT NULL,
	CONSTRAINT analytics_daily_key
	    UNIQUE NULLS NOT DISTINCT (user_id, day, category, name, store_id)
);
COMMENT ON TABLE chat.analytics_daily IS 'Sums of the events of each whole day (UTC), so that old events may go';
COMMENT ON COLUMN chat.analytics_daily.user_id IS 'Whose events they were';
COMMENT ON COLUMN chat.analytics_daily.day IS 'The day, UTC';
COMMENT ON COLUMN chat.analytics_daily.category IS 'As the events''';
COMMENT ON COLUMN chat.analytics_daily.name IS 'As the events''';
COMMENT ON COLUMN chat.analytics_daily.store_id IS 'As the events''';
COMMENT ON COLUMN chat.analytics_daily.events IS 'How many there were';
COMMENT ON COLUMN chat.analytics_daily.total IS 'Sum of their values';
COMMENT ON COLUMN chat.analytics_daily.least IS 'The smallest value';
COMMENT ON COLUMN chat.analytics_daily.greatest IS 'The largest value';
CREATE INDEX IF NOT EXISTS idx_chat_analytics_daily_category
    ON chat.analytics_daily (category, day);
COMMENT ON INDEX chat.idx_chat_analytics_daily_category IS 'Administrators: a category over a time';
SELECT natter.protect('chat.analytics_daily');
GRANT SELECT ON chat.analytics_daily TO natter_app, natter_auth;
GRANT SELECT, INSERT, UPDATE, DELETE ON chat.analytics_daily TO natter_jobs;

-------------------------------------------------------- budgets, feedback, keys

CREATE TABLE IF NOT EXISTS chat.token_budgets (
	user_id uuid NOT NULL CONSTRAINT token_budgets_user_id_fkey
	    REFERENCES auth.users (id) ON DELETE CASCADE,
	id uuid NOT NULL,
	store_id uuid CONSTRAINT token_budgets_store_id_fkey
	    REFERENCES chat.stores (id) ON DELETE CASCADE,
	period text NOT NULL
	    CONSTRAINT token_budgets_period CHECK (period IN ('day', 'month')),
	starts_on date NOT NULL,
	tokens_used bigint NOT NULL DEFAULT 0
	    CONSTRAINT token_budgets_tokens_used CHECK (tokens_used >= 0),
	tokens_reserved bigint NOT NULL DEFAULT 0
	    CONSTRAINT token_budgets_tokens_reserved CHECK (tokens_reserved >= 0),
	cost_used numeric(14, 8) NOT NULL DEFAULT 0
	    CONSTRAINT token_budgets_cost_used CHECK (cost_used >= 0),
	cost_reserved numeric(14, 8) NOT NULL DEFAULT 0
	    CONSTRAINT token_budgets_cost_reserved CHECK (cost_reserved >= 0),
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT token_budgets_pkey PRIMARY KEY (user_id, id),
	CONSTRAINT token_budgets_period_key
	    UNIQUE NULLS NOT DISTINCT (user_id, store_id, period, starts_on),
	CONSTRAINT token_budgets_starts_on
	    CHECK (period = 'day' OR extract(day FROM starts_on) = 1)
);
COMMENT ON TABLE chat.token_budgets IS 'What of a user''s budget is used and reserved, per day or month and, where given, store';
COMMENT ON COLUMN chat.token_budgets.user_id IS 'Whose budget it is';
COMMENT ON COLUMN chat.token_budgets.id IS 'UUIDv7';
COMMENT ON COLUMN chat.token_budgets.store_id IS 'The store; NULL: all together';
COMMENT ON COLUMN chat.token_budgets.period IS 'day or month';
COMMENT ON COLUMN chat.token_budgets.starts_on IS 'The day, or the month''s first, UTC';
COMMENT ON COLUMN chat.token_budgets.tokens_used IS 'Tokens of settled replies';
COMMENT ON COLUMN chat.token_budgets.tokens_reserved IS 'Tokens held back for running replies';
COMMENT ON COLUMN chat.token_budgets.cost_used IS 'Price of settled replies';
COMMENT ON COLUMN chat.token_budgets.cost_reserved IS 'Price held back for running replies';
COMMENT ON COLUMN chat.token_budgets.created_at IS 'When the row was made';
COMMENT ON COLUMN chat.token_budgets.updated_at IS 'When the row last changed; set by a trigger';
CREATE INDEX IF NOT EXISTS idx_chat_token_budgets_store
    ON chat.token_budgets (store_id) WHERE store_id IS NOT NULL;
COMMENT ON INDEX chat.idx_chat_token_budgets_store IS 'The cascade from a store';
SELECT natter.protect('chat.token_budgets');
SELECT natter.keep_updated_at('chat.token_budgets');
GRANT SELECT ON chat.token_budgets TO natter_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON chat.token_budgets TO natter_auth;

CREATE TABLE IF NOT EXISTS chat.message_feedback (
	user_id uuid NOT NULL,
	message_id uuid NOT NULL,
	conversation_id uuid NOT NULL,
	rating smallint NOT NULL
	    CONSTRAINT message_feedback_rating CHECK (rating IN (-1, 1)),
	reasons text[] NOT NULL DEFAULT '{}'
	    CONSTRAINT message_feedback_reasons CHECK (cardinality(reasons) <= 10
	    AND array_position(reasons, NULL) IS NULL),
	comment text NOT NULL DEFAULT ''
	    CONSTRAINT message_feedback_comment CHECK (char_length(comment) <= 4000),
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT message_feedback_pkey PRIMARY KEY (user_id, message_id),
	CONSTRAINT message_feedback_conversation_fkey FOREIGN KEY (user_id, conversation_id)
	    REFERENCES chat.conversations (user_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE chat.message_feedback IS 'What users think of replies';
COMMENT ON COLUMN chat.message_feedback.user_id IS 'Who thinks so';
COMMENT ON COLUMN chat.message_feedback.message_id IS 'The reply';
COMMENT ON COLUMN chat.message_feedback.conversation_id IS 'Its conversation';
COMMENT ON COLUMN chat.message_feedback.rating IS '1: good, -1: bad';
COMMENT ON COLUMN chat.message_feedback.reasons IS 'Why, in the site''s own words, such as wrong or too_long';
COMMENT ON COLUMN chat.message_feedback.comment IS 'Why, in the user''s words';
COMMENT ON COLUMN chat.message_feedback.created_at IS 'When it was first given';
COMMENT ON COLUMN chat.message_feedback.updated_at IS 'When the row last changed; set by a trigger';
CREATE INDEX IF NOT EXISTS idx_chat_message_feedback_conversation
    ON chat.message_feedback (user_id, conversation_id);
COMMENT ON INDEX chat.idx_chat_message_feedback_conversation IS 'The feedback within a conversation; the cascade from it';
CREATE INDEX IF NOT EXISTS idx_chat_message_feedback_time
    ON chat.message_feedback (created_at DESC);
COMMENT ON INDEX chat.idx_chat_message_feedback_time IS 'Administrators: the newest feedback';
SELECT natter.protect('chat.message_feedback');
SELECT natter.keep_updated_at('chat.message_feedback');
GRANT SELECT, DELETE ON chat.message_feedback TO natter_app;
GRANT INSERT (user_id, message_id, conversation_id, rating, reasons, comment)
    ON chat.message_feedback TO natter_app;
GRANT UPDATE (rating, reasons, comment) ON chat.message_feedback TO natter_app;
GRANT SELECT ON chat.message_feedback TO natter_auth;

CREATE TABLE IF NOT EXISTS auth.user_keys (
	user_id uuid NOT NULL CONSTRAINT user_keys_user_id_fkey
	    REFERENCES auth.users (id) ON DELETE CASCADE,
	version int NOT NULL
	    CONSTRAINT user_keys_version CHECK (version >= 1),
	wrapped_key bytea
	    CONSTRAINT user_keys_wrapped_key CHECK (octet_length(wrapped_key) BETWEEN 32 AND 256),
	created_at timestamptz NOT NULL DEFAULT now(),
	destroyed_at timestamptz,
	CONSTRAINT user_keys_pkey PRIMARY KEY (user_id, version),
	CONSTRAINT user_keys_destroyed CHECK ((wrapped_key IS NULL) = (destroyed_at IS NOT NULL))
);
COMMENT ON TABLE auth.user_keys IS 'The keys that a user''s data is encrypted with, each wrapped by a key that is not in the database';
COMMENT ON COLUMN auth.user_keys.user_id IS 'Whose data it opens';
COMMENT ON COLUMN auth.user_keys.version IS 'Counts up; what is encrypted says which it needs';
COMMENT ON COLUMN auth.user_keys.wrapped_key IS 'The key, encrypted; NULL once it was destroyed';
COMMENT ON COLUMN auth.user_keys.created_at IS 'When it was made';
COMMENT ON COLUMN auth.user_keys.destroyed_at IS 'When it was destroyed, and all that it opened with it';
SELECT natter.protect('auth.user_keys');
GRANT SELECT, INSERT ON auth.user_keys TO natter_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.user_keys TO natter_auth;

------------------------------------- conversations and messages, found and ended

ALTER TABLE chat.conversations ADD COLUMN IF NOT EXISTS expires_at timestamptz;
COMMENT ON COLUMN chat.conversations.expires_at IS 'A temporary conversation''s end: it is not shown from then on, and deleted; NULL: kept';
GRANT INSERT (expires_at), UPDATE (expires_at) ON chat.conversations TO natter_app;
CREATE INDEX IF NOT EXISTS idx_chat_conversations_expires
    ON chat.conversations (expires_at) WHERE expires_at IS NOT NULL;
COMMENT ON INDEX chat.idx_chat_conversations_expires IS 'Retention: temporary conversations that are over';
CREATE INDEX IF NOT EXISTS idx_chat_conversations_last_message
    ON chat.conversations (is_archived, last_message_at);
COMMENT ON INDEX chat.idx_chat_conversations_last_message IS 'Retention: conversations that nobody goes on with; those to archive apart from those to delete';

-- A conversation's row changes with each turn, and each change writes every
-- index anew: those below leave out what has nothing to find, and collect what
-- is new in a list of at most 256 kB, which a search reads too.
CREATE INDEX IF NOT EXISTS idx_chat_conversations_tags
    ON chat.conversations USING gin (user_id, tags) WITH (fastupdate = on, gin_pending_list_limit = 256) WHERE tags <> '{}';
COMMENT ON INDEX chat.idx_chat_conversations_tags IS 'Conversations by their tags';
CREATE INDEX IF NOT EXISTS idx_chat_conversations_metadata
    ON chat.conversations USING gin (user_id, metadata jsonb_path_ops) WITH (fastupdate = on, gin_pending_list_limit = 256)
    WHERE metadata <> '{}';
COMMENT ON INDEX chat.idx_chat_conversations_metadata IS 'Conversations by what their metadata contains';
CREATE INDEX IF NOT EXISTS idx_chat_conversations_title
    ON chat.conversations USING gin (user_id, title extensions.gin_trgm_ops) WITH (fastupdate = on, gin_pending_list_limit = 256)
    WHERE title <> '';
COMMENT ON INDEX chat.idx_chat_conversations_title IS 'Conversations by parts of their title, misspelt too';

ALTER TABLE chat.messages ADD COLUMN IF NOT EXISTS blanked_at timestamptz;
DO $$
DECLARE
	part regclass;
BEGIN
	FOR part IN SELECT p.relid FROM pg_partition_tree('chat.messages') p LOOP
		EXECUTE format('COMMENT ON COLUMN %s.blanked_at IS %L', part,
		    'When its text was taken out by retention or its owner; the row stays, so that the tree stays whole');
	END LOOP;
END
$$;
-- Measured for a message of 60 words: 0.37 ms to find its words twice, 0.07 to
-- index them through a list of 4 MB, 0.30 through one of 256 kB, 0.80 at once.
CREATE INDEX IF NOT EXISTS idx_chat_messages_words
    ON chat.messages USING gin (user_id, natter.search_vector(content)) WITH (fastupdate = on, gin_pending_list_limit = 2048)
    WHERE content <> '';
COMMENT ON INDEX chat.idx_chat_messages_words IS 'A user''s messages by their words';
CREATE INDEX IF NOT EXISTS idx_chat_messages_intent
    ON chat.messages (user_id, intent, id DESC) WHERE intent IS NOT NULL;
COMMENT ON INDEX chat.idx_chat_messages_intent IS 'A user''s messages by what they want';
CREATE INDEX IF NOT EXISTS idx_chat_messages_metadata
    ON chat.messages USING gin (user_id, metadata jsonb_path_ops) WITH (fastupdate = on, gin_pending_list_limit = 256)
    WHERE metadata <> '{}';
COMMENT ON INDEX chat.idx_chat_messages_metadata IS 'Messages by what their metadata contains';
CREATE INDEX IF NOT EXISTS idx_chat_messages_system
    ON chat.messages (id) WHERE role = 'system' AND content <> '';
COMMENT ON INDEX chat.idx_chat_messages_system IS 'Retention: system messages whose text is still there';

GRANT SELECT ON chat.conversations, chat.messages, chat.usage_tracking TO natter_search;

SELECT chat.create_partitions(3);

RESET ROLE;
