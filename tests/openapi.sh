#!/bin/sh
# docs/openapi.yaml against the tables: every row of routes.def is an operation
# there and every operation a row; every code of errors.def is one of Problem's
# and every one of those a code; every code that an operation's text names
# exists. Run by make check; needs grep and awk alone.
srcdir=${srcdir:-.}
yaml=$srcdir/docs/openapi.yaml
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
wrong=0

# differ LEFT RIGHT WHERE-LEFT WHERE-RIGHT: two lists that should be the same.
differ() {
	if [ ! -s "$1" ] || [ ! -s "$2" ]; then
		echo "$3 or $4: nothing was found there"
		wrong=1
	fi
	comm -23 "$1" "$2" | sed "s|\$|: in $3, not in $4|" >"$scratch/diff"
	comm -13 "$1" "$2" | sed "s|\$|: in $4, not in $3|" >>"$scratch/diff"
	if [ -s "$scratch/diff" ]; then
		cat "$scratch/diff"
		wrong=1
	fi
}

export LC_ALL=C

# "get /path", with the names inside of braces left out.
sed -n 's/^ROUTE(HTTP_\([A-Z]*\), *"\([^"]*\)",.*/\1 \2/p' \
    "$srcdir/src/api/routes.def" |
    awk '{ print tolower($1), $2 }' | sed 's/{[^}]*}/{}/g' |
    sort >"$scratch/routes"
awk '/^[a-z]/ { inside = $1 == "paths:" }
	!inside { next }
	/^  \// { path = $1; sub(/:$/, "", path) }
	/^    (get|post|put|patch|delete):/ {
		method = $1
		sub(/:$/, "", method)
		print method, path
	}' "$yaml" | sed 's/{[^}]*}/{}/g' | sort >"$scratch/operations"
differ "$scratch/routes" "$scratch/operations" routes.def openapi.yaml

sed -n 's/^ERR([A-Z_]*, *[0-9]*, *"\([a-z_]*\)",.*/\1/p' \
    "$srcdir/src/base/errors.def" | sort >"$scratch/errors"
awk '/^        code:/ { inside = 1 }
	inside && /^        detail:/ { exit }
	inside && /^            - / { print $2 }' "$yaml" |
    sort >"$scratch/codes"
differ "$scratch/errors" "$scratch/codes" errors.def openapi.yaml

# Each code is also spoken of: where it comes from, or that it is reserved.
while read -r code; do
	grep -q "\`$code\`" "$yaml" || {
		echo "$code: no text of openapi.yaml explains it"
		wrong=1
	}
done <"$scratch/errors"

# A status belongs to each code; an example must not say another.
sed -n 's/^ERR([A-Z_]*, *\([0-9]*\), *"\([a-z_]*\)",.*/\2 \1/p' \
    "$srcdir/src/base/errors.def" >"$scratch/statuses"
grep -o '"status": *[0-9]*, *"code": *"[a-z_]*"' "$yaml" |
    tr -dc '0-9a-z_\n:,' |
    sed 's/status:\([0-9]*\),code:\([a-z_]*\)/\2 \1/' | sort -u |
    while read -r pair; do
	    grep -qx "$pair" "$scratch/statuses" ||
		    echo "an example says $pair, errors.def does not"
    done >"$scratch/examples"
if [ -s "$scratch/examples" ]; then
	cat "$scratch/examples"
	wrong=1
fi
# "get /path name" for each parameter of a query; those of health checks may be
# anything.
sed -n 's/^PARAMETERS(HTTP_\([A-Z]*\), *"\([^"]*\)", *"\([^"*]*\)")/\1 \2 \3/p' \
    "$srcdir/src/api/parameters.def" | sed 's/{[^}]*}/{}/g' |
    awk '{ for (i = 3; i <= NF; i++) print tolower($1), $2, $i }' |
    sort >"$scratch/parameters"
awk '/^[a-z]/ { inside = $1 == "paths:" }
	!inside { next }
	/^  \// { path = $1; sub(/:$/, "", path) }
	/^    (get|post|put|patch|delete):/ {
		method = $1
		sub(/:$/, "", method)
	}
	/^        - name: / { name = $3 }
	/^          in: query/ { print method, path, name }
	/parameters\/Cursor"/ { print method, path, "cursor" }' "$yaml" |
    sed 's/{[^}]*}/{}/g' | sort >"$scratch/queries"
differ "$scratch/parameters" "$scratch/queries" parameters.def openapi.yaml
exit $wrong
