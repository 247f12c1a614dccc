//! A review as a value: the question that a request asks, what it is answered from, and the answer.
//!
//! ```text
//! bytes ─▶ parse ─▶ Question ─▶ scope ─▶ evidence ─▶ judge ─▶ Outcome ─▶ encode ─▶ bytes
//!         (k8s)                (pure)   (fresh reads)  (pure)            (k8s)
//! ```

use crate::cluster::{Kind, Name, ObjectRef, Snapshot};

use super::super::placement::{Placement, Term};
use super::judgement::Judgement;
use super::write::Proposal;

/// Which of the two webhooks is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Webhook {
    /// Whether the change may be made.
    Validate,
    /// What is to be changed about the object on its way in.
    Mutate,
}

/// What a request asks, with all that an answer depends on but the cluster's state.
#[derive(Clone, Debug)]
pub struct Question {
    /// The webhook.
    pub webhook: Webhook,
    /// Who asks.
    pub user: Name,
    /// What is asked.
    pub subject: Subject,
}

/// What a question is about.
#[derive(Clone, Debug)]
pub enum Subject {
    /// Nothing that a rule or a mutation is about.
    Nothing,
    /// An object that can't be read, and why.
    Unreadable(Kind, String),
    /// A change.
    Change {
        /// The kind of object.
        kind: Kind,
        /// The change.
        proposal: Box<Proposal>,
        /// The node selector terms of a VM or VMI that is to be mutated, if it has any.
        terms: Option<Vec<Term>>,
    },
}

/// What a question is answered from.
pub struct Evidence {
    /// What is known, with what was read afresh.
    pub snapshot: Snapshot,
    /// Why something could not be read afresh.
    pub unread: Option<String>,
}

impl Evidence {
    /// What is known is the present state: nothing has to be read afresh.
    #[must_use]
    pub fn of(snapshot: Snapshot) -> Self {
        Self { snapshot, unread: None }
    }
}

/// By which settings questions are answered.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The users who keep cluster network `mgmt` and its records.
    pub trusted_users: Vec<String>,
    /// Whether a VM that no host can run is refused, and not only warned about.
    pub deny_unschedulable: bool,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Outcome {
    /// The request is admitted.
    Admitted {
        /// What its author should know.
        warnings: Vec<String>,
        /// What is changed about the object.
        edits: Edits,
    },
    /// Rules refuse it.
    Denied(Judgement),
    /// Whether it is safe can't be told, and why.
    Undecided(String),
}

/// What is changed about an object on its way in.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Edits {
    /// Nothing.
    #[default]
    None,
    /// A network config's label and its annotation with the hosts that it covers.
    NetworkConfig {
        /// What the label names.
        cluster_network: Name,
        /// The hosts that it covers, sorted.
        covered: Vec<Name>,
    },
    /// A VM network's labels, by the last part of their names, and its MTU.
    VmNetwork {
        /// The labels.
        labels: Vec<(&'static str, String)>,
        /// The MTU in bytes, if it is to be set.
        mtu: Option<i64>,
    },
    /// The node affinity of a VM or VMI.
    Affinity(Placement),
}

impl Outcome {
    /// The request is admitted as it is.
    pub fn admitted() -> Self {
        Self::Admitted { warnings: Vec::new(), edits: Edits::None }
    }

    /// The rules that refuse the request, and the warnings about it.
    pub fn into_judgement(self) -> Judgement {
        match self {
            Self::Admitted { warnings, .. } => Judgement { warnings, ..Judgement::default() },
            Self::Denied(judgement) => judgement,
            Self::Undecided(_) => Judgement::default(),
        }
    }
}

impl Question {
    /// Returns whether answering may take long: all but VMs and hosts, of which a review looks at
    /// little.
    #[must_use]
    pub fn is_large(&self) -> bool {
        match &self.subject {
            Subject::Nothing | Subject::Unreadable(..) => false,
            Subject::Change { kind, .. } => !matches!(kind, Kind::Vm | Kind::Vmi | Kind::Host),
        }
    }

    /// The object that is written, if the question is about one.
    #[must_use]
    pub fn object(&self) -> Option<ObjectRef> {
        let Subject::Change { kind, proposal, .. } = &self.subject else { return None };
        Some(ObjectRef { kind: *kind, key: proposal.key()? })
    }
}
