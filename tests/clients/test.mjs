// Natter as programs that were made for OpenAI meet it: the packages `openai`
// and `ai` as npm has them, through nginx. Prints a line a test and
// "N passed, N failed".
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { APICallError, generateText, stepCountIs, streamText, tool } from 'ai';
import OpenAI from 'openai';
import { z } from 'zod';
import { masked, withheld } from './kept_back.mjs';
import { aiModel, caught, get, MODEL, newPerson, openai, post, says, stack,
  storedOf, usageOf, use } from './people.mjs';
import { programs } from './programs.mjs';
import { startStack } from './stack.mjs';

const CREATE_TASK = { type: 'function', function: { name: 'create_task',
  description: 'Makes a task', parameters: { type: 'object',
    properties: { title: { type: 'string' } }, required: ['title'] } } };

const tests = {
  // ---- openai ----

  async openai_lists_models_and_finds_one() {
    const client = openai((await newPerson()).key);
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    assert.deepEqual(ids, [MODEL, 'natter-local']);
    const model = await client.models.retrieve(MODEL);
    assert.deepEqual({ ...model, created: 0 },
      { id: MODEL, object: 'model', created: 0, owned_by: 'upstream' });
    const error = await caught(client.models.retrieve('nobody'));
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, 'model_not_found');
  },

  async openai_gets_an_answer_in_one_piece() {
    const person = await newPerson();
    const { data, response, request_id } = await openai(person.key)
      .chat.completions.create({ model: MODEL, messages: says('hello') })
      .withResponse();
    assert.match(data.id, /^chatcmpl-[0-9a-f-]{36}$/);
    assert.equal(data.object, 'chat.completion');
    assert.equal(data.choices.length, 1);
    assert.equal(data.choices[0].message.role, 'assistant');
    assert.equal(data.choices[0].message.content, 'Hi there!');
    assert.equal(data.choices[0].finish_reason, 'stop');
    assert.equal(data.usage.total_tokens, 33);
    assert.ok(request_id);
    assert.ok(Number(response.headers.get('x-ratelimit-limit-tokens')) > 0);
    assert.match(response.headers.get('x-ratelimit-reset-tokens'), /^\d+[hms]/);
    assert.match(response.headers.get('openai-processing-ms'), /^\d+$/);
    assert.deepEqual(await usageOf(person),
      { count: 1, prompt: 11, completion: 22, estimated: 0 });
    assert.equal(storedOf(person), 0);
  },

  async openai_takes_an_access_token_as_its_key() {
    const { token } = await newPerson();
    const answer = await openai(token).chat.completions.create(
      { model: MODEL, messages: says('hello') });
    assert.equal(answer.choices[0].message.content, 'Hi there!');
  },

  async openai_streams_and_hears_the_usage_where_it_asked() {
    const person = await newPerson();
    for (const include_usage of [true, false]) {
      const chunks = [];
      const stream = await openai(person.key).chat.completions.create({
        model: MODEL, messages: says('hello'), stream: true,
        stream_options: { include_usage } });
      for await (const chunk of stream) chunks.push(chunk);
      const choices = chunks.filter((chunk) => chunk.choices.length > 0);
      assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
      assert.match(chunks[0].id, /^chatcmpl-[0-9a-f-]{36}$/);
      assert.equal(choices[0].choices[0].delta.role, 'assistant');
      assert.equal(choices.at(-1).choices[0].finish_reason, 'stop');
      assert.equal(choices.map((chunk) => chunk.choices[0].delta.content ?? '')
        .join(''), 'Hi there!');
      assert.equal(chunks.filter((chunk) => chunk.usage).length,
        include_usage ? 1 : 0);
      if (include_usage) {
        assert.deepEqual(chunks.at(-1).choices, []);
        assert.equal(chunks.at(-1).usage.total_tokens, 33);
      }
    }
    assert.deepEqual(await usageOf(person),
      { count: 2, prompt: 22, completion: 44, estimated: 0 });
  },

  async openai_calls_tools_and_tells_their_results() {
    const person = await newPerson(), client = openai(person.key);
    const ask = { model: MODEL, messages: says('create task please'),
      tools: [CREATE_TASK], tool_choice: 'auto' };
    const first = await client.chat.completions.create(ask);
    const [call] = first.choices[0].message.tool_calls;
    assert.equal(first.choices[0].finish_reason, 'tool_calls');
    assert.equal(first.choices[0].message.content, null);
    assert.equal(call.type, 'function');
    assert.equal(call.function.name, 'create_task');
    assert.deepEqual(JSON.parse(call.function.arguments), { title: 'Buy milk' });
    assert.equal('index' in call, false);
    const second = await client.chat.completions.create({ ...ask, messages: [
      ...ask.messages, first.choices[0].message,
      { role: 'tool', tool_call_id: call.id, content: 'done' }] });
    assert.equal(second.choices[0].message.content, 'Task created.');
    const { body } = await stack.asked(call.id);
    assert.deepEqual(body.tools, ask.tools);
    assert.equal(body.tool_choice, 'auto');
    assert.equal(body.messages[2].tool_call_id, call.id);
  },

  async openai_puts_streamed_tool_calls_together() {
    const client = openai((await newPerson()).key);
    const stream = client.chat.completions.stream({ model: MODEL,
      messages: says('create task please'), tools: [CREATE_TASK] });
    const { choices: [choice] } = await stream.finalChatCompletion();
    assert.equal(choice.finish_reason, 'tool_calls');
    assert.equal(choice.message.tool_calls[0].function.arguments,
      '{"title":"Buy milk"}');
  },

  async openai_runs_tools_by_itself() {
    const client = openai((await newPerson()).key);
    const titles = [];
    const runner = client.chat.completions.runTools({ model: MODEL,
      messages: says('create task please'), tools: [{ type: 'function',
        function: { ...CREATE_TASK.function, parse: JSON.parse,
          function: ({ title }) => { titles.push(title); return 'ok'; } } }] });
    assert.equal(await runner.finalContent(), 'Task created.');
    assert.deepEqual(titles, ['Buy milk']);
  },

  async what_nobody_here_knows_goes_to_the_model_and_what_is_ours_does_not() {
    const person = await newPerson(), label = randomBytes(6).toString('hex');
    await openai(person.key).chat.completions.create({ model: 'other-model',
      messages: [{ role: 'developer', content: 'Be brief.' },
        { role: 'user', content: [{ type: 'text', text: `hello ${label}` },
          { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } }] }],
      seed: 7, temperature: 0.25, stop: ['x'], logit_bias: { 50256: -100 },
      response_format: { type: 'json_object' }, user: 'mallory',
      some_new_thing: { deep: [1, 2.50, 'ü'] }, metadata: { a: 'b' },
      max_completion_tokens: 77, n: 1 });
    const { body, headers } = await stack.asked(label);
    assert.equal(body.model, 'other-model');
    assert.equal(body.messages[0].role, 'developer');
    assert.equal(body.messages[1].content[1].image_url.url,
      'data:image/png;base64,AA==');
    assert.deepEqual(body.some_new_thing, { deep: [1, 2.5, 'ü'] });
    assert.deepEqual([body.seed, body.temperature, body.stop, body.logit_bias],
      [7, 0.25, ['x'], { 50256: -100 }]);
    assert.deepEqual(body.response_format, { type: 'json_object' });
    assert.equal(body.user, person.id);
    assert.equal(body.max_completion_tokens, 77);
    assert.equal(body.max_tokens, undefined);
    for (const name of ['metadata', 'store', 'n'])
      assert.equal(name in body, false, name);
    assert.ok(!JSON.stringify(headers).includes(person.key));
  },

  async openai_keeps_a_conversation() {
    const person = await newPerson();
    const { data, response } = await openai(person.key).chat.completions.create({
      model: MODEL, store: true, metadata: { order: '12345' },
      messages: [{ role: 'system', content: 'Be brief.' }, ...says('hello')] })
      .withResponse();
    const id = response.headers.get('x-natter-conversation-id');
    const { data: [kept] } = await get('/conversations', person.token);
    assert.equal(kept.id, id);
    assert.equal(kept.title, 'hello');
    assert.deepEqual(kept.metadata, { order: '12345' });
    assert.equal(kept.message_count, 3);
    const { data: messages } =
      await get(`/conversations/${id}/messages`, person.token);
    assert.deepEqual(messages.map(({ role, content }) => [role, content]),
      [['system', 'Be brief.'], ['user', 'hello'], ['assistant', 'Hi there!']]);
    assert.equal(`chatcmpl-${messages[2].id}`, data.id);
    assert.equal(messages[2].usage.completion_tokens, 22);
    // It goes on as any conversation does.
    const next = await post(`/conversations/${id}/messages`,
      { content: 'hello again' }, person.token);
    assert.equal(next.content, 'Hi there!');
  },

  async openai_throws_what_it_should() {
    const person = await newPerson(), client = openai(person.key);
    const ask = (more) => caught(client.chat.completions.create(
      { model: MODEL, messages: says('hello'), ...more }));
    let error = await caught(openai('sk-nonsense').models.list());
    assert.ok(error instanceof OpenAI.AuthenticationError);
    assert.equal(error.code, 'invalid_api_key');
    error = await caught(openai((await newPerson(['read'])).key)
      .chat.completions.create({ model: MODEL, messages: says('hello') }));
    assert.ok(error instanceof OpenAI.PermissionDeniedError);
    assert.equal(error.code, 'insufficient_scope');
    error = await ask({ messages: [{ role: 'owner', content: 'x' }] });
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, 'messages[0].role');
    error = await ask({ n: 2 });
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, 'n');
    error = await caught(client.post('/nowhere', { body: {} }));
    assert.ok(error instanceof OpenAI.NotFoundError);
    error = await ask({ messages: says('refuse me') });
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, 'temperature');
    assert.match(error.message, /Invalid value for 'temperature'/);
    error = await ask({ messages: says('no such model') });
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, 'model_not_found');
    // The model's server refuses us: that is none of the client's business.
    error = await ask({ messages: says('bad key') });
    assert.ok(error instanceof OpenAI.InternalServerError);
    assert.ok(!error.message.includes('upstream-key'));
    assert.ok(error.requestID);
    assert.equal((await usageOf(person)).completion, 0);
  },

  async openai_streams_fail_with_a_status_before_the_first_token() {
    const client = openai((await newPerson()).key);
    const error = await caught(client.chat.completions.create(
      { model: MODEL, messages: says('refuse me'), stream: true }));
    assert.ok(error instanceof OpenAI.BadRequestError);
    const down = await caught(client.chat.completions.create(
      { model: MODEL, messages: says('all is down'), stream: true }));
    assert.ok(down instanceof OpenAI.InternalServerError);
    assert.ok(down.status === 502 || down.status === 503);
  },

  async openai_hears_that_a_budget_is_used_up_and_does_not_try_again() {
    const person = await newPerson();
    stack.sql(`INSERT INTO auth.limits (id, user_id, name, value) VALUES
      (natter.uuid_v7(), '${person.id}', 'tokens_per_day', 5)`);
    const statuses = [];
    const client = openai(person.key, { maxRetries: 2,
      fetch: async (...args) => {
        const response = await fetch(...args);
        statuses.push(response.status);
        return response;
      } });
    const error = await caught(client.chat.completions.create(
      { model: MODEL, messages: says('hello') }));
    assert.ok(error instanceof OpenAI.RateLimitError);
    assert.equal(error.code, 'insufficient_quota');
    assert.equal(error.type, 'insufficient_quota');
    assert.ok(Number(error.headers.get('retry-after')) > 0);
    assert.deepEqual(statuses, [429]);
    assert.equal((await usageOf(person)).count, 0);
  },

  async openai_tries_again_when_too_many_run_at_once() {
    const person = await newPerson();
    stack.sql(`INSERT INTO auth.limits (id, user_id, name, value) VALUES
      (natter.uuid_v7(), '${person.id}', 'streams', 1)`);
    const client = openai(person.key);
    const slow = await client.chat.completions.create(
      { model: MODEL, messages: says('say it slowly'), stream: true });
    const error = await caught(client.chat.completions.create(
      { model: MODEL, messages: says('hello') }));
    assert.ok(error instanceof OpenAI.RateLimitError);
    assert.equal(error.code, 'rate_limit_exceeded');
    assert.ok(Number(error.headers.get('retry-after')) > 0);
    const patient = openai(person.key, { maxRetries: 5 })
      .chat.completions.create({ model: MODEL, messages: says('hello') });
    for await (const chunk of slow) assert.ok(chunk.id);
    assert.equal((await patient).choices[0].message.content, 'Hi there!');
  },

  async a_model_that_fails_once_is_asked_again() {
    const client = openai((await newPerson()).key);
    const answer = await client.chat.completions.create(
      { model: MODEL, messages: says('flaky') });
    assert.equal(answer.choices[0].message.content, 'second try worked');
  },

  async openai_aborts_and_pays_for_what_came() {
    const person = await newPerson();
    const abort = new AbortController();
    const stream = await openai(person.key).chat.completions.create(
      { model: MODEL, messages: says('say it slowly'), stream: true },
      { signal: abort.signal });
    let text = '';
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      if (text.length > 10) abort.abort();
    }
    const usage = await usageOf(person);
    assert.equal(usage.count, 1);
    assert.equal(usage.estimated, 1);
    assert.ok(usage.completion >= Math.floor(text.length / 4), 'unbilled');
    assert.ok(usage.completion < 50, 'it went on');
    assert.equal(storedOf(person), 0);
  },

  async openai_hears_of_a_stream_that_breaks_off() {
    const person = await newPerson();
    const stream = await openai(person.key).chat.completions.create(
      { model: MODEL, messages: says('cut it'), stream: true });
    let text = '';
    const error = await caught((async () => {
      for await (const chunk of stream)
        text += chunk.choices[0]?.delta.content ?? '';
    })());
    assert.ok(error instanceof OpenAI.APIError);
    assert.equal(error.code, 'model_cut');
    assert.ok(text.length > 0);
    const usage = await usageOf(person);
    assert.ok(usage.completion > 0 && usage.estimated === 1);
  },

  // ---- ai ----

  async ai_generates_text() {
    const { text, usage, finishReason } = await generateText(
      { model: aiModel((await newPerson()).key), prompt: 'hello', maxRetries: 0 });
    assert.equal(text, 'Hi there!');
    assert.equal(finishReason, 'stop');
    assert.equal(usage.inputTokens, 11);
    assert.equal(usage.outputTokens, 22);
  },

  async ai_streams_text_with_its_usage() {
    const person = await newPerson();
    const result = streamText({ model: aiModel(person.key), prompt: 'hello',
      maxRetries: 0 });
    let text = '';
    for await (const piece of result.textStream) text += piece;
    assert.equal(text, 'Hi there!');
    assert.equal((await result.usage).totalTokens, 33);
    assert.equal(await result.finishReason, 'stop');
    assert.deepEqual(await usageOf(person),
      { count: 1, prompt: 11, completion: 22, estimated: 0 });
  },

  async ai_runs_a_loop_of_tools() {
    const cities = [];
    const { text, steps } = await generateText({ maxRetries: 0,
      model: aiModel((await newPerson()).key), prompt: 'the weather, please',
      stopWhen: stepCountIs(3), tools: { weather: tool({
        description: 'The weather', inputSchema: z.object({ city: z.string() }),
        execute: async ({ city }) => { cities.push(city); return 'sunny'; } }) } });
    assert.equal(text, 'It is sunny.');
    assert.equal(steps.length, 2);
    assert.deepEqual(cities, ['Oslo']);
  },

  async ai_streams_a_loop_of_tools() {
    const result = streamText({ maxRetries: 0,
      model: aiModel((await newPerson()).key), prompt: 'the weather, please',
      stopWhen: stepCountIs(3), tools: { weather: tool({
        inputSchema: z.object({ city: z.string() }),
        execute: async () => 'sunny' }) } });
    let text = '';
    for await (const piece of result.textStream) text += piece;
    assert.equal(text, 'It is sunny.');
  },

  async ai_aborts_and_pays_for_what_came() {
    const person = await newPerson();
    const abort = new AbortController();
    const result = streamText({ model: aiModel(person.key), maxRetries: 0,
      prompt: 'say it slowly', abortSignal: abort.signal });
    let text = '';
    for await (const part of result.fullStream) {
      if (part.type === 'text-delta') text += part.text;
      if (text.length > 10) abort.abort();
    }
    const usage = await usageOf(person);
    assert.equal(usage.count, 1);
    assert.ok(usage.completion >= 1 && usage.completion < 50);
  },

  async ai_throws_what_it_should() {
    const error = await caught(generateText({ model: aiModel('sk-nonsense'),
      prompt: 'hello', maxRetries: 0 }));
    assert.ok(APICallError.isInstance(error));
    assert.equal(error.statusCode, 401);
    assert.equal(error.isRetryable, false);
    const refused = await caught(generateText({ prompt: 'refuse me',
      model: aiModel((await newPerson()).key), maxRetries: 0 }));
    assert.equal(refused.statusCode, 400);
    assert.match(refused.message, /temperature/);
    const down = await caught(generateText({ prompt: 'all is down',
      model: aiModel((await newPerson()).key), maxRetries: 0 }));
    assert.equal(down.isRetryable, true);
  },
};

// ---- running them ----

const groups = [
  { options: { model: MODEL }, tests: { ...tests, ...programs } },
  { options: { model: 'openai/gpt-4o', masks: true }, tests: masked },
  { options: { model: 'openai/gpt-4o', masks: true, withholds: true },
    tests: { ...masked, ...withheld } },
];

async function runTest(name, test, count) {
  const began = Date.now();
  try {
    await test();
    count.passed++;
    console.log(`ok - ${name} (${Date.now() - began} ms)`);
  } catch (error) {
    count.failed++;
    console.log(`not ok - ${name}\n    ${error.stack}`);
  }
}

async function runGroup({ options, tests: all }, count) {
  const chosen = Object.entries(all)
    .filter(([name]) => name.includes(process.argv[2] ?? ''));
  if (chosen.length === 0) return;
  use(await startStack(options));
  for (const [name, test] of chosen) await runTest(name, test, count);
  await stack.stop();
}

const count = { passed: 0, failed: 0 };
for (const group of groups) {
  await runGroup(group, count).catch((error) => {
    count.failed++;
    console.log(error.stack);
  });
}
console.log(`${count.passed} passed, ${count.failed} failed`);
process.exit(count.failed === 0 && count.passed > 0 ? 0 : 1);
