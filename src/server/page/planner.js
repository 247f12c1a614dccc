// The planner: its front page, and which walk an address asks for.

import { h } from "./dom.js";
import * as parts from "./parts.js";
import { clusterNetworkWalk } from "./plan-cluster-network.js";
import { networkConfigWalk } from "./plan-network-config.js";
import { placementWalk } from "./plan-placement.js";
import { vmNetworkWalk } from "./plan-vm-network.js";
import { planHash } from "./routes.js";

const WALKS = [
  ["network-config", "New network config", "Bring a cluster network up on more hosts: choose the hosts, the NICs that they have in common, bond mode and MTU."],
  ["change-network-config", "Change a network config", "Other hosts, NICs, bond mode or MTU, or the move to another cluster network."],
  ["cluster-network", "New cluster network", "A name for an uplink that network configs bring up on hosts later."],
  ["vm-network", "New VM network", "A VLAN, a trunk or an untagged network on a cluster network, for VMs to attach to."],
  ["placement", "Where could a VM run?", "The hosts for a VM that is not made yet, by its VM networks and its node selector."],
];

export function plannerView(route, ui) {
  switch (route.name) {
    case "network-config": return networkConfigWalk(route, ui, false);
    case "change-network-config": return networkConfigWalk(route, ui, true);
    case "cluster-network": return clusterNetworkWalk(route, ui);
    case "vm-network": return vmNetworkWalk(route, ui);
    case "placement": return placementWalk(route, ui);
    default: return {
      title: () => "Planner",
      load: async () => ({}),
      render: () => [
        parts.head("Planner", h("p", { class: "lead" }, "See what a change would do before anyone makes it. The planner writes nothing: it shows the consequences and gives the YAML to apply.")),
        h("ul", { class: "walks", id: "walks" }, WALKS.map(([key, title, text]) => h("li", { class: "walk" },
          h("h2", null, h("a", { href: planHash(key), data: { walk: key } }, title)), h("p", null, text)))),
      ],
    };
  }
}
