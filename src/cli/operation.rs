//! `voxgate device op`, `ops`, `cancel`: what is asked of devices that may be away.

use anyhow::Context as _;
use clap::ValueEnum;
use serde_json::{Map, Value};

use super::context::Context;
use super::table;
use crate::admin::{
    Admin, NewOperation, OperationEnd, OperationQuery, OperationRow, OperationStatus, OperationType, Order,
};
use crate::domain::{DeviceId, Span, Wall};

/// Ask something of a device: at once, or when it is back
///
/// Prints the operation's id. `voxgate device ops` shows what became of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate device op cane-1 set_config '{\"volume\": 30}'
  voxgate device op cane-1 tool_call '{\"name\": \"buzz\", \"arguments\": {\"times\": 2}}' --for 10m
  voxgate device op cane-1 ota_plan '{\"version\": \"2.1.0\", \"url\": \"https://…\"}'")]
pub(super) struct Op {
    /// The device's id
    id: DeviceId,
    /// What
    #[arg(value_enum)]
    kind: Kind,
    /// What is sent, a JSON object
    #[arg(default_value = "{}")]
    payload: String,
    /// How long it waits for the device [default: as operations.time says]
    #[arg(long = "for", value_name = "TIME", value_parser = Span::parse)]
    time: Option<Span>,
    /// The operation's id, which was never used before [default: one is made]
    #[arg(long, value_name = "ID")]
    operation_id: Option<String>,
    /// Print one JSON object, as the control API shows it
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Change settings of the device
    #[value(name = "set_config")]
    SetConfig,
    /// Call a tool of the device
    #[value(name = "tool_call")]
    ToolCall,
    /// Firmware news; sent at most once
    #[value(name = "ota_plan")]
    OtaPlan,
}

/// Show operations, newest first
#[derive(Debug, clap::Args)]
pub(super) struct Ops {
    /// Of this device
    id: Option<DeviceId>,
    /// That have come so far
    #[arg(long, value_enum)]
    status: Option<Status>,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Print one JSON array, as the control API shows it
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Status {
    /// It waits for the device
    Queued,
    /// It was written to the device's connection
    Sent,
    /// The device did it
    Acked,
    /// The device could not do it
    Failed,
    /// An operator took it back
    Canceled,
    /// The device did not do it in time
    Expired,
}

/// Take an operation back
#[derive(Debug, clap::Args)]
pub(super) struct Cancel {
    /// The operation's id
    operation: String,
}

pub(super) async fn begin(args: Op, admin: &dyn Admin, context: &mut Context<'_>) -> anyhow::Result<()> {
    let op_type = match args.kind {
        Kind::SetConfig => OperationType::SetConfig,
        Kind::ToolCall => OperationType::ToolCall,
        Kind::OtaPlan => OperationType::OtaPlan,
    };
    let payload: Map<String, Value> =
        serde_json::from_str(&args.payload).context("the payload is no JSON object: write '{\"volume\": 30}'")?;
    let order = Order { op_type, payload, time: args.time, by: "command line".to_owned() };
    let row = admin.operation_begin(NewOperation { device: args.id, id: args.operation_id, order }).await?;
    if args.json {
        return context.json(&row);
    }
    eprintln!("{} is {}", row.device_id, row.status.name());
    Ok(writeln!(context.out, "{}", row.operation_id)?)
}

pub(super) async fn list(args: &Ops, admin: &dyn Admin, context: &mut Context<'_>) -> anyhow::Result<()> {
    let status = args.status.map(|status| match status {
        Status::Queued => OperationStatus::Queued,
        Status::Sent => OperationStatus::Sent,
        Status::Acked => OperationStatus::Acked,
        Status::Failed => OperationStatus::Failed,
        Status::Canceled => OperationStatus::Canceled,
        Status::Expired => OperationStatus::Expired,
    });
    let (device, limit) = (args.id.clone(), args.limit);
    let rows = admin.operation_list(OperationQuery { device, status, limit, ..OperationQuery::default() }).await?;
    if args.json {
        return context.json(&rows);
    }
    let row = |row: &OperationRow| {
        let (id, device, error) = (row.operation_id.clone(), row.device_id.clone(), row.error.clone());
        let (kind, status) = (row.op_type.name().to_owned(), row.status.name().to_owned());
        vec![id, device, kind, status, table::time(Wall(row.updated_at_ms), &context.zone), error]
    };
    let rows: Vec<Vec<String>> = rows.iter().map(row).collect();
    let heading = ["id", "device", "what", "status", "since", "error"];
    Ok(table::write(context.out, &heading, &rows, "no such operations")?)
}

pub(super) async fn cancel(args: Cancel, admin: &dyn Admin) -> anyhow::Result<()> {
    let error = "canceled at the command line".to_owned();
    let end = OperationEnd { id: args.operation, status: OperationStatus::Canceled, result: Value::Null, error };
    let row = admin.operation_end(end).await?;
    eprintln!("operation {} is {}", row.operation_id, row.status.name());
    Ok(())
}
