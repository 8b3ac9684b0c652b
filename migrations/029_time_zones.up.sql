-- 029: users have a time zone and a language of their own.

SET ROLE natter_owner;

ALTER TABLE auth.users
    ADD COLUMN IF NOT EXISTS time_zone text
	CONSTRAINT users_time_zone CHECK (time_zone ~ '^[A-Za-z0-9_+/-]{1,63}$'),
    ADD COLUMN IF NOT EXISTS locale text
	CONSTRAINT users_locale CHECK (locale ~ '^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}$');
COMMENT ON COLUMN auth.users.time_zone IS
    'What "tomorrow at nine" means to the user: a name of the time zone database; NULL is the server''s (CHAT_TIME_ZONE)';
COMMENT ON COLUMN auth.users.locale IS 'The user''s language, as BCP 47 names it';

GRANT SELECT (time_zone, locale), UPDATE (time_zone, locale) ON auth.users TO natter_app;

-- As in 010, and the two columns.
CREATE OR REPLACE TRIGGER audit_change AFTER UPDATE OF username, display_name,
    password_hash, role, issuer, external_id, is_disabled, session_epoch, metadata,
    time_zone, locale
    ON auth.users
    FOR EACH ROW WHEN ((OLD.username, OLD.display_name, OLD.password_hash, OLD.role,
        OLD.issuer, OLD.external_id, OLD.is_disabled, OLD.session_epoch, OLD.metadata,
        OLD.time_zone, OLD.locale)
        IS DISTINCT FROM
        (NEW.username, NEW.display_name, NEW.password_hash, NEW.role,
        NEW.issuer, NEW.external_id, NEW.is_disabled, NEW.session_epoch, NEW.metadata,
        NEW.time_zone, NEW.locale))
    EXECUTE FUNCTION audit.row_changed('user');

RESET ROLE;
