// One exchange against the description: a list of sentences, empty when all is
// as it is written. They name fields, never their values, which may be secret.

// What HTTP, nginx and a proxy add of themselves.
const TRANSPORT = new Set(['date', 'server', 'connection', 'keep-alive',
  'content-type', 'content-length', 'transfer-encoding']);

export function readHead(head) {
  const headers = new Map();
  for (const line of head.split('\r\n').slice(1)) {
    const colon = line.indexOf(':');
    if (colon > 0)
      headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  return headers;
}

// Whole events of a stream that may have been cut: data as it was sent.
export function readEvents(body) {
  return body.split('\n\n').slice(0, -1).map((block) => {
    const event = {};
    for (const line of block.split('\n')) {
      const [, field, value] = /^(id|event|data): ?(.*)$/.exec(line) ?? [];
      if (field) event[field] = field === 'data' && event.data !== undefined
        ? `${event.data}\n${value}` : value;
    }
    return event;
  }).filter((e) => e.event !== undefined || e.data !== undefined);
}

const mediaType = (text) => (text ?? '').split(';')[0].trim().toLowerCase();

function parseJson(text, out) {
  try {
    return JSON.parse(text);
  } catch {
    out.push('is no JSON');
    return undefined;
  }
}

function complaints(validate) {
  return validate.errors.filter((e) => e.keyword !== 'oneOf' && e.keyword !== 'anyOf')
    .concat(validate.errors).slice(0, 4).map((e) => {
      const at = e.instancePath.replace(/\/\d+(?=\/|$)/g, '/…') || '/';
      const field = e.params.unevaluatedProperty ?? e.params.additionalProperty ?? '';
      return `${at}: ${e.message}${field && ` ("${field}")`}`;
    });
}

function judgeJson(d, schema, value, kind) {
  const validate = d.validator(schema, kind);
  return validate(value) ? [] : complaints(validate);
}

// An event without a name is its data; x-end is what the last one says.
function judgeData(d, media, data) {
  const out = [];
  if (data === media['x-end']) return out;
  const value = parseJson(data, out);
  return out.length ? out : judgeJson(d, media.schema, value, 'answers');
}

function judgeEvents(d, media, body) {
  return readEvents(body).flatMap((event) => {
    const out = [];
    if (event.event === undefined)
      return judgeData(d, media, event.data).map((s) => `event: ${s}`);
    const kind = d.event(media.schema, event.event);
    if (!kind) return [`event "${event.event}" is not described`];
    event.data = parseJson(event.data ?? '', out);
    return (out.length ? out : judgeJson(d, kind, event, 'answers'))
      .map((s) => `event ${event.event}: ${s}`);
  });
}

// The code of a problem is one that the description of its response names.
function judgeCode(response, value) {
  if (value?.code === undefined || (response.description ?? '').includes(`\`${value.code}\``))
    return [];
  return [`code ${value.code} is not named there`];
}

function judgeHeaders(d, response, headers) {
  const out = [];
  const known = new Map(Object.entries({ ...d.headers, ...response.headers })
    .map(([name, h]) => [name.toLowerCase(), d.follow(h)]));
  for (const [name, value] of headers) {
    if (TRANSPORT.has(name)) continue;
    const header = known.get(name);
    if (!header) out.push(`header ${name} is not described`);
    else if (!d.fits(header.schema, value)) out.push(`header ${name} is not as described`);
  }
  for (const [name, header] of known)
    if (header.required && !headers.has(name)) out.push(`header ${name} is missing`);
  return out;
}

function judgeBody(d, x, response, type) {
  const out = [];
  const media = response.content?.[type];
  if (!media) return [`content type ${type || '(none)'} is not described`];
  if (x.method === 'HEAD') return [];
  if (type === 'text/event-stream') return judgeEvents(d, media, x.body);
  if (!x.whole || !type.endsWith('json')) return [];
  const value = parseJson(x.body, out);
  if (value === undefined) return out;
  out.push(...judgeJson(d, media.schema, value, 'answers'));
  if (type === 'application/problem+json') out.push(...judgeCode(response, value));
  return out;
}

function judgeResponse(d, x, response) {
  const headers = readHead(x.head);
  const type = mediaType(headers.get('content-type'));
  const out = judgeHeaders(d, response, headers);
  if (response.content || type !== '') return [...out, ...judgeBody(d, x, response, type)];
  return x.body === '' ? out : [...out, 'has a body, and none is described'];
}

function judgeQuery(d, op, query) {
  const known = new Map(op.parameters.filter((p) => p.in === 'query').map((p) => [p.name, p]));
  return [...new URLSearchParams(query)].flatMap(([name, value]) => {
    const p = known.get(name);
    if (!p) return op['x-any-query'] ? [] : [`parameter ${name} is not described`];
    return d.fits(p.schema, value) ? [] : [`parameter ${name} was taken, and is not as described`];
  });
}

function judgePath(d, op, path) {
  const values = op.pattern.exec(path).slice(1);
  const names = [...op.path.matchAll(/\{([^}]*)\}/g)].map((m) => m[1]);
  return names.flatMap((name, i) => {
    const p = op.parameters.find((q) => q.in === 'path' && q.name === name);
    if (!p) return [`{${name}} is not described`];
    return d.fits(p.schema, values[i]) ? [] : [`{${name}} was taken, and is not as described`];
  });
}

// A request that was taken must be one that the description allows.
function judgeRequest(d, op, x, path, query) {
  const out = [...judgePath(d, op, path), ...judgeQuery(d, op, query)];
  const body = d.follow(op.requestBody);
  if (!x.sent_type) {
    if (body?.required) out.push('the body was left out, and is described as required');
    return out;
  }
  const media = body?.content?.[mediaType(x.sent_type)];
  if (!media) return [...out, `a body of type ${mediaType(x.sent_type)} is not described`];
  if (x.sent === undefined) return out; // too large to be kept
  if (!/[/+]json$/.test(mediaType(x.sent_type))) return out; // a file, a form
  const value = parseJson(x.sent, out);
  if (value !== undefined)
    out.push(...judgeJson(d, media.schema, value, 'requests').map((s) => `sent ${s}`));
  return out;
}

// As the server does it; what cannot be decoded stays, and is refused.
function decode(path) {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

const isOurs = (path) => /^\/(api|openai|livez|readyz|metrics)(\/|$)/.test(path);

// What an exchange is, and what is wrong with it; null when it is none of ours
// (a page of the site, another server).
export function judge(d, x) {
  const [asked, query = ''] = x.path.split(/\?(.*)/s);
  const path = decode(asked);
  if (!isOurs(path)) return null;
  const op = d.find(x.method, path);
  const isTaken = x.status >= 200 && x.status < 300;
  const where = op ?? { name: `${x.method} (no such operation)` };
  const responses = d.responses(op, x.status, x.method);
  if (responses.length === 0) return { op: where, wrong: ['the status is not described'] };
  // The one of them that it comes nearest to speaks.
  const wrong = responses.map((r) => judgeResponse(d, x, r))
    .sort((a, b) => a.length - b.length)[0];
  if (op && isTaken && x.method !== 'HEAD') wrong.push(...judgeRequest(d, op, x, path, query));
  return { op: where, wrong };
}
