//! From the objects of an admission request to the change that they make.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cluster::{Kind, Name};
use crate::decide::review::{Proposal, Reviewed, Subject, Webhook, Write};

use super::decode::{Decoder, Malformed, check_strings, read_text};
use super::harvester::{ClusterNetworkObject, NetworkAttachmentDefinition, Unread, VlanConfig};
use super::kubevirt::{VirtualMachine, VirtualMachineInstance};
use super::meta::Object;
use super::node::Node;
use super::patch::Draft;

/// What is to be done to the object.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// Make it.
    Create,
    /// Change it.
    Update,
    /// Delete it.
    Delete,
    /// Open a connection through it, which is no business of ours.
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

/// The parts of an admission request that a change is read from.
pub(super) struct Request<'a> {
    pub operation: Operation,
    pub name: &'a str,
    pub object: Option<&'a str>,
    pub old_object: Option<&'a str>,
    /// Reads the objects; its default namespace is the request's.
    pub decoder: &'a Decoder,
}

/// What a request is about, and what a patch of its object must know. The kind is one that the
/// webhook is asked about.
pub(super) fn subject(request: &Request<'_>, kind: Kind, webhook: Webhook) -> (Subject, Draft) {
    let found = request.proposal(kind).and_then(|proposal| {
        let Some(proposal) = proposal else { return Ok((Subject::Nothing, Draft::None)) };
        let (draft, terms) = match (webhook, request.object) {
            (Webhook::Mutate, Some(object)) => Draft::of(kind, object)?,
            _ => (Draft::None, None),
        };
        Ok((Subject::Change { kind, proposal: Box::new(proposal), terms }, draft))
    });
    found.unwrap_or_else(|why| (Subject::Unreadable(kind, why.to_string()), Draft::None))
}

/// Returns whether an object is being deleted, as far as it can be told of one that may not be
/// readable.
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
    /// What is done to the object; nothing, if there is nothing to judge.
    fn proposal(&self, kind: Kind) -> Result<Option<Proposal>, Malformed> {
        Ok(match kind {
            Kind::ClusterNetwork => {
                self.write::<ClusterNetworkObject>()?.map(Proposal::ClusterNetwork)
            }
            Kind::NetworkConfig => self.network_config()?,
            Kind::VmNetwork => {
                self.write::<NetworkAttachmentDefinition>()?.map(Proposal::VmNetwork)
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

    /// One version of the object.
    fn reviewed<O: Object>(&self, object: &str) -> Result<Reviewed<O::Facts>, Malformed> {
        check_strings(object)?;
        let object: O = read_text(object)?;
        let (key, deleting) = (self.decoder.key(&object), object.meta().deleting());
        Ok(Reviewed { key, facts: object.facts(self.decoder), deleting })
    }

    /// What is done to the object; nothing, if it is deleted and its old version says nothing, or
    /// if it can't be read and is being deleted. An old version that is missing or can't be read
    /// holds up neither the object's repair nor its deletion.
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

    /// What is done to a network config. One that can't be read is admitted if only its metadata
    /// changes. Of an old version that can't be read all but the uplink may still be: it may then
    /// be repaired and deleted, but not under running VMs. Where that fails too, what is known of
    /// the config counts.
    fn network_config(&self) -> Result<Option<Proposal>, Malformed> {
        let written = match self.write::<VlanConfig>() {
            Err(_) if self.operation == Operation::Update && self.same_spec() => return Ok(None),
            written => written?,
        };
        let replaces = matches!(self.operation, Operation::Update | Operation::Delete);
        Ok(match written {
            Some(write) if !replaces || write.before().is_some() => {
                Some(Proposal::NetworkConfig(write))
            }
            None if self.operation == Operation::Update => None,
            written => {
                let new = written.and_then(|write| write.after().cloned());
                let old =
                    self.old_object.and_then(|old| self.reviewed::<VlanConfig<Unread>>(old).ok());
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

    /// Returns whether the update leaves `spec` alone, to the byte.
    fn same_spec(&self) -> bool {
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
