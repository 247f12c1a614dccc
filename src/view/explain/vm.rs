//! A VM: on which hosts it can run.

use schemars::JsonSchema;
use serde::Serialize;

use crate::cluster::{HostRef, Key, Name, Snapshot};
use crate::decide::explain::Asked;
use crate::view::table::{Tone, cell, printable, table};

use super::row::{Row, rows_table};

/// A VM, what it needs, and where it can run.
#[derive(Debug, Serialize, JsonSchema)]
pub struct VmView<'s> {
    vm: &'s str,
    source: &'static str,
    needs: Vec<Need>,
    /// Whether the VM can run on each host.
    pub hosts: Vec<Row>,
    /// The VMI of a VM, if it has not finished and other hosts can run it than the VM: the VM was changed
    /// since it was started.
    vmi: Option<Instance>,
}

/// A VMI that asks for something else than its VM.
#[derive(Debug, Serialize, JsonSchema)]
struct Instance {
    /// The number of hosts that can run it.
    hosts: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Need {
    vm_network: String,
    cluster_network: Option<Name>,
}

impl<'s> VmView<'s> {
    /// The VM of this name, or else its VMI; `None` if there is neither.
    #[must_use]
    pub fn of(snapshot: &Snapshot, key: &'s Key) -> Option<Self> {
        let mut view = Self::asking(snapshot, key.as_str(), &Asked::of(snapshot, key)?);
        if snapshot.vmi(key).is_some_and(|vmi| !vmi.finished) {
            let vmi = Asked::of_vmi(snapshot, key)?;
            let hosts = snapshot.hosts().into_iter();
            let fits: Vec<bool> = hosts.map(|host| vmi.causes(snapshot, host).is_empty()).collect();
            let differs = !fits.iter().eq(view.hosts.iter().map(|row| &row.feasible));
            let hosts = fits.into_iter().filter(|fits| *fits).count();
            view.vmi = differs.then_some(Instance { hosts });
        }
        Some(view)
    }

    /// A VM that asks for this.
    #[must_use]
    pub fn asking(snapshot: &Snapshot, vm: &'s str, asked: &Asked) -> Self {
        let needs = asked.needs.vm_networks.iter().map(|(vm_network, cluster_network)| Need {
            vm_network: vm_network.to_string(),
            cluster_network: cluster_network.clone(),
        });
        let row =
            |host: HostRef<'_>| Row::new(host.name(), asked.causes(snapshot, host), snapshot, host);
        Self {
            vm,
            source: asked.source.kubernetes(),
            needs: needs.collect(),
            hosts: snapshot.hosts().into_iter().map(row).collect(),
            vmi: None,
        }
    }

    /// The VM for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("{} {}\n", self.source, printable(self.vm));
        if self.needs.is_empty() && self.hosts.iter().all(|host| host.feasible) {
            text.push_str("It needs no VM network.\n");
        } else if !self.needs.is_empty() {
            let needs = self.needs.iter().map(|need| {
                let under = need.cluster_network.as_deref().unwrap_or("-");
                vec![cell(Tone::Plain, &need.vm_network), cell(Tone::Plain, under)]
            });
            text.push('\n');
            text.push_str(&table(&["VM NETWORK", "CLUSTER NETWORK"], needs));
        }
        let feasible = self.hosts.iter().filter(|host| host.feasible).count();
        let all = self.hosts.len();
        let vmi = self.vmi.as_ref().map_or(String::new(), |Instance { hosts }| {
            format!(
                "\nIts VMI asks for other networks or hosts than the VM does now: {hosts} of {all} hosts \
                 can run the VMI as it is. Restart the VM to start it as above.\n"
            )
        });
        format!(
            "{text}\n{}\n{feasible} of {all} hosts can run it as far as its networks, its nodeSelector \
             and its required node affinity go. Room, taints, pod affinity and the like are for the \
             scheduler to judge.\n{vmi}",
            rows_table(["HOST", "CAN RUN"], &self.hosts),
        )
    }
}
