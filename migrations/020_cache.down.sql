-- Takes back 020_cache.up.sql. Nothing that anybody stored is lost.

SET ROLE natter_owner;

DROP TRIGGER IF EXISTS note_change ON chat.usage_tracking;
DROP TRIGGER IF EXISTS note_change ON chat.messages;
DROP TRIGGER IF EXISTS note_change ON chat.conversations;
DROP TRIGGER IF EXISTS note_change ON auth.users;
DROP FUNCTION IF EXISTS natter.cache_state();
DROP FUNCTION IF EXISTS natter.change_made();
DROP FUNCTION IF EXISTS natter.note_change_if(boolean);
DROP FUNCTION IF EXISTS natter.note_change();
DROP TABLE IF EXISTS natter.noted_changes;

RESET ROLE;
