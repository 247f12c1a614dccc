// Decides which rows the matrix of hosts and cluster networks has: filtered, and alike hosts grouped.

const patterns = new WeakMap();
// A position in `codes` means something within one overview only; a letter stays with its code, so
// that a group stays open when another code appears.
const letters = new Map();

function letterOf(code) {
  if (!letters.has(code)) letters.set(code, String.fromCodePoint(97 + letters.size));
  return letters.get(code);
}

/** The hosts of an overview by the pattern of their states; computed once for each overview. */
function patternsOf(overview) {
  let found = patterns.get(overview);
  if (!found) {
    const alphabet = overview.codes.map(letterOf);
    found = overview.hosts.map((host) => host.states.map((state) => alphabet[state]).join(""));
    patterns.set(overview, found);
  }
  return found;
}

export const hasGap = (host) => host.states.some((state) => state !== 0);

/**
 * The rows to show. A row is `{key, host}` or `{key, group, open}`, where `group` lists hosts with
 * the same states; the rows of an open group follow it with `inGroup` set. `shown` counts hosts.
 */
export function buildRows(overview, { filter, gapsOnly, group, open }) {
  const wanted = filter.trim().toLowerCase();
  const keys = patternsOf(overview);
  const rows = [];
  const groups = new Map();
  let shown = 0;
  overview.hosts.forEach((host, at) => {
    if (wanted !== "" && !host.name.toLowerCase().includes(wanted)) return;
    if (gapsOnly && !hasGap(host)) return;
    shown += 1;
    if (!group) {
      rows.push({ key: `host ${host.name}`, host });
      return;
    }
    const members = groups.get(keys[at]);
    if (members) members.push(host);
    else groups.set(keys[at], [host]);
  });
  const bySize = [...groups].sort((a, b) => b[1].length - a[1].length);
  for (const [pattern, members] of bySize) {
    if (members.length === 1) {
      rows.push({ key: `host ${members[0].name}`, host: members[0] });
      continue;
    }
    const key = `group ${pattern}`;
    rows.push({ key, group: members, open: open.has(key) });
    if (open.has(key)) {
      for (const host of members) rows.push({ key: `host ${host.name}`, host, inGroup: key });
    }
  }
  return { rows, shown, groups: groups.size };
}

/** Which cells differ between two overviews: a set of "network name\nhost name". */
export function changedCells(before, after) {
  const changed = new Set();
  if (!before || before === after) return changed;
  const columns = after.clusterNetworks.map((network) => before.clusterNetworks.findIndex((old) => old.name === network.name));
  const old = new Map(before.hosts.map((host) => [host.name, host]));
  for (const host of after.hosts) {
    const was = old.get(host.name);
    if (!was) continue;
    host.states.forEach((state, at) => {
      const from = columns[at];
      if (from >= 0 && before.codes[was.states[from]] !== after.codes[state]) {
        changed.add(cellKey(after.clusterNetworks[at].name, host.name));
      }
    });
  }
  return changed;
}

export const cellKey = (network, host) => `${network}\n${host}`;
