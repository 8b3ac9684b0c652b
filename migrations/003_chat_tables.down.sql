-- Takes back 003_chat_tables.up.sql, with every conversation and message.

SET ROLE natter_owner;

DROP FUNCTION IF EXISTS chat.create_partitions(int, timestamptz);
DROP FUNCTION IF EXISTS chat.create_partition(name, timestamptz);
DROP TABLE IF EXISTS chat.usage_tracking;
DROP TABLE IF EXISTS chat.workers;
DROP TABLE IF EXISTS chat.running_replies;
DROP TABLE IF EXISTS chat.messages;
DROP TABLE IF EXISTS chat.conversations;

RESET ROLE;
