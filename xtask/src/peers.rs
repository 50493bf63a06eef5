//! What interop talks to: real etcd releases and clients of other languages, through the ordinary
//! package clients, into `target/peers`. Nothing is installed into the system but what apt must.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::shell::{capture, command, root, run};

/// Debian suites that carry the releases: bookworm has the last line of 3.4, forky has 3.5.
const RELEASES: &[(&str, &str)] = &[("3.4", "bookworm"), ("3.5", "forky")];

/// Where the peers are.
#[derive(Debug)]
pub(crate) struct Peers {
    /// `etcd` and `etcdctl` of 3.4.
    pub(crate) etcd_34: PathBuf,
    /// `etcd` and `etcdctl` of 3.5.
    pub(crate) etcd_35: PathBuf,
    /// A Python path with the etcd3 client.
    pub(crate) python: PathBuf,
    /// A `node_modules` with the etcd3 client.
    pub(crate) node: PathBuf,
    /// The program built from `tests/clients/rust`.
    pub(crate) rust: PathBuf,
}

/// Fetches etcd 3.5 alone; the path of its server.
pub(crate) fn etcd_35() -> Result<PathBuf> {
    let base = root().join("target/peers");
    fs::create_dir_all(&base).context("create target/peers")?;
    for (release, suite) in RELEASES.iter().filter(|(release, _)| *release == "3.5") {
        etcd(&base, release, suite).with_context(|| format!("fetch etcd {release}"))?;
    }
    Ok(base.join("3.5/bin/etcd"))
}

impl Peers {
    /// Fetches what is missing; an error names what could not be had.
    pub(crate) fn fetch() -> Result<Peers> {
        let base = root().join("target/peers");
        fs::create_dir_all(&base).context("create target/peers")?;
        for (release, suite) in RELEASES {
            etcd(&base, release, suite).with_context(|| format!("fetch etcd {release}"))?;
        }
        Ok(Peers {
            etcd_34: base.join("3.4/bin"),
            etcd_35: base.join("3.5/bin"),
            python: python(&base).context("fetch the Python client")?,
            node: node(&base).context("fetch the Node client")?,
            rust: rust_client().context("build the Rust client")?,
        })
    }
}

/// Downloads and unpacks one release from the suite that has it, with apt's own lists and keys but
/// a source list and state of its own.
fn etcd(base: &Path, release: &str, suite: &str) -> Result<()> {
    let bin = base.join(release).join("bin");
    if bin.join("etcd").exists() && bin.join("etcdctl").exists() {
        return Ok(());
    }
    let work = base.join(format!("{release}.work"));
    for folder in ["lists/partial", "cache/archives/partial", "deb", "tree"] {
        fs::create_dir_all(work.join(folder)).context("create a work folder")?;
    }
    let sources = work.join("suite.sources");
    fs::write(&sources, suite_sources(suite)?).context("write the source list")?;
    let option = |name: &str, value: &Path| format!("{name}={}", value.display());
    let options = [
        option("Dir::Etc::SourceList", &sources),
        "Dir::Etc::SourceParts=/dev/null".to_owned(),
        option("Dir::State::Lists", &work.join("lists")),
        option("Dir::Cache", &work.join("cache")),
        "APT::Sandbox::User=root".to_owned(),
        "APT::Get::List-Cleanup=0".to_owned(),
    ];
    let apt = |verb: &[&str]| {
        let mut apt = command("apt-get");
        apt.arg("-qq").args(options.iter().flat_map(|option| ["-o", option]));
        apt.args(verb).current_dir(work.join("deb"));
        run(&mut apt)
    };
    apt(&["update"])?;
    apt(&["download", "etcd-server", "etcd-client"])?;
    for entry in fs::read_dir(work.join("deb")).context("list the packages")? {
        run(command("dpkg").arg("-x").arg(entry?.path()).arg(work.join("tree")))?;
    }
    fs::create_dir_all(&bin).context("create the bin folder")?;
    for name in ["etcd", "etcdctl"] {
        fs::copy(work.join("tree/usr/bin").join(name), bin.join(name))
            .with_context(|| format!("the packages have no {name}"))?;
    }
    fs::remove_dir_all(&work).context("remove the work folder")
}

/// The machine's main archive with another suite.
fn suite_sources(suite: &str) -> Result<String> {
    let deb822 = Path::new("/etc/apt/sources.list.d/debian.sources");
    if let Ok(text) = fs::read_to_string(deb822) {
        let main = text.split("\n\n").find(|entry| !entry.contains("security"));
        let main = main.context("debian.sources has no main entry")?;
        let lines = main.lines().map(|line| {
            let suites = line.starts_with("Suites:");
            if suites { format!("Suites: {suite}") } else { line.to_owned() }
        });
        return Ok(lines.collect::<Vec<_>>().join("\n") + "\n");
    }
    bail!("interop needs Debian's apt with {}", deb822.display())
}

fn python(base: &Path) -> Result<PathBuf> {
    let target = base.join("python");
    if !target.join("etcd3").exists() || !target.join("etcd3gw").exists() {
        let mut pip = command("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--root-user-action=ignore", "--target"]);
        // The client's generated code predates protobuf 4.
        run(pip.arg(&target).args(["etcd3==0.12.0", "protobuf<3.21", "etcd3gw==2.7.0"]))?;
    }
    Ok(target)
}

fn node(base: &Path) -> Result<PathBuf> {
    let target = base.join("node");
    if !target.join("node_modules/etcd3").exists() {
        fs::create_dir_all(&target).context("create the node folder")?;
        let mut npm = command("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "etcd3@1.1.2"]);
        run(npm.current_dir(&target))?;
    }
    Ok(target.join("node_modules"))
}

/// Builds the Rust client, whose build needs protoc (oxetcd's own does not).
fn rust_client() -> Result<PathBuf> {
    if capture(command("protoc").arg("--version")).is_err() {
        run(command("apt-get").args(["-qq", "update"]))?;
        run(command("apt-get").args(["-qq", "install", "-y", "protobuf-compiler"]))?;
    }
    let target = root().join("target/clients");
    let mut build = command("cargo");
    build.args(["build", "--quiet", "--manifest-path", "tests/clients/rust/Cargo.toml"]);
    run(build.env("CARGO_TARGET_DIR", &target))?;
    Ok(target.join("debug/rust-client"))
}
