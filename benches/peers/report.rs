//! What a run prints.

use std::fmt::Write as _;
use std::time::Duration;

use crate::cluster::{Ask, Kind};
use crate::load::Round;

/// A number with its thousands apart.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn micros(time: Duration) -> String {
    thousands(u64::try_from(time.as_nanos().div_ceil(500) / 2).unwrap())
}

fn megabytes(bytes: u64) -> String {
    thousands(bytes.div_ceil(1_000_000))
}

/// A figure of every round: the median, the least and the largest.
#[derive(Clone, Copy)]
pub struct Spread<T> {
    median: T,
    least: T,
    most: T,
}

impl<T: PartialOrd + Copy> Spread<T> {
    fn of(rounds: impl Iterator<Item = T>) -> Self {
        let mut values: Vec<T> = rounds.collect();
        values.sort_by(|one, other| one.partial_cmp(other).unwrap());
        Self { median: values[values.len() / 2], least: values[0], most: values[values.len() - 1] }
    }
}

/// A ratio, with as many digits as say something.
pub fn ratio(value: f64) -> String {
    if value < 9.95 { format!("{value:.2}") } else { format!("{value:.1}") }
}

impl std::fmt::Display for Spread<f64> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { median, least, most } = *self;
        write!(f, "{} ({}..{})", ratio(median), ratio(least), ratio(most))
    }
}

/// What the rounds with one server found.
pub struct Measured {
    pub name: String,
    pub is_ours: bool,
    pub rounds: Vec<Round>,
    /// The most memory during the rounds, and what was used before them, in bytes.
    pub peak: u64,
    pub at_rest: u64,
}

impl Measured {
    fn p50(&self) -> Spread<Duration> {
        Spread::of(self.rounds.iter().map(|round| round.percentile(0.5)))
    }

    fn cpu(&self) -> Spread<Duration> {
        Spread::of(self.rounds.iter().map(Round::cpu_per_request))
    }

    /// A ratio of each round of this server to the same round of another one.
    fn ratio(&self, other: &Self, figure: impl Fn(&Round) -> Duration) -> Spread<f64> {
        let rounds = self.rounds.iter().zip(&other.rounds);
        Spread::of(
            rounds.map(|(one, other)| figure(one).as_secs_f64() / figure(other).as_secs_f64()),
        )
    }

    /// How much more CPU time another server takes.
    fn cpu_of(&self, other: &Self) -> Spread<f64> {
        other.ratio(self, Round::cpu_per_request)
    }

    fn p50_to(&self, other: &Self) -> Spread<f64> {
        self.ratio(other, |round| round.percentile(0.5))
    }
}

/// One case: what was asked of all servers.
pub struct Case {
    pub ask: Ask,
    pub connections: usize,
    pub rejections: String,
    pub request: usize,
    pub reply: usize,
    pub servers: Vec<Measured>,
}

impl Case {
    fn server(&self, name: &str) -> Option<&Measured> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// The case as a table, and the ratios below it.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{}, {} connection(s), --rejections={}; request {} KB, reply {} KB; {} round(s)\n",
            self.ask,
            self.connections,
            self.rejections,
            thousands(self.request as u64 / 1000),
            thousands(self.reply as u64 / 1000),
            self.servers[0].rounds.len(),
        );
        let mut line = |cells: [&str; 8]| {
            let [name, cells @ ..] = cells;
            let _ = write!(text, "  {name:<10}");
            for cell in cells {
                let _ = write!(text, "{cell:>12}");
            }
            text.push('\n');
        };
        line(["", "p50 µs", "p99 µs", "CPU µs", "least", "most", "peak MB", "at rest MB"]);
        for server in &self.servers {
            let p99 = Spread::of(server.rounds.iter().map(|round| round.percentile(0.99)));
            let cpu = server.cpu();
            line([
                &server.name,
                &micros(server.p50().median),
                &micros(p99.median),
                &micros(cpu.median),
                &micros(cpu.least),
                &micros(cpu.most),
                &megabytes(server.peak),
                &megabytes(server.at_rest),
            ]);
        }
        let floor = self.server("floor").unwrap();
        for ours in self.servers.iter().filter(|server| server.is_ours) {
            let name = &ours.name;
            let cpu = floor.cpu_of(ours);
            let _ = write!(text, "  {name}: p50 ÷ floor's: {}", ours.p50_to(floor));
            let _ = write!(text, "; CPU ÷ floor's: {cpu}");
            if let Some(go) = self.server("go") {
                let _ = write!(text, "; go's CPU ÷ {name}: {}", ours.cpu_of(go));
            }
            text.push('\n');
        }
        text
    }
}

/// The cases of the summary, in its order.
const SUMMARY: [(Kind, usize); 4] =
    [(Kind::Names, 100), (Kind::Names, 1_000), (Kind::Names, 15_000), (Kind::Nodes, 1_000)];

/// The main figures of a build of ours, over one connection.
pub fn summary(cases: &[Case], ours: &str, rejections: &str) -> String {
    let mut text = format!("{ours}, --rejections={rejections}, one connection\n");
    let mut row = |title: &str, cells: [String; 4]| {
        let _ = write!(text, "  {title:<24}");
        for cell in cells {
            let _ = write!(text, "{cell:>22}");
        }
        text.push('\n');
    };
    let cells = |figure: &dyn Fn(&Case, &Measured) -> Option<String>| {
        SUMMARY.map(|(kind, candidates)| {
            let case = cases.iter().find(|case| {
                let Ask { kind: of, candidates: count, networks, .. } = case.ask;
                (of == kind && count == candidates && networks == 1)
                    && (case.connections == 1 && case.rejections == rejections)
            });
            let figure = case.and_then(|case| figure(case, case.server(ours)?));
            figure.unwrap_or_else(|| "-".to_owned())
        })
    };
    row("", ["100 names", "1,000 names", "15,000 names", "1,000 full nodes"].map(str::to_owned));
    row(&format!("{ours}: CPU µs"), cells(&|_, ours| Some(micros(ours.cpu().median))));
    row("floor: CPU µs", cells(&|case, _| Some(micros(case.server("floor")?.cpu().median))));
    row("go: CPU µs", cells(&|case, _| Some(micros(case.server("go")?.cpu().median))));
    let times = |case: &Case, ours: &Measured| Some(ours.cpu_of(case.server("go")?).to_string());
    row(&format!("go's CPU ÷ {ours}"), cells(&times));
    let to_floor = |case: &Case, ours: &Measured| {
        let floor = case.server("floor")?;
        Some(ours.p50_to(floor).to_string())
    };
    row(&format!("{ours}: p50 ÷ floor's"), cells(&to_floor));
    row(&format!("{ours}: peak MB"), cells(&|_, ours| Some(megabytes(ours.peak))));
    text
}
