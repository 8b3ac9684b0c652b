-- 015: what overrides the limits of the settings (per role, per user, per
-- store), and what a model's tokens cost.

SET ROLE natter_owner;

CREATE TABLE IF NOT EXISTS auth.limits (
	id uuid NOT NULL CONSTRAINT limits_pkey PRIMARY KEY,
	role text CONSTRAINT limits_role CHECK (role IN ('user', 'admin')),
	store_id uuid CONSTRAINT limits_store_id_fkey
	    REFERENCES chat.stores (id) ON DELETE CASCADE,
	user_id uuid CONSTRAINT limits_user_id_fkey
	    REFERENCES auth.users (id) ON DELETE CASCADE,
	name text NOT NULL,
	value bigint NOT NULL CONSTRAINT limits_value CHECK (value BETWEEN 0 AND 1000000000000),
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	CONSTRAINT limits_subject CHECK (num_nonnulls(role, store_id, user_id) = 1),
	CONSTRAINT limits_subject_key UNIQUE NULLS NOT DISTINCT (user_id, store_id, role, name)
);
COMMENT ON TABLE auth.limits IS 'Limits that hold instead of the settings, for a role, a user, or what each user does in a store';
COMMENT ON COLUMN auth.limits.id IS 'UUIDv7';
COMMENT ON COLUMN auth.limits.role IS 'For all users with this role';
COMMENT ON COLUMN auth.limits.store_id IS 'For what each user does in the conversations of this store';
COMMENT ON COLUMN auth.limits.user_id IS 'For this user; goes before the role''s';
COMMENT ON COLUMN auth.limits.name IS 'Which limit: one of auth.limit_names()';
COMMENT ON COLUMN auth.limits.value IS 'The limit; 0 is none. Money in hundredths of the price list''s currency';
COMMENT ON COLUMN auth.limits.created_at IS 'When the row was made';
COMMENT ON COLUMN auth.limits.updated_at IS 'When the row last changed; set by a trigger';
CREATE INDEX IF NOT EXISTS idx_auth_limits_store
    ON auth.limits (store_id) WHERE store_id IS NOT NULL;
COMMENT ON INDEX auth.idx_auth_limits_store IS 'What holds in a store, and the cascade from it';
CREATE INDEX IF NOT EXISTS idx_auth_limits_role
    ON auth.limits (role) WHERE role IS NOT NULL;
COMMENT ON INDEX auth.idx_auth_limits_role IS 'What holds for a role';
SELECT natter.protect('auth.limits');
SELECT natter.keep_updated_at('auth.limits');
GRANT SELECT ON auth.limits TO natter_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.limits TO natter_auth;
CREATE OR REPLACE TRIGGER audit_rows AFTER INSERT OR UPDATE OR DELETE ON auth.limits
    FOR EACH ROW WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION audit.row_changed('limit');
COMMENT ON TRIGGER audit_rows ON auth.limits IS 'Leaves a row in audit.log';

CREATE TABLE IF NOT EXISTS chat.model_prices (
	model text COLLATE "C" NOT NULL CONSTRAINT model_prices_pkey PRIMARY KEY
	    CONSTRAINT model_prices_model CHECK (char_length(model) BETWEEN 1 AND 200),
	input numeric(12, 6) NOT NULL
	    CONSTRAINT model_prices_input CHECK (input >= 0),
	cached_input numeric(12, 6)
	    CONSTRAINT model_prices_cached_input CHECK (cached_input >= 0),
	output numeric(12, 6) NOT NULL
	    CONSTRAINT model_prices_output CHECK (output >= 0),
	updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE chat.model_prices IS 'What 1,000,000 tokens of a model cost, all in one currency';
COMMENT ON COLUMN chat.model_prices.model IS 'The model''s name, or what its versions begin with: gpt-4o-mini also prices gpt-4o-mini-2024-07-18';
COMMENT ON COLUMN chat.model_prices.input IS 'Of tokens sent';
COMMENT ON COLUMN chat.model_prices.cached_input IS 'Of tokens sent that the model had cached; NULL: as input';
COMMENT ON COLUMN chat.model_prices.output IS 'Of tokens received';
COMMENT ON COLUMN chat.model_prices.updated_at IS 'When the row last changed; set by a trigger';
SELECT natter.keep_updated_at('chat.model_prices');
GRANT SELECT ON chat.model_prices TO natter_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON chat.model_prices TO natter_auth;

SET ROLE natter_auth;

-- The order is that of limit/quotas.def.
CREATE OR REPLACE FUNCTION auth.limit_names()
RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT ARRAY['turns_per_minute', 'turns_per_day', 'api_per_minute',
	    'address_per_minute', 'streams', 'tokens_per_day', 'tokens_per_month',
	    'cost_per_day', 'cost_per_month'];
$$;
COMMENT ON FUNCTION auth.limit_names() IS 'The names of the limits, in the order in which auth.limits_of gives them';

CREATE OR REPLACE FUNCTION auth.limits_of(p_user uuid, p_store uuid)
RETURNS TABLE (own bigint[], of_store bigint[])
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT ARRAY(SELECT coalesce(
	        (SELECT l.value FROM auth.limits l WHERE l.user_id = p_user AND l.name = n.name),
	        (SELECT l.value FROM auth.limits l
	          WHERE l.role = (SELECT u.role FROM auth.users u WHERE u.id = p_user)
	            AND l.name = n.name))
	      FROM unnest(auth.limit_names()) WITH ORDINALITY n(name, i) ORDER BY n.i),
	    ARRAY(SELECT (SELECT l.value FROM auth.limits l
	          WHERE l.store_id = p_store AND l.name = n.name)
	      FROM unnest(auth.limit_names()) WITH ORDINALITY n(name, i) ORDER BY n.i);
$$;
COMMENT ON FUNCTION auth.limits_of(uuid, uuid) IS 'What overrides the settings'' limits for a user, and what holds for each user in a store; NULL where nothing does';

CREATE OR REPLACE FUNCTION chat.cost_of(p_model text, p_prompt bigint, p_cached bigint,
    p_completion bigint)
RETURNS numeric
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
	SELECT (greatest(p_prompt - p_cached, 0) * m.input
	    + least(p_cached, p_prompt) * coalesce(m.cached_input, m.input)
	    + p_completion * m.output) / 1000000
	  FROM chat.model_prices m
	 WHERE m.model = p_model OR starts_with(p_model, m.model || '-')
	 ORDER BY char_length(m.model) DESC
	 LIMIT 1;
$$;
COMMENT ON FUNCTION chat.cost_of(text, bigint, bigint, bigint) IS 'What a reply costs: tokens sent (cached ones among them) and received; NULL for a model without a price';

REVOKE ALL ON FUNCTION auth.limit_names(), auth.limits_of(uuid, uuid),
    chat.cost_of(text, bigint, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION auth.limit_names(), auth.limits_of(uuid, uuid),
    chat.cost_of(text, bigint, bigint, bigint) TO natter_app, natter_jobs, natter_owner;

SET ROLE natter_owner;
ALTER TABLE auth.limits DROP CONSTRAINT IF EXISTS limits_name;
ALTER TABLE auth.limits ADD CONSTRAINT limits_name
    CHECK (name = ANY (auth.limit_names()));

RESET ROLE;
