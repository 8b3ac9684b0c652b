/*
 * The requests that test_audit walks, and the rows of the audit log that each
 * leaves. A new route that changes something, shows an administrator something
 * or carries data out needs a step here.
 */
#ifndef TESTS_INTEGRATION_AUDIT_STEPS_H
#define TESTS_INTEGRATION_AUDIT_STEPS_H

#define PASSWORD     "correct horse battery"
#define NEW_PASSWORD "the red fox sleeps late"

/* One request and what it leaves. */
struct step {
	const char *route; /* as routes.def has it */
	const char *path;  /* NULL: the route's own */
	const char *token; /* a slot */
	const char *json;
	int status;
	const char *keeps[4]; /* "slot=member of the answer" */
	const char *rows;     /* one a line, in the order of their texts */
};

#define API     "/api/v1"
#define MINE    " by user {user} of {user} on "
#define LOGIN   "{\"username\":\"{name}\",\"password\":\"" PASSWORD "\"}"
#define REFRESH "{\"refresh_token\":\"{refresh}\"}"
#define SIGN_IN(n)                                                 \
	{                                                          \
		"POST " API "/auth/login", NULL, NULL, LOGIN, 200, \
		    {"s" n "=session_id", "t" n "=access_token"},  \
		    "session.create" MINE "session {s" n "}"       \
	}

static const struct step steps[] = {
    {"POST " API "/auth/register", NULL, NULL, LOGIN, 201,
	{"user=user.id", "s0=session_id", "t=access_token",
	    "refresh=refresh_token"},
	"session.create" MINE "session {s0}\n"
	"user.create" MINE "user {user}"},
    {"POST " API "/auth/register", NULL, NULL, LOGIN, 409, {NULL}, NULL},
    {"POST " API "/auth/login", NULL, NULL,
	"{\"username\":\"{name}\",\"password\":\"wrong\"}", 401, {NULL}, NULL},
    SIGN_IN("1"),
    {"POST " API "/auth/refresh", NULL, NULL, REFRESH, 200,
	{"newer=refresh_token", "t=access_token"}, NULL},
    {"POST " API "/auth/reauth", NULL, "t", "{\"password\":\"" PASSWORD "\"}",
	204, {NULL}, "session.reauth" MINE "session {s0}"},
    {"POST " API "/auth/reauth", NULL, "t", "{\"password\":\"wrong\"}", 401,
	{NULL}, NULL},
    {"PATCH " API "/auth/sessions/{id}", API "/auth/sessions/{s1}", "t",
	"{\"device\":\"Phone\"}", 204, {NULL},
	"session.update" MINE "session {s1} {\"changed\": [\"device_name\"]}"},
    {"PATCH " API "/me", NULL, "t", "{\"time_zone\":\"Europe/Berlin\"}", 200,
	{NULL},
	"user.update" MINE "user {user} {\"changed\": [\"time_zone\"]}"},
    {"POST " API "/auth/keys", NULL, "t", "{\"name\":\"Report\"}", 201,
	{"key=id"}, "api_key.create" MINE "api_key {key}"},
    {"DELETE " API "/auth/keys/{id}", API "/auth/keys/{key}", "t", NULL, 204,
	{NULL}, "api_key.revoke" MINE "api_key {key}"},
    {"DELETE " API "/auth/keys/{id}", API "/auth/keys/{key}", "t", NULL, 404,
	{NULL}, NULL},
    {"POST " API "/conversations", NULL, "t", "{}", 201,
	{"talk=id", "short=short_id"}, NULL},
    {"POST " API "/conversations/{id}/messages",
	API "/conversations/{talk}/messages", "t", "{\"content\":\"Hello\"}",
	201, {NULL}, NULL},
    {"POST /openai/v1/chat/completions", NULL, "t",
	"{\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}", 200,
	{NULL}, NULL},
    {"PATCH " API "/conversations/{id}", API "/conversations/{talk}", "t",
	"{\"title\":\"Tea\",\"tags\":[\"a\"]}", 200, {NULL},
	"conversation.update" MINE
	"conversation {talk} {\"changed\": [\"tags\", \"title\"]}"},
    {"PATCH " API "/conversations/{id}", API "/conversations/{talk}", "t",
	"{\"title\":\"Tea\"}", 200, {NULL}, NULL},
    {"PATCH " API "/conversations/{id}", API "/conversations/{short}", "t",
	"{\"is_archived\":true}", 200, {NULL},
	"conversation.update" MINE "conversation {talk} "
	"{\"changed\": [\"archived_at\", \"is_archived\"]}"},
    {"PATCH " API "/conversations/{id}", API "/conversations/{talk}", "t",
	"{\"documents\":false}", 200, {NULL},
	"conversation.update" MINE
	"conversation {talk} {\"changed\": [\"documents\"]}"},
    {"POST " API "/me/facts", NULL, "t", "{\"content\":\"Likes tea.\"}", 201,
	{"fact=id"}, "fact.create" MINE "fact {fact}"},
    {"PATCH " API "/me/facts/{id}", API "/me/facts/{fact}", "t",
	"{\"content\":\"Likes cake.\"}", 200, {NULL},
	"fact.update" MINE "fact {fact} {\"changed\": [\"content\"]}"},
    {"DELETE " API "/me/facts/{id}", API "/me/facts/{fact}", "t", NULL, 204,
	{NULL}, "fact.delete" MINE "fact {fact}"},
    {"DELETE " API "/conversations/{id}", API "/conversations/{talk}", "t",
	NULL, 204, {NULL}, "conversation.delete" MINE "conversation {talk}"},
    {"DELETE " API "/auth/sessions/{id}", API "/auth/sessions/{s1}", "t", NULL,
	204, {NULL},
	"session.revoke" MINE "session {s1} {\"reason\": \"ended\"}"},
    SIGN_IN("2"),
    {"POST " API "/auth/logout", NULL, "t2", "{}", 204, {NULL},
	"session.revoke" MINE "session {s2} {\"reason\": \"logout\"}"},
    SIGN_IN("3"),
    {"POST " API "/auth/logout", NULL, "t", "{\"scope\":\"others\"}", 204,
	{NULL}, "session.revoke" MINE "session {s3} {\"reason\": \"logout\"}"},
    SIGN_IN("4"),
    {"POST " API "/auth/password", NULL, "t",
	"{\"current_password\":\"" PASSWORD
	"\",\"new_password\":\"" NEW_PASSWORD "\"}",
	204, {NULL},
	"session.reauth" MINE "session {s0}\n"
	"session.revoke" MINE "session {s4} {\"reason\": \"password_changed\"}"
	"\n"
	"user.password" MINE "user {user} {\"changed\": [\"password_hash\"]}"},
};

static const struct step last_steps[] = {
    {"DELETE " API "/auth/notices/{id}", API "/auth/notices/{notice}", "t",
	NULL, 204, {NULL}, "notice.dismiss" MINE "notice {notice}"},
    {"GET " API "/me/audit", NULL, "t", NULL, 200, {NULL}, NULL},
    {"GET " API "/admin/audit", NULL, "t", NULL, 403, {NULL}, NULL},
    {"POST " API "/auth/refresh", NULL, NULL, "{\"refresh_token\":\"{newer}\"}",
	200, {"newest=refresh_token", "t=access_token"}, NULL},
    /* Used twice: nobody knows by whom. */
    {"POST " API "/auth/refresh", NULL, NULL, REFRESH, 401, {NULL},
	"session.revoke by system - of {user} on session {s0} {\"reason\": "
	"\"refresh_reused\"}"},
    {"POST " API "/auth/login", NULL, NULL,
	"{\"username\":\"{name}\",\"password\":\"" NEW_PASSWORD "\"}", 200,
	{"s5=session_id", "t=access_token"},
	"session.create" MINE "session {s5}"},
    {"POST " API "/auth/logout", NULL, "t", "{\"scope\":\"all\"}", 204, {NULL},
	"session.revoke" MINE "session {s5} {\"reason\": \"logout\"}\n"
	"user.sign_out" MINE "user {user} {\"changed\": [\"session_epoch\"]}"},
    {"POST " API "/auth/login", NULL, NULL,
	"{\"username\":\"{name}\",\"password\":\"" NEW_PASSWORD "\"}", 200,
	{"s6=session_id", "t=access_token"},
	"session.create" MINE "session {s6}"},
    {"POST " API "/conversations", NULL, "t", "{}", 201, {"talk=id"}, NULL},
    {"DELETE " API "/me", NULL, "t", NULL, 204, {NULL},
	"session.revoke" MINE "session {s6} {\"reason\": \"deleted\"}\n"
	"user.delete" MINE "user {user}"},
};

/* One that nobody went on with since 2020. */
#define OLD_TALK                                                          \
	"{\"format\":\"natter-export\",\"conversations\":[{\"id\":\"o\"," \
	"\"last_message_at\":\"2020-01-01T00:00:00Z\",\"messages\":["     \
	"{\"id\":\"1\",\"role\":\"user\",\"content\":\"Hello\"}]}]}"

/* What a user keeps, and carries in and out. */
static const struct step record_steps[] = {
    {"POST " API "/conversations", NULL, "t", "{}", 201,
	{"talk=id", "short=short_id"}, NULL},
    {"POST " API "/conversations/{id}/messages",
	API "/conversations/{talk}/messages", "t", "{\"content\":\"Hello\"}",
	201, {NULL}, NULL},
    {"GET " API "/messages", NULL, "t", NULL, 200, {"m=data.0.id"}, NULL},
    {"PATCH " API "/messages/{id}", API "/messages/{m}", "t",
	"{\"metadata\":{\"a\":1}}", 200, {NULL},
	"message.update" MINE "message {m} {\"changed\": [\"metadata\"]}"},
    {"PATCH " API "/messages/{id}", API "/messages/{m}", "t",
	"{\"metadata\":{\"a\":1}}", 200, {NULL}, NULL},
    {"POST " API "/messages/{id}/cancel", API "/messages/{m}/cancel", "t", NULL,
	200, {NULL}, NULL},
    {"PUT " API "/messages/{id}/feedback", API "/messages/{m}/feedback", "t",
	"{\"rating\":\"up\"}", 200, {NULL}, NULL},
    {"PUT " API "/messages/{id}/feedback", API "/messages/{m}/feedback", "t",
	"{\"rating\":\"down\",\"comment\":\"No\"}", 200, {NULL},
	"feedback.update" MINE "feedback {m} "
	"{\"changed\": [\"comment\", \"rating\"]}"},
    {"DELETE " API "/messages/{id}/feedback", API "/messages/{m}/feedback", "t",
	NULL, 204, {NULL}, "feedback.delete" MINE "feedback {m}"},
    {"POST " API "/conversations/{id}/touch", API "/conversations/{talk}/touch",
	"t", NULL, 200, {NULL}, NULL},
    /* Nothing is overwritten. The first message is the newest reply. */
    {"POST " API "/messages/{id}/regenerate", API "/messages/{m}/regenerate",
	"t", NULL, 201, {"q=parent_id"}, NULL},
    {"POST " API "/messages/{id}/edit", API "/messages/{q}/edit", "t",
	"{\"content\":\"Good day\"}", 201, {NULL}, NULL},
    {"PATCH " API "/conversations/{id}", API "/conversations/{talk}", "t",
	"{\"leaf_id\":\"{q}\"}", 200, {NULL}, NULL},
    {"POST " API "/conversations/{id}/fork", API "/conversations/{talk}/fork",
	"t", NULL, 201, {NULL}, NULL},
    {"GET " API "/conversations/{id}/export",
	API "/conversations/{talk}/export", "t", NULL, 200, {NULL},
	"conversation.export" MINE "conversation {talk}"},
    {"GET " API "/conversations/{id}/export",
	API "/conversations/{short}/export?format=markdown", "t", NULL, 200,
	{NULL}, "conversation.export" MINE "conversation {talk}"},
    {"GET " API "/me/export", NULL, "t", NULL, 200, {NULL},
	"user.export" MINE "user {user}"},
    {"POST " API "/conversations/import", NULL, "t", OLD_TALK, 200, {NULL},
	NULL},
    {"GET " API "/conversations", NULL, "t", NULL, 200, {"old=data.3.id"},
	NULL},
    {"DELETE " API "/conversations", API "/conversations?older_than_days=30",
	"t", NULL, 200, {NULL},
	"conversation.delete" MINE "conversation {old}"},
    {"POST " API "/documents", NULL, "t",
	"{\"title\":\"Tea\",\"content\":\"Green tea.\"}", 201, {"doc=id"},
	NULL},
    {"PATCH " API "/documents/{id}", API "/documents/{doc}", "t",
	"{\"title\":\"Teas\"}", 200, {NULL},
	"document.update" MINE "document {doc} {\"changed\": [\"title\"]}"},
    {"PATCH " API "/documents/{id}", API "/documents/{doc}", "t",
	"{\"content\":\"Black tea.\"}", 200, {NULL},
	"document.update" MINE "document {doc} "
	"{\"changed\": [\"content\", \"content_sha256\"]}"},
    {"PUT " API "/documents", API "/documents?filename=teas.json", "t",
	"{\"green\":\"sencha\"}", 201, {"file=id"}, NULL},
    {"DELETE " API "/documents/{id}", API "/documents/{file}", "t", NULL, 204,
	{NULL}, "document.delete" MINE "document {file}"},
    {"DELETE " API "/documents/{id}", API "/documents/{doc}", "t", NULL, 204,
	{NULL}, "document.delete" MINE "document {doc}"},
    {"POST " API "/tasks", NULL, "t", "{\"title\":\"Buy tea\"}", 201,
	{"task=id"}, NULL},
    {"PATCH " API "/tasks/{id}", API "/tasks/{task}", "t",
	"{\"status\":\"done\"}", 200, {NULL}, NULL},
    {"DELETE " API "/tasks/{id}", API "/tasks/{task}", "t", NULL, 204, {NULL},
	"task.delete" MINE "task {task}"},
    {"POST " API "/analytics", NULL, "t",
	"{\"events\":[{\"category\":\"page\",\"name\":\"tea\"}]}", 204, {NULL},
	NULL},
};

#define BOSS    " by admin {boss} of {user} on "
#define BOSS_ON " by admin {boss} of - on "

/* What administrators see and do: a user to see comes first. */
static const struct step admin_steps[] = {
    {"POST " API "/auth/register", NULL, NULL, LOGIN, 201,
	{"user=user.id", "s0=session_id", "t=access_token"},
	"session.create" MINE "session {s0}\n"
	"user.create" MINE "user {user}"},
    {"POST " API "/conversations", NULL, "t", "{}", 201, {"talk=id"}, NULL},
    {"GET " API "/admin/audit", API "/admin/audit?user={user}", "b", NULL, 200,
	{NULL}, "audit.read" BOSS "audit -"},
    {"GET " API "/admin/users", NULL, "t", NULL, 403, {NULL}, NULL},
    {"GET " API "/admin/users", NULL, "b", NULL, 200, {NULL},
	"user.list" BOSS_ON "user -"},
    {"GET " API "/admin/users/{id}", API "/admin/users/{user}", "b", NULL, 200,
	{NULL}, "user.read" BOSS "user {user}"},
    {"GET " API "/admin/users/{id}/conversations",
	API "/admin/users/{user}/conversations", "b", NULL, 200, {NULL},
	"conversation.list" BOSS "conversation -"},
    {"GET " API "/admin/conversations/{id}/messages",
	API "/admin/conversations/{talk}/messages?user={user}", "b", NULL, 200,
	{NULL}, "conversation.read" BOSS "conversation {talk}"},
    {"GET " API "/admin/sessions", API "/admin/sessions?user={user}", "b", NULL,
	200, {NULL}, "session.read" BOSS "session -"},
    {"GET " API "/admin/feedback", NULL, "b", NULL, 200, {NULL},
	"feedback.list" BOSS_ON "feedback -"},
    /* Numbers that are nobody's. */
    {"GET " API "/admin/stats", NULL, "b", NULL, 200, {NULL}, NULL},
    {"GET " API "/admin/analytics", NULL, "b", NULL, 200, {NULL}, NULL},
    {"GET " API "/admin/usage", NULL, "t", NULL, 403, {NULL}, NULL},
    {"GET " API "/admin/usage", API "/admin/usage?user={user}&by=model,day",
	"b", NULL, 200, {NULL},
	"usage.read" BOSS "usage - {\"by\": \"model,day\"}"},
    {"GET " API "/admin/usage", API "/admin/usage?by=user&format=csv", "b",
	NULL, 200, {NULL}, "usage.read" BOSS_ON "usage - {\"by\": \"user\"}"},
    {"POST " API "/admin/stores", NULL, "b",
	"{\"slug\":\"{name}\",\"name\":\"Teas\",\"description\":\"Leaves\","
	"\"metadata\":{\"a\":1},\"is_open\":true}",
	201, {"store=id"}, "store.create" BOSS_ON "store {store}"},
    {"POST " API "/admin/stores", NULL, "b",
	"{\"slug\":\"{name}\",\"name\":\"Teas\"}", 409, {NULL}, NULL},
    {"GET " API "/admin/stores", NULL, "b", NULL, 200, {NULL}, NULL},
    {"GET " API "/admin/stores/{id}", API "/admin/stores/{store}", "b", NULL,
	200, {NULL}, NULL},
    {"PATCH " API "/admin/stores/{id}", API "/admin/stores/{store}", "b",
	"{\"name\":\"Fine teas\"}", 200, {NULL},
	"store.update" BOSS_ON "store {store} {\"changed\": [\"name\"]}"},
    {"PATCH " API "/admin/stores/{id}", API "/admin/stores/{store}", "b",
	"{\"name\":\"Fine teas\"}", 200, {NULL}, NULL},
    {"PUT " API "/admin/stores/{id}/members/{user}",
	API "/admin/stores/{store}/members/{user}", "b", "{}", 200, {NULL},
	"store_member.create" BOSS "store_member {store}"},
    {"PUT " API "/admin/stores/{id}/members/{user}",
	API "/admin/stores/{store}/members/{user}", "b",
	"{\"role\":\"manager\"}", 200, {NULL},
	"store_member.update" BOSS "store_member {store} "
	"{\"changed\": [\"role\"]}"},
    {"PUT " API "/admin/stores/{id}/members/{user}",
	API "/admin/stores/{store}/members/{user}", "b", "{}", 200, {NULL},
	NULL},
    {"GET " API "/admin/stores/{id}/members",
	API "/admin/stores/{store}/members", "b", NULL, 200, {NULL},
	"store_member.list" BOSS_ON "store {store}"},
    {"PATCH " API "/admin/stores/{id}/limits",
	API "/admin/stores/{store}/limits", "b", "{\"streams\":2}", 200, {NULL},
	"limit.create" BOSS_ON "limit {store} {\"limit\": \"streams\"}"},
    {"GET " API "/admin/stores/{id}/limits", API "/admin/stores/{store}/limits",
	"b", NULL, 200, {NULL}, NULL},
    {"DELETE " API "/admin/stores/{id}/limits",
	API "/admin/stores/{store}/limits", "b", NULL, 204, {NULL},
	"limit.delete" BOSS_ON "limit {store} {\"limit\": \"streams\"}"},
    {"POST " API "/admin/stores/{id}/tools", API "/admin/stores/{store}/tools",
	"b",
	"{\"name\":\"kettle\",\"description\":\"Boils\",\"url\":"
	"\"https://teas.example/kettle\",\"parameters\":"
	"{\"type\":\"object\"}}",
	201, {"tool=id"},
	"store_tool.create" BOSS_ON "store_tool {store} "
	"{\"tool\": \"kettle\"}"},
    {"GET " API "/admin/stores/{id}/tools", API "/admin/stores/{store}/tools",
	"b", NULL, 200, {NULL}, NULL},
    {"GET " API "/admin/stores/{id}/tools/{tool}",
	API "/admin/stores/{store}/tools/{tool}", "b", NULL, 200, {NULL}, NULL},
    {"PATCH " API "/admin/stores/{id}/tools/{tool}",
	API "/admin/stores/{store}/tools/{tool}", "b", "{\"timeout_ms\":500}",
	200, {NULL},
	"store_tool.update" BOSS_ON "store_tool {store} "
	"{\"tool\": \"kettle\", \"changed\": [\"timeout_ms\"]}"},
    {"PATCH " API "/admin/stores/{id}/tools/{tool}",
	API "/admin/stores/{store}/tools/{tool}", "b", "{\"timeout_ms\":500}",
	200, {NULL}, NULL},
    {"POST " API "/admin/stores/{id}/tools/{tool}/secret",
	API "/admin/stores/{store}/tools/{tool}/secret", "b",
	"{\"overlap_seconds\":0}", 200, {NULL},
	"store_tool.update" BOSS_ON "store_tool {store} "
	"{\"tool\": \"kettle\", "
	"\"changed\": [\"secret\", \"secret_set_at\"]}"},
    {"DELETE " API "/admin/stores/{id}/tools/{tool}",
	API "/admin/stores/{store}/tools/{tool}", "b", NULL, 204, {NULL},
	"store_tool.delete" BOSS_ON "store_tool {store} "
	"{\"tool\": \"kettle\"}"},
    /* To a store's document, by whom is no administrator of anything. */
    {"POST " API "/documents", NULL, "t",
	"{\"title\":\"Tea\",\"content\":\"Green tea.\",\"store_id\":"
	"\"{store}\"}",
	201, {"doc=id"}, NULL},
    {"DELETE " API "/admin/stores/{id}/members/{user}",
	API "/admin/stores/{store}/members/{user}", "b", NULL, 204, {NULL},
	"store_member.delete" BOSS "store_member {store}"},
    /* Its documents go with it. */
    {"DELETE " API "/admin/stores/{id}", API "/admin/stores/{store}", "b", NULL,
	204, {NULL}, "store.delete" BOSS_ON "store {store}"},
    {"PATCH " API "/admin/users/{id}/limits", API "/admin/users/{user}/limits",
	"b", "{\"streams\":2,\"turns_per_day\":9}", 200, {NULL},
	"limit.create" BOSS "limit {user} {\"limit\": \"streams\"}\n"
	"limit.create" BOSS "limit {user} {\"limit\": \"turns_per_day\"}"},
    {"PATCH " API "/admin/users/{id}/limits", API "/admin/users/{user}/limits",
	"b", "{\"streams\":3,\"turns_per_day\":null}", 200, {NULL},
	"limit.delete" BOSS "limit {user} {\"limit\": \"turns_per_day\"}\n"
	"limit.update" BOSS "limit {user} {\"limit\": \"streams\", "
	"\"changed\": [\"value\"]}"},
    {"PATCH " API "/admin/users/{id}/limits", API "/admin/users/{user}/limits",
	"b", "{\"streams\":3,\"turns_per_day\":null}", 200, {NULL}, NULL},
    {"GET " API "/admin/users/{id}/limits", API "/admin/users/{user}/limits",
	"b", NULL, 200, {NULL}, "limit.read" BOSS "user {user}"},
    {"GET " API "/admin/users/{id}/limits", API "/admin/users/{user}/limits",
	"t", NULL, 403, {NULL}, NULL},
    {"DELETE " API "/admin/users/{id}/limits", API "/admin/users/{user}/limits",
	"b", NULL, 204, {NULL},
	"limit.delete" BOSS "limit {user} {\"limit\": \"streams\"}"},
    {"GET " API "/me/limits", NULL, "t", NULL, 200, {NULL}, NULL},
    {"PATCH " API "/admin/roles/{role}/limits", API "/admin/roles/admin/limits",
	"b", "{\"streams\":99999}", 200, {NULL},
	"limit.create" BOSS_ON "limit - {\"role\": \"admin\", "
	"\"limit\": \"streams\"}"},
    {"GET " API "/admin/roles/{role}/limits", API "/admin/roles/admin/limits",
	"b", NULL, 200, {NULL}, NULL},
    {"GET " API "/admin/limits", NULL, "b", NULL, 200, {NULL},
	"limit.list" BOSS_ON "limit -"},
    {"DELETE " API "/admin/roles/{role}/limits",
	API "/admin/roles/admin/limits", "b", NULL, 204, {NULL},
	"limit.delete" BOSS_ON "limit - {\"role\": \"admin\", "
	"\"limit\": \"streams\"}"},
    {"PATCH " API "/admin/users/{id}", API "/admin/users/{user}", "b",
	"{\"role\":\"admin\"}", 200, {NULL},
	"session.revoke" BOSS "session {s0} {\"reason\": \"role_changed\"}\n"
	"user.read" BOSS "user {user}\n"
	"user.role" BOSS "user {user} {\"changed\": [\"role\"]}\n"
	"user.sign_out" BOSS "user {user} {\"changed\": [\"session_epoch\"]}"},
    SIGN_IN("1"),
    SIGN_IN("2"),
    {"DELETE " API "/admin/users/{id}/sessions/{session}",
	API "/admin/users/{user}/sessions/{s1}", "b", NULL, 204, {NULL},
	"session.revoke" BOSS "session {s1} {\"reason\": \"administrator\"}"},
    {"DELETE " API "/admin/users/{id}/sessions",
	API "/admin/users/{user}/sessions", "b", NULL, 204, {NULL},
	"session.revoke" BOSS "session {s2} {\"reason\": \"administrator\"}\n"
	"user.sign_out" BOSS "user {user} {\"changed\": [\"session_epoch\"]}"},
    SIGN_IN("3"),
    {"PATCH " API "/admin/users/{id}", API "/admin/users/{user}", "b",
	"{\"is_disabled\":true}", 200, {NULL},
	"session.revoke" BOSS "session {s3} {\"reason\": \"disabled\"}\n"
	"user.disable" BOSS "user {user} {\"changed\": [\"is_disabled\"]}\n"
	"user.read" BOSS "user {user}\n"
	"user.sign_out" BOSS "user {user} {\"changed\": [\"session_epoch\"]}"},
    {"PATCH " API "/admin/users/{id}", API "/admin/users/{user}", "b",
	"{\"is_disabled\":false}", 200, {NULL},
	"user.enable" BOSS "user {user} {\"changed\": [\"is_disabled\"]}\n"
	"user.read" BOSS "user {user}"},
    SIGN_IN("4"),
    {"DELETE " API "/admin/users/{id}", API "/admin/users/{user}", "b", NULL,
	204, {NULL},
	"session.revoke" BOSS "session {s4} {\"reason\": \"deleted\"}\n"
	"user.delete" BOSS "user {user}"},
};

#endif
