-- Takes back 011_life.up.sql. Months that were taken out and not dropped stay
-- as tables of their own; run natterctl retention run first.

SET ROLE natter_owner;

DROP FUNCTION IF EXISTS chat.roll_up(text, regclass, timestamptz, timestamptz, boolean);
DROP TABLE IF EXISTS chat.rollup_days;
DROP FUNCTION IF EXISTS chat.move_strays(name);
DROP FUNCTION IF EXISTS chat.create_month(name, timestamptz);
DROP FUNCTION IF EXISTS chat.drop_retired(name);
DROP FUNCTION IF EXISTS chat.retire_partition(name);
DROP FUNCTION IF EXISTS chat.lock_for_month(regclass, text);
DROP FUNCTION IF EXISTS chat.months();
DROP FUNCTION IF EXISTS natter.uuid_time(uuid);

DROP INDEX IF EXISTS chat.idx_chat_token_budgets_start;
DROP INDEX IF EXISTS auth.idx_auth_invites_expires;
DROP INDEX IF EXISTS auth.idx_auth_api_keys_ended;
DROP INDEX IF EXISTS auth.idx_auth_sessions_last_activity;

REVOKE ALL ON chat.token_budgets, chat.running_replies, chat.usage_tracking,
    chat.task_operation_logs, chat.message_feedback, chat.messages, chat.conversations
    FROM natter_jobs;
REVOKE ALL (is_archived, archived_at, message_count, next_position, leaf_id, updated_at)
    ON chat.conversations FROM natter_jobs;
REVOKE ALL (content, blanked_at) ON chat.messages FROM natter_jobs;
REVOKE ALL ON auth.api_keys, auth.invites, auth.login_throttle, auth.sessions, auth.user_ends
    FROM natter_jobs;
REVOKE ALL ON natter.schema_migrations FROM natter_jobs;

RESET ROLE;
