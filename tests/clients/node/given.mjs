// What every script is given, and telling what it got: [text, input tokens, output tokens] for each call.
export const { key, url, headers, package: packageName, provider } = JSON.parse(process.argv[2]);
export const question = "hi";
export const chatModel = "gpt-4o-mini";

export function tell(got) {
  console.log(JSON.stringify(got));
}
