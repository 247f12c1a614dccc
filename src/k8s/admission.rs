//! AdmissionReview (`admission.k8s.io/v1`), borrowed on the way in.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use json_patch::Patch;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::cluster::{ClusterNetwork, Host, Kind, Name, NetworkConfig, Snapshot, VmNetwork};
use crate::decide::review::network_config::Subject;
use crate::decide::review::{
    self, Judgement, Policy, Write, cluster_network, host, vm, vm_network,
};

use super::harvester::{
    CLUSTER_NETWORK_LABEL, ClusterNetworkObject, NetworkAttachmentDefinition, VlanConfig,
};
use super::kubevirt::VirtualMachine;
use super::node::Node;
use super::objects::{Reader, is_being_deleted, kind_of, read};

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    request: Option<Request<'a>>,
}

/// What the API server asks.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    /// Names the request; the answer repeats it.
    #[serde(borrow)]
    pub uid: Cow<'a, str>,
    #[serde(borrow)]
    kind: GroupVersionKind<'a>,
    #[serde(borrow)]
    sub_resource: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    namespace: Option<Cow<'a, str>>,
    /// What is to be done.
    pub operation: Operation,
    #[serde(borrow)]
    user_info: Option<UserInfo<'a>>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    old_object: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct GroupVersionKind<'a> {
    #[serde(borrow, default)]
    group: Cow<'a, str>,
    #[serde(borrow, default)]
    version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct UserInfo<'a> {
    #[serde(borrow, default)]
    username: Cow<'a, str>,
}

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

/// Whether a kind has rules.
#[must_use]
pub fn has_rules(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::ClusterNetwork | Kind::NetworkConfig | Kind::VmNetwork | Kind::Vm | Kind::Host
    )
}

/// Reads an AdmissionReview's request.
///
/// # Errors
/// Says why the body is no AdmissionReview of `admission.k8s.io/v1` with a request.
pub fn request(body: &[u8]) -> Result<Request<'_>, String> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err("the body is no AdmissionReview: it is not an object".to_owned());
    }
    let review: Review<'_> = serde_json::from_slice(body)
        .map_err(|error| format!("the body is no AdmissionReview: {error}"))?;
    if review.kind != KIND || review.api_version != API_VERSION {
        return Err(format!(
            "the body is {:?} of {:?}, but only {KIND} of {API_VERSION} is understood",
            review.kind, review.api_version
        ));
    }
    let request = review.request.ok_or("the AdmissionReview has no request")?;
    if request.uid.is_empty() {
        return Err("the AdmissionReview's request has no uid".to_owned());
    }
    Ok(request)
}

impl<'a> Request<'a> {
    /// The kind of object, if a decision can depend on it. A subresource is none of our kinds.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        if self.sub_resource.as_ref().is_some_and(|name| !name.is_empty()) {
            return None;
        }
        let GroupVersionKind { group, version, kind } = &self.kind;
        kind_of(&format!("{group}/{version}"), kind)
    }

    /// Who asks.
    #[must_use]
    pub fn user(&self) -> &str {
        self.user_info.as_ref().map_or("", |user| &user.username)
    }

    /// The object as it would be.
    #[must_use]
    pub fn object(&self) -> Option<&'a str> {
        self.object.map(RawValue::get).filter(|object| *object != "null")
    }

    /// The object as it is.
    #[must_use]
    pub fn old_object(&self) -> Option<&'a str> {
        self.old_object.map(RawValue::get).filter(|object| *object != "null")
    }

    /// How this request's objects are to be read: those that name no namespace lie in its own.
    #[must_use]
    pub fn reader(&self, reader: &Reader) -> Reader {
        let mut reader = reader.clone();
        if let Some(namespace) = self.namespace.as_deref().filter(|it| !it.is_empty()) {
            reader.default_namespace = namespace.into();
        }
        reader
    }

    /// Judges what the request does to an object of a kind that has rules. `reader` says how objects
    /// are read in general.
    pub fn judge(
        &self,
        kind: Kind,
        snapshot: &Snapshot,
        reader: &Reader,
        policy: Policy,
    ) -> Judgement {
        let known = |name: &str| snapshot.config(name).cloned();
        match self.change(kind, &self.reader(reader), known) {
            Ok(Some(change)) => review::judge(snapshot, &change, policy),
            Ok(None) => Judgement::default(),
            Err(why) => Judgement::unreadable(kind, &why),
        }
    }

    /// What is done to an object of a kind that has rules; nothing, if there is nothing to judge.
    /// `reader` is this request's, and `known` tells what is known of the config of a name, for a
    /// request whose old version is missing or can't be read.
    ///
    /// # Errors
    /// Says which field of the new object can't be read.
    pub fn change(
        &self,
        kind: Kind,
        reader: &Reader,
        known: impl Fn(&str) -> Option<NetworkConfig>,
    ) -> Result<Option<review::Request>, String> {
        Ok(match kind {
            Kind::ClusterNetwork => {
                self.write(cluster_network, || None)?.map(review::Request::ClusterNetwork)
            }
            Kind::NetworkConfig => self.network_config(known)?.map(review::Request::NetworkConfig),
            Kind::VmNetwork => self
                .write(|object| vm_network(object, reader), || None)?
                .map(review::Request::VmNetwork),
            Kind::Vm => self.write(|object| vm(object, reader), || None)?.map(review::Request::Vm),
            Kind::Host => self.write(host, || None)?.map(review::Request::Host),
            _ => None,
        })
    }

    /// What is done to an object; nothing, if it is deleted and its old version says nothing, or if
    /// it can't be read and is being deleted. An old version that is missing or can't be read is
    /// `instead`; where that is nothing too, it holds up neither the object's repair nor its deletion.
    fn write<T>(
        &self,
        subject: impl Fn(&str) -> Result<T, String>,
        instead: impl Fn() -> Option<T>,
    ) -> Result<Option<Write<T>>, String> {
        let new = || subject(self.object().ok_or("the request has no object")?);
        let old = || self.old_object().and_then(|object| subject(object).ok()).or_else(&instead);
        Ok(match self.operation {
            Operation::Create => Some(Write::Create(new()?)),
            Operation::Update => match (old(), new()) {
                (_, Err(_)) if self.object().is_some_and(is_being_deleted) => None,
                (_, Err(why)) => return Err(why),
                (Some(old), Ok(new)) => Some(Write::Update { old, new }),
                (None, Ok(new)) => Some(Write::Create(new)),
            },
            Operation::Delete => old().map(Write::Delete),
            Operation::Connect => None,
        })
    }

    /// What is done to a network config. One that can't be read passes if only its metadata changes.
    fn network_config(
        &self,
        known: impl Fn(&str) -> Option<NetworkConfig>,
    ) -> Result<Option<Write<Subject>>, String> {
        let by_name = || {
            let name = Name::from(self.name.as_deref()?);
            let facts = known(&name)?;
            let label = Some(facts.cluster_network.clone());
            Some(Subject { name, facts, label, description: Name::default() })
        };
        let instead = || self.old_object().and_then(without_uplink).or_else(by_name);
        match self.write(subject, instead) {
            Err(_) if self.operation == Operation::Update && self.same_spec() => Ok(None),
            written => written,
        }
    }

    /// Whether the update leaves `spec` alone, to the byte.
    fn same_spec(&self) -> bool {
        #[derive(Deserialize)]
        struct Spec<'a> {
            #[serde(borrow)]
            spec: &'a RawValue,
        }
        let spec = |object: Option<&'a str>| {
            serde_json::from_str::<Spec<'a>>(object?).ok().map(|object| object.spec.get())
        };
        let (old, new) = (spec(self.old_object()), spec(self.object()));
        old.is_some() && old == new
    }
}

fn cluster_network(object: &str) -> Result<cluster_network::Subject, String> {
    let network: ClusterNetworkObject = read(&mut serde_json::Deserializer::from_str(object))?;
    Ok(cluster_network::Subject {
        name: network.metadata.name.clone().unwrap_or_default(),
        deleting: network.metadata.deleting(),
        facts: ClusterNetwork::from(network),
    })
}

fn vm_network(object: &str, reader: &Reader) -> Result<vm_network::Subject, String> {
    let network: NetworkAttachmentDefinition =
        read(&mut serde_json::Deserializer::from_str(object))?;
    Ok(vm_network::Subject {
        key: reader.key(&network.metadata),
        deleting: network.metadata.deleting(),
        facts: VmNetwork::from(network),
    })
}

fn vm(object: &str, reader: &Reader) -> Result<vm::Subject, String> {
    let machine: VirtualMachine = read(&mut serde_json::Deserializer::from_str(object))?;
    Ok(vm::Subject { key: reader.key(&machine.metadata), facts: machine.facts(reader) })
}

fn host(object: &str) -> Result<host::Subject, String> {
    let node: Node = read(&mut serde_json::Deserializer::from_str(object))?;
    Ok(host::Subject {
        name: node.metadata.name.clone().unwrap_or_default(),
        deleting: node.metadata.deleting(),
        facts: Host::from(node),
    })
}

fn subject(object: &str) -> Result<Subject, String> {
    let config: VlanConfig = read(&mut serde_json::Deserializer::from_str(object))?;
    Ok(Subject {
        name: config.metadata.name.clone().unwrap_or_default(),
        label: config.metadata.label(CLUSTER_NETWORK_LABEL).map(Name::from),
        description: config.spec.description.clone(),
        facts: NetworkConfig::from(config),
    })
}

/// An old version that can't be read whole, without its uplink: it may be repaired and deleted, but
/// not under running VMs.
fn without_uplink(object: &str) -> Option<Subject> {
    let mut object: serde_json::Value = serde_json::from_str(object).ok()?;
    object.get_mut("spec")?.as_object_mut()?.remove("uplink");
    subject(&object.to_string()).ok()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
}

#[derive(Serialize)]
struct Status {
    code: u16,
    reason: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

#[derive(Serialize)]
struct Details {
    causes: Vec<DenialCause>,
}

#[derive(Serialize)]
struct DenialCause {
    reason: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
}

fn answer(
    uid: &str,
    status: Option<Status>,
    warnings: &[String],
    patch: Option<String>,
) -> Vec<u8> {
    let answer = Answer {
        api_version: API_VERSION,
        kind: KIND,
        response: Response {
            uid,
            allowed: status.is_none(),
            status,
            warnings,
            patch_type: patch.as_ref().map(|_| "JSONPatch"),
            patch,
        },
    };
    // Strings and numbers in structs can't fail to serialize.
    serde_json::to_vec(&answer).unwrap_or_default()
}

/// Refuses a change since what it depends on could not be read afresh.
#[must_use]
pub fn unread(uid: &str, why: &str) -> Vec<u8> {
    let status = Status {
        // What the API server itself says where a webhook fails; with 503 clients would try again
        // and again by themselves, and nobody see why.
        code: 500,
        reason: "InternalError",
        message: format!(
            "whether this is safe can't be told, since the cluster's present state could not be read: \
             {why}; try again"
        ),
        details: None,
    };
    answer(uid, Some(status), &[], None)
}

/// Admits the request as it is.
#[must_use]
pub fn admit(uid: &str) -> Vec<u8> {
    answer(uid, None, &[], None)
}

/// Admits the request with these changes; none at all is an answer without a patch.
#[must_use]
pub fn admit_with(uid: &str, patch: &Patch) -> Vec<u8> {
    let patch = (!patch.0.is_empty())
        .then(|| STANDARD.encode(serde_json::to_vec(patch).unwrap_or_default()));
    answer(uid, None, &[], patch)
}

/// Answers with a judgement: 422 if each violation is a fault of the object alone, else 403.
#[must_use]
pub fn judged(uid: &str, judgement: &Judgement) -> Vec<u8> {
    let status = (!judgement.admitted()).then(|| {
        let (code, reason) = if judgement.faults_of_the_object_alone() {
            (422, "Invalid")
        } else {
            (403, "Forbidden")
        };
        let causes = judgement
            .violations
            .iter()
            .map(|violation| DenialCause {
                reason: violation.code.as_str(),
                message: violation.message.clone(),
                field: violation.field,
            })
            .collect();
        Status { code, reason, message: judgement.message(), details: Some(Details { causes }) }
    });
    answer(uid, status, &judgement.warnings, None)
}
