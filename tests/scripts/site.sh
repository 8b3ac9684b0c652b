# shellcheck shell=bash
# An nginx site of somebody else's with nginx/natter.conf in it, for tests:
# site, start_nginx, get. Needs lib.sh; what is in STARTED ends with the test.

STARTED=()

end_started() {
	local pid
	for pid in "${STARTED[@]}"; do
		kill "$pid"
		wait "$pid"
	done 2>/dev/null
}

clean_up() {
	end_started
}

# site [SED-EXPRESSION]: a site of somebody else's, with natter in it. The
# expression edits natter's files first.
site() {
	local file
	PORT=$(free_port "$FIRST_PORT")
	URL=http://127.0.0.1:$PORT
	for file in natter.conf natter-upstream.conf; do
		sed -e "s,/run/natter/,$T/," -e "${1:-}" "$SRC/nginx/$file" \
		    >"$T/$file"
	done
	cat >"$T/nginx.conf" <<-END
		daemon off;
		pid $T/nginx.pid;
		error_log stderr warn;
		events {}
		http {
		  access_log off;
		  client_body_temp_path $T/body;
		  fastcgi_temp_path $T/fastcgi;
		  proxy_temp_path $T/proxy;
		  scgi_temp_path $T/scgi;
		  uwsgi_temp_path $T/uwsgi;
		  fastcgi_intercept_errors on;
		  include natter-upstream.conf;
		  server {
		    listen 127.0.0.1:$PORT;
		    root /nonexistent;
		    add_header X-Site yes;
		    include natter.conf;
		    location / { return 200 "the site"; }
		    location ~ \.php$ { return 200 "the site's php"; }
		  }
		}
	END
}

start_nginx() {
	nginx -e stderr -c "$T/nginx.conf" 2>"$T/nginx.log" &
	STARTED+=($!)
	wait_for 10 port_in_use "$PORT"
}

# get PATH [CURL-OPTIONS...]: $T/answer and $T/head.
get() {
	local status=0
	curl -sS -m 20 -D "$T/head" -o "$T/answer" "$URL$1" "${@:2}" ||
	    status=$?
	tr -d '\r' <"$T/head" >"$T/head.lines"
	return "$status"
}
