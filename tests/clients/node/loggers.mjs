// Helicone's manual logger: calls that are made past the gateway, straight to the provider, and logged at it.
import { HeliconeManualLogger } from "@helicone/helpers";
import OpenAI from "openai";
import { chatModel, headers, key, provider, question, tell, url } from "./given.mjs";

const { "Helicone-Auth": auth, ...loggerHeaders } = headers;
const logger = new HeliconeManualLogger({ apiKey: auth.slice("Bearer ".length), headers: loggerHeaders, loggingEndpoint: url });
const client = new OpenAI({ apiKey: key, baseURL: `${provider}/v1`, maxRetries: 0 });
const request = { model: chatModel, messages: [{ role: "user", content: question }] };
const streamed = { ...request, stream: true, stream_options: { include_usage: true } };

async function record(recorder) {
  const answer = await client.chat.completions.create(request);
  recorder.appendResults(answer);
  return answer.choices[0].message.content;
}
const text = await logger.logRequest(request, record, {}, "OPENAI");
await logger.logRequest(request, record);

await logger.logStream(streamed, async (recorder) => {
  const [kept, logged] = (await client.chat.completions.create(streamed)).tee();
  recorder.attachStream(logged.toReadableStream());
  return kept;
});
await logger.logSingleStream(streamed, (await client.chat.completions.create(streamed)).toReadableStream());
await logger.logSingleRequest(request, JSON.stringify(await client.chat.completions.create(request)), { latencyMs: 250 });

const whole = logger.logBuilder(streamed);
await whole.attachStream(await client.chat.completions.create(streamed));
await whole.sendLog();
const failed = logger.logBuilder(request);
failed.setError(new Error("no quota"));
await failed.sendLog();

const nothing = async (recorder) => recorder.appendResults({ found: 1 });
await logger.logRequest({ _type: "tool", toolName: "weather", input: { city: "Lisbon" } }, nothing);
await logger.logRequest({ _type: "vector_db", operation: "search", text: "sights", topK: 3 }, nothing);
await logger.logRequest({ _type: "data", name: "prices", meta: { n: 1 } }, nothing);
tell(text);
