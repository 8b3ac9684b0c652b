# shellcheck shell=bash
# What scripts/demo, scripts/check and tests/scripts share: messages, quoting,
# processes by pid, ports. Sourced, never run; starts and changes nothing by
# itself. Programs set PROGRAM, which begins each of their error lines.

say() {
	printf '%s\n' "$@"
}

# One line on stderr and out. A line break in a message becomes a space.
die() {
	local message=$*
	printf '%s: %s\n' "${PROGRAM:-natter}" "${message//$'\n'/ }" >&2
	exit 1
}

# Quotes for any Bourne shell.
quote() {
	printf "'%s'" "${1//\'/\'\\\'\'}"
}

# Prints NAME='value'.
assign() {
	printf '%s=%s\n' "$1" "$(quote "$2")"
}

# The first line of a file into the named variable; fails if there is none.
read_line() {
	local read_line_value
	{ IFS= read -r read_line_value <"$1"; } 2>/dev/null || return 1
	printf -v "$2" '%s' "$read_line_value"
}

random_password() {
	od -An -N"${1:-24}" -tx1 /dev/urandom | tr -d ' \n'
}

# Reads /proc/PID/stat: PROC_STATE and PROC_START (in ticks since boot, which
# together with the pid names a process until the next boot).
proc_read() {
	local line
	local -a field
	read_line "/proc/$1/stat" line || return 1
	# The second field, the name, may hold spaces and parentheses.
	read -ra field <<<"${line##*) }"
	PROC_STATE=${field[0]} PROC_START=${field[19]}
}

# Is this very process alive? A zombie is not: where nobody reaps orphans it
# stays in the table, and kill -0 would call it alive.
proc_is_alive() {
	proc_read "$1" || return 1
	case $PROC_STATE in Z | X) return 1 ;; esac
	[ "${2:-$PROC_START}" = "$PROC_START" ]
}

# Waits at most $3 seconds for the process to be gone.
proc_wait_gone() {
	local pid=$1 start=$2 end=$((SECONDS + $3))
	while proc_is_alive "$pid" "$start"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.05
	done
}

# Prints the pids of a program's processes that work in a folder, or whose
# program lies in it.
program_pids() {
	local program=$1 dir=$2 pid name exe
	for pid in $(find /proc/[0-9]*/{cwd,exe} -maxdepth 0 \
	    \( -lname "$dir" -o -lname "$dir/*" \) 2>/dev/null |
	    cut -d/ -f3 | sort -u); do
		proc_is_alive "$pid" || continue
		read_line "/proc/$pid/comm" name || continue
		exe=$(readlink "/proc/$pid/exe") || continue
		exe=${exe% (deleted)}
		case /$name/${exe##*/}/ in
		*"/$program/"*) printf '%s\n' "$pid" ;;
		esac
	done
}

# Does somebody listen where 127.0.0.1:PORT would be bound?
port_in_use() {
	local want address state any6=00000000000000000000000000000000
	printf -v want '%04X' "$1"
	while read -r _ address _ state _; do
		case $state$address in
		"0A0100007F:$want" | "0A00000000:$want") return 0 ;;
		"0A$any6:$want" | "0A${any6::16}FFFF00000100007F:$want")
			return 0 ;;
		esac
	done < <(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null)
	return 1
}

# The first free port from $1 on.
free_port() {
	local port=$1
	while port_in_use "$port"; do
		port=$((port + 1))
	done
	printf '%s\n' "$port"
}
