// An agent of Mastra whose model router is pointed at the gateway. It asks for no usage of its streams.
import { Agent } from "@mastra/core/agent";
import { chatModel, headers, key, question, tell, url } from "./given.mjs";

const model = { id: `openai/${chatModel}`, url: `${url}/v1`, apiKey: key, headers };
const agent = new Agent({ id: "guide", name: "guide", instructions: "Answer.", model });
const whole = await agent.generate(question);
const stream = await agent.stream(question);
let text = "";
for await (const piece of stream.textStream) text += piece;
const usage = await stream.usage;
tell([
  [whole.text, whole.usage.inputTokens, whole.usage.outputTokens],
  [text, usage.inputTokens ?? null, usage.outputTokens ?? null],
]);
