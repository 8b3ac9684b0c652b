# Turns migrations/*.sql and share/prices.json into a C file: one array of their
# bytes each and a table of names and arrays. Run with LC_ALL=C, so that a character is a byte.
BEGIN {
	print "/* Made by src/ctl/embed.awk from migrations/ and share/; not to be edited. */"
	print "#include \"ctl/migration_files.h\""
}

FNR == 1 {
	if (n > 0)
		print "\t;"
	name = FILENAME
	sub(/.*\//, "", name)
	names[n++] = name
	printf "\n/* %s */\nstatic const char file_%d[] =\n", name, n
}

{
	# gsub's replacements escape differently in each awk, hence by hand. The
	# standard's trigraphs begin with two question marks.
	line = ""
	rest = $0
	while (match(rest, /[\\"?\t]/)) {
		c = substr(rest, RSTART, 1)
		line = line substr(rest, 1, RSTART - 1) "\\" (c == "\t" ? "t" : c)
		rest = substr(rest, RSTART + 1)
	}
	printf "\t\"%s\\n\"\n", line rest
}

END {
	print "\t;\n"
	print "const struct embedded_file embedded_files[] = {"
	for (i = 0; i < n; i++)
		printf "\t{\"%s\", file_%d, sizeof(file_%d) - 1},\n", names[i], i + 1, i + 1
	print "};"
	print "const size_t embedded_count = " n ";"
}
