//! A member whose store is damaged says so, answers nothing that is damaged, and comes back with one
//! command. One whose log is damaged does not start, and comes back as a new member with one command.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use cluster::{
    binary::Binary,
    cluster::{Cluster, Options, READY_LIMIT},
};

/// How long a member may take to find what it was not asked for.
const FOUND_LIMIT: Duration = Duration::from_secs(30);

/// Flips a bit in each copy of `value` in the store below `data_dir`.
fn damage(data_dir: &Path, value: &str) -> Result<()> {
    flip(&data_dir.join("member/snap/oxetcd/data.mdb"), value)
}

/// Flips a bit in each copy of `value` in a file.
fn flip(path: &Path, value: &str) -> Result<()> {
    let mut file = std::fs::read(path).context("read the file")?;
    let wanted = value.as_bytes();
    let places: Vec<usize> = file
        .windows(wanted.len())
        .enumerate()
        .filter_map(|(at, bytes)| (bytes == wanted).then_some(at))
        .collect();
    ensure!(!places.is_empty(), "{value} is not in {}", path.display());
    for at in places {
        file[at + 1] ^= 0x10;
    }
    std::fs::write(path, file).context("write the file")
}

/// The binary as `etcdutl`; whether it succeeded, and what it said.
fn etcdutl(binary: &Path, arguments: &[&str]) -> Result<(bool, String)> {
    let output = Command::new(binary).arg("etcdutl").args(arguments).output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

#[test]
fn a_damaged_member_is_found_out_and_rebuilt() -> Result<()> {
    let binary = Binary::under_test()?;
    let program: PathBuf = binary.path().to_owned();
    let options = Options::of(binary, 3).flag("--scrub-interval=1s");
    Cluster::with(options, async |cluster| {
        let bulk = "x".repeat(2000);
        for number in 0..40 {
            let value = format!("<value {number:03} of a key>{bulk}");
            cluster.connection(0).put(&format!("key{number:03}"), &value).await?;
        }
        cluster.wait_equal(READY_LIMIT).await?;
        let leader = cluster.wait_leader(READY_LIMIT).await?;
        let victim = (leader + 1) % 3;
        let member = cluster.member(victim);
        member.terminate().await?;
        let data_dir = member.data_dir();
        let dir = data_dir.display().to_string();
        let (sound, told) = etcdutl(&program, &["check", "--data-dir", &dir])?;
        ensure!(sound, "{told}");
        damage(&data_dir, "<value 007 of a key>")?;
        damage(&data_dir, "<value 030 of a key>")?;
        let (sound, told) = etcdutl(&program, &["check", "--data-dir", &dir])?;
        ensure!(!sound && told.contains("2 faults found"), "{told}");

        // It starts, says what is damaged without being asked, and serves all but that.
        cluster.member(victim).start()?;
        cluster.wait_ready(READY_LIMIT).await?;
        let began = Instant::now();
        let says = |log: &str| {
            let told = log.matches("a stored row is damaged").count();
            told >= 2 && log.contains("\"key\":\"key007\"") && log.contains("\"key\":\"key030\"")
        };
        while !says(&cluster.member(victim).log()) {
            ensure!(began.elapsed() < FOUND_LIMIT, "nothing is said of the damage");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for serializable in [true, false] {
            let error = cluster.connection(victim).get("key007", serializable).await;
            let error = format!("{:#}", error.err().context("a damaged row was answered")?);
            ensure!(error.contains("etcdserver: corrupt cluster"), "{error}");
        }
        ensure!(cluster.connection(victim).get("key008", false).await?.is_some());
        for other in (0..3).filter(|other| *other != victim) {
            ensure!(cluster.connection(other).get("key007", false).await?.is_some());
        }
        cluster.connection(victim).put("later", "while it was damaged").await?;

        let peer = cluster.member(leader).client_url().to_owned();
        cluster.member(victim).terminate().await?;
        cluster.connection(leader).put("later", "while it was down").await?;
        let own = cluster.member(victim).client_url().to_owned();
        let endpoints = format!("{own},{peer}");
        let rebuild = ["rebuild", "--data-dir", &dir, "--endpoints", &endpoints];
        let (done, told) = etcdutl(&program, &rebuild)?;
        ensure!(done, "{told}");
        cluster.member(victim).start()?;
        cluster.wait_ready(READY_LIMIT).await?;
        let read = cluster.connection(victim).get("key007", true).await?;
        ensure!(read.is_some_and(|value| value.starts_with("<value 007 of a key>")));
        cluster.wait_equal(READY_LIMIT).await?;
        cluster.member(victim).terminate().await?;
        let (sound, told) = etcdutl(&program, &["check", "--data-dir", &dir])?;
        ensure!(sound, "{told}");
        cluster.member(victim).start()?;
        cluster.wait_ready(READY_LIMIT).await?;
        cluster.connection(victim).put("last", "1").await?;
        cluster.wait_equal(READY_LIMIT).await?;
        Ok(())
    })
}

#[test]
fn a_member_with_a_damaged_log_comes_back_as_a_new_one() -> Result<()> {
    let binary = Binary::under_test()?;
    let program: PathBuf = binary.path().to_owned();
    Cluster::with(Options::of(binary, 3), async |cluster| {
        for number in 0..20 {
            let value = format!("<value {number:03} of a key>");
            cluster.connection(0).put(&format!("key{number:03}"), &value).await?;
        }
        cluster.wait_equal(READY_LIMIT).await?;
        let leader = cluster.wait_leader(READY_LIMIT).await?;
        let victim = (leader + 1) % 3;
        let old_id = cluster.id_of(victim).await?;
        let member = cluster.member(victim);
        member.terminate().await?;
        let data_dir = member.data_dir();
        let dir = data_dir.display().to_string();
        let log = data_dir.join("member/wal/0000000000000000-0000000000000000.wal");
        flip(&log, "<value 007 of a key>")?;
        let (sound, told) = etcdutl(&program, &["check", "--data-dir", &dir])?;
        ensure!(!sound && told.contains("FAULT: log: walpb: crc mismatch"), "{told}");

        // A log that is damaged before its end has lost promises: no start, and no word of it served.
        let member = cluster.member(victim);
        member.start()?;
        let code = member.wait_end(READY_LIMIT).await?;
        let said = member.log_tail(3);
        ensure!(code == Some(1), "{code:?}: {said}");
        ensure!(said.contains("failed to read the WAL: walpb: crc mismatch"), "{said}");
        ensure!(said.contains("0000000000000000-0000000000000000.wal"), "{said}");
        cluster.connection(leader).put("later", "while it was down").await?;

        let peer = cluster.member(leader).client_url().to_owned();
        let rebuild = ["rebuild", "--data-dir", &dir, "--endpoints", &peer];
        let (done, told) = etcdutl(&program, &rebuild)?;
        ensure!(!done && told.contains("crc mismatch") && told.contains("--replace"), "{told}");
        let (done, told) = etcdutl(&program, &[&rebuild[..], &["--replace"]].concat())?;
        ensure!(done, "{told}");
        let id = cluster.id_of(victim).await?;
        ensure!(id != old_id, "the id is the old one");
        cluster.member(victim).start()?;
        cluster.wait_ready(READY_LIMIT).await?;
        let read = cluster.connection(victim).get("key007", true).await?;
        ensure!(read.as_deref() == Some("<value 007 of a key>"), "{read:?}");
        cluster.connection(victim).put("last", "1").await?;
        cluster.wait_equal(READY_LIMIT).await?;
        cluster.member(victim).terminate().await?;
        let (sound, told) = etcdutl(&program, &["check", "--data-dir", &dir])?;
        ensure!(sound, "{told}");
        cluster.member(victim).start()?;
        cluster.wait_ready(READY_LIMIT).await?;
        cluster.wait_equal(READY_LIMIT).await?;
        Ok(())
    })
}
