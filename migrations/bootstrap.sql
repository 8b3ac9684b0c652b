-- Roles, memberships and rights of one Natter database: the only step that
-- needs a superuser. `natterctl bootstrap` makes the database and runs this
-- file in it; by hand:
--
--     createdb --template=template0 --encoding=UTF8 natter
--     psql -1 -v ON_ERROR_STOP=1 -d natter -f bootstrap.sql
--
-- Running it again changes nothing. Passwords are not set here: `natterctl
-- bootstrap` sends them as SCRAM verifiers, by hand use psql's \password.
-- No extension is made here: pg_trgm and btree_gin are trusted, so the
-- migration that wants one makes it as natter_owner.
--
--   natter_owner    no login; owns the database, every schema and table
--   natter_migrate  logs in for natterctl; may become owner, auth and search
--   natter_app      logs in for natterd; owns nothing, under row level security
--   natter_jobs     logs in for retention; bypasses row level security
--   natter_auth     no login; owns the functions that must look past row level
--                   security: login, refresh, administration, sweeps
--   natter_search   no login; owns the search functions, which need the GIN
--                   indexes that row level security would disable

DO $$
BEGIN
	IF current_setting('server_version_num')::int < 150000 THEN
		RAISE EXCEPTION 'Natter needs PostgreSQL 15 or newer, this is %',
		    current_setting('server_version');
	END IF;
	IF current_setting('server_encoding') <> 'UTF8' THEN
		RAISE EXCEPTION 'database % is encoded as %, Natter needs UTF8: '
		    'make another with createdb --template=template0 --encoding=UTF8',
		    current_database(), current_setting('server_encoding');
	END IF;
END
$$;

-- Roles are shared by the whole cluster: bootstraps of two databases at once
-- wait for one another here (advisory locks are per database).
DO $$ BEGIN LOCK TABLE pg_catalog.pg_authid IN SHARE ROW EXCLUSIVE MODE; END $$;

DO $$
DECLARE
	r text;
BEGIN
	FOREACH r IN ARRAY ARRAY['natter_owner', 'natter_migrate', 'natter_app',
	    'natter_jobs', 'natter_auth', 'natter_search']
	LOOP
		IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN
			EXECUTE format('CREATE ROLE %I', r);
		END IF;
	END LOOP;
END
$$;

ALTER ROLE natter_owner NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT;
ALTER ROLE natter_migrate LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT;
ALTER ROLE natter_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT;
ALTER ROLE natter_jobs LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS INHERIT;
ALTER ROLE natter_auth NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS INHERIT;
ALTER ROLE natter_search NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS INHERIT;

COMMENT ON ROLE natter_owner IS 'Natter: owns the database and every table; no login';
COMMENT ON ROLE natter_migrate IS 'Natter: natterctl logs in as this; may become natter_owner, natter_auth and natter_search';
COMMENT ON ROLE natter_app IS 'Natter: the daemon; rights on rows only, always under row level security';
COMMENT ON ROLE natter_jobs IS 'Natter: retention and partitions; bypasses row level security';
COMMENT ON ROLE natter_auth IS 'Natter: owns the functions of login, administration and sweeps; bypasses row level security; no login';
COMMENT ON ROLE natter_search IS 'Natter: owns the search functions; bypasses row level security; no login';

-- SET ROLE asks whether the session's user is a member, so that migrations,
-- as natter_migrate, can make each object directly under its final owner.
-- pg_monitor shows natterctl doctor what other roles' connections do.
DO $$
DECLARE
	r text;
BEGIN
	FOREACH r IN ARRAY ARRAY['natter_owner', 'natter_auth', 'natter_search',
	    'pg_monitor']
	LOOP
		IF NOT EXISTS (SELECT FROM pg_auth_members m
		    WHERE m.roleid = r::regrole
		    AND m.member = 'natter_migrate'::regrole) THEN
			EXECUTE format('GRANT %I TO natter_migrate', r);
		END IF;
	END LOOP;
END
$$;

-- A backstop behind the daemon's own deadlines (CHAT_PG_TIMEOUT).
ALTER ROLE natter_app SET statement_timeout = '60s';
ALTER ROLE natter_app SET idle_in_transaction_session_timeout = '60s';

DO $$
BEGIN
	EXECUTE format('ALTER DATABASE %I OWNER TO natter_owner', current_database());
	EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
	EXECUTE format('GRANT CONNECT ON DATABASE %I '
	    'TO natter_migrate, natter_app, natter_jobs', current_database());
	EXECUTE format('ALTER DATABASE %I SET timezone = %L', current_database(), 'UTC');
END
$$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
