//! Where the processor's time goes: a timer of processor time (`ITIMER_PROF`) interrupts whatever
//! runs a hundred times a second of it, and the handler of its signal notes the stack.
//!
//! **Invariants.** The handler allocates nothing and takes no lock: it fills one of a fixed number of
//! slots that is its own from an atomic exchange until it is full, and drops the sample if none is
//! free. It stays installed after the first profile: a signal that comes late must not end the
//! process. One profile is taken at a time.

use std::{
    collections::HashMap,
    ffi::{c_int, c_void},
    io,
    ptr::null_mut,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    format::{Profile, Sample},
    symbol,
};

/// Samples per second of processor time.
const FREQUENCY: u32 = 100;
/// Frames of a stack that are kept, from the innermost.
const FRAMES_MAX: usize = 96;
/// Samples that may wait to be counted.
const SLOTS: usize = 1024;
/// How often they are.
const COUNT: Duration = Duration::from_millis(100);

const FREE: usize = 0;
const FILLING: usize = 1;
const FULL: usize = 2;

/// One sample.
struct Slot {
    state: AtomicUsize,
    length: AtomicUsize,
    /// Where the thread was interrupted.
    at: AtomicUsize,
    frames: [AtomicUsize; FRAMES_MAX],
}

/// What the handler and the profile share.
struct Shared {
    slots: Vec<Slot>,
    next: AtomicUsize,
    lost: AtomicU64,
}

static SHARED: OnceLock<Shared> = OnceLock::new();
/// Whether samples are wanted.
static ACTIVE: AtomicBool = AtomicBool::new(false);
/// Whether a profile is being taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Another profile is being taken, or the timer cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Busy {
    /// Another one.
    #[error("cpu profiling already in use")]
    Taken,
    /// The operating system refuses.
    #[error("{0}")]
    Refused(io::Error),
}

/// Ends a profile, however its future ends.
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        ACTIVE.store(false, Ordering::SeqCst);
        let _stopped = set_timer(0);
        TAKEN.store(false, Ordering::SeqCst);
    }
}

/// Takes a profile for `length` of time; returns the encoded profile.
pub(crate) async fn sample(length: Duration) -> Result<Vec<u8>, Busy> {
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(Busy::Taken);
    }
    let running = Running;
    let shared = SHARED.get_or_init(Shared::new);
    shared.reset();
    install().map_err(Busy::Refused)?;
    // The unwinder prepares itself at its first use: that is not to happen in the handler.
    backtrace::trace(|_| false);
    ACTIVE.store(true, Ordering::SeqCst);
    set_timer(1_000_000 / FREQUENCY).map_err(Busy::Refused)?;
    let began = Instant::now();
    let mut stacks = HashMap::new();
    while began.elapsed() < length {
        tokio::time::sleep(COUNT.min(length.saturating_sub(began.elapsed()))).await;
        shared.count(&mut stacks);
    }
    let lost = shared.lost.load(Ordering::Relaxed);
    drop(running);
    let encode = move || encode(&stacks, began.elapsed(), lost);
    let encoded = tokio::task::spawn_blocking(encode).await;
    encoded.map_err(|error| Busy::Refused(io::Error::other(error)))
}

/// A stack: where the thread was interrupted, then its callers.
type Stacks = HashMap<Vec<usize>, i64>;

impl Shared {
    fn new() -> Shared {
        let slot = || Slot {
            state: AtomicUsize::new(FREE),
            length: AtomicUsize::new(0),
            at: AtomicUsize::new(0),
            frames: [const { AtomicUsize::new(0) }; FRAMES_MAX],
        };
        let slots = std::iter::repeat_with(slot).take(SLOTS).collect();
        Shared { slots, next: AtomicUsize::new(0), lost: AtomicU64::new(0) }
    }

    /// Forgets what an earlier profile left.
    fn reset(&self) {
        self.count(&mut Stacks::new());
        self.lost.store(0, Ordering::Relaxed);
    }

    /// Takes the samples that are there.
    fn count(&self, stacks: &mut Stacks) {
        for slot in &self.slots {
            if slot.state.load(Ordering::Acquire) != FULL {
                continue;
            }
            let length = slot.length.load(Ordering::Relaxed).min(FRAMES_MAX);
            let frames = slot.frames[..length].iter().map(|frame| frame.load(Ordering::Relaxed));
            let stack = from_interruption(frames.collect(), slot.at.load(Ordering::Relaxed));
            *stacks.entry(stack).or_default() += 1;
            slot.state.store(FREE, Ordering::Release);
        }
    }
}

/// A stack without the frames of the handler: it begins where the thread was interrupted.
fn from_interruption(mut frames: Vec<usize>, at: usize) -> Vec<usize> {
    if let Some(first) = frames.iter().position(|frame| *frame == at) {
        frames.drain(..first);
    } else if at != 0 {
        // The unwinder got lost in the handler's own frames.
        frames = vec![at];
    }
    frames
}

/// Installs the handler, or does so again.
fn install() -> io::Result<()> {
    // SAFETY: an all-zero `sigaction` is a valid one; the handler is a function of the right type that
    // stays for ever, and does only what a signal handler may (see the module's invariants).
    let installed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGPROF, &raw const action, null_mut())
    };
    if installed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has the timer fire each `micros` of processor time; 0 stops it.
fn set_timer(micros: u32) -> io::Result<()> {
    let every = libc::timeval { tv_sec: 0, tv_usec: libc::suseconds_t::from(micros) };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: the pointer is to a live structure of the right type.
    match unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const timer, null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Notes the stack of the thread that it interrupts.
extern "C" fn handler(_signal: c_int, _info: *mut libc::siginfo_t, context: *mut c_void) {
    if !ACTIVE.load(Ordering::SeqCst) {
        return;
    }
    let Some(shared) = SHARED.get() else { return };
    let slot = &shared.slots[shared.next.fetch_add(1, Ordering::Relaxed) % SLOTS];
    if slot.state.compare_exchange(FREE, FILLING, Ordering::Acquire, Ordering::Relaxed).is_err() {
        shared.lost.fetch_add(1, Ordering::Relaxed);
        return;
    }
    // SAFETY: where the C library keeps an error of the interrupted thread; it is put back.
    let error = unsafe { *libc::__errno_location() };
    slot.at.store(interrupted_at(context), Ordering::Relaxed);
    let mut length = 0;
    // SAFETY: the lock that the safe form takes may be held by the interrupted thread. What is called
    // here only reads tables of the loaded objects, which need no lock to be found.
    unsafe {
        backtrace::trace_unsynchronized(|frame| {
            slot.frames[length].store(frame.ip() as usize, Ordering::Relaxed);
            length += 1;
            length < FRAMES_MAX
        });
        *libc::__errno_location() = error;
    }
    slot.length.store(length, Ordering::Relaxed);
    slot.state.store(FULL, Ordering::Release);
}

/// The instruction that the signal came before; 0 where it is not known how to find it.
fn interrupted_at(context: *mut c_void) -> usize {
    if context.is_null() {
        return 0;
    }
    // SAFETY: the kernel passes a `ucontext_t` to a handler with `SA_SIGINFO`.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    instruction(context)
}

#[cfg(target_arch = "x86_64")]
fn instruction(context: &libc::ucontext_t) -> usize {
    context.uc_mcontext.gregs[libc::REG_RIP as usize] as usize
}

#[cfg(target_arch = "aarch64")]
fn instruction(context: &libc::ucontext_t) -> usize {
    context.uc_mcontext.pc as usize
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn instruction(_context: &libc::ucontext_t) -> usize {
    0
}

fn encode(stacks: &Stacks, length: Duration, lost: u64) -> Vec<u8> {
    let mut profile = Profile::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
    let period = i64::from(1_000_000_000 / FREQUENCY);
    profile.encoded.period = period;
    profile.encoded.duration_nanos = i64::try_from(length.as_nanos()).unwrap_or(i64::MAX);
    if lost > 0 {
        profile.comment(&format!("{lost} samples were lost"));
    }
    symbol::add_mappings(&mut profile);
    for (stack, count) in stacks {
        let locate = |(depth, address): (usize, &usize)| {
            // A caller is somewhere before the address that it is returned to.
            let address = if depth == 0 { *address } else { address.saturating_sub(1) };
            profile.address(address as u64, symbol::symbols)
        };
        let location_id = stack.iter().enumerate().map(locate).collect();
        profile.encoded.sample.push(Sample { location_id, value: vec![*count, *count * period] });
    }
    let named = profile.encoded.location.iter().any(|location| !location.line.is_empty());
    for mapping in &mut profile.encoded.mapping {
        mapping.has_functions = named;
    }
    profile.gzipped()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use prost::Message as _;

    use super::{super::format::Encoded, *};

    #[inline(never)]
    fn spin_for_the_profile(stop: &AtomicBool) -> u64 {
        let mut sum = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            for n in 0..1000_u64 {
                sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(n));
            }
        }
        sum
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_thread_that_spins_is_seen() {
        static STOP: AtomicBool = AtomicBool::new(false);
        let spinning = std::thread::spawn(|| spin_for_the_profile(&STOP));
        // On a busy machine the thread may get little of the processor: until it is seen.
        let found = loop {
            let bytes = sample(Duration::from_millis(300)).await.unwrap();
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain).unwrap();
            let profile = Encoded::decode(&plain[..]).unwrap();
            let name = |index: i64| profile.string_table[index as usize].as_str();
            assert_eq!(name(profile.sample_type[1].kind), "cpu");
            let spins = |name: &str| name.ends_with("spin_for_the_profile");
            let function = profile.function.iter().find(|function| spins(name(function.name)));
            if let Some(function) = function {
                let of = |line: &super::super::format::Line| line.function_id == function.id;
                let place = profile.location.iter().filter(|place| place.line.iter().any(of));
                let ids: Vec<u64> = place.map(|place| place.id).collect();
                let innermost = |sample: &&Sample| {
                    sample.location_id.iter().any(|id| ids.contains(id)) && sample.value[0] > 0
                };
                assert!(profile.sample.iter().any(|sample| innermost(&sample)));
                break function.id;
            }
        };
        assert!(found > 0);
        STOP.store(true, Ordering::Relaxed);
        spinning.join().unwrap();
    }

    #[test]
    fn a_stack_begins_where_it_was_interrupted() {
        assert_eq!(from_interruption(vec![1, 2, 3, 4], 3), [3, 4]);
        assert_eq!(from_interruption(vec![1, 2], 9), [9]);
        assert_eq!(from_interruption(vec![1, 2], 0), [1, 2]);
    }
}
