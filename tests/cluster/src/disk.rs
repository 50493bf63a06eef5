//! A disk of its own for a member, which can hang.
//!
//! An image in a file, with ext4 on it, mounted. Freezing the file system makes every write and sync
//! wait, as a dying disk does. A process that waits so cannot even be killed: a guard in another
//! process thaws and unmounts the disk when this one ends, however it does.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// Bytes of the image; little of it is ever written.
const SIZE: u64 = 2 << 30;

const FIFREEZE: libc::Ioctl = 0xc004_5877_u32 as libc::Ioctl;
const FITHAW: libc::Ioctl = 0xc004_5878_u32 as libc::Ioctl;

/// A mounted file system.
pub struct Disk {
    mount: PathBuf,
    root: File,
    guard: Option<Child>,
}

impl Disk {
    /// Makes a disk, with its image in `directory`.
    pub fn make(directory: &Path, name: &str) -> Result<Disk> {
        let image = directory.join(format!("{name}.img"));
        File::create(&image)?.set_len(SIZE)?;
        run("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=1"], &[&image])?;
        let mount = directory.join(format!("{name}.mount"));
        std::fs::create_dir_all(&mount)?;
        run("mount", &["-o", "loop,noatime"], &[&image, &mount])?;
        // The loop device keeps the image for as long as it needs it.
        std::fs::remove_file(&image)?;
        let guard = Some(guard(&mount)?);
        let root = File::open(&mount).context("open the mounted disk")?;
        Ok(Disk { mount, root, guard })
    }

    /// Why this machine cannot have such disks, if it cannot.
    pub fn is_impossible() -> Option<String> {
        let attempt = || -> Result<()> {
            let directory = tempfile::TempDir::with_prefix("disk-")?;
            Disk::make(directory.path(), "probe").map(drop)
        };
        attempt().err().map(|error| format!("{error:#}"))
    }

    /// Its root directory.
    pub fn path(&self) -> PathBuf {
        self.mount.clone()
    }

    /// Every write and sync waits from now on.
    pub fn freeze(&self) -> Result<()> {
        self.control(FIFREEZE).context("freeze a disk")
    }

    /// They go on.
    pub fn thaw(&self) -> Result<()> {
        self.control(FITHAW).context("thaw a disk")
    }

    fn control(&self, what: libc::Ioctl) -> io::Result<()> {
        // SAFETY: both requests take no argument; the descriptor is open as long as `self`.
        let result = unsafe { libc::ioctl(self.root.as_raw_fd(), what, 0) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It fails when the disk is not frozen, which is the usual case.
        let _ = self.thaw();
        if let Some(mut guard) = self.guard.take() {
            // Its input ends; it unmounts the disk and ends.
            drop(guard.stdin.take());
            let _ = guard.wait();
        }
    }
}

/// Thaws and unmounts the disk when its input ends, which this process holds open. A frozen disk
/// cannot be unmounted.
pub(crate) fn guard(mount: &Path) -> Result<Child> {
    let mut command = Command::new("sh");
    let script = "cat >/dev/null; fsfreeze -u \"$0\" 2>/dev/null; umount -l \"$0\"; rmdir \"$0\"";
    command.args(["-c", script]).arg(mount);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command.spawn().context("start the guard of a disk")
}

fn run(program: &str, options: &[&str], paths: &[&PathBuf]) -> Result<()> {
    let mut command = Command::new(program);
    command.args(options).args(paths).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("run {program}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {}", told.trim());
    Ok(())
}
