-- Takes back 012_conversations.up.sql. Imported conversations stay.

SET ROLE natter_owner;

DROP FUNCTION IF EXISTS chat.search_messages(text, uuid, text, text, timestamptz, timestamptz, uuid, real, uuid, int);
DROP FUNCTION IF EXISTS chat.find_conversations(uuid, text[], jsonb, text[], boolean, boolean, timestamptz, timestamptz, boolean, timestamptz, uuid, int);
DROP TABLE IF EXISTS chat.imports;
REVOKE INSERT (created_at) ON chat.messages FROM natter_app;
REVOKE INSERT (created_at) ON chat.conversations FROM natter_app;
DROP INDEX IF EXISTS chat.idx_chat_usage_tracking_conversation;
DROP INDEX IF EXISTS chat.idx_chat_conversations_temporary;
DROP INDEX IF EXISTS chat.idx_chat_conversations_user_closed;
DROP FUNCTION IF EXISTS natter.patch_metadata(jsonb, jsonb, int);
DROP FUNCTION IF EXISTS natter.merge_patch(jsonb, jsonb);

RESET ROLE;
