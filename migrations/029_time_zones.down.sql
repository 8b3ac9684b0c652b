-- Takes back 029_time_zones.up.sql.

SET ROLE natter_owner;

CREATE OR REPLACE TRIGGER audit_change AFTER UPDATE OF username, display_name,
    password_hash, role, issuer, external_id, is_disabled, session_epoch, metadata
    ON auth.users
    FOR EACH ROW WHEN ((OLD.username, OLD.display_name, OLD.password_hash, OLD.role,
        OLD.issuer, OLD.external_id, OLD.is_disabled, OLD.session_epoch, OLD.metadata)
        IS DISTINCT FROM
        (NEW.username, NEW.display_name, NEW.password_hash, NEW.role,
        NEW.issuer, NEW.external_id, NEW.is_disabled, NEW.session_epoch, NEW.metadata))
    EXECUTE FUNCTION audit.row_changed('user');

ALTER TABLE auth.users
    DROP COLUMN IF EXISTS time_zone,
    DROP COLUMN IF EXISTS locale;

RESET ROLE;
