//! AdmissionReview (`admission.k8s.io/v1`): read once into a question that owns what it needs, and
//! written from the question's outcome.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use json_patch::Patch;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::cluster::{Kind, Name};
use crate::decide::review::{Edits, Outcome, Question, Subject, Webhook};

use super::decode::{Decoder, Malformed};
use super::objects::kind_of;
use super::patch::Draft;
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

/// A review: the question that the API server asks, and what the answer is written with.
pub struct Review {
    /// Names the request; the answer repeats it.
    pub uid: String,
    /// The kind of object, if it is one that a decision can depend on. A subresource is none.
    pub kind: Option<Kind>,
    /// The object's namespace, empty if it has none.
    pub namespace: String,
    /// The object's name, empty if it is not known yet.
    pub name: String,
    /// What is to be done.
    pub operation: Operation,
    /// What is asked.
    pub question: Arc<Question>,
    /// What a patch of the object must know of its form.
    draft: Draft,
}

/// Returns whether a kind has rules.
#[must_use]
pub fn has_rules(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::ClusterNetwork | Kind::NetworkConfig | Kind::VmNetwork | Kind::Vm | Kind::Host
    )
}

/// Returns whether objects of a kind are changed when they are written so.
#[must_use]
pub fn is_mutated(operation: Operation, kind: Kind) -> bool {
    match (operation, kind) {
        // A VMI is placed once, and its spec's affinity stays as it is.
        (Operation::Create, Kind::NetworkConfig | Kind::VmNetwork | Kind::Vm | Kind::Vmi)
        | (Operation::Update, Kind::NetworkConfig | Kind::VmNetwork | Kind::Vm) => true,
        _ => false,
    }
}

/// Reads the body of a call of a webhook. `decoder` says how objects are read in general.
///
/// # Errors
/// Says why the body is no AdmissionReview of `admission.k8s.io/v1` with a request. An object in it
/// that can't be read is no error: it is what the question is about.
pub fn parse(body: &str, webhook: Webhook, decoder: &Decoder) -> Result<Review, Malformed> {
    let no_review = "the body is no AdmissionReview";
    if !body.trim_ascii_start().starts_with('{') {
        return Err(Malformed::from("it is not an object").about(no_review));
    }
    let review: AdmissionReview<'_> =
        serde_json::from_str(body).map_err(|error| Malformed::from(error).about(no_review))?;
    if review.kind != KIND || review.api_version != API_VERSION {
        return Err(Malformed::new(format!(
            "the body is {:?} of {:?}, but only {KIND} of {API_VERSION} is understood",
            review.kind, review.api_version
        )));
    }
    let request = review.request.ok_or("the AdmissionReview has no request")?;
    if request.uid.is_empty() {
        return Err("the AdmissionReview's request has no uid".into());
    }
    let user = request.user_info.map(|user| user.username).unwrap_or_default();
    let GroupVersionKind { group, version, kind } = &request.kind;
    let is_whole = request.sub_resource.is_none_or(|name| name.is_empty());
    let kind = kind_of(&format!("{group}/{version}"), kind).filter(|_| is_whole);
    let reviewed = kind.filter(|kind| match webhook {
        Webhook::Validate => has_rules(*kind),
        Webhook::Mutate => is_mutated(request.operation, *kind),
    });
    let mut decoder = decoder.clone();
    // An object that names no namespace lies in the request's.
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
    let (subject, draft) = match reviewed {
        Some(kind) => subject(&parts, kind, webhook),
        None => (Subject::Nothing, Draft::None),
    };
    Ok(Review {
        uid: request.uid.into_owned(),
        kind,
        namespace: request.namespace.unwrap_or_default().into_owned(),
        name: request.name.unwrap_or_default().into_owned(),
        operation: request.operation,
        question: Arc::new(Question { webhook, user: Name::from(&*user), subject }),
        draft,
    })
}

/// The text of an object that is there.
fn present(object: Option<&RawValue>) -> Option<&str> {
    object.map(RawValue::get).filter(|object| *object != "null")
}

impl Review {
    /// What an outcome changes about the object.
    #[must_use]
    pub fn patch(&self, outcome: &Outcome) -> Patch {
        match outcome {
            Outcome::Admitted { edits, .. } if *edits != Edits::None => self.draft.patch(edits),
            _ => Patch(Vec::new()),
        }
    }

    /// The answer, with the outcome's patch. Denied is 422 if each violation is a fault of the
    /// object alone, else 403.
    #[must_use]
    pub fn encode(&self, outcome: &Outcome, patch: &Patch) -> Vec<u8> {
        // An empty patch is none at all.
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
                    field: violation.field,
                })
                .collect();
            let details = Some(Details { causes });
            Some(Status { code, reason, message: judgement.message(), details })
        }
        Outcome::Undecided(why) => Some(Status {
            // What the API server itself says where a webhook fails; with 503 clients would try
            // again and again by themselves, and nobody see why.
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
    field: Option<&'static str>,
}
