#!/bin/sh
# The floors of src/: a file includes only its own floor and lower ones. Prints
# every wrong arrow and fails; run by make check.
srcdir=${srcdir:-.}
floor() {
	case $1 in
	base) echo 0 ;;
	store | http | model) echo 1 ;;
	auth | limit | chat | knowledge | task | account) echo 2 ;;
	api) echo 3 ;;
	server | ctl) echo 4 ;;
	*) echo none ;;
	esac
}
wrong=0
for file in "$srcdir"/src/*/*.[ch] "$srcdir"/src/*/*.def; do
	[ -e "$file" ] || continue
	mine=$(floor "$(basename "$(dirname "$file")")")
	# shellcheck disable=SC2013 # one word a line
	for include in $(sed -n 's|^#include "\([a-z_]*/[a-z_.]*\)"$|\1|p' "$file"); do
		theirs=$(floor "${include%%/*}")
		if [ "$theirs" = none ] || [ "$theirs" -gt "$mine" ]; then
			echo "$file must not include $include"
			wrong=1
		fi
	done
done
# libfcgi, libuv and curl_multi are the server's alone.
if grep -ln '#include <\(fcgiapp\|fastcgi\|uv\)\.h>\|curl_multi_' \
	"$srcdir"/src/base/* "$srcdir"/src/store/* "$srcdir"/src/http/* \
	"$srcdir"/src/model/* "$srcdir"/src/auth/* "$srcdir"/src/chat/* \
	"$srcdir"/src/api/*; then
	echo "only src/server knows libfcgi, libuv and curl_multi"
	wrong=1
fi
exit $wrong
