//! Takes out of each object what is ours.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use crate::api::{Api, Error as ApiError, FIELD_MANAGER, RawObject, Which, path_of};
use crate::cluster::{Fact, Kind, Now, ObjectRef};
use crate::k8s::removal::{self, Removal};
use crate::k8s::{Decoder, Malformed};

use super::report::{Errors, Found};

/// The most objects that are changed at a time.
const MAX_CONCURRENT: usize = 8;
/// How often a change of one object is tried.
const MAX_ATTEMPTS: u32 = 8;
/// The delay before the second try. It doubles with each try, up to `MAX_DELAY`.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(4);
/// How often a list is started anew if its continue token became too old.
const MAX_RELISTS: u32 = 5;

/// Cleans objects, or only finds what there is to clean.
pub(super) struct Cleaner<'a> {
    pub api: &'a Api,
    pub dry_run: bool,
}

/// Why an object could not be cleaned.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("{0}")]
    Api(#[from] ApiError),
    #[error("{} comes back: another webhook or a tool sets it", .0.join(", "))]
    ComesBack(Vec<String>),
}

/// What of ours an object of this kind holds.
fn removal_of(kind: Kind, object: &str) -> Result<Removal, Malformed> {
    if kind != Kind::Vm {
        return removal::of_metadata(object, FIELD_MANAGER);
    }
    let removal = removal::of_affinity(kind, object)?;
    if removal.is_empty() { removal::of_manager(object, FIELD_MANAGER) } else { Ok(removal) }
}

impl Cleaner<'_> {
    /// Cleans all objects of a kind. Returns those that held something of ours.
    pub async fn clean(&self, kind: Kind, errors: &mut Errors) -> Vec<Found> {
        let which = Which { metadata: kind != Kind::Vm, ..Which::default() };
        let mut found = Vec::new();
        let listed = each_page(self.api, kind, &which, async |page: Vec<RawObject>| {
            let cleaned = stream::iter(page).map(|object| self.clean_one(kind, object));
            let cleaned: Vec<_> = cleaned.buffered(MAX_CONCURRENT).collect().await;
            for (object, result) in cleaned {
                let name = object.key.to_string();
                match result {
                    Ok(parts) if parts.is_empty() => {}
                    Ok(parts) => found.push(Found { name, parts: parts.into_iter().collect() }),
                    Err(why) => errors.push(format!("{object}: {why}")),
                }
            }
        });
        if let Err(why) = listed.await {
            errors.push(format!("can't list {}: {why}", kind.plural()));
        }
        // A list that is started anew shows again only what could not be cleaned, or a dry run.
        found.sort();
        found.dedup();
        found
    }

    async fn clean_one(
        &self,
        kind: Kind,
        object: RawObject,
    ) -> (ObjectRef, Result<BTreeSet<String>, Error>) {
        let of = ObjectRef { kind, key: object.key() };
        let result = self.take_out(&of, object.json().to_owned()).await;
        (of, result)
    }

    /// Takes out what is ours, until nothing of it is left. Returns what it was.
    async fn take_out(&self, of: &ObjectRef, object: String) -> Result<BTreeSet<String>, Error> {
        let mut object = Some(object);
        let mut parts = BTreeSet::new();
        let mut failure = None;
        let mut delay = FIRST_DELAY;
        for _ in 0..MAX_ATTEMPTS {
            if failure.is_some() {
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(MAX_DELAY);
            }
            let json = match object.take() {
                Some(json) => json,
                None => match self.api.get(of).await {
                    Ok(Some(now)) => now.json().to_owned(),
                    Ok(None) => return Ok(parts),
                    Err(why) => {
                        failure = Some(passing(why)?);
                        continue;
                    }
                },
            };
            let Removal { parts: taken, patch } = removal_of(of.kind, &json)?;
            if patch.0.is_empty() || self.dry_run {
                parts.extend(taken);
                return Ok(parts);
            }
            let patch =
                serde_json::to_value(&patch).map_err(|why| ApiError::Invalid(why.to_string()))?;
            match self.api.json_patch(&path_of(of), &patch).await {
                Ok(now) => {
                    let now = now.to_string();
                    let left = removal_of(of.kind, &now)?.parts;
                    // Some API servers know of a deleted webhook only a moment later. Until then, our
                    // own one puts back what is taken out here.
                    let comes_back = taken.iter().any(|part| left.contains(part));
                    failure = comes_back.then_some(Error::ComesBack(left));
                    object = failure.is_none().then_some(now);
                    parts.extend(taken);
                }
                Err(ApiError::NotFound) => return Ok(parts),
                Err(why) => failure = Some(passing(why)?),
            }
        }
        Err(failure.unwrap_or(Error::ComesBack(parts.into_iter().collect())))
    }
}

/// Returns the error if another try may succeed.
fn passing(why: ApiError) -> Result<Error, Error> {
    match why {
        ApiError::Conflict(_)
        | ApiError::Busy { .. }
        | ApiError::Timeout(_)
        | ApiError::Unreachable(_) => Ok(why.into()),
        why => Err(why.into()),
    }
}

/// Reads a list page by page. A list that became too old is started anew.
async fn each_page(
    api: &Api,
    kind: Kind,
    which: &Which,
    mut handle: impl AsyncFnMut(Vec<RawObject>),
) -> Result<(), ApiError> {
    let mut relists = 0;
    let mut pages = api.pages(kind, which.clone());
    let mut is_first = true;
    loop {
        match pages.next().await {
            Ok(Some(page)) => handle(page).await,
            Ok(None) => return Ok(()),
            // A kind that is not served has no objects.
            Err(ApiError::NotFound) if is_first => return Ok(()),
            Err(ApiError::Gone) if relists < MAX_RELISTS => {
                relists += 1;
                pages = api.pages(kind, which.clone());
            }
            Err(why) => return Err(why),
        }
        is_first = false;
    }
}

/// The VMIs that have not finished and still have the affinity, which nobody may change in a VMI.
pub(super) async fn vmis_with_affinity(api: &Api, errors: &mut Errors) -> Vec<String> {
    let decoder = Decoder::default();
    let mut found = BTreeSet::new();
    let which = Which::default();
    let listed = each_page(api, Kind::Vmi, &which, async |page: Vec<RawObject>| {
        for object in page {
            let now = object.change(Kind::Vmi, &decoder).now;
            let is_finished = matches!(now, Now::Is(Fact::Vmi(vmi)) if vmi.finished);
            let removal = removal::of_affinity(Kind::Vmi, object.json());
            if !is_finished && removal.is_ok_and(|removal| !removal.is_empty()) {
                found.insert(object.key().to_string());
            }
        }
    });
    if let Err(why) = listed.await {
        errors.push(format!("can't list {}: {why}", Kind::Vmi.plural()));
    }
    found.into_iter().collect()
}
