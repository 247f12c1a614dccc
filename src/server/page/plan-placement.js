// The question where a VM that is not made yet could run.

import * as parts from "./parts.js";
import * as fields from "./plan-fields.js";
import { makeWalk } from "./plan-walk.js";
import { placement, verdict } from "./vms.js";

export function placementWalk(route, ui) {
  return makeWalk(route, ui, {
    title: "Where could a VM run?",
    lead: "Choose the VM networks that the VM is to have, and the labels that it asks of its host.",
    endpoint: "planner/placement",
    resultTitle: "Hosts",
    initial: () => ({ vmNetworks: [], nodeSelector: {} }),
    fields: (walk) => [
      fields.step(1, "VM networks", walk.offers.vmNetworks.length === 0
        ? parts.muted("There is no VM network yet.")
        : fields.pick(ui, "plan-vm-networks", walk.offers.vmNetworks, walk.form.vmNetworks ?? [], (vmNetworks) => walk.set({ vmNetworks }), "VM network", { data: "pickNetwork" })),
      fields.step(2, "The VM's own node selector", fields.labelPicker("plan-labels", walk.offers, walk.form.nodeSelector ?? {}, (nodeSelector) => walk.set({ nodeSelector }))),
    ],
    result: (answer) => [
      verdict(answer, "Such a VM"),
      parts.muted("Only networks and the node selector are judged. Room, taints and the rest are for the scheduler."),
      placement(ui, answer),
    ],
  });
}
