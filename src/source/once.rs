//! A source that is read once, for a command.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tokio::runtime::Runtime;

use crate::api::{self, Api, ConnectError};
use crate::cluster::{ObjectRef, Options, Snapshot};
use crate::k8s::Decoder;

use super::live::{self, ReadError};
use super::manifests::{Manifests, Unreadable};

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
        decoder: Decoder,
        /// How facts are.
        options: Options,
    },
}

/// Why a source can't be read.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    /// Manifests can't be read.
    #[error(transparent)]
    Manifests(#[from] Unreadable),
    /// There is no API server to be asked.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The API server can't be read.
    #[error(transparent)]
    Live(#[from] ReadError),
    /// What runs the requests can't be started.
    #[error("can't start the runtime: {0}")]
    Runtime(std::io::Error),
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
        decoder: Decoder,
        options: Options,
    ) -> Result<Self, OnceError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(OnceError::Runtime)?;
        let api = runtime.block_on(async { api::connect(kubeconfig).await.map(Api::new) })?;
        Ok(Self::Live { runtime, api, decoder, options })
    }

    /// What there is.
    ///
    /// # Errors
    /// What can't be read, and why.
    pub fn snapshot(&mut self) -> Result<Snapshot, OnceError> {
        match self {
            Self::Manifests { manifests, .. } => Ok(manifests.read()?),
            Self::Live { runtime, api, decoder, options } => {
                Ok(runtime.block_on(live::read(api, decoder, *options))?)
            }
        }
    }

    /// One object, as it is.
    ///
    /// # Errors
    /// What can't be read, and why.
    pub fn object(&mut self, of: &ObjectRef) -> Result<Option<Value>, OnceError> {
        match self {
            Self::Manifests { manifests, objects } => {
                let objects = match objects {
                    Some(objects) => objects,
                    None => objects.insert(manifests.objects()?),
                };
                Ok(objects.get(of).cloned())
            }
            Self::Live { runtime, api, .. } => Ok(runtime.block_on(live::object(api, of))?),
        }
    }
}
