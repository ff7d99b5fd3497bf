//! House rules that a machine can check: who imports whom, who names which crate, and that files say what they are for.
//!
//! The table is that of `docs/ARCHITECTURE.md`, and a test compares the two. Long files and functions are printed, not failed:
//! they are a sign to look for the second idea in them, no more.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Room, and the rooms that it may import besides `domain` and `observe`.
const ROOMS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("observe", &[]),
    ("topics", &[]),
    ("wire", &["topics"]),
    ("audio", &[]),
    ("store", &[]),
    ("provider", &["audio", "wire", "store"]),
    ("engine", &["audio", "wire"]),
    ("models", &["audio", "provider"]),
    ("lifelog", &["store"]),
    ("cache", &["audio", "provider"]),
    ("door", &["admin", "topics", "wire", "store"]),
    ("bridge", &["topics", "door"]),
    ("operations", &["store"]),
    ("telemetry", &["store"]),
    ("home_assistant", &["topics"]),
    ("tasks", &["provider", "store"]),
    ("session", &["audio", "lifelog", "operations", "store", "telemetry"]),
    ("policy", &[]),
    ("pipeline", &["session", "policy", "provider", "audio", "cache", "lifelog", "store", "tasks", "wire"]),
    ("delivery", &["topics", "wire", "store"]),
    ("router", &["delivery", "session", "topics", "store"]),
    ("admin", &[]),
    ("sim", &["topics", "wire", "audio", "provider"]),
    // config sees the parts' Settings only; `settings_only` holds that
    (
        "config",
        &[
            "admin",
            "audio",
            "bridge",
            "cache",
            "delivery",
            "door",
            "engine",
            "home_assistant",
            "lifelog",
            "models",
            "operations",
            "pipeline",
            "policy",
            "provider",
            "router",
            "session",
            "store",
            "tasks",
            "telemetry",
        ],
    ),
    ("app", &["*"]),
    ("cli", &["admin", "app", "config", "engine", "models", "provider", "sim"]),
];

/// Crate, and the only places that may name it.
const NAMED_IN: &[(&str, &[&str])] = &[
    ("aho_corasick", &["policy/index.rs"]),
    ("aes", &["wire/xiaozhi/datagram.rs"]),
    ("audiopus", &["audio"]),
    ("audiopus_sys", &["audio"]),
    ("anyhow", &["cli"]),
    ("axum", &["door/http", "engine"]),
    ("candle_core", &["engine", "models"]),
    ("candle_nn", &["engine"]),
    ("candle_transformers", &["engine"]),
    ("clap", &["cli"]),
    ("ctr", &["wire/xiaozhi/datagram.rs"]),
    ("hyper", &["door/http"]),
    ("hyper_util", &["door/http"]),
    ("hashlink", &["cache/shelf.rs"]),
    ("httparse", &["door/mqtt/transport"]),
    ("ipnet", &["door/http/devices/settings.rs", "door/udp/settings.rs", "tasks/web.rs"]),
    ("jsonschema", &["config", "wire/examples.rs"]),
    ("nanomp3_core", &["audio/mp3.rs"]),
    ("prost", &["wire"]),
    ("quinn_udp", &["door/udp/socket.rs"]),
    ("rcgen", &["door/authority.rs"]),
    ("reqwest", &["provider/guarded.rs", "provider/http", "provider/http.rs"]),
    ("rmcp", &["tasks/mcp"]),
    ("rusqlite", &["app/durable/sqlite.rs"]),
    ("rten_onnx", &["engine/network.rs", "engine/testing.rs"]),
    ("rumqttc", &["bridge", "sim"]),
    ("rumqttd", &["door/mqtt"]),
    ("rustix", &["engine/launch.rs"]),
    ("rustls", &["bridge/tls.rs", "door/mqtt/transport", "provider/http/tls.rs", "sim/flood/tls.rs"]),
    ("sd_notify", &["observe"]),
    ("serde_saphyr", &["cli/import/xiaozhi/yaml.rs"]),
    ("sled", &["store"]),
    ("strsim", &["config"]),
    ("tokio_rustls", &["bridge/tls.rs", "door/mqtt/transport", "sim/flood/tls.rs"]),
    ("tokio_tungstenite", &["provider/socket.rs", "sim/xiaozhi/socket.rs"]),
    ("toml", &["cli", "config", "models", "policy/pack.rs", "tasks/words.rs", "topics", "wire"]),
    ("unicode_normalization", &["engine/piper"]),
    ("whisper_rs", &["engine"]),
    ("x509_parser", &["door/mqtt/transport"]),
];

/// Longest file and function that are not worth a look.
const LONG_FILE: usize = 500;
const LONG_FUNCTION: usize = 60;

struct Source {
    /// Relative to `src`, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn room(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// The text without comments; strings stay.
    fn code(&self) -> String {
        self.text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
    }

    /// The code without the tests at its end: those may reach across.
    fn body(&self) -> String {
        let code = self.code();
        code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned()
    }

    /// Tests may reach across: they come last in a file, or fill one of their own.
    fn is_test(&self) -> bool {
        ["/tests", "/testing", "_tests.rs"].iter().any(|part| self.path.contains(part))
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    files.sort();
    let read = |path: PathBuf| Source {
        path: path.strip_prefix(&src).expect("below src").to_string_lossy().replace('\\', "/"),
        text: fs::read_to_string(&path).expect("readable"),
    };
    files.into_iter().map(read).collect()
}

/// Every `crate::room` in a text: in paths and in `use crate::{a, b::c}`.
fn rooms_named(code: &str) -> Vec<(String, String)> {
    let mut named = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            named.extend(split_list(list).into_iter().map(|item| split_path(&item)));
        } else {
            named.push(split_path(rest));
        }
    }
    named
}

/// The items of a `use` list, nested lists kept whole.
fn split_list(list: &str) -> Vec<String> {
    let (mut items, mut depth, mut item) = (Vec::new(), 0, String::new());
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(std::mem::take(&mut item));
                continue;
            }
            _ => {}
        }
        item.push(c);
    }
    items.push(item);
    items.retain(|item| !item.trim().is_empty());
    items
}

/// The first name of a path, and what follows it.
fn split_path(path: &str) -> (String, String) {
    let path = path.trim_start();
    let end = path.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(path.len());
    let after: String = path[end..].chars().take_while(|c| !matches!(c, ';' | ',' | '\n')).collect();
    (path[..end].to_owned(), after)
}

fn allowed(room: &str) -> Option<&'static [&'static str]> {
    ROOMS.iter().find(|(name, _)| *name == room).map(|(_, rooms)| *rooms)
}

#[test]
fn every_room_is_in_the_table() {
    let known: BTreeSet<&str> = ROOMS.iter().map(|(room, _)| *room).chain(["lib", "main"]).collect();
    let unknown: BTreeSet<String> =
        sources().iter().map(|s| s.room().to_owned()).filter(|room| !known.contains(room.as_str())).collect();
    assert!(unknown.is_empty(), "rooms without a line in tests/tidy.rs and docs/ARCHITECTURE.md: {unknown:?}");
}

#[test]
fn no_room_imports_what_it_must_not_know() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let Some(allowed) = allowed(source.room()) else { continue };
        for (room, _) in rooms_named(&source.body()) {
            let is_room = ROOMS.iter().any(|(name, _)| *name == room);
            let free = room == source.room() || room == "domain" || (room == "observe" && source.room() != "domain");
            if is_room && !free && !allowed.contains(&room.as_str()) && !allowed.contains(&"*") {
                wrong.push(format!("src/{}: imports {room}", source.path));
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "see the table in docs/ARCHITECTURE.md:\n{}", wrong.join("\n"));
}

#[test]
fn config_sees_nothing_of_a_part_but_its_settings() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.room() == "config") {
        for (room, after) in rooms_named(&source.code()) {
            let is_part = allowed("config").expect("is there").contains(&room.as_str());
            if is_part && !after.contains("Settings") {
                wrong.push(format!("src/{}: crate::{room}{after}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_no_circle() {
    let table: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    // a room that only imports rooms that are taken away is taken away itself; a circle stays
    let mut left: BTreeSet<&str> = table.keys().copied().collect();
    left.remove("app");
    loop {
        let free: Vec<&str> = left
            .iter()
            .copied()
            .filter(|room| table[room].iter().all(|other| *other == "app" || !left.contains(other)))
            .collect();
        if free.is_empty() {
            break;
        }
        for room in free {
            left.remove(room);
        }
    }
    assert!(left.is_empty(), "these import each other: {left:?}");
}

#[test]
fn a_crate_that_belongs_to_one_room_is_named_in_no_other() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let code = source.body();
        for (name, places) in NAMED_IN {
            let at_home =
                places.iter().any(|place| source.path == *place || source.path.starts_with(&format!("{place}/")));
            let used = ["use ", "::", " ", "(", "<", "&", "[", "!", "\n"]
                .iter()
                .any(|before| code.contains(&format!("{before}{name}::")));
            if used && !at_home {
                wrong.push(format!("src/{}: {name} belongs to {}", source.path, places.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches"] {
        let folder = root().join(folder);
        if folder.is_dir() {
            rust_files(&folder, &mut files);
        }
    }
    let silent = |path: &PathBuf| !fs::read_to_string(path).expect("readable").starts_with("//! ");
    files.retain(silent);
    assert!(files.is_empty(), "files that do not begin with `//! `: {files:?}");
}

#[test]
fn the_table_in_the_documentation_is_this_one() {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("docs/ARCHITECTURE.md");
    for (room, rooms) in ROOMS {
        let row = text.lines().find(|line| line.starts_with(&format!("| `{room}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/ARCHITECTURE.md has no row for {room}"));
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default().trim();
        let expected = match *rooms {
            [] => "–".to_owned(),
            ["*"] => "all".to_owned(),
            rooms => rooms.join(", "),
        };
        assert_eq!(last, expected, "docs/ARCHITECTURE.md, row {room}");
    }
}

#[test]
fn long_files_and_functions_are_printed() {
    let mut long = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let body = source.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines: Vec<&str> = body.lines().collect();
        if lines.len() > LONG_FILE {
            long.push(format!("src/{}: {} lines", source.path, lines.len()));
        }
        for (n, name, length) in functions(&lines) {
            if length > LONG_FUNCTION {
                long.push(format!("src/{}:{}: fn {name}: {length} lines", source.path, n + 1));
            }
        }
    }
    println!("{} long files and functions{}{}", long.len(), if long.is_empty() { "" } else { ":\n" }, long.join("\n"));
}

/// Line, name and length of each function: rustfmt closes it at the indentation where it began.
fn functions(lines: &[&str]) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (n, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let code = line.trim_start();
        let Some(at) = code.find("fn ").filter(|at| code[..*at].split(' ').all(is_qualifier)) else { continue };
        let name = split_path(&code[at + 3..]).0;
        let close = format!("{}}}", " ".repeat(indent));
        let length = lines[n..]
            .iter()
            .position(|line| *line == close || line.ends_with(';') && line.len() - line.trim_start().len() == indent);
        found.push((n, name, length.map_or(1, |length| length + 1)));
    }
    found
}

fn is_qualifier(word: &str) -> bool {
    word.is_empty()
        || matches!(word, "async" | "const" | "unsafe" | "extern")
        || word.starts_with("pub")
        || matches!(word, "in" | "crate)" | "super)")
}

#[test]
fn the_rules_see_what_they_should() {
    let code = "use crate::{audio::Opus, store::{Batch, Key}};\nlet x = crate::wire::decode(mycrate::door::x);";
    let rooms: Vec<String> = rooms_named(code).into_iter().map(|(room, _)| room).collect();
    assert_eq!(rooms, ["audio", "store", "wire"]);
    let lines = ["pub(crate) async fn a(", ") {", "    x();", "}", "impl X {", "    fn b() {}", "}"];
    let found = functions(&lines);
    assert_eq!(found[0], (0, "a".to_owned(), 4));
}
