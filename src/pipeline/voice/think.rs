//! Words → the pieces of a reply: a local intent's at once, else the chat model's as they come.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;
use serde_json::json;

use super::ahead::Asked;
use super::intents::device::{self, Deed};
use super::{Inner, intents, tools};
use crate::provider::{ChatMessage, ChatPiece, ChatRequest, ErrorKind, ProviderError, Role};
use crate::session::{SharedReport, Speaker, Tools, Turn};
use crate::tasks::{New, TaskError};

/// The pieces of a reply.
pub(super) type Pieces = BoxStream<'static, Result<ChatPiece, ProviderError>>;

/// What the device itself can do about a plain order: it is done, and the answer says so, or that it failed.
fn deed(turn: &Turn, words: &str) -> Option<Pieces> {
    let tools = turn.tools.clone()?;
    let deed = device::order(words)?;
    let needed = [Some(deed.tool), deed.asks_first()];
    needed.into_iter().flatten().try_for_each(|tool| tools.offered().find(|offered| offered.name == tool).map(drop))?;
    let device = turn.device.clone();
    let doing = async move {
        carry_out(&tools, &deed).await.map(Into::into).map_err(|error| {
            tracing::warn!(%device, tool = deed.tool, error, "the device did not do what it was told");
            ProviderError::new(ErrorKind::Unavailable, "device", "its tool failed")
        })
    };
    Some(stream::once(doing).boxed())
}

async fn carry_out(tools: &Tools, deed: &Deed) -> Result<String, String> {
    let status = match deed.asks_first() {
        Some(tool) => Some(tools.call(tool, json!({})).await.map_err(|error| error.to_string())?),
        None => None,
    };
    let (arguments, done) = deed.done(status.as_deref()).ok_or("its status does not say how it stands")?;
    tools.call(deed.tool, arguments).await.map_err(|error| error.to_string())?;
    Ok(done)
}

/// A reply that is given as it is.
pub(super) fn exactly(text: &str) -> Pieces {
    stream::iter([Ok(text.into())]).boxed()
}

impl Inner {
    /// The reply to these words; `ahead` is the answer to a request that was made before the turn was decided.
    pub(super) fn think(&self, turn: &Turn, words: &str, ahead: Option<Asked>, report: &SharedReport) -> Pieces {
        report.write(|report| words.clone_into(&mut report.transcript));
        if let Some(pieces) = self.without_a_model(turn, words) {
            report.write(|report| report.local = true);
            return pieces;
        }
        let request = self.request(turn, words);
        let tools = turn.tools.clone().filter(|_| !request.tools.is_empty());
        let patience = self.settings.first_token_timeout.0;
        self.remembered(turn, words, report, move |chat, watch| {
            // asked in another way, it is another answer
            let answer = ahead.filter(|ahead| ahead.is_to(&request)).and_then(Asked::answer);
            let answer = answer.map(|answer| watch.over(answer));
            match tools {
                Some(tools) => tools::reply(chat, request, tools, patience, answer),
                None => answer.unwrap_or_else(|| chat.chat(request)),
            }
        })
    }

    /// What is answered, or done, without the chat model. Nothing is done before the pieces are asked for.
    pub(super) fn without_a_model(&self, turn: &Turn, words: &str) -> Option<Pieces> {
        if turn.errand
            && let Some(pieces) = self.errand(turn, words)
        {
            return Some(pieces);
        }
        if self.settings.local_intents {
            if let Some(answer) = self.intent(turn, words) {
                return Some(exactly(&answer));
            }
            if let Some(pieces) = deed(turn, words) {
                return Some(pieces);
            }
        }
        self.errand(turn, words)
    }

    /// What the chat model is asked.
    pub(super) fn request(&self, turn: &Turn, words: &str) -> ChatRequest {
        ChatRequest {
            messages: self.conversation(turn, words),
            max_tokens: Some(self.settings.max_tokens),
            temperature: Some(self.settings.temperature),
            tools: turn.tools.as_ref().map(tools::offered).unwrap_or_default(),
            ..ChatRequest::default()
        }
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
        let language = self.language(turn);
        let facts = intents::Facts {
            now,
            language: language.as_deref(),
            last_said: last(Speaker::Person),
            last_reply: last(Speaker::Gateway),
            has_tools: turn.tools.as_ref().is_some_and(|tools| tools.offered().next().is_some()),
            has_persona: turn.persona.prompt.is_some(),
            random: (self.random)(),
        };
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
