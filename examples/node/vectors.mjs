// Computes the published test vectors again; ends with 1 and the first differences if one differs.
//
//   node vectors.mjs ../../docs/fingerprint-vectors.json

import { readFileSync } from "node:fs";
import { canonical, fingerprint, murmur2, partitionFor, record, sourcePrefix } from "./callwatch.mjs";

const vectors = JSON.parse(readFileSync(process.argv[2], "utf8"));
const wrong = [];
let checked = 0;

function check(what, found, expected) {
  checked += 1;
  const [one, other] = [found, expected].map((value) => JSON.stringify(value));
  if (one !== other) wrong.push(`${what}: ${one}, expected ${other}`);
}

const bytes = (hex) => Buffer.from(hex, "hex");
const spread = (key, expected) =>
  Object.fromEntries(Object.keys(expected).map((count) => [count, partitionFor(key, Number(count))]));

for (const one of vectors.fingerprints) {
  check(`fingerprint ${one.label}`, fingerprint(bytes(one.pepper), one.label, bytes(one.data)), one.fingerprint);
}
for (const one of vectors.partitions) {
  check(`murmur2 ${one.key}`, murmur2(bytes(one.key)), one.murmur2);
  check(`partition ${one.key}`, spread(bytes(one.key), one.partition), one.partition);
}
for (const one of vectors.prefixes) check(`prefix ${one.ip}`, sourcePrefix(one.ip), one.prefix);
for (const one of vectors.events) {
  const made = record(one.event);
  check("canonical", canonical(one.event), one.canonical);
  check("key", made.key.toString("hex"), one.key);
  check("headers", made.headers, one.headers);
  check("partition", spread(made.key, one.partition), one.partition);
}

console.log(`${checked} checked, ${wrong.length} differ`);
for (const line of wrong.slice(0, 20)) console.error(line);
process.exitCode = wrong.length ? 1 : 0;
