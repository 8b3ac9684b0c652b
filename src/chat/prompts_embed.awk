# Turns share/prompts/*.txt into a C file: a table of names and texts. Run with
# LC_ALL=C, so that a character is a byte.
BEGIN {
	print "/* Made by src/chat/prompts_embed.awk from share/prompts/. */"
	print "#include \"chat/prompts.h\"\n"
	print "const struct shipped_prompt shipped_prompts[] = {"
}

FNR == 1 {
	if (n++ > 0)
		print "\t},"
	name = FILENAME
	sub(/.*\//, "", name)
	sub(/\.txt$/, "", name)
	printf "\t{\"%s\",\n", name
}

{
	# gsub's replacements escape differently in each awk, hence by hand.
	line = ""
	rest = $0
	while (match(rest, /[\\"?]/)) {
		line = line substr(rest, 1, RSTART - 1) "\\" substr(rest, RSTART, 1)
		rest = substr(rest, RSTART + 1)
	}
	printf "\t\t\"%s\\n\"\n", line rest
}

END {
	print "\t},"
	print "};"
	print "const size_t shipped_prompts_n = " n ";"
}
