// What a receiver in another language needs to publish callwatch's events: fingerprints, the key
// and partition of a record, and the event itself. Node 18 or later, no dependencies.
//
// docs/event.md explains the fields, docs/schema/callback.v1.json checks them, and
// docs/fingerprint-vectors.json are the test vectors that `node vectors.mjs` computes again.

import { createHmac, randomUUID } from "node:crypto";
import { isIP } from "node:net";

export const UNKNOWN_SENDER = "(unknown)";
const LABELS = ["delivery", "signature", "body", "path"];

// The fields of an event in the order of the schema.
const FIELDS = [
  "schema", "id", "received_at", "receiver", "endpoint", "kind", "sender", "provider", "verdict",
  "reason", "signature_ok", "duplicate", "key_id", "signed_at", "event_type", "event_created_at",
  "delivery_fp", "signature_fp", "body_fp", "path_fp", "body_bytes", "content_type", "method",
  "status", "duration_ms", "attempt", "source_ip", "source_ip_from", "asn", "country",
  "user_agent", "tls_fp", "client_cert_fp", "sample_rate", "ext",
];

/** The first 16 bytes of HMAC-SHA256(pepper, label + 0x00 + data), as 32 hex digits. */
export function fingerprint(pepper, label, data) {
  if (pepper.length < 16) throw new RangeError("pepper: allowed are 16 bytes and more");
  if (!LABELS.includes(label)) throw new RangeError(`label: allowed are ${LABELS.join(", ")}`);
  const keyed = createHmac("sha256", pepper).update(label, "ascii").update(Buffer.of(0));
  return keyed.update(data).digest("hex").slice(0, 32);
}

/** The 32-bit murmur2 hash of Kafka's Java client, unsigned. */
export function murmur2(data) {
  const m = 0x5bd1e995;
  const whole = data.length & ~3;
  let h = 0x9747b28c ^ data.length;
  for (let at = 0; at < whole; at += 4) {
    let k = Math.imul(data.readInt32LE(at), m);
    k = Math.imul(k ^ (k >>> 24), m);
    h = Math.imul(h, m) ^ k;
  }
  const rest = data.length - whole;
  if (rest > 0) h = Math.imul(h ^ data.readUIntLE(whole, rest), m);
  h = Math.imul(h ^ (h >>> 13), m);
  return (h ^ (h >>> 15)) >>> 0;
}

/** The partition of a key. kafkajs and the Java client choose the same by themselves; librdkafka
 *  (node-rdkafka, confluent-kafka-javascript) does with `partitioner: "murmur2"`. */
export function partitionFor(key, partitions) {
  return (murmur2(key) & 0x7fffffff) % partitions;
}

/** The network of a source: /24 of IPv4, /48 of IPv6; an IPv4-mapped address counts as IPv4. */
export function sourcePrefix(ip) {
  const groups = isIP(ip) === 6 ? groupsOf(ip) : null;
  if (groups === null && isIP(ip) !== 4) throw new RangeError("ip: allowed is an IP address");
  if (groups === null) return `${ip.split(".").slice(0, 3).join(".")}.0/24`;
  if (isMapped(groups)) return `${groups[6] >> 8}.${groups[6] & 255}.${groups[7] >> 8}.0/24`;
  const first = groups.slice(0, 3);
  while (first.length && first.at(-1) === 0) first.pop();
  return `${first.map((group) => group.toString(16)).join(":")}::/48`;
}

/** The key of an event's record: its sender; where none is claimed, the network it came from. */
export function recordKey(event) {
  const known = event.sender !== UNKNOWN_SENDER;
  return Buffer.from(known ? event.sender : sourcePrefix(event.source_ip));
}

/** An event with its id and time; fields that are null or undefined are left out. */
export function callbackEvent(fields) {
  return { schema: 1, id: randomUUID(), received_at: new Date().toISOString(), ...fields };
}

/** An event as compact JSON, its fields in the order of the schema. */
export function canonical(event) {
  const unknown = Object.keys(event).filter((name) => !FIELDS.includes(name));
  if (unknown.length) throw new RangeError(`no fields of an event: ${unknown.join(", ")}`);
  const kept = FIELDS.filter((name) => (event[name] ?? null) !== null);
  const plain = kept.filter((name) => name !== "sample_rate" || event[name] !== 1);
  return JSON.stringify(Object.fromEntries(plain.map((name) => [name, event[name]])));
}

/** An event as a Kafka record: key, value and CloudEvents headers. It fits kafkajs' `messages`. */
export function record(event) {
  return {
    key: recordKey(event),
    value: canonical(event),
    headers: {
      ce_specversion: "1.0",
      ce_id: event.id,
      ce_source: uriReference(event.receiver),
      ce_type: "callwatch.callback.v1",
      ce_time: event.received_at,
      "content-type": "application/json",
    },
  };
}

/** What a stranger wrote, made fit for a field: controls become spaces, long text is cut. */
export function cleanText(value, limit) {
  if (typeof value !== "string") return null;
  const kept = Array.from(value).slice(0, limit).join("");
  const lone = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
  // eslint-disable-next-line no-control-regex
  return kept.replace(lone, "?").replace(/[\u0000-\u001f\u007f-\u009f]/g, " ").trim() || null;
}

function groupsOf(ip) {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(ip);
  if (dotted) {
    const [a, b, c, d] = dotted.slice(2).map(Number);
    ip = `${dotted[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [left, right] = ip.split("::").map((part) => (part === "" ? [] : part.split(":")));
  const middle = right === undefined ? [] : Array(8 - left.length - right.length).fill("0");
  return [...left, ...middle, ...(right ?? [])].map((group) => parseInt(group, 16));
}

function isMapped(groups) {
  return groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
}

function uriReference(text) {
  const strict = (found) => `%${found.charCodeAt(0).toString(16).toUpperCase()}`;
  const quoted = encodeURIComponent(text).replace(/[!'()*]/g, strict);
  return quoted.replaceAll("%2F", "/").replaceAll("%40", "@");
}
