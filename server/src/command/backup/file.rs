//! The file of a backup: a line that names the format, the manifest as a line of JSON, the content
//! (zstd, perhaps encrypted), and a footer with the length and SHA-256 of the plain content and the
//! SHA-256 of everything before.

use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    manifest::Manifest,
    path_error::{Target, unreadable, unwritable},
};
use crate::command::failure::Failure;

/// The first line.
const MAGIC: &str = "bookstore backup 1\n";

/// The length of the footer in bytes.
const FOOTER: u64 = 5 + 20 + 1 + 64 + 1 + 7 + 64 + 1;

/// The longest manifest in bytes that is read.
const LONGEST_MANIFEST: u64 = 16 << 20;

/// The length and the hash of the plain content: what `pg_dump` wrote, or SQLite's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContentSum {
    /// The number of bytes.
    pub(super) bytes: u64,
    /// SHA-256 in hexadecimal digits.
    pub(super) sha256: String,
}

/// Counts and hashes the plain content.
#[derive(Default)]
pub(super) struct ContentHash {
    bytes: u64,
    hash: Sha256,
}

impl ContentHash {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
    }

    pub(super) fn finish(self) -> ContentSum {
        ContentSum { bytes: self.bytes, sha256: hex(&self.hash.finalize()) }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A backup that is being written. It has its final name only after the caller's rename.
pub(super) struct BackupWriter {
    file: File,
    path: PathBuf,
    hash: Sha256,
}

impl BackupWriter {
    /// Creates the file, which only its owner can read, and writes the manifest.
    pub(super) fn create(path: &Path, manifest: &Manifest) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| unwritable(path, &error, Target::Backup))?;
        let mut writer = Self { file, path: path.to_path_buf(), hash: Sha256::new() };
        writer.write(MAGIC.as_bytes())?;
        writer.write(manifest.to_line().as_bytes())?;
        writer.write(b"\n")?;
        Ok(writer)
    }

    /// Appends a part of the content.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.hash.update(bytes);
        self.file.write_all(bytes).map_err(|error| unwritable(&self.path, &error, Target::Backup))
    }

    /// Writes the footer, and returns when everything is on the disk.
    pub(super) fn finish(mut self, content: &ContentSum) -> Result<(), Failure> {
        self.write(format!("\nraw {:020} {}", content.bytes, content.sha256).as_bytes())?;
        let sum = hex(&self.hash.clone().finalize());
        self.write(format!("\nsha256 {sum}\n").as_bytes())?;
        self.file.sync_all().map_err(|error| unwritable(&self.path, &error, Target::Backup))
    }
}

/// A complete backup.
pub(super) struct BackupFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// What it is of.
    pub(super) manifest: Manifest,
    /// Its length in bytes.
    pub(super) bytes: u64,
    /// What the content must be after decryption and decompression.
    pub(super) content: ContentSum,
    begins: u64,
    sha256: String,
}

impl BackupFile {
    /// Reads the manifest and the footer.
    ///
    /// # Errors
    /// A sentence if it is no backup, or an incomplete one.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let at = |problem: &str| -> Failure { format!("{}: {problem}", path.display()).into() };
        // Before it is opened: to open a pipe without a writer would take for ever.
        let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        if !metadata.is_file() {
            return Err(at(if metadata.is_dir() {
                "it is a folder and no file: name a backup in it (`bookstore backup list` shows \
                 them)"
            } else {
                "it is no file: a backup is read several times, so it can't come from a pipe or a \
                 device; write it to a file first"
            }));
        }
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        let mut reader = BufReader::new(file);
        let mut magic = vec![0; MAGIC.len()];
        if reader.read_exact(&mut magic).is_err() || magic != MAGIC.as_bytes() {
            return Err(at(wrong_kind(&magic)));
        }
        let mut line = String::new();
        let read = (&mut reader).take(LONGEST_MANIFEST).read_line(&mut line);
        read.map_err(|error| {
            at(&format!("its manifest can't be read ({error}): use another backup"))
        })?;
        if !line.ends_with('\n') {
            return Err(at("it is incomplete (its manifest has no end): use another backup"));
        }
        let manifest = Manifest::parse(&line).map_err(|error| at(&error.to_string()))?;
        let begins = (MAGIC.len() + line.len()) as u64;
        let incomplete = || {
            at("it is incomplete (a part of it was lost after it was written): use another backup")
        };
        if metadata.len() < begins + FOOTER {
            return Err(incomplete());
        }
        let mut file = reader.into_inner();
        let mut footer = String::new();
        let back = i64::try_from(FOOTER).unwrap_or_default();
        file.seek(SeekFrom::End(-back)).map_err(|error| unreadable(path, &error))?;
        file.read_to_string(&mut footer).map_err(|_| incomplete())?;
        let words: Vec<&str> = footer.split_whitespace().collect();
        let ["raw", bytes, raw, "sha256", sha256] = words[..] else { return Err(incomplete()) };
        let bytes = bytes.parse().map_err(|_| incomplete())?;
        let content = ContentSum { bytes, sha256: raw.to_owned() };
        let (path, sha256) = (path.to_path_buf(), sha256.to_owned());
        Ok(Self { path, manifest, bytes: metadata.len(), content, begins, sha256 })
    }

    /// Reads the whole file and compares its hash with the footer's. `read` is told the number of
    /// bytes after each part. It can be dropped after each part.
    ///
    /// # Errors
    /// If a byte of it has changed, or it can't be read.
    pub(super) async fn check(&self, read: &mut (dyn FnMut(u64) + Send)) -> Result<(), Failure> {
        let at =
            |problem: &str| -> Failure { format!("{}: {problem}", self.path.display()).into() };
        let mut file = File::open(&self.path).map_err(|error| unreadable(&self.path, &error))?;
        // The line of the hash itself is not in it.
        let mut left = self.bytes - (1 + 7 + 64 + 1);
        let (mut hash, mut done) = (Sha256::new(), 0);
        let mut buffer = vec![0; 1 << 18];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let part = buffer.get_mut(..most).unwrap_or_default();
            file.read_exact(part).map_err(|error| unreadable(&self.path, &error))?;
            hash.update(&*part);
            left -= most as u64;
            done += most as u64;
            read(done);
            // A signal can end it here.
            tokio::task::yield_now().await;
        }
        if hex(&hash.finalize()) != self.sha256 {
            return Err(at(
                "it is damaged: its content is not what was written (SHA-256); use another backup",
            ));
        }
        Ok(())
    }

    /// A reader of the content, as it is in the file.
    pub(super) fn body(&self) -> Result<std::io::Take<File>, Failure> {
        let open = || {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.begins))?;
            Ok::<_, std::io::Error>(file)
        };
        let file = open().map_err(|error| unreadable(&self.path, &error))?;
        Ok(file.take(self.bytes - self.begins - FOOTER))
    }
}

/// What a file is instead of a backup, by its first bytes.
fn wrong_kind(start: &[u8]) -> &'static str {
    match start {
        [b'P', b'G', b'D', b'M', b'P', ..] => {
            "it is an archive of pg_dump, not a backup of this program: use pg_restore"
        }
        [b'S', b'Q', b'L', b'i', b't', b'e', ..] => {
            "it is a SQLite database, not a backup of this program: name it in DATABASE_URL"
        }
        start if start.starts_with(b"bookstore backup ") => {
            "it has a format that this program does not know: use the program that made it"
        }
        _ => {
            "it is no backup of this program (a decrypted or decompressed backup is none either): \
             name a file that `bookstore backup` made"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a signal would wait until a large file is read.
    #[tokio::test]
    async fn check_can_be_ended_after_each_part() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("it.backup");
        let manifest = Manifest {
            program: "0.1.0".to_owned(),
            created_at: 0,
            engine: "sqlite".to_owned(),
            engine_version: "3".to_owned(),
            tools: 0,
            database: "bookstore.db".to_owned(),
            position: String::new(),
            revisions: Vec::new(),
            is_encrypted: false,
            tables: Vec::new(),
        };
        let mut writer = BackupWriter::create(&path, &manifest).expect("a file");
        writer.write(&vec![7; 1 << 20]).expect("its content");
        writer.finish(&ContentHash::default().finish()).expect("its footer");
        let backup = BackupFile::open(&path).expect("a backup");
        let mut read = 0;
        let mut count = |bytes| read = bytes;
        tokio::select! {
            biased;
            _ = backup.check(&mut count) => panic!("it was read to its end"),
            () = std::future::ready(()) => {}
        }
        assert!(read > 0 && read < backup.bytes, "{read} bytes");
        backup.check(&mut |_| ()).await.expect("the content that was written");
    }
}
