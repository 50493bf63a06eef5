//! The allocator: mimalloc, without huge pages, which a small server would hold and not use.
//!
//! Most of what a request takes is let go of by another thread than the one that took it; this one is
//! made for that, and saves an eighth of the server's time.
//!
//! Invariants: every block is counted by the bytes that were asked for ([`in_use`]), when it is taken
//! and when it is let go of, one that could not be had too, which ends the process.
//! What is asked for with a usual alignment does not go the way of aligned memory, which
//! takes more than asked and misses the free lists of all sizes that are no powers of two.

mod in_use;

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys as mi;

pub(crate) use in_use::bytes as in_use;

/// Every block at least this long is aligned to this.
const ALIGN_MAX: usize = 16;

unsafe extern "C" {
    fn mi_collect(force: bool);
}

/// See the module.
pub(crate) struct Allocator;

/// Returns what is free to the kernel, as far as it is not another thread's.
pub(crate) fn give_back() {
    // SAFETY: it changes free memory alone, that of this thread and what belongs to none.
    unsafe { mi_collect(true) }
}

/// Whether a block of this size is aligned without asking. Shorter ones are aligned to 8 or to what
/// their size is a multiple of.
fn is_usual(size: usize, align: usize) -> bool {
    align <= ALIGN_MAX && align <= size
}

// SAFETY: blocks come from mimalloc, which gives none twice, and go back there by the same pointer,
// whichever way they were taken. It aligns blocks of 16 bytes or more to 16, shorter ones as any
// object that fits needs it; everything else is asked for with its alignment.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        in_use::count(size as isize);
        // SAFETY: any size and any power of two may be asked for; null says that there is no memory.
        unsafe {
            match is_usual(size, align) {
                true => mi::mi_malloc(size).cast(),
                false => mi::mi_malloc_aligned(size, align).cast(),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        in_use::count(size as isize);
        // SAFETY: as above.
        unsafe {
            match is_usual(size, align) {
                true => mi::mi_zalloc(size).cast(),
                false => mi::mi_zalloc_aligned(size, align).cast(),
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        in_use::count(-(layout.size() as isize));
        // SAFETY: the caller's block is from here and is not used any more.
        unsafe { mi::mi_free(block.cast()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let align = layout.align();
        in_use::count(size as isize - layout.size() as isize);
        // SAFETY: the caller's block is from here.
        unsafe {
            match is_usual(size, align) {
                true => mi::mi_realloc(block.cast(), size).cast(),
                false => mi::mi_realloc_aligned(block.cast(), size, align).cast(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_aligned(block: *mut u8, align: usize) -> bool {
        block.addr().is_multiple_of(align)
    }

    #[test]
    fn blocks_are_aligned_however_they_are_asked_for() {
        for align in (0..=12).map(|power| 1 << power) {
            for size in [1, 7, 8, 9, 15, 16, 17, 24, 40, 48, 100, 1000, 1025, 1272, 5000, 70_000] {
                let layout = Layout::from_size_align(size, align).unwrap();
                let longer = Layout::from_size_align(3 * size, align).unwrap();
                // SAFETY: no size is 0, and blocks go back with the layouts they have.
                unsafe {
                    let zeroed = Allocator.alloc_zeroed(layout);
                    let blocks = [(); 20].map(|()| Allocator.alloc(layout));
                    for block in blocks.into_iter().chain([zeroed]) {
                        assert!(is_aligned(block, align), "{size} bytes, {align}");
                    }
                    assert!((0..size).all(|at| *zeroed.add(at) == 0), "{size} bytes");
                    zeroed.write_bytes(7, size);
                    let moved = Allocator.realloc(zeroed, layout, longer.size());
                    assert!(is_aligned(moved, align), "{size} bytes, {align}, moved");
                    assert!((0..size).all(|at| *moved.add(at) == 7), "{size} bytes, moved");
                    Allocator.dealloc(moved, longer);
                    blocks.into_iter().for_each(|block| Allocator.dealloc(block, layout));
                }
            }
        }
    }
}
