-- 022: which reply an Idempotency-Key led to. The claim is inserted with its
-- turn, in the same transaction: what was refused or undone leaves no key.

SET ROLE natter_owner;

CREATE TABLE IF NOT EXISTS chat.idempotency_keys (
	user_id uuid NOT NULL CONSTRAINT idempotency_keys_user_id_fkey
	    REFERENCES auth.users (id) ON DELETE CASCADE,
	key bytea NOT NULL
	    CONSTRAINT idempotency_keys_key CHECK (octet_length(key) = 32),
	request bytea NOT NULL
	    CONSTRAINT idempotency_keys_request CHECK (octet_length(request) = 32),
	message_id uuid NOT NULL,
	expires_at timestamptz NOT NULL DEFAULT now() + interval '24 hours',
	CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key)
);
COMMENT ON TABLE chat.idempotency_keys IS 'Which reply a send with an Idempotency-Key led to, for 24 hours: the same request again gets the same reply';
COMMENT ON COLUMN chat.idempotency_keys.user_id IS 'Whose key it is';
COMMENT ON COLUMN chat.idempotency_keys.key IS 'BLAKE2b of the key; the key itself is stored nowhere';
COMMENT ON COLUMN chat.idempotency_keys.request IS 'BLAKE2b of what was asked for: under the same key nothing else may be';
COMMENT ON COLUMN chat.idempotency_keys.message_id IS 'The reply; it may have gone with its conversation';
COMMENT ON COLUMN chat.idempotency_keys.expires_at IS 'From then on the key may be used for something else';
CREATE INDEX IF NOT EXISTS idx_chat_idempotency_keys_expires
    ON chat.idempotency_keys (expires_at);
COMMENT ON INDEX chat.idx_chat_idempotency_keys_expires IS 'Retention: those that are over';
SELECT natter.protect('chat.idempotency_keys');
GRANT SELECT, DELETE ON chat.idempotency_keys TO natter_app;
GRANT INSERT (user_id, key, request, message_id) ON chat.idempotency_keys TO natter_app;
GRANT SELECT, DELETE ON chat.idempotency_keys TO natter_jobs;

RESET ROLE;
