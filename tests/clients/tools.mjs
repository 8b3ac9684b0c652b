// Natter's tools, called by a model that nobody here wrote (aimock): calls with
// text, several at once, one after the other, and amiss. Prints a line a test
// and "N passed, N failed".
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack } from './stack.mjs';

// The stack reads the fixtures of the folder that it is started in.
const here = process.cwd();
const dir = mkdtempSync(join(tmpdir(), 'natter-tools-'));
copyFileSync(join(here, 'tools.json'), join(dir, 'fixtures.json'));
symlinkSync(join(here, 'node_modules'), join(dir, 'node_modules'));
process.chdir(dir);
const stack = await startStack();

async function post(path, body, token) {
  const response = await fetch(`${stack.base}/api/v1${path}`, {
    method: 'POST', body: JSON.stringify(body), headers: {
      'Content-Type': 'application/json',
      ...(token && { Authorization: `Bearer ${token}` }) } });
  const text = await response.text();
  assert.ok(response.ok, text);
  return text;
}

async function newPerson() {
  const { access_token: token, user } = JSON.parse(await post('/auth/register',
    { username: `tools-${randomBytes(6).toString('hex')}`,
      password: 'correct horse battery' }));
  const { id } = JSON.parse(await post('/conversations', {}, token));
  return { token, user: user.id, conversation: id };
}

// The events of a reply, each {event, data}.
async function say(person, content) {
  const text = await post(`/conversations/${person.conversation}/messages`,
    { content, stream: true }, person.token);
  return text.split('\n\n').filter((block) => block.includes('event:'))
    .map((block) => ({ event: /^event: ?(.*)$/m.exec(block)[1],
      data: JSON.parse(/^data: ?(.*)$/m.exec(block)[1]) }));
}

const named = (events, name) => events.filter((e) => e.event === name)
  .map((e) => e.data);
const textOf = (events) => named(events, 'delta').map((d) => d.text).join('');

// What the client saw is what is stored.
function agrees(events) {
  const done = events.at(-1);
  assert.equal(done.event, 'done', JSON.stringify(done));
  assert.equal(done.data.content, textOf(events));
  assert.deepEqual(done.data.tool_calls.map(({ round, ...call }) => call),
    named(events, 'tool_call'));
  assert.deepEqual(done.data.tool_responses.map(({ ms, ...result }) => result),
    named(events, 'tool_result'));
  return done.data;
}

const tests = {
  async 'text and two calls at once'() {
    const person = await newPerson();
    const events = await say(person, 'note milk');
    const done = agrees(events);
    assert.equal(textOf(events),
      'Let me note that.\n\nNoted, and nothing else is open.');
    assert.deepEqual(named(events, 'tool_call').map((call) => call.name),
      ['create_task', 'list_tasks']);
    assert.equal(done.tool_responses[0].result.task.title, 'Milk');
    assert.equal(done.tool_responses[1].result.tasks[0].title, 'Milk');
    assert.equal(stack.sql(`SELECT count(*) FROM chat.tasks
      WHERE user_id = '${person.user}' AND title = 'Milk'`), '1');
  },
  async 'one call after the other'() {
    const person = await newPerson();
    const done = agrees(await say(person, 'two steps'));
    assert.deepEqual(done.tool_calls.map((call) => call.round), [1, 2]);
    assert.equal(done.tool_responses[1].result.tasks[0].title, 'Bread');
    assert.equal(done.finish_reason, 'stop');
  },
  async 'arguments that do not fit'() {
    const done = agrees(await say(await newPerson(), 'amiss'));
    assert.equal(done.content, 'It lacked a title.');
    assert.equal(done.tool_responses[0].result.error, 'invalid_arguments');
  },
  async 'later questions tell it'() {
    const person = await newPerson();
    await say(person, 'note milk');
    agrees(await say(person, 'and before?'));
    const { body } = await stack.asked('and before?');
    const roles = body.messages.map((message) => message.role);
    assert.deepEqual(roles.slice(-6),
      ['user', 'assistant', 'tool', 'tool', 'assistant', 'user']);
  },
};

let failed = 0;
try {
  for (const [name, test] of Object.entries(tests)) {
    try {
      await test();
      console.log(`ok   ${name}`);
    } catch (error) {
      failed++;
      console.log(`FAIL ${name}\n${error.stack}`);
    }
  }
} finally {
  await stack.stop();
  process.chdir(here);
  rmSync(dir, { recursive: true, force: true });
}
console.log(`${Object.keys(tests).length - failed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
