//! A review as values: a request's question, the evidence for its answer, and the outcome.
//!
//! ```text
//! bytes ─▶ parse ─▶ Question ─▶ scope ─▶ evidence ─▶ judge ─▶ Outcome ─▶ encode ─▶ bytes
//!         (k8s)                (pure)   (fresh reads)  (pure)            (k8s)
//! ```

use crate::cluster::{Kind, Name, ObjectRef, Snapshot};

use super::super::placement::{Placement, Term};
use super::judgement::Judgement;
use super::write::Proposal;

/// A VM with more MAC addresses than this is judged off the serving threads.
const MAX_SMALL_MACS: usize = 16;

/// The webhook that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Webhook {
    /// The validating webhook, which admits or denies a change.
    Validate,
    /// The mutating webhook, which patches an object.
    Mutate,
}

/// What a request asks: everything that the answer depends on, except for the cluster's state.
#[derive(Clone, Debug)]
pub struct Question {
    /// The webhook.
    pub webhook: Webhook,
    /// The user who makes the request.
    pub user: Name,
    /// What the request is about.
    pub subject: Subject,
}

/// What a request is about.
#[derive(Clone, Debug)]
pub enum Subject {
    /// Nothing to which a rule or a mutation applies.
    Nothing,
    /// An object that can't be read, with the reason.
    Unreadable(Kind, String),
    /// A change.
    Change {
        /// The kind of object.
        kind: Kind,
        /// The change.
        proposal: Box<Proposal>,
        /// The node selector terms of a VM or VMI under mutation, if there are any.
        terms: Option<Vec<Term>>,
    },
}

/// The state from which a question is answered.
pub struct Evidence {
    /// The known objects, with fresh reads applied.
    pub snapshot: Snapshot,
    /// Why a fresh read failed, if one did.
    pub unread: Option<String>,
}

impl Evidence {
    /// Evidence from a snapshot that needs no fresh reads.
    #[must_use]
    pub fn of(snapshot: Snapshot) -> Self {
        Self { snapshot, unread: None }
    }
}

/// The settings by which questions are answered.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The users who may delete cluster network `mgmt`, write its network configs, and to whom
    /// `vm-mac` does not apply.
    pub trusted_users: Vec<String>,
    /// Whether a VM that no host can run is denied rather than warned about.
    pub deny_unschedulable: bool,
    /// Whether the mutating webhook leaves VMs and VMIs alone.
    pub vm_affinity_off: bool,
    /// Whether messages name objects in every namespace, as for `plan`, which its user runs with
    /// the right to read them all.
    pub names_all: bool,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Outcome {
    /// The request is admitted.
    Admitted {
        /// The warnings for the author of the request.
        warnings: Vec<String>,
        /// What is changed in the object.
        edits: Edits,
    },
    /// Rules refuse the request.
    Denied(Judgement),
    /// Whether the change is safe can't be checked, for this reason.
    Undecided(String),
}

/// What the mutating webhook changes in an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Edits {
    /// Nothing.
    #[default]
    None,
    /// A network config's label, and the annotation that lists the covered hosts.
    NetworkConfig {
        /// The value of the label.
        cluster_network: Name,
        /// The covered hosts, sorted.
        covered: Vec<Name>,
    },
    /// A VM network's labels, without their prefix, and the MTU.
    VmNetwork {
        /// The labels; `None` for one that is taken away.
        labels: Vec<(&'static str, Option<String>)>,
        /// The MTU in bytes, if one is to be set.
        mtu: Option<i64>,
    },
    /// The node affinity of a VM or VMI.
    Affinity(Placement),
}

impl Outcome {
    /// The request is admitted without warnings or changes.
    pub fn admitted() -> Self {
        Self::Admitted { warnings: Vec::new(), edits: Edits::None }
    }

    /// The violations and warnings of the request.
    pub fn into_judgement(self) -> Judgement {
        match self {
            Self::Admitted { warnings, .. } => Judgement { warnings, ..Judgement::default() },
            Self::Denied(judgement) => judgement,
            Self::Undecided(_) => Judgement::default(),
        }
    }
}

impl Question {
    /// Returns whether answering may take long. The review of a VM, VMI or host looks at few
    /// objects, unless a VM has a node affinity of its own or many MAC addresses. Any other review
    /// may look at most of the cluster.
    #[must_use]
    pub fn is_large(&self) -> bool {
        let Subject::Change { kind, proposal, .. } = &self.subject else { return false };
        match &**proposal {
            Proposal::Vm(write) => write
                .before()
                .into_iter()
                .chain(write.after())
                .any(|vm| !vm.facts.hosts.is_any() || vm.facts.macs.len() > MAX_SMALL_MACS),
            _ => !matches!(kind, Kind::Vm | Kind::Vmi | Kind::Host),
        }
    }

    /// The object under review, if there is one.
    #[must_use]
    pub fn object(&self) -> Option<ObjectRef> {
        let Subject::Change { kind, proposal, .. } = &self.subject else { return None };
        Some(ObjectRef { kind: *kind, key: proposal.key()? })
    }
}
