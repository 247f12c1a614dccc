// The page of host network configs: which hosts have addresses on which cluster network.

import { get } from "./api.js";
import { h } from "./dom.js";
import * as parts from "./parts.js";

export function hostNetworksView(route, ui) {
  const addressesOf = (item) => {
    const inactive = new Set(item.inactive ?? []);
    const hosts = [...new Set([...item.hosts, ...inactive])];
    return parts.items(ui, `hosts ${item.name}`, hosts, (host) => [
      parts.host(host),
      item.addresses?.[host] && h("code", { class: "after" }, parts.name(item.addresses[host])),
      inactive.has(host) && parts.badge("network not active", "bad", "The cluster network is not active on this host."),
    ], 12);
  };
  const one = route.name;
  return {
    title: () => one ?? "Host networks",
    load: (signal) => get("host-network-configs", signal),
    render(data) {
      const list = data.hostNetworkConfigs.filter((item) => one === null || item.name === one);
      return [
        one === null
          ? parts.head("Host network configs", h("p", { class: "lead" }, "A host network config gives hosts an address on a VLAN of a cluster network."))
          : parts.objectHead("Host network config", one),
        list.length === 0
          ? parts.empty(one === null ? "There is no host network config." : "There is no host network config of this name. It may have been deleted.")
          : parts.table("Host network configs", ["Host network config", "Cluster network", "VLAN", "Mode", "Underlay", "Hosts and addresses"], list.map((item) => ({
            key: item.name,
            data: { hostNetwork: item.name },
            cells: [
              parts.hostNetwork(item.name), parts.clusterNetwork(item.clusterNetwork), parts.orElse(item.vlan, "none"),
              item.mode === "dhcp" ? "DHCP" : parts.name(item.mode), item.underlay ? "yes" : "no", addressesOf(item),
            ],
          }))),
        one !== null && h("p", null, h("a", { href: "#/host-networks" }, "All host network configs")),
      ].filter(Boolean);
    },
  };
}
