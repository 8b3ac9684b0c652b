// docs/openapi.yaml, read for a judge: which operation a path is, and
// validators of what it may say. Objects of answers are closed here, not in
// the document: a client must let new members pass, our own tests must not. An
// object that lists no properties says with additionalProperties what it is.
import { readFileSync } from 'node:fs';
import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { parse } from 'yaml';

const METHODS = ['get', 'put', 'post', 'delete', 'patch'];
const BRANCHES = ['allOf', 'anyOf', 'oneOf'];
const SCHEMAS = '#/components/schemas/';

const isObject = (o) => o !== null && typeof o === 'object' && !Array.isArray(o);
const mapValues = (o, fn) =>
  Object.fromEntries(Object.entries(o).map(([k, v]) => [k, fn(v, k)]));

// A copy in which whatever lists properties has no others. What a branch of
// allOf and its like lists belongs to the whole, so it stays open there.
export function close(schema, isBranch = false) {
  if (!isObject(schema)) return schema;
  const out = mapValues(schema, (value, key) => {
    if (key === '$ref') return value.replace(SCHEMAS, isBranch ? '#/open/' : '#/closed/');
    if (BRANCHES.includes(key)) return value.map((s) => close(s, true));
    if (key === 'properties') return mapValues(value, (s) => close(s));
    if (key === 'items' || key === 'additionalProperties') return close(value);
    return value;
  });
  const lists = out.properties || BRANCHES.some((b) => b in out);
  const says = 'additionalProperties' in out || 'unevaluatedProperties' in out;
  if (lists && !says && !isBranch) out.unevaluatedProperties = false;
  return out;
}

// Where an object says neither what it has nor that it may have anything.
export function vague(schema, at = '') {
  if (!isObject(schema)) return [];
  const found = [];
  const says = ['properties', 'additionalProperties', ...BRANCHES].some((k) => k in schema);
  if ([schema.type].flat().includes('object') && !says) found.push(at);
  for (const [key, value] of Object.entries(schema)) {
    if (key === 'example' || key === 'examples' || key === 'default') continue;
    for (const [i, s] of Array.isArray(value) ? value.entries() : [['', value]])
      found.push(...vague(s, `${at}/${key}${i === '' ? '' : `/${i}`}`));
  }
  return found;
}

// The last name may stand for several segments (x-slashes).
const pattern = (path, takesSlashes) =>
  new RegExp(`^${path.replace(/[.]/g, '\\.').replace(/\{[^}]*\}/g, '([^/]+)')
    .replace(/\(\[\^\/\]\+\)$/, takesSlashes ? '(.+)' : '$&')}$`);

export class Description {
  constructor(text) {
    this.doc = parse(text, { merge: true, maxAliasCount: -1 });
    const schemas = this.doc.components.schemas;
    this.ajv = new Ajv2020({ allErrors: true, strict: true, allowUnionTypes: true,
      strictRequired: false, strictTypes: false });
    addFormats.default(this.ajv);
    this.ajv.addVocabulary(['example', 'open', 'closed', 'components']);
    // Parameters are text on the wire.
    this.loose = new Ajv2020({ strict: false, coerceTypes: true });
    addFormats.default(this.loose);
    this.ajv.addSchema({ $id: 'answers',
      open: mapValues(schemas, (s) => close(s, true)),
      closed: mapValues(schemas, (s) => close(s)) });
    this.ajv.addSchema({ $id: 'requests', components: { schemas } });
    this.validators = new Map();
    this.fitting = new Map();
    this.operations = Object.entries(this.doc.paths).flatMap(([path, item]) =>
      METHODS.filter((m) => item[m]).map((m) => this.operation(m, path, item)));
    // Literal segments before named ones, as the server does it.
    this.operations.sort((a, b) => a.named - b.named);
    this.anywhere = this.doc['x-any-path'] ?? {};
    this.headers = this.doc['x-any-response']?.headers ?? {};
  }

  static read(file) {
    return new Description(readFileSync(file, 'utf8'));
  }

  operation(method, path, item) {
    const op = item[method];
    const takesSlashes = item.parameters?.some((p) => p['x-slashes']);
    return { ...op, method: method.toUpperCase(), path, pattern: pattern(path, takesSlashes),
      name: `${method.toUpperCase()} ${path}`,
      named: (path.match(/\{/g) ?? []).length,
      parameters: [...(item.parameters ?? []), ...(op.parameters ?? [])]
        .map((p) => this.follow(p)) };
  }

  follow(o) {
    return o?.$ref ? this.follow(o.$ref.slice(2).split('/').reduce((at, k) => at[k], this.doc)) : o;
  }

  find(method, path) {
    const asked = method === 'HEAD' ? 'GET' : method;
    return this.operations.find((o) => o.method === asked && o.pattern.test(path));
  }

  // The responses that this status may be: the operation's own, and what any
  // path may answer, or any to this method.
  responses(op, status, method) {
    return [op?.responses?.[status], this.anywhere[status]].filter(Boolean)
      .map((r) => this.follow(r)).filter((r) => (r['x-method'] ?? method) === method);
  }

  // A validator of an answer's schema (closed) or of a request's (as it stands).
  validator(schema, kind) {
    if (!this.validators.has(schema)) {
      const whole = kind === 'answers' ? close(schema)
        : JSON.parse(JSON.stringify(schema));
      const text = JSON.stringify(whole).replaceAll('"$ref":"#/', `"$ref":"${kind}#/`);
      this.validators.set(schema, this.ajv.compile(JSON.parse(text)));
    }
    return this.validators.get(schema);
  }

  // Of one kind of event: a sentence about its own fields, not about all kinds.
  event(schema, name) {
    const whole = this.follow(schema);
    const kinds = (whole.oneOf ?? [whole]).map((s) => this.follow(s));
    return kinds.find((s) => s.properties?.event?.const === name);
  }

  // Compiled once for each place in the document: it is asked for every header.
  fits(schema, text) {
    if (!this.fitting.has(schema))
      this.fitting.set(schema, this.loose.compile({ type: 'object',
        properties: { value: this.follow(schema) } }));
    return this.fitting.get(schema)({ value: text });
  }
}
