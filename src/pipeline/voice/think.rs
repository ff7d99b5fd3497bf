//! Words → the pieces of a reply: a local intent's at once, else the chat model's as they come.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;

use super::intents::device::{self, Deed};
use super::{Inner, intents, tools};
use crate::provider::{ChatMessage, ChatPiece, ChatRequest, ErrorKind, ProviderError, Role};
use crate::session::{SharedReport, Speaker, Turn};
use crate::tasks::{New, TaskError};

/// The pieces of a reply.
pub(super) type Pieces = BoxStream<'static, Result<ChatPiece, ProviderError>>;

/// What the device itself can do about a plain order: it is done, and the answer says so, or that it failed.
fn deed(turn: &Turn, words: &str) -> Option<Pieces> {
    let tools = turn.tools.clone()?;
    let Deed { tool, arguments, done } = device::order(words)?;
    tools.offered().find(|offered| offered.name == tool)?;
    let device = turn.device.clone();
    let doing = async move {
        match tools.call(tool, arguments).await {
            Ok(_) => Ok(done.into()),
            Err(error) => {
                tracing::warn!(%device, tool, %error, "the device did not do what it was told");
                Err(ProviderError::new(ErrorKind::Unavailable, "device", "its tool failed"))
            }
        }
    };
    Some(stream::once(doing).boxed())
}

/// A reply that is given as it is.
pub(super) fn exactly(text: &str) -> Pieces {
    stream::iter([Ok(text.into())]).boxed()
}

impl Inner {
    pub(super) fn think(&self, turn: &Turn, words: &str, report: &SharedReport) -> Pieces {
        report.write(|report| words.clone_into(&mut report.transcript));
        if turn.errand
            && let Some(pieces) = self.errand(turn, words)
        {
            report.write(|report| report.local = true);
            return pieces;
        }
        if self.settings.local_intents
            && let Some(answer) = self.intent(turn, words)
        {
            report.write(|report| report.local = true);
            return exactly(&answer);
        }
        if self.settings.local_intents
            && let Some(pieces) = deed(turn, words)
        {
            report.write(|report| report.local = true);
            return pieces;
        }
        if let Some(pieces) = self.errand(turn, words) {
            report.write(|report| report.local = true);
            return pieces;
        }
        let request = ChatRequest {
            messages: self.conversation(turn, words),
            max_tokens: Some(self.settings.max_tokens),
            temperature: Some(self.settings.temperature),
            tools: Vec::new(),
        };
        let tools = turn.tools.clone().filter(|tools| tools.offered().next().is_some());
        let patience = self.settings.first_token_timeout.0;
        self.remembered(turn, words, &request.clone(), report, move |chat| match tools {
            Some(tools) => tools::reply(chat, request, tools, patience),
            None => chat.chat(request),
        })
    }

    /// What is asked for is worked on in the background: that is said at once, or that it was not taken.
    fn errand(&self, turn: &Turn, words: &str) -> Option<Pieces> {
        let tasks = Arc::clone(self.tasks.as_ref()?);
        let said = if turn.errand { tasks.asked_outright(words) } else { tasks.asked_for(words) }?;
        let new = New {
            id: None,
            goal: words.to_owned(),
            session: Some(turn.session.to_string()),
            device: Some(turn.device.clone()),
            timeout: None,
            notify: true,
            speak: true,
            interrupt_previous: false,
            steps: Vec::new(),
            by: "voice".to_owned(),
        };
        let device = turn.device.clone();
        let begin = async move {
            Ok(match tasks.begin(new).await {
                Ok(_) => said.taken,
                Err(TaskError::Full(_)) => said.full,
                Err(error) => {
                    tracing::warn!(%device, %error, "a task that somebody asked for was not taken");
                    said.failed
                }
            }
            .into())
        };
        Some(stream::once(begin).boxed())
    }

    fn intent(&self, turn: &Turn, words: &str) -> Option<String> {
        let at = i64::try_from(self.clock.wall().0).unwrap_or(0);
        let now = Timestamp::from_millisecond(at).unwrap_or_default().to_zoned(self.zone.clone());
        let last =
            |speaker| turn.history.iter().rev().find(|line| line.speaker == speaker).map(|line| line.text.as_str());
        let facts = intents::Facts { now, last_said: last(Speaker::Person), last_reply: last(Speaker::Gateway) };
        intents::answer(words, &facts)
    }

    /// The prompt: the instructions first, so that a provider's prompt cache holds them.
    fn conversation(&self, turn: &Turn, words: &str) -> Vec<ChatMessage> {
        let prompt = turn.persona.prompt.as_ref().unwrap_or(&self.settings.system_prompt);
        let system = ChatMessage::new(Role::System, prompt.clone());
        let role = |speaker| match speaker {
            Speaker::Person => Role::User,
            Speaker::Gateway => Role::Assistant,
        };
        let said = turn.history.iter().map(|line| ChatMessage::new(role(line.speaker), line.text.clone()));
        let asked = ChatMessage::new(Role::User, words);
        let system = Some(system).filter(|message| !message.content.is_empty());
        system.into_iter().chain(said).chain([asked]).collect()
    }
}
