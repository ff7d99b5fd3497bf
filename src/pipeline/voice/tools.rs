//! A chat model that calls the device's tools: what it calls is done, what came of it is told to it, and it goes on.
//!
//! The words that it says before, between and after calls are one reply. A tool that fails is told to the model, in whose
//! hands it is to say so.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::think::Pieces;
use crate::provider::{
    ChatMessage, ChatModel, ChatPiece, ChatRequest, ChatStream, ErrorKind, ProviderError, ToolCall, ToolSpec,
};
use crate::session::Tools;

/// Rounds of calls in one turn; then the model has to answer in words.
const ROUNDS: u32 = 5;
/// Longest name of a function, as models take them.
const NAME: usize = 64;

/// The pieces of a reply for which the model may call tools. No piece for `patience` is a failure, a tool's time apart.
/// `answer` is that to `request`, which offers them as [`offered`], where it has been asked already.
pub(super) fn reply(
    chat: Arc<dyn ChatModel>,
    request: ChatRequest,
    tools: Tools,
    patience: Duration,
    answer: Option<ChatStream>,
) -> Pieces {
    let names = named(&tools).into_iter().map(|(spec, tool)| (spec.name, tool)).collect();
    let dialogue =
        Dialogue { chat, request, tools, names, patience, answer, calls: Vec::new(), said: String::new(), rounds: 0 };
    stream::unfold(dialogue, |mut dialogue| async move {
        let piece = dialogue.next().await?;
        Some((piece, dialogue))
    })
    .boxed()
}

/// What the model is told that it may call.
pub(super) fn offered(tools: &Tools) -> Vec<ToolSpec> {
    named(tools).into_iter().map(|(spec, _)| spec).collect()
}

struct Dialogue {
    chat: Arc<dyn ChatModel>,
    request: ChatRequest,
    tools: Tools,
    /// What the model calls a tool, and what the device does.
    names: Vec<(String, String)>,
    patience: Duration,
    answer: Option<ChatStream>,
    calls: Vec<ToolCall>,
    said: String,
    rounds: u32,
}

impl Dialogue {
    async fn next(&mut self) -> Option<Result<ChatPiece, ProviderError>> {
        loop {
            let answer = self.answer.get_or_insert_with(|| self.chat.chat(self.request.clone()));
            let Ok(piece) = timeout(self.patience, answer.next()).await else {
                return Some(Err(ProviderError::new(ErrorKind::Timeout, "chat", "no further piece of reply in time")));
            };
            match piece {
                Some(Ok(ChatPiece::Call(call))) => self.calls.push(call),
                Some(Ok(ChatPiece::Text(text))) => {
                    self.said.push_str(&text);
                    return Some(Ok(ChatPiece::Text(text)));
                }
                Some(other) => return Some(other),
                None if self.calls.is_empty() || self.rounds >= ROUNDS => return None,
                None => self.call_all().await,
            }
        }
    }

    async fn call_all(&mut self) {
        let calls = std::mem::take(&mut self.calls);
        let answers = join_all(calls.iter().map(|call| answer(&self.tools, &self.names, call))).await;
        let said = std::mem::take(&mut self.said);
        let told = calls.iter().zip(answers).map(|(call, answer)| ChatMessage::answering(call, answer));
        let told: Vec<_> = told.collect();
        self.request.messages.push(ChatMessage::calling(said, calls));
        self.request.messages.extend(told);
        self.answer = None;
        self.rounds += 1;
        if self.rounds >= ROUNDS {
            self.request.tools.clear();
        }
    }
}

/// What came of a call, as the model is told.
async fn answer(tools: &Tools, names: &[(String, String)], call: &ToolCall) -> String {
    let Some((_, tool)) = names.iter().find(|(name, _)| *name == call.name) else {
        return "error: there is no such tool".to_owned();
    };
    let Some(arguments) = arguments(&call.arguments) else {
        return "error: the arguments are no JSON object".to_owned();
    };
    match tools.call(tool, arguments).await {
        Ok(text) if text.is_empty() => "done".to_owned(),
        Ok(text) => text,
        Err(error) => format!("error: {error}"),
    }
}

/// An object; nothing at all is an empty one.
fn arguments(text: &str) -> Option<Value> {
    if text.trim().is_empty() {
        return Some(json!({}));
    }
    serde_json::from_str(text).ok().filter(Value::is_object)
}

/// What models may call, by names that they take: letters, digits, `_` and `-`, no two alike.
fn named(tools: &Tools) -> Vec<(ToolSpec, String)> {
    let mut named: Vec<(ToolSpec, String)> = Vec::new();
    for tool in tools.offered() {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' };
        let base: String = tool.name.chars().map(plain).take(NAME - 4).collect();
        let taken = |name: &str| named.iter().any(|(spec, _)| spec.name == name);
        let numbered = (2..).map(|n| format!("{base}_{n}"));
        let Some(name) = std::iter::once(base.clone()).chain(numbered).find(|name| !taken(name)) else { continue };
        let (description, parameters) = (tool.description.clone(), tool.parameters.clone());
        named.push((ToolSpec { name, description, parameters }, tool.name.clone()));
    }
    named
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is a failed test")]

    use std::sync::Mutex;

    use tokio::sync::mpsc;

    use super::*;
    use crate::provider::Role;
    use crate::session::{Asking, CallError, Tool};

    /// Answers each request with the next script, and keeps the requests.
    struct Scripted(Mutex<Vec<Vec<ChatPiece>>>, Mutex<Vec<ChatRequest>>);

    impl ChatModel for Scripted {
        fn chat(&self, request: ChatRequest) -> ChatStream {
            self.1.lock().unwrap().push(request);
            let mut scripts = self.0.lock().unwrap();
            let script = if scripts.len() > 1 { scripts.remove(0) } else { scripts[0].clone() };
            stream::iter(script.into_iter().map(Ok)).boxed()
        }
    }

    fn tool(name: &str, user_only: bool) -> Tool {
        Tool { name: name.into(), description: "d".into(), parameters: json!({"type": "object"}), user_only }
    }

    fn call(id: &str, name: &str, arguments: &str) -> ChatPiece {
        ChatPiece::Call(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into() })
    }

    /// A device whose tools answer what they were given, or refuse.
    fn device() -> Tools {
        let (asking, mut asked) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(Asking::Call(call)) = asked.recv().await {
                let answer = match call.arguments["volume"].as_i64() {
                    Some(n @ 0..=100) => Ok(format!("{} {n}", call.name)),
                    _ => Err(CallError::Refused("volume is out of range".into())),
                };
                let _ = call.answer.send(answer);
            }
        });
        let list =
            [tool("self.speaker.set_volume", false), tool("self.speaker_set.volume", false), tool("self.reboot", true)];
        Tools::of_test(Arc::new(list), asking)
    }

    async fn said(scripts: Vec<Vec<ChatPiece>>) -> (String, Vec<ChatRequest>) {
        let model = Arc::new(Scripted(Mutex::new(scripts), Mutex::default()));
        let tools = device();
        let messages = vec![ChatMessage::new(Role::User, "louder")];
        let request = ChatRequest { messages, tools: offered(&tools), ..ChatRequest::default() };
        let pieces = reply(model.clone(), request, tools, Duration::from_secs(1), None);
        let words = pieces.map(|piece| match piece.unwrap() {
            ChatPiece::Text(text) => text,
            other => panic!("{other:?}"),
        });
        let words = words.collect::<Vec<_>>().await.concat();
        (words, model.1.lock().unwrap().clone())
    }

    #[tokio::test]
    async fn what_the_model_calls_is_done_and_told_to_it() {
        let first = vec!["One moment. ".into(), call("a", "self_speaker_set_volume", "{\"volume\": 30}")];
        let (words, requests) = said(vec![first, vec!["Done.".into()]]).await;
        assert_eq!(words, "One moment. Done.");
        let names: Vec<_> = requests[0].tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, ["self_speaker_set_volume", "self_speaker_set_volume_2"], "and none that is for people only");
        let told = &requests[1].messages[1..];
        assert_eq!((told[0].content.as_str(), told[0].calls.len()), ("One moment. ", 1));
        assert_eq!((told[1].role, told[1].content.as_str()), (Role::Tool, "self.speaker.set_volume 30"));
        assert_eq!(told[1].answers.as_deref(), Some("a"));
    }

    #[tokio::test]
    async fn several_calls_at_once_are_all_answered_also_those_that_fail() {
        let first = vec![
            call("a", "self_speaker_set_volume", "{\"volume\": 300}"),
            call("b", "self_speaker_set_volume_2", "{\"volume\": 1}"),
            call("c", "self_reboot", "{}"),
            call("d", "self_speaker_set_volume", "thirty"),
        ];
        let (words, requests) = said(vec![first, vec!["Sorry.".into()]]).await;
        assert_eq!(words, "Sorry.");
        let told: Vec<_> = requests[1].messages[2..].iter().map(|message| message.content.as_str()).collect();
        assert_eq!(
            told,
            [
                "error: the device refused: volume is out of range",
                "self.speaker_set.volume 1",
                "error: there is no such tool",
                "error: the arguments are no JSON object"
            ]
        );
    }

    #[tokio::test]
    async fn a_model_that_calls_for_ever_is_stopped() {
        let (words, requests) = said(vec![vec![call("a", "self_speaker_set_volume", "{\"volume\": 1}")]]).await;
        assert_eq!((words.as_str(), requests.len()), ("", 6));
        assert!(requests[4].tools.len() == 2 && requests[5].tools.is_empty());
    }
}
