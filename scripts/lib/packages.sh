# shellcheck shell=bash
# Installs the Debian packages that are missing, and nothing else happens: no
# service starts now or at the next boot, no database cluster is made. Needs
# common.sh. Must not know what the packages are used for.
# shellcheck disable=SC2034 # the lists are for those who source this

POLICY=/usr/sbin/policy-rc.d
POLICY_KEPT=/usr/sbin/policy-rc.d.natter-kept
POLICY_MARK='# natter: no service starts while scripts/demo installs packages'
NO_CLUSTER=/etc/postgresql-common/createcluster.d/natter-no-cluster.conf

PACKAGES_RUN=(ca-certificates curl nginx poppler-utils redis-server spawn-fcgi tzdata)
PACKAGES_BUILD=(autoconf automake gcc libc6-dev make pkg-config
	libcrypt-dev libcurl4-openssl-dev libfcgi-dev libhiredis-dev
	libjson-c-dev libjwt-dev libpq-dev libsodium-dev libssl-dev
	libunistring-dev libuv1-dev libxml2-dev zlib1g-dev)
PACKAGES_CHECK=(chromium clang-format clang-tidy cppcheck faketime
	libcriterion-dev libfaketime mandoc nodejs npm pgbouncer php-cli
	php-curl php-fpm shellcheck xz-utils)

# The folder of the newest PostgreSQL that will do (15 or later).
postgres_bin() {
	local dir version best=0
	for dir in /usr/lib/postgresql/*/bin; do
		[ -x "$dir/postgres" ] || continue
		version=${dir#/usr/lib/postgresql/}
		version=${version%/bin}
		[ "$version" -lt 15 ] || [ "$version" -le "$best" ] || best=$version
	done
	[ "$best" -gt 0 ] && printf '/usr/lib/postgresql/%s/bin\n' "$best"
}

package_is_installed() {
	local status
	status=$(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) || return 1
	case $status in *' ok installed') ;; *) return 1 ;; esac
}

# Prints those of the named packages that are missing.
packages_missing() {
	local name
	for name; do
		package_is_installed "$name" && continue
		# Any flavour of curl's headers will do, and they exclude each other.
		if [ "$name" = libcurl4-openssl-dev ] &&
		    { package_is_installed libcurl4-gnutls-dev ||
		      package_is_installed libcurl4-nss-dev; }; then
			continue
		fi
		# Others' packages of node bring npm along, and exclude Debian's.
		[ "$name" != npm ] || ! command -v npm >/dev/null || continue
		printf '%s\n' "$name"
	done
	postgres_bin >/dev/null || printf 'postgresql\n'
}

# Debian starts services as it installs them unless policy-rc.d says no.
forbid_services() {
	restore_services # what a killed run may have left
	if [ -e "$POLICY" ]; then
		mv "$POLICY" "$POLICY_KEPT"
	fi
	printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" >"$POLICY"
	chmod 755 "$POLICY"
	mkdir -p "${NO_CLUSTER%/*}"
	printf 'create_main_cluster = false\n' >"$NO_CLUSTER"
}

restore_services() {
	rm -f "$NO_CLUSTER"
	rmdir --ignore-fail-on-non-empty "${NO_CLUSTER%/*}" \
	    "${NO_CLUSTER%/*/*}" 2>/dev/null || :
	if grep -qsxF "$POLICY_MARK" "$POLICY"; then
		rm -f "$POLICY"
	fi
	if [ -e "$POLICY_KEPT" ]; then
		mv "$POLICY_KEPT" "$POLICY"
	fi
}

# What was installed for a demo must not start at the next boot either.
disable_services() {
	local name
	for name; do
		case $name in nginx | redis-server | postgresql) ;; *) continue ;; esac
		if command -v systemctl >/dev/null; then
			systemctl --quiet disable "$name.service"
		else
			update-rc.d "$name" disable
			deb-systemd-helper disable "$name.service"
		fi >/dev/null 2>&1 || :
	done
}

apt() {
	DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
	    apt-get -q -y -o DPkg::Lock::Timeout=120 "$@" </dev/null
}

# Installs; says on one line what failed. `log` takes what apt-get says.
apt_install() {
	local log=$1
	shift
	# Without an index nothing can be found; an old one may still do.
	apt update >"$log" 2>&1 || :
	if ! apt install --no-install-recommends "$@" >>"$log" 2>&1; then
		die "cannot install ${*}: $(grep '^E: ' "$log" | head -n 1 ||
		    true) (all of it: $log)"
	fi
	rm -f "$log"
}

# Makes sure of the named packages and of PostgreSQL.
packages_ensure() {
	local -a missing
	local log
	mapfile -t missing < <(packages_missing "$@")
	[ ${#missing[@]} -gt 0 ] || return 0
	if [ "$(id -u)" -ne 0 ]; then
		die "packages are missing: run this through sudo, or first:" \
		    "apt-get install ${missing[*]}"
	fi
	command -v apt-get >/dev/null ||
		die "packages are missing, and apt-get too: ${missing[*]}"
	say "installing ${missing[*]}"
	log=$(mktemp -t natter-apt.XXXXXX)
	# A subshell, so that whatever ends it puts the policy back.
	(
		exec 8<"${POLICY%/*}" # one at a time
		flock 8
		trap restore_services EXIT
		trap 'exit 130' INT
		trap 'exit 143' TERM HUP
		forbid_services
		apt_install "$log" "${missing[@]}"
		disable_services "${missing[@]}"
	) || exit
}
