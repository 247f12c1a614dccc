// The words of the page: names of states, kinds and link states as people read them.

const STATES = {
  "active": ["active", "The cluster network is up on the host."],
  "host-not-covered": ["not covered", "No network config of the cluster network covers the host."],
  "uplink-not-ready": ["uplink not ready", "A network config covers the host, but the host reports that the uplink is not ready."],
  "uplink-not-reported": ["uplink not reported", "A network config covers the host, but the host reports no uplink for it."],
  "witness-host": ["witness host", "The host is a witness host, which no network config covers."],
  "cluster-network-not-found": ["no such network", "The cluster network does not exist."],
  "vm-network-not-found": ["VM network missing", "The VM network does not exist."],
  "invalid-network-selection": ["networks unreadable", "The VM's networks can't be read."],
  "excluded-by-vm": ["excluded by the VM", "The VM's own node selector or required node affinity does not allow the host."],
  "host-unknown": ["host unknown", "The host is not known yet."],
};

/** The short name of a state or cause. A code without one is shown as it is. */
export function stateWord(code) {
  return STATES[code]?.[0] ?? code;
}

/** One sentence about a state or cause. */
export function stateMeaning(code) {
  return STATES[code]?.[1] ?? "";
}

const KINDS = {
  ClusterNetwork: "cluster network",
  VlanConfig: "network config",
  VlanStatus: "uplink status",
  LinkMonitor: "link monitor",
  HostNetworkConfig: "host network config",
  NetworkAttachmentDefinition: "VM network",
  VirtualMachine: "VM",
  VirtualMachineInstance: "VMI",
  VirtualMachineInstanceMigration: "migration",
  Pod: "launcher pod",
  Namespace: "namespace",
  Node: "host",
};

/** What people call objects of a Kubernetes kind. */
export function kindWord(kind) {
  return KINDS[kind] ?? kind;
}

/** "1 host", "3 hosts", "no hosts". */
export function count(number, one, many) {
  if (number === 0) return `no ${many ?? `${one}s`}`;
  return `${number.toLocaleString("en")} ${number === 1 ? one : many ?? `${one}s`}`;
}

/** A number with separators, or a dash for none. */
export function figure(number) {
  return number === null || number === undefined ? "–" : number.toLocaleString("en");
}

const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

/**
 * Text from the cluster with its control characters made visible. Those that change the direction of
 * text could make a message read as something else. Letters of any script stay as they are.
 */
export function visible(text) {
  return text.replace(INVISIBLE, (character) => `⟨U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}
