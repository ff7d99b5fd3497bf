//! `voxgate device register`, `bind`, `activate`, `revoke`, `bindings`: whose devices are.

use std::path::PathBuf;

use clap::ValueEnum;

use super::context::Context;
use super::{password, table};
use crate::admin::{Admin, BindingQuery, BindingRow, BindingStatus, BindingStep, Credential, NewBinding, Registered};
use crate::domain::DeviceId;

/// Register a device that may come in when it is activated, or with --rotate give it another token
///
/// Prints the token, once. A device that was revoked comes back this way only, with --rotate, and begins again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  TOKEN=$(voxgate device register cane-1)
  voxgate device bind cane-1 anna --activate
  voxgate device register cane-1 --rotate        another token; also brings back one that was revoked")]
pub(super) struct Register {
    /// The id: letters, digits and _ . : -, at most 64
    id: DeviceId,
    /// Take the token from the first line of this file; - is standard input. At least 12 characters
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Give a device that is registered another token
    #[arg(long)]
    rotate: bool,
    /// Print one JSON object: {user, secret}
    #[arg(long)]
    json: bool,
}

/// Say whose a device is
#[derive(Debug, clap::Args)]
pub(super) struct Bind {
    /// Its id
    id: DeviceId,
    /// Whose, 1 to 128 bytes
    user: String,
    /// And let it in
    #[arg(long)]
    activate: bool,
}

/// Let a device in that is somebody's
#[derive(Debug, clap::Args)]
pub(super) struct Activate {
    /// Its id
    id: DeviceId,
    /// Whose it is, when it is nobody's yet
    #[arg(long)]
    user: Option<String>,
}

/// Shut a device out and end its connections
///
/// Its settings and its lifelog stay. It comes back by `voxgate device register ID --rotate` only.
#[derive(Debug, clap::Args)]
pub(super) struct Revoke {
    /// Its id
    id: DeviceId,
    /// Why, for the record
    #[arg(long, default_value = "")]
    reason: String,
}

/// Show whose devices are
#[derive(Debug, clap::Args)]
pub(super) struct Bindings {
    /// That have come so far
    #[arg(long, value_enum)]
    status: Option<Status>,
    /// Of this user
    #[arg(long)]
    user: Option<String>,
    /// Print one JSON array, as the control API shows it
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Status {
    /// It has a token
    Registered,
    /// It is somebody's
    Bound,
    /// It may come in
    Activated,
    /// It may not come in any more
    Revoked,
}

impl From<Status> for BindingStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Registered => Self::Registered,
            Status::Bound => Self::Bound,
            Status::Activated => Self::Activated,
            Status::Revoked => Self::Revoked,
        }
    }
}

pub(super) async fn register(args: Register, admin: &dyn Admin, context: &mut Context<'_>) -> anyhow::Result<()> {
    let token = args.token_file.as_deref().map(password::read).transpose()?;
    let new = NewBinding { device: args.id, token, force_rotate: args.rotate, metadata: None };
    let Registered { device, token } = admin.device_register(new).await?;
    let credential = Credential { user: device.device_id, secret: token };
    password::tell(("device", device.status.name()), &credential, args.json, context)
}

pub(super) async fn bind(args: Bind, admin: &dyn Admin) -> anyhow::Result<()> {
    let step = BindingStep::Bind { user: args.user, activate: args.activate };
    told(&admin.device_step(args.id, step).await?);
    Ok(())
}

pub(super) async fn activate(args: Activate, admin: &dyn Admin) -> anyhow::Result<()> {
    told(&admin.device_step(args.id, BindingStep::Activate { user: args.user }).await?);
    Ok(())
}

pub(super) async fn revoke(args: Revoke, admin: &dyn Admin) -> anyhow::Result<()> {
    told(&admin.device_step(args.id, BindingStep::Revoke { reason: args.reason }).await?);
    Ok(())
}

fn told(row: &BindingRow) {
    let user = if row.user_id.is_empty() { "nobody" } else { &row.user_id };
    eprintln!("device {} is {} ({user}'s)", row.device_id, row.status.name());
}

pub(super) async fn list(args: &Bindings, admin: &dyn Admin, context: &mut Context<'_>) -> anyhow::Result<()> {
    let query = BindingQuery {
        status: args.status.map(BindingStatus::from),
        user: args.user.clone(),
        limit: usize::MAX,
        ..BindingQuery::default()
    };
    let rows = admin.device_bindings(query).await?;
    if args.json {
        return context.json(&rows);
    }
    let row = |row: &BindingRow| {
        let time = |at: u64| table::time(crate::domain::Wall(at), &context.zone);
        let (id, status, user) = (row.device_id.clone(), row.status.name().to_owned(), row.user_id.clone());
        vec![id, status, user, time(row.updated_at_ms), row.revoke_reason.clone()]
    };
    let rows: Vec<Vec<String>> = rows.iter().map(row).collect();
    let heading = ["id", "status", "user", "since", "reason"];
    Ok(table::write(context.out, &heading, &rows, "no such devices")?)
}
