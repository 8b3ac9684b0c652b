-- 020: what the daemon's caches must know of changes that no request of its own
-- made: by natterctl, by retention, by hand, by the sweep of dead workers.

SET ROLE natter_owner;

CREATE TABLE IF NOT EXISTS natter.noted_changes (
	transaction xid8 NOT NULL CONSTRAINT noted_changes_pkey PRIMARY KEY,
	noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE natter.noted_changes IS 'Transactions of the last minutes that changed users'' data past the daemon''s requests: its caches believe nothing that is older';
COMMENT ON COLUMN natter.noted_changes.transaction IS 'Which one; a row is seen once it is committed, and not before';
COMMENT ON COLUMN natter.noted_changes.noted_at IS 'When it first changed something';

-- One row a transaction: nobody waits for anybody else's. A cleaning is a
-- change itself, so that none is overlooked.
CREATE OR REPLACE FUNCTION natter.note_change()
RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	DELETE FROM natter.noted_changes n
	 WHERE n.transaction IN (SELECT o.transaction FROM natter.noted_changes o
	     WHERE o.noted_at < now() - interval '10 minutes'
	     FOR UPDATE SKIP LOCKED);
	INSERT INTO natter.noted_changes (transaction)
	VALUES (pg_current_xact_id())
	ON CONFLICT (transaction) DO NOTHING;
$$;
COMMENT ON FUNCTION natter.note_change() IS 'Notes that this transaction changes what caches may hold';

CREATE OR REPLACE FUNCTION natter.note_change_if(p_is_so boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF p_is_so THEN
		PERFORM natter.note_change();
	END IF;
END
$$;
COMMENT ON FUNCTION natter.note_change_if(boolean) IS 'The same where something is so';

CREATE OR REPLACE FUNCTION natter.change_made()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	PERFORM natter.note_change();
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION natter.change_made() IS 'For triggers of tables that caches were read from';

-- The sum of it: another Postgres, a noted change, a worker that fell silent
-- (it may have died between a commit and telling Redis).
CREATE OR REPLACE FUNCTION natter.cache_state()
RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT concat_ws(' ', to_char(pg_postmaster_start_time(), 'YYYYMMDDHH24MISSUS'),
	    (SELECT md5(string_agg(n.transaction::text, ' ' ORDER BY n.transaction))
	       FROM natter.noted_changes n),
	    (SELECT md5(string_agg(w.id::text, ' ' ORDER BY w.id))
	       FROM chat.workers w WHERE w.seen_at < now() - interval '10 seconds'));
$$;
COMMENT ON FUNCTION natter.cache_state() IS 'A text that is another one after each change that no request made';

REVOKE ALL ON FUNCTION natter.note_change(), natter.note_change_if(boolean),
    natter.change_made(), natter.cache_state() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION natter.note_change(), natter.note_change_if(boolean),
    natter.cache_state() TO natter_app, natter_auth, natter_jobs;

-- The daemon tells its caches itself.
CREATE OR REPLACE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON auth.users
    FOR EACH STATEMENT WHEN (session_user <> 'natter_app')
    EXECUTE FUNCTION natter.change_made();
COMMENT ON TRIGGER note_change ON auth.users IS 'The caches hear of what is changed past the daemon';
CREATE OR REPLACE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON chat.conversations
    FOR EACH STATEMENT WHEN (session_user <> 'natter_app')
    EXECUTE FUNCTION natter.change_made();
COMMENT ON TRIGGER note_change ON chat.conversations IS 'The caches hear of what is changed past the daemon';
CREATE OR REPLACE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON chat.messages
    FOR EACH STATEMENT WHEN (session_user <> 'natter_app')
    EXECUTE FUNCTION natter.change_made();
COMMENT ON TRIGGER note_change ON chat.messages IS 'The caches hear of what is changed past the daemon';
CREATE OR REPLACE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON chat.usage_tracking
    FOR EACH STATEMENT WHEN (session_user <> 'natter_app')
    EXECUTE FUNCTION natter.change_made();
COMMENT ON TRIGGER note_change ON chat.usage_tracking IS 'The caches hear of what is changed past the daemon';

RESET ROLE;
