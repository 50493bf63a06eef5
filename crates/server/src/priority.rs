//! Threads that give way to those that serve requests.
//!
//! For work that takes long and holds no lock that a request waits for: a thread that has lost its
//! processor while it holds one would keep the request waiting all the longer.

/// How much such a thread gives way to all others: to an eighth of a share and less.
pub(crate) const NICENESS: libc::c_int = 10;

/// Has this thread give way. It never goes before a process that gives way itself.
pub(crate) fn give_way() {
    // SAFETY: it reads and changes the priority of this thread, whose number 0 stands for, alone.
    // Where that is not allowed it goes on as it is.
    let _same_as_before = unsafe {
        let own = libc::getpriority(libc::PRIO_PROCESS, 0);
        libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS.max(own))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> libc::c_int {
        // SAFETY: it reads the priority of this thread.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    }

    #[test]
    fn only_the_thread_that_asks_gives_way() {
        let before = own();
        let there = std::thread::spawn(|| {
            give_way();
            own()
        });
        assert_eq!(there.join().unwrap(), NICENESS.max(before));
        assert_eq!(own(), before);
    }
}
