-- 028, undone.

SET ROLE natter_owner;

DROP FUNCTION IF EXISTS chat.embedding_keep(uuid, uuid, text, real[]);
DROP FUNCTION IF EXISTS chat.embeddings_due(text, int);
DROP FUNCTION IF EXISTS chat.passages_find(text, text, text, text, text, real[], text[], int);
DROP FUNCTION IF EXISTS chat.passages_by_vector(uuid, boolean, uuid[], text, real[], int);
DROP FUNCTION IF EXISTS chat.passages_by_words(uuid, boolean, uuid[], text, regconfig, text[], int);
DROP FUNCTION IF EXISTS chat.passages_count(uuid, boolean, uuid[]);
DROP FUNCTION IF EXISTS chat.word_query(text);
DROP FUNCTION IF EXISTS chat.words_like(uuid, boolean, uuid[], text);
DROP FUNCTION IF EXISTS chat.letters(text);
DROP FUNCTION IF EXISTS chat.passages_with(uuid, boolean, uuid[], tsquery);
DROP INDEX IF EXISTS chat.idx_chat_document_chunks_embedding_model;
DROP INDEX IF EXISTS chat.idx_chat_document_chunks_unembedded;
REVOKE UPDATE (embedding, embedding_model, embedding_signs) ON chat.document_chunks FROM natter_auth;
ALTER TABLE chat.document_chunks DROP COLUMN IF EXISTS embedding_signs;
ALTER TABLE chat.document_chunks DROP COLUMN IF EXISTS embedding_model;
DROP FUNCTION IF EXISTS natter.cosine(real[], real[]);
DROP FUNCTION IF EXISTS natter.signs(real[]);

RESET ROLE;
