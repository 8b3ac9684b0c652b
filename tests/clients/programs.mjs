// What programs made for OpenAI's API send besides what its library shows:
// LangChain, LibreChat, Open WebUI, pages in a browser.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { generateObject } from 'ai';
import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { aiModel, caught, MODEL, newPerson, openai, says, stack }
  from './people.mjs';
import { ORIGIN, sleep } from './stack.mjs';

// Headers that a page may send without asking.
const SAFE = ['accept', 'accept-language', 'content-language'];

const bearer = (key) => ({ Authorization: `Bearer ${key}` });

async function send(key, body) {
  const response = await fetch(`${stack.base}/openai/v1/chat/completions`, {
    method: 'POST', body: JSON.stringify(body),
    headers: { ...bearer(key), 'Content-Type': 'application/json' } });
  return { status: response.status, text: await response.text() };
}

// As a browser does it: asks first whether the page may send these headers,
// then hides from it what it may not read.
async function pageFetch(url, init, asked) {
  const headers = new Headers(init.headers);
  const names = [...headers.keys()].filter((name) => !SAFE.includes(name));
  asked.push(...names);
  const preflight = await fetch(url, { method: 'OPTIONS', headers: {
    Origin: ORIGIN, 'Access-Control-Request-Method': init.method.toUpperCase(),
    'Access-Control-Request-Headers': names.join(',') } });
  const list = (response, name) => (response.headers.get(name) ?? '')
    .toLowerCase().split(/ *, */);
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers.get('access-control-allow-origin'), ORIGIN);
  assert.ok(list(preflight, 'access-control-allow-methods')
    .includes(init.method.toLowerCase()));
  for (const name of names)
    assert.ok(list(preflight, 'access-control-allow-headers').includes(name),
      `a page may not send ${name}`);
  headers.set('Origin', ORIGIN);
  const response = await fetch(url, { ...init, headers });
  assert.equal(response.headers.get('access-control-allow-origin'), ORIGIN);
  const exposed = list(response, 'access-control-expose-headers');
  const seen = [...response.headers].filter(([name]) =>
    exposed.includes(name) || name === 'content-type');
  return new Response(response.body,
    { status: response.status, headers: seen });
}

export const programs = {
  async openai_works_in_a_page_of_an_allowed_origin() {
    const { token } = await newPerson(), asked = [];
    const client = openai(token, { dangerouslyAllowBrowser: true,
      organization: 'org-1', project: 'proj-1',
      defaultHeaders: { 'X-Title': 'A page', 'OpenAI-Beta': 'x' },
      fetch: (url, init) => pageFetch(url, init, asked) });
    const { data, response, request_id } = await client.chat.completions.create(
      { model: MODEL, messages: says('hello'), store: true },
      { idempotencyKey: 'a-key', headers: { 'Idempotency-Key': 'a-key' } })
      .withResponse();
    assert.equal(data.choices[0].message.content, 'Hi there!');
    assert.ok(request_id);
    for (const name of ['x-ratelimit-limit-tokens', 'openai-processing-ms',
      'x-ratelimit-remaining-requests', 'x-natter-conversation-id'])
      assert.ok(response.headers.get(name), name);
    for (const name of ['authorization', 'content-type', 'x-stainless-os',
      'x-stainless-retry-count', 'openai-organization', 'openai-project',
      'idempotency-key', 'x-title', 'openai-beta'])
      assert.ok(asked.includes(name), `${name} was not sent: ${asked}`);
    assert.equal((await client.models.retrieve(MODEL)).id, MODEL);
    const error = await caught(client.chat.completions.create(
      { model: MODEL, messages: says('hello'), n: 2 }));
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.ok(error.requestID);
    let text = '';
    for await (const chunk of await client.chat.completions.create(
      { model: MODEL, messages: says('hello'), stream: true }))
      text += chunk.choices[0]?.delta.content ?? '';
    assert.equal(text, 'Hi there!');
  },

  async a_page_of_another_origin_may_not() {
    const preflight = await fetch(`${stack.base}/openai/v1/chat/completions`, {
      method: 'OPTIONS', headers: { Origin: 'https://evil.example',
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'authorization' } });
    assert.equal(preflight.status, 405);
    assert.equal(preflight.headers.get('access-control-allow-origin'), null);
    assert.equal(preflight.headers.get('access-control-allow-headers'), null);
  },

  // As LangChain, LibreChat and Open WebUI ask: nulls where nothing is said,
  // what their users set, a picture, tools, and the developer's role.
  async programs_send_more_than_libraries_show() {
    const { key, id } = await newPerson();
    const label = randomBytes(6).toString('hex');
    const more = { temperature: 0.7, top_p: 1, frequency_penalty: 0,
      presence_penalty: 0, seed: 42, logprobs: true, top_logprobs: 2,
      logit_bias: { 50256: -100 }, parallel_tool_calls: false,
      service_tier: 'auto', reasoning_effort: 'low', verbosity: 'low',
      prompt_cache_key: 'k', safety_identifier: 's', stop: ['\n\n', 'Human:'],
      response_format: { type: 'text' }, modalities: ['text'] };
    const ours = { user: 'someone', metadata: { chat_id: '1' }, store: false,
      n: 1, max_tokens: 50, max_completion_tokens: null,
      stream: false, stream_options: null };
    const messages = [{ role: 'developer', content: 'Be brief.' },
      { role: 'user', name: 'anna', content: [
        { type: 'text', text: `hello ${label}` },
        { type: 'image_url', image_url: { url: 'https://example.com/a.png',
          detail: 'low' } }] },
      { role: 'assistant', content: '', tool_calls: [{ id: 'c1',
        type: 'function', function: { name: 'f', arguments: '{}' } }] },
      { role: 'tool', tool_call_id: 'c1', name: 'f',
        content: [{ type: 'text', text: 'done' }] },
      { role: 'assistant', content: null, refusal: 'no' },
      { role: 'user', content: 'hello' }];
    const tools = [{ type: 'function', function: { name: 'f', strict: true,
      parameters: { type: 'object', properties: {},
        additionalProperties: false } } }];
    const { status, text } = await send(key,
      { model: MODEL, messages, tools, tool_choice: 'none', ...more, ...ours });
    assert.equal(status, 200, text);
    const { body } = await stack.asked(label);
    assert.deepEqual(body.messages, messages);
    assert.deepEqual(body.tools, tools);
    for (const [name, value] of Object.entries(more))
      assert.deepEqual(body[name], value, name);
    assert.equal(body.user, id);
    assert.equal(body.max_tokens, 50);
    assert.equal('max_completion_tokens' in body, false);
  },

  // Open WebUI and LibreChat list the models first, and show them by `id`.
  async programs_list_models_first() {
    const { key } = await newPerson();
    const response = await fetch(`${stack.base}/openai/v1/models`,
      { headers: { ...bearer(key), 'Content-Type': 'application/json' } });
    const { object, data } = await response.json();
    assert.equal(object, 'list');
    for (const model of data) {
      assert.equal(model.object, 'model');
      assert.equal(typeof model.id, 'string');
      assert.ok(Number.isInteger(model.created));
      assert.equal(typeof model.owned_by, 'string');
    }
  },

  async both_names_of_the_longest_reply_hold() {
    const { key } = await newPerson();
    for (const ask of [{ max_tokens: 31 }, { max_completion_tokens: 32 },
      { max_tokens: 33, max_completion_tokens: 34 }]) {
      const label = randomBytes(6).toString('hex');
      await openai(key).chat.completions.create(
        { model: MODEL, messages: says(`hello ${label}`), ...ask });
      const { body } = await stack.asked(label);
      const most = Math.max(...Object.values(ask));
      for (const name of ['max_tokens', 'max_completion_tokens'])
        assert.equal(body[name], name in ask ? most : undefined, name);
    }
  },

  async openai_parses_what_a_schema_describes() {
    const answer = await openai((await newPerson()).key).chat.completions.parse(
      { model: MODEL, messages: says('a structured answer'), response_format:
        zodResponseFormat(z.object({ city: z.string(), days: z.number() }),
          'trip') });
    assert.deepEqual(answer.choices[0].message.parsed,
      { city: 'Oslo', days: 3 });
    const { body } = await stack.asked('a structured answer');
    assert.equal(body.response_format.type, 'json_schema');
    assert.equal(body.response_format.json_schema.name, 'trip');
    assert.equal(body.response_format.json_schema.strict, true);
  },

  async ai_generates_an_object() {
    const { object } = await generateObject({ maxRetries: 0,
      model: aiModel((await newPerson()).key), prompt: 'a structured answer',
      schema: z.object({ city: z.string(), days: z.number() }) });
    assert.deepEqual(object, { city: 'Oslo', days: 3 });
  },

  // What a library tries again by itself comes when Retry-After is over.
  async openai_waits_as_long_as_it_is_told() {
    const person = await newPerson(), tries = [];
    stack.sql(`INSERT INTO auth.limits (id, user_id, name, value) VALUES
      (natter.uuid_v7(), '${person.id}', 'turns_per_minute', 20)`);
    const ask = (client) => client.chat.completions.create(
      { model: MODEL, messages: says('hello') });
    let error;
    while (!error)
      await ask(openai(person.key)).catch((e) => { error = e; });
    assert.ok(error instanceof OpenAI.RateLimitError);
    assert.equal(error.code, 'rate_limit_exceeded');
    const answer = await ask(openai(person.key, { maxRetries: 5,
      fetch: async (url, init) => {
        const response = await fetch(url, init);
        tries.push({ at: Date.now(), status: response.status,
          wait: Number(response.headers.get('retry-after')) });
        return response;
      } }));
    assert.equal(answer.choices[0].message.content, 'Hi there!');
    assert.equal(tries[0].status, 429, JSON.stringify(tries));
    assert.equal(tries.at(-1).status, 200);
    for (let i = 0; i + 1 < tries.length; i++) {
      assert.ok(tries[i].wait > 0);
      assert.ok(tries[i + 1].at - tries[i].at >= tries[i].wait * 1000 - 50,
        JSON.stringify(tries));
    }
  },

  async openai_times_out_by_its_own_clock() {
    const person = await newPerson();
    const error = await caught(openai(person.key, { timeout: 300 })
      .chat.completions.create({ model: MODEL,
        messages: says('say it slowly') }));
    assert.ok(error instanceof OpenAI.APIConnectionTimeoutError);
    // What nobody waits for has ended, and is settled.
    const runs = () => Number(stack.sql(`SELECT count(*) FROM
      chat.running_replies WHERE user_id = '${person.id}'`));
    for (let i = 0; i < 300 && runs() > 0; i++) await sleep(100);
    assert.equal(runs(), 0);
  },
};
