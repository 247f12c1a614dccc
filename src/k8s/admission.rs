//! AdmissionReview (`admission.k8s.io/v1`): the request is read once, into an owned question, and
//! the response is written from the question's outcome.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use json_patch::Patch;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::cluster::{Kind, Name};
use crate::decide::review::{Edits, Outcome, Question, Subject, Webhook};

use super::decode::{Decoder, Malformed, read_text};
use super::objects::kind_of;
use super::patch::PatchTarget;
use super::plain::echo;
use super::proposals::{Request, subject};

pub use super::proposals::Operation;

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionReview<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    request: Option<AdmissionRequest<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionRequest<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow)]
    kind: GroupVersionKind<'a>,
    #[serde(borrow)]
    sub_resource: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    namespace: Option<Cow<'a, str>>,
    operation: Operation,
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

/// A review: the API server's question, and what is needed to write the answer.
pub struct Review {
    /// Identifies the request. The answer repeats it.
    pub uid: String,
    /// The kind, or `None` if no decision can depend on it. A subresource has none.
    pub kind: Option<Kind>,
    /// The object's namespace, or empty.
    pub namespace: String,
    /// The object's name, or empty if the API server has yet to generate it.
    pub name: String,
    /// The operation on the object.
    pub operation: Operation,
    /// The question to judge.
    pub question: Arc<Question>,
    /// The parts of the object that a patch depends on.
    target: PatchTarget,
}

/// Returns whether a kind has rules.
#[must_use]
pub fn has_rules(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::ClusterNetwork | Kind::NetworkConfig | Kind::VmNetwork | Kind::Vm | Kind::Host
    )
}

/// Returns whether this operation on an object of a kind is mutated.
#[must_use]
pub fn is_mutated(operation: Operation, kind: Kind) -> bool {
    match (operation, kind) {
        // A VMI only on create: its affinity can't change later.
        (Operation::Create, Kind::NetworkConfig | Kind::VmNetwork | Kind::Vm | Kind::Vmi)
        | (Operation::Update, Kind::NetworkConfig | Kind::VmNetwork | Kind::Vm) => true,
        _ => false,
    }
}

/// Reads the body of a webhook request.
///
/// # Errors
/// If the body is not an AdmissionReview of `admission.k8s.io/v1` with a request. A malformed
/// object in it is not an error here: the question says that the object can't be read.
pub fn parse(body: &str, webhook: Webhook, decoder: &Decoder) -> Result<Review, Malformed> {
    let not_a_review = "the body is not an AdmissionReview";
    if !body.trim_ascii_start().starts_with('{') {
        return Err(Malformed::from("it is not an object").about(not_a_review));
    }
    let review: AdmissionReview<'_> = read_text(body).map_err(|why| why.about(not_a_review))?;
    if review.kind != KIND || review.api_version != API_VERSION {
        return Err(Malformed::new(format!(
            "the body is {} of {}, but only {KIND} of {API_VERSION} is supported",
            echo(&review.kind),
            echo(&review.api_version)
        )));
    }
    let request = review.request.ok_or("the AdmissionReview has no request")?;
    if request.uid.is_empty() {
        return Err("the AdmissionReview's request has no uid".into());
    }
    let user = request.user_info.map(|user| user.username).unwrap_or_default();
    let GroupVersionKind { group, version, kind } = &request.kind;
    let is_object = request.sub_resource.is_none_or(|name| name.is_empty());
    let kind = kind_of(&format!("{group}/{version}"), kind).filter(|_| is_object);
    let reviewed = kind.filter(|kind| match webhook {
        Webhook::Validate => has_rules(*kind),
        Webhook::Mutate => is_mutated(request.operation, *kind),
    });
    let mut decoder = decoder.clone();
    // An object that names no namespace is in the request's namespace.
    if let Some(namespace) = request.namespace.as_deref().filter(|it| !it.is_empty()) {
        decoder.default_namespace = namespace.into();
    }
    let parts = Request {
        operation: request.operation,
        name: request.name.as_deref().unwrap_or_default(),
        object: present(request.object),
        old_object: present(request.old_object),
        decoder: &decoder,
    };
    let (subject, target) = match reviewed {
        Some(kind) => subject(&parts, kind, webhook),
        None => (Subject::Nothing, PatchTarget::None),
    };
    Ok(Review {
        uid: request.uid.into_owned(),
        kind,
        namespace: request.namespace.unwrap_or_default().into_owned(),
        name: request.name.unwrap_or_default().into_owned(),
        operation: request.operation,
        question: Arc::new(Question { webhook, user: Name::from(&*user), subject }),
        target,
    })
}

/// The text of an object, if it is present and not `null`.
fn present(object: Option<&RawValue>) -> Option<&str> {
    object.map(RawValue::get).filter(|object| *object != "null")
}

impl Review {
    /// The patch that an outcome makes. It is empty if nothing changes.
    #[must_use]
    pub fn patch(&self, outcome: &Outcome) -> Patch {
        match outcome {
            Outcome::Admitted { edits, .. } if *edits != Edits::None => self.target.patch(edits),
            _ => Patch(Vec::new()),
        }
    }

    /// The answer, with the outcome's patch. A denial has code 422 if each violation is a fault of
    /// the object alone, otherwise 403.
    #[must_use]
    pub fn encode(&self, outcome: &Outcome, patch: &Patch) -> Vec<u8> {
        // An empty patch is left out.
        let patch = (!patch.0.is_empty())
            .then(|| STANDARD.encode(serde_json::to_vec(patch).unwrap_or_default()));
        let answer = AdmissionAnswer {
            api_version: API_VERSION,
            kind: KIND,
            response: AdmissionResponse {
                uid: &self.uid,
                allowed: matches!(outcome, Outcome::Admitted { .. }),
                status: status(outcome),
                warnings: match outcome {
                    Outcome::Admitted { warnings, .. } => warnings,
                    Outcome::Denied(judgement) => &judgement.warnings,
                    Outcome::Undecided(_) => &[],
                },
                patch_type: patch.as_ref().map(|_| "JSONPatch"),
                patch,
            },
        };
        // Strings and numbers in structs can't fail to serialize.
        serde_json::to_vec(&answer).unwrap_or_default()
    }
}

fn status(outcome: &Outcome) -> Option<Status<'_>> {
    match outcome {
        Outcome::Admitted { .. } => None,
        Outcome::Denied(judgement) => {
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
                    message: &violation.message,
                    field: violation.field.as_deref(),
                })
                .collect();
            let details = Some(Details { causes });
            Some(Status { code, reason, message: judgement.message(), details })
        }
        Outcome::Undecided(why) => Some(Status {
            // The API server itself answers 500 when a webhook fails. With 503, clients would retry
            // silently, and nobody would see the reason.
            code: 500,
            reason: "InternalError",
            message: format!(
                "can't check whether this change is safe: reading the current state failed: {why}; \
                 try again"
            ),
            details: None,
        }),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionAnswer<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: AdmissionResponse<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionResponse<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
}

#[derive(Serialize)]
struct Status<'a> {
    code: u16,
    reason: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details<'a>>,
}

#[derive(Serialize)]
struct Details<'a> {
    causes: Vec<DenialCause<'a>>,
}

#[derive(Serialize)]
struct DenialCause<'a> {
    reason: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}
