//! Paths as Go's `path` package treats them.

/// The shortest path that is the same, from the root: without empty parts, `.` and `..`.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// `path` below `prefix`, cleaned.
pub fn join(prefix: &str, path: &str) -> String {
    clean(&format!("{prefix}/{path}"))
}

/// The parts of a clean path.
pub(crate) fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// The directory and the name of a clean path that is not the root.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// A name below a directory.
pub(crate) fn child(directory: &str, name: &str) -> String {
    if directory == "/" { format!("/{name}") } else { format!("{directory}/{name}") }
}

/// Whether a listing leaves a node of this name out.
pub(crate) fn is_hidden_name(name: &str) -> bool {
    name.starts_with('_')
}

/// Whether `path` is hidden from who watches `watched`: below it, something begins with `_`.
pub(crate) fn is_hidden_from(watched: &str, path: &str) -> bool {
    // Of a directory that goes, those who watch below it are told, too.
    let below = path.get(watched.len()..);
    below.is_some_and(|below| parts(below).any(is_hidden_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (path, expected) in
            [("", "/"), ("/", "/"), ("a//b/", "/a/b"), ("/a/./b/../c", "/a/c"), ("/../..", "/")]
        {
            assert_eq!(clean(path), expected);
        }
        assert_eq!(join("/1", "/a/"), "/1/a");
        assert_eq!(join("/1", ""), "/1");
        assert_eq!(join("/1", "/../0/x"), "/0/x");
        assert_eq!(split("/1/a/b"), ("/1/a", "b"));
        assert_eq!(split("/1"), ("", "1"));
    }

    #[test]
    fn hidden_is_what_is_hidden_below_the_watched_path() {
        assert!(is_hidden_from("/", "/_a"));
        assert!(is_hidden_from("/a", "/a/_b"));
        assert!(is_hidden_from("/a", "/a/_b/c"));
        assert!(!is_hidden_from("/a/_b", "/a/_b"));
        assert!(!is_hidden_from("/a/_b", "/a/_b/c"));
        assert!(!is_hidden_from("/a/_b/c", "/a"));
        assert!(!is_hidden_from("/a", "/a/b_"));
    }
}
