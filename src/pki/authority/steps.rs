//! What is due of a certificate authority, and what of it is refused.

use std::fmt;

use super::super::Error;

/// What a CA is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It issues serving certificates.
    Current,
    /// It is published, and will issue them.
    Next,
    /// It issued them, and is still trusted.
    Old,
}

impl Role {
    /// The role as a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Next => "next",
            Self::Old => "old",
        }
    }
}

/// Why a serving certificate must be issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeafDue {
    /// There is none.
    #[error("there is no serving certificate")]
    Missing,
    /// It can't be used, or the key is not its key.
    #[error("the serving certificate can't be used: {0}")]
    Unusable(String),
    /// Its time has not come.
    #[error("the serving certificate is not valid yet")]
    NotValidYet,
    /// Its time is over.
    #[error("the serving certificate has expired")]
    Expired,
    /// Its signature is not the current CA's.
    #[error("the serving certificate was not issued by the current CA")]
    OtherIssuer,
    /// It lacks names, or has further ones.
    #[error("the serving certificate has other names: {0}")]
    OtherNames(String),
    /// Two thirds of its time are over.
    #[error("the serving certificate is past two thirds of its life")]
    Aged,
}

/// A step of a change of CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new CA is made and published.
    Next,
    /// The new CA issues the serving certificate.
    Promote,
    /// The CA before is no longer trusted.
    Retire,
}

impl Step {
    /// All steps, in order.
    pub const ALL: [Self; 3] = [Self::Next, Self::Promote, Self::Retire];

    /// The step as a word of the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Promote => "promote",
            Self::Retire => "retire",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a step can't be taken, or a serving certificate can't be issued.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is a next CA already.
    #[error(
        "a next CA is published already: give the output of `lanekeeper certs ca show` to every \
         kube-scheduler, restart it, and then run `lanekeeper certs ca promote`"
    )]
    NextExists,
    /// The CA before the current one is still trusted.
    #[error("the old CA is still trusted: run `lanekeeper certs ca retire` first")]
    OldExists,
    /// There is no next CA.
    #[error("there is no next CA: run `lanekeeper certs ca next` first")]
    NoNext,
    /// There is no old CA.
    #[error("there is no old CA to retire")]
    NoOld,
    /// The serving certificate is not the current CA's.
    #[error(
        "{0}. The old CA may be needed until the leader has issued one: see its log, and try again"
    )]
    LeafNotReady(LeafDue),
    /// Replicas may serve a certificate of the old CA.
    #[error(
        "the serving certificate was issued a moment ago, and a replica may still use the one \
         before: try again in {0} s"
    )]
    TooSoon(i64),
    /// The CA can't issue anything.
    #[error(
        "the CA has expired, and can issue no certificate. Change to a new CA: run \
         `lanekeeper certs ca next`, give the output of `lanekeeper certs ca show` to every \
         kube-scheduler, restart it, and run `lanekeeper certs ca promote`"
    )]
    CaExpired,
    /// A certificate can't be made.
    #[error(transparent)]
    Make(#[from] Error),
}
