#!/bin/sh
# What the documents say, where a machine can tell: the tables of settings are
# those of config.def, natterctl(8) names every command and option, the man
# pages are clean, and no link leads nowhere. Run by make check.
srcdir=${srcdir:-.}
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
wrong=0
amiss() {
	echo "$*"
	wrong=1
}

# fresh FILE OPTION: is the table in FILE what natterctl config OPTION prints?
fresh() {
	./natterctl config "$2" >"$scratch/settings" || exit 1
	if ! awk -v with="$scratch/settings" -f "$srcdir/docs/settings.awk" \
	    "$srcdir/$1" >"$scratch/fresh"; then
		amiss "$1: the marks around the table of settings are gone"
	elif ! cmp -s "$scratch/fresh" "$srcdir/$1"; then
		amiss "$1: the table of settings is stale: make docs-settings"
	fi
}
fresh README.md --markdown
fresh docs/natter.env.5 --mdoc

# natterctl(8), an item a line, against commands.def.
awk '/^\.It/ { printf "\n" } { printf "%s ", $0 }' \
    "$srcdir/docs/natterctl.8" | tr -d '[]' >"$scratch/items"
sed -n 's/^COMMAND("\([^"]*\)", [a-z_]*, "\(.*\)",$/\1|\2/p' \
    "$srcdir/src/ctl/commands.def" >"$scratch/commands"
[ -s "$scratch/commands" ] || amiss "commands.def: no command was found"
while IFS='|' read -r command rest; do
	grep "Ic $command " "$scratch/items" >"$scratch/item" ||
		amiss "docs/natterctl.8 does not name natterctl $command"
	for option in $(echo "$rest" | tr -c 'a-z-' '\n' | sed -n 's/^--/-/p'); do
		grep -q "Fl $option " "$scratch/item" ||
			amiss "docs/natterctl.8: $command lacks -$option"
	done
done <"$scratch/commands"

if command -v mandoc >/dev/null; then
	for page in "$srcdir"/docs/*.[1-9]; do
		mandoc -T lint -W warning "$page" || wrong=1
	done
fi

# Links to files, relative to the document.
for document in "$srcdir"/*.md "$srcdir"/docs/*.md; do
	grep -o '](\([^)]*\))' "$document" | sed 's/^](//; s/[#)].*//' \
	    >"$scratch/links"
	while read -r link; do
		case $link in
		'' | http://* | https://*) continue ;;
		esac
		[ -e "$(dirname "$document")/$link" ] ||
			amiss "$document: no such file: $link"
	done <"$scratch/links"
done

# Files that the README names without a link; the release must hold them too.
grep -oE '[^/a-z](nginx|scripts|systemd)/[a-z.-]+[a-z]' "$srcdir/README.md" |
    cut -c 2- | sort -u >"$scratch/named"
while read -r file; do
	[ -e "$srcdir/$file" ] || amiss "README.md: no such file: $file"
done <"$scratch/named"
exit $wrong
