#!/usr/bin/env bash
# How well questions find their passages: the texts and the 100 questions of
# tests/bench/retrieval, stored through the API and asked with each part of the
# ranking. Needs the folder where natterd is built; makes a demo of its own, or
# uses the one whose environment it is given (BASE_URL, DATABASE_URL).
#
# Vectors come from the server that CHAT_EMBEDDING_URL, _MODEL and _KEY name. By
# default that is the tests' stand-in, whose vectors are hashed bags of words:
# they know no meaning, and what they add says nothing of a real model.
set -euo pipefail
# shellcheck source=tests/bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

TEXTS=$SRC/tests/bench/retrieval
STANDIN_PID=

end_standin() {
	[ -z "$STANDIN_PID" ] || kill "$STANDIN_PID" 2>/dev/null || :
}

start_standin() {
	local port
	port=$(free_port 18790)
	"$BUILD/tests/support/model_standin" --listen "127.0.0.1:$port" \
	    --die-with-parent >/dev/null &
	STANDIN_PID=$!
	CHAT_EMBEDDING_URL=http://127.0.0.1:$port/v1
	CHAT_EMBEDDING_MODEL=hashed-words
	echo "The vectors are the stand-in's: hashed bags of words, no model of meaning."
}

# The vectors of all questions, as the server says them.
ask_vectors() {
	local key=()
	[ -z "${CHAT_EMBEDDING_KEY:-}" ] ||
		key=(-H "Authorization: Bearer $CHAT_EMBEDDING_KEY")
	psql -X -q -A -t -d "$SUPERUSER_DATABASE_URL" >"$T/ask" <<-SQL
		CREATE TEMPORARY TABLE asked (n serial, question text, known text);
		\copy asked (question, known) FROM '$TEXTS/questions.tsv'
		SELECT json_build_object('model', '$CHAT_EMBEDDING_MODEL',
		    'input', json_agg(question ORDER BY n)) FROM asked;
	SQL
	curl -sf -H 'Content-Type: application/json' "${key[@]}" -d "@$T/ask" \
	    -o "$T/vectors" "$CHAT_EMBEDDING_URL/embeddings" ||
		die "the questions got no vectors"
}

# Until natterd has made those of the passages.
wait_for_vectors() {
	for _ in $(seq 600); do
		[ "$(sql "SELECT count(*) FROM chat.document_chunks c
		    WHERE c.user_id = '$1' AND NOT EXISTS (
		    SELECT FROM chat.chunk_embeddings v WHERE v.user_id = c.user_id
		    AND v.chunk_id = c.id AND v.model = '$CHAT_EMBEDDING_MODEL')")" != 0 ] ||
			return 0
		sleep 0.5
	done
	die "the passages got no vectors"
}

if [ -z "${BASE_URL:-}" ]; then
	[ -n "${CHAT_EMBEDDING_MODEL:-}" ] || start_standin
	export CHAT_EMBEDDING_URL CHAT_EMBEDDING_MODEL
	start_demo
	trap 'end_standin; finish' EXIT
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
echo null >"$T/vectors"
if [ -n "${CHAT_EMBEDDING_MODEL:-}" ] && [ -n "${CHAT_EMBEDDING_URL:-}" ]; then
	ask_vectors
	wait_for_vectors "$user"
fi
psql -X -q -d "$SUPERUSER_DATABASE_URL" <<SQL
BEGIN;
SET LOCAL app.user_id = '$user';
CREATE TEMPORARY TABLE asked (n serial, question text, known text);
\copy asked (question, known) FROM '$TEXTS/questions.tsv'
\set answer \`cat '$T/vectors'\`
\set model '${CHAT_EMBEDDING_MODEL:-}'
\set least ${CHAT_EMBEDDING_LEAST:-20}
${SHOW_MISSED:+\\set show_missed 1}
\i $SRC/tests/bench/retrieval.sql
ROLLBACK;
SQL
