//! The series of the process, and those of the Go runtime that dashboards look at, with what comes
//! nearest here: tasks for goroutines, allocations and private memory for the heap. Read from `/proc`
//! and the allocators when a scrape comes; a series whose source is not there is left out.

use std::{
    fmt::{Display, Write as _},
    fs,
};

use super::heap::heap;
use crate::handle::Handle;

/// What etcd's own exporter shows of the process, read at one time.
#[derive(Default)]
struct Page(String);

impl Page {
    fn add(&mut self, name: &str, kind: &str, help: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}")
                .expect("a string takes everything");
        }
    }
}

/// The series as text.
pub(super) fn text(handle: &Handle) -> String {
    let mut page = Page::default();
    descriptors(&mut page);
    times_and_memory(&mut page);
    network(&mut page);
    runtime(&mut page, handle);
    page.0
}

/// The limit of open files, in force and at most.
pub(crate) fn open_files_max() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live structure of the right type.
    let done = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    done.then_some(limit.rlim_cur)
}

fn descriptors(page: &mut Page) {
    let open = fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
    page.add("os_fd_used", "gauge", "Open file descriptors.", open);
    page.add("process_open_fds", "gauge", "Open file descriptors.", open);
    let most = open_files_max();
    page.add("os_fd_limit", "gauge", "How many file descriptors may be open.", most);
    page.add("process_max_fds", "gauge", "How many file descriptors may be open.", most);
}

fn times_and_memory(page: &mut Page) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the process, in parentheses, may have spaces.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or(vec![], |(_, rest)| rest.split_whitespace().collect());
    // Counted from the third field of proc(5), which comes first after the name.
    let field = |number: usize| fields.get(number - 3).and_then(|value| value.parse::<f64>().ok());
    // SAFETY: the call takes a plain number.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    let cpu = field(14).zip(field(15)).map(|(user, system)| (user + system) / ticks);
    page.add("process_cpu_seconds_total", "counter", "Time of the processor used.", cpu);
    let booted = fs::read_to_string("/proc/stat").unwrap_or_default();
    let booted = booted.lines().find_map(|line| line.strip_prefix("btime ")?.parse::<f64>().ok());
    let start = booted.zip(field(22)).map(|(booted, start)| booted + start / ticks);
    page.add("process_start_time_seconds", "gauge", "Unix time of the start.", start);
    page.add("process_virtual_memory_bytes", "gauge", "Virtual memory.", field(23));
    let most = match memory_max() {
        Some(libc::RLIM_INFINITY) => Some("1.8446744073709552e+19".to_owned()),
        most => most.map(|most| most.to_string()),
    };
    page.add("process_virtual_memory_max_bytes", "gauge", "How much there may be.", most);
    // SAFETY: the call takes a plain number.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as f64;
    let resident = field(24).map(|pages| pages * page_bytes);
    page.add("process_resident_memory_bytes", "gauge", "Resident memory.", resident);
    page.add("go_threads", "gauge", "Threads of the operating system.", field(20));
}

fn memory_max() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live structure of the right type.
    let done = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) } == 0;
    done.then_some(limit.rlim_cur)
}

/// Bytes of IP in and out of this network namespace, as Go's exporter counts them.
fn network(page: &mut Page) {
    let netstat = fs::read_to_string("/proc/self/net/netstat").unwrap_or_default();
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("IpExt:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let value = |name: &str| {
        let mut pairs = names.split_whitespace().zip(values.split_whitespace());
        pairs.find(|(found, _)| *found == name)?.1.parse::<u64>().ok()
    };
    let received = value("InOctets");
    page.add("process_network_receive_bytes_total", "counter", "Bytes received.", received);
    let sent = value("OutOctets");
    page.add("process_network_transmit_bytes_total", "counter", "Bytes sent.", sent);
}

fn runtime(page: &mut Page, handle: &Handle) {
    let tasks = handle.tasks.metrics().num_alive_tasks();
    page.add("go_goroutines", "gauge", "Tasks of the runtime.", Some(tasks));
    let workers = handle.tasks.metrics().num_workers();
    page.add("go_sched_gomaxprocs_threads", "gauge", "Threads that run tasks.", Some(workers));
    let help = "What this server is built with.";
    writeln!(
        page.0,
        "# HELP go_info {help}\n# TYPE go_info gauge\ngo_info{{version=\"{TOOLCHAIN}\"}} 1"
    )
    .expect("a string takes everything");
    let memory = heap();
    let help = "Bytes of all allocations, as they were asked for.";
    for name in ["alloc", "heap_alloc", "heap_inuse"] {
        page.add(&format!("go_memstats_{name}_bytes"), "gauge", help, Some(memory.in_use));
    }
    let help = "Resident memory that is neither of files nor allocated.";
    page.add("go_memstats_heap_idle_bytes", "gauge", help, Some(memory.idle()));
    let help = "Resident memory that is not of files, stacks included.";
    for name in ["heap_sys", "sys"] {
        page.add(&format!("go_memstats_{name}_bytes"), "gauge", help, Some(memory.private));
    }
}

/// What `etcd_server_go_version` and `go_info` name in the place of a Go release.
pub(super) const TOOLCHAIN: &str = concat!("rust", env!("CARGO_PKG_RUST_VERSION"));
