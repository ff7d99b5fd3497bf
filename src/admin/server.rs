//! The gateway's end of the control socket.
//!
//! Who may open the socket's file may do everything: the file's mode is the lock. Each operation is
//! logged with the peer's process, user and group as the kernel knows them.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf, UCred};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::protocol::{Answer, LineError, read_line, write_line};
use super::{Admin, AdminError, AdminErrorKind, LifelogTail, MAX_REQUEST, Request, Settings};

/// Most operators' commands at once.
const MAX_CONNECTIONS: usize = 32;
/// A command sends its request at once; a peer that does not is no command.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// Why the control socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another gateway answers there.
    #[error("a gateway is running already: it answers on {}", .0.display())]
    InUse(PathBuf),
    /// Something that is no socket is in the way; it is not touched.
    #[error("{} is in the way: it is no socket; move it or change control.socket", .0.display())]
    NoSocket(PathBuf),
    /// The system refused.
    #[error("control socket {}: {source}; create its directory or change control.socket", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A bound control socket. The file goes when this is dropped.
#[derive(Debug)]
pub struct ControlServer {
    listener: UnixListener,
    file: SocketFile,
}

impl ControlServer {
    /// Binds the socket. A file that a dead gateway left is replaced.
    pub fn bind(settings: &Settings) -> Result<Self, ControlError> {
        let path = &settings.socket;
        let failed = |source| ControlError::Io { path: path.clone(), source };
        clear_stale(path)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        let mode = settings.permissions().unwrap_or(0o660);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
        let inode = fs::symlink_metadata(path).map_err(failed)?.ino();
        Ok(Self { listener, file: SocketFile { path: path.clone(), inode } })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Serves until `stop`; operations that run are dropped then.
    pub async fn run(self, admin: Arc<dyn Admin>, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(serve(stream, Arc::clone(&admin)));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the control socket cannot accept");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        connections.shutdown().await;
    }
}

/// The socket's file, removed when it is still ours.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.ino() == self.inode) {
            // it may be gone meanwhile, which is what we want
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn clear_stale(path: &Path) -> Result<(), ControlError> {
    let failed = |source| ControlError::Io { path: path.to_owned(), source };
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !meta.file_type().is_socket() {
        return Err(ControlError::NoSocket(path.to_owned()));
    }
    match StdUnixStream::connect(path) {
        Ok(_) => Err(ControlError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

/// One connection: requests one after the other, until the peer goes.
async fn serve(stream: UnixStream, admin: Arc<dyn Admin>) {
    let peer = stream.peer_cred().ok();
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let line = match tokio::time::timeout(REQUEST_TIME, read_line(&mut reader, MAX_REQUEST)).await {
            Ok(Ok(Some(line))) => line,
            Ok(Ok(None)) | Err(_) => return,
            Ok(Err(error)) => {
                refuse(&mut writer, &error).await;
                return;
            }
        };
        if answer(&line, peer, &*admin, &mut reader, &mut writer).await.is_err() {
            return;
        }
    }
}

async fn refuse(writer: &mut OwnedWriteHalf, error: &LineError) {
    let answer = Answer::Error(AdminError::new(AdminErrorKind::Invalid, error.to_string()));
    // the peer breaks the rules: it may be gone already
    let _ = write_line(writer, &answer).await;
}

async fn answer(
    line: &[u8],
    peer: Option<UCred>,
    admin: &dyn Admin,
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
) -> io::Result<()> {
    let request = match serde_json::from_slice::<Request>(line) {
        Ok(request) => request,
        Err(error) => {
            // serde's words may quote the line, and the line may hold a password: name the place only
            let message = format!("no request that this gateway knows (column {})", error.column());
            return write_line(writer, &Answer::Error(AdminError::new(AdminErrorKind::Invalid, message))).await;
        }
    };
    let (operation, subject) = (request.name(), request.subject().to_owned());
    match dispatch(admin, request).await {
        Ok(done) => {
            audit(peer, operation, &subject, "done");
            deliver(done, reader, writer).await
        }
        Err(error) => {
            audit(peer, operation, &subject, &error.message);
            write_line(writer, &Answer::Error(error)).await
        }
    }
}

fn audit(peer: Option<UCred>, operation: &str, subject: &str, outcome: &str) {
    let (uid, gid) = (peer.as_ref().map(UCred::uid), peer.as_ref().map(UCred::gid));
    let pid = peer.as_ref().and_then(UCred::pid);
    tracing::info!(target: "voxgate::audit", uid, gid, pid, operation, subject, outcome, "control socket");
}

/// What an operation answers with.
enum Done {
    One(Value),
    Many(Vec<Value>),
    Tail(LifelogTail),
}

fn one<T: Serialize>(value: T) -> Result<Done, AdminError> {
    let value = serde_json::to_value(value);
    value.map(Done::One).map_err(|error| AdminError::new(AdminErrorKind::Internal, error.to_string()))
}

fn many<T: Serialize>(values: Vec<T>) -> Result<Done, AdminError> {
    let values: Result<Vec<Value>, _> = values.into_iter().map(serde_json::to_value).collect();
    values.map(Done::Many).map_err(|error| AdminError::new(AdminErrorKind::Internal, error.to_string()))
}

async fn dispatch(admin: &dyn Admin, request: Request) -> Result<Done, AdminError> {
    match request {
        Request::DeviceAdd { new } => one(admin.device_add(new).await?),
        Request::DeviceList {} => many(admin.device_list().await?),
        Request::DeviceRemove { device } => one(admin.device_remove(device).await?),
        Request::DeviceSet { change } => one(admin.device_set(change).await?),
        Request::DeviceRegister { new } => one(admin.device_register(new).await?),
        Request::DeviceStep { device, change } => one(admin.device_step(device, change).await?),
        Request::DeviceBindings { query } => many(admin.device_bindings(query).await?),
        Request::DeviceState { device } => one(admin.device_state(device).await?),
        Request::DeviceEvent { device, event } => one(admin.device_event(device, event).await?),
        Request::OperationBegin { new } => one(admin.operation_begin(new).await?),
        Request::OperationBatch { selection, order } => many(admin.operation_batch(selection, order).await?),
        Request::OperationEnd { end } => one(admin.operation_end(end).await?),
        Request::OperationList { query } => many(admin.operation_list(query).await?),
        Request::TaskBegin { new } => one(admin.task_begin(new).await?),
        Request::TaskCancel { id, reason } => one(admin.task_cancel(id, reason).await?),
        Request::TaskList { query } => many(admin.task_list(query).await?),
        Request::TaskStats { session } => one(admin.task_stats(session).await?),
        Request::InboxList { query } => many(admin.inbox_list(query).await?),
        Request::InboxRetry { message } => one(admin.inbox_retry(message).await?),
        Request::InboxDrop { message } => one(admin.inbox_drop(message).await?),
        Request::CacheStats {} => many(admin.cache_stats().await?),
        Request::CacheClear { which } => many(admin.cache_clear(which).await?),
        Request::CacheWarm {} => one(admin.cache_warm().await?),
        Request::Runtime {} => one(admin.runtime().await?),
        Request::Sample {} => one(admin.sample().await?),
        Request::Samples { since } => many(admin.samples(since).await?),
        Request::OperatorSigningKey { name } => one(admin.operator_signing_key(name).await?),
        Request::DevicePending {} => many(admin.device_pending().await?),
        Request::DeviceClaim { claim } => one(admin.device_claim(claim).await?),
        Request::DeviceTalk { new } => one(admin.device_talk(new).await?),
        Request::DeviceTools { device } => many(admin.device_tools(device).await?),
        Request::DeviceCall { call } => one(admin.device_call(call).await?),
        Request::DeviceAlert { alert } => one(admin.device_alert(alert).await?),
        Request::FirmwareUpload { part } => one(admin.firmware_upload(part).await?),
        Request::FirmwareAdd { new } => one(admin.firmware_add(new).await?),
        Request::FirmwareList {} => many(admin.firmware_list().await?),
        Request::FirmwareRollout { name, share } => one(admin.firmware_rollout(name, share).await?),
        Request::FirmwareRemove { name } => one(admin.firmware_remove(name).await?),
        Request::OperatorAdd { new } => one(admin.operator_add(new).await?),
        Request::OperatorList {} => many(admin.operator_list().await?),
        Request::OperatorRemove { name } => one(admin.operator_remove(name).await?),
        Request::DevicePassword { new } => one(admin.device_password(new).await?),
        Request::OperatorPassword { new } => one(admin.operator_password(new).await?),
        Request::RuleAdd { rule } => one(admin.rule_add(rule).await?),
        Request::RuleList {} => many(admin.rule_list().await?),
        Request::RuleRemove { id } => one(admin.rule_remove(id).await?),
        Request::ImportUsers { users, dry } => many(admin.import_users(users, dry).await?),
        Request::ImportRules { rules, dry } => many(admin.import_rules(rules, dry).await?),
        Request::ImportBoard { board, dry } => one(admin.import_board(board, dry).await?),
        Request::SessionList {} => many(admin.session_list().await?),
        Request::LifelogList { query } => many(admin.lifelog_list(query).await?),
        Request::LifelogTail { query } => admin.lifelog_tail(query).await.map(Done::Tail),
        Request::TelemetrySamples { query } => many(admin.telemetry_samples(query).await?),
        Request::Say { device, text } => one(admin.say(device, text).await?),
        Request::Abort { device } => one(admin.abort(device).await?),
        Request::ConfigReload {} => one(admin.config_reload().await?),
        Request::Status {} => one(admin.status().await?),
        Request::Providers {} => many(admin.providers().await?),
        Request::Models {} => many(admin.models().await?),
    }
}

async fn deliver(done: Done, reader: &mut BufReader<OwnedReadHalf>, writer: &mut OwnedWriteHalf) -> io::Result<()> {
    match done {
        Done::One(value) => write_line(writer, &Answer::Ok(value)).await,
        Done::Many(values) => {
            for value in values {
                write_line(writer, &Answer::Item(value)).await?;
            }
            write_line(writer, &Answer::Ok(Value::Null)).await
        }
        Done::Tail(tail) => follow(tail, reader, writer).await,
    }
}

/// Writes entries until the peer goes; a word from it while it follows ends the connection too.
async fn follow(
    mut tail: LifelogTail,
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
) -> io::Result<()> {
    let mut word = [0_u8; 1];
    loop {
        tokio::select! {
            _ = reader.read(&mut word) => return Err(io::ErrorKind::ConnectionAborted.into()),
            entry = tail.next() => match entry {
                Some(Ok(row)) => {
                    let value = serde_json::to_value(row).map_err(io::Error::other)?;
                    write_line(writer, &Answer::Item(value)).await?;
                }
                Some(Err(error)) => return write_line(writer, &Answer::Error(error)).await,
                None => return write_line(writer, &Answer::Ok(Value::Null)).await,
            },
        }
    }
}

#[cfg(test)]
mod tests;
