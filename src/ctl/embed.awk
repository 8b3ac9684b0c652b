# Turns migrations/*.sql into a C file: one array of their bytes each, a table
# of names and arrays, and the newest version. Run with LC_ALL=C, so that a
# character is a byte.
BEGIN {
	print "/* Made by src/ctl/embed.awk from migrations/; not to be edited. */"
	print "#include \"ctl/migration_files.h\""
	print "#include \"store/schema.h\""
}

FNR == 1 {
	if (n > 0)
		print "\t;"
	name = FILENAME
	sub(/.*\//, "", name)
	names[n++] = name
	printf "\n/* %s */\nstatic const char file_%d[] =\n", name, n
	if (name ~ /^[0-9][0-9][0-9]_.*\.up\.sql$/ && substr(name, 1, 3) + 0 > newest)
		newest = substr(name, 1, 3) + 0
}

{
	# The standard's trigraphs begin with two question marks.
	gsub(/\\/, "\\\\")
	gsub(/"/, "\\\"")
	gsub(/\?/, "\\?")
	gsub(/\t/, "\\t")
	printf "\t\"%s\\n\"\n", $0
}

END {
	print "\t;\n"
	print "const struct embedded_file embedded_files[] = {"
	for (i = 0; i < n; i++)
		printf "\t{\"%s\", file_%d, sizeof(file_%d) - 1},\n", names[i], i + 1, i + 1
	print "};"
	print "const size_t embedded_count = " n ";"
	print "const int schema_newest = " newest ";"
}
