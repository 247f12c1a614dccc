//! The process as a list of named parts. If a part ends unexpectedly, the whole process ends. On
//! shutdown, the parts end in a fixed order.

use std::pin::Pin;

use tokio::task::{AbortHandle, JoinError, JoinSet};

/// When a part is ended during a shutdown. Parts of an earlier stage are ended before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Answers requests. Ends first, after the requests in flight.
    Serving,
    /// Background work: certificate rotation and the log of changes.
    Upkeep,
    /// Writes to the cluster while this replica leads.
    Controller,
    /// Keeps the index, on which everything else depends.
    Source,
    /// Probes and metrics. Ends last.
    Admin,
}

/// A part's work. It should never end by itself.
pub(super) type Task = Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>>;

/// The parts that run.
#[derive(Default)]
pub(super) struct Parts {
    tasks: JoinSet<(&'static str, std::io::Result<()>)>,
    running: Vec<(Stage, &'static str, AbortHandle)>,
}

impl Parts {
    /// Starts a part.
    pub fn start(&mut self, stage: Stage, name: &'static str, task: Task) {
        let handle = self.tasks.spawn(async move { (name, task.await) });
        self.running.push((stage, name, handle));
    }

    /// Waits until any part ends. Returns its name, and the error if there is one.
    pub async fn ended(&mut self) -> String {
        match self.tasks.join_next().await {
            Some(Ok((name, Err(error)))) => format!("{name} ({error})"),
            Some(Ok((name, Ok(())))) => name.to_owned(),
            Some(Err(error)) => self.panicked(&error),
            None => "every part".to_owned(),
        }
    }

    fn panicked(&self, error: &JoinError) -> String {
        let part = self.running.iter().find(|(.., handle)| handle.id() == error.id());
        let name = part.map_or("a part", |(_, name, _)| name);
        format!("{name} ({error})")
    }

    /// Ends all parts, stage by stage.
    pub fn stop(mut self) -> Vec<&'static str> {
        self.running.sort_by_key(|(stage, ..)| *stage);
        let mut ended = Vec::new();
        for (_, name, handle) in self.running {
            tracing::debug!("ending {name}");
            handle.abort();
            ended.push(name);
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn parts_end_in_a_fixed_order_and_an_unexpected_end_is_named() {
        let mut parts = Parts::default();
        let endless = || Box::pin(std::future::pending());
        parts.start(Stage::Source, "the source", endless());
        parts.start(Stage::Admin, "probes", endless());
        parts.start(Stage::Serving, "the server", endless());
        parts.start(Stage::Upkeep, "a panic", Box::pin(async { panic!("on purpose") }));
        let why = parts.ended().await;
        assert!(why.starts_with("a panic (") && why.contains("on purpose"), "{why}");
        parts.start(Stage::Upkeep, "an end", Box::pin(async { Ok(()) }));
        assert_eq!(parts.ended().await, "an end");
        assert_eq!(parts.stop(), ["the server", "a panic", "an end", "the source", "probes"]);
    }
}
