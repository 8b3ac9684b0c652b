// A natterd and an nginx of the client tests' own, on the Postgres, Redis and
// key ring that the environment names (scripts/demo --env), in front of a model
// that nobody here wrote: @copilotkit/aimock.
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync }
  from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ended, freePort, sleep, start } from '../browser/stack.mjs';

const SRC = process.env.NATTER_SRCDIR;

// A page of which may use the API.
export const ORIGIN = 'https://app.natter.test';

export { sleep };

function nginxConf(dir, port) {
  return `daemon off;
worker_processes 1;
pid ${dir}/nginx.pid;
error_log stderr warn;
events { worker_connections 512; }
http {
  access_log off;
  client_body_temp_path ${dir}/t1; fastcgi_temp_path ${dir}/t2;
  proxy_temp_path ${dir}/t3; scgi_temp_path ${dir}/t4; uwsgi_temp_path ${dir}/t5;
  include ${dir}/natter-upstream.conf;
  server {
    listen 127.0.0.1:${port};
    include ${SRC}/nginx/natter.conf;
  }
}
`;
}

// A moderation server that flags what says "forbidden".
function startModeration() {
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const piece of request) body += piece;
    const flagged = JSON.parse(body).input.includes('forbidden');
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify(
      { results: [{ flagged, categories: { violence: flagged } }] }));
  });
  return new Promise((give) => server.listen(0, '127.0.0.1', () => give(
    { url: `http://127.0.0.1:${server.address().port}/v1`,
      close: () => server.close() })));
}

// What settings of a stack's own are: see startStack.
async function moderated(options) {
  if (!options.withholds) return { lines: '', close() {} };
  const { url, close } = await startModeration();
  return { close, lines:
    `CHAT_MODERATION_URL=${url}\nCHAT_MODERATION_REPLIES=withhold\n` };
}

function settings(dir, modelPort, options) {
  const env = process.env;
  return `DATABASE_URL=${env.DATABASE_URL}
REDIS_URL=${env.REDIS_URL}
JWT_KEYS_FILE=${env.NATTER_KEYS_FILE}
CHAT_REGISTRATION=open
CHAT_HASH_MEMORY=8192
CHAT_RUN_DIR=${dir}
CHAT_WORKERS=2
CHAT_RATE_LIMIT_PER_MINUTE=0
CHAT_ADDRESS_RATE_PER_MINUTE=0
OPENAI_BASE_URL=http://127.0.0.1:${modelPort}/v1
OPENAI_API_KEY=upstream-key
CHAT_MODEL=${options.model ?? 'gpt-4o-mini'}
CHAT_ORIGINS=${ORIGIN}
CHAT_PII_MASK=${options.masks ? 'on' : 'off'}
`;
}

async function answers(url) {
  try {
    return (await fetch(url)).ok;
  } catch {
    return false;
  }
}

// Options: `model`: CHAT_MODEL; `masks`: CHAT_PII_MASK; `withholds`: replies are, until
// moderation has seen them.
export async function startStack(options = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'natter-clients-'));
  chmodSync(dir, 0o755);
  const port = await freePort(), modelPort = await freePort();
  const moderation = await moderated(options);
  writeFileSync(join(dir, 'natter-upstream.conf'),
    readFileSync(join(SRC, 'nginx/natter-upstream.conf'), 'utf8')
      .replaceAll('/run/natter/natterd.sock', join(dir, 'fcgi')));
  writeFileSync(join(dir, 'nginx.conf'), nginxConf(dir, port));
  writeFileSync(join(dir, 'natter.env'),
    settings(dir, modelPort, options) + moderation.lines, { mode: 0o600 });
  const children = [
    start(dir, 'model', process.execPath, ['node_modules/.bin/llmock',
      '-h', '127.0.0.1', '-p', String(modelPort), '-f', 'fixtures.json',
      '--strict', '--log-level', 'warn']),
    start(dir, 'natterd', 'spawn-fcgi', ['-n', '-s', join(dir, 'fcgi'),
      '-M', '0666', '-b', '4096', '--', process.env.NATTERD,
      '--config', join(dir, 'natter.env')]),
    start(dir, 'nginx', 'nginx',
      ['-e', 'stderr', '-p', dir, '-c', join(dir, 'nginx.conf')]),
  ];
  const base = `http://127.0.0.1:${port}`;
  const model = `http://127.0.0.1:${modelPort}`;
  const stack = {
    base,
    // The one value of a query, as superuser.
    sql: (text) => execFileSync('psql', ['-X', '-A', '-t', '-c', text,
      process.env.SUPERUSER_DATABASE_URL], { encoding: 'utf8' }).trim(),
    // What the model was asked last that holds this text.
    async asked(text) {
      const journal = await (await fetch(`${model}/v1/_requests`)).json();
      return journal.filter((entry) =>
        JSON.stringify(entry.body ?? '').includes(text)).at(-1);
    },
    async stop() {
      for (const child of children) child.kill('SIGTERM');
      for (const child of children) await ended(child);
      moderation.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  for (let i = 0; i < 300; i++) {
    if (await answers(`${base}/readyz`) &&
        await answers(`${model}/v1/models`)) return stack;
    await sleep(100);
  }
  const logs = ['model', 'natterd', 'nginx']
    .map((name) => readFileSync(join(dir, `${name}.log`), 'utf8'));
  await stack.stop();
  throw new Error(`the stack does not start:\n${logs.join('\n')}`);
}
