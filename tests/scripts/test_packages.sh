#!/bin/bash
# Installing what is missing, with stand-ins for dpkg-query and apt-get, and
# with policy-rc.d in a folder of the test's own.
# shellcheck source=tests/scripts/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/lib/packages.sh
. "$SRC/scripts/lib/packages.sh"

# stand_in NAME SCRIPT
stand_in() {
	mkdir -p "$T/bin"
	printf '#!/bin/bash\n%s\n' "$2" >"$T/bin/$1"
	chmod 755 "$T/bin/$1"
	PATH=$T/bin:${PATH#"$T/bin:"}
}

# Only the named packages are missing.
missing() {
	stand_in dpkg-query "case \$4 in $1) exit 1 ;; esac
		echo 'install ok installed'"
}

# apt-get as it is, but for what it would do: $T/asked, and $T/policy as a
# package's script would see it.
quiet_apt() {
	mkdir -p "$T/sbin"
	export TMPDIR=$T
	POLICY=$T/sbin/policy-rc.d POLICY_KEPT=$POLICY.kept
	NO_CLUSTER=$T/etc/pg/createcluster.d/no.conf
	stand_in id 'echo 0'
	stand_in systemctl "echo \"\$*\" >>$T/systemctl"
	stand_in apt-get "echo \"\$*\" >>$T/asked
		case \" \$* \" in *' install '*) ;; *) exit 0 ;; esac
		$POLICY nginx start; echo \$? >$T/policy
		cat $NO_CLUSTER >$T/cluster
		${1:-exit 0}"
}

ensure() {
	(packages_ensure "$@") >"$T/out" 2>"$T/err"
}

test_nothing_is_asked_when_nothing_is_missing() {
	missing none
	quiet_apt
	ensure nginx curl
	[ ! -e "$T/asked" ] || fail "$(cat "$T/asked")"
}

test_only_what_is_missing_is_installed() {
	missing nginx
	quiet_apt
	ensure nginx curl
	expect_in "$T/asked" update
	grep -qE 'install --no-install-recommends nginx$' "$T/asked" ||
		fail "$(cat "$T/asked")"
}

test_no_service_starts_and_no_cluster_is_made() {
	missing 'nginx | redis-server'
	quiet_apt
	ensure nginx curl redis-server
	expect_equal "policy-rc.d's answer" 101 "$(cat "$T/policy")"
	expect_in "$T/cluster" "create_main_cluster = false"
	expect_in "$T/systemctl" "disable nginx.service"
	expect_in "$T/systemctl" "disable redis-server.service"
	[ ! -e "$POLICY" ] || fail "policy-rc.d is left"
	[ ! -e "$T/etc/pg/createcluster.d" ] || fail "its folder is left"
}

test_somebodys_own_policy_is_put_back() {
	missing nginx
	quiet_apt 'echo "E: no such thing" && exit 100'
	echo mine >"$POLICY"
	ensure nginx && fail "it went well"
	expect_equal "policy-rc.d" mine "$(cat "$POLICY")"
}

test_what_a_killed_run_left_is_put_back() {
	missing nginx
	quiet_apt
	echo mine >"$POLICY"
	(forbid_services)
	ensure nginx
	expect_equal "policy-rc.d" mine "$(cat "$POLICY")"
}

test_a_package_that_cannot_be_had_is_one_line() {
	missing nginx
	quiet_apt 'echo "E: Unable to locate package nginx" && exit 100'
	ensure nginx && fail "it went well"
	expect_one_line "$T/err" "Unable to locate package nginx"
}

test_without_root_it_says_what_to_install() {
	missing 'nginx | curl'
	quiet_apt
	stand_in id 'echo 1000'
	ensure nginx curl make && fail "it went well"
	expect_one_line "$T/err" "apt-get install nginx curl"
	[ ! -e "$T/asked" ] || fail "it tried"
}

test_the_demo_says_it_before_anything_starts() {
	missing 'spawn-fcgi'
	stand_in apt-get 'echo "E: gone" && exit 100'
	stand_in id 'case $* in -u) echo 1000 ;; *) exec /usr/bin/id "$@" ;; esac'
	"$DEMO" --dir "$T/d" --builddir "$BUILD" \
	    --port "$(free_port "$FIRST_PORT")" >"$T/out" 2>"$T/err" &&
		fail "it started"
	expect_one_line "$T/err" "spawn-fcgi"
	[ ! -e "$T/d/stack/run" ] || fail "it made something"
}

run_tests "$@"
