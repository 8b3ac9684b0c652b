#!/bin/bash
# Many replies at once through the whole stack: nginx, natterd with two workers,
# Postgres, Redis and a model's server, all on this machine, and the load too.
# For each number of streams: are all complete and stored, what Natter adds to
# the model's own time, what a stream takes of memory and CPU, and how long
# short requests take meanwhile. Prints Markdown. Starts and stops everything.
# Usage: streams.sh BUILDDIR [STREAMS...]
# WEIGHTS=off: nginx and Redis have no more weight than everybody.
set -euo pipefail
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/bench/load.sh
. "$SRC/tests/bench/load.sh"
shift
COUNTS=("$@")
[ $# -gt 0 ] || COUNTS=(100 1000 5000 10000)
GAP_MS=333      # three events a second
FIRST_MS=200
BEGIN_RATE=${BEGIN_RATE:-100} # replies begun a second
SETTLE_S=10     # after the last one has begun: what that took is over
LOOK_S=${LOOK_S:-30} # how long everything is looked at; then the replies end
KINDS=(natterd nginx redis postgres model client)
FIRST_USER=1

finish_all() {
	[ -z "${SHORT_PID:-}" ] || kill "$SHORT_PID" 2>/dev/null || :
	[ -z "${CLIENT_PID:-}" ] || kill "$CLIENT_PID" 2>/dev/null || :
	end_model
	finish
}

# Stored whole: complete, with every delta's stamp. Of users $1 to $2.
stored() {
	sql "SELECT count(*) FROM chat.messages m
	    WHERE m.role = 'assistant' AND m.status = 'complete'
	      AND length(m.content) - length(replace(m.content, '@', ''))
		= substring(m.content FROM '#([0-9]+)')::int
	      AND m.user_id BETWEEN '$(user_id "$1")' AND '$(user_id "$2")'"
}

# Waits until all stream; the client may have ended without that.
wait_streaming() {
	until grep -q '^streaming' "$T/client"; do
		proc_is_alive "$CLIENT_PID" || return 0
		sleep 0.1
	done
	sleep "$SETTLE_S"
}

look() {
	kill -USR1 "$CLIENT_PID" || :
	note >"$T/before"
	"${FIRST[@]}" "$BENCH/short_load" "$PORT" /api/v1/me <"$T/short_token" >"$T/short" &
	SHORT_PID=$!
	sleep "$LOOK_S"
	kill -USR1 "$CLIENT_PID" || :
	note >"$T/after"
	MEMORY=$(memory natterd) NGINX_MEMORY=$(memory nginx)
	kill "$SHORT_PID"
	wait "$SHORT_PID" || :
	SHORT_PID=
}

# Logs of replies that Redis lost, or that it did not answer for in time.
logs_lost() {
	curl -s "$BASE_URL/metrics" |
		awk '/^natter_reply_logs_lost_total/ { n += $2 } END { print n + 0 }'
}

# What natterd complained of, for whoever runs this.
said_wrong() {
	head -n 20 "$NATTER_DIR/log/natterd.log" >&2 || :
}

# per_stream KIB BASE-KIB STREAMS
per_stream() {
	awk -v a="$1" -v b="$2" -v n="$3" 'BEGIN { printf "%.1f", (a - b) / n }'
}

measure() {
	local n=$1 ramp_s=$(($1 / BEGIN_RATE + 1)) last
	last=$((FIRST_USER + n - 1)) LOST=$(logs_lost)
	crowd "$FIRST_USER" "$last" >"$T/tokens"
	head -n 1 "$T/tokens" | cut -d' ' -f1 >"$T/short_token"
	start_model --gap "$GAP_MS" --first "$FIRST_MS"
	"$BENCH/turn_load" "${CLIENT_AT[@]}" --tokens "$T/tokens" --count "$n" \
	    --ramp $((ramp_s * 1000)) --timeout 240 >"$T/client" 2>"$T/client.err" &
	CLIENT_PID=$!
	wait_streaming
	look
	kill -USR1 "$MODEL_PID"
	wait "$CLIENT_PID" || sed 's/^/    /' "$T/client.err" >&2
	CLIENT_PID=
	row "$n" "$last"
	FIRST_USER=$((last + 1))
}

row() {
	local n=$1 c=$T/client kind used=0 all
	printf '| %d | %d | %d | %d | %.0f | %s / %s | %s / %s / %s | %s | %s | %s | %s / %s |' \
	    "$n" "$(value most_at_once "$c")" "$(value completed "$c")" \
	    "$(stored "$FIRST_USER" "$2")" \
	    "$(awk '$1 == "seen" { n = $2 - n; us = $3 - us }
		END { printf "%f", us ? n * 1e6 / us : 0 }' "$c")" \
	    "$(value first_added_p50_ms "$c")" "$(value first_added_p99_ms "$c")" \
	    "$(value look_delay_p50_ms "$c")" \
	    "$(value look_delay_p99_ms "$c")" "$(value delay_p99_ms "$c")" \
	    "$(value look_gap_added_p99_ms "$c")" \
	    "$(per_stream "$MEMORY" "$BASE" "$n")" \
	    "$(per_stream "$NGINX_MEMORY" "$NGINX_BASE" "$n")" \
	    "$(value short_p50_ms "$T/short")" "$(value short_p99_ms "$T/short")"
	for kind in "${KINDS[@]}"; do
		used=$((used + $(of_core "$kind")))
		printf ' %s |' "$(of_core "$kind")"
	done
	all=$(of_core all)
	printf ' %d | %d |\n' $((all > used ? all - used : 0)) \
	    $(($(logs_lost) - LOST))
	[ "$(value short_failed "$T/short")" = 0 ] ||
	    printf '%s short requests failed\n' \
		"$(value short_failed "$T/short")" >&2
}

LOAD_BEFORE=$(cut -d' ' -f1-3 /proc/loadavg)
no_limits
start_demo
trap finish_all EXIT
find_servers
go_first "$NGINX_PID" "$REDIS_PID"
choose_clients
# The logs of all these replies are longer than all but this is for.
redis-cli -s "$(redis_socket)" config set maxmemory 4gb >/dev/null
BASE=$(memory natterd) NGINX_BASE=$(memory nginx)
machine
cat <<-END

	| streams | at once | complete | stored | events/s | first token added p50 / p99 ms | event delay p50 / p99 / p99 of the run ms | gap added p99 ms | KiB a stream in natterd | in nginx | GET /me p50 / p99 ms | natterd % | nginx % | Redis % | Postgres % | model % | client % | others % | logs lost |
	|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
END
for count in "${COUNTS[@]}"; do
	measure "$count"
done
said_wrong
