-- Takes back 013_records.up.sql; no row is lost.

SET ROLE natter_owner;

DROP POLICY IF EXISTS open_stores ON chat.conversations;
DROP FUNCTION IF EXISTS chat.admin_analytics(text, date, date, date, text, text, int);
DROP FUNCTION IF EXISTS chat.admin_stats();
DROP FUNCTION IF EXISTS chat.admin_feedback(int, timestamptz, uuid, int);
DROP FUNCTION IF EXISTS chat.admin_messages(uuid, uuid, bigint, int);
DROP FUNCTION IF EXISTS chat.admin_conversations(uuid, timestamptz, uuid, int);
DROP FUNCTION IF EXISTS auth.admin_sessions_end(uuid, uuid);
DROP FUNCTION IF EXISTS auth.admin_sessions(uuid, uuid, int);
DROP FUNCTION IF EXISTS auth.admin_user_delete(uuid, uuid);
DROP FUNCTION IF EXISTS auth.admin_user_patch(uuid, uuid, text, boolean);
DROP FUNCTION IF EXISTS auth.admin_user_lock(uuid, uuid, boolean);
DROP FUNCTION IF EXISTS auth.admin_user(uuid);
DROP FUNCTION IF EXISTS auth.admin_users(text, text, boolean, text, int);
DROP FUNCTION IF EXISTS chat.admin_member_delete(uuid, uuid);
DROP FUNCTION IF EXISTS chat.admin_member_put(uuid, uuid, text);
DROP FUNCTION IF EXISTS chat.admin_members(uuid, uuid, int);
DROP FUNCTION IF EXISTS chat.admin_stores(text, text, int);
DROP FUNCTION IF EXISTS chat.admin_store_delete(uuid);
DROP FUNCTION IF EXISTS chat.admin_store_put(uuid, boolean, jsonb);
DROP FUNCTION IF EXISTS auth.admin_demand();
DROP TRIGGER IF EXISTS bequeath_role ON chat.store_members;
DROP TRIGGER IF EXISTS bequeath ON chat.store_members;
DROP TRIGGER IF EXISTS bequeath ON auth.users;
DROP FUNCTION IF EXISTS chat.member_bequeath();
DROP FUNCTION IF EXISTS auth.user_bequeath();
DROP FUNCTION IF EXISTS chat.documents_pass(uuid, uuid, uuid);
REVOKE UPDATE (user_id), DELETE ON chat.documents FROM natter_auth;
DROP FUNCTION IF EXISTS chat.tasks_find(text, text, timestamptz, timestamptz, text, text, jsonb, boolean, timestamptz, uuid, int);
DROP FUNCTION IF EXISTS chat.documents_search(text, text, text, int);
DROP FUNCTION IF EXISTS chat.chunks_similar(uuid, uuid, uuid[], text[], int);
DROP FUNCTION IF EXISTS chat.chunks_match(uuid, uuid, uuid[], tsquery, int);
DROP FUNCTION IF EXISTS chat.documents_find(text, text, jsonb, timestamptz, uuid, int);
DROP POLICY IF EXISTS managers_alone ON chat.document_chunks;
DROP POLICY IF EXISTS managers_delete ON chat.document_chunks;
DROP POLICY IF EXISTS managers_cut ON chat.document_chunks;
DROP POLICY IF EXISTS managers_alone ON chat.documents;
DROP POLICY IF EXISTS managers_delete ON chat.documents;
DROP POLICY IF EXISTS managers_change ON chat.documents;
REVOKE UPDATE (content_sha256, size_bytes) ON chat.documents FROM natter_app;
DROP INDEX IF EXISTS chat.idx_chat_documents_store_id;
DROP FUNCTION IF EXISTS natter.like_part(text);
DROP FUNCTION IF EXISTS natter.search_any(text, regconfig);
DROP FUNCTION IF EXISTS natter.search_config(text);

RESET ROLE;
