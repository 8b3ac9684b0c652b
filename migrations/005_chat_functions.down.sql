-- Takes back 005_chat_functions.up.sql.

SET ROLE natter_owner;

DROP FUNCTION IF EXISTS chat.sweep_dead_replies(interval);

RESET ROLE;
