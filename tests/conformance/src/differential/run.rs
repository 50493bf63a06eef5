//! The run: draws steps, sends each to both servers at once, compares.

use anyhow::{Context, Result, ensure};

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
    let mut members =
        [Member::start(left, &arguments).await?, Member::start(right, &arguments).await?];
    let versions = (left.version(), right.version());
    let mut a = Target::connect(&members[0].client_url(), versions.0).await?;
    let mut b = Target::connect(&members[1].client_url(), versions.1).await?;
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
        ensure!(
            number % 1000 != 999
                || members.iter_mut().all(|member| member.is_running().unwrap_or(false)),
            "a server ended by itself before step {number}"
        );
    }
    members.iter_mut().for_each(Member::assert_sound);
    Ok(summary)
}
