-- Takes back 024_said.up.sql.

SET ROLE natter_auth;

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

DROP FUNCTION IF EXISTS chat.admin_usage_sums(text[], date, date, uuid, uuid, text,
    text[], int);
DROP FUNCTION IF EXISTS auth.demand_self(uuid);
DROP FUNCTION IF EXISTS chat.free_models();

RESET ROLE;
