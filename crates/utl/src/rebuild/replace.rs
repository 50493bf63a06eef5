//! A member whose log is damaged comes back as a new member with its addresses and a peer's store.
//!
//! It has lost what it promised: entries it acknowledged, votes it gave. So its id must never vote again.
//! The peers remove it and add a member with the same addresses in its place, which has promised nothing;
//! the image they give knows it. Of that a data dir is made, with a log that begins at the image, and
//! changes places with the damaged one when it is complete. Flags need not change: a data dir that is
//! there decides who a member is.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use api::{
    ids::{ClusterId, MemberId},
    raftpb::HardState,
    walpb,
};
use storage::engine::{self, STORE_NAME};
use vfs::os::OsFs;
use wal::Wal;

use super::{Image, Rebuild, fetch, free};
use crate::{Failure, defrag::sync_dir, exit::io};

/// What was there is called once it is set aside.
const DAMAGED: &str = "damaged";

/// Replaces; returns what to say.
pub fn replace(config: &Rebuild) -> Result<String, Failure> {
    let old = config.data_dir.join("member");
    let store = old.join("snap").join(STORE_NAME);
    // Held to the end: a server that runs has it.
    let _lock = match store.is_dir() {
        true => Some(engine::hold(&store).map_err(Failure::error)?),
        false => None,
    };
    let wal_dir = config.wal_dir.clone().unwrap_or_else(|| old.join("wal"));
    let owner = Wal::owner(&OsFs, &wal_dir).map_err(|error| {
        let advice = "remove the member (etcdctl member remove), and add it with an empty data dir";
        Failure::error(format!("no segment of the log says whose it is: {error}; {advice}"))
    })?;
    let (cluster, member) = (ClusterId(owner.cluster_id), MemberId(owner.node_id));

    let new = config.data_dir.join(format!("member.tmp-{}", std::process::id()));
    let snap_dir = new.join("snap");
    make_dir(&snap_dir)?;
    let made = make(config, (cluster, member), &new);
    let (id, image) = made.inspect_err(|_| {
        // The failure before matters more than one of tidying up.
        let _ = fs::remove_dir_all(&new);
    })?;

    let mut aside = vec![set_aside(&old)?];
    if let Some(wal_dir) = &config.wal_dir {
        aside.push(set_aside(wal_dir)?);
        let made = new.join("wal");
        fs::rename(&made, wal_dir).map_err(|error| io("rename", &made, &error))?;
        sync_parent(wal_dir)?;
    }
    fs::rename(&new, &old).map_err(|error| io("rename", &new, &error))?;
    sync_parent(&old)?;
    let aside: Vec<String> = aside.iter().map(|path| path.display().to_string()).collect();
    Ok(format!(
        "Member {member} is member {id} now, and has the store of its peers at index {}. Start it.\n\
         What it had is in {}; remove it when all is well.\n",
        image.index,
        aside.join(" and ")
    ))
}

/// Makes a whole directory `new` of a new member; returns its id.
fn make(
    config: &Rebuild,
    own: (ClusterId, MemberId),
    new: &Path,
) -> Result<(MemberId, Image), Failure> {
    let (snap_dir, wal_dir) = (new.join("snap"), new.join("wal"));
    let temporary = snap_dir.join("tmp-rebuild");
    let id = fetch::exchange(&config.peers, own, &temporary)?;
    let image = Image::check(&temporary, (own.0, id))?;
    image.place(&snap_dir)?;
    let metadata = walpb::Metadata { node_id: id.0, cluster_id: own.0.0 };
    let options = wal::Options { zero_fill: false, ..wal::Options::default() };
    let mut log =
        Wal::create(Arc::new(OsFs), &wal_dir, &metadata, options).map_err(Failure::error)?;
    let state = HardState { term: image.term, vote: 0, commit: image.index };
    image.record(&mut log, &snap_dir, &state)?;
    log.close().map_err(Failure::error)?;
    sync_dir(new)?;
    Ok((id, image))
}

fn make_dir(dir: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| io("mkdir", dir, &error))
}

fn set_aside(path: &Path) -> Result<PathBuf, Failure> {
    let aside = free(&PathBuf::from(format!("{}.{DAMAGED}", path.display())));
    fs::rename(path, &aside).map_err(|error| io("rename", path, &error))?;
    sync_parent(path)?;
    Ok(aside)
}

fn sync_parent(path: &Path) -> Result<(), Failure> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_dir(parent.unwrap_or(Path::new(".")))
}
