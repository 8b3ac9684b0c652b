-- 027: what a model is told besides the messages. Facts that users write down
-- about themselves, summaries of what no longer fits, and with each reply what
-- its request was made of.

SET ROLE natter_owner;

CREATE TABLE IF NOT EXISTS chat.user_facts (
	user_id uuid NOT NULL CONSTRAINT user_facts_user_id_fkey
	    REFERENCES auth.users (id) ON DELETE CASCADE,
	id uuid NOT NULL,
	content text NOT NULL
	    CONSTRAINT user_facts_content CHECK (char_length(content) BETWEEN 1 AND 500),
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT user_facts_pkey PRIMARY KEY (user_id, id)
);
COMMENT ON TABLE chat.user_facts IS 'What users want models to know about them, in every conversation';
COMMENT ON COLUMN chat.user_facts.user_id IS 'Whose fact it is';
COMMENT ON COLUMN chat.user_facts.id IS 'UUIDv7, made by the daemon';
COMMENT ON COLUMN chat.user_facts.content IS 'One sentence or two, on one line';
COMMENT ON COLUMN chat.user_facts.created_at IS 'When it was written down';
COMMENT ON COLUMN chat.user_facts.updated_at IS 'When the row last changed; set by a trigger';
SELECT natter.protect('chat.user_facts');
SELECT natter.keep_updated_at('chat.user_facts');
GRANT SELECT, DELETE ON chat.user_facts TO natter_app;
GRANT INSERT (user_id, id, content), UPDATE (content) ON chat.user_facts TO natter_app;
CREATE OR REPLACE TRIGGER audit_rows AFTER INSERT OR DELETE ON chat.user_facts
    FOR EACH ROW WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit.row_changed('fact');
CREATE OR REPLACE TRIGGER audit_change AFTER UPDATE OF content ON chat.user_facts
    FOR EACH ROW WHEN (OLD.content IS DISTINCT FROM NEW.content)
    EXECUTE FUNCTION audit.row_changed('fact');
COMMENT ON TRIGGER audit_rows ON chat.user_facts IS 'Leaves a row in audit.log';
COMMENT ON TRIGGER audit_change ON chat.user_facts IS 'Leaves a row in audit.log';

CREATE TABLE IF NOT EXISTS chat.context_summaries (
	user_id uuid NOT NULL CONSTRAINT context_summaries_user_id_fkey
	    REFERENCES auth.users (id) ON DELETE CASCADE,
	message_id uuid NOT NULL,
	conversation_id uuid NOT NULL,
	content text NOT NULL
	    CONSTRAINT context_summaries_content CHECK (octet_length(content) BETWEEN 1 AND 65536),
	model text NOT NULL
	    CONSTRAINT context_summaries_model CHECK (char_length(model) <= 200),
	created_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT context_summaries_pkey PRIMARY KEY (user_id, message_id),
	CONSTRAINT context_summaries_conversation_fkey FOREIGN KEY (user_id, conversation_id)
	    REFERENCES chat.conversations (user_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE chat.context_summaries IS 'What was said up to a message, in short: models are told it instead of that message and those before it';
COMMENT ON COLUMN chat.context_summaries.user_id IS 'Whose conversation it is';
COMMENT ON COLUMN chat.context_summaries.message_id IS 'The last message on the path that it covers';
COMMENT ON COLUMN chat.context_summaries.conversation_id IS 'The conversation';
COMMENT ON COLUMN chat.context_summaries.content IS 'The summary, as a model wrote it';
COMMENT ON COLUMN chat.context_summaries.model IS 'That model';
COMMENT ON COLUMN chat.context_summaries.created_at IS 'When it was stored';
CREATE INDEX IF NOT EXISTS idx_chat_context_summaries_conversation
    ON chat.context_summaries (user_id, conversation_id);
COMMENT ON INDEX chat.idx_chat_context_summaries_conversation IS 'What goes with a conversation';
CREATE INDEX IF NOT EXISTS idx_chat_context_summaries_created
    ON chat.context_summaries (created_at);
COMMENT ON INDEX chat.idx_chat_context_summaries_created IS 'Retention: what is as old as messages may get';
SELECT natter.protect('chat.context_summaries');
GRANT SELECT, DELETE ON chat.context_summaries TO natter_app, natter_jobs;
GRANT INSERT (user_id, message_id, conversation_id, content, model)
    ON chat.context_summaries TO natter_app;

ALTER TABLE chat.messages
    ADD COLUMN IF NOT EXISTS context jsonb
	CONSTRAINT messages_context CHECK (jsonb_typeof(context) = 'object'),
    ADD COLUMN IF NOT EXISTS is_summarised boolean NOT NULL DEFAULT false;
DO $$
DECLARE
	part regclass;
BEGIN
	FOR part IN SELECT p.relid FROM pg_partition_tree('chat.messages') p LOOP
		EXECUTE format('COMMENT ON COLUMN %s.context IS %L', part,
		    'Of a reply: what its request to the model was made of; names what was shown, quotes none of it');
		EXECUTE format('COMMENT ON COLUMN %s.is_summarised IS %L', part,
		    'context_summaries has a row for it: whoever walks up a path stops here');
	END LOOP;
END
$$;
GRANT UPDATE (context, is_summarised) ON chat.messages TO natter_app;

RESET ROLE;
