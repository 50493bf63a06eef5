//! Names of addresses of code, and the mappings that they are in.

use std::{ffi::c_void, fs};

use super::format::{Mapping, Profile, Symbol};

/// What is at an address, inlined functions first; nothing where the binary has no names.
pub(super) fn symbols(address: u64) -> Vec<Symbol> {
    let mut found = Vec::new();
    // The library takes addresses for those that calls return to, and looks before them.
    backtrace::resolve((address as usize).wrapping_add(1) as *mut c_void, |symbol| {
        let Some(name) = symbol.name() else { return };
        found.push(Symbol {
            // Without the hash at its end.
            name: format!("{name:#}"),
            file: symbol.filename().map(|file| file.display().to_string()).unwrap_or_default(),
            line: symbol.lineno().unwrap_or(0),
        });
    });
    found
}

/// The name of the function that an address is in.
pub(crate) fn name_of(address: u64) -> Option<String> {
    symbols(address).pop().map(|symbol| symbol.name)
}

/// Adds the parts of the address space that hold code.
pub(super) fn add_mappings(profile: &mut Profile) {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for line in maps.lines() {
        if let Some((mut mapping, file)) = mapping(line) {
            mapping.id = profile.encoded.mapping.len() as u64 + 1;
            mapping.filename = profile.string(file);
            profile.encoded.mapping.push(mapping);
        }
    }
}

/// A line of `/proc/self/maps`, if it is of code: start-end, rights, offset, device, inode, file.
fn mapping(line: &str) -> Option<(Mapping, &str)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let executable = fields.next()?.contains('x');
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let mapping = Mapping {
        memory_start: hex(start)?,
        memory_limit: hex(end)?,
        file_offset: hex(fields.next()?)?,
        ..Mapping::default()
    };
    let file = fields.nth(2).unwrap_or_default();
    executable.then_some((mapping, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_this_program_has_its_name() {
        let address = symbols as *const () as usize as u64;
        let name = name_of(address).expect("tests have symbols");
        // With line tables alone there is no path.
        assert!(name.ends_with("symbols"), "{name}");
        assert_eq!(name_of(1), None);
    }

    #[test]
    fn mappings_of_code_are_found() {
        let line = "55d0a000-55d0b000 r-xp 00002000 fe:01 42       /usr/bin/x";
        let (mapping, file) = mapping(line).unwrap();
        assert_eq!((mapping.memory_start, mapping.memory_limit), (0x55d0_a000, 0x55d0_b000));
        assert_eq!((mapping.file_offset, file), (0x2000, "/usr/bin/x"));
        assert!(super::mapping("55d0a000-55d0b000 rw-p 00002000 fe:01 42 /x").is_none());
        assert!(super::mapping("").is_none());
        let mut profile = Profile::new(&[("samples", "count")]);
        add_mappings(&mut profile);
        assert!(!profile.encoded.mapping.is_empty());
    }
}
