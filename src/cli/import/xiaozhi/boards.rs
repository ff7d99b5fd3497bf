//! The devices to expect: each once, with who answered on it.

use std::collections::{BTreeMap, BTreeSet};

use crate::admin::ImportBoard;
use crate::domain::Span;

use super::super::Trouble;
use super::old::{Agent, Old, OldBoard, Part};
use super::settings::{Note, Settings, tag};

/// Longest name, characters.
const NAME: usize = 64;
/// Longest instructions, bytes.
const PROMPT: usize = 16 << 10;
/// What stands before what was remembered.
const MEMORY: &str = "What you know from earlier conversations:";

/// A device to expect.
#[derive(Debug)]
pub(super) struct Board {
    pub line: usize,
    /// The name of its agent.
    pub agent: Option<String>,
    pub import: ImportBoard,
}

/// All of them, and what people should know.
#[derive(Debug, Default)]
pub(super) struct Boards {
    pub list: Vec<Board>,
    pub notes: Vec<Note>,
}

/// Devices of the file, and `more` that it does not name. What cannot be one is added to the troubles.
pub(super) fn of(old: &mut Old, more: &[String], settings: &Settings, within: Span) -> Boards {
    let mut boards = Boards::default();
    let mut cut = BTreeSet::new();
    let (mut seen, mut uses) = (BTreeMap::<String, usize>::new(), BTreeMap::<String, usize>::new());
    let more = more.iter().map(|mac| OldBoard { line: 0, mac: mac.clone(), name: None, agent: None });
    for board in std::mem::take(&mut old.boards).into_iter().chain(more) {
        let mac = board.mac.trim().to_ascii_lowercase().replace('-', ":");
        let mut trouble = |what: String, remedy: &str| {
            old.troubles.push(Trouble { line: board.line, what, remedy: remedy.to_owned() });
        };
        if is_group(&mac) {
            let then = "is left out: the address of a group, as in examples, and no board's".to_owned();
            boards.notes.push(Note { what: format!("device {mac}"), then });
            continue;
        }
        if let Some(first) = seen.insert(mac.clone(), board.line) {
            trouble(format!("device {mac}"), &format!("is there twice; that of line {first} counts"));
            seen.insert(mac, first);
            continue;
        }
        let agent = board.agent.as_ref().and_then(|id| Some((id, old.agents.get(id)?)));
        if let Some((id, _)) = agent {
            *uses.entry(id.clone()).or_default() += 1;
        }
        let mut import =
            ImportBoard { mac, name: name(board.name.as_deref()), language: None, voice: None, prompt: None, within };
        if let Some((id, agent)) = agent {
            let (prompt, whole) = prompt(agent);
            if !whole {
                cut.insert(id.clone());
            }
            import.prompt = prompt;
            import.language = agent.language.as_deref().and_then(tag);
            let speaks = agent.models.get(&Part::Speak);
            import.voice = agent.voice.clone().filter(|_| speaks.is_some() && speaks == settings.speaks.as_ref());
        }
        boards.list.push(Board { line: board.line, agent: agent.map(|(_, agent)| agent.name.clone()), import });
    }
    let names: BTreeSet<&String> = uses.keys().collect();
    for (id, agent) in old.agents.iter().filter(|(id, _)| names.contains(id)) {
        boards.notes.push(describe(agent, uses.get(id).copied().unwrap_or_default()));
        let mut note = |then: &str| {
            boards.notes.push(Note { what: format!("agent {}", agent.name), then: then.to_owned() });
        };
        if cut.contains(id) {
            note(
                "its instructions and memory are not all taken (16 KB at most, and no memory without instructions): write shorter ones with voxgate device set",
            );
        }
        if agent.voice.is_some() && agent.models.get(&Part::Speak) != settings.speaks.as_ref() {
            note("its voice is one of a service that does not go on; choose one with voxgate device set --voice");
        }
    }
    boards
}

/// No board's own: the lowest bit of the first octet says so.
fn is_group(mac: &str) -> bool {
    let first = mac.get(..2).and_then(|octet| u8::from_str_radix(octet, 16).ok());
    first.is_some_and(|octet| octet & 1 == 1)
}

/// What its conversations start with, and whether that is all.
fn prompt(agent: &Agent) -> (Option<String>, bool) {
    let Some(instructions) = &agent.prompt else { return (None, agent.memory.is_none()) };
    let fits = |text: &String| text.len() <= PROMPT;
    match &agent.memory {
        None => (Some(instructions.clone()).filter(fits), fits(instructions)),
        Some(memory) => {
            let whole = Some(format!("{instructions}\n\n{MEMORY}\n{memory}")).filter(fits);
            let all = whole.is_some();
            (whole.or_else(|| Some(instructions.clone()).filter(fits)), all)
        }
    }
}

/// A name that can be shown.
fn name(alias: Option<&str>) -> Option<String> {
    let name: String = alias?.chars().filter(|c| !c.is_control()).take(NAME).collect();
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// An agent on a line; its texts are people's.
fn describe(agent: &Agent, devices: usize) -> Note {
    let mut parts = vec![format!("{devices} devices")];
    for (what, text) in [("instructions", &agent.prompt), ("memory", &agent.memory)] {
        if let Some(text) = text {
            parts.push(format!("{what} of {} bytes", text.len()));
        }
    }
    Note { what: format!("agent {}", agent.name), then: parts.join(", ") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn agent(prompt: &str, memory: &str) -> Agent {
        let own = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Agent { prompt: own(prompt), memory: own(memory), ..Agent::default() }
    }

    #[test]
    fn memory_stands_behind_the_instructions_and_is_left_out_when_both_are_too_long() {
        let long = "x".repeat(PROMPT);
        assert_eq!(prompt(&agent("Be kind.", "")), (Some("Be kind.".into()), true));
        let (both, all) = prompt(&agent("Be kind.", "Anna likes tea."));
        assert_eq!((both.unwrap(), all), (format!("Be kind.\n\n{MEMORY}\nAnna likes tea."), true));
        assert_eq!(prompt(&agent("Be kind.", &long)), (Some("Be kind.".into()), false));
        assert_eq!(prompt(&agent(&format!("{long}y"), "")), (None, false));
        assert_eq!(prompt(&agent("", "")), (None, true));
        assert_eq!(
            prompt(&agent("", "Anna likes tea.")),
            (None, false),
            "memory alone would be taken for instructions"
        );
    }

    #[test]
    fn a_board_is_expected_once_and_no_group_is_one() {
        let board = |line, mac: &str| OldBoard { line, mac: mac.into(), name: Some(" a\nb ".into()), agent: None };
        let boards = vec![
            board(1, "F4-12-FA-00-00-01"),
            board(2, "01:00:5e:00:00:01"),
            board(3, "f4:12:fa:00:00:01"),
            board(4, "odd"),
        ];
        let mut old = Old { boards, ..Old::default() };
        let found = of(&mut old, &["f4:12:fa:00:00:02".to_owned()], &Settings::default(), Span::days(1));
        let macs: Vec<&str> = found.list.iter().map(|board| board.import.mac.as_str()).collect();
        assert_eq!(
            macs,
            ["f4:12:fa:00:00:01", "odd", "f4:12:fa:00:00:02"],
            "what is no MAC is the gateway's to refuse"
        );
        assert_eq!(found.list[0].import.name.as_deref(), Some("ab"));
        assert_eq!(old.troubles.iter().map(|trouble| trouble.line).collect::<Vec<_>>(), [3]);
        assert!(found.notes[0].what.contains("01:00:5e"), "{:?}", found.notes);
    }
}
