#!/usr/bin/env bash
# How well questions find their passages: the texts and the 100 questions of
# tests/bench/retrieval, stored through the API and asked with each part of the
# ranking. Needs the folder where natterd is built; makes a demo of its own, or
# uses the one whose environment it is given (BASE_URL, DATABASE_URL).
set -euo pipefail
# shellcheck source=tests/bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

TEXTS=$SRC/tests/bench/retrieval

if [ -z "${BASE_URL:-}" ]; then
	start_demo
else
	T=$(mktemp -d -t natter-bench.XXXXXX)
	trap 'rm -rf "$T"' EXIT
fi
token=$(register "reader-$$") || die "nobody could be registered"
for text in "$TEXTS"/{constitution,declaration,jargon}.md; do
	curl -sf -o "$T/stored" -X PUT --data-binary "@$text" \
	    -H 'Content-Type: text/markdown' -H "Authorization: Bearer $token" \
	    "$BASE_URL/api/v1/documents?filename=${text##*/}" ||
		die "$text was not taken"
done
user=$(sql "SELECT id FROM auth.users WHERE username = 'reader-$$'")
psql -X -q -d "$SUPERUSER_DATABASE_URL" <<SQL
BEGIN;
SET LOCAL app.user_id = '$user';
CREATE TEMPORARY TABLE asked (n serial, question text, known text);
\copy asked (question, known) FROM '$TEXTS/questions.tsv'
${SHOW_MISSED:+\\set show_missed 1}
\i $SRC/tests/bench/retrieval.sql
ROLLBACK;
SQL
