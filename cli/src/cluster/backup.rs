//! `skiff cluster backup`: downloads a backup. A file gets its name only when all of it was
//! written, synced, read back and verified.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use skiff_client::{ByteStream, ClientError, Request};
use skiff_control_plane::backup::{Backup, BackupError, PATH, Reader};

use crate::args::BackupArgs;
use crate::connect::Cluster;
use crate::error::CliError;
use crate::{print, process};

/// How long the stream may stand still.
const STALL: Duration = Duration::from_secs(60);
/// How much of a file is read at once.
const PIECE_BYTES: usize = 1 << 20;

/// Runs the verb.
pub(crate) async fn run(cluster: &Cluster, args: &BackupArgs) -> Result<(), CliError> {
    let to_stdout = args.file == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        let message = "a backup is no text for a terminal; name a file, or redirect the output";
        return Err(CliError::Usage(message.into()));
    }
    let mut request = Request::get(PATH).accept("application/octet-stream");
    if args.with_keys {
        request = request.query("keys", "true");
    }
    let stream = cluster.client.stream(request).await?;
    if to_stdout {
        let backup = pass_on(stream).await?;
        summary(&backup, "standard output")
            .into_iter()
            .for_each(|line| print::note(&line));
        return Ok(());
    }
    let backup = save(stream, &args.file).await?;
    let lines = summary(&backup, &args.file.display().to_string());
    lines.into_iter().try_for_each(|line| print::line(&line))
}

/// Passes a backup on as it comes; what was wrong with it is known only at the end.
async fn pass_on(mut stream: ByteStream) -> Result<Backup, CliError> {
    let mut reader = Reader::default();
    while let Some(piece) = next(&mut stream).await? {
        reader.push(&piece).map_err(unusable)?;
        print::bytes(&piece)?;
    }
    reader.finish().map_err(unusable)
}

async fn save(mut stream: ByteStream, path: &Path) -> Result<Backup, CliError> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or(Path::new("."));
    let failed = |source| CliError::File {
        doing: "write",
        path: path.to_owned(),
        source,
    };
    // Its mode is 0600, and it is removed unless it gets its name.
    let mut file = tempfile::Builder::new()
        .prefix(".skiff-backup-")
        .tempfile_in(above)
        .map_err(failed)?;
    while let Some(piece) = next(&mut stream).await? {
        file.write_all(&piece).map_err(failed)?;
    }
    file.as_file().sync_all().map_err(failed)?;
    let backup = read(file.path())?;
    let named = file.persist(path).map_err(|err| failed(err.error))?;
    drop(named);
    let synced = File::open(above).and_then(|above| above.sync_all());
    synced.map_err(failed)?;
    Ok(backup)
}

async fn next(stream: &mut ByteStream) -> Result<Option<bytes::Bytes>, CliError> {
    let waited = tokio::time::timeout(STALL, stream.next()).await;
    Ok(waited.map_err(|_| ClientError::BodyStalled(STALL))??)
}

/// Reads and verifies a backup; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<Backup, CliError> {
    let failed = |source| CliError::File {
        doing: "read",
        path: path.to_owned(),
        source,
    };
    let mut input: Box<dyn io::Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let mut reader = Reader::default();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let len = match input.read(&mut piece) {
            Ok(0) => break,
            Ok(len) => len,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            Err(err) => return Err(failed(err)),
        };
        let piece = piece.get(..len).unwrap_or_default();
        reader.push(piece).map_err(unusable)?;
    }
    reader.finish().map_err(unusable)
}

fn unusable(err: BackupError) -> CliError {
    process::process("cannot use the backup", err)
}

fn summary(backup: &Backup, place: &str) -> Vec<String> {
    let (mark, objects) = (&backup.at.mark, backup.at.state.len());
    let mut lines = vec![
        format!(
            "Backed up revision {}: {objects} objects, {} bytes in {place}",
            mark.revision, backup.bytes
        ),
        "It holds every object, Secrets as well, and is not encrypted: keep it where nobody else \
         can read it."
            .to_owned(),
    ];
    lines.push(if backup.keys.is_some() {
        "It holds the certificate and the key of the cluster's CA: whoever has it can be anybody."
            .to_owned()
    } else {
        "It does not hold the key of the cluster's CA: keep pki/ca.crt and pki/ca.key of a \
         server's data directory beside it, or take it with --with-keys. Without them every agent \
         must join anew after a restore."
            .to_owned()
    });
    lines.push("It holds no logs, no images, no volumes: those are on the nodes.".to_owned());
    lines
}
