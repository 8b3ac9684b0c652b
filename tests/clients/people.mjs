// People of a stack, and the clients that they use.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import OpenAI from 'openai';
import { sleep } from './stack.mjs';

const PASSWORD = 'correct horse battery';
export const MODEL = 'gpt-4o-mini';

// The stack that is tested now.
export let stack;
export const use = (other) => { stack = other; };

// ---- people ----

export async function post(path, body, token) {
  const response = await fetch(`${stack.base}/api/v1${path}`, {
    method: 'POST', body: JSON.stringify(body), headers: {
      'Content-Type': 'application/json',
      ...(token && { Authorization: `Bearer ${token}` }) } });
  const answer = await response.json();
  assert.ok(response.ok, JSON.stringify(answer));
  return answer;
}

export async function get(path, token) {
  const response = await fetch(`${stack.base}/api/v1${path}`,
    { headers: { Authorization: `Bearer ${token}` } });
  return response.json();
}

// Somebody new, with a personal API key as its client's.
export async function newPerson(scopes = ['read', 'chat']) {
  const username = `client-${randomBytes(6).toString('hex')}`;
  const { access_token: token, user } =
    await post('/auth/register', { username, password: PASSWORD });
  const { key } = await post('/auth/keys', { name: 'test', scopes }, token);
  return { token, key, id: user.id };
}

export const openai = (apiKey, more) => new OpenAI({ apiKey, maxRetries: 0,
  baseURL: `${stack.base}/openai/v1`, ...more });
export const aiModel = (apiKey, model = MODEL) => createOpenAICompatible({
  name: 'natter', apiKey, baseURL: `${stack.base}/openai/v1`,
  includeUsage: true, supportsStructuredOutputs: true })(model);
export const says = (content) => [{ role: 'user', content }];

export async function caught(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  return assert.fail('it did not throw');
}

// The usage of somebody's completions, once none runs: count, prompt,
// completion and how many are estimated.
export async function usageOf(person) {
  const runs = () => Number(stack.sql(`SELECT count(*) FROM
    chat.running_replies WHERE user_id = '${person.id}'`));
  for (let i = 0; i < 300 && runs() > 0; i++) await sleep(100);
  assert.equal(runs(), 0, 'a completion still runs');
  assert.equal(stack.sql(`SELECT count(*) FROM chat.budgets_amiss(date_trunc(
    'month', now() AT TIME ZONE 'UTC' - interval '1 day')::date) a
    WHERE a.user_id = '${person.id}'`), '0');
  const [count, prompt, completion, estimated] = stack.sql(
    `SELECT count(*), coalesce(sum(prompt_tokens), 0),
     coalesce(sum(completion_tokens), 0), count(*) FILTER (WHERE is_estimated)
     FROM chat.usage_tracking WHERE user_id = '${person.id}'`)
    .split('|').map(Number);
  return { count, prompt, completion, estimated };
}

export const storedOf = (person) => Number(stack.sql(`SELECT
  (SELECT count(*) FROM chat.messages WHERE user_id = '${person.id}') +
  (SELECT count(*) FROM chat.conversations WHERE user_id = '${person.id}')`));
