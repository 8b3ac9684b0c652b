-- Users with a session and a conversation each, numbered from :from to :to, for
-- benchmarks of many at once: a sign-in each would take minutes of hashing.
-- Prints "user session jti conversation" lines, which bench_tokens turns into
-- access tokens. Run as the superuser.
\set ON_ERROR_STOP on
BEGIN;
CREATE TEMPORARY TABLE crowd ON COMMIT DROP AS
SELECT n, format('00000000-0001-7000-8000-%s', lpad(n::text, 12, '0'))::uuid AS user_id,
    format('00000000-0002-7000-8000-%s', lpad(n::text, 12, '0'))::uuid AS session_id,
    format('00000000-0003-7000-8000-%s', lpad(n::text, 12, '0'))::uuid AS jti,
    format('00000000-0004-7000-8000-%s', lpad(n::text, 12, '0'))::uuid AS conversation_id
  FROM generate_series(:from, :to) n;
INSERT INTO auth.users (id, username) SELECT user_id, 'bench' || n FROM crowd;
INSERT INTO auth.sessions (id, user_id, rt_secret, access_jti, access_iat,
    expires_at, idle_expires_at)
SELECT session_id, user_id, decode(repeat('00', 32), 'hex'), jti, now(),
    now() + interval '1 day', now() + interval '1 day' FROM crowd;
INSERT INTO chat.conversations (user_id, id, short_id)
SELECT user_id, conversation_id, 'bench' || n FROM crowd;
SELECT concat_ws(' ', user_id, session_id, jti, conversation_id)
  FROM crowd ORDER BY n;
COMMIT;
