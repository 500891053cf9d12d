// The openai package, under the name it is installed by.
import { chatModel, headers, key, packageName, question, tell, url } from "./given.mjs";

const { default: OpenAI } = await import(packageName);
const client = new OpenAI({ apiKey: key, baseURL: `${url}/v1`, defaultHeaders: headers, maxRetries: 0 });
const asked = { model: chatModel, messages: [{ role: "user", content: question }] };
const got = [];

const chat = await client.chat.completions.create(asked);
got.push([chat.choices[0].message.content, chat.usage.prompt_tokens, chat.usage.completion_tokens]);

let text = "";
let usage;
const chunks = await client.chat.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } });
for await (const chunk of chunks) {
  text += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
got.push([text, usage.prompt_tokens, usage.completion_tokens]);

const response = await client.responses.create({ model: chatModel, input: question });
got.push([response.output_text, response.usage.input_tokens, response.usage.output_tokens]);

text = "";
for await (const event of await client.responses.create({ model: chatModel, input: question, stream: true })) {
  if (event.type === "response.output_text.delta") text += event.delta;
  if (event.type === "response.completed") usage = event.response.usage;
}
got.push([text, usage.input_tokens, usage.output_tokens]);

const vectors = await client.embeddings.create({ model: "text-embedding-3-small", input: question });
if (vectors.data[0].embedding.length !== 8) throw new Error("the vector is not the provider's");
got.push([null, vectors.usage.prompt_tokens, null]);

tell(got);
