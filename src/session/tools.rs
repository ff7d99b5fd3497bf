//! A device's tools, by MCP (JSON-RPC 2.0): the device is the server, the gateway its client.
//!
//! A state machine without a clock or a socket: requests come out of it, answers go in. What a device says of its tools
//! is bounded, and data: nothing here acts on it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Most tools of one device.
const MOST_TOOLS: usize = 128;
/// Most pages of its list.
const MOST_PAGES: u32 = 64;
/// Longest name, description and answer that are kept, in bytes; longer ones are cut (a longer name is no tool).
const NAME: usize = 128;
const DESCRIPTION: usize = 2 << 10;
const ANSWER: usize = 16 << 10;
/// Most bytes of a tool's parameters, as JSON.
const PARAMETERS: usize = 8 << 10;
/// Most calls under way.
const CALLS: usize = 16;
/// Ids are 32-bit numbers to firmware.
const LAST_ID: i64 = i32::MAX as i64;

/// One tool of a device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tool {
    /// As the device calls it, dots and all.
    pub name: String,
    /// What it does, in the device's words.
    pub description: String,
    /// JSON Schema of its arguments: an object.
    pub parameters: Value,
    /// For people only: never offered to a model.
    pub user_only: bool,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The device is not connected, or has no tools.
    #[error("the device has no tools, or is not connected")]
    NoTools,
    /// It has none of this name.
    #[error("the device has no tool of this name")]
    Unknown,
    /// Too many calls wait for it.
    #[error("too many calls wait for the device")]
    Busy,
    /// It did not answer in time.
    #[error("the device did not answer in time")]
    TimedOut,
    /// It said no, in its own words.
    #[error("the device refused: {0}")]
    Refused(String),
    /// The conversation ended meanwhile.
    #[error("the device went away")]
    Gone,
}

/// What is asked of a device's tools.
#[derive(Debug)]
pub enum Asking {
    /// All of them.
    List(oneshot::Sender<Result<Arc<[Tool]>, CallError>>),
    /// A call.
    Call(Call),
}

/// A call of a tool.
#[derive(Debug)]
pub struct Call {
    /// Which, as the device calls it.
    pub name: String,
    /// With what: an object.
    pub arguments: Value,
    /// Takes the answer, as text.
    pub answer: oneshot::Sender<Result<String, CallError>>,
}

/// The tools that a turn may use.
#[derive(Debug, Clone)]
pub struct Tools {
    list: Arc<[Tool]>,
    asking: mpsc::Sender<Asking>,
}

impl Tools {
    pub(super) fn new(list: Arc<[Tool]>, asking: mpsc::Sender<Asking>) -> Self {
        Self { list, asking }
    }

    /// Tools out of a list and a channel that nobody but a test reads.
    #[cfg(test)]
    pub(crate) fn of_test(list: Arc<[Tool]>, asking: mpsc::Sender<Asking>) -> Self {
        Self { list, asking }
    }

    /// Those that a model may know of.
    pub fn offered(&self) -> impl Iterator<Item = &Tool> {
        self.list.iter().filter(|tool| !tool.user_only)
    }

    /// Calls one; waits for its answer.
    pub async fn call(&self, name: &str, arguments: Value) -> Result<String, CallError> {
        let (answer, answered) = oneshot::channel();
        let call = Call { name: name.to_owned(), arguments, answer };
        self.asking.send(Asking::Call(call)).await.map_err(|_| CallError::Gone)?;
        answered.await.unwrap_or(Err(CallError::Gone))
    }
}

/// What came of a message of the device.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Taken {
    /// To be sent now.
    pub(super) send: Option<Value>,
    /// The list is whole.
    pub(super) listed: bool,
    /// What was wrong with it.
    pub(super) complaint: Option<&'static str>,
}

impl Taken {
    fn complain(what: &'static str) -> Self {
        Self { complaint: Some(what), ..Self::default() }
    }
}

/// Where the asking for the list is.
#[derive(Debug)]
enum Step {
    /// Nothing is asked.
    Rest,
    Initializing {
        id: i64,
        until: Instant,
    },
    Listing {
        id: i64,
        until: Instant,
        found: Vec<Tool>,
        cursors: HashSet<String>,
        version: String,
    },
}

#[derive(Debug)]
struct Calling {
    answer: oneshot::Sender<Result<String, CallError>>,
    until: Instant,
}

/// What is known of a device's tools, and what was asked of it.
#[derive(Debug)]
pub(super) struct ToolServer {
    known: Arc<[Tool]>,
    /// Of which firmware.
    version: Option<String>,
    step: Step,
    calls: HashMap<i64, Calling>,
    waiting: Vec<oneshot::Sender<Result<Arc<[Tool]>, CallError>>>,
    last_id: i64,
    patience: Duration,
}

impl ToolServer {
    /// Nothing is known. The device has `patience` for each answer.
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            known: Arc::new([]),
            version: None,
            step: Step::Rest,
            calls: HashMap::new(),
            waiting: Vec::new(),
            last_id: 0,
            patience,
        }
    }

    /// The tools; none before the list is whole.
    pub(super) fn known(&self) -> Option<&Arc<[Tool]>> {
        self.version.is_some().then_some(&self.known)
    }

    /// The list is being asked for.
    pub(super) fn asking(&self) -> bool {
        !matches!(self.step, Step::Rest)
    }

    /// Begins to ask: the first request. `vision` is where the device's camera sends its pictures, and its token.
    pub(super) fn begin(&mut self, now: Instant, vision: Option<(&str, &str)>) -> Value {
        let id = self.id();
        self.step = Step::Initializing { id, until: now + self.patience };
        let mut capabilities = json!({});
        if let Some((url, token)) = vision {
            capabilities["vision"] = json!({"url": url, "token": token});
        }
        let params = json!({
            "protocolVersion": "2024-11-05", "capabilities": capabilities,
            "clientInfo": {"name": "voxgate", "version": env!("CARGO_PKG_VERSION")},
        });
        request(id, "initialize", params)
    }

    /// Somebody waits for the list.
    pub(super) fn wait_for_list(&mut self, answer: oneshot::Sender<Result<Arc<[Tool]>, CallError>>) {
        if self.waiting.len() < CALLS {
            self.waiting.push(answer);
        } else {
            // one that no longer waits is not told
            let _ = answer.send(Err(CallError::Busy));
        }
    }

    /// A call: the request to send. None: it was refused, and the caller told so.
    pub(super) fn call(&mut self, call: Call, now: Instant) -> Option<Value> {
        let Call { name, arguments, answer } = call;
        let refusal = if self.version.is_none() {
            Some(CallError::NoTools)
        } else if !self.known.iter().any(|tool| tool.name == name) {
            Some(CallError::Unknown)
        } else if self.calls.len() >= CALLS {
            Some(CallError::Busy)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            // one that no longer waits is not told
            let _ = answer.send(Err(refusal));
            return None;
        }
        let id = self.id();
        self.calls.insert(id, Calling { answer, until: now + self.patience });
        Some(request(id, "tools/call", json!({"name": name, "arguments": arguments})))
    }

    /// A message of the device.
    pub(super) fn take(&mut self, payload: &Value, now: Instant) -> Taken {
        let Some(id) = payload.get("id").filter(|id| !id.is_null()) else {
            // a notification: there is none that matters here
            return Taken::default();
        };
        let Some(id) = id.as_i64() else { return Taken::complain("id") };
        if payload.get("method").is_some() {
            return Taken::complain("request");
        }
        if let Some(calling) = self.calls.remove(&id) {
            let _ = calling.answer.send(answer_of(payload));
            return Taken::default();
        }
        match std::mem::replace(&mut self.step, Step::Rest) {
            Step::Initializing { id: asked, .. } if asked == id => self.initialized(payload, now),
            Step::Listing { id: asked, found, cursors, version, .. } if asked == id => {
                self.page(payload, found, cursors, version, now)
            }
            step => {
                self.step = step;
                Taken::complain("unknown_id")
            }
        }
    }

    /// When something is overdue next.
    pub(super) fn due(&self) -> Option<Instant> {
        let step = match &self.step {
            Step::Rest => None,
            Step::Initializing { until, .. } | Step::Listing { until, .. } => Some(*until),
        };
        self.calls.values().map(|calling| calling.until).chain(step).min()
    }

    /// Gives up what is overdue; says how much that was.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        let late: Vec<i64> = self.calls.iter().filter(|(_, calling)| calling.until <= now).map(|(id, _)| *id).collect();
        for id in &late {
            if let Some(calling) = self.calls.remove(id) {
                let _ = calling.answer.send(Err(CallError::TimedOut));
            }
        }
        let listing = match &self.step {
            Step::Rest => false,
            Step::Initializing { until, .. } | Step::Listing { until, .. } => *until <= now,
        };
        if listing {
            self.step = Step::Rest;
            self.tell_waiting(&Err(CallError::TimedOut));
        }
        late.len() + usize::from(listing)
    }

    /// The device is gone: nobody waits any longer. What is known of it stays.
    pub(super) fn gone(&mut self) {
        self.step = Step::Rest;
        for (_, calling) in self.calls.drain() {
            let _ = calling.answer.send(Err(CallError::Gone));
        }
        self.tell_waiting(&Err(CallError::Gone));
    }

    fn initialized(&mut self, payload: &Value, now: Instant) -> Taken {
        let Some(result) = payload.get("result").filter(|result| result.is_object()) else {
            self.tell_waiting(&Err(CallError::NoTools));
            return Taken::complain("initialize");
        };
        let info = &result["serverInfo"];
        let version = format!("{} {}", info["name"].as_str().unwrap_or(""), info["version"].as_str().unwrap_or(""));
        if self.version.as_ref() == Some(&version) {
            // the same firmware has the same tools
            self.tell_waiting(&Ok(Arc::clone(&self.known)));
            return Taken { listed: true, ..Taken::default() };
        }
        Taken { send: Some(self.ask_page("", Vec::new(), HashSet::new(), version, now)), ..Taken::default() }
    }

    fn ask_page(
        &mut self,
        cursor: &str,
        found: Vec<Tool>,
        cursors: HashSet<String>,
        version: String,
        now: Instant,
    ) -> Value {
        let id = self.id();
        self.step = Step::Listing { id, until: now + self.patience, found, cursors, version };
        request(id, "tools/list", json!({"cursor": cursor, "withUserTools": true}))
    }

    fn page(
        &mut self,
        payload: &Value,
        mut found: Vec<Tool>,
        mut cursors: HashSet<String>,
        version: String,
        now: Instant,
    ) -> Taken {
        let Some(page) = payload["result"]["tools"].as_array() else {
            self.tell_waiting(&Err(CallError::NoTools));
            return Taken::complain("list");
        };
        let mut complaint = None;
        for tool in page {
            match read_tool(tool) {
                _ if found.len() >= MOST_TOOLS => complaint = Some("too_many"),
                Some(tool) if found.iter().any(|known| known.name == tool.name) => complaint = Some("twice"),
                Some(tool) => found.push(tool),
                None => complaint = Some("tool"),
            }
        }
        let next = payload["result"]["nextCursor"].as_str().filter(|cursor| !cursor.is_empty());
        if let Some(cursor) = next {
            let pages = u32::try_from(cursors.len()).unwrap_or(u32::MAX);
            if found.len() < MOST_TOOLS && pages < MOST_PAGES && cursors.insert(cut(cursor, NAME).to_owned()) {
                let send = Some(self.ask_page(cut(cursor, NAME), found, cursors, version, now));
                return Taken { send, complaint, ..Taken::default() };
            }
            // a list without end: what there is of it counts
            complaint = Some("endless");
        }
        (self.known, self.version) = (found.into(), Some(version));
        self.tell_waiting(&Ok(Arc::clone(&self.known)));
        Taken { listed: true, complaint, ..Taken::default() }
    }

    fn tell_waiting(&mut self, answer: &Result<Arc<[Tool]>, CallError>) {
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(answer.clone());
        }
    }

    fn id(&mut self) -> i64 {
        self.last_id = if self.last_id >= LAST_ID { 1 } else { self.last_id + 1 };
        self.last_id
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it becomes a part of the request")]
fn request(id: i64, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn read_tool(tool: &Value) -> Option<Tool> {
    let name = tool["name"].as_str().filter(|name| !name.is_empty() && name.len() <= NAME)?;
    let schema = &tool["inputSchema"];
    let parameters = if schema.is_object() && schema.to_string().len() <= PARAMETERS {
        schema.clone()
    } else {
        json!({"type": "object", "properties": {}})
    };
    let audience = tool["annotations"]["audience"].as_array();
    Some(Tool {
        name: name.to_owned(),
        description: cut(tool["description"].as_str().unwrap_or_default(), DESCRIPTION).to_owned(),
        parameters,
        user_only: audience.is_some_and(|audience| !audience.is_empty() && audience.iter().all(|who| who == "user")),
    })
}

/// The texts of an answer; what is no text is left out.
fn answer_of(payload: &Value) -> Result<String, CallError> {
    if let Some(error) = payload.get("error") {
        let message = error["message"].as_str().unwrap_or("an error without words");
        return Err(CallError::Refused(cut(message, DESCRIPTION).to_owned()));
    }
    let content = payload["result"]["content"].as_array();
    let texts: Vec<&str> = content.into_iter().flatten().filter_map(|part| part["text"].as_str()).collect();
    let text = cut(&texts.join("\n"), ANSWER).to_owned();
    if payload["result"]["isError"] == true { Err(CallError::Refused(text)) } else { Ok(text) }
}

/// At most so many bytes, whole characters.
pub(super) fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]
    #![allow(clippy::needless_pass_by_value, reason = "what is written in place reads better by value")]

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn id_of(request: &Value) -> i64 {
        request["id"].as_i64().unwrap()
    }

    fn answer(request: &Value, result: Value) -> Value {
        json!({"jsonrpc": "2.0", "id": id_of(request), "result": result})
    }

    fn tool(name: &str) -> Value {
        json!({"name": name, "description": format!("does {name}"), "inputSchema": {"type": "object", "properties": {}}})
    }

    fn initialized() -> Value {
        json!({"protocolVersion": "2024-11-05", "serverInfo": {"name": "board", "version": "2.0.1"}})
    }

    /// A server whose list has these tools.
    fn with(tools: Value) -> ToolServer {
        let (mut server, now) = (ToolServer::new(PATIENCE), Instant::now());
        let first = server.begin(now, None);
        let list = server.take(&answer(&first, initialized()), now).send.unwrap();
        assert!(server.take(&answer(&list, json!({"tools": tools})), now).listed);
        server
    }

    #[test]
    fn a_list_of_pages_is_read_to_its_end() {
        let (mut server, now) = (ToolServer::new(PATIENCE), Instant::now());
        let first = server.begin(now, Some(("http://box/vision", "secret")));
        assert_eq!(first["params"]["capabilities"]["vision"]["url"], "http://box/vision");
        let list = server.take(&answer(&first, initialized()), now).send.unwrap();
        assert_eq!((&list["method"], &list["params"]["cursor"]), (&json!("tools/list"), &json!("")));
        let user = json!({"name": "self.reboot", "annotations": {"audience": ["user"]}});
        let page = json!({"tools": [tool("self.a"), user], "nextCursor": "self.b"});
        let next = server.take(&answer(&list, page), now).send.unwrap();
        assert_eq!(next["params"]["cursor"], "self.b");
        assert!(server.known().is_none(), "half a list is none");
        assert!(server.take(&answer(&next, json!({"tools": [tool("self.b")]})), now).listed);
        let known: Vec<_> = server.known().unwrap().iter().map(|tool| (tool.name.as_str(), tool.user_only)).collect();
        assert_eq!(known, [("self.a", false), ("self.reboot", true), ("self.b", false)]);
    }

    #[test]
    fn the_same_firmware_is_asked_for_its_tools_once() {
        let mut server = with(json!([tool("self.a")]));
        let again = server.begin(Instant::now(), None);
        let taken = server.take(&answer(&again, initialized()), Instant::now());
        assert!(taken.listed && taken.send.is_none());
    }

    #[test]
    fn a_list_that_never_ends_is_cut_and_complained_of() {
        let (mut server, now) = (ToolServer::new(PATIENCE), Instant::now());
        let first = server.begin(now, None);
        let mut ask = server.take(&answer(&first, initialized()), now).send.unwrap();
        for n in 0.. {
            assert!(n < 1_000, "it ends");
            let page = json!({"tools": [tool(&format!("t{}", n % 3))], "nextCursor": format!("c{n}")});
            let taken = server.take(&answer(&ask, page), now);
            let Some(next) = taken.send else {
                assert_eq!((taken.listed, taken.complaint), (true, Some("endless")));
                break;
            };
            ask = next;
        }
        assert_eq!(server.known().unwrap().len(), 3);
        // one cursor again and again is seen at once
        let again = json!({"protocolVersion": "x", "serverInfo": {"name": "board", "version": "3"}});
        let first = server.begin(now, None);
        let ask = server.take(&answer(&first, again), now).send.unwrap();
        let page = json!({"tools": [tool("t")], "nextCursor": "c"});
        let ask = server.take(&answer(&ask, page.clone()), now).send.unwrap();
        assert_eq!(server.take(&answer(&ask, page), now).complaint, Some("endless"));
    }

    #[test]
    fn a_call_is_answered_refused_or_given_up() {
        let mut server = with(json!([tool("self.a")]));
        let now = Instant::now();
        let call = |name: &str| {
            let (answer, answered) = oneshot::channel();
            (Call { name: name.to_owned(), arguments: json!({"x": 1}), answer }, answered)
        };
        let (good, mut answered) = call("self.a");
        let request = server.call(good, now).unwrap();
        assert_eq!(request["params"], json!({"name": "self.a", "arguments": {"x": 1}}));
        let content = json!({"content": [{"type": "text", "text": "30"}, {"type": "image"}], "isError": false});
        server.take(&answer(&request, content), now);
        assert_eq!(answered.try_recv().unwrap(), Ok("30".to_owned()));

        let (bad, mut answered) = call("self.nothing");
        assert!(server.call(bad, now).is_none());
        assert_eq!(answered.try_recv().unwrap(), Err(CallError::Unknown));

        let (refused, mut answered) = call("self.a");
        let request = server.call(refused, now).unwrap();
        server.take(&json!({"jsonrpc": "2.0", "id": id_of(&request), "error": {"message": "out of range"}}), now);
        assert_eq!(answered.try_recv().unwrap(), Err(CallError::Refused("out of range".to_owned())));

        let (slow, mut answered) = call("self.a");
        server.call(slow, now).unwrap();
        assert_eq!(server.due(), Some(now + PATIENCE));
        assert_eq!(server.expire(now + PATIENCE), 1);
        assert_eq!(answered.try_recv().unwrap(), Err(CallError::TimedOut));

        let (lost, mut answered) = call("self.a");
        server.call(lost, now).unwrap();
        server.gone();
        assert_eq!(answered.try_recv().unwrap(), Err(CallError::Gone));
    }

    #[test]
    fn what_is_no_answer_of_ours_is_complained_of_and_changes_nothing() {
        let mut server = with(json!([tool("self.a")]));
        let now = Instant::now();
        let complaint = |server: &mut ToolServer, payload: Value| server.take(&payload, now).complaint;
        assert_eq!(complaint(&mut server, json!({"jsonrpc": "2.0", "id": "1", "result": {}})), Some("id"));
        assert_eq!(complaint(&mut server, json!({"jsonrpc": "2.0", "id": 1.5, "result": {}})), Some("id"));
        assert_eq!(complaint(&mut server, json!({"jsonrpc": "2.0", "id": 99, "result": {}})), Some("unknown_id"));
        assert_eq!(complaint(&mut server, json!({"id": 1, "method": "tools/call"})), Some("request"));
        assert_eq!(complaint(&mut server, json!({"method": "notifications/state"})), None);
        assert_eq!(complaint(&mut server, json!({})), None);
        assert_eq!(server.known().unwrap().len(), 1);
    }

    #[test]
    fn tools_without_sense_are_left_out_and_long_words_cut() {
        let long = json!({"name": "self.long", "description": "é".repeat(5_000), "inputSchema": 7});
        let tools = json!([{"name": ""}, {"name": 3}, {"name": "x".repeat(200)}, tool("self.a"), tool("self.a"), long]);
        let server = with(tools);
        let known = server.known().unwrap();
        assert_eq!(known.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), ["self.a", "self.long"]);
        assert!(known[1].description.len() <= DESCRIPTION);
        assert_eq!(known[1].parameters["type"], "object");
    }

    #[test]
    fn calls_that_are_never_answered_have_an_end_in_number() {
        let mut server = with(json!([tool("self.a")]));
        let mut waiting = Vec::new();
        for n in 0..CALLS + 3 {
            let (answer, answered) = oneshot::channel();
            let call = Call { name: "self.a".to_owned(), arguments: json!({}), answer };
            assert_eq!(server.call(call, Instant::now()).is_some(), n < CALLS);
            waiting.push(answered);
        }
        assert_eq!(waiting.pop().unwrap().try_recv().unwrap(), Err(CallError::Busy));
    }
}
