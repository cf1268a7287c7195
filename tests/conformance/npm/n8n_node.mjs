// Orders through HeyGen's own node for n8n (v3); prints what its `execute` returned or threw.

import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const place = "@heygenofficial/n8n-nodes-heygen-official/dist/nodes/Heygen/HeygenNode.node.js";
const { HeygenNode } = require(place);

// What n8n does for a node: hand it its parameters and credentials, and make its requests.
const context = (parameters, apiKey) => ({
  getInputData: () => [{ json: {} }],
  getNodeParameter: (name, _item, fallback) => parameters[name] ?? fallback,
  getCredentials: async () => ({ apiKey }),
  getNode: () => ({ name: "HeyGen", type: "heygenNode", typeVersion: 1 }),
  continueOnFail: () => false,
  helpers: {
    httpRequestWithAuthentication: async (_credentials, options) => {
      const answer = await fetch(options.url, {
        method: options.method,
        headers: { "Content-Type": "application/json", ...options.headers },
        body: options.body && JSON.stringify(options.body),
      });
      const text = await answer.text();
      if (!answer.ok) {
        throw Object.assign(new Error(text), { httpCode: String(answer.status) });
      }
      return options.json ? JSON.parse(text) : text;
    },
  },
});

const run = async (fields, apiKey = process.env.HEYGEN_API_KEY) => {
  const parameters = {
    authentication: "apiKey",
    operation: "translateVideo",
    videoUrl: "https://example.com/talk.mp4",
    ...fields,
  };
  try {
    const [[item]] = await new HeygenNode().execute.call(context(parameters, apiKey));
    return item.json;
  } catch (error) {
    return { thrown: error.name, httpCode: error.httpCode };
  }
};

console.log(
  JSON.stringify({
    one: await run({
      outputLanguage: "es",
      additionalFields: { title: "Talk", enableCaption: true, checkCreditsSync: true, mode: "speed" },
    }),
    two: await run({ useMultipleLanguages: true, outputLanguages: ["Spanish (Spain)", "fr"] }),
    wrongKey: await run({ outputLanguage: "es" }, "wrong"),
    wrongLanguage: await run({ outputLanguage: "Klingon" }),
  }),
);
