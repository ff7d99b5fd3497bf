//! The manager's database, from a dump of it: devices, agents, voices, models, parameters.

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use serde_json::Value;

use super::super::Trouble;
use super::dump::{self, Row};
use super::old::{Agent, MOST, Model, Old, OldBoard, PARAMETERS, Part};

/// Where its devices are.
const DEVICES: &str = "ai_device";
/// The tables that are looked at.
const TABLES: [&str; 5] = [DEVICES, "ai_agent", "ai_model_config", "ai_tts_voice", "sys_params"];

/// Reads a dump.
pub(super) fn read(input: impl BufRead) -> io::Result<Old> {
    let (mut old, mut rows) = (Old::default(), Rows::default());
    let wanted = |table: &str| TABLES.contains(&table);
    let found = dump::read(input, &wanted, &mut |table, row| {
        rows.take(table, &row, &mut old);
        rows.count < MOST
    })?;
    let trouble = |line, what: String, remedy: &str| Trouble { line, what, remedy: remedy.to_owned() };
    old.troubles.extend(found.complaints.into_iter().map(|complaint| {
        trouble(complaint.line, complaint.what, "make the dump again: mysqldump --result-file=FILE DATABASE")
    }));
    if rows.count >= MOST {
        let remedy = format!("dump these tables only: mysqldump DATABASE {}", TABLES.join(" "));
        old.troubles.push(trouble(0, format!("more than {MOST} rows; the rest was not read"), &remedy));
    }
    if !found.tables.contains(DEVICES) {
        let remedy = "make the dump of the console's database (xiaozhi_esp32_server unless you named it otherwise)";
        old.troubles.push(trouble(0, format!("there is no table {DEVICES}"), remedy));
    }
    old.missing.extend(TABLES.into_iter().filter(|table| *table != DEVICES && !found.tables.contains(*table)));
    rows.choose(&mut old);
    Ok(old)
}

#[derive(Default)]
struct Rows {
    count: usize,
    /// By id: the word of its service.
    voices: BTreeMap<String, String>,
    /// By agent: the id of a voice.
    wishes: BTreeMap<String, String>,
}

impl Rows {
    fn take(&mut self, table: &str, row: &Row, old: &mut Old) {
        self.count += 1;
        match table {
            DEVICES => device(row, old),
            "ai_agent" => self.agent(row, old),
            "ai_model_config" => model(row, old),
            "ai_tts_voice" => {
                if let (Some(id), Some(word)) = (row.get("id"), row.get("tts_voice")) {
                    self.voices.insert(id.to_owned(), word.to_owned());
                }
            }
            _ => parameter(row, old),
        }
    }

    fn agent(&mut self, row: &Row, old: &mut Old) {
        let Some(id) = row.get("id") else { return };
        let own = |column: &str| row.get(column).map(str::to_owned);
        let name = own("agent_name").unwrap_or_else(|| id.to_owned());
        let models = [
            ("asr_model_id", Part::Hear),
            ("llm_model_id", Part::Think),
            ("tts_model_id", Part::Speak),
            ("vllm_model_id", Part::See),
            ("vad_model_id", Part::Pause),
            ("mem_model_id", Part::Remember),
        ];
        let models = models.into_iter().filter_map(|(column, part)| Some((part, own(column)?))).collect();
        if let Some(voice) = own("tts_voice_id") {
            self.wishes.insert(id.to_owned(), voice);
        }
        let prompt = own("system_prompt").map(|prompt| prompt.replace("{{assistant_name}}", &name));
        let (memory, language) = (own("summary_memory"), own("lang_code").or_else(|| own("language")));
        let agent = Agent { line: row.line, name, prompt, memory, language, models, voice: None };
        old.agents.insert(id.to_owned(), agent);
    }

    /// Voices have names only when all tables were read, and so has the agent that most devices have.
    fn choose(self, old: &mut Old) {
        for (agent, voice) in &self.wishes {
            if let Some(agent) = old.agents.get_mut(agent) {
                agent.voice = self.voices.get(voice).cloned();
            }
        }
        let main = main_agent(old).and_then(|id| old.agents.get(&id)).map(|agent| agent.models.clone());
        old.chosen.extend(main.unwrap_or_default());
    }
}

/// The agent of most devices.
pub(super) fn main_agent(old: &Old) -> Option<String> {
    let mut devices: BTreeMap<&str, usize> = old.agents.keys().map(|id| (id.as_str(), 0)).collect();
    for agent in old.boards.iter().filter_map(|board| board.agent.as_deref()) {
        if let Some(count) = devices.get_mut(agent) {
            *count += 1;
        }
    }
    // of equals the first
    let most = devices.into_iter().rev().max_by_key(|(_, count)| *count);
    most.map(|(id, _)| id.to_owned())
}

fn device(row: &Row, old: &mut Old) {
    let own = |column: &str| row.get(column).map(str::to_owned);
    match own("mac_address") {
        Some(mac) => old.boards.push(OldBoard { line: row.line, mac, name: own("alias"), agent: own("agent_id") }),
        None => old.troubles.push(Trouble {
            line: row.line,
            what: "a device without mac_address".to_owned(),
            remedy: "bind it anew when it comes: it shows a code".to_owned(),
        }),
    }
}

fn model(row: &Row, old: &mut Old) {
    let (Some(id), Some(part)) = (row.get("id"), row.get("model_type").and_then(Part::parse)) else { return };
    let name = row.get("model_code").or_else(|| row.get("model_name")).unwrap_or(id).to_owned();
    let config = serde_json::from_str::<Value>(row.get("config_json").unwrap_or("{}"));
    let Ok(Value::Object(config)) = config else {
        let what = format!("{} {name}: its config_json is no JSON", part.name());
        let remedy = "mend it in the console and dump again, or write the service into voxgate.toml".to_owned();
        old.troubles.push(Trouble { line: row.line, what, remedy });
        return;
    };
    if row.get("is_default") == Some("1") {
        old.chosen.insert(part, id.to_owned());
    }
    old.models.insert(id.to_owned(), Model { part, name, config });
}

fn parameter(row: &Row, old: &mut Old) {
    let (Some(code), Some(value)) = (row.get("param_code"), row.get("param_value")) else { return };
    if let Some(key) = PARAMETERS.iter().find(|key| **key == code) {
        old.parameters.insert(key, Value::String(value.to_owned()));
    }
}
