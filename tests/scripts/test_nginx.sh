#!/bin/bash
# nginx/natter.conf inside an existing site, in front of fcgi_echo, which tells
# what reached it.
# shellcheck source=tests/scripts/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/scripts/site.sh
. "$(dirname "$0")/site.sh"

# start_echo [NAME]: natterd's place.
start_echo() {
	local sock=$T/${1:-natterd}.sock
	rm -f "$sock" # of one that died: it would look as if this one listened
	spawn-fcgi -n -s "$sock" -M 0666 -- \
	    "$BUILD/tests/support/fcgi_echo" "$T/requests" >/dev/null &
	STARTED+=($!)
	wait_for 10 test -S "$sock"
}

start_all() {
	site "$@"
	start_echo
	start_nginx
}

nginx_approves() {
	nginx -t -e stderr -c "$T/nginx.conf" >"$T/test" 2>&1 ||
		fail "$(cat "$T/test")"
	grep -E 'warn|error' "$T/test" && fail "not clean"
	return 0
}

test_the_snippet_is_clean_inside_an_existing_site() {
	site
	nginx_approves
}

test_the_optional_lines_are_clean_too() {
	site 's,^\([[:space:]]*\)#\([a-z}\t]\),\1\2,'
	grep -q '^limit_req_zone' "$T/natter-upstream.conf" || fail "upstream"
	grep -q '^set_real_ip_from' "$T/natter.conf" || fail "real address"
	nginx_approves
}

test_no_upstream_keeps_connections() {
	! grep -E '^[[:space:]]*keepalive[[:space:]]' "$SRC"/nginx/*
}

test_parameters_arrive_as_they_should() {
	start_all
	get /api/v1/x -H 'Proxy: evil' -H 'X-Forwarded-For: 9.9.9.9'
	grep -qE '^REQUEST_ID=[0-9a-f]{32}$' "$T/answer" || fail "request id"
	grep -q evil "$T/answer" && fail "HTTP_PROXY"
	expect_in "$T/answer" REMOTE_ADDR=127.0.0.1
	expect_in "$T/answer" REQUEST_URI=/api/v1/x
	expect_in "$T/head.lines" "X-Content-Type-Options: nosniff"
}

test_real_addresses_come_from_listed_proxies_only() {
	start_all 's,^#\([set_]*real_ip\),\1,; s,10.0.0.7,127.0.0.1,'
	get /api/v1/x -H 'X-Forwarded-For: 9.9.9.9'
	expect_in "$T/answer" REMOTE_ADDR=9.9.9.9
	get /api/v1/x -H 'X-Forwarded-For: 9.9.9.9' --interface 127.0.0.2
	expect_in "$T/answer" REMOTE_ADDR=127.0.0.2
}

test_the_site_keeps_its_own_and_natter_its_routes() {
	start_all
	get /index.php
	expect_in "$T/answer" "the site's php"
	get /else
	expect_in "$T/answer" "the site"
	get /api/v1/x.php
	expect_in "$T/answer" REQUEST_URI=/api/v1/x.php
}

now_ms() {
	printf '%s\n' $((${EPOCHREALTIME/[.,]/} / 1000))
}

# Sets FIRST and ALL: milliseconds until the first line and the end of a body.
time_body() {
	local start
	start=$(now_ms)
	curl -sSN -m 20 "$URL$1" -X "${2:-GET}" >"$T/answer" &
	wait_for 10 test -s "$T/answer"
	FIRST=$(($(now_ms) - start))
	wait $!
	ALL=$(($(now_ms) - start))
}

test_streams_pass_as_they_are_written() {
	local path
	start_all
	for path in conversations/7/messages messages/7/stream; do
		time_body "/api/v1/$path?slow" POST
		[ $((ALL - FIRST)) -ge 600 ] || fail "$FIRST of $ALL ms"
		expect_equal "ticks" 5 "$(grep -c tick "$T/answer")"
	done
}

test_streams_would_wait_but_for_the_line_that_says_no() {
	start_all 's,fastcgi_buffering off;,,'
	time_body '/api/v1/messages/7/stream?slow'
	[ $((ALL - FIRST)) -lt 600 ] || fail "$FIRST of $ALL ms"
}

test_a_reply_that_was_cut_is_noticed() {
	local status=0
	start_all
	get '/api/v1/x?gone' 2>/dev/null || status=$?
	expect_equal "curl's status (18: a part)" 18 "$status"
}

test_an_absent_natterd_is_a_problem_document() {
	site
	start_nginx
	get /api/v1/conversations -w '%{http_code}' >"$T/status"
	expect_equal status 503 "$(cat "$T/status")"
	expect_in "$T/head.lines" "Content-Type: application/problem+json"
	grep -qE "^Retry-After: [123].?$" "$T/head.lines" || fail "no Retry-After"
	expect_in "$T/answer" '"code":"unavailable"'
}

test_a_body_too_large_is_a_problem_document() {
	start_all
	head -c 2200000 /dev/zero >"$T/body.bin"
	get /api/v1/conversations -w '%{http_code}' \
	    --data-binary "@$T/body.bin" >"$T/status"
	expect_equal status 413 "$(cat "$T/status")"
	expect_in "$T/answer" '"code":"too_large"'
	[ ! -e "$T/requests" ] || fail "it reached natterd"
}

# expect_sent TIMES METHOD: when the first of two hosts dies with it.
expect_sent() {
	rm -f "$T/requests"
	start_echo natterd
	start_echo second
	get "/api/v1/conversations?die" -X "$2" # 503, whoever had it
	expect_equal "$2 sent" "$1" "$(wc -l <"$T/requests")"
}

test_a_post_that_was_sent_is_never_sent_again() {
	site "s,^\(.*\)natterd.sock max_fails=0;,&\n\1second.sock max_fails=0;,"
	start_nginx
	expect_sent 1 POST
	expect_sent 1 PATCH
	expect_sent 2 GET
}

test_readiness_and_metrics_are_told_to_this_host_alone() {
	local path
	start_all
	for path in /readyz /metrics; do
		get "$path"
		expect_in "$T/answer" "REQUEST_URI=$path"
		get "$path" --interface 127.0.0.2 -w '%{http_code}' >"$T/status"
		expect_equal status 403 "$(cat "$T/status")"
	done
	get /livez --interface 127.0.0.2
	expect_in "$T/answer" REQUEST_URI=/livez
}

run_tests "$@"
