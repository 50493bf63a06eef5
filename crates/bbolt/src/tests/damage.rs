//! Files that are cut, empty, of another kind, or have wrong bits.
