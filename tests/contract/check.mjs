// Holds what the suite's HTTP client saw (tests/support/exchanges.h) against
// docs/openapi.yaml:
//
//     node check.mjs [--partial] FOLDER
//
// Prints counts, what is wrong (once each, with how often and the first program
// that saw it), which documented responses nobody saw, and "N passed, N failed".
// Fails on anything wrong, and on a success that is documented and was never
// seen, unless --partial says that only some programs were run.
import { createReadStream, readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { Description, vague } from './description.mjs';
import { judge } from './judge.mjs';

const args = process.argv.slice(2);
const partial = args[0] === '--partial' && args.shift() !== undefined;
const folder = args[0];
const file = process.env.NATTER_OPENAPI ??
  new URL('../../docs/openapi.yaml', import.meta.url).pathname;

const wrong = new Map(); // sentence → {count, program}
const seen = new Map(); // "GET /path 200" → count
let checked = 0;
let others = 0;

function note(sentence, program) {
  const entry = wrong.get(sentence) ?? { count: 0, program };
  entry.count++;
  wrong.set(sentence, entry);
}

function take(d, x, program) {
  const verdict = judge(d, x);
  if (verdict === null) {
    others++;
    return;
  }
  checked++;
  const key = `${verdict.op.name} ${x.status}`;
  seen.set(key, (seen.get(key) ?? 0) + 1);
  for (const sentence of new Set(verdict.wrong)) note(`${key}: ${sentence}`, program);
}

async function takeAll(d) {
  for (const name of readdirSync(folder).filter((n) => n.endsWith('.jsonl')).sort()) {
    const lines = createInterface({ input: createReadStream(join(folder, name)),
      crlfDelay: Infinity });
    for await (const line of lines) take(d, JSON.parse(line), name.replace('.jsonl', ''));
  }
}

// Documented responses that nobody saw; without their successes nothing is held.
function unseen(d, isWanted) {
  return d.operations.flatMap((op) => Object.keys(op.responses)
    .filter((status) => isWanted(status) && !seen.has(`${op.name} ${status}`))
    .map((status) => ({ op: op.name, status })));
}

function report(d) {
  const missing = unseen(d, (s) => s[0] === '2');
  const rest = new Map();
  for (const u of unseen(d, (s) => s[0] !== '2'))
    rest.set(u.status, [...(rest.get(u.status) ?? []), u.op]);
  console.log(`${checked} exchanges, ${seen.size} routes with a status; ` +
    `${others} with others than Natter`);
  for (const [sentence, { count, program }] of [...wrong].sort())
    console.log(`  ${sentence}  (${count} times, first by ${program})`);
  if (!partial) {
    for (const u of missing) console.log(`  ${u.op} ${u.status}: no test has seen it`);
    for (const [status, list] of rest)
      console.log(`  ${status}, documented and never seen: ${list.length} operations`);
  }
  return wrong.size + (partial ? 0 : missing.length);
}

const d = Description.read(file);
for (const at of vague(d.doc.components.schemas).concat(vague(d.doc.paths)))
  note(`${at}: an object that says neither what it has nor that it has anything`, 'the document');
await takeAll(d);
const failed = report(d) + (checked === 0 ? 1 : 0);
console.log(`${seen.size} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
