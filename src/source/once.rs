//! A source that is read once, for a command.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tokio::runtime::Runtime;

use crate::api::{self, Api};
use crate::cluster::{ObjectRef, Options, Snapshot};
use crate::k8s::objects::Reader;

use super::Manifests;
use super::live;

/// Manifests, or an API server.
pub enum Once {
    /// Manifests on disk.
    Manifests {
        /// The manifests.
        manifests: Box<Manifests>,
        /// Their objects, once one was asked for.
        objects: Option<BTreeMap<ObjectRef, Value>>,
    },
    /// An API server.
    Live {
        /// Runs what asks it.
        runtime: Runtime,
        /// The API server.
        api: Api,
        /// How objects are read.
        reader: Reader,
        /// How facts are.
        options: Options,
    },
}

impl Once {
    /// Manifests on disk.
    #[must_use]
    pub fn manifests(manifests: Manifests) -> Self {
        Self::Manifests { manifests: Box::new(manifests), objects: None }
    }

    /// The API server that a kubeconfig names, or the environment.
    ///
    /// # Errors
    /// If none is named, or what is named can't be used.
    pub fn live(
        kubeconfig: Option<&Path>,
        reader: Reader,
        options: Options,
    ) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("can't start the runtime: {error}"))?;
        let api = runtime.block_on(async { api::connect(kubeconfig).await.map(Api::new) })?;
        Ok(Self::Live { runtime, api, reader, options })
    }

    /// What there is.
    ///
    /// # Errors
    /// What can't be read, and why.
    pub fn snapshot(&mut self) -> Result<Snapshot, Vec<String>> {
        match self {
            Self::Manifests { manifests, .. } => manifests.read(),
            Self::Live { runtime, api, reader, options } => {
                runtime.block_on(live::read(api, reader, *options)).map_err(|why| vec![why])
            }
        }
    }

    /// One object, as it is.
    ///
    /// # Errors
    /// What can't be read, and why.
    pub fn object(&mut self, of: &ObjectRef) -> Result<Option<Value>, Vec<String>> {
        match self {
            Self::Manifests { manifests, objects } => {
                let objects = match objects {
                    Some(objects) => objects,
                    None => objects.insert(manifests.objects()?),
                };
                Ok(objects.get(of).cloned())
            }
            Self::Live { runtime, api, .. } => {
                runtime.block_on(live::object(api, of)).map_err(|why| vec![why])
            }
        }
    }
}
