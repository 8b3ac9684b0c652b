-- Takes back 014_import.up.sql. What was imported stays.

SET ROLE natter_owner;

REVOKE EXECUTE ON FUNCTION chat.create_partitions(int, timestamptz) FROM natter_auth;
REVOKE INSERT ON chat.messages, chat.documents, chat.document_chunks FROM natter_auth;
REVOKE INSERT, UPDATE ON chat.conversations FROM natter_auth;
REVOKE UPDATE (status, chunk_count) ON chat.documents FROM natter_auth;
DO $$
BEGIN
	EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM natter_auth', current_database());
END
$$;

RESET ROLE;
