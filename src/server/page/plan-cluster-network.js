// The walk through a new cluster network.

import { h } from "./dom.js";
import * as fields from "./plan-fields.js";
import { planResult } from "./plan-result.js";
import { makeWalk } from "./plan-walk.js";
import { planHash } from "./routes.js";

export function clusterNetworkWalk(route, ui) {
  return makeWalk(route, ui, {
    title: "New cluster network",
    lead: "A cluster network is active on a host as soon as a network config covers the host.",
    endpoint: "planner/cluster-network",
    initial: () => ({ name: "", mtu: null }),
    fields: (walk) => [
      fields.step(1, "Cluster network", h("div", { class: "fields" },
        fields.field("plan-name", "Name", fields.text("plan-name", walk.form.name, (name) => walk.set({ name: name.trim() }))),
        fields.field("plan-mtu", "MTU", fields.number("plan-mtu", walk.form.mtu, (mtu) => walk.set({ mtu }), { min: "0", placeholder: "default" })))),
      fields.step(2, "Next", h("p", null, "A cluster network without a network config is active nowhere. ",
        h("a", { href: planHash("network-config", walk.form.name === "" ? {} : { clusterNetwork: walk.form.name }) }, "Plan a network config for it"),
        "; that plan creates the cluster network as well.")),
    ],
    result: (answer) => planResult(ui, answer),
  });
}
