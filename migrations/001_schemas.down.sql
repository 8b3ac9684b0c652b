-- Takes back 001_schemas.up.sql; what is left is an empty database. Roles stay:
-- they belong to the cluster (bootstrap.sql).

SET ROLE natter_owner;

DROP FUNCTION IF EXISTS natter.set_updated_at();
DROP FUNCTION IF EXISTS natter.uuid_floor(timestamptz);
DROP TABLE IF EXISTS natter.schema_migrations;
DROP SCHEMA IF EXISTS chat;
DROP SCHEMA IF EXISTS auth;
DROP SCHEMA IF EXISTS natter;

ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC;
SET ROLE natter_auth;
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC;
SET ROLE natter_search;
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC;

RESET ROLE;
