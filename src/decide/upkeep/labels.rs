//! The labels of a host: one for each cluster network that is active there.

use std::collections::BTreeMap;

use crate::cluster::{MGMT, Name, Snapshot, is_dns_subdomain};
use crate::decide::placement::LABEL_PREFIX;
use crate::decide::review::MAX_NAME;

use super::values::Update;

/// The value of a label. A VM's node affinity requires it.
const ACTIVE: &str = "true";

/// The labels that a host lacks, or has too many. A label of a cluster network that does not exist is
/// removed only if it says that one is active: another program may use the prefix for something
/// else.
pub(super) fn host(snapshot: &Snapshot, host: &Name) -> Option<Update> {
    let at = snapshot.host(host)?;
    let present: BTreeMap<&str, &str> = snapshot.labels_of(host)?.under(LABEL_PREFIX).collect();
    let mgmt = Name::from(MGMT);
    let names = snapshot.cluster_networks().filter(|name| ***name != *MGMT).chain([&mgmt]);
    let mut labels: Vec<(Name, bool)> = names
        .filter_map(|name| {
            let active = snapshot.network(name).inactive(at).is_none();
            let is_right = match present.get(&**name) {
                Some(value) => active && *value == ACTIVE,
                None => !active,
            };
            (!is_right).then(|| (name.clone(), active))
        })
        .collect();
    let stray = present.iter().filter(|(name, value)| {
        let may_be_ours = name.len() <= MAX_NAME && is_dns_subdomain(name) && !name.contains('.');
        **value == ACTIVE && may_be_ours && !snapshot.exists(name)
    });
    labels.extend(stray.map(|(name, _)| (Name::from(*name), false)));
    labels.sort_unstable();
    (!labels.is_empty()).then(|| Update::HostLabels { host: host.clone(), labels })
}
