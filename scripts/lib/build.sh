# shellcheck shell=bash
# Builds the checkout in a folder of its own (VPATH). Needs common.sh and SRC,
# the checkout. Under sudo the checkout's owner builds, so that root leaves no
# files there that its owner cannot remove.

BUILD_LOG=

# Runs a command as the checkout's owner if that is who called sudo.
as_builder() {
	if [ "$(id -u)" -eq 0 ] && [ -n "${SUDO_USER:-}" ] &&
	    [ "$(stat -c %U "$SRC")" = "$SUDO_USER" ]; then
		setpriv --reuid="$SUDO_USER" --regid="$(id -g "$SUDO_USER")" \
		    --init-groups --reset-env -- env "PATH=$PATH" "$@"
	else
		"$@"
	fi
}

build_step() {
	local what=$1
	shift
	if ! as_builder "$@" >>"$BUILD_LOG" 2>&1 </dev/null; then
		tail -n 40 "$BUILD_LOG" >&2
		die "$what failed (all of it: $BUILD_LOG)"
	fi
}

# build DIR TARGETS... [-- CONFIGURE-OPTIONS...]: what is up to date stays.
build() {
	local dir=$1 target
	local -a targets=() options=()
	shift
	while [ $# -gt 0 ]; do
		if [ "$1" = -- ]; then
			shift
			options=("$@")
			break
		fi
		targets+=("$1")
		shift
	done
	case $SRC$dir in *[!A-Za-z0-9/._+,@%=~-]*)
		die "cannot build in a folder with such a name: $SRC" ;;
	esac
	as_builder mkdir -p "$dir" || die "cannot make $dir"
	BUILD_LOG=$dir/build.log
	as_builder cp /dev/null "$BUILD_LOG" ||
		die "cannot write $BUILD_LOG: remove ${dir} first"
	unset MAKEFLAGS MAKELEVEL # should make have called us
	# All builds of one checkout share configure; those in one folder, all.
	exec 8<"$SRC"
	flock 8
	make_configure
	exec 8<"$dir"
	flock 8
	build_locked "$dir"
	exec 8<&-
}

# Also where make would, since that would be in two builds at once.
make_configure() {
	if [ -x "$SRC/configure" ] && [ -e "$SRC/Makefile.in" ] &&
	    [ -z "$(find "$SRC/configure.ac" "$SRC/Makefile.am" "$SRC"/src \
		"$SRC"/docs "$SRC"/tests \( -name '*.am' -o -name '*.ac' \) \
		-newer "$SRC/Makefile.in" -print -quit)" ]; then
		return 0
	fi
	as_builder mkdir -p "$SRC/build-aux"
	build_step autoreconf autoreconf -i "$SRC"
	as_builder touch "$SRC/Makefile.in"
}

build_locked() {
	local dir=$1 target
	# A configured checkout cannot be built elsewhere at the same time.
	if [ -e "$SRC/config.status" ] && [ "$dir" != "$SRC" ]; then
		die "the checkout itself is configured: make distclean there first"
	fi
	if [ ! -x "$dir/config.status" ]; then
		build_step configure env -C "$dir" "$SRC/configure" \
		    "${options[@]}"
	fi
	# One after the other: "all" is a make of its own, and two at once would
	# write the same library.
	for target in "${targets[@]}"; do
		build_step make make -C "$dir" "-j$(nproc)" "$target"
	done
}
