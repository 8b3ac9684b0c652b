-- Takes back 009_stores_and_more.up.sql, with every document, task and store.

SET ROLE natter_owner;

REVOKE SELECT ON chat.conversations, chat.messages, chat.usage_tracking FROM natter_search;

DROP INDEX IF EXISTS chat.idx_chat_messages_system;
DROP INDEX IF EXISTS chat.idx_chat_messages_metadata;
DROP INDEX IF EXISTS chat.idx_chat_messages_intent;
DROP INDEX IF EXISTS chat.idx_chat_messages_words;
ALTER TABLE IF EXISTS chat.messages DROP COLUMN IF EXISTS blanked_at;
DROP INDEX IF EXISTS chat.idx_chat_conversations_title;
DROP INDEX IF EXISTS chat.idx_chat_conversations_metadata;
DROP INDEX IF EXISTS chat.idx_chat_conversations_tags;
DROP INDEX IF EXISTS chat.idx_chat_conversations_last_message;
ALTER TABLE IF EXISTS chat.conversations DROP COLUMN IF EXISTS expires_at;
DROP INDEX IF EXISTS chat.idx_chat_conversations_store_id;
ALTER TABLE IF EXISTS chat.conversations
    DROP CONSTRAINT IF EXISTS conversations_store_id_fkey;
DROP TABLE IF EXISTS auth.user_keys;
DROP TABLE IF EXISTS chat.message_feedback;
DROP TABLE IF EXISTS chat.token_budgets;
DROP TABLE IF EXISTS chat.analytics_daily;
DROP TABLE IF EXISTS chat.analytics;
DROP TABLE IF EXISTS chat.task_operation_logs;
DROP TABLE IF EXISTS chat.tasks;
DROP TABLE IF EXISTS chat.document_chunks;
DROP TABLE IF EXISTS chat.documents;
DROP TABLE IF EXISTS chat.store_members CASCADE;
DROP TABLE IF EXISTS chat.stores;
DROP FUNCTION IF EXISTS natter.search_query(text);
DROP FUNCTION IF EXISTS natter.search_vector(text);
DROP FUNCTION IF EXISTS natter.keep_updated_at(regclass);
DROP FUNCTION IF EXISTS natter.protect(regclass);
DROP EXTENSION IF EXISTS btree_gin;
DROP EXTENSION IF EXISTS pg_trgm;
DROP SCHEMA IF EXISTS extensions;

RESET ROLE;
