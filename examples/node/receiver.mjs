// A receiver of GitHub's webhooks that publishes callwatch's events: verify, answer, record.
//
//   GITHUB_SECRET=... CALLWATCH_PEPPER=<hex> node receiver.mjs [port]
//
// Events go to standard output as JSON lines, for `callwatch detect`. README.md shows the few
// lines that bring them to Kafka instead.

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { callbackEvent, canonical, cleanText, fingerprint, UNKNOWN_SENDER } from "./callwatch.mjs";

const MAX_BODY = 25 * 1024 * 1024; // GitHub's own limit
const ENDPOINT = "/hooks/github";
const secret = process.env.GITHUB_SECRET;
const pepper = Buffer.from(process.env.CALLWATCH_PEPPER ?? "", "hex");
if (!secret || pepper.length < 16) {
  console.error("GITHUB_SECRET and CALLWATCH_PEPPER (16 bytes and more, hex) are needed");
  process.exit(2);
}

// Bytes of events that a slow reader may leave with us.
const MAX_WAITING = Number(process.env.CALLWATCH_QUEUE_BYTES ?? 8 * 1024 * 1024);
let dropped = 0;
let open = true;
// Without a listener an error of the stream (its reader is gone: EPIPE) would end the receiver.
process.stdout.on("error", (error) => {
  open = false;
  console.error(`callwatch: events are dropped: ${error.message}`);
});
process.stderr.on("error", () => {});

/** Recording must never hurt the receiver: whatever fails here is told, counted and forgotten. */
function publish(event) {
  try {
    if (open && process.stdout.writableLength < MAX_WAITING) {
      process.stdout.write(`${canonical(event)}\n`);
    } else if (dropped++ % 1000 === 0) {
      console.error(`callwatch: ${dropped} events dropped`);
    }
  } catch (error) {
    console.error(`callwatch: ${error.message}`);
  }
}

/** The verdict on a signature: the fields of an event that say it. */
function verify(header, body) {
  if (header === undefined) return { verdict: "rejected", reason: "signature_missing" };
  const given = /^sha256=([0-9a-f]{64})$/.exec(header);
  if (given === null) return { verdict: "rejected", reason: "signature_malformed" };
  const signature = Buffer.from(given[1], "hex");
  const right = createHmac("sha256", secret).update(body).digest();
  const signature_ok = timingSafeEqual(signature, right);
  const seen = { signature_ok, signature_fp: fingerprint(pepper, "signature", signature) };
  if (signature_ok) return { verdict: "verified", key_id: "k1", ...seen };
  return { verdict: "rejected", reason: "signature_invalid", ...seen };
}

const STATUS = { body_too_large: 413, endpoint_unknown: 404, method_not_allowed: 405 };

const server = createServer((request, response) => {
  const began = performance.now();
  const received_at = new Date().toISOString();
  const [path] = request.url.split("?");
  const chunks = [];
  let size = 0;
  request.on("error", () => response.destroy());
  request.on("data", (chunk) => {
    size += chunk.length;
    if (size <= MAX_BODY) chunks.push(chunk);
  });
  request.on("end", () => {
    const body = Buffer.concat(chunks);
    const header = (name) => request.headers[name];
    const known = path === ENDPOINT;
    let found = { verdict: "rejected", reason: "endpoint_unknown" };
    if (known && request.method !== "POST") found.reason = "method_not_allowed";
    else if (known && size > MAX_BODY) found.reason = "body_too_large";
    else if (known) found = verify(header("x-hub-signature-256"), body);
    const status = found.verdict === "verified" ? 204 : (STATUS[found.reason] ?? 401);
    response.writeHead(status).end(); // the answer first: recording comes after it
    const delivery = header("x-github-delivery");
    publish(
      callbackEvent({
        received_at,
        receiver: "node-example/1@local",
        endpoint: known ? ENDPOINT : "(unmatched)",
        kind: "webhook",
        sender: known ? "github" : UNKNOWN_SENDER,
        provider: known ? "github" : null,
        ...found,
        event_type: cleanText(header("x-github-event"), 128),
        delivery_fp: delivery ? fingerprint(pepper, "delivery", Buffer.from(delivery, "latin1")) : null,
        body_fp: size <= MAX_BODY ? fingerprint(pepper, "body", body) : null,
        path_fp: known ? null : fingerprint(pepper, "path", Buffer.from(path, "latin1")),
        body_bytes: size,
        content_type: cleanText(header("content-type"), 256),
        method: cleanText(request.method, 32),
        status,
        duration_ms: performance.now() - began,
        source_ip: request.socket.remoteAddress,
        source_ip_from: "socket",
        user_agent: cleanText(header("user-agent"), 256),
      }),
    );
  });
});
server.listen(Number(process.argv[2] ?? 8080), "127.0.0.1", () => {
  console.error(`listening on http://127.0.0.1:${server.address().port}${ENDPOINT}`);
});
