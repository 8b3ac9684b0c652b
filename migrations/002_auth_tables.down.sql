-- Takes back 002_auth_tables.up.sql, with every user.

SET ROLE natter_owner;

DROP TABLE IF EXISTS auth.refresh_tokens;
DROP TABLE IF EXISTS auth.sessions;
DROP TABLE IF EXISTS auth.users;

RESET ROLE;
