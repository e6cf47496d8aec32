//! A log file that rolls by size: `x.log`, then `x.log.1` (newest) to `x.log.5` (oldest).
//! Promise: a line is never split over two files, and at most `kept` old files stay.
//! Never meant for two processes at once: each needs a file of its own.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that starts anew when it would grow past its limit.
#[derive(Debug)]
pub(crate) struct RollingFile {
    path: PathBuf,
    file: File,
    size_bytes: u64,
    limit_bytes: u64,
    kept: u32,
}

impl RollingFile {
    /// Opens or creates the file, and the folder it is in; goes on where an earlier run stopped.
    pub(crate) fn open(path: &Path, limit_bytes: u64, kept: u32) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let size_bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size_bytes, limit_bytes, kept })
    }

    /// Shifts every old file by one, the oldest away, and starts a new one.
    fn roll(&mut self) -> io::Result<()> {
        for n in (1..self.kept).rev() {
            rename_if_there(&self.numbered(n), &self.numbered(n + 1))?;
        }
        if self.kept == 0 {
            std::fs::remove_file(&self.path)?;
        } else {
            rename_if_there(&self.path, &self.numbered(1))?;
        }
        self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        self.size_bytes = 0;
        Ok(())
    }

    fn numbered(&self, n: u32) -> PathBuf {
        let mut name: OsString = self.path.clone().into_os_string();
        name.push(format!(".{n}"));
        name.into()
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Write for RollingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let length = line.len() as u64;
        if self.size_bytes > 0 && self.size_bytes + length > self.limit_bytes {
            self.roll()?;
        }
        self.file.write_all(line)?;
        self.size_bytes += length;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("rolling-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn a_full_file_rolls_and_only_the_newest_are_kept() {
        let folder = folder("kept");
        let path = folder.join("deep/x.log");
        let mut file = RollingFile::open(&path, 10, 2).unwrap();
        for line in ["one-----\n", "two-----\n", "three---\n", "four----\n"] {
            file.write_all(line.as_bytes()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.join("deep").join(name));
        assert_eq!(read("x.log").unwrap(), "four----\n");
        assert_eq!(read("x.log.1").unwrap(), "three---\n");
        assert_eq!(read("x.log.2").unwrap(), "two-----\n");
        assert!(read("x.log.3").is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_later_run_goes_on_in_the_same_file_and_counts_what_is_in_it() {
        let folder = folder("again");
        let path = folder.join("x.log");
        RollingFile::open(&path, 10, 1).unwrap().write_all(b"12345").unwrap();
        RollingFile::open(&path, 10, 1).unwrap().write_all(b"67890").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1234567890");
        RollingFile::open(&path, 10, 1).unwrap().write_all(b"x").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "x");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
