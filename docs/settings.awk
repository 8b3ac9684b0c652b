# Puts the file `with` between the two lines that mark the generated part of a
# document; fails when they are not both there. Used by make docs-settings and
# by tests/docs.sh, which says when a document is stale.
/settings: natterctl config --/ && !inside {
	print
	while ((getline line < with) > 0)
		print line
	inside = 1
	next
}
/end of settings/ && inside {
	inside = 0
	marks++
}
!inside { print }
END { exit marks != 1 || inside }
