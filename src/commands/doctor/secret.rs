//! The Secret in which the leader keeps the CA and the serving certificate.

use std::collections::BTreeSet;

use crate::api::{Api, Error};
use crate::installed::data_of;
use crate::pki;
use crate::pki::authority::{Authority, Content};

pub(super) use crate::installed::SECRET;

/// What the Secret holds.
pub(super) enum Secret {
    /// It can't be read.
    Unread(Error),
    /// It does not exist, or is empty, since the serving certificate comes from elsewhere or is yet
    /// to be issued.
    Empty,
    /// It can't be used.
    Damaged(pki::Error),
    /// A CA, and what it issued.
    Holds(Box<Authority>),
}

impl Secret {
    /// Reads the Secret.
    pub async fn read(api: &Api, namespace: &str) -> Self {
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{SECRET}");
        match api.get_value(&path).await {
            Ok(secret) => Self::of(&secret.as_ref().map(data_of).unwrap_or_default()),
            Err(why) => Self::Unread(why),
        }
    }

    pub fn of(content: &Content) -> Self {
        match Authority::read(content) {
            Ok(Some(authority)) => Self::Holds(Box::new(authority)),
            Ok(None) => Self::Empty,
            Err(why) => Self::Damaged(why),
        }
    }

    /// The CA certificates to trust. There are none if the Secret holds no CA.
    pub fn trusted(&self) -> BTreeSet<Vec<u8>> {
        match self {
            Self::Holds(authority) => {
                authority.cas().iter().map(|(_, ca)| ca.der.to_vec()).collect()
            }
            Self::Unread(_) | Self::Empty | Self::Damaged(_) => BTreeSet::new(),
        }
    }
}
