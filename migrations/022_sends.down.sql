-- Takes back 022_sends.up.sql. A send that is repeated afterwards is a new one.

SET ROLE natter_owner;

DROP TABLE IF EXISTS chat.idempotency_keys;

RESET ROLE;
