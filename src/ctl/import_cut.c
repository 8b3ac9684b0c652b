/*
 * Cuts imported documents, one in memory at a time. Must not know where they
 * came from.
 */
#include <stdint.h>

#include "base/buf.h"
#include "chat/passages.h"
#include "ctl/import_cut.h"
#include "store/pg.h"

static enum ctl_exit
cut(struct account *account, const char *user, const char *id)
{
	const char *key[] = {user, id, NULL};
	AUTO_PGRESULT PGresult *r = NULL, *made = NULL;
	struct buf chunks = {0};
	enum ctl_exit code = account_call(account,
	    "SELECT content, mime_type FROM chat.documents"
	    " WHERE user_id = $1 AND id = $2",
	    2, key, &r);

	if (code != CTL_OK)
		return code;
	(void)passages_write(
	    &chunks, pg_text(r, 0, 0), pg_text(r, 0, 1), SIZE_MAX);
	key[2] = buf_text(&chunks);
	if (chunks.failed)
		code = ctl_refuse(CTL_FAILED, "out of memory");
	else
		code = account_call(account,
		    "WITH d AS MATERIALIZED (SELECT d.user_id, d.id, "
		    "d.store_id,"
		    " natter.search_config(d.language) AS config,"
		    " convert_to(d.content, 'UTF8') AS bytes"
		    " FROM chat.documents d WHERE d.user_id = $1 AND d.id = "
		    "$2),"
		    " made AS (INSERT INTO chat.document_chunks (user_id, id,"
		    " document_id, store_id, position, heading, content,"
		    " start_offset, end_offset, token_count, language)"
		    " SELECT d.user_id, k.i, d.id, d.store_id, k.n, k.h,"
		    " convert_from(substring(d.bytes FROM k.s + 1 FOR k.e - "
		    "k.s),"
		    " 'UTF8'), k.s, k.e, (k.e - k.s + 3) / 4, d.config"
		    " FROM d CROSS JOIN ROWS FROM "
		    "(jsonb_to_recordset($3::jsonb)"
		    " AS (i uuid, h text, s int, e int)) WITH ORDINALITY"
		    " k(i, h, s, e, n) RETURNING 1)"
		    " UPDATE chat.documents SET status = 'ready',"
		    " chunk_count = (SELECT count(*) FROM made)"
		    " WHERE user_id = $1 AND id = $2",
		    3, key, &made);
	buf_free(&chunks);
	return code;
}

enum ctl_exit
import_cut_documents(struct account *account)
{
	AUTO_PGRESULT PGresult *r = NULL;
	enum ctl_exit code = account_call(account,
	    "SELECT user_id, id FROM chat.documents WHERE status = 'pending'"
	    " ORDER BY user_id, id",
	    0, NULL, &r);

	for (int i = 0; code == CTL_OK && i < pg_rows(r); i++)
		code = cut(account, pg_text(r, i, 0), pg_text(r, i, 1));
	return code;
}
