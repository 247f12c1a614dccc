// The addresses of the pages: what a hash means, and the hash of each object.

import { isNamespaced, pathOf } from "./api.js";

/** Reads a hash: `{page, name, query}`; `name` is null for a list. */
export function parse(hash) {
  const text = hash.replace(/^#\/?/, "");
  const mark = text.indexOf("?");
  const path = mark < 0 ? text : text.slice(0, mark);
  const query = new URLSearchParams(mark < 0 ? "" : text.slice(mark + 1));
  const parts = path.split("/").filter((part) => part !== "").map(decode);
  const [page = "", ...rest] = parts;
  let name = null;
  if (rest.length > 0) name = isNamespaced(page) ? rest.slice(0, 2).join("/") : rest[0];
  return { page, name, query };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The address of a page, of an object on it, and of a state of it. */
export function hashOf(page, name, query) {
  const hash = name === null || name === undefined ? `#/${page}` : `#/${pathOf(page, name)}`;
  const text = new URLSearchParams(Object.entries(query ?? {})
    .filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false))
    .toString();
  return text === "" ? hash : `${hash}?${text}`;
}

/** The address of a planner walk with its form filled in. */
export function planHash(walk, form) {
  return hashOf("planner", walk, form ? { form: JSON.stringify(form) } : {});
}

const MOST_BY_NAME = 16;

/**
 * The address of a plan that covers hosts with a cluster network. A node selector can name one host
 * only, so many hosts are left to be selected by a label.
 */
export function coverHash(clusterNetwork, names) {
  const hosts = names.length <= MOST_BY_NAME ? { by: "name", names } : { by: "label", labels: {} };
  return planHash("network-config", clusterNetwork === null ? { hosts } : { clusterNetwork, hosts });
}

/** Keeps the state of the current page in its address, without another entry in the history. */
export function keepQuery(query) {
  const { page, name } = parse(location.hash);
  history.replaceState(history.state, "", hashOf(page, name, query));
}

const PAGE_OF_KIND = {
  ClusterNetwork: "cluster-networks",
  VlanConfig: "network-configs",
  HostNetworkConfig: "host-networks",
  NetworkAttachmentDefinition: "vm-networks",
  VirtualMachine: "vms",
  VirtualMachineInstance: "vms",
  Node: "hosts",
};

/** The address of a Kubernetes object, or null if it has no page. */
export function hashOfKind(kind, name) {
  const page = PAGE_OF_KIND[kind];
  if (!page || !name || (isNamespaced(page) && !name.includes("/"))) return null;
  return hashOf(page, name);
}
