// A model of the AI SDK, asked by generateText and by streamText.
import { generateText, streamText } from "ai";
import { question } from "./given.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;

export async function generateAndStream(model) {
  const options = { model, prompt: question, maxRetries: 0 };
  const whole = await generateText(options);
  let failure;
  const stream = streamText({ ...options, onError: ({ error }) => (failure = error) });
  let text = "";
  for await (const piece of stream.textStream) text += piece;
  if (failure) throw failure;
  return [[whole.text, ...tokens(whole.usage)], [text, ...tokens(await stream.usage)]];
}

// A provider that was told no usage gives 0.
function tokens(usage) {
  return [usage.inputTokens || null, usage.outputTokens || null];
}
