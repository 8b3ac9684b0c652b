// Natter as a real browser meets it: Debian's chromium, driven by
// playwright-core, over TLS. Numbers in the names are those of the adversarial
// list. Prints a line a test and "N passed, N failed".
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chromium } from 'playwright-core';
import { startStack } from './stack.mjs';

const CHROMIUM = process.env.CHROMIUM || '/usr/bin/chromium';
const PASSWORD = 'correct horse battery';
const REFRESH = '/api/v1/auth/refresh';

let stack, browser;

// ---- people and pages ----

const home = () => stack.origin('natter.test');
const newName = () => `browser-${randomBytes(6).toString('hex')}`;

async function newBrowser() {
  return browser.newContext({ ignoreHTTPSErrors: true });
}

async function open(context, url) {
  const page = await context.newPage();
  await page.goto(url);
  return page;
}

// A page of the site, once its own first refresh is answered.
async function openHome(context) {
  const page = await open(context, home());
  await page.waitForFunction(() => document.title === 'ready');
  return page;
}

const enter = (page, path, name) => page.evaluate(
  ([where, username, password]) => enter(where, username, password),
  [path, name, PASSWORD]);

// Somebody new, signed in on a page of the site.
async function member(context) {
  const page = await openHome(context);
  const name = newName();
  const { status, answer } = await enter(page, 'register', name);
  assert.equal(status, 201, JSON.stringify(answer));
  return { page, name, answer };
}

async function cookies(context) {
  const all = await context.cookies(home());
  return Object.fromEntries(all.map((cookie) => [cookie.name, cookie]));
}

const whoAmI = (page) => page.evaluate(() => me());

// The generations of a user's sessions, and how many ended.
const sessionsOf = (name) => stack.sql(
  `SELECT coalesce(sum(s.rt_gen), 0) || ' ' || count(s.revoked_at) || ' ' ||
   count(*) FROM auth.sessions s JOIN auth.users u ON u.id = s.user_id
   WHERE u.username = '${name}'`);

// What a page may try from where it is: the status, or the error's name.
const attempt = (page, url, options) => page.evaluate(async ([where, how]) => {
  try {
    const response = await fetch(where, how);
    return response.type === 'opaque' ? 'opaque' : response.status;
  } catch (error) {
    return error.name;
  }
}, [url, options]);

const byCookie = (headers = {}) => ({ method: 'POST', credentials: 'include',
  headers: { 'Content-Type': 'application/json', 'X-Natter-Client': 'web',
    ...headers }, body: '{"cookie":true}' });

// ---- the tests ----

const tests = {
  async signing_in_gives_cookies_that_no_script_can_read() {
    const context = await newBrowser();
    const { page, answer } = await member(context);
    assert.equal(answer.refresh_token, undefined);
    const jar = await cookies(context);
    for (const [name, sameSite] of [['__Host-rt', 'Strict'],
      ['__Host-did', 'Strict'], ['__Host-at', 'Lax']]) {
      assert.ok(jar[name], name);
      assert.ok(jar[name].httpOnly && jar[name].secure, name);
      assert.equal(jar[name].sameSite, sameSite, name);
      assert.equal(jar[name].path, '/');
      assert.equal(jar[name].domain, 'natter.test');
    }
    const seen = await page.evaluate(() => [document.cookie,
      localStorage.length, sessionStorage.length]);
    assert.deepEqual(seen, ['', 0, 0]);
    assert.equal((await whoAmI(page)).status, 200);
    await context.close();
  },

  async n32_no_answer_with_tokens_names_a_time() {
    const context = await newBrowser();
    const { page, answer } = await member(context);
    const refreshed = await page.evaluate(async () =>
      (await post('refresh', { cookie: true })).json());
    for (const { user, ...rest } of [answer, refreshed]) {
      assert.ok(user.id);
      assert.deepEqual(Object.keys(rest).sort(), ['access_token', 'expires_in',
        'refresh_in', 'session_id', 'token_type']);
      assert.ok(rest.expires_in <= 600 && rest.refresh_in < rest.expires_in);
      assert.ok(rest.refresh_in >= 420, `${rest.refresh_in}`);
    }
    await context.close();
  },

  async n32_a_clock_that_is_an_hour_off_refreshes_once_per_refresh_in() {
    for (const hours of [1, -1]) {
      const context = await newBrowser();
      const { page: first, name } = await member(context);
      await first.close();
      const page = await context.newPage();
      await page.clock.install({ time: Date.now() + hours * 3600e3 });
      let asked = 0;
      page.on('request', (r) => { asked += r.url().endsWith(REFRESH); });
      const answered = () => page.waitForResponse((r) =>
        r.url().endsWith(REFRESH), { timeout: 10000 });
      let [response] = await Promise.all([answered(), page.goto(home())]);
      for (let round = 1; round <= 4; round++) {
        assert.equal(response.status(), 200);
        const { access_token, refresh_in } = await response.json();
        // The client sets its timer as it takes the token.
        await page.waitForFunction((token) => access === token, access_token);
        assert.equal(asked, round);
        await page.clock.runFor((refresh_in - 2) * 1000);
        assert.equal((await whoAmI(page)).status, 200);
        assert.equal(asked, round, 'not before its time');
        const next = answered();
        await page.clock.runFor(3000);
        response = await next;
      }
      assert.equal(asked, 5);
      assert.equal(sessionsOf(name), '5 0 1');
      await context.close();
    }
  },

  async a_page_that_is_loaded_again_is_still_signed_in() {
    const context = await newBrowser();
    const { page, name } = await member(context);
    for (let i = 0; i < 3; i++) {
      await page.reload();
      await page.waitForFunction(() => document.title === 'ready');
      const { status, answer } = await whoAmI(page);
      assert.equal(status, 200);
      assert.equal(answer.username, name);
    }
    assert.equal(sessionsOf(name), '3 0 1');
    await context.close();
  },

  async tabs_that_refresh_at_once_keep_their_session() {
    const context = await newBrowser();
    const { page, name } = await member(context);
    const tabs = [page];
    for (let i = 0; i < 3; i++) tabs.push(await openHome(context));
    for (let round = 0; round < 10; round++) {
      const before = await cookies(context);
      const got = await Promise.all(tabs.map((tab) => tab.evaluate(async () => {
        await refresh();
        return access;
      })));
      assert.ok(got.every(Boolean));
      const after = await cookies(context);
      assert.notEqual(before['__Host-rt'].value, after['__Host-rt']?.value);
    }
    for (const tab of tabs) {
      assert.equal((await whoAmI(tab)).status, 200);
      assert.equal(await tab.evaluate(() => isSignedOut), false);
    }
    // Each in its turn; nothing was ended, nobody signed out.
    assert.match(sessionsOf(name), /^\d+ 0 1$/);
    assert.equal(await page.evaluate(async () => {
      await refresh();
      return (await me()).status;
    }), 200);
    await context.close();
  },

  async n32_another_sites_page_can_use_nothing_and_read_nothing() {
    const context = await newBrowser();
    const { name } = await member(context);
    const before = sessionsOf(name), jar = await cookies(context);
    const api = `${home()}/api/v1`;
    for (const host of ['evil.test', 'other.natter.test']) {
      const page = await open(context, stack.origin(host));
      assert.equal(await attempt(page, home() + REFRESH, byCookie()),
        'TypeError', host);
      assert.equal(await attempt(page, home() + REFRESH, { method: 'POST',
        mode: 'no-cors', credentials: 'include',
        headers: { 'Content-Type': 'text/plain' }, body: '{"cookie":true}' }),
      'opaque');
      assert.equal(await attempt(page, `${api}/auth/logout`, { method: 'POST',
        mode: 'no-cors', credentials: 'include', body: '{}' }), 'opaque');
      assert.equal(await attempt(page, `${api}/me`,
        { credentials: 'include' }), 'TypeError', 'cannot be read');
      assert.equal(await attempt(page, `${api}/me`,
        { headers: { Authorization: 'Bearer x' } }), 'TypeError');
      await page.close();
    }
    assert.equal(sessionsOf(name), before);
    assert.deepEqual(await cookies(context), jar);
    const own = await openHome(context);
    assert.equal((await whoAmI(own)).answer.username, name);
    await context.close();
  },

  async n32_another_sites_form_cannot_sign_its_user_in() {
    const context = await newBrowser();
    const thief = await member(context);
    const other = await newBrowser();
    const { name } = await member(other);
    const jar = await cookies(other);
    const page = await open(other, stack.origin('evil.test'));
    await Promise.all([page.waitForNavigation(), page.evaluate(
      ([action, username, password]) => {
        const form = document.createElement('form');
        const text = document.createElement('input');
        const body = JSON.stringify({ username, password, cookie: true, x: '' });
        form.method = 'POST';
        form.enctype = 'text/plain';
        form.action = action;
        text.name = body.slice(0, -2);
        text.value = '"}';
        form.append(text);
        document.body.append(form);
        form.submit();
      }, [`${home()}/api/v1/auth/login`, thief.name, PASSWORD])]);
    assert.match(await page.content(), /"status":4\d\d/);
    assert.deepEqual(await cookies(other), jar);
    const own = await openHome(other);
    assert.equal((await whoAmI(own)).answer.username, name);
    await context.close();
    await other.close();
  },

  async an_allowed_origin_may_refresh_and_read() {
    const context = await newBrowser();
    const { name } = await member(context);
    const page = await open(context, stack.origin('app.natter.test'));
    const got = await page.evaluate(async ([url, how]) => {
      const response = await fetch(url + '/api/v1/auth/refresh', how);
      const { access_token } = await response.json();
      const me = await fetch(url + '/api/v1/me',
        { headers: { Authorization: `Bearer ${access_token}` } });
      return [response.status, me.status, (await me.json()).username];
    }, [home(), byCookie()]);
    assert.deepEqual(got, [200, 200, name]);
    await context.close();
  },

  // As npm has it, with the headers that it sends of itself.
  async openais_library_works_in_a_page_of_an_allowed_origin() {
    const context = await newBrowser();
    const { answer } = await member(context);
    const page = await open(context, stack.origin('app.natter.test'));
    const got = await page.evaluate(async ([baseURL, apiKey]) => {
      const { default: OpenAI } = await import('/openai/index.mjs');
      const client = new OpenAI({ baseURL, apiKey, maxRetries: 0,
        organization: 'org', project: 'proj', dangerouslyAllowBrowser: true });
      const ask = { model: 'words', messages: [
        { role: 'user', content: 'hello' }] };
      const { data, response, request_id: id } = await client.chat.completions
        .create(ask, { headers: { 'Idempotency-Key': 'k' } }).withResponse();
      const limit = response.headers.get('x-ratelimit-limit-requests');
      let streamed = '', error;
      for await (const chunk of await client.chat.completions.create(
        { ...ask, stream: true }))
        streamed += chunk.choices[0]?.delta.content ?? '';
      try {
        await client.chat.completions.create({ ...ask, n: 2 });
      } catch (e) {
        error = [e instanceof OpenAI.BadRequestError, e.param, !!e.requestID];
      }
      const model = await client.models.retrieve('words');
      return { whole: data.choices[0].message.content, streamed, error,
        has: [!!id, Number(limit) > 0], model: model.id };
    }, [`${home()}/openai/v1`, answer.access_token]);
    assert.match(got.whole, /^wört 0 .*wört 39 $/);
    assert.equal(got.streamed, got.whole);
    assert.deepEqual(got.error, [true, 'n', true]);
    assert.deepEqual(got.has, [true, true]);
    assert.equal(got.model, 'words');
    await context.close();
  },

  async a_protected_page_asks_to_sign_in_and_opens_then() {
    const context = await newBrowser();
    const { page: registering, name } = await member(context);
    await registering.close();
    await context.clearCookies();
    const page = await open(context, `${home()}/members/a?b=c`);
    assert.equal(page.url(), `${home()}/sign-in?next=/members/a?b=c`);
    await page.fill('[name=username]', name);
    await page.fill('[name=password]', PASSWORD);
    await Promise.all([page.waitForURL(`${home()}/members/a?b=c`),
      page.click('button')]);
    assert.equal(await page.textContent('#who'), name);
    // From a link elsewhere, too: the cookie is of the lax kind.
    await page.goto(stack.origin('evil.test'));
    await Promise.all([page.waitForURL(`${home()}/members/b`),
      page.evaluate((url) => { location.href = url; }, `${home()}/members/b`)]);
    assert.equal(await page.textContent('#who'), name);
    await context.close();
  },

  async a_protected_page_opens_by_itself_while_the_session_lives() {
    const context = await newBrowser();
    const { name } = await member(context);
    await context.clearCookies({ name: '__Host-at' }); // as after 10 minutes
    const page = await context.newPage();
    await page.goto(`${home()}/members/a`);
    await page.waitForURL(`${home()}/members/a`);
    assert.equal(await page.textContent('#who'), name);
    await context.close();
  },

  async a_reply_is_read_to_its_end_however_often_it_is_cut() {
    const context = await newBrowser();
    const { page } = await member(context);
    // `start`, without which nobody knows what to go on with, is shorter than
    // these; the last event alone is longer.
    for (const most of [300, 450, 600]) {
      const got = await page.evaluate(async (most) => {
        const { ask } = await import('/ask.js');
        const whole = window.fetch;
        let cuts = 0, text = '';
        // Ends in mid-stream after so many bytes, wherever in an event that is.
        const cut = (body) => {
          let left = most;
          return body.pipeThrough(new TransformStream({
            transform(bytes, to) {
              left -= bytes.length;
              if (left >= 0) return to.enqueue(bytes);
              to.enqueue(bytes.slice(0, bytes.length + left));
              return cuts % 2 ? to.error(new Error('cut')) : to.terminate();
            },
          }));
        };
        window.fetch = async (...how) => {
          const response = await whole(...how);
          if (!response.ok || cuts === 3) return response;
          cuts++;
          return new Response(cut(response.body), response);
        };
        try {
          const made = await whole('/api/v1/conversations', { method: 'POST',
            headers: { Authorization: `Bearer ${access}`,
              'Content-Type': 'application/json' }, body: '{}' });
          const message = await ask('', access, (await made.json()).id, 'Hello',
            (more, isNew) => { text = isNew ? '' : text + more; });
          return { cuts, text, message };
        } finally {
          window.fetch = whole;
        }
      }, most);
      assert.equal(got.cuts, 3);
      assert.equal(got.message.status, 'complete');
      assert.equal(got.text, got.message.content);
      assert.match(got.text, /^wört 0 wört 1 .*wört 39 $/);
    }
    await context.close();
  },

  async leaving_takes_the_cookies_and_the_session() {
    const context = await newBrowser();
    const { page, name } = await member(context);
    const old = await page.evaluate(() => access);
    const kept = (await cookies(context))['__Host-rt'];
    assert.equal(await page.evaluate(async () =>
      (await post('logout', {})).status), 204);
    const jar = await cookies(context);
    assert.deepEqual(Object.keys(jar), ['__Host-did']);
    assert.equal(await page.evaluate(async (token) => (await fetch('/api/v1/me',
      { headers: { Authorization: `Bearer ${token}` } })).status, old), 401);
    await page.reload();
    await page.waitForFunction(() => document.title === 'ready');
    assert.equal(await page.evaluate(() => isSignedOut), true);
    await page.goto(`${home()}/members/a`);
    assert.match(page.url(), /\/sign-in\?next=/);
    // A cookie that somebody kept is worth nothing.
    await context.addCookies([kept]);
    await page.goto(home());
    await page.waitForFunction(() => document.title === 'ready');
    assert.equal(await page.evaluate(() => isSignedOut), true);
    assert.equal((await cookies(context))['__Host-rt'], undefined);
    assert.match(sessionsOf(name), / 1 1$/);
    await context.close();
  },
};

// ---- running them ----

async function run() {
  let passed = 0, failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    if (process.argv[2] && !name.includes(process.argv[2])) continue;
    const began = Date.now();
    try {
      await test();
      passed++;
      console.log(`ok - ${name} (${Date.now() - began} ms)`);
    } catch (error) {
      failed++;
      console.log(`not ok - ${name}\n    ${error.stack}`);
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 && passed > 0;
}

let isGood = false;
try {
  stack = await startStack();
  browser = await chromium.launch({ executablePath: CHROMIUM,
    args: ['--no-sandbox', '--disable-dev-shm-usage',
      '--host-resolver-rules=MAP *.test 127.0.0.1'] });
  isGood = await run();
} catch (error) {
  console.log(`${error.stack}\n0 passed, 1 failed`);
} finally {
  await browser?.close();
  await stack?.stop();
}
process.exit(isGood ? 0 : 1);
