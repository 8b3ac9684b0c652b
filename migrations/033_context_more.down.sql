-- Takes back 033_context_more.up.sql.

SET ROLE natter_owner;

CREATE OR REPLACE TRIGGER audit_change AFTER UPDATE OF store_id, title, metadata, tags,
    model, system_prompt, is_active, is_archived, expires_at
    ON chat.conversations
    FOR EACH ROW WHEN (OLD.next_position = NEW.next_position
        AND (OLD.title, OLD.is_active, OLD.is_archived, OLD.store_id, OLD.model,
        OLD.system_prompt, OLD.expires_at, OLD.tags, OLD.metadata)
        IS DISTINCT FROM
        (NEW.title, NEW.is_active, NEW.is_archived, NEW.store_id, NEW.model,
        NEW.system_prompt, NEW.expires_at, NEW.tags, NEW.metadata)
        AND pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit.row_changed('conversation');

ALTER TABLE chat.conversations DROP COLUMN IF EXISTS documents;

ALTER TABLE chat.context_summaries DROP COLUMN IF EXISTS template;

RESET ROLE;
