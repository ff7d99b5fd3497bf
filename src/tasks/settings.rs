//! `[tasks]`: what the gateway works on by itself, with which tools and within which limits.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{ByteSize, Problem, Span};

/// Whether what somebody says begins tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Voice {
    /// When there is a tool that reaches beyond the device: an MCP server, or web pages.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// Digital tasks: the gateway works on them in the background, with tools, and tells the device how it goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Take tasks and work on them. Default true.
    pub enabled: bool,
    /// Whether "help me book a table" begins a task: `auto` (when a `[[tasks.mcp]]` or `tasks.web` is there to work with),
    /// `on` or `off`. Default "auto".
    pub voice: Voice,
    /// So many tasks run at a time (1 to 64); the others wait. Default 2.
    pub concurrent: usize,
    /// How long a task may run when whoever asks does not say, from its start, waiting apart. Default "120s".
    pub timeout: Span,
    /// The longest that may be asked for. Default "1h".
    pub timeout_max: Span,
    /// A task that was begun so often (1 to 20) and never ended, because the gateway crashed in the midst of it, is failed
    /// instead of begun again. A stop of the gateway does not count. Default 3.
    pub attempts: u32,
    /// Tasks that may wait or run. Default 64.
    pub queue: usize,
    /// Of these for one device. Default 8.
    pub per_device: usize,
    /// Tasks that are over are remembered for so long. Default "30d".
    pub keep: Span,
    /// Of those that are over, so many at most are remembered, the newest. Default 10000.
    pub kept: usize,
    /// A device that is away is told of a task's state when it is back within this time. Default "24h".
    pub update_ttl: Span,
    /// How often (1 to 64) the model may be asked in one task. Default 12.
    pub rounds: u32,
    /// Longest answer of the model, tokens. Default 1024.
    pub max_tokens: u32,
    /// 0.0 is the surest word each time. Default 0.2.
    pub temperature: f32,
    /// Longest answer of a tool that is told to the model; the rest is cut. Default "16 KB".
    pub answer: ByteSize,
    /// Longest answers of all tools in one task; then no more tools are called. Default "128 KB".
    pub answers: ByteSize,
    /// A task in which no tool did anything (the clock apart) has failed, whatever the model says: it may claim to have
    /// booked a table. Default true.
    pub require_tools: bool,
    /// Web pages as a tool.
    pub web: Web,
    /// Servers of tools, by the Model Context Protocol. None by default; each is a table `[[tasks.mcp]]`.
    pub mcp: Vec<Mcp>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            voice: Voice::Auto,
            concurrent: 2,
            timeout: Span::secs(120),
            timeout_max: Span::secs(3_600),
            attempts: 3,
            queue: 64,
            per_device: 8,
            keep: Span::days(30),
            kept: 10_000,
            update_ttl: Span::secs(86_400),
            rounds: 12,
            max_tokens: 1_024,
            temperature: 0.2,
            answer: ByteSize::kb(16),
            answers: ByteSize::kb(128),
            require_tools: true,
            web: Web::default(),
            mcp: Vec::new(),
        }
    }
}

/// Web pages as a tool: only public addresses, whatever a name or a redirect says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Web {
    /// Let tasks fetch pages. Default false.
    pub enabled: bool,
    /// How long all of a page may take, redirects included. Default "15s".
    pub timeout: Span,
    /// Longest page that is read; a longer one is cut there. Default "2 MB".
    pub size: ByteSize,
    /// Most redirects. Default 4.
    pub redirects: u32,
    /// Networks that pages may come from although they are not public, as in "10.1.2.0/24". Default none.
    pub networks: Vec<String>,
}

impl Default for Web {
    fn default() -> Self {
        Self { enabled: false, timeout: Span::secs(15), size: ByteSize::kb(2_048), redirects: 4, networks: Vec::new() }
    }
}

/// A server of tools: a program that is started (`command`), or one that is reached over HTTP (`url`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mcp {
    /// Its name, which begins the names of its tools: letters, digits, `_` and `-`, at most 24.
    pub name: String,
    /// The program to start, which speaks MCP on its standard input and output.
    pub command: Option<String>,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment variables of the gateway that it gets, besides PATH, HOME, LANG and TMPDIR. Default none.
    pub env: Vec<String>,
    /// Where it is (streamable HTTP), as in "https://tools.example/mcp".
    pub url: Option<String>,
    /// The header that carries the secret. Default "authorization", with "Bearer " before a secret without a space.
    pub header: String,
    /// A file with the secret, without a line break at its end or with one.
    pub secret_file: Option<PathBuf>,
    /// The environment variable with the secret, when there is no file.
    pub secret_env: Option<String>,
    /// Its tools that may be used. Default all.
    pub tools: Vec<String>,
    /// How long it may take to start, its list of tools included. Default "20s".
    pub start: Span,
    /// How long a call may take. Default "60s".
    pub timeout: Span,
}

impl Default for Mcp {
    fn default() -> Self {
        Self {
            name: String::new(),
            command: None,
            args: Vec::new(),
            env: Vec::new(),
            url: None,
            header: "authorization".to_owned(),
            secret_file: None,
            secret_env: None,
            tools: Vec::new(),
            start: Span::secs(20),
            timeout: Span::secs(60),
        }
    }
}

impl Settings {
    /// What is wrong with them.
    pub fn check(&self, path: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, what: &str, remedy: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        let numbers = [
            ("concurrent", self.concurrent, 64),
            ("attempts", self.attempts as usize, 20),
            ("queue", self.queue, 10_000),
            ("per_device", self.per_device, 200),
            ("kept", self.kept, 1_000_000),
            ("rounds", self.rounds as usize, 64),
            ("max_tokens", self.max_tokens as usize, 1_000_000),
        ];
        for (key, value, most) in numbers {
            if !(1..=most).contains(&value) {
                wrong(key, &format!("is not in 1 to {most}"), "write a number between, or leave it out");
            }
        }
        if self.timeout.0.as_secs() < 1 || self.timeout > self.timeout_max {
            wrong("timeout", "is less than a second, or more than timeout_max", "write a time between, as in \"120s\"");
        }
        if self.timeout_max > Span::days(1) {
            wrong("timeout_max", "is more than a day", "write a shorter time, as in \"1h\"");
        }
        if !(0.0..=2.0).contains(&self.temperature) {
            wrong("temperature", "is not in 0.0 to 2.0", "leave it out: 0.2");
        }
        for (key, size) in [("answer", self.answer), ("answers", self.answers)] {
            if !(ByteSize::kb(1)..=ByteSize::kb(4_096)).contains(&size) {
                wrong(key, "is not in \"1 KB\" to \"4 MB\"", "write a size between, or leave it out");
            }
        }
        self.web.check(&format!("{path}.web"), &mut problems);
        for (at, server) in self.mcp.iter().enumerate() {
            let here = format!("{path}.mcp[{at}]");
            server.check(&here, &mut problems);
            if self.mcp.iter().take(at).any(|other| other.name == server.name) {
                let what = format!("there are two servers {:?}", server.name);
                problems.push(Problem::new(format!("{here}.name"), what, "give each a name of its own"));
            }
        }
        problems
    }

    /// What somebody says may begin a task.
    pub fn by_voice(&self) -> bool {
        let reaches_out = self.web.enabled || !self.mcp.is_empty();
        self.enabled && (self.voice == Voice::On || self.voice == Voice::Auto && reaches_out)
    }
}

impl Web {
    fn check(&self, path: &str, problems: &mut Vec<Problem>) {
        let mut wrong = |key: &str, what: String, remedy: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        if self.timeout.0.is_zero() || self.timeout > Span::secs(300) {
            wrong("timeout", format!("{} is out of range", self.timeout), "write a time up to \"5m\"");
        }
        if !(ByteSize::kb(1)..=ByteSize::kb(32_768)).contains(&self.size) {
            wrong("size", "is not in \"1 KB\" to \"32 MB\"".to_owned(), "write a size between");
        }
        if self.redirects > 20 {
            wrong("redirects", "is more than 20".to_owned(), "leave it out: 4");
        }
        for network in self.networks.iter().filter(|text| super::web::network(text).is_none()) {
            wrong("networks", format!("{network:?} is no network"), "write it as \"10.1.2.0/24\" or \"fd00::/8\"");
        }
    }
}

impl Mcp {
    fn check(&self, path: &str, problems: &mut Vec<Problem>) {
        let mut wrong = |key: &str, what: String, remedy: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), what, remedy));
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if self.name.is_empty() || self.name.len() > 24 || !self.name.chars().all(plain) {
            wrong("name", format!("{:?} is no name", self.name), "write 1 to 24 letters, digits, _ and -");
        }
        match (&self.command, &self.url) {
            (Some(_), Some(_)) | (None, None) => {
                wrong("command", "a server is a command or a url".to_owned(), "write one of the two");
            }
            (None, Some(url)) if !(url.starts_with("http://") || url.starts_with("https://")) => {
                wrong("url", format!("{url:?} is no web address"), "write \"https://host/mcp\"");
            }
            (Some(command), None) if command.is_empty() => {
                wrong("command", "is empty".to_owned(), "name a program");
            }
            _ => {}
        }
        let word = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if self.header.is_empty() || !word(&self.header) {
            wrong("header", format!("{:?} is no header", self.header), "write \"authorization\" or \"x-api-key\"");
        }
        if let Some(file) = self.secret_file.as_ref().filter(|file| !file.is_file()) {
            wrong("secret_file", format!("there is no file {}", file.display()), "name a file with the secret");
        }
        if let Some(name) = self.secret_env.as_ref().filter(|name| std::env::var_os(name).is_none()) {
            wrong("secret_env", format!("{name} is not in the environment"), "set it, or use secret_file");
        }
        for (key, span) in [("start", self.start), ("timeout", self.timeout)] {
            if span.0.is_zero() || span > Span::secs(3_600) {
                wrong(key, format!("{span} is out of range"), "write a time up to \"1h\"");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_told_with_its_key() {
        let settings = Settings {
            concurrent: 0,
            timeout: Span::secs(7_200),
            answer: ByteSize(1),
            web: Web { networks: vec!["10.0.0.0/99".into()], ..Web::default() },
            mcp: vec![
                Mcp { name: "a b".into(), command: Some("x".into()), url: Some("https://x".into()), ..Mcp::default() },
                Mcp { name: "ok".into(), url: Some("ftp://x".into()), header: "a:b".into(), ..Mcp::default() },
                Mcp { name: "ok".into(), command: Some("true".into()), ..Mcp::default() },
            ],
            ..Settings::default()
        };
        let keys: Vec<String> = settings.check("tasks").into_iter().map(|problem| problem.key).collect();
        let expected = [
            "concurrent",
            "timeout",
            "answer",
            "web.networks",
            "mcp[0].name",
            "mcp[0].command",
            "mcp[1].url",
            "mcp[1].header",
            "mcp[2].name",
        ];
        assert_eq!(keys, expected.map(|key| format!("tasks.{key}")));
        assert_eq!(Settings::default().check("tasks"), []);
    }

    #[test]
    fn nobody_is_promised_work_by_voice_where_there_is_nothing_to_work_with() {
        assert!(!Settings::default().by_voice());
        let web = Settings { web: Web { enabled: true, ..Web::default() }, ..Settings::default() };
        assert!(web.by_voice());
        assert!(!Settings { voice: Voice::Off, ..web.clone() }.by_voice());
        assert!(!Settings { enabled: false, voice: Voice::On, ..web }.by_voice());
    }
}
