-- 014: natterctl import works as natter_auth, whom row level security does not
-- bind, within one transaction: it stages records in temporary tables and makes
-- rows with the times that they had.

SET ROLE natter_owner;

DO $$
BEGIN
	EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO natter_auth', current_database());
END
$$;
GRANT INSERT, UPDATE ON chat.conversations TO natter_auth;
GRANT UPDATE (status, chunk_count) ON chat.documents TO natter_auth;
GRANT INSERT ON chat.messages, chat.documents, chat.document_chunks TO natter_auth;
GRANT EXECUTE ON FUNCTION chat.create_partitions(int, timestamptz) TO natter_auth;

RESET ROLE;
