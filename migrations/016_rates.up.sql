-- 016: request limits while Redis is away, and what Redis needs to hold them:
-- a user's numbers in a conversation, and how many turns today's were.

SET ROLE natter_owner;

CREATE UNLOGGED TABLE IF NOT EXISTS auth.rate_buckets (
	key text COLLATE "C" NOT NULL CONSTRAINT rate_buckets_pkey PRIMARY KEY
	    CONSTRAINT rate_buckets_key CHECK (octet_length(key) <= 200),
	level bigint NOT NULL,
	expires_at timestamptz NOT NULL
);
COMMENT ON TABLE auth.rate_buckets IS 'What was charged to request limits while Redis was away; a crash of Postgres empties it';
COMMENT ON COLUMN auth.rate_buckets.key IS 'Whose bucket: the key that Redis has for it';
COMMENT ON COLUMN auth.rate_buckets.level IS 'Microseconds since 1970 until which it is used up; of a day''s bucket: how many were charged';
COMMENT ON COLUMN auth.rate_buckets.expires_at IS 'The row means nothing from then on';
CREATE INDEX IF NOT EXISTS idx_auth_rate_buckets_expires
    ON auth.rate_buckets (expires_at);
COMMENT ON INDEX auth.idx_auth_rate_buckets_expires IS 'Forgetting: every charge deletes a few rows that are over';
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.rate_buckets TO natter_auth;
GRANT SELECT, DELETE ON auth.rate_buckets TO natter_jobs;

SET ROLE natter_auth;

CREATE OR REPLACE FUNCTION auth.turns_today(p_user uuid, p_store uuid)
RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT count(*)
	  FROM chat.messages m
	  JOIN chat.conversations c ON c.user_id = m.user_id AND c.id = m.conversation_id
	 WHERE m.user_id = p_user AND m.role = 'assistant'
	   AND m.id >= natter.uuid_floor(date_trunc('day', now(), 'UTC'))
	   AND CASE WHEN p_store IS NULL THEN NOT EXISTS (
	            SELECT FROM auth.limits l
	             WHERE l.store_id = c.store_id AND l.name = 'turns_per_day')
	       ELSE c.store_id = p_store END;
$$;
COMMENT ON FUNCTION auth.turns_today(uuid, uuid) IS 'How many turns a user began today (UTC): in a store with a day''s limit of its own, or, without a store, in none of those';

CREATE OR REPLACE FUNCTION auth.limits_in(p_user uuid, p_conversation text)
RETURNS TABLE (own bigint[], store_id uuid, of_store bigint[])
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT l.own, s.id, l.of_store
	  FROM (SELECT (SELECT c.store_id FROM chat.conversations c
	                 WHERE c.user_id = p_user
	                   AND (c.id::text = p_conversation OR c.short_id = p_conversation)
	                 ORDER BY c.id::text = p_conversation DESC LIMIT 1) AS id
	         WHERE p_conversation IS NOT NULL
	         UNION ALL
	        SELECT NULL::uuid WHERE p_conversation IS NULL) s,
	       auth.limits_of(p_user, s.id) l;
$$;
COMMENT ON FUNCTION auth.limits_in(uuid, text) IS 'auth.limits_of for a conversation as a path names it (id or short id; NULL: none), and its store';

CREATE OR REPLACE FUNCTION auth.rate_numbers(p_user uuid, p_conversation text)
RETURNS TABLE (numbers text, today bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN num_nonnulls(VARIADIC l.own || l.of_store) = 0 THEN '-'
	       ELSE concat_ws(' ', array_to_string(l.own, ' ', '-1'),
	           coalesce(l.store_id::text, '-'), array_to_string(l.of_store, ' ', '-1')) END
	       || ' t' || coalesce((SELECT b.tokens_used + b.tokens_reserved
	             FROM chat.token_budgets b
	            WHERE b.user_id = p_user AND b.store_id IS NULL AND b.period = 'day'
	              AND b.starts_on = (now() AT TIME ZONE 'UTC')::date), 0),
	       CASE WHEN p_conversation IS NOT NULL THEN auth.turns_today(p_user,
	           CASE WHEN l.of_store[2] IS NOT NULL THEN l.store_id END) END
	  FROM auth.limits_in(p_user, p_conversation) l;
$$;
COMMENT ON FUNCTION auth.rate_numbers(uuid, text) IS 'What Redis is told of a user''s limits: the user''s, the store, the store''s; -1 where nothing overrides the settings, - where nothing does at all; and after a t the tokens of today. With a conversation also the turns begun today';

-- The policies of one request, all or nothing, as charge.lua charges them
-- in Redis: a bucket of p_bursts (0: of the limit) is filled again within
-- p_windows microseconds per limit; a window of 0 is a day (UTC), which counts.
CREATE OR REPLACE FUNCTION auth.rate_charge(p_may boolean, p_user uuid, p_conversation text,
    p_keys text[], p_quotas int[], p_limits bigint[], p_windows bigint[], p_bursts bigint[])
RETURNS TABLE (n int, key text, is_charged boolean, amount bigint, remaining bigint,
    reset_us bigint, retry_us bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_own bigint[];
    v_of_store bigint[];
    v_store uuid;
    v_keys text[] := p_keys;
    v_limits bigint[] := p_limits;
    v_levels bigint[] := array_fill(0::bigint, ARRAY[cardinality(p_keys)]);
    v_retries bigint[] := v_levels;
    v_resets bigint[] := v_levels;
    v_remains bigint[] := v_levels;
    v_expires timestamptz[] := array_fill(NULL::timestamptz, ARRAY[cardinality(p_keys)]);
    v_day timestamptz := date_trunc('day', clock_timestamp(), 'UTC');
    v_all boolean := true;
    v_level bigint;
    v_limit bigint;
    v_step bigint;
    v_room bigint;
    v_now bigint;
    v_left bigint;
    i int;
BEGIN
    IF p_may IS NOT TRUE THEN
        RETURN;
    END IF;

    -- Which numbers hold, and whose buckets they fill.
    SELECT l.own, l.store_id, l.of_store INTO v_own, v_store, v_of_store
      FROM auth.limits_in(p_user, p_conversation) l
     WHERE p_user IS NOT NULL;
    FOR i IN 1 .. cardinality(p_keys) LOOP
        IF p_windows[i] = 0 THEN
            v_keys[i] := v_keys[i] || to_char(v_day AT TIME ZONE 'UTC', 'YYYY-MM-DD');
        END IF;
        CONTINUE WHEN p_quotas[i] = 0;
        v_limits[i] := coalesce(v_own[p_quotas[i]], v_limits[i]);
        IF p_quotas[i] <= 2 AND v_of_store[p_quotas[i]] IS NOT NULL THEN
            -- The closer one; 0 is none.
            v_limits[i] := coalesce(least(nullif(v_limits[i], 0),
                nullif(v_of_store[p_quotas[i]], 0)), 0);
            v_keys[i] := v_keys[i] || ':' || v_store;
        END IF;
    END LOOP;

    DELETE FROM auth.rate_buckets b
     WHERE b.key IN (SELECT o.key FROM auth.rate_buckets o
                      WHERE o.expires_at < clock_timestamp()
                      ORDER BY o.expires_at LIMIT 8
                        FOR UPDATE SKIP LOCKED);

    -- All rows are locked before the clock is read; in the order of their
    -- keys, so that two requests never wait for each other.
    FOR i IN SELECT k.i FROM unnest(v_keys) WITH ORDINALITY k(key, i)
              WHERE v_limits[k.i] > 0 ORDER BY k.key COLLATE "C" LOOP
        LOOP
            SELECT b.level INTO v_level FROM auth.rate_buckets b
             WHERE b.key = v_keys[i] FOR UPDATE;
            EXIT WHEN FOUND;
            INSERT INTO auth.rate_buckets AS b (key, level, expires_at)
            VALUES (v_keys[i],
                CASE WHEN p_windows[i] = 0 THEN auth.turns_today(p_user,
                    CASE WHEN v_of_store[p_quotas[i]] IS NOT NULL THEN v_store END)
                ELSE 0 END,
                CASE WHEN p_windows[i] = 0 THEN v_day + interval '25 hours'
                ELSE clock_timestamp() + interval '1 minute' END)
            ON CONFLICT ON CONSTRAINT rate_buckets_pkey DO NOTHING;
        END LOOP;
        v_levels[i] := v_level;
    END LOOP;

    v_now := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    FOR i IN 1 .. cardinality(p_keys) LOOP
        v_limit := v_limits[i];
        CONTINUE WHEN v_limit = 0;
        IF p_windows[i] = 0 THEN
            v_left := greatest(v_limit - v_levels[i], 0);
            v_levels[i] := v_levels[i] + 1;
            v_expires[i] := v_day + interval '25 hours';
            v_resets[i] := (extract(epoch FROM v_day) + 86400)::bigint * 1000000 - v_now;
            v_retries[i] := CASE WHEN v_left = 0 THEN v_resets[i] ELSE 0 END;
        ELSE
            v_step := (p_windows[i] + v_limit - 1) / v_limit;
            v_room := v_step * CASE WHEN p_bursts[i] > 0 THEN p_bursts[i] ELSE v_limit END;
            v_levels[i] := least(greatest(v_levels[i], v_now), v_now + v_room);
            v_left := (v_now + v_room - v_levels[i]) / v_step;
            v_resets[i] := v_levels[i] - v_now;
            v_levels[i] := v_levels[i] + v_step;
            v_retries[i] := greatest(v_levels[i] - v_room - v_now, 0);
            v_expires[i] := to_timestamp(v_levels[i] / 1000000.0) + interval '1 s';
        END IF;
        v_remains[i] := v_left;
        v_all := v_all AND v_retries[i] = 0;
    END LOOP;

    FOR i IN 1 .. cardinality(p_keys) LOOP
        IF v_all AND v_limits[i] > 0 THEN
            UPDATE auth.rate_buckets b
               SET level = v_levels[i], expires_at = v_expires[i]
             WHERE b.key = v_keys[i];
            v_remains[i] := v_remains[i] - 1;
            IF p_windows[i] > 0 THEN
                v_resets[i] := v_levels[i] - v_now;
            END IF;
        END IF;
        n := i;
        key := v_keys[i];
        is_charged := v_all;
        amount := v_limits[i];
        remaining := v_remains[i];
        reset_us := v_resets[i];
        retry_us := v_retries[i];
        RETURN NEXT;
    END LOOP;
END;
$$;
COMMENT ON FUNCTION auth.rate_charge(boolean, uuid, text, text[], int[], bigint[], bigint[], bigint[]) IS 'Charges a request to its limits, all or none, while Redis is away; a row for each, none when p_may is not true';

CREATE OR REPLACE FUNCTION auth.rate_give_back(p_keys text[], p_steps bigint[])
RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	UPDATE auth.rate_buckets b
	   SET level = greatest(b.level - g.step, 0)
	  FROM (SELECT o.key, k.step
	          FROM unnest(p_keys, p_steps) k(key, step)
	          JOIN auth.rate_buckets o ON o.key = k.key
	         WHERE k.step > 0
	         ORDER BY o.key FOR UPDATE OF o) g
	 WHERE b.key = g.key;
$$;
COMMENT ON FUNCTION auth.rate_give_back(text[], bigint[]) IS 'Gives back what auth.rate_charge charged: microseconds, or 1 of a day''s bucket';

REVOKE ALL ON FUNCTION auth.turns_today(uuid, uuid), auth.limits_in(uuid, text),
    auth.rate_numbers(uuid, text),
    auth.rate_charge(boolean, uuid, text, text[], int[], bigint[], bigint[], bigint[]),
    auth.rate_give_back(text[], bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION auth.rate_numbers(uuid, text),
    auth.rate_charge(boolean, uuid, text, text[], int[], bigint[], bigint[], bigint[]),
    auth.rate_give_back(text[], bigint[]) TO natter_app;

RESET ROLE;
