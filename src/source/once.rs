//! A source that a command reads once.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::api::{self, ConnectError, Connection};
use crate::cluster::{Kind, ObjectRef, Options, Snapshot};
use crate::k8s::Decoder;
use crate::progress::Progress;

use super::live::{self, ReadError};
use super::manifests::{Manifests, Unreadable};

/// A source that is read once: manifests, or an API server.
pub enum Once {
    /// Manifests on disk.
    Manifests {
        /// The manifests.
        manifests: Box<Manifests>,
        /// Their objects, once `object` has been called.
        objects: Option<BTreeMap<ObjectRef, Value>>,
    },
    /// An API server.
    Live {
        /// The API server.
        connection: Box<Connection>,
        /// How objects are read: as by kubectl, one without a namespace is in that of the kubeconfig's
        /// context.
        decoder: Decoder,
        /// How the index treats facts.
        options: Options,
    },
}

/// Why a source can't be read.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    /// Manifests can't be read.
    #[error(transparent)]
    Manifests(#[from] Unreadable),
    /// The API server can't be connected to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The API server can't be read.
    #[error("API server {address}: {source}")]
    Live {
        /// Its address.
        address: String,
        /// Why.
        source: ReadError,
    },
}

impl Once {
    /// Manifests on disk.
    #[must_use]
    pub fn manifests(manifests: Manifests) -> Self {
        Self::Manifests { manifests: Box::new(manifests), objects: None }
    }

    /// The API server that a kubeconfig names, or else the environment.
    ///
    /// # Errors
    /// If no API server is named, or its configuration can't be used.
    pub fn live(
        kubeconfig: Option<&Path>,
        decoder: Decoder,
        options: Options,
    ) -> Result<Self, OnceError> {
        let connection = Box::new(api::with_runtime(kubeconfig)?);
        let decoder = Decoder { default_namespace: connection.namespace.clone(), ..decoder };
        Ok(Self::Live { connection, decoder, options })
    }

    /// How objects are read.
    #[must_use]
    pub fn decoder(&self) -> &Decoder {
        match self {
            Self::Manifests { manifests, .. } => manifests.decoder(),
            Self::Live { decoder, .. } => decoder,
        }
    }

    /// Reads the source into a snapshot.
    ///
    /// # Errors
    /// If something can't be read.
    pub fn snapshot(&mut self) -> Result<Snapshot, OnceError> {
        match self {
            Self::Manifests { manifests, .. } => {
                let _progress = Progress::begin("reading the manifests");
                Ok(manifests.read()?)
            }
            Self::Live { connection, decoder, options } => {
                let progress = Progress::begin("connecting to the API server");
                let told = |kind: Kind, count| {
                    progress.now(format!("reading {}: {count}", kind.plural()));
                };
                let Connection { runtime, api, address, .. } = &**connection;
                let read = runtime.block_on(live::read(api, decoder, *options, &told));
                read.map_err(|source| OnceError::Live { address: address.clone(), source })
            }
        }
    }

    /// Reads one whole object. Returns `None` if it does not exist.
    ///
    /// # Errors
    /// If something can't be read.
    pub fn object(&mut self, object: &ObjectRef) -> Result<Option<Value>, OnceError> {
        match self {
            Self::Manifests { manifests, objects } => {
                let objects = match objects {
                    Some(objects) => objects,
                    None => objects.insert(manifests.objects()?),
                };
                Ok(objects.get(object).cloned())
            }
            Self::Live { connection, .. } => {
                let Connection { runtime, api, address, .. } = &**connection;
                let read = runtime.block_on(live::object(api, object));
                read.map_err(|source| OnceError::Live { address: address.clone(), source })
            }
        }
    }
}
