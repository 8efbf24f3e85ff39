//! Files in memory, as a `.tar.gz`.

use std::collections::BTreeMap;
use std::io;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Packs them below a folder; all of them are of this time, in seconds since 1970.
pub(super) fn packed(files: &BTreeMap<String, String>, folder: &str, now: i64) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(now).unwrap_or_default());
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, format!("{folder}/{path}"), text.as_bytes())?;
    }
    tar.into_inner()?.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_was_packed_comes_out_again() {
        let long = format!("namespaces/{}/logs/a.log", "n".repeat(150));
        let files: BTreeMap<_, _> = [("a.txt", "one\n"), (long.as_str(), "two\n")]
            .map(|(path, text)| (path.to_owned(), text.to_owned()))
            .into();
        let packed = packed(&files, "all", 1_800_000_000).unwrap();
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(packed.as_slice()));
        let mut seen = BTreeMap::new();
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            assert_eq!(entry.header().mode().unwrap(), 0o600);
            seen.insert(path.strip_prefix("all/").unwrap().to_owned(), text);
        }
        assert_eq!(seen, files);
    }
}
