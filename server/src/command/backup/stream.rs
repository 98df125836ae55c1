//! The content's way into the file and out of it: compression, the operator's command for
//! encryption, and the hash of the plain content.

use std::{
    future::Future,
    io::{self, Read as _, Write as _},
    process::{ExitStatus, Stdio},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    process::{Child, Command},
};
use zstd::stream::write::{Decoder, Encoder};

use super::{
    file::{BackupFile, BackupWriter, ContentHash, ContentSum},
    progress::Rate,
};
use crate::command::failure::Failure;

/// zstd's own default.
const LEVEL: i32 = 3;

/// The bytes that are read at once.
const CHUNK: usize = 1 << 17;

type PipeOutput = Box<dyn AsyncRead + Send + Unpin>;
type PipeInput = Box<dyn AsyncWrite + Send + Unpin>;

/// The operator's command between two ends of a pipe; without one, the pipe alone.
struct PipeFilter {
    name: &'static str,
    child: Option<Child>,
}

impl PipeFilter {
    fn start(
        name: &'static str,
        command: Option<&str>,
    ) -> Result<(Self, PipeInput, PipeOutput), Failure> {
        let Some(command) = command else {
            let (near, far) = tokio::io::duplex(CHUNK);
            return Ok((Self { name, child: None }, Box::new(near), Box::new(far)));
        };
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child =
            shell.kill_on_drop(true).spawn().map_err(|error| format!("{name}: sh: {error}"))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => {
                Ok((Self { name, child: Some(child) }, Box::new(input), Box::new(output)))
            }
            _ => Err(format!("{name}: its input and output are not pipes").into()),
        }
    }

    /// Runs both ends. `drain` fails only before the command's output ends, and is then the reason.
    /// Otherwise a command that failed is the reason before a pipe that it closed.
    async fn run(
        mut self,
        feed: impl Future<Output = Result<(), Failure>>,
        drain: impl Future<Output = Result<(), Failure>>,
    ) -> Result<(), Failure> {
        let feed = async { feed.await.map_err(PipeFailure::Feed) };
        let drain = async { drain.await.map_err(PipeFailure::Drain) };
        // Both are dropped at the end, and with them the pipes, so that the command ends.
        let moved = Box::pin(async { tokio::try_join!(feed, drain) }).await;
        let fed = match moved {
            Ok(_) => Ok(()),
            Err(PipeFailure::Feed(error)) => Err(error),
            // The command is killed, as nothing reads what it writes.
            Err(PipeFailure::Drain(error)) => return Err(error),
        };
        let Some(child) = &mut self.child else { return fed };
        let (name, status) = (self.name, child.wait().await?);
        if !status.success() {
            return Err(format!(
                "{name} failed ({}): run it by hand to see why; nothing was left",
                ended(status)
            )
            .into());
        }
        fed.map_err(|error| match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::BrokenPipe) => {
                format!("{name} ended before it had read its whole input: correct it").into()
            }
            _ => error,
        })
    }
}

/// The end of a pipe that failed first.
enum PipeFailure {
    /// The end that writes into the command.
    Feed(Failure),
    /// The end that reads from the command.
    Drain(Failure),
}

/// How a process ended.
pub(super) fn ended(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => "a signal ended it".to_owned(),
    }
}

/// Compresses, encrypts and writes what `source` gives until its end.
///
/// # Errors
/// If the source can't be read, the command fails, or the file can't be written.
pub(super) async fn pack(
    mut source: impl AsyncRead + Unpin,
    writer: &mut BackupWriter,
    encrypt: Option<&str>,
    rate: &mut Rate,
) -> Result<ContentSum, Failure> {
    let (filter, mut input, output) = PipeFilter::start("--encrypt-command", encrypt)?;
    let mut hash = ContentHash::default();
    let feed = async {
        let mut encoder = Encoder::new(Vec::new(), LEVEL)?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = source.read(&mut buffer).await?;
            let part = buffer.get(..count).unwrap_or_default();
            if part.is_empty() {
                break;
            }
            hash.update(part);
            rate.add(part.len());
            encoder.write_all(part)?;
            input.write_all(&std::mem::take(encoder.get_mut())).await?;
        }
        input.write_all(&encoder.finish()?).await?;
        input.shutdown().await?;
        drop(input);
        Ok(())
    };
    let drain = async {
        // It is closed when this ends. A command could otherwise wait at a full pipe for ever.
        let mut output = output;
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = output.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            writer.write(buffer.get(..count).unwrap_or_default())?;
        }
    };
    filter.run(feed, drain).await?;
    Ok(hash.finish())
}

/// Decrypts and decompresses a backup into `target`, and compares what came out with the footer.
///
/// # Errors
/// If the command fails, the content is another one, or the target takes no more.
pub(super) async fn unpack(
    backup: &BackupFile,
    decrypt: Option<&str>,
    target: &mut (impl AsyncWrite + Unpin),
    rate: &mut Rate,
) -> Result<(), Failure> {
    let (filter, mut input, output) = PipeFilter::start("--decrypt-command", decrypt)?;
    let mut body = backup.body()?;
    let mut hash = ContentHash::default();
    let feed = async {
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = body.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            input.write_all(buffer.get(..count).unwrap_or_default()).await?;
        }
        input.shutdown().await?;
        drop(input);
        Ok(())
    };
    let unreadable = |error: &str| unreadable(backup, error);
    let mut decoder = Decoder::new(Vec::new())?;
    let drain = async {
        // It is closed when this ends. A command could otherwise wait at a full pipe for ever.
        let mut output = output;
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = output.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            let read = decoder.write_all(buffer.get(..count).unwrap_or_default());
            read.map_err(|error| unreadable(&error.to_string()))?;
            let plain = std::mem::take(decoder.get_mut());
            hash.update(&plain);
            rate.add(plain.len());
            target.write_all(&plain).await?;
        }
    };
    filter.run(feed, drain).await?;
    decoder.flush().map_err(|error| unreadable(&error.to_string()))?;
    let plain = std::mem::take(decoder.get_mut());
    hash.update(&plain);
    rate.add(plain.len());
    target.write_all(&plain).await?;
    target.shutdown().await?;
    match hash.finish() == backup.content {
        true => Ok(()),
        false => Err(unreadable("it is not what was backed up (length or SHA-256)")),
    }
}

fn unreadable(backup: &BackupFile, problem: &str) -> Failure {
    let hint =
        if backup.manifest.is_encrypted { ": is --decrypt-command the right one?" } else { "" };
    format!("{}: its content can't be read: {problem}{hint}", backup.path.display()).into()
}
