//! The run: draws steps, sends each to both servers at once, compares.

use anyhow::{Context, Result, bail};

use super::{
    generate::{Generator, Options},
    known,
    report::{Summary, brief, difference},
    target::Target,
};
use crate::member::{Binary, Member};

/// How a run goes.
#[derive(Clone, Debug)]
pub struct Config {
    /// Decides the sequence.
    pub seed: u64,
    /// How many steps.
    pub steps: usize,
    /// The run ends after so many differences: the states of the servers drift apart.
    pub max_differences: usize,
}

/// Starts both executables, runs, stops them. Differences are in the summary; an error is a server
/// that broke.
pub async fn run(left: &Binary, right: &Binary, config: &Config) -> Result<Summary> {
    let arguments = ["--unsafe-no-fsync"];
    let mut a = Member::start(left, &arguments).await?;
    let mut b = Member::start(right, &arguments).await?;
    let outcome = drive(&a, &b, config).await;
    let crashes: Vec<String> =
        [&mut a, &mut b].into_iter().filter_map(Member::take_crash).collect();
    match outcome {
        outcome if crashes.is_empty() => outcome,
        Ok(summary) => bail!("{}\n{summary}", crashes.join("\n")),
        Err(error) => Err(error.context(crashes.join("\n"))),
    }
}

async fn drive(left: &Member, right: &Member, config: &Config) -> Result<Summary> {
    let versions = (left.binary().version(), right.binary().version());
    let mut a = Target::connect(&left.client_url(), versions.0).await?;
    let mut b = Target::connect(&right.client_url(), versions.1).await?;
    let options = Options { same_version: versions.0 == versions.1 };
    let mut generator = Generator::new(config.seed, options);
    let mut summary = Summary::default();
    for number in 0..config.steps {
        let op = generator.next_op();
        let (left, right) = tokio::join!(a.execute(&op), b.execute(&op));
        let at = |side: &'static str| {
            let op = brief(&op);
            move || format!("seed {}, step {number}, server {side}: {op}", config.seed)
        };
        let (left, right) = (left.with_context(at("a"))?, right.with_context(at("b"))?);
        generator.observe(&op, &left);
        match known::compare(&op, versions, &left, &right) {
            Ok(met) => {
                summary.count(&op, &left);
                for name in met {
                    *summary.known.entry(name).or_default() += 1;
                }
            }
            Err(differing) => {
                let text = difference(number, &op, &differing.0, &differing.1);
                summary.differences.push(text);
                if summary.differences.len() >= config.max_differences {
                    break;
                }
            }
        }
    }
    Ok(summary)
}
