//! From the objects of an admission request to the change that it proposes.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cluster::{ClusterNetwork, Key, Kind, Name, VmNetwork};
use crate::decide::review::{Proposal, Reviewed, Subject, Webhook, Write};

use super::decode::{Decoder, Malformed, check_strings, read_text};
use super::harvester::{ClusterNetworkObject, NetworkAttachmentDefinition, VlanConfig};
use super::kubevirt::{VirtualMachine, VirtualMachineInstance};
use super::meta::Object;
use super::node::Node;
use super::patch::PatchTarget;
use super::uplink::IgnoredUplink;

/// The operation of an admission request.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// The object is created.
    Create,
    /// The object is changed.
    Update,
    /// The object is deleted.
    Delete,
    /// A connection is opened through the object, such as `kubectl exec`. We never judge it.
    Connect,
}

impl Operation {
    /// The operation as a metric's label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Connect => "connect",
        }
    }
}

/// The parts of an admission request that a proposal is read from.
pub(super) struct Request<'a> {
    pub operation: Operation,
    pub name: &'a str,
    pub object: Option<&'a str>,
    pub old_object: Option<&'a str>,
    /// Reads the objects. Its default namespace is the request's namespace.
    pub decoder: &'a Decoder,
}

/// The subject of a request, and the target of a patch. The webhook must review the kind.
pub(super) fn subject(
    request: &Request<'_>,
    kind: Kind,
    webhook: Webhook,
) -> (Subject, PatchTarget) {
    let found = request.proposal(kind).and_then(|proposal| {
        let Some(proposal) = proposal else { return Ok((Subject::Nothing, PatchTarget::None)) };
        let (target, terms) = match (webhook, request.object) {
            (Webhook::Mutate, Some(object)) => PatchTarget::of(kind, object)?,
            _ => (PatchTarget::None, None),
        };
        Ok((Subject::Change { kind, proposal: Box::new(proposal), terms }, target))
    });
    found.unwrap_or_else(|why| (Subject::Unreadable(kind, why.to_string()), PatchTarget::None))
}

/// Returns whether an object is being deleted. Reads nothing else, since the object may be
/// malformed.
fn is_being_deleted(object: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Deleting {
        deletion_timestamp: Option<serde::de::IgnoredAny>,
    }
    #[derive(Deserialize)]
    struct Metadata {
        metadata: Deleting,
    }
    serde_json::from_str::<Metadata>(object)
        .is_ok_and(|object| object.metadata.deletion_timestamp.is_some())
}

impl Request<'_> {
    /// The proposed change, or `None` if there is nothing to judge.
    fn proposal(&self, kind: Kind) -> Result<Option<Proposal>, Malformed> {
        Ok(match kind {
            // What `ready` says, in a condition or a label, follows from other objects: no rule reads it.
            Kind::ClusterNetwork => {
                let write = self.write::<ClusterNetworkObject>()?.or_else(|| self.delete(kind));
                write.map(|write| {
                    Proposal::ClusterNetwork(write.map(|it| ClusterNetwork { ready: None, ..it }))
                })
            }
            Kind::NetworkConfig => self.network_config()?,
            Kind::VmNetwork => {
                let write = self.write::<NetworkAttachmentDefinition>()?;
                write.or_else(|| self.delete(kind)).map(|write| {
                    Proposal::VmNetwork(write.map(|it| VmNetwork {
                        ready: None,
                        route: None,
                        ..it
                    }))
                })
            }
            Kind::Vm => self.write::<VirtualMachine>()?.map(Proposal::Vm),
            Kind::Vmi => {
                let write = self.write::<VirtualMachineInstance>()?;
                let new = write.as_ref().and_then(Write::after).filter(|new| !new.deleting);
                new.map(|new| Proposal::Vmi(new.facts.networks.clone()))
            }
            Kind::Host => self.write::<Node>()?.map(Proposal::Host),
            _ => None,
        })
    }

    /// Reads one version of the object.
    fn reviewed<O: Object>(&self, object: &str) -> Result<Reviewed<O::Facts>, Malformed> {
        check_strings(object)?;
        let object: O = read_text(object)?;
        let (key, deleting) = (self.decoder.key(&object), object.meta().deleting());
        Ok(Reviewed { key, facts: object.facts(self.decoder), deleting })
    }

    /// The write of the object. Returns `None` for a delete whose old version is missing or
    /// malformed, and for an update of a malformed object that is being deleted: neither a repair
    /// nor a deletion may fail because of a malformed version.
    fn write<O: Object>(&self) -> Result<Option<Write<O::Facts>>, Malformed> {
        let new = || self.reviewed::<O>(self.object.ok_or("the request has no object")?);
        let old = || self.old_object.and_then(|object| self.reviewed::<O>(object).ok());
        Ok(match self.operation {
            Operation::Create => Some(Write::Create(new()?)),
            Operation::Update => match (old(), new()) {
                (_, Err(_)) if self.object.is_some_and(is_being_deleted) => None,
                (_, Err(why)) => return Err(why),
                (Some(old), Ok(new)) => Some(Write::Update { old, new }),
                (None, Ok(new)) => Some(Write::Create(new)),
            },
            Operation::Delete => old().map(Write::Delete),
            Operation::Connect => None,
        })
    }

    /// The delete of an object whose old version is missing or malformed. Whether something uses an object
    /// is told by its name alone.
    fn delete<F: Default>(&self, kind: Kind) -> Option<Write<F>> {
        let is_delete = self.operation == Operation::Delete && !self.name.is_empty();
        is_delete.then(|| {
            let key = if kind.namespaced() {
                Key::in_namespace(&self.decoder.default_namespace, self.name)
            } else {
                Key::cluster_scoped(self.name)
            };
            Write::Delete(Reviewed { key, facts: F::default(), deleting: false })
        })
    }

    /// The proposed change of a network config. A malformed config is admitted if only its metadata
    /// changes. If the old version is malformed, it is read again without its uplink, and if that
    /// fails too, the snapshot's version counts instead: the config can be repaired or deleted, but
    /// running VMs stay protected.
    fn network_config(&self) -> Result<Option<Proposal>, Malformed> {
        let write = match self.write::<VlanConfig>() {
            Err(_) if self.operation == Operation::Update && self.keeps_spec() => return Ok(None),
            write => write?,
        };
        let replaces = matches!(self.operation, Operation::Update | Operation::Delete);
        Ok(match write {
            Some(write) if !replaces || write.before().is_some() => {
                Some(Proposal::NetworkConfig(write))
            }
            None if self.operation == Operation::Update => None,
            write => {
                let new = write.and_then(|write| write.after().cloned());
                let old = self
                    .old_object
                    .and_then(|old| self.reviewed::<VlanConfig<IgnoredUplink>>(old).ok());
                match (old, new) {
                    (Some(old), Some(new)) => {
                        Some(Proposal::NetworkConfig(Write::Update { old, new }))
                    }
                    (Some(old), None) => Some(Proposal::NetworkConfig(Write::Delete(old))),
                    (None, new) => {
                        Some(Proposal::KnownNetworkConfig { name: Name::from(self.name), new })
                    }
                }
            }
        })
    }

    /// Returns whether the update leaves every byte of `spec` unchanged.
    fn keeps_spec(&self) -> bool {
        #[derive(Deserialize)]
        struct Spec<'a> {
            #[serde(borrow)]
            spec: &'a RawValue,
        }
        fn spec(object: Option<&str>) -> Option<&str> {
            serde_json::from_str::<Spec<'_>>(object?).ok().map(|object| object.spec.get())
        }
        let (old, new) = (spec(self.old_object), spec(self.object));
        old.is_some() && old == new
    }
}
