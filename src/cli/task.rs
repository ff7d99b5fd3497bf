//! `voxgate task`: what the gateway works on by itself.

use clap::{Subcommand, ValueEnum};

use super::context::{Context, block_on};
use super::table;
use crate::admin::{Admin, AdminError, AdminErrorKind, NewTask, TaskQuery, TaskRow, TaskStatus};
use crate::domain::{DeviceId, Span, Wall};

/// Longest goal that a table shows, characters.
const GOAL: usize = 48;

/// Give the gateway something to do, list what it does, take it back
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Run(Run),
    List(List),
    Show(Show),
    Cancel(Cancel),
}

/// Give the gateway something to do in the background
///
/// Prints the task's id. Without a running gateway it waits for the next start.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate task run 'find out when the museum opens tomorrow'
  voxgate task run 'book a table for two at seven' --device cane-1 --for 5m
  voxgate task show 3f9c0a17b2de")]
pub(super) struct Run {
    /// What is to be done
    goal: String,
    /// The device that is told, and whose tools are there for it
    #[arg(long, value_name = "ID")]
    device: Option<DeviceId>,
    /// How long it may run [default: as tasks.timeout says]
    #[arg(long = "for", value_name = "TIME", value_parser = Span::parse)]
    time: Option<Span>,
    /// The task's id, which was never used before [default: one is made]
    #[arg(long, value_name = "ID")]
    task_id: Option<String>,
    /// Do not tell the device how it goes
    #[arg(long)]
    no_notify: bool,
    /// Do not let the device say how it ended
    #[arg(long)]
    no_speak: bool,
    /// Take back what else is under way for the device
    #[arg(long)]
    replace: bool,
    /// Print one JSON object, as the control API shows it
    #[arg(long)]
    json: bool,
}

/// Show tasks, newest first
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Of this device
    #[arg(long, value_name = "ID")]
    device: Option<DeviceId>,
    /// That have come so far
    #[arg(long, value_enum)]
    status: Option<Status>,
    /// At most so many
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Print one JSON array, as the control API shows it
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Status {
    /// It waits for its turn
    Pending,
    /// It is worked on
    Running,
    /// It is done
    Success,
    /// It could not be done
    Failed,
    /// It was not done in its time
    Timeout,
    /// It was taken back
    Canceled,
}

/// Show one task with its steps
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The task's id
    task: String,
    /// Print one JSON object, as the control API shows it
    #[arg(long)]
    json: bool,
}

/// Take a task back
#[derive(Debug, clap::Args)]
pub(super) struct Cancel {
    /// The task's id
    task: String,
}

/// Asks the gateway that runs, or its store.
pub(super) fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    block_on(async {
        let admin = context.gateway_or_store().await?;
        match command {
            Command::Run(args) => begin(args, &*admin, context).await,
            Command::List(args) => list(args, &*admin, context).await,
            Command::Show(args) => show(args, &*admin, context).await,
            Command::Cancel(args) => {
                let row = admin.task_cancel(args.task, "canceled at the command line".to_owned()).await?;
                eprintln!("task {} is {}", row.task_id, row.status.name());
                Ok(())
            }
        }
    })
}

async fn begin(args: Run, admin: &dyn Admin, context: &mut Context<'_>) -> anyhow::Result<()> {
    let new = NewTask {
        id: args.task_id,
        goal: args.goal,
        session: None,
        device: args.device,
        timeout: args.time,
        notify: !args.no_notify,
        speak: !args.no_speak,
        interrupt_previous: args.replace,
        steps: Vec::new(),
        by: "command line".to_owned(),
    };
    let row = admin.task_begin(new).await?;
    if args.json {
        return context.json(&row);
    }
    eprintln!("the task is {}", row.status.name());
    Ok(writeln!(context.out, "{}", row.task_id)?)
}

async fn list(args: List, admin: &dyn Admin, context: &mut Context<'_>) -> anyhow::Result<()> {
    let status = args.status.map(|status| match status {
        Status::Pending => TaskStatus::Pending,
        Status::Running => TaskStatus::Running,
        Status::Success => TaskStatus::Success,
        Status::Failed => TaskStatus::Failed,
        Status::Timeout => TaskStatus::Timeout,
        Status::Canceled => TaskStatus::Canceled,
    });
    let query = TaskQuery { device: args.device, status, limit: args.limit, ..TaskQuery::default() };
    let rows = admin.task_list(query).await?;
    if args.json {
        return context.json(&rows);
    }
    let row = |row: &TaskRow| {
        let goal: String = row.goal.chars().take(GOAL).collect();
        let updated = table::time(Wall(row.updated_at), &context.zone);
        vec![row.task_id.clone(), row.device_id.clone(), row.status.name().to_owned(), updated, goal, row.error.clone()]
    };
    let rows: Vec<Vec<String>> = rows.iter().map(row).collect();
    let heading = ["id", "device", "status", "since", "goal", "error"];
    Ok(table::write(context.out, &heading, &rows, "no such tasks")?)
}

async fn show(args: Show, admin: &dyn Admin, context: &mut Context<'_>) -> anyhow::Result<()> {
    let query = TaskQuery { id: Some(args.task), ..TaskQuery::default() };
    let row = admin.task_list(query).await?.into_iter().next();
    let row = row.ok_or_else(|| AdminError::new(AdminErrorKind::NotFound, "task not found"))?;
    if args.json {
        return context.json(&row);
    }
    writeln!(context.out, "{}: {}", row.status.name(), row.goal)?;
    for step in &row.steps {
        let at = table::time(Wall(step.ts), &context.zone);
        writeln!(context.out, "{at}  {}  {}  {}", step.stage, step.status, step.message)?;
    }
    if let Some(text) = row.result.get("text").and_then(serde_json::Value::as_str) {
        writeln!(context.out, "{text}")?;
    }
    if !row.error.is_empty() {
        writeln!(context.out, "error: {}", row.error)?;
    }
    Ok(())
}
