# shellcheck shell=bash
# How each server of a demo starts: its files, its arguments, when it is ready.
# Part of stack.sh, which sets STACK (the folder), STAY and SERVERS and knows
# what runs; start_servers here sets SOCKETS and USERS.
# shellcheck disable=SC2034 # USERS is for stack.sh

# Leaves only what a server should see of the caller's environment. Secrets
# reach natterd here, never by an argument.
clean_environment() {
	local name
	for name in $(compgen -e); do
		case $name in
		PATH | *SAN_OPTIONS | GCOV_PREFIX*) continue ;;
		CHAT_* | OPENAI_* | SSL_CERT_* | *_proxy | *_PROXY)
			[ "$1" != natterd ] || continue ;;
		esac
		export -n "${name?}"
	done
	export HOME=$STACK LANG=C.UTF-8 TZ=UTC
}

# As many descriptors as allowed, within reason.
descriptors() {
	local hard
	hard=$(ulimit -Hn)
	if [ "$hard" = unlimited ] || [ "$hard" -gt 65536 ]; then
		hard=65536
	fi
	printf '%s\n' "$hard"
}

# Starts a server in a session of its own: Ctrl-C then reaches this script
# alone. When this script stays, even its kill -9 ends the servers.
launch() {
	local name=$1 signal=TERM log
	local -a wrap=(setsid setpriv --no-new-privs)
	shift
	log=$STACK/log/$name.log
	[ ! -s "$log" ] || mv "$log" "$log.1"
	[ "$name" = nginx ] || wrap+=(--inh-caps=-all --ambient-caps=-all)
	if [ "$STAY" = stay ]; then
		[ "$name" != postgres ] || signal=INT
		wrap+=(--pdeathsig "$signal")
	fi
	(
		clean_environment "$name"
		ulimit -Sn "$(descriptors)"
		exec "${wrap[@]}" -- "$@" </dev/null >>"$log" 2>&1 9<&-
	) &
	record "$name" $!
	disown # or bash would add a line of its own when it is killed
}

# The line of its log that tells best why a server ended.
last_words() {
	local end
	end=$(grep -avE '^[[:space:]]*$|system is starting up' \
	    "$STACK/log/$1.log" 2>/dev/null | tail -n 5 || :)
	{ grep -aE 'FATAL|PANIC|\[emerg\]|ERROR: |"level":"error"' <<<"$end" ||
	    printf '%s\n' "$end"; } | tail -n 1 | cut -c 1-300
}

die_of() {
	die "$1 $2: $(last_words "$1") (log: $STACK/log/$1.log)"
}

nobody_died() {
	local name
	for name in "${SERVERS[@]}"; do
		[ ! -e "$STACK/run/$name" ] || server_is_alive "$name" ||
		    die_of "$name" "did not start"
	done
}

# await NAME SECONDS COMMAND...: until the command succeeds.
await() {
	local name=$1 end=$((SECONDS + $2))
	shift 2
	until "$@" >/dev/null 2>&1; do
		nobody_died
		[ "$SECONDS" -lt "$end" ] || die_of "$name" "does not answer"
		sleep 0.1
	done
}

secret() {
	local value
	if ! read_line "$STACK/secrets/$1" value; then
		value=$(random_password)
		printf '%s\n' "$value" >"$STACK/secrets/$1"
	fi
	printf '%s\n' "$value"
}

# database_url ROLE DATABASE
database_url() {
	printf 'postgresql://%s:%s@/%s?host=%s\n' "$1" "$(secret "$1")" "$2" \
	    "$SOCKETS"
}

redis_url() {
	printf 'unix://%s/redis.sock?db=0\n' "$SOCKETS"
}

make_cluster() {
	local bin
	[ ! -e "$STACK/pg/PG_VERSION" ] || return 0
	bin=$(postgres_bin) || die "PostgreSQL 15 or later is missing"
	secret postgres >/dev/null
	rm -rf "$STACK/pg.new"
	if ! "$bin/initdb" -D "$STACK/pg.new" -U postgres -E UTF8 \
	    --locale=C.UTF-8 -A scram-sha-256 -k \
	    --pwfile="$STACK/secrets/postgres" >"$STACK/log/initdb.log" 2>&1
	then
		die_of initdb failed
	fi
	mv "$STACK/pg.new" "$STACK/pg"
}

# A lock of a killed server names a pid, and Postgres takes a zombie, or
# whoever has that pid now, for its owner.
drop_stale_lock() {
	local pid lock=$STACK/pg/postmaster.pid
	read_line "$lock" pid || return 0
	if proc_is_alive "$pid" && [ "$(cat "/proc/$pid/comm")" = postgres ] &&
	    [ "$(readlink "/proc/$pid/cwd")" = "$STACK/pg" ]; then
		die "postgres of this folder runs already as process $pid"
	fi
	rm -f "$lock"
}

start_postgres() {
	local version bin
	make_cluster
	drop_stale_lock
	read_line "$STACK/pg/PG_VERSION" version
	bin=/usr/lib/postgresql/$version/bin
	[ -x "$bin/postgres" ] ||
	    die "the data needs PostgreSQL $version, which is not installed"
	printf 'local all all scram-sha-256\n' >"$STACK/pg_hba.conf"
	cat >"$STACK/postgresql.conf" <<-END
		include '$STACK/pg/postgresql.conf'
		hba_file = '$STACK/pg_hba.conf'
		listen_addresses = ''
		unix_socket_directories = '$SOCKETS'
		unix_socket_permissions = 0700
		max_connections = 200
		log_destination = 'stderr'
		logging_collector = off
		log_line_prefix = '%m [%p] %u@%d '
		log_lock_waits = on
		log_min_duration_statement = 1000
		log_parameter_max_length = 0 # users' text
		timezone = 'UTC'
		log_timezone = 'UTC'
	END
	launch postgres "$bin/postgres" -D "$STACK/pg" \
	    -c "config_file=$STACK/postgresql.conf"
	PG_ISREADY=("$bin/pg_isready" -q -h "$SOCKETS" -U postgres)
}

# Nothing in Redis must outlive it, so nothing is written to disk.
start_redis() {
	cat >"$STACK/redis.conf" <<-END
		port 0
		unixsocket $SOCKETS/redis.sock
		unixsocketperm 700
		daemonize no
		dir $STACK/run
		save ""
		appendonly no
		maxmemory 256mb
		maxmemory-policy volatile-lru
	END
	launch redis redis-server "$STACK/redis.conf"
}

# ctl COMMAND...: natterctl with every right; its output is kept in a log.
ctl() {
	local log=$STACK/log/natterctl.log
	if ! (
		clean_environment natterd
		SUPERUSER_DATABASE_URL=$(database_url postgres postgres)
		OWNER_DATABASE_URL=$(database_url natter_migrate natter)
		NATTER_APP_PASSWORD=$(secret natter_app)
		NATTER_MIGRATE_PASSWORD=$(secret natter_migrate)
		NATTER_JOBS_PASSWORD=$(secret natter_jobs)
		export SUPERUSER_DATABASE_URL OWNER_DATABASE_URL \
		    NATTER_APP_PASSWORD NATTER_MIGRATE_PASSWORD \
		    NATTER_JOBS_PASSWORD
		exec "$STACK/bin/natterctl" "$@" </dev/null 2>>"$log" 9<&-
	); then
		die_of natterctl "$1 failed"
	fi
}

prepare_database() {
	local out=$STACK/log/natterctl.log
	ctl bootstrap --database natter >>"$out"
	ctl migrate up >>"$out"
	USERS=$(ctl seed --config "$STACK/natter.env")
}

# The servers' settings; those in natterd's environment win over them. natterd
# must like them before anything starts.
prepare_settings() {
	local log=$STACK/log/natterd.log
	cat >"$STACK/natter.env" <<-END
		# Written by scripts/demo at every start. Set OPENAI_* and
		# CHAT_* in the environment that scripts/demo is called with.
		DATABASE_URL=$(database_url natter_app natter)
		REDIS_URL=$(redis_url)
		JWT_KEYS_FILE=$STACK/keys
		CHAT_RUN_DIR=$STACK/run/natterd.d
	END
	mkdir -p "$STACK/run/natterd.d"
	: >"$STACK/log/natterctl.log"
	[ -e "$STACK/keys" ] || ctl keys init "$STACK/keys" >/dev/null
	NATTERD=("$STACK/bin/natterd" --config "$STACK/natter.env")
	if ! (
		clean_environment natterd
		exec "${NATTERD[@]}" --check </dev/null >"$log" 2>&1 9<&-
	); then
		die_of natterd "refuses its configuration"
	fi
}

start_natterd() {
	launch natterd spawn-fcgi -n -s "$SOCKETS/natterd.sock" -M 0660 \
	    -b 4096 -- "${NATTERD[@]}"
}

start_nginx() {
	local conf connections port=$1
	connections=$(($(descriptors) - 64))
	conf=$(<"$STACK/nginx/demo.conf.in")
	conf=${conf//@DIR@/$STACK}
	conf=${conf//@SOCKET@/$SOCKETS/natterd.sock}
	conf=${conf//@PORT@/$port}
	conf=${conf//@CONNECTIONS@/$((connections < 32768 ? connections : 32768))}
	printf '%s\n' "$conf" >"$STACK/nginx/demo.conf"
	launch nginx nginx -e "$STACK/log/nginx.log" \
	    -c "$STACK/nginx/demo.conf"
}

is_ready() {
	local status
	status=$(curl -s -o "$STACK/run/readyz" -w '%{http_code}' -m 5 \
	    --noproxy '*' "$(address)/readyz") && [ "$status" = 200 ]
}

start_servers() {
	umask 077
	mkdir -p "$STACK"/{log,run,secrets,nginx}
	SOCKETS=$(mktemp -d /tmp/natter.XXXXXXXX)
	printf '%s\n' "$SOCKETS" >"$STACK/run/sockets"
	printf '%s\n' "$1" >"$STACK/run/port"
	printf '%s\n' "${CHAT_DRAIN_SECONDS:-60}" >"$STACK/run/drain"
	prepare_settings
	start_redis
	start_postgres
	await postgres 60 "${PG_ISREADY[@]}"
	await redis 20 redis-cli -s "$SOCKETS/redis.sock" ping
	prepare_database
	start_natterd
	start_nginx "$1"
	await natterd 60 is_ready
}

