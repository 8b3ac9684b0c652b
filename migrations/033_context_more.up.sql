-- 033: a conversation says for itself whether documents are looked through, and
-- a summary which template asked for it.

SET ROLE natter_owner;

ALTER TABLE chat.conversations ADD COLUMN IF NOT EXISTS documents boolean;
COMMENT ON COLUMN chat.conversations.documents IS
    'Are documents looked through for its questions? NULL: as its store says, or yes';
GRANT INSERT (documents), UPDATE (documents) ON chat.conversations TO natter_app;

-- As in 010, and the column.
CREATE OR REPLACE TRIGGER audit_change AFTER UPDATE OF store_id, title, metadata, tags,
    model, system_prompt, is_active, is_archived, expires_at, documents
    ON chat.conversations
    FOR EACH ROW WHEN (OLD.next_position = NEW.next_position
        AND (OLD.title, OLD.is_active, OLD.is_archived, OLD.store_id, OLD.model,
        OLD.system_prompt, OLD.expires_at, OLD.tags, OLD.metadata, OLD.documents)
        IS DISTINCT FROM
        (NEW.title, NEW.is_active, NEW.is_archived, NEW.store_id, NEW.model,
        NEW.system_prompt, NEW.expires_at, NEW.tags, NEW.metadata, NEW.documents)
        AND pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit.row_changed('conversation');

ALTER TABLE chat.context_summaries ADD COLUMN IF NOT EXISTS template text
    CONSTRAINT context_summaries_template CHECK (char_length(template) <= 100);
COMMENT ON COLUMN chat.context_summaries.template IS
    'Name and version of the template that asked for it, a space between; NULL: not known';
GRANT INSERT (template) ON chat.context_summaries TO natter_app;

RESET ROLE;
