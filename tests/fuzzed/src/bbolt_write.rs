//! What the writer wrote is read back, and the check finds nothing wrong with it.
//!
//! The input is a list of entries, three bytes each: bucket, key length and value length, and how
//! much longer they are.

use std::collections::BTreeMap;

use bbolt::{Db, Writer};

type Content = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

/// Runs an input.
pub fn run(input: &[u8]) {
    let mut content = Content::new();
    let mut total = 0;
    for (number, entry) in input.chunks_exact(3).enumerate() {
        let (bucket, key, value) = (entry[0] & 3, usize::from(entry[1]), usize::from(entry[2]));
        let key_len = 1 + if entry[0] & 4 == 0 { key } else { key * 120 };
        let value_len = match entry[0] >> 3 & 3 {
            0 => value,
            1 => value * 16,
            2 => value * 64,
            _ => value * 2000,
        };
        total += key_len + value_len;
        if total > 4 << 20 {
            break;
        }
        let mut name = (number as u32).wrapping_mul(0x9E37_79B9).to_be_bytes().to_vec();
        name.resize(key_len, b'k');
        let entries = content.entry(vec![b'a' + bucket]).or_default();
        entries.insert(name, vec![number as u8; value_len]);
    }
    let mut first = Writer::measure();
    feed(&mut first, &content);
    let plan = first.finish().expect("sorted input");
    let mut file = Vec::new();
    let mut sink = |piece: &[u8]| {
        file.extend_from_slice(piece);
        Ok(())
    };
    let mut second = Writer::stream(&plan, &mut sink).expect("a vector takes bytes");
    feed(&mut second, &content);
    assert_eq!(second.finish().expect("the same input"), plan);
    assert_eq!(file.len() as u64, plan.bytes());

    let db = Db::open(&file).expect("a file");
    db.check(&mut |fault| panic!("{fault}")).expect("bytes are read");
    let mut read = Content::new();
    let mut names = db.root().cursor();
    while let Some(name) = names.next().expect("a root") {
        let bucket = db.bucket(name.key).expect("a root").expect("a bucket");
        let entries = read.entry(name.key.to_vec()).or_default();
        let mut cursor = bucket.cursor();
        while let Some(entry) = cursor.next().expect("an entry") {
            entries.insert(entry.key.to_vec(), entry.value.to_vec());
        }
    }
    assert!(read == content);
}

fn feed(writer: &mut Writer<'_>, content: &Content) {
    for (name, entries) in content {
        writer.begin(name).expect("names ascend");
        for (key, value) in entries {
            writer.entry(key, value).expect("keys ascend");
        }
    }
}
