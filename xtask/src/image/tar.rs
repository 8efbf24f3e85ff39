//! The few kinds of tar entry that an image needs, all owned by root and dated 1970.

use anyhow::{Result, ensure};

const BLOCK: usize = 512;

/// An archive in the making.
#[derive(Debug, Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    /// Adds a folder.
    pub(crate) fn folder(&mut self, name: &str, mode: u32) -> Result<()> {
        self.header(&format!("{name}/"), mode, 0, b'5')
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        self.header(name, mode, bytes.len(), b'0')?;
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        Ok(())
    }

    /// The archive's bytes.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }

    fn header(&mut self, name: &str, mode: u32, size: usize, kind: u8) -> Result<()> {
        ensure!(name.len() < 100, "a name of {} bytes is too long for this writer", name.len());
        let mut header = [0_u8; BLOCK];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, name);
        put(100, &format!("{mode:07o}"));
        put(108, "0000000"); // owner
        put(116, "0000000"); // group
        put(124, &format!("{size:011o}"));
        put(136, "00000000000"); // 1970
        put(148, "        "); // the sum counts its own place as spaces
        put(257, "ustar\0");
        put(263, "00");
        header[156] = kind;
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        Ok(())
    }
}
