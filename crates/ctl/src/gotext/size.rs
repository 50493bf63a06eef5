//! Sizes for people, in powers of 1000, as the tables of etcdctl show them.

/// `999 B`, `1.2 kB`, `20 MB`.
pub(crate) fn bytes(size: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if size < 10 {
        return format!("{size} B");
    }
    let mut power = 0;
    let mut scale = 1_u64;
    while size / scale >= 1000 {
        scale *= 1000;
        power += 1;
    }
    let value = (size as f64 / scale as f64 * 10.0 + 0.5).floor() / 10.0;
    match value < 10.0 {
        true => format!("{value:.1} {}", UNITS[power]),
        false => format!("{value:.0} {}", UNITS[power]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_at_least() {
        for (size, text) in [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (20_480, "20 kB"),
            (9_999, "10 kB"),
            (999_999, "1000 kB"),
            (2_147_483_648, "2.1 GB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(bytes(size), text);
        }
    }
}
