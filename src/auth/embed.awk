# Turns common_words.txt into a C file: one string of its lines. Run with
# LC_ALL=C, so that a character is a byte. A comment begins with "# " or is "#".
BEGIN {
	print "/* Made by src/auth/embed.awk from common_words.txt. */"
	print "#include \"auth/common_words.h\"\n"
	print "const char common_words[] ="
}

/^#( |$)/ { next }

{
	# gsub's replacements escape differently in each awk, hence by hand.
	line = ""
	rest = $0
	while (match(rest, /[\\"?]/)) {
		line = line substr(rest, 1, RSTART - 1) "\\" substr(rest, RSTART, 1)
		rest = substr(rest, RSTART + 1)
	}
	printf "\t\"%s\\n\"\n", line rest
}

END {
	print "\t;"
}
