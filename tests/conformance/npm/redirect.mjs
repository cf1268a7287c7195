// Send what is meant for HeyGen to HEYGEN_API_BASE instead: `node --import ./redirect.mjs`.
// The clients know one host only, and are to run unchanged.

const HEYGEN = "https://api.heygen.com";
const fetchAnywhere = globalThis.fetch;

globalThis.fetch = (resource, options) => {
  const url = String(resource);
  if (!url.startsWith(`${HEYGEN}/`)) {
    throw new Error(`A request to ${url}, which is not HeyGen's API.`);
  }
  return fetchAnywhere(process.env.HEYGEN_API_BASE + url.slice(HEYGEN.length), options);
};
