// A natterd and an nginx with TLS of the browser tests' own, on the Postgres,
// Redis and key ring that the environment names (scripts/demo --env). The
// site's client is the one that docs/client.md shows, and its sign-in page
// runs what nginx/auth-request.conf tells sites to write.
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, chmodSync, existsSync, mkdirSync, openSync, readFileSync, rmSync,
  writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SRC = process.env.NATTER_SRCDIR;

export const sleep = (ms) => new Promise((wake) => setTimeout(wake, ms));

function between(text, pattern, what) {
  const found = text.match(pattern);
  if (!found) throw new Error(`${what} has changed: adapt tests/browser`);
  return found[1];
}

function documentedClient() {
  const text = readFileSync(join(SRC, 'docs/client.md'), 'utf8');
  return between(text, /### In a browser[\s\S]*?```js\n([\s\S]*?)```/,
    'docs/client.md');
}

function documentedAsk() {
  const text = readFileSync(join(SRC, 'docs/client.md'), 'utf8');
  return between(text, /### In JavaScript[\s\S]*?```js\n([\s\S]*?)```/,
    'docs/client.md');
}

function documentedSignIn() {
  const text = readFileSync(join(SRC, 'nginx/auth-request.conf'), 'utf8');
  return between(text, /# SITE: where people sign in[\s\S]*?#\n((?:#\t.*\n)+)/,
    'nginx/auth-request.conf').replace(/^#\t/gm, '');
}

export async function freePort() {
  return new Promise((give) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => give(port));
    });
  });
}

// A model that takes a second for its 40 words.
function startModel() {
  const answer = async (request, response) => {
    const say = (choice) => response.write(
      `data: ${JSON.stringify({ choices: [{ index: 0, ...choice }] })}\n\n`);
    request.resume();
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    for (let i = 0; i < 40; i++) {
      say({ delta: { content: `wört ${i} ` } });
      await sleep(30);
    }
    say({ delta: {}, finish_reason: 'stop' });
    response.end('data: [DONE]\n\n');
  };
  return new Promise((give) => {
    const server = createHttpServer(answer)
      .listen(0, '127.0.0.1', () => give(server));
  });
}

const page = (script) => `<!doctype html><meta charset="utf-8">
<title>Natter</title><form id="sign-in"><input name="username">
<input name="password" type="password"><button>Sign in</button></form>
<script src="/client.js"></script>
<script type="module">${script}</script>`;

// What a site adds: its form, and what it does when nobody is signed in.
const SITE_JS = `
let isSignedOut = false;
function signIn() { access = undefined; isSignedOut = true; }
async function post(path, body) {
  return fetch('/api/v1/auth/' + path, { method: 'POST',
    headers: { 'Content-Type': 'application/json', 'X-Natter-Client': 'web' },
    body: JSON.stringify(body) });
}
async function enter(path, username, password) {
  const response = await post(path, { username, password, cookie: true });
  const answer = await response.json();
  if (response.ok) { access = answer.access_token; isSignedOut = false; }
  return { status: response.status, answer };
}
async function me() {
  const response = await fetch('/api/v1/me',
    { headers: access ? { Authorization: 'Bearer ' + access } : {} });
  return { status: response.status, answer: await response.json() };
}
`;

const HOME = `await refresh(); document.title = 'ready';`;

const SIGN_IN = `
document.getElementById('sign-in').onsubmit = async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const { status } = await enter('login', form.get('username'), form.get('password'));
  const next = location.search.replace(/^\\?next=/, '');
  if (status === 200 && /^\\/(?![\\/\\\\])/.test(next)) location.replace(next);
};
`;

function nginxConf(dir, port, behind) {
  const tls = `listen 127.0.0.1:${port} ssl;
    ssl_certificate ${dir}/cert; ssl_certificate_key ${dir}/key;`;
  return `daemon off;
worker_processes 1;
pid ${dir}/nginx.pid;
error_log stderr warn;
events { worker_connections 512; }
http {
  access_log off;
  types { text/html html; text/javascript js mjs; }
  client_body_temp_path ${dir}/t1; fastcgi_temp_path ${dir}/t2;
  proxy_temp_path ${dir}/t3; scgi_temp_path ${dir}/t4; uwsgi_temp_path ${dir}/t5;
  include ${dir}/natter-upstream.conf;
  server {
    ${tls}
    server_name natter.test;
    include ${SRC}/nginx/natter.conf;
    include ${dir}/auth-request.conf;
    root ${dir}/site;
    location / { try_files $uri $uri.html /index.html; }
  }
  server { # pages of others
    ${tls}
    server_name app.natter.test other.natter.test evil.test;
    default_type text/html;
    location /openai/ { root ${dir}; }
    location / { return 200 '<!doctype html><title>elsewhere</title>'; }
  }
  server {
    listen 127.0.0.1:${behind};
    location / { default_type text/html;
      return 200 '<title>members</title><p id=who>$http_x_auth_user</p>'; }
  }
}
`;
}

function writeSite(dir) {
  mkdirSync(join(dir, 'site'));
  const write = (name, text) => writeFileSync(join(dir, 'site', name), text);
  write('client.js', documentedClient() + SITE_JS);
  write('ask.js', documentedAsk());
  write('index.html', page(HOME));
  write('sign-in.html', page(SIGN_IN + documentedSignIn()));
  // For the pages of others; tests/clients use only what starts things here.
  if (existsSync('node_modules/openai'))
    cpSync('node_modules/openai', join(dir, 'openai'), { recursive: true });
}

export function start(dir, name, command, args) {
  const log = openSync(join(dir, `${name}.log`), 'a');
  return spawn(command, args, { stdio: ['ignore', log, log],
    env: { PATH: process.env.PATH } });
}

export function ended(child) {
  if (child.exitCode !== null || child.signalCode !== null) return undefined;
  return new Promise((wake) => child.once('exit', wake));
}

export async function startStack() {
  const env = process.env;
  const dir = mkdtempSync(join(tmpdir(), 'natter-browser-'));
  chmodSync(dir, 0o755);
  const port = await freePort(), behind = await freePort();
  const model = await startModel();
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes',
    '-subj', '/CN=natter.test', '-keyout', join(dir, 'key'),
    '-out', join(dir, 'cert')], { stdio: 'ignore' });
  writeSite(dir);
  writeFileSync(join(dir, 'auth-request.conf'),
    readFileSync(join(SRC, 'nginx/auth-request.conf'), 'utf8')
      .replaceAll('http://127.0.0.1:8081', `http://127.0.0.1:${behind}`));
  writeFileSync(join(dir, 'natter-upstream.conf'),
    readFileSync(join(SRC, 'nginx/natter-upstream.conf'), 'utf8')
      .replaceAll('/run/natter/natterd.sock', join(dir, 'fcgi')));
  writeFileSync(join(dir, 'nginx.conf'), nginxConf(dir, port, behind));
  writeFileSync(join(dir, 'natter.env'), `DATABASE_URL=${env.DATABASE_URL}
REDIS_URL=${env.REDIS_URL}
JWT_KEYS_FILE=${env.NATTER_KEYS_FILE}
CHAT_REGISTRATION=open
CHAT_HASH_MEMORY=8192
CHAT_RUN_DIR=${dir}
CHAT_WORKERS=2
OPENAI_BASE_URL=http://127.0.0.1:${model.address().port}/v1
CHAT_MODEL=words
CHAT_TITLES=off
CHAT_ORIGINS=https://app.natter.test:${port}
`, { mode: 0o600 });
  const natterd = start(dir, 'natterd', 'spawn-fcgi', ['-n', '-s',
    join(dir, 'fcgi'), '-M', '0666', '-b', '4096', '--', env.NATTERD,
    '--config', join(dir, 'natter.env')]);
  const nginx = start(dir, 'nginx', 'nginx',
    ['-e', 'stderr', '-p', dir, '-c', join(dir, 'nginx.conf')]);
  const stack = {
    port,
    origin: (host) => `https://${host}:${port}`,
    // The one value of a query, as superuser.
    sql: (text) => execFileSync('psql', ['-X', '-A', '-t', '-c', text,
      env.SUPERUSER_DATABASE_URL], { encoding: 'utf8' }).trim(),
    async stop() {
      for (const child of [natterd, nginx]) child.kill('SIGTERM');
      await ended(natterd);
      await ended(nginx);
      model.closeAllConnections();
      model.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  for (let i = 0; ; i++) {
    try {
      execFileSync('curl', ['-ksf', '--connect-to', `::127.0.0.1:${port}`,
        `${stack.origin('natter.test')}/readyz`], { stdio: 'ignore' });
      return stack;
    } catch {
      if (i < 100 && !natterd.exitCode && !nginx.exitCode) {
        await sleep(100);
        continue;
      }
    }
    const logs = ['natterd', 'nginx']
      .map((name) => readFileSync(join(dir, `${name}.log`), 'utf8'));
    await stack.stop();
    throw new Error(`the stack does not start:\n${logs.join('\n')}`);
  }
}
