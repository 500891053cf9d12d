// The AI SDK with its own providers, OpenAI's two APIs or Anthropic's.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { chatModel, headers, key, packageName, tell, url } from "./given.mjs";
import { generateAndStream } from "./generate.mjs";

const options = { apiKey: key, baseURL: `${url}/v1`, headers };
const openai = createOpenAI(options);
const models =
  packageName === "@ai-sdk/anthropic"
    ? [createAnthropic(options)("claude-sonnet-4-5")]
    : [openai.chat(chatModel), openai.responses(chatModel)];
const got = [];
for (const model of models) got.push(...(await generateAndStream(model)));
tell(got);
