// Sites that mask, and withhold replies until moderation has seen them, as
// clients made for OpenAI meet them. Their model has a slash in its name.
import assert from 'node:assert/strict';
import { generateText, stepCountIs, streamText, tool } from 'ai';
import OpenAI from 'openai';
import { ContentFilterFinishReasonError } from 'openai/error';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { aiModel, caught, get, newPerson, openai, says, stack, storedOf,
  usageOf } from './people.mjs';

const MODEL = 'openai/gpt-4o';
const MAIL = 'anna.smith@example.com', PHONE = '+49 30 1234567';
const QUESTION = `write to ${MAIL}, please`;

// Nothing of this was in anything that the model was asked.
async function expectMasked() {
  for (const secret of [MAIL, 'anna.smith', PHONE, '1234567'])
    assert.equal(await stack.asked(secret), undefined, secret);
}

async function joined(stream) {
  let text = '', finish = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? '';
    finish = chunk.choices[0]?.finish_reason ?? finish;
  }
  return { text, finish };
}

export const masked = {
  async openai_finds_a_model_with_a_slash_in_its_name() {
    const { key } = await newPerson(), client = openai(key);
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    assert.deepEqual(ids, [MODEL, 'natter-local']);
    const paths = [];
    const encoding = openai(key, { fetch: (url, init) => {
      paths.push(new URL(url).pathname);
      return fetch(url, init);
    } });
    assert.equal((await encoding.models.retrieve(MODEL)).id, MODEL);
    assert.deepEqual(paths, ['/openai/v1/models/openai%2Fgpt-4o']);
    // Others do not encode it.
    const plain = await fetch(`${stack.base}/openai/v1/models/${MODEL}`,
      { headers: { Authorization: `Bearer ${key}` } });
    assert.equal((await plain.json()).id, MODEL);
    const error = await caught(client.models.retrieve('openai/nobody'));
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, 'model_not_found');
  },

  async openai_hears_what_was_masked() {
    const person = await newPerson(), client = openai(person.key);
    const ask = { model: MODEL, messages: says(QUESTION) };
    const want = `I wrote to ${MAIL} at once.`;
    const { choices: [choice] } = await client.chat.completions.create(ask);
    assert.equal(choice.message.content, want);
    assert.equal(choice.finish_reason, 'stop');
    assert.deepEqual(await joined(await client.chat.completions.create(
      { ...ask, stream: true })), { text: want, finish: 'stop' });
    assert.equal((await stack.asked('[EMAIL_1]')).body.messages[0].content,
      'write to [EMAIL_1], please');
    await expectMasked();
    assert.equal((await usageOf(person)).count, 2);
    assert.equal(storedOf(person), 0);
  },

  async openai_keeps_what_was_said_and_not_what_was_sent() {
    const person = await newPerson();
    const { response } = await openai(person.key).chat.completions.create(
      { model: MODEL, messages: says(QUESTION), store: true }).withResponse();
    const id = response.headers.get('x-natter-conversation-id');
    const { data } = await get(`/conversations/${id}/messages`, person.token);
    assert.deepEqual(data.map(({ content }) => content),
      [QUESTION, `I wrote to ${MAIL} at once.`]);
    await expectMasked();
  },

  async openai_runs_tools_with_what_was_masked() {
    const client = openai((await newPerson()).key), told = [];
    for (const stream of [false, true]) {
      const runner = client.chat.completions.runTools({ model: MODEL, stream,
        messages: says(`call ${PHONE}`), tools: [{ type: 'function',
          function: { name: 'call', parse: JSON.parse,
            parameters: { type: 'object', properties: {
              number: { type: 'string' } } },
            function: (args) => {
              told.push(args);
              return JSON.stringify({ reached: PHONE, mail: MAIL });
            } } }] });
      assert.equal(await runner.finalContent(), `${MAIL} has answered.`);
    }
    assert.deepEqual(told, [{ number: PHONE }, { number: PHONE }]);
    await expectMasked();
    const { body } = await stack.asked('reached');
    assert.deepEqual(JSON.parse(body.messages.at(-1).content),
      { reached: '[PHONE_1]', mail: '[EMAIL_1]' });
    assert.deepEqual(
      JSON.parse(body.messages.at(-2).tool_calls[0].function.arguments),
      { number: '[PHONE_1]' });
  },

  async ai_runs_tools_with_what_was_masked() {
    const { key } = await newPerson(), told = [];
    const ask = { maxRetries: 0, model: aiModel(key, MODEL),
      prompt: `call ${PHONE}`, stopWhen: stepCountIs(3), tools: {
        call: tool({ inputSchema: z.object({ number: z.string() }),
          execute: async (args) => {
            told.push(args);
            return { reached: PHONE, mail: MAIL };
          } }) } };
    assert.equal((await generateText(ask)).text, `${MAIL} has answered.`);
    let text = '';
    for await (const piece of streamText(ask).textStream) text += piece;
    assert.equal(text, `${MAIL} has answered.`);
    assert.deepEqual(told, [{ number: PHONE }, { number: PHONE }]);
    await expectMasked();
  },

  async a_refusal_that_quotes_is_told_with_the_values() {
    const error = await caught(openai((await newPerson()).key)
      .chat.completions.create({ model: MODEL,
        messages: says(`refuse ${MAIL}`) }));
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.match(error.message, new RegExp(`'${MAIL}' is no colour`));
    await expectMasked();
  },
};

export const withheld = {
  async openai_throws_where_a_question_is_flagged() {
    const person = await newPerson();
    for (const stream of [false, true]) {
      const error = await caught(openai(person.key).chat.completions.create(
        { model: MODEL, messages: says('a forbidden question'), stream }));
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.equal(error.code, 'content_filter');
    }
    assert.equal(await stack.asked('a forbidden question'), undefined);
    assert.equal((await usageOf(person)).completion, 0);
  },

  async openai_hears_nothing_of_a_reply_that_is_flagged() {
    const person = await newPerson(), client = openai(person.key);
    const ask = { model: MODEL, messages: says('tell me a secret') };
    const { choices: [choice], usage } =
      await client.chat.completions.create(ask);
    assert.equal(choice.message.content, '');
    assert.equal(choice.finish_reason, 'content_filter');
    assert.ok(usage.completion_tokens > 0);
    assert.deepEqual(await joined(await client.chat.completions.create(
      { ...ask, stream: true })), { text: '', finish: 'content_filter' });
    const error = await caught(client.chat.completions.parse({ ...ask,
      response_format: zodResponseFormat(z.object({ a: z.string() }), 'x') }));
    assert.ok(error instanceof ContentFilterFinishReasonError,
      error.stack);
    const { finishReason, text } = await generateText(
      { model: aiModel(person.key, MODEL), prompt: 'tell me a secret',
        maxRetries: 0 });
    assert.equal(finishReason, 'content-filter');
    assert.equal(text, '');
    const usages = await usageOf(person);
    assert.equal(usages.count, 4);
    assert.ok(usages.completion > 0, 'it is not billed');
    assert.equal(storedOf(person), 0);
  },
};
