//! A network namespace without a name, with a TUN device that holds its only address.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
};

use anyhow::{Context, Result};

/// Large packets: fewer of them to carry.
const MTU: i32 = 32_768;

/// A namespace; it lives as long as this or a process in it.
pub(crate) struct Namespace(OwnedFd);

impl Namespace {
    /// Makes a namespace with this address in a /24, and answers the other end of its device.
    pub(super) fn create(address: [u8; 4]) -> Result<(Namespace, OwnedFd)> {
        // `unshare` moves the calling thread: a short-lived one goes, and keeps the door open.
        std::thread::spawn(move || {
            check(unsafe_unshare()).context("make a network namespace")?;
            let door = File::open("/proc/thread-self/ns/net").context("open the namespace")?;
            let device = tun(address)?;
            Ok((Namespace(door.into()), device))
        })
        .join()
        .expect("making a namespace does not panic")
    }

    /// Moves the calling thread into the namespace.
    pub(super) fn enter(&self) -> io::Result<()> {
        enter(self.0.as_fd())
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Moves the calling thread into a namespace. Does no more than a system call: a child may do it
/// between fork and exec.
pub(crate) fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: `setns` takes a descriptor, which is borrowed, and touches no memory.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })
}

fn unsafe_unshare() -> i32 {
    // SAFETY: `unshare` of the network namespace touches no memory.
    unsafe { libc::unshare(libc::CLONE_NEWNET) }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A TUN device with the address, up, with loopback up beside it.
fn tun(address: [u8; 4]) -> Result<OwnedFd> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")
        .context("open /dev/net/tun")?;
    let mut request = named("eth0");
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
    control(device.as_fd(), libc::TUNSETIFF, &mut request).context("make a TUN device")?;

    // SAFETY: `socket` touches no memory and its result is checked before it is owned.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    check(socket).context("open a socket")?;
    // SAFETY: the descriptor was opened above and belongs to nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let socket = socket.as_fd();

    request.ifr_ifru.ifru_addr = socket_address(address);
    control(socket, libc::SIOCSIFADDR, &mut request).context("set the address")?;
    request.ifr_ifru.ifru_netmask = socket_address([255, 255, 255, 0]);
    control(socket, libc::SIOCSIFNETMASK, &mut request).context("set the mask")?;
    request.ifr_ifru.ifru_mtu = MTU;
    control(socket, libc::SIOCSIFMTU, &mut request).context("set the packet size")?;
    for name in ["eth0", "lo"] {
        let mut request = named(name);
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
        control(socket, libc::SIOCSIFFLAGS, &mut request).context("bring an interface up")?;
    }
    Ok(device.into())
}

fn named(name: &str) -> libc::ifreq {
    // SAFETY: all zeros is a value of this plain C structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request
}

fn socket_address(address: [u8; 4]) -> libc::sockaddr {
    let mut data = [0; 14];
    for (to, from) in data[2..6].iter_mut().zip(address) {
        *to = from as libc::c_char;
    }
    libc::sockaddr { sa_family: libc::AF_INET as u16, sa_data: data }
}

fn control(of: BorrowedFd<'_>, what: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: every request here reads and writes one `ifreq`, which is borrowed for the call.
    check(unsafe { libc::ioctl(of.as_raw_fd(), what, request) })
}
