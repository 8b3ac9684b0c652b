SET ROLE natter_owner;

ALTER TABLE chat.messages
    DROP COLUMN IF EXISTS is_summarised,
    DROP COLUMN IF EXISTS context;
DROP TABLE IF EXISTS chat.context_summaries;
DROP TABLE IF EXISTS chat.user_facts;

RESET ROLE;
