// Helicone's features by the openai package: {"cache": [[state, text], ...], "retry": text, "limit": [text, status]}.
import { chatModel, headers, key, packageName, tell, url } from "./given.mjs";

const { default: OpenAI } = await import(packageName);
const client = new OpenAI({ apiKey: key, baseURL: `${url}/v1`, defaultHeaders: headers, maxRetries: 0 });

function ask(content, more) {
  const messages = [{ role: "user", content }];
  return client.chat.completions.create({ model: chatModel, messages }, { headers: more });
}

const cache = [];
for (let n = 0; n < 2; n++) {
  const { data, response } = await ask("cached", { "Helicone-Cache-Enabled": "true" }).withResponse();
  cache.push([response.headers.get("helicone-cache"), data.choices[0].message.content]);
}

const retried = await ask("again", { "Helicone-Retry-Enabled": "true", "helicone-retry-min-timeout": "10" });

const policy = { "Helicone-RateLimit-Policy": "1;w=60;s=user" };
const limit = [(await ask("limited", policy)).choices[0].message.content];
try {
  await ask("limited", policy);
} catch (error) {
  limit.push(error.status);
}
tell({ cache, retry: retried.choices[0].message.content, limit });
