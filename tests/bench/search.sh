#!/bin/sh
# What a search over 100,000 messages of 60 words of one user costs: prints
# milliseconds for a rare, a common and an everyday word, for a phrase, and for
# titles. Run by hand beside a demo (make bench-search); needs psql, DATABASE_URL
# and SUPERUSER_DATABASE_URL. Its user goes away again. Nothing depends on its
# numbers.
set -eu
: "${DATABASE_URL:?run scripts/demo --env}" "${SUPERUSER_DATABASE_URL:?}"
MESSAGES=${MESSAGES:-100000}
me=00000000-0000-7000-8000-00000000be9c
super() { psql "$SUPERUSER_DATABASE_URL" -XqAt -v ON_ERROR_STOP=1 "$@"; }
forget() { super -c "DELETE FROM auth.users WHERE id = '$me'"; }
trap forget EXIT
forget
echo "storing $MESSAGES messages..."
super -v me="$me" -v n="$MESSAGES" <<'SQL'
INSERT INTO auth.users (id, username) VALUES (:'me', 'bench-search');
INSERT INTO chat.conversations (user_id, id, short_id, title)
    SELECT :'me', overlay(natter.uuid_floor(date_trunc('day', now()))::text PLACING lpad(n::text, 12, '0') FROM 25)::uuid,
    'b' || n, 'Letter ' || n || ' about ' || md5(n::text)
    FROM generate_series(1, :n / 20) n;
-- Words as in a language: the k-th is k times rarer than the first.
INSERT INTO chat.messages (user_id, id, conversation_id, position, role, content, status)
    SELECT :'me', overlay(natter.uuid_floor(date_trunc('day', now()))::text PLACING lpad(n::text, 12, '0') FROM 25)::uuid,
    overlay(natter.uuid_floor(date_trunc('day', now()))::text PLACING lpad((1 + n / 20)::text, 12, '0') FROM 25)::uuid,
    n, CASE n % 2 WHEN 0 THEN 'user' ELSE 'assistant' END,
    (SELECT string_agg('word' || floor(exp(random() * ln(20000)))::int, ' ')
     FROM generate_series(1, 60) WHERE n > 0), 'complete'
    FROM generate_series(1, :n - 20) n;
VACUUM ANALYZE chat.messages, chat.conversations;
SQL
time_of() {
	psql "$DATABASE_URL" -XqAt -v ON_ERROR_STOP=1 <<-SQL |
		SET app.user_id = '$me';
		$2
		$2
		\\timing on
		$2
	SQL
	sed -n "s/^Time: \([0-9.]*\) ms.*/$1: \1 ms/p"
}
find="SELECT count(*) FROM chat.search_messages"
any="NULL, NULL, NULL, NULL, NULL, 'ffffffff-ffff-ffff-ffff-ffffffffffff', NULL, NULL, 21)"
for word in word19999 word500 word50 word2 'word2 word500' '"word1 word2"'; do
	time_of "$word" "$find('$word', $any;"
done
time_of "title, misspelt" "SELECT count(*) FROM chat.find_conversations(NULL, NULL, NULL, ARRAY['lettre', '4999'], NULL, NULL, NULL, NULL, false, NULL, NULL, 21);"
