//! What a change would do: the verdict of every rule, and the hosts that cluster networks and VMs
//! gain and lose (docs/reference.md, "Commands").

mod judge;

use std::borrow::Cow;

use comfy_table::Cell;
use schemars::JsonSchema;
use serde::Serialize;

use crate::cluster::{HostsChanged, Name};
use crate::decide::plan::Effects;
use crate::view::table::{Tone, cell, names, table};

pub use judge::{Mode, Proposed, Unjudged};

/// What a change would do.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// The verdict on each object of the change.
    objects: Vec<Object>,
    /// The cluster networks that gain or lose hosts.
    cluster_networks: Vec<Effect>,
    /// The VMs that gain or lose hosts.
    vms: Vec<Effect>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Object {
    kind: String,
    name: String,
    operation: String,
    judged: bool,
    violations: Vec<Violation>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Violation {
    code: &'static str,
    message: String,
    field: Option<Cow<'static, str>>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Effect {
    name: String,
    gained: Vec<Name>,
    lost: Vec<Name>,
    /// The number of hosts after the change.
    hosts: usize,
}

impl PlanView {
    fn of(objects: Vec<Object>, effects: Effects) -> Self {
        let effect = |name: &str, HostsChanged { gained, lost, left }: HostsChanged| Effect {
            name: name.to_owned(),
            gained,
            lost,
            hosts: left,
        };
        let networks = effects.cluster_networks.into_iter();
        let vms = effects.vms.into_iter();
        Self {
            objects,
            cluster_networks: networks.map(|(name, changed)| effect(&name, changed)).collect(),
            vms: vms.map(|(key, changed)| effect(key.as_str(), changed)).collect(),
        }
    }

    /// Returns whether no rule refuses the change.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.objects.iter().all(|object| object.violations.is_empty())
    }

    /// The plan for people.
    #[must_use]
    pub fn table(&self) -> String {
        let objects = self.objects.iter().flat_map(Object::rows);
        let mut text = table(&["OPERATION", "KIND", "NAME", "VERDICT", "WHY"], objects);
        for (title, effects) in [("CLUSTER NETWORK", &self.cluster_networks), ("VM", &self.vms)] {
            if effects.is_empty() {
                continue;
            }
            let rows = effects.iter().map(|effect| {
                let tone = if effect.hosts == 0 { Tone::Bad } else { Tone::Plain };
                let hosts = cell(tone, &effect.hosts.to_string());
                let name = cell(Tone::Plain, &effect.name);
                vec![name, hosts, names(&effect.gained), names(&effect.lost)]
            });
            text.push('\n');
            text.push_str(&table(&[title, "HOSTS THEN", "GAINS", "LOSES"], rows));
        }
        text
    }
}

impl Object {
    /// The rows of the table: one, or one for each violation and warning.
    fn rows(&self) -> Vec<Vec<Cell>> {
        let (tone, verdict) = match (self.judged, self.violations.is_empty()) {
            (false, _) => (Tone::Plain, "not judged"),
            (true, true) => (Tone::Good, "admitted"),
            (true, false) => (Tone::Bad, "refused"),
        };
        let violations =
            self.violations.iter().map(|it| (Tone::Bad, format!("{}: {}", it.code, it.message)));
        let warnings = self.warnings.iter().map(|it| (Tone::Warning, format!("warning: {it}")));
        let mut why: Vec<_> = violations.chain(warnings).collect();
        if !self.judged {
            why.insert(0, (Tone::Plain, "this kind has no rules".to_owned()));
        }
        if why.is_empty() {
            why.push((Tone::Plain, String::new()));
        }
        let rows = why.iter().enumerate().map(|(position, (why_tone, why))| {
            let names = [&*self.operation, &self.kind, &self.name]
                .map(|text| cell(Tone::Plain, if position == 0 { text } else { "" }));
            let verdict = cell(tone, if position == 0 { verdict } else { "" });
            names.into_iter().chain([verdict, cell(*why_tone, why)]).collect()
        });
        rows.collect()
    }
}
