//! A chat answer on its way, whoever the vendor is: asked for, heard event by event, its words passed on as they come
//! and its calls of tools when they are whole.
//!
//! What tells one vendor from another is a [`Dialect`]: how a question is written, and what an event means.

use std::collections::{BTreeMap, VecDeque};

use futures::StreamExt;
use serde_json::Value;

use super::http::ByteStream;
use super::sse::Events;
use super::target::Target;
use super::{ChatPiece, ChatRequest, ChatStream, ErrorKind, ProviderError, ToolCall};

/// The largest answer in one piece, from servers that do not stream.
const WHOLE: usize = 4 << 20;
/// Most calls in one answer, and the longest arguments of one, in bytes.
const CALLS: usize = 16;
const ARGUMENTS: usize = 64 << 10;

/// What tells one vendor's chat from another's.
pub(super) trait Dialect: Send + 'static {
    /// The address and the body of a question.
    fn question(&self, target: &Target, request: &ChatRequest) -> (String, Value);

    /// Takes the data of one event, or a whole answer from a server that does not stream.
    fn take(&mut self, target: &Target, data: &str, reply: &mut Reply) -> Result<Progress, ProviderError>;

    /// The service refused the question: true when it is to be asked once more, in another way. It relents in a matter
    /// once.
    fn relents(&mut self, _refused: &ProviderError) -> bool {
        false
    }

    /// The answer is whole: says what was held back of it.
    fn end(&mut self, _reply: &mut Reply) {}
}

/// How far an answer is after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// More must come.
    More,
    /// It may end here.
    Finished,
    /// It ended: what a server sends after that is nobody's business.
    Over,
}

/// What was taken out of events.
#[derive(Debug, Default)]
pub(super) struct Reply {
    ready: VecDeque<ChatPiece>,
    /// Made when the answer is whole.
    pub(super) calls: Calls,
}

impl Reply {
    /// Words; none are no piece.
    pub(super) fn say(&mut self, text: &str) {
        if !text.is_empty() {
            self.ready.push_back(text.into());
        }
    }

    /// It ended for want of tokens.
    pub(super) fn cut(&mut self) {
        self.ready.push_back(ChatPiece::Cut);
    }
}

/// Asks, and streams the answer.
pub(super) fn stream(target: Target, dialect: impl Dialect, request: ChatRequest) -> ChatStream {
    let answer = Answer { target, dialect, stage: Stage::Ask(request), reply: Reply::default(), failed: None };
    futures::stream::unfold(answer, |mut answer| async move {
        let item = answer.next().await?;
        Some((item, answer))
    })
    .boxed()
}

/// An answer on its way.
struct Answer<D> {
    target: Target,
    dialect: D,
    stage: Stage,
    reply: Reply,
    /// Said after the words that came before it.
    failed: Option<ProviderError>,
}

enum Stage {
    Ask(ChatRequest),
    /// The body; it is an event stream, or JSON in one piece from a server that does not stream.
    Hear {
        body: ByteStream,
        form: Form,
        finished: bool,
    },
    Over,
}

enum Form {
    Unknown,
    Events(Events),
    Whole(Vec<u8>),
}

impl<D: Dialect> Answer<D> {
    async fn next(&mut self) -> Option<Result<ChatPiece, ProviderError>> {
        loop {
            if let Some(piece) = self.reply.ready.pop_front() {
                return Some(Ok(piece));
            }
            if let Some(error) = self.failed.take() {
                return Some(Err(error));
            }
            let step = match &mut self.stage {
                Stage::Over => return self.reply.calls.take().map(|call| Ok(ChatPiece::Call(call))),
                Stage::Ask(_) => self.ask().await,
                Stage::Hear { .. } => self.hear().await,
            };
            if let Err(error) = step {
                self.stage = Stage::Over;
                // half a call is none
                self.reply.calls = Calls::default();
                self.failed = Some(error);
            }
        }
    }

    async fn ask(&mut self) -> Result<(), ProviderError> {
        let Stage::Ask(request) = std::mem::replace(&mut self.stage, Stage::Over) else { return Ok(()) };
        let body = loop {
            match self.post(&request).await {
                Err(error) if self.dialect.relents(&error) => {}
                answer => break answer?,
            }
        };
        self.stage = Stage::Hear { body, form: Form::Unknown, finished: false };
        Ok(())
    }

    async fn post(&mut self, request: &ChatRequest) -> Result<ByteStream, ProviderError> {
        let target = &self.target;
        let (url, question) = self.dialect.question(target, request);
        let call = target.client.post_stream(&url, &target.headers, &question, target.patience);
        call.await.map_err(|error| target.failure(error))
    }

    async fn hear(&mut self) -> Result<(), ProviderError> {
        let Stage::Hear { body, form, finished } = &mut self.stage else { return Ok(()) };
        let target = &self.target;
        let Some(piece) = body.next().await else {
            let (form, finished) = (std::mem::replace(form, Form::Unknown), *finished);
            self.stage = Stage::Over;
            self.end(form, finished)?;
            self.dialect.end(&mut self.reply);
            return Ok(());
        };
        let piece = piece.map_err(|error| target.failure(error))?;
        if let Form::Unknown = form {
            match piece.iter().find(|b| !b.is_ascii_whitespace()) {
                None => return Ok(()),
                Some(b'{') => *form = Form::Whole(Vec::new()),
                Some(_) => *form = Form::Events(Events::default()),
            }
        }
        match form {
            Form::Unknown => Ok(()),
            Form::Whole(all) => {
                all.extend_from_slice(&piece);
                if all.len() > WHOLE { Err(target.garbled("the answer is longer than 4 MB")) } else { Ok(()) }
            }
            Form::Events(events) => {
                for data in events.push(&piece).map_err(|e| target.garbled(e))? {
                    match take(&mut self.dialect, target, &data, &mut self.reply)? {
                        Progress::More => {}
                        Progress::Finished => *finished = true,
                        Progress::Over => {
                            self.stage = Stage::Over;
                            self.dialect.end(&mut self.reply);
                            return Ok(());
                        }
                    }
                }
                Ok(())
            }
        }
    }

    /// The body ended.
    fn end(&mut self, form: Form, mut finished: bool) -> Result<(), ProviderError> {
        let target = &self.target;
        match form {
            Form::Unknown => Err(target.garbled("the answer is empty")),
            Form::Whole(all) => {
                let text = String::from_utf8_lossy(&all);
                self.dialect.take(target, &text, &mut self.reply).map(|_| ())
            }
            Form::Events(events) => {
                for data in events.finish().map_err(|e| target.garbled(e))? {
                    finished |= take(&mut self.dialect, target, &data, &mut self.reply)? != Progress::More;
                }
                let broken = || target.error(ErrorKind::Unavailable, "the answer broke off");
                if finished { Ok(()) } else { Err(broken()) }
            }
        }
    }
}

/// `[DONE]` is OpenAI's end; servers that translate between vendors send it too.
fn take(dialect: &mut impl Dialect, target: &Target, data: &str, reply: &mut Reply) -> Result<Progress, ProviderError> {
    if data.trim() == "[DONE]" { Ok(Progress::Over) } else { dialect.take(target, data, reply) }
}

/// An event as JSON.
pub(super) fn event(target: &Target, data: &str) -> Result<Value, ProviderError> {
    serde_json::from_str(data).map_err(|e| target.garbled(format!("a piece of the answer is not json: {e}")))
}

/// Calls as they are written, piece by piece, by their index.
#[derive(Debug, Default)]
pub(super) struct Calls(BTreeMap<u64, ToolCall>);

impl Calls {
    /// Takes a piece of the call `index`; an id or a name that is there replaces what was, arguments go on.
    pub(super) fn hear(
        &mut self,
        index: u64,
        id: Option<&str>,
        name: Option<&str>,
        arguments: &str,
    ) -> Result<(), &'static str> {
        if !self.knows(index) && self.0.len() >= CALLS {
            return Err("more than 16 tool calls in one answer");
        }
        let call = self.0.entry(index).or_insert_with(|| ToolCall {
            id: String::new(),
            name: String::new(),
            arguments: String::new(),
        });
        let new = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        if let Some(id) = new(id) {
            call.id = id;
        }
        if let Some(name) = new(name) {
            call.name = name;
        }
        call.arguments.push_str(arguments);
        if call.name.len() > ARGUMENTS || call.id.len() > ARGUMENTS || call.arguments.len() > ARGUMENTS {
            return Err("a tool call is longer than 64 KB");
        }
        Ok(())
    }

    /// Something of the call `index` was heard.
    pub(super) fn knows(&self, index: u64) -> bool {
        self.0.contains_key(&index)
    }

    /// The index of one more call.
    pub(super) fn next_index(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(index, _)| index.saturating_add(1))
    }

    /// The first that is left. One without an id gets its number.
    fn take(&mut self) -> Option<ToolCall> {
        let (index, mut call) = self.0.pop_first()?;
        if call.id.is_empty() {
            call.id = format!("call-{index}");
        }
        Some(call)
    }
}
