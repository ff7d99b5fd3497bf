//! `voxgate device`: who may connect.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};

use crate::admin::{self, Admin, NewDevice};
use crate::domain::{DeviceId, ListenMode, Span};

use super::context::{Context, block_on};
use super::{binding, operation, password, table};

/// More instructions than this are not read: they are refused, whatever they say.
const MOST_PROMPT: u64 = 64 << 10;

/// Add, claim, bind, revoke, list and remove devices, call their tools, alert them, let a browser be one
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Add(Add),
    Claim(Claim),
    Pending(Pending),
    Talk(Talk),
    Tools(Tools),
    Call(Call),
    Alert(Alert),
    List(List),
    Remove(Remove),
    Password(Password),
    Set(Set),
    Register(binding::Register),
    Bind(binding::Bind),
    Activate(binding::Activate),
    Revoke(binding::Revoke),
    Bindings(binding::Bindings),
    Op(operation::Op),
    Ops(operation::Ops),
    Cancel(operation::Cancel),
}

/// Make a device and its password
///
/// The gateway makes a password of 256 random bits and prints it once, alone on standard output; it keeps only
/// a keyed hash of it. The device connects with its id as MQTT user name.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate device add cane-1                      prints the password
  PASSWORD=$(voxgate device add cane-1)          keeps it in a variable
  voxgate device add cane-1 --password-file -    takes one that a person chose, from standard input")]
pub(super) struct Add {
    /// The id: letters, digits and _ . : -, at most 64
    id: DeviceId,
    /// Take the password from the first line of this file; - is standard input. At least 12 characters
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// How the end of an utterance is found, until the device says otherwise
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    mode: Mode,
    /// Who speaks the reply: the gateway, or the device from its text
    #[arg(long, value_enum, default_value_t = Voice::Gateway)]
    tts_mode: Voice,
    /// The language that is spoken to it (BCP 47) [default: the gateway's]
    #[arg(long, value_name = "TAG")]
    language: Option<String>,
    /// Replace the password and settings of a device that exists
    #[arg(long)]
    replace: bool,
    /// Print one JSON object: {user, secret}
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// The gateway hears when the person has finished
    Auto,
    /// The device says so (a button)
    Manual,
    /// Heard all the time; the device cancels echo
    Realtime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Voice {
    /// The gateway sends speech
    Gateway,
    /// The gateway sends text
    #[value(name = "device_text")]
    DeviceText,
}

/// Make the board that shows a code a device
///
/// A board with stock xiaozhi firmware that asks for credentials and is not known shows a code of six digits, and
/// speaks it. The board gets its password by itself; one that connected under the same id before is shut out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate device claim 123456 --name kitchen
  voxgate device claim 123456 --transport websocket    for networks that let no datagrams through")]
pub(super) struct Claim {
    /// What the board's screen shows
    code: String,
    /// What people call it
    #[arg(long)]
    name: Option<String>,
    /// How it shall speak [default: as devices.transport says]
    #[arg(long, value_enum)]
    transport: Option<Transport>,
    /// Print one JSON string: the device's id
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Transport {
    /// MQTT, audio as datagrams
    Mqtt,
    /// A WebSocket for each conversation
    Websocket,
}

impl From<Transport> for admin::Transport {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Mqtt => Self::Mqtt,
            Transport::Websocket => Self::Websocket,
        }
    }
}

/// Show the boards that wait to be claimed, with their codes
///
/// Claim a code only when the board in your hand shows it: anybody in the network can ask under any id.
#[derive(Debug, clap::Args)]
pub(super) struct Pending {
    /// Print one JSON array of {id, code, reason, address, board, since}
    #[arg(long)]
    json: bool,
}

/// Print a link that makes a browser a device
///
/// Opened in a browser it talks with the gateway as the device ID, which is made when there is none. The link is good for
/// one browser, once, within its time; that browser may come back without another for as long as talk.visit says.
/// Whoever has the link may use it: show it to nobody else. A connection of the device that is open ends when the
/// browser talks. Browsers give their microphone to pages of https or of localhost only.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate device talk laptop                   prints the link
  voxgate device talk phone --for 2m
  ssh -L 8003:localhost:8003 BOX               on your machine, then open the link there: that is localhost too")]
pub(super) struct Talk {
    /// The device's id
    id: DeviceId,
    /// How long the link waits for its browser, a day at most [default: as talk.ticket says]
    #[arg(long = "for", value_name = "TIME", value_parser = Span::parse)]
    time: Option<Span>,
    /// Print one JSON object: {device, url, until, made}
    #[arg(long)]
    json: bool,
}

/// Change what a device is called and who answers on it
///
/// What is set counts from the device's next turn on; an empty text takes it back, and it is as [voice.reply] says.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate device set 3c:84:27:aa:bb:01 --name kitchen --language de
  voxgate device set toy-7 --prompt-file pirate.txt --voice onyx
  voxgate device set toy-7 --voice ''                            the gateway's voice again
  voxgate device set cane-2 --policy cane --timezone Asia/Shanghai --quiet-hours 22:00-07:00")]
pub(super) struct Set {
    /// Its id
    id: DeviceId,
    /// What people call it
    #[arg(long)]
    name: Option<String>,
    /// The language that is spoken to it (BCP 47)
    #[arg(long, value_name = "TAG")]
    language: Option<String>,
    /// The voice, in the words of the provider of speech
    #[arg(long)]
    voice: Option<String>,
    /// The instructions that its conversations start with
    #[arg(long, value_name = "TEXT", conflicts_with = "prompt_file")]
    prompt: Option<String>,
    /// The same from a file; - is standard input
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// Where it stands: of the boards of one room that wake to one word, the one that heard it loudest answers
    #[arg(long)]
    room: Option<String>,
    /// How closely what is said on it is watched: off, audit or cane [default: by its dialect, see docs/policy.md]
    #[arg(long, value_name = "PROFILE")]
    policy: Option<String>,
    /// The time zone of its person, as in Europe/Berlin
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// When nothing is said to it unasked, as in 22:00-07:00; danger always is
    #[arg(long, value_name = "FROM-TO")]
    quiet_hours: Option<String>,
    /// How a board speaks to the gateway, from its next start on
    #[arg(long, value_enum)]
    transport: Option<Transport>,
}

/// Show what a connected device can do
#[derive(Debug, clap::Args)]
pub(super) struct Tools {
    /// Its id
    id: DeviceId,
    /// Print one JSON array of {name, description, parameters, user_only}
    #[arg(long)]
    json: bool,
}

/// Call a tool of a connected device and print its answer
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate device call 3c:84:27:aa:bb:01 self.get_device_status
  voxgate device call 3c:84:27:aa:bb:01 self.audio_speaker.set_volume '{\"volume\": 30}'")]
pub(super) struct Call {
    /// The device's id
    id: DeviceId,
    /// The tool, as `voxgate device tools` shows it
    tool: String,
    /// Its arguments, a JSON object
    #[arg(default_value = "{}")]
    arguments: String,
}

/// Show something on a connected device, in a conversation or not
///
/// A board over MQTT is always connected; one over WebSocket only in a conversation. A board with stock firmware shows the
/// text with a status and a face, and makes a sound.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate device alert 3c:84:27:aa:bb:01 'Dinner is ready'
  voxgate device alert 3c:84:27:aa:bb:01 'The door is open' --level warning --status Door --emotion surprised")]
pub(super) struct Alert {
    /// The device's id
    id: DeviceId,
    /// What to show
    #[arg(required = true)]
    text: Vec<String>,
    /// How much it matters
    #[arg(long, value_enum, default_value_t = Level::Info)]
    level: Level,
    /// The word over it, on boards with stock firmware [default: by the level]
    #[arg(long)]
    status: Option<String>,
    /// The face beside it, on boards with stock firmware: happy, sad, surprised, … [default: by the level]
    #[arg(long)]
    emotion: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    /// News
    Info,
    /// Somebody should look
    Warning,
    /// Somebody must look
    Critical,
}

/// Show all devices
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Print one JSON array of {id, created, dialect, online, device_text, name, language, voice, prompt, room,
    /// expected}
    #[arg(long)]
    json: bool,
}

/// Remove a device's password and settings; its lifelog stays
#[derive(Debug, clap::Args)]
pub(super) struct Remove {
    /// Its id
    id: DeviceId,
}

/// Give a device another password and end its connections
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  voxgate device password cane-1 --rotate                prints the new password
  voxgate device password cane-1 --password-file FILE    takes one that a person chose")]
pub(super) struct Password {
    #[command(flatten)]
    change: password::Change,
}

/// Works on the gateway that runs, else on the store.
pub(super) fn run(command: Command, context: &mut Context<'_>) -> anyhow::Result<()> {
    block_on(async {
        let command = match command {
            // codes are in the memory of the gateway that runs
            Command::Claim(args) => return claim(args, &*context.gateway()?, context).await,
            Command::Talk(args) => return talk(args, &*context.gateway()?, context).await,
            Command::Tools(args) => return tools(args, &*context.gateway()?, context).await,
            Command::Call(args) => return call(args, &*context.gateway()?, context).await,
            Command::Alert(args) => return alert(args, &*context.gateway()?).await,
            Command::Pending(args) => return pending(&args, &*context.gateway()?, context).await,
            command => command,
        };
        let admin = context.gateway_or_store().await?;
        match command {
            Command::Register(args) => binding::register(args, &*admin, context).await,
            Command::Bind(args) => binding::bind(args, &*admin).await,
            Command::Activate(args) => binding::activate(args, &*admin).await,
            Command::Revoke(args) => binding::revoke(args, &*admin).await,
            Command::Op(args) => operation::begin(args, &*admin, context).await,
            Command::Ops(args) => operation::list(&args, &*admin, context).await,
            Command::Cancel(args) => operation::cancel(args, &*admin).await,
            Command::Bindings(args) => binding::list(&args, &*admin, context).await,
            Command::Add(args) => add(args, &*admin, context).await,
            Command::Set(args) => set(args, &*admin).await,
            Command::List(args) => list(&args, &*admin, context).await,
            Command::Claim(_)
            | Command::Pending(_)
            | Command::Talk(_)
            | Command::Tools(_)
            | Command::Call(_)
            | Command::Alert(_) => Ok(()),
            Command::Password(args) => {
                let (new, json) = args.change.read()?;
                let credential = admin.device_password(new).await?;
                password::tell(("device", "has another password"), &credential, json, context)
            }
            Command::Remove(args) => {
                admin.device_remove(args.id.clone()).await?;
                eprintln!("device {} removed", args.id);
                Ok(())
            }
        }
    })
}

async fn add(args: Add, admin: &dyn Admin, context: &mut Context<'_>) -> anyhow::Result<()> {
    let password = args.password_file.as_deref().map(password::read).transpose()?;
    let mode = match args.mode {
        Mode::Auto => ListenMode::Auto,
        Mode::Manual => ListenMode::Manual,
        Mode::Realtime => ListenMode::Realtime,
    };
    let device_text = args.tts_mode == Voice::DeviceText;
    let device = NewDevice { id: args.id, password, mode, device_text, language: args.language, replace: args.replace };
    let credential = admin.device_add(device).await?;
    password::tell(("device", "added"), &credential, args.json, context)
}

async fn claim(args: Claim, admin: &dyn Admin, context: &mut Context<'_>) -> anyhow::Result<()> {
    let transport = args.transport.map(admin::Transport::from);
    let id = admin.device_claim(admin::Claim { code: args.code, name: args.name, transport }).await?;
    if args.json {
        return context.json(&id);
    }
    Ok(writeln!(context.out, "{id} is a device now; the board finds out within a minute, or when it is restarted")?)
}

async fn set(args: Set, admin: &dyn Admin) -> anyhow::Result<()> {
    let prompt = match &args.prompt_file {
        Some(file) => Some(read_prompt(file)?),
        None => args.prompt,
    };
    let Set { id, name, language, voice, room, policy, timezone, quiet_hours, transport, .. } = args;
    let transport = transport.map(admin::Transport::from);
    let device = id.clone();
    let change =
        admin::DeviceChange { device, name, language, voice, prompt, room, policy, timezone, quiet_hours, transport };
    admin.device_set(change).await?;
    eprintln!("device {id} is set");
    Ok(())
}

fn read_prompt(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut read = |from: &mut dyn Read| from.take(MOST_PROMPT).read_to_string(&mut text);
    let done = if file == Path::new("-") {
        read(&mut std::io::stdin())
    } else {
        File::open(file).and_then(|mut from| read(&mut from))
    };
    done.with_context(|| format!("cannot read instructions from {}", file.display()))?;
    Ok(text)
}

async fn pending(args: &Pending, admin: &dyn Admin, context: &mut Context<'_>) -> anyhow::Result<()> {
    let waiting = admin.device_pending().await?;
    if args.json {
        return context.json(&waiting);
    }
    let row = |row: &admin::PendingRow| {
        let reason = match row.reason.as_str() {
            "other_board" => "ANOTHER BOARD HAS THIS ID",
            "by_hand" => "added by hand before",
            other => other,
        };
        let (id, code, since) = (row.id.to_string(), row.code.clone(), table::time(row.since, &context.zone));
        vec![code, id, row.board.clone(), row.address.clone(), since, reason.to_owned()]
    };
    let rows: Vec<Vec<String>> = waiting.iter().map(row).collect();
    let heading = ["code", "id", "board", "address", "since", "why"];
    Ok(table::write(context.out, &heading, &rows, "no board waits to be claimed")?)
}

async fn talk(args: Talk, admin: &dyn Admin, context: &mut Context<'_>) -> anyhow::Result<()> {
    let link = admin.device_talk(admin::NewTalk { device: args.id, time: args.time }).await?;
    if args.json {
        return context.json(&link);
    }
    let admin::TalkLink { device, url, until, made } = link;
    if made {
        eprintln!("device {device} was made; `voxgate device remove {device}` ends all that it may");
    }
    eprintln!("open this in one browser, before {}:", table::time(until, &context.zone));
    Ok(writeln!(context.out, "{}", url.0)?)
}

async fn tools(args: Tools, admin: &dyn Admin, context: &mut Context<'_>) -> anyhow::Result<()> {
    let tools = admin.device_tools(args.id).await?;
    if args.json {
        return context.json(&tools);
    }
    let row = |tool: &admin::ToolRow| {
        let audience = if tool.user_only { "people" } else { "people, models" };
        // the first line says enough; all of it is in the JSON
        let what = tool.description.lines().next().unwrap_or_default();
        vec![tool.name.clone(), audience.to_owned(), what.to_owned()]
    };
    let rows: Vec<Vec<String>> = tools.iter().map(row).collect();
    Ok(table::write(context.out, &["tool", "for", "what it does"], &rows, "the device has no tools")?)
}

async fn call(args: Call, admin: &dyn Admin, context: &mut Context<'_>) -> anyhow::Result<()> {
    let Call { id, tool, arguments } = args;
    let answer = admin.device_call(admin::ToolCall { device: id, tool, arguments }).await?;
    Ok(writeln!(context.out, "{answer}")?)
}

async fn alert(args: Alert, admin: &dyn Admin) -> anyhow::Result<()> {
    let Alert { id, text, level, status, emotion } = args;
    let level = match level {
        Level::Info => admin::Level::Info,
        Level::Warning => admin::Level::Warning,
        Level::Critical => admin::Level::Critical,
    };
    let alert = admin::Alert { device: id.clone(), text: text.join(" "), level, status, emotion };
    admin.device_alert(alert).await?;
    eprintln!("device {id} was told");
    Ok(())
}

async fn list(args: &List, admin: &dyn Admin, context: &mut Context<'_>) -> anyhow::Result<()> {
    let devices = admin.device_list().await?;
    if args.json {
        return context.json(&devices);
    }
    let now = context.clock.wall();
    let row = |d: &crate::admin::DeviceRow| {
        let voice = if d.device_text { "device_text" } else { "gateway" };
        let dialect = d.dialect.clone().unwrap_or_else(|| "-".to_owned());
        let name = d.name.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            d.id.to_string(),
            name,
            d.room.clone().unwrap_or_else(|| "-".to_owned()),
            // whose time is over it shows a code, and is claimed
            match d.expected {
                Some(until) if now < until => "expected".to_owned(),
                Some(_) => "late".to_owned(),
                None => table::yes(d.online),
            },
            dialect,
            voice.to_owned(),
            table::time(d.created, &context.zone),
        ]
    };
    let rows: Vec<Vec<String>> = devices.iter().map(row).collect();
    let heading = ["id", "name", "room", "online", "dialect", "tts mode", "created"];
    Ok(table::write(context.out, &heading, &rows, "no devices; make one with `voxgate device add ID`")?)
}
