//! The process as a list of named parts: when one ends unasked, all of it does, and when it is
//! asked to end, they end in one order.

use std::pin::Pin;

use tokio::task::{AbortHandle, JoinError, JoinSet};

/// When a part is ended, once the process is to end. Those before are ended by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// It answers calls: first no more come in, and those in flight end.
    Serving,
    /// It keeps something right: what answers depend on, or what an administrator reads.
    Keeping,
    /// It brings in what everything else depends on.
    Source,
    /// Probes and metrics, to the last.
    Admin,
}

/// What a part does; it never ends by itself.
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

    /// Waits for a part to end, which none should, and says which.
    pub async fn ended(&mut self) -> String {
        match self.tasks.join_next().await {
            Some(Ok((name, Err(error)))) => format!("{name} ({error})"),
            Some(Ok((name, Ok(())))) => name.to_owned(),
            Some(Err(error)) => self.broken(&error),
            None => "everything".to_owned(),
        }
    }

    fn broken(&self, error: &JoinError) -> String {
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
    async fn parts_end_in_one_order_and_one_that_ends_unasked_is_named() {
        let mut parts = Parts::default();
        let endless = || Box::pin(std::future::pending());
        parts.start(Stage::Source, "the source", endless());
        parts.start(Stage::Admin, "probes", endless());
        parts.start(Stage::Serving, "the server", endless());
        parts.start(Stage::Keeping, "a panic", Box::pin(async { panic!("on purpose") }));
        let why = parts.ended().await;
        assert!(why.starts_with("a panic (") && why.contains("on purpose"), "{why}");
        parts.start(Stage::Keeping, "an end", Box::pin(async { Ok(()) }));
        assert_eq!(parts.ended().await, "an end");
        assert_eq!(parts.stop(), ["the server", "a panic", "an end", "the source", "probes"]);
    }
}
