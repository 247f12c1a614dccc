// Follows the server's events: which version of the cluster is current, and whether we are connected.

const FIRST_RETRY = 1000;
const LAST_RETRY = 15000;

/**
 * Follows `api/v1/events` for ever. Calls `changed` with the live state whenever it changes:
 * `{connected, version, waiting}`, where `waiting` lists the kinds that are still being read.
 */
export function follow(changed) {
  const state = { connected: false, everConnected: false, version: null, waiting: null };
  let retry = FIRST_RETRY;
  let source = null;
  let timer = 0;

  const connect = () => {
    clearTimeout(timer);
    source?.close();
    source = new EventSource("api/v1/events");
    source.addEventListener("version", (event) => {
      const version = number(event.data);
      if (version !== null) up({ version, waiting: null });
    });
    source.addEventListener("waiting", (event) => up({ waiting: kinds(event.data) }));
    source.addEventListener("error", () => {
      down();
      // The browser reconnects by itself unless the server refused the stream.
      if (source.readyState === EventSource.CLOSED) {
        timer = setTimeout(connect, retry);
        retry = Math.min(retry * 2, LAST_RETRY);
      }
    });
  };
  const up = (news) => {
    retry = FIRST_RETRY;
    Object.assign(state, news, { connected: true, everConnected: true });
    changed(state);
  };
  const down = () => {
    if (!state.connected && state.told) return;
    state.connected = false;
    state.told = true;
    changed(state);
  };
  window.addEventListener("offline", down);
  window.addEventListener("online", connect);
  connect();
}

function number(text) {
  try {
    const { version } = JSON.parse(text);
    return typeof version === "number" ? version : null;
  } catch {
    return null;
  }
}

function kinds(text) {
  try {
    const { waiting } = JSON.parse(text);
    return Array.isArray(waiting) ? waiting.map(String) : [];
  } catch {
    return [];
  }
}
