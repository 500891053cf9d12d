// Helicone's provider for the AI SDK. Its `apiKey` goes into Authorization: for a gateway that has no provider keys of its
// own that is the provider's, and the Helicone key is a header. It asks for no usage of its streams, and tells 0 then.
import { createHelicone } from "@helicone/ai-sdk-provider";
import { chatModel, headers, key, tell, url } from "./given.mjs";
import { generateAndStream } from "./generate.mjs";

const { "Helicone-User-Id": userId, "Helicone-Session-Id": sessionId, "Helicone-Session-Path": sessionPath } = headers;
const { "Helicone-Session-Name": sessionName, "Helicone-Property-Tier": Tier, ...others } = headers;
const left = Object.fromEntries(Object.entries(others).filter(([name]) => /Auth|Usage/.test(name)));
const helicone = createHelicone({ apiKey: key, baseURL: url, headers: left });
const said = { userId, sessionId, sessionPath, sessionName, properties: { Tier } };
tell(await generateAndStream(helicone(chatModel, { extraBody: { helicone: said } })));
