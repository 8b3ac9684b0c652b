-- Takes back 028_retrieval.up.sql.

SET ROLE natter_owner;

DROP FUNCTION IF EXISTS chat.passages_find(text, text, text, text, text[], int);
DROP FUNCTION IF EXISTS chat.passages_by_words(uuid, boolean, uuid[], text, regconfig, text[], int);
DROP FUNCTION IF EXISTS chat.passages_count(uuid, boolean, uuid[]);
DROP FUNCTION IF EXISTS chat.word_query(text);
DROP FUNCTION IF EXISTS chat.words_like(uuid, boolean, uuid[], text);
DROP FUNCTION IF EXISTS chat.letters(text);
DROP FUNCTION IF EXISTS chat.passages_with(uuid, boolean, uuid[], tsquery);

RESET ROLE;
