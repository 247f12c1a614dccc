//! `explain network` and `explain cluster-network`: on which hosts a network is active, and what
//! belongs to it.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cluster::{Key, Kind, Name};
use crate::commands::Form;
use crate::decide::explain::{Asked, inactive};
use crate::source::Once;

use super::answer::{
    Error, Explanation, Row, any_fits, hosts, namespaced, write_names, write_rows,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VmNetworkView<'s> {
    vm_network: &'s str,
    cluster_network: Option<Name>,
    vms: Vec<String>,
    running_vms: Vec<String>,
    hosts: Vec<Row>,
}

/// Explains a VM network: its cluster network, the hosts on which a VM on it can run, and the VMs
/// that use it.
///
/// # Errors
/// If the name is malformed, the source can't be read, the VM network does not exist, or no host is
/// known.
pub fn vm_network(name: &str, mut source: Once, form: Form) -> Result<Explanation, Error> {
    let key = namespaced(name)?;
    let snapshot = source.snapshot()?;
    let Some(facts) = snapshot.vm_network(&key) else {
        return Err(Error::not_found("VM network", &snapshot, &[Kind::VmNetwork], &key));
    };
    let asked = Asked::on_network(&snapshot, &key);
    let hosts = hosts(&snapshot)?;
    let rows = hosts
        .into_iter()
        .map(|host| Row::new(host.name(), asked.causes(&snapshot, host), &snapshot, host));
    let view = VmNetworkView {
        vm_network: key.as_str(),
        cluster_network: snapshot.cluster_network_of(facts),
        vms: snapshot.vms_using(&key).map(ToString::to_string).collect(),
        running_vms: snapshot.vmis_using(&key).map(ToString::to_string).collect(),
        hosts: rows.collect(),
    };
    Ok(Explanation {
        text: form.write(&view, vm_network_table)?,
        feasible: any_fits(&view.hosts),
        problems: snapshot.problems(),
    })
}

fn vm_network_table(view: &VmNetworkView<'_>) -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    let _ = writeln!(text, "VM network {}", view.vm_network);
    let under = view.cluster_network.as_deref().unwrap_or("-, so it restricts no host");
    let _ = writeln!(text, "Cluster network: {under}");
    write_names(&mut text, "VMs", &view.vms);
    write_names(&mut text, "Running VMs", &view.running_vms);
    write_rows(&mut text, ["HOST", "CAN USE"], &view.hosts);
    text
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterNetworkView<'s> {
    cluster_network: &'s str,
    network_configs: Vec<String>,
    vm_networks: Vec<String>,
    hosts: Vec<Row>,
}

/// Explains a cluster network: the hosts on which it is active, its network configs and its VM
/// networks.
///
/// # Errors
/// If the source can't be read, the cluster network does not exist, or no host is known.
pub fn cluster_network(name: &str, mut source: Once, form: Form) -> Result<Explanation, Error> {
    let snapshot = source.snapshot()?;
    let name = Name::from(name);
    if !snapshot.exists(&name) {
        let key = Key::cluster_scoped(name);
        return Err(Error::not_found("cluster network", &snapshot, &[Kind::ClusterNetwork], &key));
    }
    let hosts = hosts(&snapshot)?;
    let rows = hosts.into_iter().map(|host| {
        let cause = inactive(&snapshot, &name, host).map(|cause| (None, cause));
        Row::new(host.name(), cause, &snapshot, host)
    });
    let view = ClusterNetworkView {
        cluster_network: &name,
        network_configs: snapshot.configs_naming(&name).map(ToString::to_string).collect(),
        vm_networks: snapshot.vm_networks_of(&name).map(|(key, _)| key.to_string()).collect(),
        hosts: rows.collect(),
    };
    Ok(Explanation {
        text: form.write(&view, cluster_network_table)?,
        feasible: any_fits(&view.hosts),
        problems: snapshot.problems(),
    })
}

fn cluster_network_table(view: &ClusterNetworkView<'_>) -> String {
    let mut text = format!("Cluster network {}\n", view.cluster_network);
    write_names(&mut text, "Network configs", &view.network_configs);
    write_names(&mut text, "VM networks", &view.vm_networks);
    write_rows(&mut text, ["HOST", "ACTIVE"], &view.hosts);
    text
}
