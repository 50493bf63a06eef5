//! Every input that is kept runs through its target, as under libFuzzer.

use std::{fs, path::Path};

use fuzzed::TARGETS;

#[test]
fn every_kept_input_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for &(name, target) in TARGETS {
        let entries = fs::read_dir(corpus.join(name)).expect("a directory of inputs");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        assert!(paths.len() >= 5, "{name}: {} inputs", paths.len());
        for path in &paths {
            let input = fs::read(path).expect("an input");
            let outcome = std::panic::catch_unwind(|| target(&input));
            assert!(outcome.is_ok(), "{} fails", path.display());
        }
        target(b"");
        println!("{name}: {} inputs", paths.len());
    }
}

#[test]
fn each_target_has_a_binary_and_a_corpus() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let names = |directory: &str| {
        let entries = fs::read_dir(fuzz.join(directory)).expect("a directory");
        let entries = entries.map(|entry| entry.expect("an entry").path());
        let stem = |path: std::path::PathBuf| {
            path.file_stem().expect("a name").to_string_lossy().into_owned()
        };
        let mut names: Vec<String> = entries.map(stem).collect();
        names.sort();
        names
    };
    let targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("corpus"), targets);
}
