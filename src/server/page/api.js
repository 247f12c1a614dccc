// Asks the JSON API, and turns each failure into an error with a message for people.

/** An answer that is not a success. `status` is 0 if no answer came at all. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Reads `path` below /api/v1/. */
export function get(path, signal) {
  return request(path, { signal });
}

/** Sends `body` as JSON to `path` below /api/v1/. The API only answers; it changes nothing. */
export function post(path, body, signal) {
  return request(path, {
    signal,
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(`api/v1/${path}`, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "Lanekeeper does not answer. Check that it runs and that the port is still forwarded.");
  }
  let body;
  try {
    body = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(response.status, `Lanekeeper answered with status ${response.status} and no readable text.`);
  }
  if (!response.ok) throw new ApiError(response.status, body.error ?? `Lanekeeper answered with status ${response.status}.`);
  return body;
}

const NAMESPACED = new Set(["vm-networks", "vms"]);

/** Returns whether the names in `collection` are NAMESPACE/NAME. */
export const isNamespaced = (collection) => NAMESPACED.has(collection);

/** The path of an object in a collection, with each part encoded. */
export function pathOf(collection, key) {
  const slash = isNamespaced(collection) ? key.indexOf("/") : -1;
  if (slash < 0) return `${collection}/${encodeURIComponent(key)}`;
  return `${collection}/${encodeURIComponent(key.slice(0, slash))}/${encodeURIComponent(key.slice(slash + 1))}`;
}
