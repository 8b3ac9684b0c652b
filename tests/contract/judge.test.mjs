// The judge itself: what is as described passes, and each way of not being so
// is found. On a small description of its own.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Description, vague } from './description.mjs';
import { judge, readEvents } from './judge.mjs';

const d = new Description(`
openapi: 3.1.0
x-any-response: {headers: {X-Request-Id: {required: true, schema: {type: string}}}}
x-any-path:
  "204": {x-method: OPTIONS, description: A preflight}
  "404": {description: "\`no_route\`", content: {application/problem+json: {schema: {$ref: "#/components/schemas/Problem"}}}}
paths:
  /api/v1/things:
    post:
      requestBody:
        required: true
        content: {application/json: {schema: {$ref: "#/components/schemas/ThingNew"}}}
      responses:
        "201":
          description: Made
          headers: {Retry-After: {schema: {type: integer, minimum: 1}}}
          content: {application/json: {schema: {$ref: "#/components/schemas/ThingWhole"}}}
        "204": {description: Nothing to do}
        "409": {description: "\`conflict\`: twice", content: {application/problem+json: {schema: {$ref: "#/components/schemas/Problem"}}}}
  /api/v1/things/{id}:
    get:
      parameters:
        - {name: id, in: path, required: true, schema: {type: integer}}
        - {name: limit, in: query, schema: {type: integer, maximum: 9}}
      responses:
        "200":
          description: It
          content:
            application/json: {schema: {$ref: "#/components/schemas/Thing"}}
            text/event-stream: {schema: {$ref: "#/components/schemas/Event"}}
  /api/v1/chunks:
    get:
      responses: {"200": {description: Events without names, content: {text/event-stream: {x-end: "[DONE]", schema: {$ref: "#/components/schemas/Thing"}}}}}
  /api/v1/things/search:
    get:
      responses: {"200": {description: All, content: {text/plain: {schema: {type: string}}}}}
components:
  schemas:
    Problem: {type: object, required: [code], properties: {code: {type: string}}}
    ThingNew: {type: object, additionalProperties: false, required: [name], properties: {name: {type: string}}}
    Thing: {type: object, required: [name], properties: {name: {type: string}, more: {type: object, additionalProperties: true}, in: {type: object, properties: {a: {type: integer}}}}}
    ThingWhole: {allOf: [{$ref: "#/components/schemas/Thing"}, {type: object, required: [key], properties: {key: {type: string}}}]}
    Event: {oneOf: [{$ref: "#/components/schemas/Start"}]}
    Start: {type: object, required: [event, data], properties: {event: {const: start}, data: {type: object, required: [n], properties: {n: {type: integer}}}}}
`);

const head = (type, ...more) => ['HTTP/1.1 200 OK', 'Date: today', 'X-Request-Id: r',
  ...(type ? [`Content-Type: ${type}`] : []), ...more, '', ''].join('\r\n');
const got = (over) => ({ method: 'GET', path: '/api/v1/things/7', status: 200, whole: true,
  head: head('application/json; charset=utf-8'), body: '{"name":"a"}', ...over });
const made = (over) => ({ ...got({ method: 'POST', path: '/api/v1/things', status: 201,
  sent_type: 'application/json', sent: '{"name":"a"}', body: '{"name":"a","key":"k"}' }), ...over });
const problem = (status, code, over) => made({ status, body: `{"code":"${code}"}`,
  head: head('application/problem+json'), ...over });
const stream = (body) => got({ head: head('text/event-stream'), body });
const chunks = (body) => ({ ...stream(body), path: '/api/v1/chunks' });

const right = {
  'a response': got(),
  'free-form members': got({ body: '{"name":"a","more":{"x":1}}' }),
  'a whole of two parts': made(),
  'a problem whose code is named': problem(409, 'conflict'),
  'what any path may answer': problem(404, 'no_route', { path: '/api/v9' }),
  'a preflight': got({ method: 'OPTIONS', status: 204, head: head(), body: '' }),
  'no body': made({ status: 204, head: head(), body: '' }),
  'a path with escapes': got({ path: '/api/v1/%74hings/7' }),
  'HEAD': got({ method: 'HEAD', body: '' }),
  'a body that was cut': got({ whole: false, body: '{"na' }),
  'a literal segment before a named one': got({ path: '/api/v1/things/search', head: head('text/plain'), body: 'x' }),
  'an event, then half of one': stream('event: start\ndata: {"n":1}\n\nevent: sta'),
  'events without names': chunks('data: {"name":"a"}\n\ndata: [DONE]\n\n'),
  'a described parameter': got({ path: '/api/v1/things/7?limit=3' }),
  'a request too large to be kept': made({ sent: undefined }),
  'a malformed request that was refused': problem(409, 'conflict', { sent: '{' }),
};

const wrong = {
  'an unknown field': [got({ body: '{"name":"a","extra":1}' }), /"extra"/],
  'an unknown field further in': [got({ body: '{"name":"a","in":{"b":1}}' }), /"b"/],
  'an unknown field of a whole of two parts': [made({ body: '{"name":"a","key":"k","x":1}' }), /"x"/],
  'a missing field': [got({ body: '{}' }), /required/],
  'another type': [got({ body: '{"name":1}' }), /must be string/],
  'no JSON': [got({ body: '{"na' }), /no JSON/],
  'an unknown route': [got({ path: '/api/v1/others' }), /status is not described/],
  'an unknown status': [got({ status: 202 }), /status is not described/],
  'a preflight\'s status elsewhere': [got({ status: 204, head: head(), body: '' }), /status is not described/],
  'another content type': [got({ head: head('text/html') }), /text\/html is not described/],
  'a body where none is described': [made({ status: 204, head: head() }), /none is described/],
  'an unknown header': [got({ head: head('application/json', 'X-New: 1') }), /header x-new is not described/],
  'a header of another form': [made({ head: head('application/json', 'Retry-After: soon') }), /retry-after is not as/],
  'a missing header': [got({ head: 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n' }), /x-request-id is missing/],
  'a code that is not named': [problem(409, 'other'), /code other/],
  'not_found where only no_route is named': [problem(404, 'not_found'), /code not_found/],
  'an unknown event': [stream('event: other\ndata: {}\n\n'), /"other" is not described/],
  'an unknown field of data without a name': [chunks('data: {"name":"a","m":2}\n\n'), /"m"/],
  'an end that is not described': [chunks('data: [OVER]\n\n'), /no JSON/],
  'an unknown field of an event': [stream('event: start\ndata: {"n":1,"m":2}\n\n'), /"m"/],
  'a request that should not have been taken': [made({ sent: '{"name":"a","x":1}' }), /sent .*"x"/],
  'a request without its body': [made({ sent_type: undefined }), /required/],
  'a parameter that is too large': [got({ path: '/api/v1/things/7?limit=10' }), /limit was taken/],
  'an unknown parameter': [got({ path: '/api/v1/things/7?x=1' }), /x is not described/],
  'a path of another form': [got({ path: '/api/v1/things/seven' }), /\{id\} was taken/],
};

for (const [name, x] of Object.entries(right))
  test(`passes: ${name}`, () => assert.deepEqual(judge(d, x).wrong, []));
for (const [name, [x, sentence]] of Object.entries(wrong))
  test(`finds: ${name}`, () => assert.match(judge(d, x).wrong.join('\n'), sentence));

test('pages of the site are nobody\'s', () => assert.equal(judge(d, got({ path: '/blog' })), null));
test('comments are no events', () =>
  assert.deepEqual(readEvents(': still here\n\nid: 1\nevent: e\ndata: a\ndata: b\n\n'),
    [{ id: '1', event: 'e', data: 'a\nb' }]));
test('an object must say what it is', () =>
  assert.deepEqual(vague({ a: { type: 'object' }, b: { type: 'object', additionalProperties: true } }), ['/a']));
